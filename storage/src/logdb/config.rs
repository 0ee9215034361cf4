//! How a log database is opened.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::{DataUrl, Error, ErrorKind, Options, Result};

/// Where a log database keeps its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageConfig {
    /// In this process; gone when it ends.
    InMemory,
    /// In a directory.
    Local(PathBuf),
    /// Wherever the URL says.
    Url(DataUrl),
}

impl Default for StorageConfig {
    /// The directory `.data`.
    fn default() -> Self {
        Self::Local(".data".into())
    }
}

impl StorageConfig {
    fn url(&self) -> DataUrl {
        match self {
            Self::InMemory => DataUrl::Memory,
            Self::Local(path) => DataUrl::File(path.clone()),
            Self::Url(url) => url.clone(),
        }
    }
}

/// When a segment is sealed and the next one begun; whichever comes first, at the next append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentConfig {
    /// After this time; by default an hour, or the retention time if that is less.
    pub seal_interval: Option<Duration>,
    /// Past this many bytes; by default 256 MiB.
    pub seal_byte_limit: Option<u64>,
}

/// What a read of the database that writes sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadVisibility {
    /// All that was appended before the read. What is not durable yet is waited for, so that nothing is
    /// ever shown that a crash could take back.
    #[default]
    Memory,
    /// What is durable at that moment.
    Remote,
}

/// What may be removed. Without limits nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Records older than this may go.
    pub retention: Option<Duration>,
    /// The oldest segments may go while all segments together hold more bytes than this.
    pub retention_bytes: Option<u64>,
    /// Keys that have limits of their own instead of `retention`; the first that matches holds.
    pub keys: Vec<KeyRetention>,
    /// How often to look.
    pub check_interval: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            retention: None,
            retention_bytes: None,
            keys: Vec::new(),
            check_interval: Duration::from_secs(60),
        }
    }
}

/// The limits of keys that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRetention {
    /// A key, in which `*` stands for any run of bytes.
    pub pattern: Bytes,
    /// Records older than this may go; `None` keeps them.
    pub retention: Option<Duration>,
    /// The oldest records may go while the log holds more bytes than this, in whole segments.
    pub retention_bytes: Option<u64>,
}

impl KeyRetention {
    /// Whether the limits are those of `key`.
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        let mut parts = self.pattern.split(|&byte| byte == b'*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = key.strip_prefix(first) else {
            return false;
        };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            if part.is_empty() {
                continue;
            }
            match rest.windows(part.len()).position(|found| found == part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

/// How a [`crate::LogDb`] is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where the bytes lie.
    pub storage: StorageConfig,
    /// When segments are sealed.
    pub segmentation: SegmentConfig,
    /// What reads see.
    pub read_visibility: ReadVisibility,
    /// What may be removed.
    pub retention: RetentionConfig,
    /// Whether to go without syncing a local disk: faster, and a power cut loses the last moments.
    pub no_fsync: bool,
}

impl Config {
    /// What it says to the store.
    pub(super) fn options(&self) -> Result<Options> {
        let invalid = |problem: &str| Err(Error::new(ErrorKind::Invalid, problem));
        let zero = Some(Duration::ZERO);
        let SegmentConfig {
            seal_interval,
            seal_byte_limit,
        } = self.segmentation;
        let rules = &self.retention;
        if seal_interval == zero || seal_byte_limit == Some(0) {
            return invalid("seal_interval and seal_byte_limit must be more than 0");
        }
        if rules.check_interval.is_zero() {
            return invalid("check_interval must be more than 0");
        }
        if rules.retention == zero
            || rules.retention_bytes == Some(0)
            || rules
                .keys
                .iter()
                .any(|key| key.retention == zero || key.retention_bytes == Some(0))
        {
            return invalid(
                "a retention of 0 would remove everything; leave it out to keep everything",
            );
        }
        let shortest = rules.keys.iter().map(|key| key.retention);
        let shortest = shortest.chain([rules.retention]).flatten().min();
        if let (Some(retention), Some(interval)) = (shortest, seal_interval)
            && retention < interval
        {
            return invalid(
                "retention must be at least as large as seal_interval: records are freed in whole \
                 segments, which would be kept for longer",
            );
        }
        let mut options = Options::new(self.storage.url());
        options.fsync = !self.no_fsync;
        let interval = options.segment_interval;
        options.segment_interval =
            seal_interval.unwrap_or_else(|| shortest.map_or(interval, |time| interval.min(time)));
        options.segment_bytes = seal_byte_limit.unwrap_or(options.segment_bytes);
        Ok(options)
    }
}

/// How a [`crate::LogDbReader`] is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// Where the bytes lie.
    pub storage: StorageConfig,
    /// How often to look for what is new.
    pub refresh_interval: Duration,
}

impl Default for ReaderConfig {
    fn default() -> Self {
        Self {
            storage: StorageConfig::default(),
            refresh_interval: Duration::from_secs(1),
        }
    }
}

impl ReaderConfig {
    pub(super) fn options(&self) -> Options {
        Options::new(self.storage.url())
    }
}

impl From<Config> for ReaderConfig {
    /// A reader of what a database with this configuration writes.
    fn from(config: Config) -> Self {
        Self {
            storage: config.storage,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_keys() {
        let matches = |pattern: &'static str, key: &str| {
            let rule = KeyRetention {
                pattern: pattern.into(),
                retention: None,
                retention_bytes: None,
            };
            rule.matches(key.as_bytes())
        };
        assert!(matches("a", "a") && !matches("a", "ab") && !matches("a", ""));
        assert!(matches("*", "") && matches("*", "abc"));
        assert!(matches("a*", "a") && matches("a*", "abc") && !matches("a*", "ba"));
        assert!(matches("*:x", "a:x") && !matches("*:x", "a:xy"));
        assert!(matches("a*b*c", "a-b-b-c") && !matches("a*b*c", "a-c"));
        assert!(!matches("ab*b", "ab"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_reason() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.options().expect_err("refused").to_string()
        };
        let second = Duration::from_secs(1);
        assert!(second > Duration::ZERO);
        assert!(refused(|c| c.segmentation.seal_byte_limit = Some(0)).contains("seal_byte_limit"));
        assert!(refused(|c| c.retention.retention = Some(Duration::ZERO)).contains("of 0"));
        let below = refused(|c| {
            c.segmentation.seal_interval = Some(Duration::from_secs(2));
            c.retention.retention = Some(Duration::from_secs(1));
        });
        assert!(
            below.contains("at least as large as seal_interval"),
            "{below}"
        );
        let mut equal = Config::default();
        equal.segmentation.seal_interval = Some(second);
        equal.retention.retention = Some(second);
        assert_eq!(equal.options().expect("works").segment_interval, second);
    }
}
