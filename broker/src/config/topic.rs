//! What holds for a topic: its own settings over the broker's.

use std::collections::BTreeMap;

use super::definition::{Definition, Support, Synonym};
use super::definitions::{broker, topic};
use super::settings::unknown_topic_setting;
use super::{Config, ConfigError};

/// `message.timestamp.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's timestamps are kept.
    CreateTime,
    /// The broker's clock at the append.
    LogAppendTime,
}

/// Effective settings of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `max.message.bytes`: largest batch.
    pub max_message_bytes: i32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `cleanup.policy` holds `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` holds `compact`.
    pub cleanup_compact: bool,
    /// `retention.ms`; -1 for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 for no limit.
    pub retention_bytes: i64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::effective(&BTreeMap::new(), &Config::default())
    }
}

impl TopicConfig {
    /// What holds for a topic with these settings of its own on a broker with that config.
    ///
    /// `overrides` are as [`check_topic_overrides`] returned them; one that an older version stored
    /// and that no longer fits counts as not given.
    pub fn effective(overrides: &BTreeMap<String, String>, config: &Config) -> Self {
        let text = |name| value(name, overrides, config);
        let number = |name| {
            text(name)
                .parse::<i64>()
                .expect("checked against the table, where it is a number")
        };
        let policy = text("cleanup.policy");
        let has = |word| policy.split(',').any(|policy| policy == word);
        Self {
            max_message_bytes: i32::try_from(number("max.message.bytes")).unwrap_or(i32::MAX),
            timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            cleanup_delete: has("delete"),
            cleanup_compact: has("compact"),
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes").max(-1),
        }
    }
}

/// Checks the settings given to a topic, and returns what is to be stored of them: values in their
/// plain form, without those that are accepted for the sake of older tools only.
///
/// # Errors
/// A name that is not a topic's, a value that it does not take, or two that contradict each other;
/// `INVALID_CONFIG` with this text, on the wire.
pub fn check_topic_overrides(
    overrides: &BTreeMap<String, String>,
    config: &Config,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut checked = BTreeMap::new();
    for (name, value) in overrides {
        let definition = topic(name).ok_or_else(|| unknown_topic_setting(name))?;
        let value = definition.check(value)?;
        if definition.support == Support::Ignored {
            tracing::warn!(
                setting = name,
                "a topic setting that Kafka 4.0 removed is ignored"
            );
        } else {
            checked.insert(name.clone(), value);
        }
    }
    let lag = |name| value(name, &checked, config).parse::<i64>().ok();
    let (min, max) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
    if min > max {
        return Err(ConfigError::Conflict(format!(
            "min.compaction.lag.ms ({}) is above max.compaction.lag.ms ({}); lower the one or raise the other",
            min.unwrap_or_default(),
            max.unwrap_or_default(),
        )));
    }
    Ok(checked)
}

/// The value of the topic setting `name`: the topic's own, else the broker's.
fn value(name: &str, overrides: &BTreeMap<String, String>, config: &Config) -> String {
    let definition = topic(name).expect("asked for by a name of the table");
    overrides
        .get(name)
        .and_then(|value| definition.check(value).ok())
        .unwrap_or_else(|| default_value(definition, config))
}

/// The value of a topic setting for topics that have none of their own.
pub(super) fn default_value(definition: &Definition, config: &Config) -> String {
    definition
        .synonyms
        .iter()
        .find_map(|synonym| Some(converted(synonym, config.settings.get(synonym.name)?)))
        .unwrap_or_else(|| definition.default.unwrap_or_default().to_owned())
}

/// A broker setting's value in the unit of the topic setting that it is the default of.
fn converted(synonym: &Synonym, value: &str) -> String {
    match value.parse::<i64>() {
        Ok(number) if synonym.factor != 1 && number >= 0 => {
            number.saturating_mul(synonym.factor).to_string()
        }
        Ok(_) | Err(_) => value.to_owned(),
    }
}

/// The default that the table gives a broker setting.
pub(super) fn broker_default(synonym: &Synonym) -> Option<&'static str> {
    broker(synonym.name)?.default
}
