//! Retention: moves the start of logs up once their records are too old or too many.
//!
//! A record goes when it and all before it in its log are older than `retention.ms`, or when what
//! follows it is `retention.bytes` or more: exact to a row of the store (a batch, or some small ones
//! that came together), as Kafka is exact to a segment. What a log starts with is remembered, so that a
//! partition that nobody uses is not opened before something of it is due.

use std::collections::HashMap;

use trestle_storage::{Log, Result};

use super::Partitions;
use super::leader::{AppendError, Partition, from_offset};
use crate::config::TopicConfig;
use crate::metadata::{Image, Topic};
use crate::types::{PartitionIndex, Timestamp, TopicId};

/// What is known of the partitions since they were last looked at.
#[derive(Debug, Default)]
pub struct Retention {
    known: HashMap<(TopicId, PartitionIndex), Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    start_offset: u64,
    end_offset: u64,
    /// The highest timestamp of what it starts with; `None` if it was empty.
    oldest: Option<Timestamp>,
    /// `retention.bytes` then.
    retention_bytes: i64,
}

impl Retention {
    /// Enforces the retention of every topic of `image` that `delete` applies to, and returns how many
    /// logs were cut.
    pub async fn enforce(
        &mut self,
        partitions: &Partitions,
        image: &Image,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) -> usize {
        self.known
            .retain(|(topic, _), _| image.topic_by_id(topic).is_some());
        let mut cut = 0;
        for topic in image.topics.values() {
            let config = &topic.config;
            let keeps_all = config.retention_ms < 0 && config.retention_bytes < 0;
            if !config.cleanup_delete || keeps_all || topic.mirror.is_some() {
                continue;
            }
            for index in 0..topic.partitions.len() {
                let index = PartitionIndex::try_from(index).unwrap_or(PartitionIndex::MAX);
                let enforced =
                    self.enforce_one(partitions, topic, index, now, producer_expiration_ms);
                match enforced.await {
                    Ok(moved) => cut += usize::from(moved),
                    // It was deleted meanwhile, or the store will say more by itself.
                    Err(error) => {
                        tracing::debug!(topic = %topic.name, index, %error, "retention was not enforced");
                    }
                }
            }
        }
        cut
    }

    async fn enforce_one(
        &mut self,
        partitions: &Partitions,
        topic: &Topic,
        index: PartitionIndex,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) -> Result<bool, AppendError> {
        let key = (topic.id, index);
        let open = partitions.peek(topic.id, index);
        if let Some(known) = self.known.get(&key)
            && !is_due(known, open.as_deref(), &topic.config, now)
        {
            return Ok(false);
        }
        let log = match &open {
            Some(partition) => partition.log().clone(),
            None => partitions.log_of(topic, index).await?,
        };
        let bounds = log.bounds();
        let oldest = match bounds.start_offset < bounds.end_offset {
            true => log.first_timestamp().await?,
            false => None,
        };
        let cut = match oldest {
            Some(oldest) => cut(&log, oldest, &topic.config, now).await?,
            None => bounds.start_offset,
        };
        if cut <= bounds.start_offset {
            let known = Known {
                start_offset: bounds.start_offset,
                end_offset: bounds.end_offset,
                oldest,
                retention_bytes: topic.config.retention_bytes,
            };
            self.known.insert(key, known);
            return Ok(false);
        }
        self.known.remove(&key);
        let Some(partition) = partitions.get(topic, index).await? else {
            return Ok(false);
        };
        partition
            .checkpoint(Some(cut), now, producer_expiration_ms)
            .await?;
        tracing::debug!(topic = %topic.name, index, start = cut, "records went by retention");
        Ok(true)
    }
}

/// Whether something of a partition may have to go.
fn is_due(known: &Known, open: Option<&Partition>, config: &TopicConfig, now: Timestamp) -> bool {
    let (start_offset, end_offset) = match open {
        Some(partition) => {
            let bounds = partition.log().bounds();
            (bounds.start_offset, bounds.end_offset)
        }
        // Nothing is appended to what is not open.
        None => (known.start_offset, known.end_offset),
    };
    if start_offset != known.start_offset {
        return true;
    }
    let grew = end_offset != known.end_offset;
    let Some(oldest) = known.oldest else {
        return grew;
    };
    let old = config.retention_ms >= 0 && is_expired(oldest, config.retention_ms, now);
    // Without growth nothing is too large that was not when it was looked at, but for another limit.
    let changed = config.retention_bytes != known.retention_bytes;
    old || config.retention_bytes >= 0 && (grew || changed)
}

fn is_expired(timestamp: Timestamp, retention_ms: i64, now: Timestamp) -> bool {
    now.saturating_sub(timestamp) > retention_ms
}

/// The offset at which `log` is to start.
async fn cut(log: &Log, oldest: Timestamp, config: &TopicConfig, now: Timestamp) -> Result<u64> {
    let bounds = log.bounds();
    let mut start = bounds.start_offset;
    if config.retention_ms >= 0 && is_expired(oldest, config.retention_ms, now) {
        let horizon = now.saturating_sub(config.retention_ms);
        start = start.max(match bounds.max_timestamp {
            // Records without time are as old as what came after them.
            -1 => cut_by_windows(log, horizon).await?,
            _ => log.search_from(horizon).await?.unwrap_or(bounds.end_offset),
        });
    }
    if config.retention_bytes >= 0 {
        let max_bytes = from_offset(config.retention_bytes);
        start = start.max(log.cut_for_bytes(max_bytes).await?);
    }
    Ok(start.min(bounds.end_offset))
}

/// The start of the last window that was opened before `horizon`.
async fn cut_by_windows(log: &Log, horizon: Timestamp) -> Result<u64> {
    let windows = log.windows().await?;
    let opened_before = windows.iter().rev().find(|w| w.opened_ms <= horizon);
    Ok(opened_before.map_or(0, |window| window.first_offset))
}
