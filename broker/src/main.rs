//! The `trestle` command: arguments, runtime, broker, signals.

mod cli;

use std::process::ExitCode;

use cli::{Stop, Task};
use mimalloc::MiMalloc;

/// Batches are allocated by one thread and freed by another, which the C library's allocator does at twice the cost. It is of the
/// binary alone: who embeds a broker chooses for himself.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let done = match cli::task(std::env::args_os(), std::env::vars_os()) {
        Ok(Task::Serve(settings)) => serve(*settings),
        Ok(Task::Log(arguments)) => cli::log::run(arguments).map_err(Stop::Failure),
        Ok(Task::Bridge(arguments)) => cli::bridge::run(arguments).map_err(Stop::Failure),
        Err(stop) => Err(stop),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => stop.print(),
    }
}

fn serve(settings: trestle::config::Settings) -> Result<(), Stop> {
    let config = trestle::Config::load(settings)?;
    cli::logging::start(&config)?;
    cli::serve::run(config).map_err(Stop::Failure)
}
