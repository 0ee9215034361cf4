//! Building one engine batch from write sets: sequences, segments, and every row that an append needs.

mod moves;

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use slatedb::WriteBatch;

use crate::key::{
    Directory, EntryKey, Format, Frontier, Index, Listing, LogState, Packer, Pending, Row,
    SegmentMeta, SequenceBlock,
};
use crate::log::{Entry, Inner, Writer};
use crate::publish::{Flight, LogUpdate};
use crate::queue::{Done, Queued};
use crate::store::Core;
use crate::write_set::{Change, Dead, NewEntry, Rewrote};
use crate::{Committed, Error, ErrorKind, Log, Result};

/// Entries up to this size share a row with their neighbours, up to that size: a row costs the engine
/// about as much as copying this much.
const PACKED_ENTRY_BYTES: usize = 8 << 10;
const PACKED_ROW_BYTES: usize = 48 << 10;

/// Sequences that one sequence row covers.
const SEQUENCE_BLOCK: u64 = 1 << 16;

/// How often the frontier row is written, in milliseconds.
const TELL_INTERVAL_MS: i64 = 100;

/// Largest payload of one entry.
const MAX_PAYLOAD: usize = 1 << 30;

/// Largest key of a row.
const MAX_ROW_KEY: usize = 32 << 10;

/// The segment that takes appends.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) meta: SegmentMeta,
    pub(crate) bytes: u64,
}

/// What has been given out; owned by the commit task.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(crate) next_sequence: u64,
    /// The block that the stored sequence row covers.
    pub(crate) block: SequenceBlock,
    pub(crate) open: Option<OpenSegment>,
    /// The id of the next segment.
    pub(crate) next_segment: u32,
    /// When the frontier row was last written.
    pub(crate) told_ms: i64,
    /// Whether the store knows its format.
    pub(crate) format_written: bool,
}

/// A batch and what becomes of it.
pub(crate) struct Built {
    pub(crate) batch: WriteBatch,
    pub(crate) flight: Flight,
    /// Whoever wants to know before it is durable, with the place of the set in `flight.done`.
    pub(crate) written: Vec<(Done, usize)>,
    /// Whether a segment was sealed.
    pub(crate) sealed: bool,
}

/// Entries of one log that will be stored one after the other.
struct Group {
    log: Log,
    entries: Vec<(NewEntry, usize)>,
}

/// Builds one batch.
pub(crate) struct BatchBuilder<'a> {
    core: &'a Core,
    assigned: &'a mut Assigned,
    now_ms: i64,
    batch: WriteBatch,
    /// Keys are cut from here.
    arena: BytesMut,
    /// Of write sets that append to one log each; the entries of such sets may change places with
    /// those of other logs.
    groups: Vec<Group>,
    group_of: HashMap<usize, usize>,
    /// Holds every log whose writing half was changed: one that is opened anew reads the store, which
    /// does not know of the change until the batch is written.
    updates: Vec<LogUpdate>,
    done: Vec<(Done, Result<Committed>)>,
    written: Vec<(Done, usize)>,
    bytes: usize,
    dropped: Vec<u32>,
    cleared: Vec<Log>,
    /// Logs whose state is to be put down as it is after the whole batch.
    states: Vec<Log>,
    sealed: bool,
    appended: bool,
}

impl<'a> BatchBuilder<'a> {
    pub(crate) fn new(core: &'a Core, assigned: &'a mut Assigned, now_ms: i64) -> Self {
        Self {
            core,
            assigned,
            now_ms,
            batch: WriteBatch::new(),
            arena: BytesMut::with_capacity(4096),
            groups: Vec::new(),
            group_of: HashMap::new(),
            updates: Vec::new(),
            done: Vec::new(),
            written: Vec::new(),
            bytes: 0,
            dropped: Vec::new(),
            cleared: Vec::new(),
            states: Vec::new(),
            sealed: false,
            appended: false,
        }
    }

