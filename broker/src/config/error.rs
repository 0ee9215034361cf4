//! Why a setting was refused.

/// A setting that cannot be used; its text names the setting, the value and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither Trestle nor Kafka knows the name.
    #[error("unknown setting {name}{}", hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    UnknownName {
        /// The name as it was given.
        name: String,
        /// What was probably meant, as a sentence without its full stop.
        hint: Option<String>,
    },
    /// The value does not fit the setting.
    #[error("invalid value {value:?} for {name}; {remedy}")]
    BadValue {
        /// Name of the setting.
        name: String,
        /// The value as it was given.
        value: String,
        /// What to give instead.
        remedy: String,
    },
    /// Two settings that are fine alone and not together.
    #[error("{0}")]
    Conflict(String),
    /// A settings file that cannot be read.
    #[error("config file {path}: {why}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// One of the above, with the place it came from.
    #[error("{origin}: {error}")]
    At {
        /// A flag, a variable, or a line of a file.
        origin: String,
        /// The error.
        error: Box<ConfigError>,
    },
}
