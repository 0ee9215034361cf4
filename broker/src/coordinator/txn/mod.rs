//! Transactions: who may use a transactional id, what is part of its transaction, how it ends.
//!
//! `brain.rs` is the machine, `rules.rs` what each command comes to, `rows.rs` the bytes, `markers.rs` the
//! courier that tells partitions and groups of the end. This file is what handlers see.
//!
//! A record or an offset joins a transaction under its gate: the handler enters, asks whether the
//! partition or group is part of the open transaction, queues, and leaves. The courier waits until
//! everybody who asked before the end was decided has left, so that nothing joins behind the marker.

mod brain;
mod commands;
pub mod markers;
mod producer_ids;
mod rows;
mod rules;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::{RwLock, RwLockReadGuard};
use trestle_storage::Store;

pub use brain::{Brain, Census};
pub use commands::{Command, Ending, Reply, TransactionError};
pub use producer_ids::ProducerIds;
pub use rows::{Row, STANDINGS, Standing, TopicPartition, Transaction};

use super::runtime::{Coordinator, Courier, Unavailable};
use crate::env::Env;
use crate::types::{ProducerEpoch, ProducerId};

/// Transactional ids share this many gates.
const GATES: usize = 64;

/// Why a call came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TxnError {
    /// The coordinator says so.
    #[error(transparent)]
    Refused(#[from] TransactionError),
    /// There is no coordinator to say anything.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// No producer id could be reserved.
    #[error(transparent)]
    Storage(#[from] trestle_storage::Error),
}

/// The coordinator of transactions, as handlers see it.
#[derive(Debug)]
pub struct Transactions {
    coordinator: Coordinator<Brain>,
    producer_ids: Arc<ProducerIds>,
    gates: Vec<RwLock<()>>,
}

/// One transaction's producer, as a request names it.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The transactional id.
    pub id: &'a str,
    /// The producer.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl Transactions {
    /// Loads what is stored and begins to serve; ends of transactions go to `courier`.
    ///
    /// # Errors
    /// Those of the store, and `Corrupt` for a row that does not decode.
    pub async fn load(
        env: Env,
        store: Store,
        brain: Brain,
        producer_ids: Arc<ProducerIds>,
        courier: Courier<Brain>,
    ) -> trestle_storage::Result<Self> {
        let coordinator =
            Coordinator::load("transaction timer", brain, env, store, courier).await?;
        Ok(Self {
            coordinator,
            producer_ids,
            gates: (0..GATES).map(|_| RwLock::new(())).collect(),
        })
    }

    /// A producer with `id` begins; `expected` is what it calls itself, if it does.
    ///
    /// # Errors
    /// [`TxnError`].
    pub async fn init(
        &self,
        id: &str,
        timeout_ms: i32,
        expected: Option<(ProducerId, ProducerEpoch)>,
    ) -> Result<(ProducerId, ProducerEpoch), TxnError> {
        self.ask(|fresh| Command::Init {
            id: id.to_owned(),
            timeout_ms,
            expected,
            fresh,
        })
        .await
    }

    /// Adds partitions and a group to the owner's transaction. With `at_once` the caller rests only on
    /// what it commits to the same store afterwards.
    ///
    /// # Errors
    /// [`TxnError`].
    pub async fn add(
        &self,
        owner: Owner<'_>,
        partitions: Vec<TopicPartition>,
        group: Option<String>,
        at_once: bool,
    ) -> Result<(), TxnError> {
        self.ask(|_| Command::Add {
            id: owner.id.to_owned(),
            producer: owner.producer,
            epoch: owner.epoch,
            partitions: partitions.clone(),
            group: group.clone(),
            at_once,
        })
        .await
        .map(drop)
    }

    /// Ends the owner's transaction; with `raise` its epoch rises (KIP-890). The producer and epoch to
    /// go on with.
    ///
    /// # Errors
    /// [`TxnError`].
    pub async fn end(
        &self,
        owner: Owner<'_>,
        commit: bool,
        raise: bool,
    ) -> Result<(ProducerId, ProducerEpoch), TxnError> {
        self.ask(|fresh| Command::End {
            id: owner.id.to_owned(),
            producer: owner.producer,
            epoch: owner.epoch,
            commit,
            raise,
            fresh,
        })
        .await
    }

    /// How `id` stands; `None` for an id that is not known.
    ///
    /// # Errors
    /// [`TxnError`].
    pub async fn describe(&self, id: &str) -> Result<Option<Transaction>, TxnError> {
        let id = id.to_owned();
        match self.coordinator.submit(Command::Describe { id }).await? {
            Reply::Described(transaction) => Ok(transaction),
            _ => Ok(None),
        }
    }

    /// How all ids stand that pass the filters of [`Command::List`].
    ///
    /// # Errors
    /// [`TxnError`].
    pub async fn list(
        &self,
        standings: Vec<Standing>,
        producers: Vec<ProducerId>,
        open_ms: i64,
    ) -> Result<Vec<(String, ProducerId, Standing)>, TxnError> {
        let command = Command::List {
            standings,
            producers,
            open_ms,
        };
        match self.coordinator.submit(command).await? {
            Reply::Listed(listed) => Ok(listed),
            _ => Ok(Vec::new()),
        }
    }

    /// How many ids stand how.
    pub fn census(&self) -> Census {
        self.coordinator.inspect(Brain::census)
    }

    /// Enters the gate of `id`: until the guard is dropped, no end of its transaction is told.
    pub async fn enter(&self, id: &str) -> RwLockReadGuard<'_, ()> {
        self.gate(id).read().await
    }

    /// Whether the owner may write to `partition` as part of its transaction. Holds until the gate is
    /// left.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(
        &self,
        owner: Owner<'_>,
        partition: &TopicPartition,
    ) -> Result<(), TransactionError> {
        self.coordinator
            .inspect(|brain| brain.verify(owner.id, owner.producer, owner.epoch, partition))
    }

    /// The same for the offsets of `group`.
    ///
    /// # Errors
    /// Why not.
    pub fn verify_group(&self, owner: Owner<'_>, group: &str) -> Result<(), TransactionError> {
        self.coordinator
            .inspect(|brain| brain.verify_group(owner.id, owner.producer, owner.epoch, group))
    }

    fn gate(&self, id: &str) -> &RwLock<()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        &self.gates[hasher.finish() as usize % GATES]
    }

    /// Waits until everybody who has entered the gate of `id` so far has left.
    async fn clear(&self, id: &str) {
        drop(self.gate(id).write().await);
    }

    /// Has a command decided, with a new producer id if it needs one.
    async fn ask(
        &self,
        command: impl Fn(Option<ProducerId>) -> Command,
    ) -> Result<(ProducerId, ProducerEpoch), TxnError> {
        let mut fresh = None;
        loop {
            match self.coordinator.submit(command(fresh)).await? {
                Reply::Producer(producer, epoch) => return Ok((producer, epoch)),
                Reply::NeedsId if fresh.is_none() => {
                    fresh = Some(self.producer_ids.next().await?);
                }
                Reply::Refused(error) => return Err(error.into()),
                Reply::NeedsId | Reply::Described(_) | Reply::Listed(_) => {
                    return Err(TransactionError::InvalidState.into());
                }
            }
        }
    }

    /// The courier's report.
    async fn markers_written(&self, ending: &Ending) -> Result<(), Unavailable> {
        let command = Command::MarkersWritten {
            id: ending.id.clone(),
            producer: ending.producer,
            epoch: ending.epoch,
        };
        self.coordinator.submit(command).await.map(drop)
    }
}

#[cfg(test)]
mod gate_tests;
#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