    /// Adds a write set, or refuses it as a whole.
    pub(crate) fn add(&mut self, mut set: Queued) {
        self.bytes += set.bytes;
        let index = self.done.len();
        let checked = self.check(&mut set.changes);
        let accepted = checked.is_ok();
        self.done
            .push((set.done, checked.map(|()| Committed::default())));
        self.written
            .extend(set.written.map(|written| (written, index)));
        if !accepted {
            return;
        }
        let mut logs = set.changes.iter().filter_map(|change| match change {
            Change::Append { log, .. } => Some(address(log)),
            _ => None,
        });
        let first = logs.next();
        let one_log = logs.all(|log| Some(log) == first);
        if !one_log {
            self.flush_groups();
        }
        for change in set.changes {
            self.apply(change, index);
            if !one_log {
                // Several logs in one set: their entries keep the set's order.
                self.flush_other_groups();
            }
        }
        if !one_log {
            self.flush_groups();
        }
    }

    /// Whether every change of a set can be made; moves the ends of the logs that it appends to.
    fn check(&self, changes: &mut [Change]) -> Result<()> {
        let mut moved: Vec<(usize, u64, u64)> = Vec::new();
        let checked = changes.iter_mut().enumerate().try_for_each(|(at, change)| {
            if let Some((end, start)) = self.check_one(change)? {
                moved.push((at, end, start));
            }
            Ok(())
        });
        if checked.is_err() {
            for (at, end, start) in moved.into_iter().rev() {
                let Some(log) = changes[at].log() else {
                    continue;
                };
                let mut writer = log.inner().writer();
                writer.bounds.end_offset = end;
                writer.bounds.start_offset = start;
            }
        }
        checked
    }

    /// Checks one change, and gives an entry its offset if it has none; the end and start that its log
    /// had before, if it has a log.
    fn check_one(&self, change: &mut Change) -> Result<Option<(u64, u64)>> {
        let invalid = |problem: String| Err(Error::new(ErrorKind::Invalid, problem));
        if let Change::Append { log, entry } = &mut *change
            && entry.first_offset == NewEntry::AT_END
        {
            entry.first_offset = log.inner().writer().bounds.end_offset;
        }
        let log = match &*change {
            Change::Append { log, .. } | Change::Trim { log, .. } | Change::Remove { log } => log,
            Change::PutRow { key, .. } | Change::DeleteRow { key } => {
                if key.is_empty() || key.len() > MAX_ROW_KEY {
                    return invalid(format!(
                        "a row key must have 1 to {MAX_ROW_KEY} bytes, this one has {}",
                        key.len()
                    ));
                }
                return Ok(None);
            }
            Change::Clear { .. }
            | Change::Seal { .. }
            | Change::KeepEnd { .. }
            | Change::Rewrote { .. }
            | Change::Move { .. }
            | Change::DropEmptied { .. } => return Ok(None),
        };
        if !std::ptr::eq(&*log.inner().core, self.core) {
            return invalid(format!("log {:?} belongs to another store", log.key()));
        }
        let mut writer = log.inner().writer();
        if writer.removed {
            return invalid(format!("log {:?} was removed", log.key()));
        }
        let (end, start) = (writer.bounds.end_offset, writer.bounds.start_offset);
        match &*change {
            Change::Append { entry, .. } => {
                if entry.count == 0 {
                    return invalid(format!("an entry for log {:?} spans no offset", log.key()));
                }
                if entry.payload.len() > MAX_PAYLOAD {
                    return invalid(format!(
                        "an entry for log {:?} has {} bytes, more than {MAX_PAYLOAD}",
                        log.key(),
                        entry.payload.len()
                    ));
                }
                if entry.first_offset < end {
                    return invalid(format!(
                        "an entry for log {:?} starts at offset {}, below the log's end {end}",
                        log.key(),
                        entry.first_offset
                    ));
                }
                if entry.first_offset > i64::MAX as u64 - u64::from(entry.count) {
                    return invalid(format!(
                        "an entry for log {:?} starts at offset {}, which is too high",
                        log.key(),
                        entry.first_offset
                    ));
                }
                writer.bounds.end_offset = entry.end_offset();
            }
            Change::Trim { start_offset, .. } => {
                if *start_offset > i64::MAX as u64 {
                    return invalid(format!(
                        "log {:?} cannot start at offset {start_offset}, which is too high",
                        log.key()
                    ));
                }
                writer.bounds.start_offset = start.max(*start_offset);
                writer.bounds.end_offset = end.max(*start_offset);
            }
            _ => {}
        }
        Ok(Some((end, start)))
    }

