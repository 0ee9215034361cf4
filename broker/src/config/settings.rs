//! Broker settings as they were given: by name, with the place each came from.
//!
//! A stronger source replaces what a weaker one gave, under whichever of its names that was. What
//! the values mean is for [`super::Config`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::definition::Definition;
use super::definitions::{TOPIC, all_broker, broker, is_used, topic};
use super::describe::Source;
use super::{ConfigError, kafka_names, properties};

/// Who gave a setting, the weakest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of a properties file.
    File {
        /// Path of the file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A command line flag.
    Flag(String),
}

impl Origin {
    fn strength(&self) -> u8 {
        match self {
            Self::File { .. } => 0,
            Self::Environment(_) => 1,
            Self::Flag(_) => 2,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}, line {line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

#[derive(Clone, Debug)]
struct Given {
    value: String,
    origin: Origin,
}

/// Names for one thing, the strongest first when one source gives several.
const SAME_THING: &[&[&str]] = &[
    &["node.id", "broker.id"],
    &["trestle.data", "log.dirs", "log.dir"],
    &[
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    ],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
];

/// What was given, over all sources.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    given: BTreeMap<&'static str, Given>,
    unused: BTreeSet<String>,
    runtime: Runtime,
}

/// Settings given to a running broker: stronger than those that it was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Given to this broker alone.
    pub node: BTreeMap<String, String>,
    /// Given to all brokers; weaker.
    pub cluster: BTreeMap<String, String>,
}

impl Settings {
    /// Takes a setting, unless a stronger source gave it.
    ///
    /// # Errors
    /// A name that neither Trestle nor Kafka knows, or a value that the setting does not take.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(definition) = broker(name) else {
            if kafka_names::contains(name) {
                self.unused.insert(name.to_owned());
                return Ok(());
            }
            return Err(unknown_broker_setting(name).at(&origin));
        };
        let value = definition.check(value).map_err(|error| error.at(&origin))?;
        if !is_used(name) {
            self.unused.insert(name.to_owned());
        }
        let rivals = SAME_THING
            .iter()
            .find(|names| names.contains(&definition.name))
            .copied()
            .unwrap_or(&[]);
        for rival in rivals.iter().chain([&definition.name]) {
            match self.given.get(rival) {
                Some(given) if given.origin.strength() > origin.strength() => return Ok(()),
                Some(given) if given.origin.strength() < origin.strength() => {
                    self.given.remove(rival);
                }
                Some(_) | None => {}
            }
        }
        self.given.insert(definition.name, Given { value, origin });
        Ok(())
    }

    /// Takes the settings of a properties file, whose text is `text`.
    ///
    /// # Errors
    /// Text that is not a properties file, or a setting that [`Settings::set`] refuses.
    pub fn set_file(&mut self, path: &str, text: &str) -> Result<(), ConfigError> {
        let entries = properties::parse(text).map_err(|why| ConfigError::File {
            path: path.into(),
            why,
        })?;
        for entry in entries {
            let origin = Origin::File {
                path: path.into(),
                line: entry.line,
            };
            self.set(&entry.name, &entry.value, origin)?;
        }
        Ok(())
    }

    /// The strongest value given for `name`, if one was.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given_by(name).next().map(|(_, value)| value)
    }

    /// All values given for `name`, the strongest first.
    pub(super) fn given_by(&self, name: &str) -> impl Iterator<Item = (Source, &str)> {
        Source::GIVEN
            .into_iter()
            .filter_map(move |source| Some((source, self.from(source, name)?)))
    }

    /// The value that `source` gives `name`.
    pub(super) fn from(&self, source: Source, name: &str) -> Option<&str> {
        match source {
            Source::DynamicBroker => self.runtime.node.get(name).map(String::as_str),
            Source::DynamicDefault => self.runtime.cluster.get(name).map(String::as_str),
            Source::StaticBroker => self.given.get(name).map(|given| given.value.as_str()),
            Source::Topic | Source::Default | Source::ClientMetrics | Source::Group => None,
        }
    }

    /// The same settings with `runtime` over them, in the place of what was there. Values that the
    /// table does not take, which an older version may have stored, count as not given.
    pub(super) fn with_runtime(&self, runtime: &Runtime) -> Self {
        let fitting = |given: &BTreeMap<String, String>| {
            given
                .iter()
                .filter_map(|(name, value)| {
                    let definition = broker(name).filter(|definition| definition.dynamic)?;
                    Some((name.clone(), definition.check(value).ok()?))
                })
                .collect()
        };
        Self {
            runtime: Runtime {
                node: fitting(&runtime.node),
                cluster: fitting(&runtime.cluster),
            },
            ..self.clone()
        }
    }

    /// Who gave it.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.given.get(name).map(|given| &given.origin)
    }

    /// Names that were given, that Kafka knows, and that Trestle has no use for.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.unused.iter().map(String::as_str)
    }

    /// `error`, with the place where `name` was given.
    pub(super) fn blame(&self, name: &str, error: ConfigError) -> ConfigError {
        match self.origin(name) {
            Some(origin) => error.at(origin),
            None => error,
        }
    }
}

impl ConfigError {
    pub(super) fn at(self, origin: &Origin) -> Self {
        Self::At {
            origin: origin.to_string(),
            error: Box::new(self),
        }
    }
}

/// The error for a broker setting that nobody knows, with a guess at what was meant.
pub(super) fn unknown_broker_setting(name: &str) -> ConfigError {
    let hint = match topic(name) {
        Some(definition) => match definition.synonyms.first() {
            Some(synonym) => Some(format!(
                "that is a setting of a topic; for all topics, set {}",
                synonym.name
            )),
            None => Some("that is a setting of a topic; give it to the topic".into()),
        },
        None => nearest(
            name,
            all_broker()
                .iter()
                .map(|definition| definition.name)
                .chain(kafka_names::all().iter().copied()),
        ),
    };
    ConfigError::UnknownName {
        name: name.into(),
        hint,
    }
}

/// The error for a topic setting that nobody knows, with a guess at what was meant.
pub(super) fn unknown_topic_setting(name: &str) -> ConfigError {
    let owned_by_broker = TOPIC.iter().find(|definition| {
        definition
            .synonyms
            .iter()
            .any(|synonym| synonym.name == name)
    });
    let hint = match owned_by_broker {
        Some(definition) => Some(format!(
            "that is a setting of the broker; for one topic, set {}",
            definition.name
        )),
        None => nearest(name, TOPIC.iter().map(|definition| definition.name)),
    };
    ConfigError::UnknownName {
        name: name.into(),
        hint,
    }
}

/// The error for a setting of another kind that nobody knows, with a guess at what was meant.
pub(super) fn unknown_setting(name: &str, table: &'static [Definition]) -> ConfigError {
    ConfigError::UnknownName {
        name: name.into(),
        hint: nearest(name, table.iter().map(|definition| definition.name)),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| format!("the nearest known one is {candidate}"))
}
