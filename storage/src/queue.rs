//! What waits for the commit task, and how much may be on its way at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::write_set::Change;
use crate::{Committed, Result};

/// Called with what became of a write set.
pub(crate) type Done = Box<dyn FnOnce(Result<Committed>) + Send>;

/// What a write set and its changes cost beside their bytes.
const OVERHEAD: usize = 128;

/// A write set on its way.
pub(crate) struct Queued {
    pub(crate) changes: Vec<Change>,
    pub(crate) done: Done,
    /// Called once the set is written, before it is durable.
    pub(crate) written: Option<Done>,
    pub(crate) bytes: usize,
}

impl Queued {
    pub(crate) fn new(changes: Vec<Change>, done: Done) -> Self {
        let bytes = OVERHEAD + changes.iter().map(|c| OVERHEAD + c.bytes()).sum::<usize>();
        Self {
            changes,
            done,
            written: None,
            bytes,
        }
    }
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued")
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

/// On a local disk, batches that may be written and not yet durable while little waits: one is synced
/// while the next is written. What arrives meanwhile becomes one batch, for every batch costs several
/// switches of threads. One alone leaves the disk idle while producers are answered.
pub(crate) const LOCAL_FLIGHTS: usize = 2;
/// With this much waiting, the next batch is written whatever is on its way.
const EAGER_BYTES: usize = 256 << 10;

/// Write sets in the order of their commit calls, and the count of bytes not yet durable.
#[derive(Debug)]
pub(crate) struct CommitQueue {
    waiting: Mutex<Waiting>,
    /// Something arrived, or a batch has landed.
    stirred: Notify,
    in_flight: AtomicUsize,
    limit: usize,
    max_flights: usize,
    room: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    sets: VecDeque<Queued>,
    /// Of all sets.
    bytes: usize,
    /// Batches taken and not yet landed.
    flights: usize,
    /// No handle on the store is left, so nothing more can come.
    ended: bool,
}

impl Waiting {
    fn take(&mut self, max_sets: usize, max_bytes: usize) -> Vec<Queued> {
        let mut bytes = 0;
        let fits = |queued: &&Queued| {
            let room = bytes < max_bytes;
            bytes += queued.bytes;
            room
        };
        let count = self.sets.iter().take(max_sets).take_while(fits).count();
        let taken: Vec<_> = self.sets.drain(..count).collect();
        self.bytes -= taken.iter().map(|queued| queued.bytes).sum::<usize>();
        self.flights += 1;
        if self.sets.is_empty() && self.sets.capacity() > 4096 {
            self.sets.shrink_to(64);
        }
        taken
    }
}

impl CommitQueue {
    /// A queue with room for `limit` bytes, whose batches follow each other as [`EAGER_BYTES`] says once
    /// `max_flights` are on their way.
    pub(crate) fn new(limit: usize, max_flights: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            stirred: Notify::new(),
            in_flight: AtomicUsize::new(0),
            limit,
            max_flights,
            room: Notify::new(),
        }
    }

    pub(crate) fn push(&self, queued: Queued) {
        self.in_flight.fetch_add(queued.bytes, Ordering::Relaxed);
        {
            let mut waiting = self.waiting.lock();
            waiting.bytes += queued.bytes;
            waiting.sets.push_back(queued);
        }
        self.stirred.notify_one();
    }

    /// Lets the commit task end once it has taken everything.
    pub(crate) fn end(&self) {
        self.waiting.lock().ended = true;
        self.stirred.notify_one();
    }

    /// Waits for write sets and takes up to `max_sets` of about `max_bytes`; `None` at the end. What
    /// is taken is one flight, until it has [`landed`](Self::landed).
    pub(crate) async fn take(&self, max_sets: usize, max_bytes: usize) -> Option<Vec<Queued>> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                let due = waiting.flights < self.max_flights || waiting.bytes >= EAGER_BYTES;
                if !waiting.sets.is_empty() && due {
                    return Some(waiting.take(max_sets, max_bytes));
                }
                if waiting.sets.is_empty() && waiting.ended {
                    return None;
                }
            }
            self.stirred.notified().await;
            // Whoever was woken by the same landing commits first, and shares the batch.
            tokio::task::yield_now().await;
        }
    }

    /// Counts a flight and its `bytes` as no longer on their way.
    pub(crate) fn landed(&self, bytes: usize) {
        let stirs = {
            let mut waiting = self.waiting.lock();
            waiting.flights -= 1;
            !waiting.sets.is_empty()
        };
        if stirs {
            self.stirred.notify_one();
        }
        let before = self.in_flight.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.limit && before - bytes < self.limit {
            self.room.notify_waiters();
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Waits until less than the limit is on its way.
    pub(crate) async fn ready(&self) {
        while self.in_flight() >= self.limit {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.in_flight() < self.limit {
                return;
            }
            room.await;
        }
    }
}
