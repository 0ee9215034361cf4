//! Who waits for a partition: fetches for more bytes, repeated batches for their originals.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use trestle_storage::Log;

use super::leader::AppendError;

/// One fetch, waiting on all of its partitions at once.
#[derive(Debug)]
pub(super) struct Waiter {
    wanted_bytes: AtomicI64,
    /// What open transactions have written does not count.
    committed_only: bool,
    notify: Notify,
}

impl Waiter {
    /// Waits for `wanted_bytes` more to become durable.
    pub(super) fn new(wanted_bytes: i64, committed_only: bool) -> Arc<Self> {
        Arc::new(Self {
            wanted_bytes: AtomicI64::new(wanted_bytes),
            committed_only,
            notify: Notify::new(),
        })
    }

    /// Returns when enough was published, or a partition is gone.
    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Ends the wait, whatever is missing.
    pub(super) fn look_again(&self) {
        self.notify.notify_one();
    }

    fn published(&self, bytes: i64) {
        if self.wanted_bytes.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.notify.notify_one();
        }
    }
}

/// A repeated batch that waits for the end offset of its original.
type Repetition = (u64, oneshot::Sender<Result<(), AppendError>>);

/// All that wait for one partition.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    fetches: Mutex<Vec<Arc<Waiter>>>,
    repetitions: Mutex<Vec<Repetition>>,
}

impl Waiters {
    pub(super) fn add(&self, waiter: &Arc<Waiter>) {
        self.fetches.lock().push(waiter.clone());
    }

    pub(super) fn remove(&self, waiter: &Arc<Waiter>) {
        let mut fetches = self.fetches.lock();
        if let Some(at) = fetches.iter().position(|w| Arc::ptr_eq(w, waiter)) {
            fetches.swap_remove(at);
        }
    }

    /// Wakes every fetch, whatever it waits for.
    pub(super) fn wake_all(&self) {
        for waiter in self.fetches.lock().iter() {
            waiter.look_again();
        }
    }

    /// Answers `send` when `log` is durable up to `end_offset`.
    pub(super) fn when_durable(
        &self,
        end_offset: u64,
        log: &Log,
        send: oneshot::Sender<Result<(), AppendError>>,
    ) {
        let mut repetitions = self.repetitions.lock();
        // Under the lock that `published` takes after the bounds have moved: none is missed.
        if log.bounds().end_offset >= end_offset {
            let _ = send.send(Ok(()));
        } else {
            repetitions.push((end_offset, send));
        }
    }

    /// Wakes the fetches that read only what is committed: more of it may be.
    pub(super) fn settled(&self) {
        for waiter in self.fetches.lock().iter() {
            if waiter.committed_only {
                waiter.look_again();
            }
        }
    }

    /// `bytes` more of `log` are durable, or have failed to become so; `stable` if no transaction is
    /// open.
    pub(super) fn published(
        &self,
        log: &Log,
        bytes: usize,
        stable: bool,
        result: &Result<(), AppendError>,
    ) {
        if result.is_ok() {
            for waiter in self.fetches.lock().iter() {
                if stable || !waiter.committed_only {
                    waiter.published(bytes as i64);
                }
            }
        }
        let mut repetitions = self.repetitions.lock();
        if repetitions.is_empty() {
            return;
        }
        let end_offset = log.bounds().end_offset;
        let (ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut *repetitions)
            .into_iter()
            .partition(|(wanted, _)| result.is_err() || *wanted <= end_offset);
        *repetitions = waiting;
        drop(repetitions);
        for (_, send) in ready {
            // The client may have gone.
            let _ = send.send(result.clone());
        }
    }
}
