//! What a transaction coordinator is asked, and what it says.

use super::rows::{Standing, TopicPartition, Transaction};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

/// What callers ask about one transactional id, or about all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A producer begins to use the id; any other with the id is fenced.
    Init {
        /// The transactional id.
        id: String,
        /// How long its transactions may be open.
        timeout_ms: i32,
        /// The producer's id and epoch, if it has them already (KIP-360).
        expected: Option<(ProducerId, ProducerEpoch)>,
        /// An id that was never used, should one be needed.
        fresh: Option<ProducerId>,
    },
    /// Partitions and groups become part of the producer's transaction.
    Add {
        /// The transactional id.
        id: String,
        /// The producer.
        producer: ProducerId,
        /// Its epoch.
        epoch: ProducerEpoch,
        /// Partitions that it writes to.
        partitions: Vec<TopicPartition>,
        /// Group whose offsets it commits.
        group: Option<String>,
        /// Answer before the change is durable: what rests on it is committed behind it, in the same
        /// store.
        at_once: bool,
    },
    /// The transaction ends.
    End {
        /// The transactional id.
        id: String,
        /// The producer.
        producer: ProducerId,
        /// Its epoch.
        epoch: ProducerEpoch,
        /// Committed or aborted.
        commit: bool,
        /// Whether the epoch rises with every end (KIP-890).
        raise: bool,
        /// An id that was never used, should one be needed.
        fresh: Option<ProducerId>,
    },
    /// Everybody has been told of the end; the courier's command.
    MarkersWritten {
        /// The transactional id.
        id: String,
        /// The producer in the markers.
        producer: ProducerId,
        /// The epoch in the markers.
        epoch: ProducerEpoch,
    },
    /// How one id stands.
    Describe {
        /// The transactional id.
        id: String,
    },
    /// How all that pass a filter stand.
    List {
        /// In one of these standings; empty for any.
        standings: Vec<Standing>,
        /// Of one of these producers; empty for any.
        producers: Vec<ProducerId>,
        /// Open for longer than this; negative for any.
        open_ms: i64,
    },
}

impl Command {
    /// The transactional id that it is about.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Init { id, .. }
            | Self::Add { id, .. }
            | Self::End { id, .. }
            | Self::MarkersWritten { id, .. }
            | Self::Describe { id } => Some(id),
            Self::List { .. } => None,
        }
    }
}

/// What callers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done; the producer and its epoch from now on.
    Producer(ProducerId, ProducerEpoch),
    /// Ask again with an id that was never used.
    NeedsId,
    /// How one id stands.
    Described(Option<Transaction>),
    /// How several stand: the id, its producer, its standing.
    Listed(Vec<(String, ProducerId, Standing)>),
    /// Nothing was changed.
    Refused(TransactionError),
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The transactional id has another producer, or none.
    #[error("the producer id is not that of the transactional id")]
    UnknownProducer,
    /// Another epoch of the producer is current.
    #[error("a newer producer uses the transactional id")]
    Fenced,
    /// The end of the last transaction is under way.
    #[error("the last transaction is not complete yet")]
    Concurrent,
    /// The transaction does not stand so that this could be done.
    #[error("the transaction is not in a state that allows this")]
    InvalidState,
    /// The partition or group was not added to an open transaction.
    #[error("it is not part of an open transaction of this producer")]
    NotAdded,
}

/// The end of a transaction, to be told to all that are part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The transactional id.
    pub id: String,
    /// Its producer.
    pub producer: ProducerId,
    /// The producer's epoch in the markers.
    pub epoch: ProducerEpoch,
    /// Committed or aborted.
    pub committed: bool,
    /// Epoch of this coordinator.
    pub coordinator_epoch: i32,
    /// Partitions with records.
    pub partitions: Vec<TopicPartition>,
    /// Groups with offsets.
    pub groups: Vec<String>,
}

/// When a held command is given an answer whatever happens.
pub(super) type Until = Timestamp;
