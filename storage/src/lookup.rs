//! Finding one's way in a log: from nothing, an offset or a time to directory row, to index row, to
//! entry row. What reads on from there is in `read`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use slatedb::config::{DurabilityLevel, ReadOptions, ScanOptions};
use slatedb::{DbIterator, IterationOrder, KeyValue};

use crate::key::{Directory, EntryKey, Index, LogKey, LogState, PackedValue, SegmentMeta};
use crate::log::{Bounds, Inner, Writer};
use crate::store::Core;
use crate::{Error, ErrorKind, Result};

/// The least and the most that one request for entries fetches.
pub(crate) const MIN_READ_AHEAD: usize = 64 << 10;
const MAX_READ_AHEAD: usize = 1 << 20;

/// Rows of the store's own: small, and read again soon.
pub(crate) fn rows(order: IterationOrder) -> ScanOptions {
    ScanOptions {
        order,
        cache_blocks: true,
        ..ScanOptions::default()
    }
}

/// Entries: read once, in a run.
pub(crate) fn entries(bytes: usize) -> ScanOptions {
    let read_ahead_bytes = bytes.clamp(MIN_READ_AHEAD, MAX_READ_AHEAD);
    ScanOptions {
        read_ahead_bytes,
        cache_blocks: false,
        ..ScanOptions::default()
    }
}

/// A scan whose errors say of which log.
pub(crate) struct Scan<'a> {
    rows: DbIterator,
    log: &'a LogKey,
}

impl<'a> Scan<'a> {
    pub(crate) async fn new(
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

    pub(crate) async fn next(&mut self) -> Result<Option<KeyValue>> {
        self.rows
            .next()
            .await
            .map_err(|error| Self::failed(self.log, error))
    }

    fn failed(log: &LogKey, error: slatedb::Error) -> Error {
        Error::engine(format!("reading log {:?}", log.plain()), error)
    }
}

/// The state that a log was left in.
pub(crate) async fn load(core: &Core, log: &LogKey) -> Result<Writer> {
    loop {
        let places = core.places();
        let loaded = load_from(core, log).await;
        if places == core.places() {
            return loaded;
        }
    }
}

async fn load_from(core: &Core, log: &LogKey) -> Result<Writer> {
    let range = Directory::key(log, 0)..Directory::scan_end(log);
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Descending)).await?;
    let mut writer = Writer {
        bounds: Bounds::default(),
        records: 0,
        removed: false,
        directory: None,
        dead_through: 0,
        indexed_bytes: 0,
        end_sequence: 0,
    };
    let mut directory = None;
    while let Some(row) = scan.next().await? {
        if row.key == LogState::key(log) {
            let state = LogState::decode(&row.key, &row.value)?;
            writer.removed = state.removed;
            writer.records = state.records;
            writer.dead_through = state.dead_through;
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
    // Older ones are of entries that were cleared out of the segment.
    let last_index = last_index.filter(|index| index.last_offset >= directory.first_offset);
    let mut sequence = directory.first_sequence;
    let mut end_offset = directory.first_offset;
    let mut appended_bytes = directory.bytes_before;
    let mut records = directory.records_before;
    let mut max_timestamp = directory.max_timestamp_before;
    writer.indexed_bytes = directory.bytes_before;
    if let Some(index) = last_index {
        writer.indexed_bytes = index.appended_bytes;
        sequence = index.last_sequence + 1;
        end_offset = index.last_offset + 1;
        appended_bytes = index.appended_bytes;
        records = index.records;
        max_timestamp = index.max_timestamp;
    }
    // A state that was put down since tells of entries that may be gone by now.
    let known_end = writer.bounds.end_offset;
    if known_end >= end_offset {
        appended_bytes = writer.bounds.appended_bytes;
        records = writer.records;
        end_offset = known_end;
    }
    writer.directory = Some(segment.id);
    let range = EntryKey::lower_bound(log, &segment, sequence)..EntryKey::end(log, &segment);
    let mut scan = Scan::new(core, log, range, entries(MIN_READ_AHEAD)).await?;
    while let Some(row) = scan.next().await? {
        let key = EntryKey::decode(&row.key, &segment)?;
        if key.end_offset() <= end_offset {
            continue;
        }
        end_offset = key.end_offset();
        sequence = key.last_sequence + 1;
        records += key.records;
        max_timestamp = max_timestamp.max(key.max_timestamp);
        appended_bytes += if key.packed {
            PackedValue::decode(&key, &row.value)?.payload_bytes()
        } else {
            row.value.len() as u64
        };
    }
    writer.end_sequence = sequence;
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

/// From where on what `log` has in `segment` durably lives, given the `offset` of a row there; `None`
/// if all of it is dead.
pub(crate) async fn durable_start(
    core: &Core,
    log: &LogKey,
    segment: u32,
    offset: u64,
) -> Result<Option<u64>> {
    let scan = |order| ScanOptions {
        durability_filter: DurabilityLevel::Remote,
        ..rows(order)
    };
    let above = offset.saturating_add(1);
    let range = Directory::key(log, 0)..Directory::key(log, above);
    let mut below = Scan::new(core, log, range, scan(IterationOrder::Descending)).await?;
    let mut first_offset = None;
    if let Some(row) = below.next().await?
        && Directory::decode(&row.key, &row.value)?.segment == segment
    {
        first_offset = Some(0);
    }
    if first_offset.is_none() && above < u64::MAX {
        // Rows of before the log was cleared out of the segment, then open, and appended to again.
        let range = Directory::key(log, above)..Directory::key(log, u64::MAX);
        let mut next = Scan::new(core, log, range, scan(IterationOrder::Ascending)).await?;
        if let Some(row) = next.next().await? {
            let directory = Directory::decode(&row.key, &row.value)?;
            first_offset = (directory.segment == segment).then_some(directory.first_offset);
        }
    }
    let Some(first_offset) = first_offset else {
        return Ok(None);
    };
    let options = ReadOptions {
        durability_filter: DurabilityLevel::Remote,
        cache_blocks: true,
        ..ReadOptions::default()
    };
    let key = LogState::key(log);
    let state = core.db.get_with_options(&key, &options).await;
    match state.map_err(|error| Scan::failed(log, error))? {
        Some(value) => {
            let state = LogState::decode(&key, &value)?;
            Ok((!state.removed).then_some(state.start_offset.max(first_offset)))
        }
        None => Ok(Some(first_offset)),
    }
}

/// The directory row of `log` for `segment`, behind the row before it.
pub(crate) async fn directory_in(
    core: &Core,
    log: &LogKey,
    segment: &SegmentMeta,
) -> Result<Option<(Option<Directory>, Directory)>> {
    // By its first entry there, for a log may have very many rows.
    let range = EntryKey::lower_bound(log, segment, 0)..EntryKey::end(log, segment);
    let mut found = Scan::new(core, log, range, entries(MIN_READ_AHEAD)).await?;
    let first = match found.next().await? {
        Some(row) => Some(EntryKey::decode(&row.key, segment)?.first_offset),
        None => None,
    };
    let (mut before, mut from) = (None, 0);
    if let Some(first) = first {
        let range = Directory::key(log, 0)..Directory::key(log, first.saturating_add(1));
        let mut below = Scan::new(core, log, range, rows(IterationOrder::Descending)).await?;
        if let Some(row) = below.next().await? {
            let row = Directory::decode(&row.key, &row.value)?;
            from = row.first_offset;
            if row.segment == segment.id
                && let Some(row) = below.next().await?
            {
                before = Some(Directory::decode(&row.key, &row.value)?);
            }
        }
    }
    let range = Directory::key(log, from)..Directory::key(log, u64::MAX);
    let mut above = Scan::new(core, log, range, rows(IterationOrder::Ascending)).await?;
    while let Some(row) = above.next().await? {
        let row = Directory::decode(&row.key, &row.value)?;
        if row.segment == segment.id {
            return Ok(Some((before, row)));
        }
        if row.segment > segment.id {
            break;
        }
        before = Some(row);
    }
    Ok(None)
}

/// The last index row of `log` in `segment` that ends below `offset`.
pub(crate) async fn last_index_before(
    core: &Core,
    log: &LogKey,
    segment: &SegmentMeta,
    offset: u64,
) -> Result<Option<Index>> {
    if offset == 0 {
        return Ok(None);
    }
    let range = Index::key(log, segment.id, 0)..Index::key(log, segment.id, offset);
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Descending)).await?;
    scan.next()
        .await?
        .map(|row| Index::decode(&row.key, &row.value))
        .transpose()
}

