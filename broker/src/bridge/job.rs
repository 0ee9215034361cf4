//! What a job of the bridge is to do, and what has to be remembered of it. Pure; [`Job::encode`] gives
//! the row `bridge/job/NAME`: a format byte, and the job as JSON.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Every row of a job starts so.
pub(super) const ROWS: &[u8] = b"bridge/job/";

const FORMAT: u8 = 1;

/// The name of a job that was given none.
pub const DEFAULT_NAME: &str = "default";

/// A job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Job {
    /// Addresses of the source, comma-separated.
    pub source: String,
    /// A Kafka client's properties file, on the broker's machine. It is read at each start, so that no
    /// secret is stored.
    pub properties: Option<String>,
    /// Names and expressions of the topics to copy; all if there are none.
    pub topics: Vec<String>,
    /// Names and expressions of those to leave out.
    pub exclude: Vec<String>,
    /// Most bytes a second.
    pub limit: Option<u64>,
    /// Whether it rests.
    pub paused: bool,
    /// The topics that it has made here.
    pub made: BTreeSet<String>,
    /// Partitions (`TOPIC/N`) that cannot be copied on, and why.
    pub failed: BTreeMap<String, String>,
    /// Groups that have become active here, and are not touched any more.
    pub active: BTreeSet<String>,
    /// Topics whose source gave them no id.
    pub without_ids: BTreeSet<String>,
}

/// Why a stored job cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the row of bridge job {name:?} {why}")]
pub(crate) struct JobRowError {
    name: String,
    why: String,
}

impl Job {
    /// The key of the row.
    pub(super) fn key(name: &str) -> Bytes {
        [ROWS, name.as_bytes()].concat().into()
    }

    /// The value of the row.
    pub(super) fn encode(&self) -> Bytes {
        let mut value = vec![FORMAT];
        value.extend(serde_json::to_vec(self).expect("texts and numbers can be written as JSON"));
        value.into()
    }

    /// The other way round, with the name.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(String, Self), JobRowError> {
        let name = key.strip_prefix(ROWS).unwrap_or(key);
        let name = String::from_utf8_lossy(name).into_owned();
        let failed = |why: String| JobRowError {
            name: name.clone(),
            why,
        };
        match value {
            [FORMAT, json @ ..] => {
                let job = serde_json::from_slice(json);
                let job = job.map_err(|error| failed(format!("is damaged: {error}")))?;
                Ok((name, job))
            }
            [other, ..] => Err(failed(format!(
                "has format {other}, this version knows {FORMAT}: start the version that wrote it"
            ))),
            [] => Err(failed("is empty".into())),
        }
    }
}

/// How many bytes may be copied, at a steady rate.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    bytes_per_second: u64,
    /// Until when what was taken so far keeps the line busy.
    busy_until_ms: i64,
}

impl Bucket {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            busy_until_ms: 0,
        }
    }

    /// How much to take at once, so that it comes steadily: what half a second gives.
    pub(super) fn at_once(&self) -> i32 {
        i32::try_from(self.bytes_per_second / 2)
            .unwrap_or(i32::MAX)
            .max(64 << 10)
    }

    /// Takes `bytes`, and says for how many milliseconds to wait before taking more.
    pub(super) fn take(&mut self, bytes: u64, now_ms: i64) -> u64 {
        let takes = bytes.saturating_mul(1000) / self.bytes_per_second;
        let begins = self.busy_until_ms.max(now_ms);
        self.busy_until_ms = begins.saturating_add(i64::try_from(takes).unwrap_or(i64::MAX));
        u64::try_from(self.busy_until_ms - now_ms).unwrap_or(0)
    }
}

/// Bytes a second, as people write them: `50MB/s`, `1GB`, `800000`.
pub fn parse_rate(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text);
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    let rate = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (rate > 0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Pins what is on disk; see the tests of `metadata::rows`.
    #[test]
    fn golden() {
        let job = Job {
            source: "a:9092".into(),
            topics: vec!["t.*".into()],
            limit: Some(5),
            made: BTreeSet::from(["t1".into()]),
            failed: BTreeMap::from([("t1/0".into(), "gone".into())]),
            ..Job::default()
        };
        assert_eq!(&Job::key("prod")[..], b"bridge/job/prod");
        let json = concat!(
            r#"{"source":"a:9092","properties":null,"topics":["t.*"],"exclude":[],"limit":5,"#,
            r#""paused":false,"made":["t1"],"failed":{"t1/0":"gone"},"active":[],"without_ids":[]}"#
        );
        assert_eq!(job.encode(), [&[1], json.as_bytes()].concat());
        let read = Job::decode(&Job::key("prod"), &job.encode());
        assert_eq!(read, Ok(("prod".into(), job.clone())));
        for value in [&b""[..], b"\x02{}", b"\x01{", b"\x01{\"other\":1}"] {
            assert!(Job::decode(b"bridge/job/x", value).is_err());
        }
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!(parse_rate("50MB/s"), Some(50_000_000));
        assert_eq!(parse_rate("1 GiB"), Some(1 << 30));
        assert_eq!(parse_rate("800000"), Some(800_000));
        for wrong in ["", "fast", "0", "-1", "5 parsecs", "99999999999GB"] {
            assert_eq!(parse_rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bucket_gives_its_rate() {
        assert_eq!(Bucket::new(1_000_000).at_once(), 500_000);
        assert_eq!(Bucket::new(1).at_once(), 64 << 10);
        assert_eq!(Bucket::new(u64::MAX).at_once(), i32::MAX);
        let mut bucket = Bucket::new(1000);
        assert_eq!(bucket.take(500, 10_000), 500);
        assert_eq!(bucket.take(500, 10_000), 1000);
        assert_eq!(bucket.take(1000, 11_000), 1000);
        // Time that was not used is not saved up.
        assert_eq!(bucket.take(100, 60_000), 100);
    }
}
