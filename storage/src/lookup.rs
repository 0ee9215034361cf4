//! Reading a log from the store: from offset or time to directory row, to index row, to entries.

use std::sync::Arc;

use bytes::Bytes;
use slatedb::config::ScanOptions;
use slatedb::{DbIterator, IterationOrder, KeyValue};

use crate::key::{Directory, EntryKey, Index, LogKey, LogState, PackedValue, SegmentMeta};
use crate::log::{Bounds, Entry, Inner, ReadLimit, Writer};
use crate::store::Core;
use crate::{Error, ErrorKind, Result};

/// The least and the most that one request for entries fetches.
const MIN_READ_AHEAD: usize = 64 << 10;
const MAX_READ_AHEAD: usize = 1 << 20;

/// Rows of the store's own: small, and read again soon.
fn rows(order: IterationOrder) -> ScanOptions {
    ScanOptions {
        order,
        cache_blocks: true,
        ..ScanOptions::default()
    }
}

/// Entries: read once, in a run.
fn entries(bytes: usize) -> ScanOptions {
    let read_ahead_bytes = bytes.clamp(MIN_READ_AHEAD, MAX_READ_AHEAD);
    ScanOptions {
        read_ahead_bytes,
        cache_blocks: false,
        ..ScanOptions::default()
    }
}

/// A scan whose errors say of which log.
struct Scan<'a> {
    rows: DbIterator,
    log: &'a LogKey,
}

impl<'a> Scan<'a> {
    async fn new(
        core: &Core,
        log: &'a LogKey,
        range: std::ops::Range<Bytes>,
        options: ScanOptions,
    ) -> Result<Self> {
        let rows = core.db.scan_with_options(range, &options).await;
        Ok(Self {
            rows: rows.map_err(|error| Self::failed(log, error))?,
            log,
        })
    }

    async fn next(&mut self) -> Result<Option<KeyValue>> {
        self.rows
            .next()
            .await
            .map_err(|error| Self::failed(self.log, error))
    }

    fn failed(log: &LogKey, error: slatedb::Error) -> Error {
        Error::engine(format!("reading log {:?}", log.plain()), error)
    }
}

/// The state that a log was left in; `None` if there is none.
pub(crate) async fn load(core: &Core, log: &LogKey) -> Result<Writer> {
    let range = Directory::key(log, 0)..Directory::scan_end(log);
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Descending)).await?;
    let mut writer = Writer {
        bounds: Bounds::default(),
        records: 0,
        removed: false,
        directory: None,
        indexed_bytes: 0,
    };
    let mut directory = None;
    while let Some(row) = scan.next().await? {
        if row.key == LogState::key(log) {
            let state = LogState::decode(&row.key, &row.value)?;
            writer.removed = state.removed;
            writer.records = state.records;
            writer.bounds = Bounds {
                start_offset: state.start_offset,
                end_offset: state.end_offset,
                appended_bytes: state.appended_bytes,
                max_timestamp: state.max_timestamp,
            };
        } else {
            directory = Some(Directory::decode(&row.key, &row.value)?);
            break;
        }
    }
    let Some(directory) = directory else {
        return Ok(writer);
    };
    let segment = core
        .segments
        .get(directory.segment)
        .ok_or_else(|| lost_segment(log, &directory))?;

    let last_index = last_index_before(core, log, &segment, u64::MAX).await?;
    let mut sequence = directory.first_sequence;
    let mut end_offset = directory.first_offset;
    let mut appended_bytes = directory.bytes_before;
    let mut records = directory.records_before;
    let mut max_timestamp = directory.max_timestamp_before;
    if let Some(index) = last_index {
        sequence = index.last_sequence + 1;
        end_offset = index.last_offset + 1;
        appended_bytes = index.appended_bytes;
        records = index.records;
        max_timestamp = index.max_timestamp;
    }
    writer.directory = Some(segment.id);
    writer.indexed_bytes = appended_bytes;
    let range = EntryKey::lower_bound(log, &segment, sequence)..EntryKey::end(log, &segment);
    let mut scan = Scan::new(core, log, range, entries(MIN_READ_AHEAD)).await?;
    while let Some(row) = scan.next().await? {
        let key = EntryKey::decode(&row.key, &segment)?;
        end_offset = key.end_offset();
        records += key.records;
        max_timestamp = max_timestamp.max(key.max_timestamp);
        appended_bytes += if key.packed {
            let value = PackedValue::decode(&key, &row.value)?;
            value
                .entries
                .iter()
                .map(|(payload, _)| payload.len() as u64)
                .sum()
        } else {
            row.value.len() as u64
        };
    }
    let bounds = &mut writer.bounds;
    bounds.end_offset = bounds.end_offset.max(end_offset);
    bounds.appended_bytes = bounds.appended_bytes.max(appended_bytes);
    bounds.max_timestamp = bounds.max_timestamp.max(max_timestamp);
    writer.records = writer.records.max(records);
    Ok(writer)
}

