//! Reading a log from the store by offset, and remembering where a read left off, so that the next one
//! goes on there without looking for its place.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use slatedb::{IterationOrder, KeyValue};

use crate::ahead::AHEAD_BYTES;
use crate::key::{Directory, EntryKey, Index, PackedValue, SegmentMeta};
use crate::log::{Entry, Inner, ReadLimit};
use crate::lookup::{self, MIN_READ_AHEAD, Scan};
use crate::{Error, ErrorKind, Result};

/// Places kept for each log: one for each of as many readers.
const CURSORS: usize = 2;
/// Index rows kept for the reads that follow.
const STOPS: usize = 16;
/// Directory rows looked up at a time.
const SEGMENTS_AHEAD: usize = 16;
/// How often a place is looked for while its segment is merged away.
const LOOKUPS: usize = 8;

/// A place in a log, between two rows of a segment.
#[derive(Debug)]
struct Cursor {
    /// The segment's directory row.
    directory: Directory,
    segment: SegmentMeta,
    /// Directory rows that follow, as far as they were looked up.
    ahead: VecDeque<Directory>,
    /// The first row that ends at or after this sequence is the next one.
    sequence: u64,
    /// That row holds no offset below this.
    offset: u64,
    /// Payload bytes of the log before that row.
    bytes_before: u64,
    /// Index rows ahead.
    stops: VecDeque<Index>,
    /// Entries from the offset that goes on up to the next row, read ahead.
    waiting: VecDeque<Entry>,
    /// Where entries lay when the place was found.
    places: u64,
    /// Below this offset, no further segment follows those ahead.
    known_to: u64,
}

/// Where the latest reads of a log left off, by the offset that goes on.
#[derive(Debug, Default)]
pub(crate) struct Cursors(VecDeque<(u64, Cursor)>);

impl Cursors {
    fn take(&mut self, offset: u64) -> Option<Cursor> {
        let at = self.0.iter().position(|(known, _)| *known == offset)?;
        self.0.remove(at).map(|(_, cursor)| cursor)
    }

    /// Keeps a place; gives back the offset of one that had to go with entries that were waiting there.
    fn put(&mut self, offset: u64, mut cursor: Cursor) -> Option<u64> {
        let gone = match self.0.len() {
            CURSORS => self.0.pop_front(),
            _ => None,
        };
        cursor.stops.truncate(STOPS);
        cursor.stops.shrink_to(STOPS);
        cursor.ahead.shrink_to_fit();
        self.0.push_back((offset, cursor));
        gone.and_then(|(offset, cursor)| (!cursor.waiting.is_empty()).then_some(offset))
    }

    /// Lets go of the entries that wait at `offset`, and of the place, which lies behind them.
    pub(crate) fn forget_ahead(&mut self, offset: u64) {
        self.0
            .retain(|(known, cursor)| *known != offset || cursor.waiting.is_empty());
    }
}

/// The entries of a log from `from_offset` on; see [`crate::Log::read`]. `appended_bytes` is what the
/// log holds up to `limit.end_offset` at the least.
pub(crate) async fn read(
    log: &Arc<Inner>,
    from_offset: u64,
    limit: &ReadLimit,
    appended_bytes: u64,
) -> Result<Vec<Entry>> {
    loop {
        let places = log.core.places();
        let found = read_at(log, from_offset, limit, appended_bytes, places).await?;
        if places == log.core.places() {
            return Ok(found);
        }
        // Some may have been looked for where they no longer are.
    }
}

async fn read_at(
    log: &Arc<Inner>,
    from_offset: u64,
    limit: &ReadLimit,
    appended_bytes: u64,
    places: u64,
) -> Result<Vec<Entry>> {
    let core = &log.core;
    let known = log.cursors().take(from_offset);
    let known = match known {
        Some(cursor) if cursor.places != places => {
            if !cursor.waiting.is_empty() {
                core.ahead.remove(log, from_offset);
            }
            None
        }
        known => known,
    };
    let now_ms = core.clock.now().timestamp_millis();
    let goes_on = known.is_some();
    let mut cursor = match known {
        Some(cursor) => cursor,
        None => match Cursor::at(log, from_offset, places).await? {
            Some(cursor) => cursor,
            None => return Ok(Vec::new()),
        },
    };
    let mut collector = Collector {
        from_offset,
        limit: *limit,
        found: Vec::new(),
        bytes: 0,
    };
    let mut waiting = std::mem::take(&mut cursor.waiting);
    if !waiting.is_empty() {
        core.ahead.remove(log, from_offset);
        while let Some(entry) = waiting.pop_front() {
            if !collector.take(entry.clone()) {
                waiting.push_front(entry);
                break;
            }
        }
        if let Some(last) = collector.found.last() {
            // The place may lie before a row of which these were a part.
            collector.from_offset = last.end_offset();
        }
    }
    if waiting.is_empty() && !collector.done() {
        // Who reads on where it left off will probably do so again.
        let wanted = limit.max_bytes;
        if goes_on && wanted < 2 * AHEAD_BYTES && core.ahead.has_room(now_ms) {
            collector.limit.max_bytes = wanted.saturating_add(AHEAD_BYTES);
        }
        while cursor.read(log, &mut collector, appended_bytes).await? {
            match cursor.next_segment(log, limit.end_offset) {
                Some(next) => cursor = next,
                None => break,
            }
        }
        waiting = collector.split_off(limit);
    }
    if let Some(last) = collector.found.last() {
        let offset = last.end_offset();
        if !waiting.is_empty() {
            cursor.waiting = waiting;
            core.ahead.put(log, offset, now_ms);
        }
        let gone = log.cursors().put(offset, cursor);
        if let Some(gone) = gone {
            core.ahead.remove(log, gone);
        }
    }
    Ok(own_small(collector.found, collector.bytes))
}

