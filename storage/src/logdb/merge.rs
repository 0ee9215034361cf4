//! Many logs read as one, in the order of sequences.
//!
//! Each log has a cursor in a heap, by the sequence of its next entry. Entries that were read ahead are
//! forgotten, and read again when their turn comes, while all logs together hold too many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::keys::{KeyOptions, LogKeyIterator};
use super::record::{LogEntry, Sequence};
use super::scan::Cursor;
use super::view::LogView;
use crate::Result;

/// Bytes of entries that are held ahead, over all logs.
const AHEAD_BYTES: usize = 16 << 20;
/// Read ahead at a time for each log.
const PAGE_BYTES: usize = 64 << 10;
const PAGE_ENTRIES: usize = 256;

/// The logs that are merged.
#[derive(Debug)]
pub(super) struct Merge {
    cursors: Vec<Cursor>,
    /// The next sequence of each log that has one, lowest on top.
    heads: BinaryHeap<Reverse<(Sequence, usize)>>,
    ahead_bytes: usize,
    /// The log whose entry was taken last and which is not in the heap yet.
    taken: Option<usize>,
}

impl Merge {
    pub(super) async fn new(
        view: LogView,
        keys: KeyOptions,
        (start, end): (Sequence, Sequence),
    ) -> Result<Self> {
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let mut keys = LogKeyIterator::new(&view.store, all, keys).await?;
        let mut merge = Self {
            cursors: Vec::new(),
            heads: BinaryHeap::new(),
            ahead_bytes: 0,
            taken: None,
        };
        while let Some(key) = keys.next().await? {
            let log = view.log(&key.key).await?;
            let cursor = Cursor::new(log, start, PAGE_ENTRIES, PAGE_BYTES).await?;
            let at = merge.cursors.len();
            merge.cursors.push(cursor);
            match merge.peek_at(at).await? {
                Some((sequence, _)) if sequence < end => merge.heads.push(Reverse((sequence, at))),
                _ => {
                    let beyond = merge.cursors.pop();
                    merge.ahead_bytes -= beyond.map_or(0, |cursor| cursor.buffered());
                }
            }
        }
        Ok(merge)
    }

    /// Sequence and size of the next entry of a log.
    async fn peek_at(&mut self, at: usize) -> Result<Option<(Sequence, usize)>> {
        let cursor = &mut self.cursors[at];
        let before = cursor.buffered();
        let found = cursor.peek().await?;
        let found = found.map(|entry| (entry.first_sequence, entry.payload.len()));
        self.ahead_bytes = self.ahead_bytes - before + cursor.buffered();
        if self.ahead_bytes > AHEAD_BYTES {
            for (other, cursor) in self.cursors.iter_mut().enumerate() {
                if other != at {
                    cursor.forget();
                }
            }
            self.ahead_bytes = self.cursors[at].buffered();
        }
        Ok(found)
    }

    /// Sequence and size of the next entry, which stays.
    pub(super) async fn peek(&mut self) -> Result<Option<(Sequence, usize)>> {
        if let Some(at) = self.taken {
            if let Some((sequence, _)) = self.peek_at(at).await? {
                self.heads.push(Reverse((sequence, at)));
            }
            self.taken = None;
        }
        while let Some(Reverse((expected, at))) = self.heads.peek().copied() {
            // It may have been forgotten and read again, or removed since.
            let found = self.peek_at(at).await?;
            if found.is_some_and(|(sequence, _)| sequence == expected) {
                return Ok(found);
            }
            self.heads.pop();
            self.heads
                .extend(found.map(|(sequence, _)| Reverse((sequence, at))));
        }
        Ok(None)
    }

    /// Takes the entry that was peeked at.
    pub(super) fn pop(&mut self) -> Option<LogEntry> {
        let Reverse((_, at)) = self.heads.pop()?;
        let entry = self.cursors[at].pop()?;
        self.ahead_bytes -= entry.value.len();
        self.taken = Some(at);
        Some(entry)
    }
}
