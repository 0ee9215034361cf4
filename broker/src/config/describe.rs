//! Settings as DescribeConfigs reports them.

use std::collections::BTreeMap;

use super::Config;
use super::definition::{Definition, Support, Type};
use super::definitions::{BROKER, TOPIC};
use super::topic::{broker_default, default_value};

/// Where a value comes from, numbered as DescribeConfigs reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The topic's own settings.
    Topic = 1,
    /// The broker's file, environment or flags.
    StaticBroker = 4,
    /// Nobody gave one.
    Default = 5,
}

/// One of the values that a setting would have if the stronger ones were not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynonymValue {
    /// The name that it is set by.
    pub name: &'static str,
    /// The value; `None` if it is a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// One setting and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// The value in force; `None` if there is none or it is a secret.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: Source,
    /// Whether it can be changed only by a restart.
    pub read_only: bool,
    /// Whether the value is a secret.
    pub sensitive: bool,
    /// All values given, the strongest first.
    pub synonyms: Vec<SynonymValue>,
    /// Its type.
    pub kind: Type,
    /// What it is.
    pub documentation: &'static str,
}

/// All settings of a topic that has `overrides` of its own, by name.
pub fn describe_topic(overrides: &BTreeMap<String, String>, config: &Config) -> Vec<Described> {
    TOPIC
        .iter()
        .filter(|definition| definition.support != Support::Ignored)
        .map(|definition| {
            let own = overrides.get(definition.name);
            let mut synonyms = Vec::new();
            synonyms.extend(own.map(|value| SynonymValue {
                name: definition.name,
                value: Some(value.clone()),
                source: Source::Topic,
            }));
            let given = |name| config.settings.get(name);
            for synonym in definition.synonyms {
                synonyms.extend(given(synonym.name).map(|value| SynonymValue {
                    name: synonym.name,
                    value: Some(value.to_owned()),
                    source: Source::StaticBroker,
                }));
            }
            for synonym in definition.synonyms {
                synonyms.extend(broker_default(synonym).map(|value| SynonymValue {
                    name: synonym.name,
                    value: Some(value.to_owned()),
                    source: Source::Default,
                }));
            }
            described(
                definition,
                Some(
                    own.cloned()
                        .unwrap_or_else(|| default_value(definition, config)),
                ),
                synonyms,
                false,
            )
        })
        .collect()
}

/// All settings of the broker, by name.
pub fn describe_broker(config: &Config) -> Vec<Described> {
    BROKER
        .iter()
        .map(|definition| {
            let shown = |value: &str| (!definition.sensitive()).then(|| value.to_owned());
            let mut synonyms = Vec::new();
            synonyms.extend(
                config
                    .settings
                    .get(definition.name)
                    .map(|value| SynonymValue {
                        name: definition.name,
                        value: shown(value),
                        source: Source::StaticBroker,
                    }),
            );
            synonyms.extend(definition.default.map(|value| SynonymValue {
                name: definition.name,
                value: shown(value),
                source: Source::Default,
            }));
            described(
                definition,
                config.value_of(definition.name),
                synonyms,
                !definition.dynamic,
            )
        })
        .collect()
}

fn described(
    definition: &'static Definition,
    value: Option<String>,
    synonyms: Vec<SynonymValue>,
    read_only: bool,
) -> Described {
    Described {
        name: definition.name,
        value: value.filter(|_| !definition.sensitive()),
        source: synonyms
            .first()
            .map_or(Source::Default, |strongest| strongest.source),
        read_only,
        sensitive: definition.sensitive(),
        synonyms,
        kind: definition.kind,
        documentation: definition.doc,
    }
}
