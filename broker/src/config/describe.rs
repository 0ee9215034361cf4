//! Settings as DescribeConfigs reports them.

use std::collections::BTreeMap;

use super::Config;
use super::definition::{Definition, Support, Synonym, Type};
use super::definitions::{CLIENT_METRICS, GROUP, TOPIC, all_broker, broker};
use super::topic::default_value;

/// Where a value comes from, numbered as DescribeConfigs reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The topic's own settings.
    Topic = 1,
    /// Given to the running broker.
    DynamicBroker = 2,
    /// Given to all brokers while they run.
    DynamicDefault = 3,
    /// The broker's file, environment or flags.
    StaticBroker = 4,
    /// Nobody gave one.
    Default = 5,
    /// The settings of a subscription to clients' metrics.
    ClientMetrics = 7,
    /// The group's own settings.
    Group = 8,
}

impl Source {
    /// Those of a broker's settings, the strongest first.
    pub(super) const GIVEN: [Self; 3] = [
        Self::DynamicBroker,
        Self::DynamicDefault,
        Self::StaticBroker,
    ];
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
        .map(|definition| owned(definition, overrides, Source::Topic, config))
        .collect()
}

/// All settings of a group that has `overrides` of its own, by name.
pub fn describe_group(overrides: &BTreeMap<String, String>, config: &Config) -> Vec<Described> {
    GROUP
        .iter()
        .map(|definition| owned(definition, overrides, Source::Group, config))
        .collect()
}

/// The settings of a subscription to clients' metrics that has `overrides`, by name.
pub fn describe_client_metrics(
    overrides: &BTreeMap<String, String>,
    config: &Config,
) -> Vec<Described> {
    CLIENT_METRICS
        .iter()
        .map(|definition| owned(definition, overrides, Source::ClientMetrics, config))
        .collect()
}

/// A setting of something that may have a value of its own, and else takes the broker's.
fn owned(
    definition: &'static Definition,
    overrides: &BTreeMap<String, String>,
    source: Source,
    config: &Config,
) -> Described {
    let own = overrides.get(definition.name);
    let mut synonyms = Vec::with_capacity(2);
    synonyms.extend(own.map(|value| SynonymValue {
        name: definition.name,
        value: Some(value.clone()),
        source,
    }));
    of_broker(&mut synonyms, definition.synonyms.iter().copied(), config);
    let value = own.cloned().or_else(|| default_value(definition, config));
    described(definition, value, synonyms, false)
}

/// The values of the broker settings `names`, the strongest source first.
fn of_broker(
    synonyms: &mut Vec<SynonymValue>,
    names: impl Iterator<Item = Synonym> + Clone,
    config: &Config,
) {
    for source in Source::GIVEN {
        for synonym in names.clone() {
            let given = config.settings.from(source, synonym.name);
            synonyms.extend(given.map(|value| SynonymValue {
                name: synonym.name,
                value: Some(value.to_owned()),
                source,
            }));
        }
    }
    // Of several names only the strongest is shown with the default of its own, if it has one.
    for synonym in names.take(1) {
        let default = broker(synonym.name).and_then(|definition| definition.default);
        synonyms.extend(default.map(|value| SynonymValue {
            name: synonym.name,
            value: Some(value.to_owned()),
            source: Source::Default,
        }));
    }
}

/// Broker settings that mean one thing, the strongest first.
const SAME: &[&[&str]] = &[
    &[
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    ],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
];

/// The settings under which a broker setting can be given: its own name, or those of [`SAME`].
fn names_of(name: &'static str) -> impl Iterator<Item = Synonym> + Clone {
    let same = SAME.iter().find(|names| names.contains(&name));
    let names = match (same, name) {
        (Some(names), _) => names.to_vec(),
        (None, "log.flush.interval.ms") => vec![name, "log.flush.scheduler.interval.ms"],
        (None, _) => vec![name],
    };
    names.into_iter().map(|name| Synonym { name, factor: 1 })
}

/// All settings of the broker, by name.
pub fn describe_broker(config: &Config) -> Vec<Described> {
    all_broker()
        .iter()
        .map(|definition| {
            let mut synonyms = Vec::with_capacity(1);
            of_broker(&mut synonyms, names_of(definition.name), config);
            let value = config.value_of(definition.name);
            described(definition, value, synonyms, !definition.dynamic)
        })
        .collect()
}

/// The settings given to all brokers while they run, by name.
pub fn describe_cluster(config: &Config) -> Vec<Described> {
    all_broker()
        .iter()
        .filter_map(|definition| {
            let value = config
                .settings
                .from(Source::DynamicDefault, definition.name)?;
            let synonyms = vec![SynonymValue {
                name: definition.name,
                value: Some(value.to_owned()),
                source: Source::DynamicDefault,
            }];
            let value = Some(value.to_owned());
            Some(described(definition, value, synonyms, !definition.dynamic))
        })
        .collect()
}

fn described(
    definition: &'static Definition,
    value: Option<String>,
    mut synonyms: Vec<SynonymValue>,
    read_only: bool,
) -> Described {
    if definition.sensitive() {
        for synonym in &mut synonyms {
            synonym.value = None;
        }
    }
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
