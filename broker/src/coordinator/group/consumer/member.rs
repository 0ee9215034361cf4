//! A member of a consumer group: what it said of itself, and how far it has walked to its target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::assignor::Assignor;
use crate::types::{PartitionIndex, TopicId};

/// Epoch with which a member joins.
pub const JOINING: i32 = 0;
/// Epoch with which a member leaves for good.
pub const LEAVING: i32 = -1;
/// Epoch with which a static member leaves for a while; its place is kept until the session ends.
pub const AWAY: i32 = -2;

/// Partitions by topic, sorted.
pub type Partitions = BTreeMap<TopicId, Vec<PartitionIndex>>;

/// Partitions by topic, each with the member epoch at which it was given.
pub type Assigned = BTreeMap<TopicId, BTreeMap<PartitionIndex, i32>>;

/// What a member said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Name of a static member.
    pub instance: Option<Arc<str>>,
    /// Where it runs; kept and shown, not used.
    pub rack: Option<Arc<str>>,
    /// Client id of its last request.
    pub client_id: Arc<str>,
    /// Address of its last request, as Kafka writes it.
    pub client_host: Arc<str>,
    /// How long it may take to give up partitions, in milliseconds.
    pub rebalance_timeout: i32,
    /// The topics it wants, by name.
    pub topics: BTreeSet<Arc<str>>,
    /// It also wants the topics whose whole name matches; empty for none.
    pub regex: Arc<str>,
    /// The assignor it would like.
    pub assignor: Option<Assignor>,
    /// What else there is to know of a member that speaks the classic protocol.
    pub classic: Option<ClassicSide>,
}

/// A member that speaks the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicSide {
    /// Its session timeout, in milliseconds.
    pub session_timeout: i32,
    /// Its protocols with their metadata, in its order; never empty.
    pub protocols: Vec<(Arc<str>, Bytes)>,
}

impl ClassicSide {
    /// The protocol that it is told.
    pub fn protocol(&self) -> Arc<str> {
        self.protocols
            .first()
            .map_or_else(Arc::default, |(name, _)| name.clone())
    }

    /// The metadata that goes with it.
    pub fn metadata(&self) -> &[u8] {
        self.protocols.first().map_or(&[], |(_, metadata)| metadata)
    }
}

/// How far a member is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// It has what it is to have at its epoch.
    #[default]
    Stable,
    /// It has been told to give up partitions, and has not yet said that it did.
    Unrevoked,
    /// It waits for partitions that others have not given up yet.
    Unreleased,
}

/// Where a member stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Its epoch; [`AWAY`] for a static member that will be back.
    pub epoch: i32,
    /// Its epoch before: still accepted, in case the answer with the new one was lost.
    pub previous: i32,
    /// How far it is.
    pub progress: Progress,
    /// What it may use.
    pub assigned: Assigned,
    /// What it is to give up.
    pub revoking: Assigned,
}

impl Position {
    /// Whether it has all that the target of `epoch` gives it.
    pub fn has_reached(&self, epoch: i32) -> bool {
        self.progress == Progress::Stable && self.epoch == epoch
    }

    /// What it may use, as it is told.
    pub fn partitions(&self) -> Partitions {
        let by_topic = self.assigned.iter();
        by_topic
            .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
            .collect()
    }

    /// Whether all of `owned` is what it may use.
    pub fn covers(&self, owned: &Partitions) -> bool {
        owned.iter().all(|(topic, partitions)| {
            self.assigned.get(topic).is_some_and(|assigned| {
                partitions
                    .iter()
                    .all(|partition| assigned.contains_key(partition))
            })
        })
    }

    /// Whether both may use the same.
    pub fn has_same_partitions(&self, other: &Self) -> bool {
        self.assigned.len() == other.assigned.len()
            && self
                .assigned
                .iter()
                .zip(&other.assigned)
                .all(|(own, others)| own.0 == others.0 && own.1.keys().eq(others.1.keys()))
    }

    /// Everything that nobody else may have now.
    pub fn holds(&self) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
        let all = self.assigned.iter().chain(&self.revoking);
        all.flat_map(|(topic, partitions)| partitions.keys().map(|partition| (*topic, *partition)))
    }

    /// The epoch at which it was given a partition that it uses or gives up.
    pub fn given_at(&self, topic: &TopicId, partition: PartitionIndex) -> Option<i32> {
        let given = |assigned: &Assigned| assigned.get(topic)?.get(&partition).copied();
        given(&self.assigned).or_else(|| given(&self.revoking))
    }
}