fn lost_segment(log: &LogKey, directory: &Directory) -> Error {
    let problem = format!(
        "log {:?} has entries from offset {} in segment {}, which is not there",
        log.plain(),
        directory.first_offset,
        directory.segment
    );
    Error::new(ErrorKind::Corrupt, problem)
}

/// The last index row of `log` in `segment` that ends below `offset`.
async fn last_index_before(
    core: &Core,
    log: &LogKey,
    segment: &SegmentMeta,
    offset: u64,
) -> Result<Option<Index>> {
    let range = Index::key(log, segment.id, 0)..Index::key(log, segment.id, offset);
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Descending)).await?;
    scan.next()
        .await?
        .map(|row| Index::decode(&row.key, &row.value))
        .transpose()
}

/// The directory row at or below `offset`, or the first one.
async fn directory_at(core: &Core, log: &LogKey, offset: u64) -> Result<Option<Directory>> {
    let range = Directory::key(log, 0)..Directory::key(log, offset.saturating_add(1));
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Descending)).await?;
    if let Some(row) = scan.next().await? {
        return Directory::decode(&row.key, &row.value).map(Some);
    }
    directory_from(core, log, offset).await
}

/// The first directory row at or above `offset`.
async fn directory_from(core: &Core, log: &LogKey, offset: u64) -> Result<Option<Directory>> {
    let range = Directory::key(log, offset)..Directory::key(log, u64::MAX);
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Ascending)).await?;
    scan.next()
        .await?
        .map(|row| Directory::decode(&row.key, &row.value))
        .transpose()
}

/// The directory rows of `log`, lowest offset first, while `wanted` takes them.
pub(crate) async fn directories(
    core: &Core,
    log: &LogKey,
    mut wanted: impl FnMut(Directory) -> bool,
) -> Result<()> {
    let range = Directory::key(log, 0)..Directory::key(log, u64::MAX);
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Ascending)).await?;
    while let Some(row) = scan.next().await? {
        if !wanted(Directory::decode(&row.key, &row.value)?) {
            break;
        }
    }
    Ok(())
}

/// Collects entries up to a limit.
struct Collector<'a> {
    from_offset: u64,
    limit: &'a ReadLimit,
    found: Vec<Entry>,
    bytes: usize,
}

impl Collector<'_> {
    /// Takes an entry; false once no more fit.
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
        self.found.push(entry);
        true
    }

    fn take_row(&mut self, row: &KeyValue, segment: &SegmentMeta) -> Result<bool> {
        let key = EntryKey::decode(&row.key, segment)?;
        if key.end_offset() <= self.from_offset {
            return Ok(true);
        }
        let (format, mut first_sequence) = (key.format, key.first_sequence());
        let mut first_offset = key.first_offset;
        if !key.packed {
            let count = u32::try_from(key.records).map_err(|_| {
                Error::new(
                    ErrorKind::Corrupt,
                    format!("an entry of {} records", key.records),
                )
            })?;
            let payload = row.value.clone();
            return Ok(self.take(Entry {
                first_sequence,
                first_offset,
                count,
                format,
                payload,
            }));
        }
        for (payload, count) in PackedValue::decode(&key, &row.value)?.entries {
            if !self.take(Entry {
                first_sequence,
                first_offset,
                count,
                format,
                payload,
            }) {
                return Ok(false);
            }
            first_sequence += u64::from(count);
            first_offset += u64::from(count);
        }
        Ok(true)
    }

    fn done(&self) -> bool {
        self.found.len() >= self.limit.max_entries.max(1)
            || !self.found.is_empty() && self.bytes >= self.limit.max_bytes
    }
}

/// The entries of a log from `from_offset` on; see [`crate::Log::read`].
pub(crate) async fn read(
    log: &Arc<Inner>,
    from_offset: u64,
    limit: &ReadLimit,
) -> Result<Vec<Entry>> {
    let (core, key) = (&*log.core, &log.key);
    let mut collector = Collector {
        from_offset,
        limit,
        found: Vec::new(),
        bytes: 0,
    };
    let mut directory = directory_at(core, key, from_offset).await?;
    while let Some(current) = directory {
        if current.first_offset >= limit.end_offset {
            break;
        }
        // A segment that is gone was trimmed away since its directory row was read.
        if let Some(segment) = core.segments.get(current.segment)
            && !read_segment(core, key, &segment, &current, &mut collector).await?
        {
            break;
        }
        directory = directory_from(core, key, current.first_offset + 1).await?;
    }
    Ok(own_small(collector.found, collector.bytes))
}

