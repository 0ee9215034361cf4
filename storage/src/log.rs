//! One log: an ordered run of opaque entries under a key.
//!
//! A handle is shared by everybody who opened the same key. The commit task owns the writing half, the
//! publisher the published half; readers look at what is published and read the rest from the store.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::key::LogKey;
use crate::read::{self, Cursors};
use crate::store::{Core, StoreState};
use crate::tail::Tail;
use crate::{Error, ErrorKind, Result, lookup};

/// What an entry's payload is; storage keeps it beside the entry and does not look inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFormat {
    /// One value.
    Raw,
    /// A batch of records in the broker's format.
    Batch,
}

/// An entry as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Sequence of its first record; the others follow it.
    pub first_sequence: u64,
    /// Offset of its first record.
    pub first_offset: u64,
    /// Offsets it spans.
    pub count: u32,
    /// What the payload is.
    pub format: EntryFormat,
    /// The bytes.
    pub payload: Bytes,
}

impl Entry {
    /// One past its last offset.
    pub fn end_offset(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }
}

/// How much one read may return. At least one whole entry is returned if there is any.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Entries whose first offset is at or above this are not returned.
    pub end_offset: u64,
    /// Payload bytes, past which no further entry is added.
    pub max_bytes: usize,
    /// Entries at the most.
    pub max_entries: usize,
}

impl ReadLimit {
    /// Whether an entry at `first_offset` with `len` bytes may follow `found`, which hold `bytes`.
    pub(crate) fn admits(
        &self,
        found: &[Entry],
        bytes: usize,
        first_offset: u64,
        len: usize,
    ) -> bool {
        first_offset < self.end_offset
            && (found.is_empty()
                || found.len() < self.max_entries && bytes.saturating_add(len) <= self.max_bytes)
    }
}

/// Where a log starts and ends, of what is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Lowest offset that may be read.
    pub start_offset: u64,
    /// One past the highest offset.
    pub end_offset: u64,
    /// Payload bytes ever appended before `end_offset`.
    pub appended_bytes: u64,
    /// Highest timestamp ever appended in milliseconds since the epoch, or -1.
    pub max_timestamp: i64,
}

impl Default for Bounds {
    /// Those of an empty log.
    fn default() -> Self {
        Self {
            start_offset: 0,
            end_offset: 0,
            appended_bytes: 0,
            max_timestamp: -1,
        }
    }
}

/// What the commit task knows of a log: the state after everything it has handed to the engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) bounds: Bounds,
    pub(crate) records: u64,
    pub(crate) removed: bool,
    /// The segment of the last directory row.
    pub(crate) directory: Option<u32>,
    /// Payload bytes from the beginning of the log that its segments count as dead.
    pub(crate) dead_through: u64,
    /// `appended_bytes` at the last index row.
    pub(crate) indexed_bytes: u64,
    /// One past the last sequence of the log when it was opened.
    pub(crate) end_sequence: u64,
}

/// What readers see.
#[derive(Debug)]
struct Published {
    bounds: Bounds,
    /// One past the last sequence.
    end_sequence: u64,
    tail: Tail,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) key: LogKey,
    writer: Mutex<Writer>,
    published: Mutex<Published>,
    cursors: Mutex<Cursors>,
    /// Stirred when `published` has changed.
    changed: Notify,
}

impl Inner {
    pub(crate) fn new(core: Arc<Core>, key: LogKey, writer: Writer) -> Self {
        let bounds = writer.bounds;
        let published = Published {
            bounds,
            end_sequence: writer.end_sequence,
            tail: Tail::starting_at(bounds.end_offset),
        };
        Self {
            core,
            key,
            writer: Mutex::new(writer),
            published: Mutex::new(published),
            cursors: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// The writing half; for the commit task alone.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    /// Where reads left off.
    pub(crate) fn cursors(&self) -> MutexGuard<'_, Cursors> {
        self.cursors.lock()
    }

    /// Shows what a durable commit left.
    pub(crate) fn publish(&self, bounds: Bounds, entries: Vec<Entry>) {
        let mut published = self.published.lock();
        if let Some(last) = entries.last() {
            published.end_sequence = last.first_sequence + u64::from(last.count);
        }
        if bounds.start_offset > published.bounds.start_offset {
            published.tail.forget_below(bounds.start_offset);
        }
        if bounds.start_offset >= bounds.end_offset {
            published.tail.clear(bounds.end_offset);
        } else {
            published.tail.push(entries);
        }
        published.bounds = bounds;
        drop(published);
        self.changed.notify_waiters();
    }

    /// Shows what another process has made of the log: all of it is read from the store.
    pub(crate) fn follow(&self, writer: Writer) {
        let mut bounds = writer.bounds;
        if writer.removed {
            bounds.start_offset = bounds.end_offset;
        }
        *self.writer.lock() = writer;
        {
            let mut published = self.published.lock();
            if published.bounds == bounds {
                return;
            }
            published.bounds = bounds;
            published.end_sequence = writer.end_sequence;
            published.tail = Tail::starting_at(bounds.end_offset);
        }
        self.changed.notify_waiters();
    }

    /// The offset of the first record at or above `sequence`, if memory knows it; else the bounds.
    pub(crate) fn published_offset_at(&self, sequence: u64) -> Result<u64, Bounds> {
        let published = self.published.lock();
        if sequence >= published.end_sequence {
            return Ok(published.bounds.end_offset);
        }
        if sequence == 0 {
            return Ok(published.bounds.start_offset);
        }
        let known = published.tail.offset_at(sequence);
        let known = known.map(|offset| offset.max(published.bounds.start_offset));
        known.ok_or(published.bounds)
    }

    /// Whether every offset from 0 to the end was given to one record.
    pub(crate) fn is_dense(&self) -> bool {
        let writer = self.writer.lock();
        writer.records == writer.bounds.end_offset
    }

    pub(crate) fn forget_tail_below(&self, offset: u64) {
        self.published.lock().tail.forget_below(offset);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.forget_log(self.key.plain());
    }
}

/// A handle on one log of a [`crate::Store`]; cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    inner: Arc<Inner>,
}

