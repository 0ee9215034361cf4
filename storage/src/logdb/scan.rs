//! Iterating over entries: of one log, or of many merged.

use std::collections::VecDeque;

use bytes::Bytes;

use super::keys::KeyOptions;
use super::merge::Merge;
use super::record::{LogEntry, Sequence};
use super::view::LogView;
use crate::{Entry, Log, ReadLimit, Result, Store};

/// Bytes and entries that one read of the store asks for, where the caller has not limited them.
const PAGE_BYTES: usize = 256 << 10;
const PAGE_ENTRIES: usize = 1024;

/// Limits of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Entries at the most.
    pub limit: Option<usize>,
    /// Bytes of values at the most; the first entry is returned whatever its size.
    pub max_bytes: Option<usize>,
}

/// Entries in the order of their sequences.
///
/// What is appended while it goes may or may not be returned. [`LogIterator::next_sequence`] is where
/// to go on, without loss.
#[derive(Debug)]
pub struct LogIterator {
    store: Store,
    source: Source,
    end: Sequence,
    left_entries: usize,
    left_bytes: usize,
    returned_any: bool,
    /// See [`LogIterator::next_sequence`].
    next_sequence: Sequence,
    done: bool,
}

#[derive(Debug)]
enum Source {
    One(Cursor),
    Many(Merge),
}

impl LogIterator {
    pub(super) async fn of_key(
        view: &LogView,
        key: Bytes,
        (start, end): (Sequence, Sequence),
        options: ScanOptions,
    ) -> Result<Self> {
        let log = view.log(&key).await?;
        let page_entries = options.limit.unwrap_or(PAGE_ENTRIES);
        let page_bytes = options.max_bytes.unwrap_or(PAGE_BYTES);
        let cursor = Cursor::new(log, start, page_entries, page_bytes).await?;
        Ok(Self::new(view, Source::One(cursor), (start, end), options))
    }

    pub(super) async fn of_keys(
        view: &LogView,
        keys: KeyOptions,
        range: (Sequence, Sequence),
        options: ScanOptions,
    ) -> Result<Self> {
        let merge = Merge::new(view.clone(), keys, range).await?;
        Ok(Self::new(view, Source::Many(merge), range, options))
    }

    fn new(
        view: &LogView,
        source: Source,
        (start, end): (Sequence, Sequence),
        options: ScanOptions,
    ) -> Self {
        let limit = options.limit.unwrap_or(usize::MAX);
        Self {
            store: view.store.clone(),
            source,
            end,
            left_entries: limit,
            left_bytes: options.max_bytes.unwrap_or(usize::MAX),
            returned_any: false,
            next_sequence: start,
            done: limit == 0 || start >= end,
        }
    }

    /// The next entry; `None` at the end of the range, of the log or of the limits.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn next(&mut self) -> Result<Option<LogEntry>> {
        if self.done {
            return Ok(None);
        }
        // Before the read: what is below and not found then is not there.
        let frontier = self.store.durable_sequence();
        let next = match &mut self.source {
            Source::One(cursor) => cursor
                .peek()
                .await?
                .map(|entry| (entry.first_sequence, entry.payload.len())),
            Source::Many(merge) => merge.peek().await?,
        };
        match next {
            Some((sequence, len)) if sequence < self.end => {
                if self.returned_any && len > self.left_bytes {
                    self.done = true;
                    return Ok(None);
                }
                let entry = match &mut self.source {
                    Source::One(cursor) => cursor.pop(),
                    Source::Many(merge) => merge.pop(),
                };
                let Some(entry) = entry else {
                    return Ok(None);
                };
                self.returned_any = true;
                self.left_bytes = self.left_bytes.saturating_sub(len);
                self.left_entries -= 1;
                self.done = self.left_entries == 0;
                self.next_sequence = entry.next_sequence();
                Ok(Some(entry))
            }
            beyond => {
                self.done = true;
                let known = match beyond {
                    Some(_) => self.end,
                    None => frontier.min(self.end),
                };
                self.next_sequence = self.next_sequence.max(known);
                Ok(None)
            }
        }
    }

    /// Where a later scan goes on, so that it returns each entry that this one has not: after the last
    /// entry returned; once the end was reached, also beyond what other keys have taken since.
    pub fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }
}

/// A place in one log.
#[derive(Debug)]
pub(super) struct Cursor {
    log: Log,
    next_offset: u64,
    page_entries: usize,
    page_bytes: usize,
    buffer: VecDeque<Entry>,
    buffered_bytes: usize,
}

impl Cursor {
    pub(super) async fn new(
        log: Log,
        start: Sequence,
        page_entries: usize,
        page_bytes: usize,
    ) -> Result<Self> {
        let next_offset = log.offset_at(start).await?;
        Ok(Self {
            log,
            next_offset,
            page_entries: page_entries.clamp(1, PAGE_ENTRIES),
            page_bytes: page_bytes.clamp(1, PAGE_BYTES),
            buffer: VecDeque::new(),
            buffered_bytes: 0,
        })
    }

    /// The next entry, which stays.
    pub(super) async fn peek(&mut self) -> Result<Option<&Entry>> {
        if self.buffer.is_empty() {
            let limit = ReadLimit {
                end_offset: u64::MAX,
                max_bytes: self.page_bytes,
                max_entries: self.page_entries,
            };
            let entries = self.log.read(self.next_offset, limit).await?;
            if let Some(last) = entries.last() {
                self.next_offset = last.end_offset();
            }
            self.buffered_bytes = entries.iter().map(|entry| entry.payload.len()).sum();
            self.buffer = entries.into();
        }
        Ok(self.buffer.front())
    }

    /// Takes the entry that was peeked at.
    pub(super) fn pop(&mut self) -> Option<LogEntry> {
        let entry = self.buffer.pop_front()?;
        self.buffered_bytes -= entry.payload.len();
        Some(returned(self.log.key(), entry))
    }

    /// Bytes of the entries that were read ahead.
    pub(super) fn buffered(&self) -> usize {
        self.buffered_bytes
    }

    /// Forgets what was read ahead.
    pub(super) fn forget(&mut self) {
        if let Some(first) = self.buffer.front() {
            self.next_offset = first.first_offset;
        }
        self.buffer = VecDeque::new();
        self.buffered_bytes = 0;
    }

    /// Whether everything that is durable was returned.
    pub(super) fn is_at_end(&self) -> bool {
        self.buffer.is_empty() && self.next_offset >= self.log.bounds().end_offset
    }
}

/// An entry of the log under `key`, as users of the database see it.
pub(super) fn returned(key: &Bytes, entry: Entry) -> LogEntry {
    LogEntry {
        key: key.clone(),
        sequence: entry.first_sequence,
        value: entry.payload,
        offset: entry.first_offset,
        records: entry.count,
        format: entry.format,
    }
}