impl Cursor {
    /// The place of the entry that contains `offset`, or the next; `None` if the log holds nothing.
    async fn at(log: &Inner, offset: u64, places: u64) -> Result<Option<Self>> {
        let (core, key) = (&*log.core, &log.key);
        let mut rows = VecDeque::new();
        for _ in 0..LOOKUPS {
            let Some(directory) = lookup::directory_at(core, key, offset).await? else {
                return Ok(None);
            };
            let first_offset = directory.first_offset;
            rows = lookup::directories_from(core, key, first_offset, SEGMENTS_AHEAD).await?;
            // Else it went in between, into the one before it.
            if rows
                .front()
                .is_some_and(|row| row.first_offset == first_offset)
            {
                break;
            }
        }
        let Some(mut cursor) = Self::enter(log, &mut rows, places) else {
            return Ok(None);
        };
        if offset > cursor.directory.first_offset
            && let Some(index) =
                lookup::last_index_before(core, key, &cursor.segment, offset).await?
            && index.last_offset >= cursor.directory.first_offset
        {
            cursor.go_past(&index);
        }
        Ok(Some(cursor))
    }

    /// The first place of the log in the first of these segments that is still there. Others were
    /// trimmed away since their rows were read.
    fn enter(log: &Inner, rows: &mut VecDeque<Directory>, places: u64) -> Option<Self> {
        while let Some(directory) = rows.pop_front() {
            if let Some(segment) = log.core.segments.get(directory.segment) {
                return Some(Self {
                    directory,
                    segment,
                    ahead: std::mem::take(rows),
                    sequence: directory.first_sequence,
                    offset: directory.first_offset,
                    bytes_before: directory.bytes_before,
                    stops: VecDeque::new(),
                    waiting: VecDeque::new(),
                    places,
                    known_to: 0,
                });
            }
        }
        None
    }

    /// The first place in the next segment that starts below `end_offset`.
    fn next_segment(&mut self, log: &Inner, end_offset: u64) -> Option<Self> {
        match self.ahead.front() {
            Some(next) if next.first_offset < end_offset => {
                let mut rows = std::mem::take(&mut self.ahead);
                Self::enter(log, &mut rows, self.places)
            }
            _ => None,
        }
    }

    /// Looks up which segments follow this one, as far as `end_offset`. Before it is read to its end: what
    /// comes to it later from one that follows is found there, or here.
    async fn look_ahead(&mut self, log: &Inner, end_offset: u64) -> Result<()> {
        if self.ahead.is_empty() && self.known_to < end_offset {
            let after = self.directory.first_offset + 1;
            let rows = lookup::directories_from(&log.core, &log.key, after, SEGMENTS_AHEAD);
            self.ahead = rows.await?;
            self.known_to = end_offset;
        }
        Ok(())
    }

    /// Reads on in this segment; true if it ends before the limit is reached.
    async fn read(
        &mut self,
        log: &Inner,
        collector: &mut Collector,
        appended_bytes: u64,
    ) -> Result<bool> {
        self.look_ahead(log, collector.limit.end_offset).await?;
        loop {
            let wanted = collector
                .limit
                .max_bytes
                .saturating_sub(collector.bytes)
                .max(1);
            let end_bytes = self
                .ahead
                .front()
                .map_or(appended_bytes, |next| next.bytes_before);
            let fits = end_bytes.saturating_sub(self.bytes_before) <= wanted as u64;
            let stop = if fits {
                None
            } else {
                self.stop_after(log, wanted as u64).await?
            };
            let end = match &stop {
                Some(index) => {
                    EntryKey::lower_bound(&log.key, &self.segment, index.last_sequence + 1)
                }
                None => EntryKey::end(&log.key, &self.segment),
            };
            let range = EntryKey::lower_bound(&log.key, &self.segment, self.sequence)..end;
            let fetch = lookup::entries(wanted);
            let mut scan = Scan::new(&log.core, &log.key, range, fetch).await?;
            while let Some(row) = scan.next().await? {
                if !self.pass(&row, collector)? {
                    return Ok(false);
                }
            }
            match stop {
                Some(index) => self.go_past(&index),
                None => return Ok(true),
            }
        }
    }

