//! One SlateDB: opening and fencing it, committing to it in order, closing it.

use std::sync::Arc;

use bytes::Bytes;
use slatedb_common::clock::SystemClock;
use tokio::sync::watch;

use crate::{Error, Log, Options, Result, WriteSet};

/// What a commit became.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// Sequence of the first record appended by the write set; 0 if it appended none.
    pub first_sequence: u64,
}

/// What opening found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovered {
    /// Whether the store was created by this open.
    pub created: bool,
    /// Rows replayed from the write-ahead log.
    pub replayed_rows: u64,
    /// Bytes cut from the end of a write-ahead log that a crash left torn.
    pub torn_bytes: u64,
}

/// Whether the store takes commits.
#[derive(Clone, Debug)]
pub enum StoreState {
    /// Commits are taken.
    Open,
    /// The disk or object store does not take writes now; what is in flight waits.
    Stalled(String),
    /// Nothing more is acknowledged.
    Closed(Error),
}

#[derive(Debug)]
struct Inner {}

/// A store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    #[allow(dead_code)]
    inner: Arc<Inner>,
}

impl Store {
    /// Opens the store, fencing any earlier writer.
    pub async fn open(_options: Options, _clock: Arc<dyn SystemClock>) -> Result<Self> {
        unimplemented!()
    }

    /// The number of times the store has been opened for writing: the fence.
    pub fn epoch(&self) -> u64 {
        unimplemented!()
    }

    /// What opening found.
    pub fn recovered(&self) -> Recovered {
        unimplemented!()
    }

    /// Open, stalled or closed, as a value that can be watched.
    pub fn state(&self) -> watch::Receiver<StoreState> {
        unimplemented!()
    }

    /// Opens the log under `key`; an empty one if nothing was appended yet. The same key gives the
    /// same log while any handle on it lives.
    pub async fn log(&self, _key: &[u8]) -> Result<Log> {
        unimplemented!()
    }

    /// The keys of all logs that start with `prefix` and hold entries, in order.
    pub async fn keys(&self, _prefix: &[u8]) -> Result<Vec<Bytes>> {
        unimplemented!()
    }

    /// Queues `write_set`. Write sets take effect in the order of these calls. `done` runs, in that
    /// same order, when the set is durable and can be read, or has failed; it must not block.
    pub fn commit(
        &self,
        _write_set: WriteSet,
        _done: impl FnOnce(Result<Committed>) + Send + 'static,
    ) {
        unimplemented!()
    }

    /// The row at `key`.
    pub async fn row(&self, _key: &[u8]) -> Result<Option<Bytes>> {
        unimplemented!()
    }

    /// All rows whose key starts with `prefix`, in key order.
    pub async fn rows(&self, _prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        unimplemented!()
    }

    /// Every sequence below this is durable and can be read.
    pub fn durable_sequence(&self) -> u64 {
        unimplemented!()
    }

    /// [`Store::durable_sequence`] as a value that can be watched.
    pub fn subscribe_durable(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }

    /// Makes everything durable and closes; later calls fail with `Closed`.
    pub async fn close(&self) -> Result<()> {
        unimplemented!()
    }
}