    fn apply(&mut self, change: Change, set: usize) {
        match change {
            Change::Append { log, entry } => self.group(log, entry, set),
            Change::PutRow { key, value } => self.batch.put_bytes(Row::key(&key), value),
            Change::DeleteRow { key } => self.batch.delete(Row::key(&key)),
            Change::Trim { log, .. } => {
                self.flush_groups();
                self.states.push(log.clone());
                self.batch
                    .put_bytes(Pending::key(&log.inner().key), Bytes::new());
                self.update(&log);
                self.cleared.push(log);
            }
            Change::Remove { log } => {
                self.flush_groups();
                let writer = {
                    let mut writer = log.inner().writer();
                    writer.removed = true;
                    writer.bounds.start_offset = writer.bounds.end_offset;
                    *writer
                };
                self.put_state(&log, &writer);
                self.batch
                    .put_bytes(Pending::key(&log.inner().key), Bytes::new());
                self.update(&log);
                self.cleared.push(log);
            }
            Change::Clear { log, dead } => {
                self.flush_groups();
                self.clear(&log, &dead);
                self.update(&log);
            }
            Change::Seal { segment } => {
                self.flush_groups();
                let open = self.assigned.open.as_ref();
                if open.is_some_and(|open| open.meta.id == segment && open.bytes > 0) {
                    self.roll();
                }
            }
            Change::KeepEnd { log } => self.states.push(log),
            Change::Rewrote { segment, rewrote } => self.rewrote(segment, &rewrote),
            Change::Move { log, moved } => self.moved(&log, *moved),
            Change::DropEmptied { segments } => self.drop_emptied(&segments),
        }
    }

    fn put_state(&mut self, log: &Log, writer: &Writer) {
        let state = LogState {
            removed: writer.removed,
            start_offset: writer.bounds.start_offset,
            end_offset: writer.bounds.end_offset,
            appended_bytes: writer.bounds.appended_bytes,
            records: writer.records,
            max_timestamp: writer.bounds.max_timestamp,
            dead_through: writer.dead_through,
        };
        self.batch
            .put_bytes(LogState::key(&log.inner().key), state.value());
    }

    fn update(&mut self, log: &Log) {
        self.updates.push(LogUpdate::new(log.clone()));
    }

    fn group(&mut self, log: Log, entry: NewEntry, set: usize) {
        let next = self.groups.len();
        let at = *self.group_of.entry(address(&log)).or_insert(next);
        if at == next {
            self.groups.push(Group {
                log,
                entries: Vec::new(),
            });
        }
        self.groups[at].entries.push((entry, set));
    }

    fn flush_groups(&mut self) {
        self.group_of.clear();
        for group in std::mem::take(&mut self.groups) {
            self.append(&group.log, group.entries);
        }
    }

    /// All but the last one begun.
    fn flush_other_groups(&mut self) {
        if self.groups.len() > 1 {
            let last = self.groups.pop().expect("more than one");
            self.flush_groups();
            self.group_of.insert(address(&last.log), 0);
            self.groups.push(last);
        }
    }

