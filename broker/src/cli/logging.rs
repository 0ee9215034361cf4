//! The log: to standard error, for people or for machines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use trestle::Config;
use trestle::config::ConfigError;

/// Crates under ours that have much to say; below a warning it is rarely to the point.
const QUIET: [&str; 4] = [
    "slatedb=warn",
    "object_store=warn",
    "hyper=warn",
    "foyer=warn",
];

/// Starts logging as `config` says.
pub(crate) fn start(config: &Config) -> Result<(), ConfigError> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.log)?)
        .with_writer(std::io::stderr);
    match config.log_json {
        true => log.json().init(),
        false => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with_ansi(ansi).init();
        }
    }
    Ok(())
}

/// A level alone is for Trestle; a filter is taken as it is.
pub(super) fn filter(log: &str) -> Result<EnvFilter, ConfigError> {
    let bad = |why: &str| ConfigError::BadValue {
        name: "trestle.log".into(),
        value: log.into(),
        remedy: format!(
            "{why}; give error, warn, info, debug, trace or off, or a filter such as info,trestle::net=debug"
        ),
    };
    let words: Vec<&str> = log.split(',').map(str::trim).collect();
    // The parser takes a word that is no level for the name of a crate, and a typo would silence all.
    for word in &words {
        let level = word.rsplit_once('=').map_or(*word, |(_, level)| level);
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(bad(&format!("{level:?} is not a level")));
        }
    }
    let text = match words.as_slice() {
        [level] if !level.contains('=') => format!("{level},{}", QUIET.join(",")),
        _ => log.to_owned(),
    };
    EnvFilter::try_new(text).map_err(|error| bad(&error.to_string()))
}