    /// Gives a row to the collector and goes past it; false if not all of it was taken, or no more
    /// will be.
    fn pass(&mut self, row: &KeyValue, collector: &mut Collector) -> Result<bool> {
        let key = EntryKey::decode(&row.key, &self.segment)?;
        let (payload_bytes, all) = if key.packed {
            let packed = PackedValue::decode(&key, &row.value)?;
            (packed.payload_bytes(), collector.take_packed(&key, packed))
        } else {
            (
                row.value.len() as u64,
                collector.take_single(&key, row.value.clone())?,
            )
        };
        if !all {
            return Ok(false);
        }
        self.sequence = key.last_sequence + 1;
        self.offset = key.end_offset();
        self.bytes_before += payload_bytes;
        Ok(!collector.done())
    }

    fn go_past(&mut self, index: &Index) {
        self.sequence = index.last_sequence + 1;
        self.offset = index.last_offset + 1;
        self.bytes_before = index.appended_bytes;
    }

    /// The index row by which `wanted` bytes will have been read, so that files beyond it are not
    /// opened. `None` if the segment ends before.
    async fn stop_after(&mut self, log: &Inner, wanted: u64) -> Result<Option<Index>> {
        // An entry may be let in or kept out by its last byte: look one index interval further.
        let interval = log.core.options.index_interval_bytes;
        let enough = self
            .bytes_before
            .saturating_add(wanted)
            .saturating_add(interval);
        let reaches = |index: &&Index| index.appended_bytes >= enough;
        while self
            .stops
            .front()
            .is_some_and(|index| index.last_sequence < self.sequence)
        {
            self.stops.pop_front();
        }
        if let Some(stop) = self.stops.iter().find(reaches) {
            return Ok(Some(*stop));
        }
        let from = self
            .stops
            .back()
            .map_or(self.offset, |index| index.last_offset + 1);
        let range = Index::key(&log.key, self.segment.id, from)
            ..Index::key(&log.key, self.segment.id, u64::MAX);
        let fetch = lookup::rows(IterationOrder::Ascending);
        let mut scan = Scan::new(&log.core, &log.key, range, fetch).await?;
        let mut ahead = 0;
        while ahead < STOPS
            && let Some(row) = scan.next().await?
        {
            let index = Index::decode(&row.key, &row.value)?;
            ahead += usize::from(index.appended_bytes >= enough);
            self.stops.push_back(index);
        }
        Ok(self.stops.iter().find(reaches).copied())
    }
}

/// Collects entries up to a limit.
struct Collector {
    from_offset: u64,
    limit: ReadLimit,
    found: Vec<Entry>,
    bytes: usize,
}

impl Collector {
    fn take_single(&mut self, key: &EntryKey, payload: Bytes) -> Result<bool> {
        let count = u32::try_from(key.records).map_err(|_| {
            let problem = format!(
                "an entry at sequence {} has {} records",
                key.last_sequence, key.records
            );
            Error::new(ErrorKind::Corrupt, problem)
        })?;
        Ok(self.take(Entry {
            first_sequence: key.first_sequence(),
            first_offset: key.first_offset,
            count,
            format: key.format,
            payload,
        }))
    }

    fn take_packed(&mut self, key: &EntryKey, packed: PackedValue) -> bool {
        let (mut first_sequence, mut first_offset) = (key.first_sequence(), key.first_offset);
        let format = key.format;
        packed.entries.into_iter().all(|(payload, count)| {
            let entry = payload.map(|payload| Entry {
                first_sequence,
                first_offset,
                count,
                format,
                payload,
            });
            first_sequence += u64::from(count);
            first_offset += u64::from(count);
            // One that was dropped left a gap.
            entry.is_none_or(|entry| self.take(entry))
        })
    }

    /// Takes an entry, unless it lies before what is wanted; false if it does not fit.
    fn take(&mut self, entry: Entry) -> bool {
        if entry.end_offset() <= self.from_offset {
            return true;
        }
        let len = entry.payload.len();
        if !self
            .limit
            .admits(&self.found, self.bytes, entry.first_offset, len)
        {
            return false;
        }
        self.bytes += len;
        self.from_offset = entry.end_offset();
        self.found.push(entry);
        true
    }

    /// Keeps what `limit` admits; what was read beyond it.
    fn split_off(&mut self, limit: &ReadLimit) -> VecDeque<Entry> {
        let mut bytes = 0;
        let admitted = self.found.iter().enumerate().take_while(|(at, entry)| {
            let len = entry.payload.len();
            let admitted = limit.admits(&self.found[..*at], bytes, entry.first_offset, len);
            bytes += if admitted { len } else { 0 };
            admitted
        });
        let count = admitted.count();
        self.bytes = bytes;
        self.found.split_off(count).into()
    }

    fn done(&self) -> bool {
        self.found.len() >= self.limit.max_entries.max(1)
            || !self.found.is_empty() && self.bytes >= self.limit.max_bytes
    }
}

/// Stored values are slices of what was fetched. A small result is copied, so that it does not hold a
/// large buffer.
fn own_small(mut found: Vec<Entry>, bytes: usize) -> Vec<Entry> {
    if bytes < MIN_READ_AHEAD / 2 {
        for entry in &mut found {
            entry.payload = Bytes::copy_from_slice(&entry.payload);
        }
    }
    found
}
