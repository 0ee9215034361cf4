//! The command line: from arguments, environment and file to [`Settings`].
//!
//! A flag, its variable and a line of the file are three ways to give one setting; which is stronger
//! is decided by [`Settings`]. Exit codes: 0 when all went well, 1 for a failure, 2 for wrong usage.

mod arguments;
pub(crate) mod bridge;
mod environment;
pub(crate) mod log;
pub(crate) mod logging;
pub(crate) mod serve;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use trestle::config::{ConfigError, Settings};

use arguments::{Arguments, Command};
use environment::Environment;

/// Why the command ends before it has begun, or after it has failed.
pub(crate) enum Stop {
    /// Help or the version were asked for, or the arguments are not any.
    Arguments(clap::Error),
    /// A setting that cannot be used.
    Usage(ConfigError),
    /// It was understood and did not work out.
    Failure(anyhow::Error),
}

impl Stop {
    /// Says why, and gives the exit code.
    pub(crate) fn print(self) -> ExitCode {
        match self {
            Self::Arguments(error) => {
                // A closed pipe is no reason to fail: there is nobody left to tell.
                let _ = error.print();
                match error.use_stderr() {
                    true => ExitCode::from(2),
                    false => ExitCode::SUCCESS,
                }
            }
            Self::Usage(error) => {
                eprintln!("trestle: {error}");
                ExitCode::from(2)
            }
            Self::Failure(error) => {
                eprintln!("trestle: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error)
    }
}

/// What the command is to do.
pub(crate) enum Task {
    /// Run a broker with these settings.
    Serve(Box<Settings>),
    /// Use the log database of a running one.
    Log(log::LogArguments),
    /// Have a running one copy another cluster.
    Bridge(bridge::BridgeArguments),
}

/// What was asked for, by whatever way.
pub(crate) fn task(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Task, Stop> {
    let arguments = Arguments::try_parse_from(arguments).map_err(Stop::Arguments)?;
    let serve = match arguments.command {
        Some(Command::Serve(serve)) => serve,
        Some(Command::Log(log)) => return Ok(Task::Log(log)),
        Some(Command::Bridge(bridge)) => return Ok(Task::Bridge(bridge)),
        None => arguments.serve,
    };
    Ok(Task::Serve(Box::new(settings(&serve, variables)?)))
}

/// All settings of a broker.
fn settings(
    serve: &arguments::Serve,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, Stop> {
    let environment = Environment::new(variables);
    let mut settings = Settings::default();
    if let Some(path) = serve.config.clone().or_else(|| environment.config_file()) {
        let shown = path.display().to_string();
        settings.set_file(&shown, &read_file(&path)?)?;
    }
    environment.apply(&mut settings)?;
    serve.apply(&mut settings)?;
    Ok(settings)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one file of settings, before there is a broker"
)]
fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::File {
        path: path.display().to_string(),
        why: format!("{error}; give --config the path of a Kafka properties file"),
    })
}

#[cfg(test)]
mod tests;
