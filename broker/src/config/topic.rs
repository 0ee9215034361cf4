//! What holds for a topic: its own settings over the broker's.

use std::collections::BTreeMap;

use super::definition::{Definition, Support, Synonym};
use super::definitions::topic;
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
    /// `delete.retention.ms`: how long compaction keeps a tombstone.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: how long a record stays as it is.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: how long a record may wait for compaction.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`: share of a log that must be dirty, from 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `segment.ms`: a hint how long records may wait until they can go as a whole.
    pub segment_ms: i64,
    /// `compression.type`: the codec that batches are kept in; `None` for their producer's.
    pub compression: Option<CompressionType>,
}

/// `compression.type`, where it names a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// None at all.
    Uncompressed,
    /// Gzip at this level; -1 is the codec's own.
    Gzip(i32),
    /// Snappy.
    Snappy,
    /// LZ4 at this level.
    Lz4(i32),
    /// Zstandard at this level.
    Zstd(i32),
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
        let level = |name| i32::try_from(number(name)).unwrap_or(-1);
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
            delete_retention_ms: number("delete.retention.ms"),
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            max_compaction_lag_ms: number("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            segment_ms: number("segment.ms"),
            compression: match text("compression.type").as_str() {
                "uncompressed" => Some(CompressionType::Uncompressed),
                "gzip" => Some(CompressionType::Gzip(level("compression.gzip.level"))),
                "snappy" => Some(CompressionType::Snappy),
                "lz4" => Some(CompressionType::Lz4(level("compression.lz4.level"))),
                "zstd" => Some(CompressionType::Zstd(level("compression.zstd.level"))),
                _ => None,
            },
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
        .or_else(|| default_value(definition, config))
        .unwrap_or_default()
}

/// The value of a topic or group setting for those that have none of their own.
pub(super) fn default_value(definition: &Definition, config: &Config) -> Option<String> {
    definition
        .synonyms
        .iter()
        .find_map(|synonym| Some(converted(synonym, config.settings.get(synonym.name)?)))
        .or_else(|| definition.default.map(str::to_owned))
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
