//! Recent entries in memory, for readers that keep up: no read of the store.
//!
//! Each log owns its own; the publisher keeps all of them within one budget, first in, first out.

use std::collections::VecDeque;
use std::sync::Weak;

use crate::log::{Entry, Inner, ReadLimit};

/// The recent entries of one log.
#[derive(Debug)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    /// Everything at or above this offset that is durable is in `entries`.
    start_offset: u64,
}

impl Tail {
    pub(crate) fn starting_at(start_offset: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            start_offset,
        }
    }

    pub(crate) fn push(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
    }

    /// Forgets entries that end at or below `offset`.
    pub(crate) fn forget_below(&mut self, offset: u64) {
        while let Some(entry) = self.entries.front()
            && entry.end_offset() <= offset
        {
            self.start_offset = entry.end_offset();
            self.entries.pop_front();
        }
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }

    /// Forgets everything; the log ends at `end_offset`.
    pub(crate) fn clear(&mut self, end_offset: u64) {
        *self = Self::starting_at(end_offset);
    }

    /// The offset of the first record at or above `sequence`, which must be below the end of the log;
    /// `None` if it may lie further back than this.
    pub(crate) fn offset_at(&self, sequence: u64) -> Option<u64> {
        if self.entries.front()?.first_sequence > sequence {
            return None;
        }
        let ends_before = |entry: &Entry| entry.first_sequence + u64::from(entry.count) <= sequence;
        let entry = self
            .entries
            .get(self.entries.partition_point(ends_before))?;
        Some(entry.first_offset + sequence.saturating_sub(entry.first_sequence))
    }

    /// The entries from `from_offset` on, or `None` if they reach further back than this.
    pub(crate) fn read(&self, from_offset: u64, limit: &ReadLimit) -> Option<Vec<Entry>> {
        if from_offset < self.start_offset {
            return None;
        }
        let first = self
            .entries
            .partition_point(|entry| entry.end_offset() <= from_offset);
        let mut found = Vec::new();
        let mut bytes = 0;
        for entry in self.entries.range(first..) {
            if !limit.admits(&found, bytes, entry.first_offset, entry.payload.len()) {
                break;
            }
            bytes += entry.payload.len();
            found.push(entry.clone());
        }
        Some(found)
    }
}

/// What one row put into a tail.
#[derive(Debug)]
struct Share {
    log: Weak<Inner>,
    end_offset: u64,
    bytes: usize,
}

/// Keeps all tails within a budget.
#[derive(Debug)]
pub(crate) struct TailBudget {
    limit: usize,
    used: usize,
    shares: VecDeque<Share>,
}

impl TailBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            shares: VecDeque::new(),
        }
    }

    /// Counts `bytes` that were added to the tail of `log` and end at `end_offset`.
    pub(crate) fn add(&mut self, log: Weak<Inner>, end_offset: u64, bytes: usize) {
        self.used += bytes;
        self.shares.push_back(Share {
            log,
            end_offset,
            bytes,
        });
    }

    /// Forgets the oldest entries until the rest fits.
    pub(crate) fn enforce(&mut self) {
        while self.used > self.limit
            && let Some(share) = self.shares.pop_front()
        {
            self.used -= share.bytes;
            if let Some(log) = share.log.upgrade() {
                log.forget_tail_below(share.end_offset);
            }
        }
    }
}
