//! Why a change of metadata was refused, and why metadata could not be loaded.

use trestle_storage::Error as StorageError;

use super::quota::QuotaError;
use super::rows::RowError;
use crate::types::TopicId;

/// Why a change of metadata was refused. Variants are facts; `api/errors.rs` chooses their codes.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetadataError {
    /// A topic of that name exists.
    #[error("Topic '{0}' already exists.")]
    TopicExists(String),
    /// No topic has that name.
    #[error("Topic '{0}' does not exist.")]
    UnknownTopic(String),
    /// No topic has that id.
    #[error("No topic has the id {0}.")]
    UnknownTopicId(TopicId),
    /// The name is not one that a topic may have.
    #[error("Topic name '{name}' is invalid: {why}.")]
    InvalidName {
        /// The name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The name differs from an existing topic's only in '.' and '_', which metric names cannot tell
    /// apart.
    #[error("Topic '{name}' collides with existing topic '{existing}': '.' and '_' count as one.")]
    NameCollides {
        /// The name.
        name: String,
        /// The topic that it collides with.
        existing: String,
    },
    /// The number of partitions cannot be had.
    #[error("Topic '{topic}': {why}.")]
    InvalidPartitions {
        /// The topic.
        topic: String,
        /// What was asked for, and what may be.
        why: String,
    },
    /// The replication factor cannot be had.
    #[error("Topic '{topic}': {why}.")]
    InvalidReplicationFactor {
        /// The topic.
        topic: String,
        /// What was asked for, and what may be.
        why: String,
    },
    /// Replicas were assigned by hand beside a number of partitions or a replication factor.
    #[error(
        "Topic '{0}': replicas are assigned by hand, so the number of partitions and the replication \
         factor must both be -1."
    )]
    AssignmentBesideCounts(String),
    /// The assignment of replicas by hand does not fit the partitions or the brokers.
    #[error("Topic '{topic}': {why}.")]
    InvalidAssignment {
        /// The topic.
        topic: String,
        /// What does not fit.
        why: String,
    },
    /// A setting is unknown, or its value is not one that it takes.
    #[error("{of}: {why}")]
    InvalidConfig {
        /// Whose it is, as in "Topic 'orders'".
        of: String,
        /// The setting, its value, and what would be right.
        why: String,
    },
    /// A quota is not for such clients, or cannot have such a value.
    #[error(transparent)]
    InvalidQuota(#[from] QuotaError),
    /// A user has no credential for that mechanism.
    #[error("User '{0}' has no such credential.")]
    UnknownCredential(String),
    /// The broker would hold more partitions than it may.
    #[error(
        "Topic '{topic}': this broker would hold {would_be} partitions, {limit} are allowed; delete \
         topics or raise trestle.max.partitions."
    )]
    TooManyPartitions {
        /// The topic.
        topic: String,
        /// Partitions of all topics, with these.
        would_be: usize,
        /// `trestle.max.partitions`.
        limit: usize,
    },
    /// The change could not be made durable; it did not happen.
    #[error("The change could not be stored: {0}")]
    Storage(#[from] StorageError),
    /// The bridge writes the topic, and follows its source in this.
    #[error("Topic '{0}' is mirrored by the bridge and follows its source until it is promoted.")]
    Mirrored(String),
    /// The broker is stopping.
    #[error("The broker is stopping.")]
    Stopping,
}

/// Why metadata could not be loaded at start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// A cluster id was given that is not the store's.
    #[error(
        "cluster.id is {given:?}, but the data belong to cluster {stored:?}: leave cluster.id out, \
         or start on other data"
    )]
    OtherCluster {
        /// The one in the settings.
        given: String,
        /// The one in the store.
        stored: String,
    },
    /// A cluster id was given that cannot be one.
    #[error("cluster.id {0:?}: use 1 to 128 letters, digits, '-' and '_', or leave it out")]
    InvalidClusterId(String),
    /// A row could not be read.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The store failed.
    #[error("metadata could not be read or written")]
    Storage(#[from] StorageError),
}
