//! Fetching raw batches from one broker of the source, in an incremental session (KIP-227): what has
//! not changed is not asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::calls::Place;
use super::{Connection, SourceError};
use crate::types::Offset;

/// The first version with sessions.
const SESSIONS_SINCE: i16 = 7;
/// Kafka's codes of sessions that are not there, or not where one thinks.
const SESSION_NOT_FOUND: i16 = 70;
const SESSION_EPOCH: i16 = 71;

/// What is wanted of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// From this offset on.
    pub offset: Offset,
    /// The epoch of what comes before it, or -1: a source that has something else there says so.
    pub last_epoch: i32,
}

/// What came of a partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Which.
    pub place: Place,
    /// Kafka's error.
    pub error: i16,
    /// One past the last record that consumers see; -1 if not said.
    pub high_watermark: Offset,
    /// The lowest offset that may be read; -1 if not said.
    pub log_start: Offset,
    /// Set if the source's log is another one: the epoch and offset up to which it may be the same.
    pub diverging: Option<(i32, Offset)>,
    /// Batches, the last perhaps cut off.
    pub records: Bytes,
}

/// How much is fetched, and how long is waited for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes in a response.
    pub max_bytes: i32,
    /// Most bytes of one partition.
    pub partition_max_bytes: i32,
    /// How long to wait for something to come.
    pub wait: Duration,
}

/// Fetches from one broker.
#[derive(Debug)]
pub struct Fetcher {
    connection: Connection,
    session: i32,
    epoch: i32,
    wanted: BTreeMap<Place, Wanted>,
    /// Of those, what the session does not know.
    news: BTreeSet<Place>,
    /// What the session knows and is not wanted any more.
    dropped: BTreeSet<Place>,
}

impl Fetcher {
    /// A fetcher over `connection`.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            session: 0,
            epoch: 0,
            wanted: BTreeMap::new(),
            news: BTreeSet::new(),
            dropped: BTreeSet::new(),
        }
    }

    /// Wants a partition, from now on or from another offset.
    pub fn want(&mut self, place: Place, wanted: Wanted) {
        if self.wanted.get(&place) != Some(&wanted) {
            self.dropped.remove(&place);
            self.news.insert(place.clone());
            self.wanted.insert(place, wanted);
        }
    }

    /// Wants a partition no more.
    pub fn drop(&mut self, place: &Place) {
        if self.wanted.remove(place).is_some() {
            self.news.remove(place);
            self.dropped.insert(place.clone());
        }
    }

    /// The partitions that are wanted.
    pub fn wanted(&self) -> impl Iterator<Item = &Place> {
        self.wanted.keys()
    }

    /// Fetches what is wanted. In a session, partitions without news are not in the answer.
    pub async fn fetch(&mut self, limits: Limits) -> Result<Vec<Fetched>, SourceError> {
        let version = self.connection.version(ApiKey::Fetch)?;
        let sessions = version >= SESSIONS_SINCE;
        let running = sessions && self.session != 0;
        let none = BTreeSet::new();
        let (asked, forgotten): (Vec<_>, _) = match running {
            true => {
                let asked = self.news.iter();
                let asked = asked.filter_map(|place| self.wanted.get_key_value(place));
                (asked.collect(), &self.dropped)
            }
            false => (self.wanted.iter().collect(), &none),
        };
        let mut topics: Vec<FetchTopic> = Vec::new();
        for ((name, index), wanted) in asked {
            let partition = FetchPartition::default()
                .with_partition(*index)
                .with_current_leader_epoch(-1)
                .with_fetch_offset(wanted.offset)
                .with_last_fetched_epoch(if version >= 12 { wanted.last_epoch } else { -1 })
                .with_log_start_offset(-1)
                .with_partition_max_bytes(limits.partition_max_bytes);
            match topics.last_mut() {
                Some(last) if &*last.topic.0 == name.as_str() => last.partitions.push(partition),
                _ => topics.push(
                    FetchTopic::default()
                        .with_topic(topic_name(name))
                        .with_partitions(vec![partition]),
                ),
            }
        }
        let mut gone: Vec<ForgottenTopic> = Vec::new();
        for (name, index) in forgotten {
            match gone.last_mut() {
                Some(last) if &*last.topic.0 == name.as_str() => last.partitions.push(*index),
                _ => gone.push(
                    ForgottenTopic::default()
                        .with_topic(topic_name(name))
                        .with_partitions(vec![*index]),
                ),
            }
        }
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(i32::try_from(limits.wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(1)
            .with_max_bytes(limits.max_bytes)
            .with_isolation_level(0)
            .with_session_id(if running { self.session } else { 0 })
            .with_session_epoch(if sessions { self.epoch } else { -1 })
            .with_topics(topics)
            .with_forgotten_topics_data(gone);
        let response = self.connection.call_waiting(&request, limits.wait).await?;
        if [SESSION_NOT_FOUND, SESSION_EPOCH].contains(&response.error_code) {
            // The source has dropped it; the next request begins another.
            self.session = 0;
            self.epoch = 0;
            return Ok(Vec::new());
        }
        super::check_code(|| "Fetch".into(), response.error_code)?;
        if sessions {
            self.session = response.session_id;
            self.epoch = match response.session_id {
                0 => 0,
                _ => self.epoch.checked_add(1).unwrap_or(1),
            };
            self.news.clear();
            self.dropped.clear();
        }
        let mut all = Vec::new();
        for topic in response.responses {
            for partition in topic.partitions {
                let diverging = partition.diverging_epoch;
                all.push(Fetched {
                    place: (topic.topic.to_string(), partition.partition_index),
                    error: partition.error_code,
                    high_watermark: partition.high_watermark,
                    log_start: partition.log_start_offset,
                    diverging: (diverging.end_offset >= 0)
                        .then_some((diverging.epoch, diverging.end_offset)),
                    records: partition.records.unwrap_or_default(),
                });
            }
        }
        Ok(all)
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
