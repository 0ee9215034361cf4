//! Partitions: a log each, plus Kafka's rules for appending to it.
//!
//! This file owns the registry: a partition is opened when it is first asked for, and retired when
//! its topic is gone from the image.

pub mod batch;
mod cleaner;
mod cleaning;
pub mod compression;
mod control;
mod epochs;
pub mod fetch;
mod key_map;
mod leader;
mod leftovers;
mod mirror;
mod producers;
mod rebuild;
mod recompress;
pub mod records;
mod retention;
mod state;
mod times;
mod together;
mod transactions;
mod waiter;

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::OnceCell;
use trestle_storage::{Error, ErrorKind, Log, Result, Store};

pub use cleaning::{Cleaner, CleanerLimits};
pub use control::Marker;
pub use leader::{AppendError, Offsets, Partition, Receipt};
pub use leftovers::sweep;
pub use mirror::{MirrorError, MirroredBatch, check_mirrored};
pub use producers::{ActiveProducer, ProducerError};
pub use retention::Retention;
pub use times::TimedOffset;
pub use together::{Part, Wait, append_together};
pub use transactions::AbortedTransaction;

use crate::metadata::{Image, Topic};
use crate::placement::Placement;
use crate::types::{PartitionIndex, TopicId};

/// The open partitions.
#[derive(Debug)]
pub struct Partitions {
    store: Store,
    placement: Placement,
    open: DashMap<(TopicId, PartitionIndex), Arc<OnceCell<Arc<Partition>>>>,
}

impl Partitions {
    /// No partition is opened before it is asked for.
    pub fn new(store: Store, placement: Placement) -> Self {
        Self {
            store,
            placement,
            open: DashMap::new(),
        }
    }

    /// Partition `index` of `topic`, opened if need be; `None` if the topic has no such partition.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn get(
        &self,
        topic: &Topic,
        index: PartitionIndex,
    ) -> Result<Option<Arc<Partition>>> {
        let Some(meta) = usize::try_from(index)
            .ok()
            .and_then(|i| topic.partitions.get(i))
        else {
            return Ok(None);
        };
        let key = (topic.id, index);
        if let Some(cell) = self.open.get(&key)
            && let Some(partition) = cell.get()
        {
            return Ok(Some(partition.clone()));
        }
        let cell = self.open.entry(key).or_default().clone();
        let opened: Result<_> = cell
            .get_or_try_init(async || {
                let log = self.store.log(&meta.log_key).await?;
                let leader_epoch = self.placement.leader_epoch(meta);
                Ok(Arc::new(Partition::new(
                    topic.id,
                    leader_epoch,
                    topic.mirror.is_some(),
                    log,
                    self.store.clone(),
                )))
            })
            .await;
        match opened {
            Ok(partition) => Ok(Some(partition.clone())),
            // The store no longer opens the log of a topic that was just deleted.
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The partition, if it is open.
    fn peek(&self, topic_id: TopicId, index: PartitionIndex) -> Option<Arc<Partition>> {
        let cell = self.open.get(&(topic_id, index))?;
        cell.get().cloned()
    }

    /// The log of a partition that need not be open.
    async fn log_of(&self, topic: &Topic, index: PartitionIndex) -> Result<Log> {
        let meta = usize::try_from(index).ok();
        match meta.and_then(|index| topic.partitions.get(index)) {
            Some(meta) => self.store.log(&meta.log_key).await,
            None => Err(Error::new(ErrorKind::Invalid, "there is no such partition")),
        }
    }

    /// Retires the partitions of topics that `image` no longer has, and tells those that the bridge
    /// writes, or has written, what has become of them. A topic that it does not have yet lives: `latest`
    /// is asked after its partition was seen.
    pub fn follow(&self, image: &Image, latest: impl Fn() -> Arc<Image>) {
        self.open.retain(|(topic_id, index), cell| {
            let topic = image.topic_by_id(topic_id).cloned();
            let topic = topic.or_else(|| latest().topic_by_id(topic_id).cloned());
            let Some(partition) = cell.get() else {
                return topic.is_some();
            };
            let Some(topic) = topic else {
                partition.retire();
                return false;
            };
            let meta = usize::try_from(*index).ok();
            if partition.is_mirrored()
                && let Some(meta) = meta.and_then(|index| topic.partitions.get(index))
            {
                let epoch = self.placement.leader_epoch(meta);
                partition.follow(epoch, topic.mirror.is_some());
            }
            true
        });
    }
}