impl Log {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// The key it was opened with.
    pub fn key(&self) -> &Bytes {
        self.inner.key.plain()
    }

    /// Start and end of what is durable and can be read.
    pub fn bounds(&self) -> Bounds {
        self.inner.published.lock().bounds
    }

    /// Ready once [`Log::bounds`] have changed after this call, or may have. Look at the bounds between
    /// this call and waiting for it, or a change in between goes unnoticed.
    pub fn changed(&self) -> Pin<Box<Notified<'_>>> {
        let mut changed = Box::pin(self.inner.changed.notified());
        changed.as_mut().enable();
        changed
    }

    /// Waits until what was written to the log before this call is durable; see
    /// [`crate::Store::commit_early`]. While the store is stalled nobody waits: what is durable can be read.
    ///
    /// # Errors
    /// `Closed` or `Fenced` if the store no longer is open.
    pub async fn settled(&self) -> Result<()> {
        let wanted = self.inner.writer.lock().bounds.end_offset;
        let mut state = self.inner.core.state.subscribe();
        loop {
            let changed = self.changed();
            if self.bounds().end_offset >= wanted {
                return Ok(());
            }
            tokio::select! {
                () = changed => {}
                state = state.wait_for(|state| !matches!(state, StoreState::Open)) => {
                    return match state.as_deref() {
                        Ok(StoreState::Closed(error)) => Err(error.clone()),
                        Ok(StoreState::Stalled(_) | StoreState::Open) => Ok(()),
                        Err(_) => Err(Error::new(ErrorKind::Closed, "the store is closed")),
                    };
                }
            }
        }
    }

    /// The entries from the one that contains `from_offset` (or, in a gap, the next one) on; below the
    /// start of the log, from its start. Only what is durable is returned. Recent entries come from
    /// memory.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be read now, `Corrupt` if what it holds does not decode,
    /// `Closed` or `Fenced` if it is no longer open.
    pub async fn read(&self, from_offset: u64, limit: ReadLimit) -> Result<Vec<Entry>> {
        let metrics = &self.inner.core.options.metrics;
        let (from_offset, limit, appended_bytes) = {
            let published = self.inner.published.lock();
            let end_offset = limit.end_offset.min(published.bounds.end_offset);
            let limit = ReadLimit {
                end_offset,
                ..limit
            };
            let from_offset = from_offset.max(published.bounds.start_offset);
            if from_offset >= end_offset {
                return Ok(Vec::new());
            }
            if let Some(entries) = published.tail.read(from_offset, &limit) {
                metrics.tail_reads.increment(1);
                return Ok(entries);
            }
            (from_offset, limit, published.bounds.appended_bytes)
        };
        metrics.engine_reads.increment(1);
        read::read(&self.inner, from_offset, &limit, appended_bytes).await
    }

    /// Payload bytes between the start and the end of the log, as they were appended; a start that is
    /// not at a way mark of the index counts from the one before it.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn size_bytes(&self) -> Result<u64> {
        let bounds = self.bounds();
        if bounds.start_offset == 0 {
            return Ok(bounds.appended_bytes);
        }
        if bounds.start_offset >= bounds.end_offset {
            return Ok(0);
        }
        let before = lookup::bytes_before(&self.inner, bounds.start_offset).await?;
        Ok(bounds.appended_bytes.saturating_sub(before))
    }

    /// The first offset of an entry before which no entry has a timestamp at or above `timestamp`:
    /// where a search for that time starts. `None` if no entry can have one. Conservative: the entry
    /// there may itself be older; the caller reads on from it.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn search_from(&self, timestamp: i64) -> Result<Option<u64>> {
        let bounds = self.bounds();
        if bounds.max_timestamp < timestamp {
            return Ok(None);
        }
        let offset = lookup::search_from(&self.inner, timestamp, bounds.end_offset).await?;
        let offset = offset
            .unwrap_or(bounds.start_offset)
            .max(bounds.start_offset);
        Ok((offset < bounds.end_offset).then_some(offset))
    }
}
