//! The `trestle` command: arguments, runtime, broker, signals.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let settings = match cli::settings(std::env::args_os(), std::env::vars_os()) {
        Ok(settings) => settings,
        Err(stop) => return stop.print(),
    };
    let config = match trestle::Config::load(settings) {
        Ok(config) => config,
        Err(error) => return cli::Stop::Usage(error).print(),
    };
    if let Err(error) = cli::logging::start(&config) {
        return cli::Stop::Usage(error).print();
    }
    match cli::serve::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::Stop::Failure(error).print(),
    }
}
