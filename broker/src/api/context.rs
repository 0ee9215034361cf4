//! What a handler receives.

use std::net::SocketAddr;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use super::errors;
use super::session::Session;
use crate::broker::Rooms;
use crate::metadata::{Image, Topic};
use crate::partition::Partition;
use crate::partition::fetch::check_leader_epoch;
use crate::types::{LeaderEpoch, PartitionIndex};

/// One request's surroundings.
#[derive(Clone, Debug)]
pub struct Context {
    /// The rooms behind the doors.
    pub rooms: Arc<Rooms>,
    /// Cluster metadata as it was when the request arrived.
    pub image: Arc<Image>,
    /// Version of the API that the client chose; within the table's range.
    pub version: i16,
    /// The client's name for itself; empty if it gave none.
    pub client_id: Arc<str>,
    /// Host and port that this client is told to reach this broker at.
    pub advertised: Arc<(String, u16)>,
    /// The client's address.
    pub peer: SocketAddr,
    /// What the connection remembers.
    pub session: Arc<Session>,
    /// Signalled when another request waits behind this one: a handler that waits should answer.
    pub hurry: Arc<Hurry>,
}

impl Context {
    /// The topic called `name`.
    pub(crate) fn topic(&self, name: &str) -> Result<&Arc<Topic>, ResponseError> {
        self.image
            .topic(name)
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// Partition `index` of `topic`, opened if need be.
    pub(crate) async fn partition(
        &self,
        topic: &Topic,
        index: PartitionIndex,
    ) -> Result<Arc<Partition>, ResponseError> {
        let partition = self.rooms.partitions.get(topic, index).await;
        partition
            .map_err(|error| errors::storage(&error))?
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// The same for a client that may say which leader epoch it believes in; -1 says nothing.
    pub(crate) async fn led_partition(
        &self,
        topic: &str,
        index: PartitionIndex,
        believed: i32,
    ) -> Result<Arc<Partition>, ResponseError> {
        let partition = self.partition(self.topic(topic)?, index).await?;
        let believed = (believed != -1).then_some(LeaderEpoch(believed));
        check_leader_epoch(&partition, believed).map_err(|error| errors::fetch(&error))?;
        Ok(partition)
    }
}

/// Says whether a waiting request holds up the one behind it on its connection.
#[derive(Debug, Default)]
pub struct Hurry {
    asked: std::sync::atomic::AtomicBool,
    notify: Notify,
}

impl Hurry {
    /// For the next request.
    pub(crate) fn reset(&mut self) {
        *self.asked.get_mut() = false;
    }

    /// Another request has been read behind this one.
    pub fn ask(&self) {
        self.asked.store(true, std::sync::atomic::Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Returns once [`Hurry::ask`] has been called.
    pub async fn asked(&self) {
        loop {
            let notified = self.notify.notified();
            if self.asked.load(std::sync::atomic::Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}