    /// The rows of a run of entries of one log.
    fn append(&mut self, log: &Log, entries: Vec<(NewEntry, usize)>) {
        self.ensure_segment();
        let inner = log.inner();
        let mut writer = inner.writer();
        self.ensure_directory(inner, &mut writer, entries[0].0.first_offset);
        let mut update = LogUpdate::new(log.clone());
        update.entries.reserve(entries.len());
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (row, after) = rest.split_at(packed_run(rest));
            rest = after;
            self.append_row(inner, &mut writer, row, &mut update);
        }
        drop(writer);
        self.updates.push(update);
    }

    /// One row: an entry by itself, or several that fit together.
    fn append_row(
        &mut self,
        log: &Inner,
        writer: &mut Writer,
        row: &[(NewEntry, usize)],
        update: &mut LogUpdate,
    ) {
        let open = self
            .assigned
            .open
            .as_mut()
            .expect("a segment is open while rows are built");
        let first = &row[0].0;
        let records: u64 = row.iter().map(|(entry, _)| u64::from(entry.count)).sum();
        let payload_bytes: usize = row.iter().map(|(entry, _)| entry.payload.len()).sum();
        let max_timestamp = row
            .iter()
            .map(|(entry, _)| entry.max_timestamp)
            .max()
            .unwrap_or(-1);
        let mut sequence = self.assigned.next_sequence;
        self.assigned.next_sequence += records;
        let key = EntryKey {
            last_sequence: sequence + records - 1,
            format: first.format,
            packed: row.len() > 1,
            records,
            first_offset: first.first_offset,
            max_timestamp,
        };
        key.encode_into(&mut self.arena, &log.key, &open.meta);
        let stored_key = self.arena.split().freeze();

        let value = if key.packed {
            let mut packer = Packer::with_capacity(payload_bytes, row.len());
            for (entry, _) in row {
                packer.push(&entry.payload, entry.count);
            }
            packer.finish()
        } else {
            first.payload.clone()
        };
        let mut at = 0;
        for (entry, set) in row {
            let payload = value.slice(at..at + entry.payload.len());
            at += entry.payload.len();
            update.entries.push(Entry {
                first_sequence: sequence,
                first_offset: entry.first_offset,
                count: entry.count,
                format: entry.format,
                payload,
            });
            if let Ok(committed) = &mut self.done[*set].1 {
                let first = committed.first_sequence.unwrap_or(sequence);
                committed.first_sequence = Some(first.min(sequence));
            }
            sequence += u64::from(entry.count);
        }
        update.rows.push((key.end_offset(), value.len()));
        open.bytes += (stored_key.len() + value.len()) as u64;
        self.batch.put_bytes(stored_key, value);

        writer.records += records;
        writer.bounds.appended_bytes += payload_bytes as u64;
        writer.bounds.max_timestamp = writer.bounds.max_timestamp.max(max_timestamp);
        let since_index = writer.bounds.appended_bytes - writer.indexed_bytes;
        if since_index >= self.core.options.index_interval_bytes {
            writer.indexed_bytes = writer.bounds.appended_bytes;
            let index = Index {
                last_offset: key.end_offset() - 1,
                last_sequence: key.last_sequence,
                max_timestamp: writer.bounds.max_timestamp,
                appended_bytes: writer.bounds.appended_bytes,
                records: writer.records,
            };
            Index::key_into(&mut self.arena, &log.key, open.meta.id, index.last_offset);
            let index_key = self.arena.split().freeze();
            index.value_into(&mut self.arena);
            self.batch.put_bytes(index_key, self.arena.split().freeze());
        }
    }

    /// Makes sure that a segment is open, sealing the present one if it is due. One batch appends to
    /// one segment.
    fn ensure_segment(&mut self) {
        if std::mem::replace(&mut self.appended, true) {
            return;
        }
        let due = self.assigned.open.as_ref().is_none_or(|open| {
            let interval_ms = self.core.options.segment_interval.as_millis() as i64;
            open.bytes >= self.core.options.segment_bytes
                || self.now_ms.saturating_sub(open.meta.start_time_ms) >= interval_ms
        });
        if due {
            self.roll();
        }
    }

    /// Seals the open segment, if there is one, and opens the next. The last segment is always open,
    /// so that no id is ever used twice.
    fn roll(&mut self) {
        if let Some(open) = self.assigned.open.take() {
            self.sealed = true;
            tracing::debug!(
                segment = open.meta.id,
                bytes = open.bytes,
                "sealed a segment"
            );
            self.put_sealed(open.meta);
        }
        let meta = SegmentMeta {
            id: self.assigned.next_segment,
            start_sequence: self.assigned.next_sequence,
            start_time_ms: self.now_ms,
            live_logs: 0,
            dead_bytes: 0,
            adopted_ms: 0,
        };
        self.assigned.next_segment += 1;
        self.batch
            .put_bytes(SegmentMeta::key(meta.id), meta.value());
        self.core.segments.put(meta);
        self.assigned.open = Some(OpenSegment { meta, bytes: 0 });
    }

    /// Stores what a sealed segment holds; one that holds nothing is dropped, unless what was moved out
    /// of it may not be in files yet.
    fn put_sealed(&mut self, meta: SegmentMeta) {
        if meta.live_logs == 0 && !self.core.merging.keeps(meta.id) {
            self.batch.delete(SegmentMeta::key(meta.id));
            self.dropped.push(meta.id);
        } else {
            self.batch
                .put_bytes(SegmentMeta::key(meta.id), meta.value());
            self.core.segments.put(meta);
        }
    }

    /// Makes sure that the open segment is in the log's directory.
    fn ensure_directory(&mut self, log: &Inner, writer: &mut Writer, first_offset: u64) {
        let open = self
            .assigned
            .open
            .as_mut()
            .expect("a segment is open while rows are built");
        if writer.directory == Some(open.meta.id) {
            return;
        }
        let directory = Directory {
            first_offset,
            segment: open.meta.id,
            first_sequence: self.assigned.next_sequence,
            bytes_before: writer.bounds.appended_bytes,
            records_before: writer.records,
            max_timestamp_before: writer.bounds.max_timestamp,
            rewritten_bytes: 0,
        };
        self.batch
            .put_bytes(Directory::key(&log.key, first_offset), directory.value());
        self.batch
            .put_bytes(Listing::key(&log.key, open.meta.id), Bytes::new());
        open.meta.live_logs += 1;
        writer.directory = Some(open.meta.id);
        writer.indexed_bytes = writer.bounds.appended_bytes;
    }

    /// Counts what of `log` is dead, and takes segments that hold nothing of it any more out of its
    /// directory.
    fn clear(&mut self, log: &Log, dead: &Dead) {
        let inner = log.inner();
        let mut writer = inner.writer();
        writer.dead_through = writer.dead_through.max(dead.through);
        for &(segment, bytes) in &dead.bytes {
            self.count_dead(segment, |known| known + bytes);
        }
        let mut again = false;
        for directory in &dead.directories {
            let appended = writer.bounds.end_offset > dead.end_offset && !writer.removed;
            if dead.last == Some(directory.segment) && appended {
                // Perhaps here: it is looked at again.
                again = true;
                continue;
            }
            if writer.directory == Some(directory.segment) {
                writer.directory = None;
            }
            self.batch
                .delete(Directory::key(&inner.key, directory.first_offset));
            match &mut self.assigned.open {
                Some(open) if open.meta.id == directory.segment => {
                    open.meta.live_logs = open.meta.live_logs.saturating_sub(1);
                    self.batch
                        .delete(Listing::key(&inner.key, directory.segment));
                }
                _ => {
                    if let Some(mut meta) = self.core.segments.get(directory.segment) {
                        meta.live_logs = meta.live_logs.saturating_sub(1);
                        self.core.segments.put(meta);
                        self.put_sealed(meta);
                    }
                }
            }
        }
        let writer = {
            let writer = writer;
            *writer
        };
        let same =
            (writer.removed, writer.bounds.start_offset) == (dead.removed, dead.start_offset);
        if again {
            self.cleared.push(log.clone());
        } else if same {
            self.batch.delete(Pending::key(&inner.key));
            if writer.removed {
                self.batch.delete(LogState::key(&inner.key));
            }
        }
        self.states.push(log.clone());
        if self
            .assigned
            .open
            .as_ref()
            .is_some_and(|open| open.meta.live_logs == 0 && open.bytes > 0)
        {
            // Nothing in it lives: let it go now, not when the next append comes.
            self.roll();
        }
    }

    /// Changes how many bytes of a segment are counted as dead.
    fn count_dead(&mut self, segment: u32, change: impl FnOnce(u64) -> u64) {
        let meta = match &mut self.assigned.open {
            Some(open) if open.meta.id == segment => {
                open.meta.dead_bytes = change(open.meta.dead_bytes);
                // While it is open, its logs are counted anew when the store opens.
                SegmentMeta {
                    live_logs: 0,
                    ..open.meta
                }
            }
            _ => match self.core.segments.get(segment) {
                Some(meta) => SegmentMeta {
                    dead_bytes: change(meta.dead_bytes),
                    ..meta
                },
                None => return,
            },
        };
        self.batch
            .put_bytes(SegmentMeta::key(segment), meta.value());
        self.core.segments.put(meta);
    }

    fn rewrote(&mut self, segment: u32, rewrote: &Rewrote) {
        self.count_dead(segment, |dead| dead.saturating_sub(rewrote.dead_bytes));
        for (log, directory) in &rewrote.directories {
            let inner = log.inner();
            if inner.writer().removed {
                continue;
            }
            self.batch.put_bytes(
                Directory::key(&inner.key, directory.first_offset),
                directory.value(),
            );
        }
    }

    pub(crate) fn finish(mut self) -> Built {
        self.flush_groups();
        for log in std::mem::take(&mut self.states) {
            let writer = *log.inner().writer();
            // A removed one has its last state already.
            if !writer.removed {
                self.put_state(&log, &writer);
            }
        }
        if self.assigned.next_sequence > self.assigned.block.end() {
            let base = self.assigned.block.end();
            let size = SEQUENCE_BLOCK.max(self.assigned.next_sequence - base);
            self.assigned.block = SequenceBlock { base, size };
            self.batch
                .put_bytes(SequenceBlock::key(), self.assigned.block.value());
        }
        if self.appended && self.now_ms.saturating_sub(self.assigned.told_ms) >= TELL_INTERVAL_MS {
            self.assigned.told_ms = self.now_ms;
            let frontier = Frontier::value(self.assigned.next_sequence);
            self.batch.put_bytes(Frontier::key(), frontier);
        }
        if !self.assigned.format_written && !self.batch.is_empty() {
            self.assigned.format_written = true;
            self.batch
                .put_bytes(Format::key(), Format::value(Format::CURRENT));
        }
        let mut updates = by_log(self.updates);
        for update in &mut updates {
            update.bounds = update.log.inner().writer().bounds;
        }
        let flight = Flight {
            seqnum: 0,
            result: Ok(()),
            next_sequence: self.assigned.next_sequence,
            updates,
            done: self.done,
            bytes: self.bytes,
            dropped: self.dropped,
            cleared: self.cleared,
        };
        Built {
            batch: self.batch,
            flight,
            written: self.written,
            sealed: self.sealed,
        }
    }
}

