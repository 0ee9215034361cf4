//! How a store is opened: where its bytes lie, and the limits it keeps to.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::{Error, ErrorKind, Metrics};

/// Where a store keeps its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataUrl {
    /// In this process; gone when it ends.
    Memory,
    /// A directory on a local disk.
    File(PathBuf),
    /// A prefix in an S3 bucket; endpoint, region and credentials come from the AWS variables.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Path of the store within the bucket, without slashes at its ends.
        prefix: String,
    },
}

impl FromStr for DataUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        let invalid = |why: &str| {
            Error::new(
                ErrorKind::Invalid,
                format!("data URL {url:?}: {why}; use memory:, file:PATH or s3://BUCKET/PREFIX"),
            )
        };
        if url == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = url.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(invalid("the path is empty"));
            }
            return Ok(Self::File(PathBuf::from(path)));
        }
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            if bucket.is_empty() {
                return Err(invalid("the bucket is empty"));
            }
            if prefix.is_empty() {
                return Err(invalid("the prefix is empty"));
            }
            return Ok(Self::S3 {
                bucket: bucket.into(),
                prefix: prefix.into(),
            });
        }
        Err(invalid("the scheme is not known"))
    }
}

impl std::fmt::Display for DataUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// Settings of a [`crate::Store`]. `Options::new(url)` gives the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the bytes lie.
    pub data: DataUrl,
    /// Whether a local disk is synced before anything is acknowledged. Default true.
    pub fsync: bool,
    /// A segment is closed at the append that takes it past this many bytes. Default 256 MiB.
    pub segment_bytes: u64,
    /// A segment is closed at the first append after this time. Default 1 h.
    pub segment_interval: Duration,
    /// An index row is written for a log about every so many bytes. Default 64 KiB.
    pub index_interval_bytes: u64,
    /// One memtable; two can exist at a time. Default 32 MiB.
    pub memtable_bytes: usize,
    /// Recent entries kept in memory for readers that keep up, over all logs. Default 64 MiB.
    pub tail_bytes: usize,
    /// Blocks, indexes and filters kept in memory. Default 48 MiB.
    pub cache_bytes: usize,
    /// Entries read ahead of readers that go through a log in small pieces, over all logs. Default
    /// 16 MiB.
    pub scan_ahead_bytes: usize,
    /// Bytes handed to the store and not yet durable, past which commits wait. Default 16 MiB.
    pub in_flight_bytes: usize,
    /// A file of the write-ahead log is closed past this many bytes. Default 32 MiB.
    pub wal_file_bytes: u64,
    /// On S3, the pause before a flush, so that more commits share one object. Default 10 ms.
    pub flush_linger: Duration,
    /// On S3, the least time from one flush to the next: it bounds the requests a second. Default
    /// 100 ms.
    pub flush_interval: Duration,
    /// How often the store looks for rows to compact and, less often, for files to remove, while it is
    /// written to; at rest it hardly looks. Default 1 s; on S3 at least 15 s.
    pub upkeep_interval: Duration,
    /// A segment is rewritten once this share of it is dead, in percent. Default 20.
    pub reclaim_percent: u32,
    /// A segment is not rewritten before nothing more of it has died for so long, or three times as
    /// long have passed; it may die as a whole. After three times as long in which nothing more has died,
    /// a quarter of the share is enough. Default 5 min 30 s.
    pub reclaim_delay: Duration,
    /// Past this many segments, neighbours are merged whatever their size; small ones are anyway.
    /// With 0, the default, none are merged.
    pub max_segments: usize,
    /// What the store and the engine count with. By default nothing is counted.
    pub metrics: Metrics,
}

impl Options {
    /// The defaults for a store at `data`.
    pub fn new(data: DataUrl) -> Self {
        Self {
            data,
            fsync: true,
            segment_bytes: 256 << 20,
            segment_interval: Duration::from_secs(3600),
            index_interval_bytes: 64 << 10,
            memtable_bytes: 32 << 20,
            tail_bytes: 64 << 20,
            cache_bytes: 48 << 20,
            scan_ahead_bytes: 16 << 20,
            in_flight_bytes: 16 << 20,
            wal_file_bytes: 32 << 20,
            flush_linger: Duration::from_millis(10),
            flush_interval: Duration::from_millis(100),
            upkeep_interval: Duration::from_secs(1),
            reclaim_percent: 20,
            reclaim_delay: Duration::from_secs(330),
            max_segments: 0,
            metrics: Metrics::default(),
        }
    }
}