/// The directory row at or below `offset`, or the first one.
pub(crate) async fn directory_at(
    core: &Core,
    log: &LogKey,
    offset: u64,
) -> Result<Option<Directory>> {
    let range = Directory::key(log, 0)..Directory::key(log, offset.saturating_add(1));
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Descending)).await?;
    if let Some(row) = scan.next().await? {
        return Directory::decode(&row.key, &row.value).map(Some);
    }
    Ok(directories_from(core, log, offset, 1).await?.pop_front())
}

/// The first `limit` directory rows at or above `offset`.
pub(crate) async fn directories_from(
    core: &Core,
    log: &LogKey,
    offset: u64,
    limit: usize,
) -> Result<VecDeque<Directory>> {
    let range = Directory::key(log, offset)..Directory::key(log, u64::MAX);
    let mut scan = Scan::new(core, log, range, rows(IterationOrder::Ascending)).await?;
    let mut found = VecDeque::new();
    while found.len() < limit
        && let Some(row) = scan.next().await?
    {
        found.push_back(Directory::decode(&row.key, &row.value)?);
    }
    Ok(found)
}

/// Payload bytes of `log` before `offset`, as its last way mark at or below has them.
pub(crate) async fn bytes_before(log: &Inner, offset: u64) -> Result<u64> {
    let Some(directory) = directory_at(&log.core, &log.key, offset).await? else {
        return Ok(0);
    };
    let Some(segment) = log.core.segments.get(directory.segment) else {
        return Ok(directory.bytes_before);
    };
    let index = last_index_before(&log.core, &log.key, &segment, offset).await?;
    Ok(index.map_or(directory.bytes_before, |index| index.appended_bytes))
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