/// One update a log: readers see all that a batch does to a log at once, or the end that is shown would be
/// that of entries that are not there yet.
fn by_log(updates: Vec<LogUpdate>) -> Vec<LogUpdate> {
    let mut place_of = HashMap::with_capacity(updates.len());
    let mut merged: Vec<LogUpdate> = Vec::with_capacity(updates.len());
    for update in updates {
        match place_of.entry(address(&update.log)) {
            hash_map::Entry::Occupied(place) => {
                let known: &mut LogUpdate = &mut merged[*place.get()];
                known.entries.extend(update.entries);
                known.rows.extend(update.rows);
            }
            hash_map::Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(update);
            }
        }
    }
    merged
}

/// Tells logs apart.
fn address(log: &Log) -> usize {
    Arc::as_ptr(log.inner()) as usize
}

/// How many of `entries` go into one row.
fn packed_run(entries: &[(NewEntry, usize)]) -> usize {
    let first = &entries[0].0;
    if first.payload.len() > PACKED_ENTRY_BYTES {
        return 1;
    }
    let (mut bytes, mut end_offset) = (first.payload.len(), first.end_offset());
    let fits = |(entry, _): &&(NewEntry, usize)| {
        let len = entry.payload.len();
        let fits = len <= PACKED_ENTRY_BYTES
            && bytes + len <= PACKED_ROW_BYTES
            && entry.first_offset == end_offset
            && entry.format == first.format;
        (bytes, end_offset) = (bytes + len, entry.end_offset());
        fits
    };
    1 + entries[1..].iter().take_while(fits).count()
}