/// Reads on in one segment; false once the limit is reached.
async fn read_segment(
    core: &Core,
    key: &LogKey,
    segment: &SegmentMeta,
    directory: &Directory,
    collector: &mut Collector<'_>,
) -> Result<bool> {
    let mut sequence = directory.first_sequence;
    let mut bytes_before = directory.bytes_before;
    if collector.from_offset > directory.first_offset
        && let Some(index) = last_index_before(core, key, segment, collector.from_offset).await?
    {
        sequence = index.last_sequence + 1;
        bytes_before = index.appended_bytes;
    }
    loop {
        let wanted = collector
            .limit
            .max_bytes
            .saturating_sub(collector.bytes)
            .max(1);
        let stop = stop_after(core, key, segment, collector, bytes_before, wanted as u64).await?;
        let end = match &stop {
            Some(index) => EntryKey::lower_bound(key, segment, index.last_sequence + 1),
            None => EntryKey::end(key, segment),
        };
        let range = EntryKey::lower_bound(key, segment, sequence)..end;
        let mut scan = Scan::new(core, key, range, entries(wanted)).await?;
        while let Some(row) = scan.next().await? {
            if !collector.take_row(&row, segment)? || collector.done() {
                return Ok(false);
            }
        }
        let Some(index) = stop else { return Ok(true) };
        sequence = index.last_sequence + 1;
        bytes_before = index.appended_bytes;
        collector.from_offset = collector.from_offset.max(index.last_offset + 1);
    }
}

/// The index row by which `wanted` bytes will have been read, so that files beyond it are not opened.
/// `None` if the segment ends before.
async fn stop_after(
    core: &Core,
    key: &LogKey,
    segment: &SegmentMeta,
    collector: &Collector<'_>,
    bytes_before: u64,
    wanted: u64,
) -> Result<Option<Index>> {
    // An entry may be let in or kept out by its last byte: look one index interval further.
    let enough = bytes_before
        .saturating_add(wanted)
        .saturating_add(core.options.index_interval_bytes);
    let from = Index::key(key, segment.id, collector.from_offset);
    let range = from..Index::key(key, segment.id, u64::MAX);
    let mut scan = Scan::new(core, key, range, rows(IterationOrder::Ascending)).await?;
    while let Some(row) = scan.next().await? {
        let index = Index::decode(&row.key, &row.value)?;
        if index.appended_bytes >= enough {
            return Ok(Some(index));
        }
    }
    Ok(None)
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

/// The first offset of the first row that has a timestamp at or above `timestamp`; see
/// [`crate::Log::search_from`].
pub(crate) async fn search_from(
    log: &Arc<Inner>,
    timestamp: i64,
    end_offset: u64,
) -> Result<Option<u64>> {
    let (core, key) = (&*log.core, &log.key);
    // The last segment before which nothing is that late.
    let mut found = None;
    directories(core, key, |directory| {
        let before =
            directory.max_timestamp_before < timestamp && directory.first_offset < end_offset;
        if before {
            found = Some(directory);
        }
        before
    })
    .await?;
    let Some(directory) = found else {
        return Ok(None);
    };
    let Some(segment) = core.segments.get(directory.segment) else {
        return Ok(None);
    };

    let (mut sequence, mut offset) = (directory.first_sequence, directory.first_offset);
    let range = Index::key(key, segment.id, 0)..Index::key(key, segment.id, u64::MAX);
    let mut scan = Scan::new(core, key, range, rows(IterationOrder::Ascending)).await?;
    while let Some(row) = scan.next().await? {
        let index = Index::decode(&row.key, &row.value)?;
        if index.max_timestamp >= timestamp || index.last_offset >= end_offset {
            break;
        }
        sequence = index.last_sequence + 1;
        offset = index.last_offset + 1;
    }
    let range = EntryKey::lower_bound(key, &segment, sequence)..EntryKey::end(key, &segment);
    let mut scan = Scan::new(core, key, range, entries(MIN_READ_AHEAD)).await?;
    while let Some(row) = scan.next().await? {
        let row = EntryKey::decode(&row.key, &segment)?;
        if row.max_timestamp >= timestamp || row.end_offset() >= end_offset {
            return Ok(Some(row.first_offset));
        }
        offset = row.end_offset();
    }
    Ok(Some(offset))
}
