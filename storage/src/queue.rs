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
    pub(crate) bytes: usize,
}

impl Queued {
    pub(crate) fn new(changes: Vec<Change>, done: Done) -> Self {
        let bytes = OVERHEAD + changes.iter().map(|c| OVERHEAD + c.bytes()).sum::<usize>();
        Self {
            changes,
            done,
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

/// Write sets in the order of their commit calls, and the count of bytes not yet durable.
#[derive(Debug)]
pub(crate) struct CommitQueue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    in_flight: AtomicUsize,
    limit: usize,
    room: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    sets: VecDeque<Queued>,
    /// No handle on the store is left, so nothing more can come.
    ended: bool,
}

impl CommitQueue {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            in_flight: AtomicUsize::new(0),
            limit,
            room: Notify::new(),
        }
    }

    pub(crate) fn push(&self, queued: Queued) {
        self.in_flight.fetch_add(queued.bytes, Ordering::Relaxed);
        self.waiting.lock().sets.push_back(queued);
        self.arrived.notify_one();
    }

    /// Lets the commit task end once it has taken everything.
    pub(crate) fn end(&self) {
        self.waiting.lock().ended = true;
        self.arrived.notify_one();
    }

    /// Waits for write sets and takes up to `max_sets` of about `max_bytes`; `None` at the end.
    pub(crate) async fn take(&self, max_sets: usize, max_bytes: usize) -> Option<Vec<Queued>> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if !waiting.sets.is_empty() {
                    let mut bytes = 0;
                    let fits = |queued: &&Queued| {
                        let room = bytes < max_bytes;
                        bytes += queued.bytes;
                        room
                    };
                    let count = waiting.sets.iter().take(max_sets).take_while(fits).count();
                    let taken = waiting.sets.drain(..count).collect();
                    if waiting.sets.is_empty() && waiting.sets.capacity() > 4096 {
                        waiting.sets.shrink_to(64);
                    }
                    return Some(taken);
                }
                if waiting.ended {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Counts `bytes` as no longer on their way.
    pub(crate) fn landed(&self, bytes: usize) {
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
        loop {
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
