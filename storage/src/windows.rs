//! What a log holds, segment by segment, and where to cut it: for those who decide what of it may go.

use slatedb::IterationOrder;

use crate::key::{EntryKey, Index, PackedValue, SegmentMeta};
use crate::log::{Bounds, Inner};
use crate::lookup::{self, MIN_READ_AHEAD, Scan};
use crate::{Log, Result};

/// What a log holds in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The segment.
    pub segment: u32,
    /// Offset of the first entry that was appended here.
    pub first_offset: u64,
    /// Where the next window starts, or the log ends.
    pub end_offset: u64,
    /// Payload bytes, with those below the start of the log that still count here.
    pub bytes: u64,
    /// Highest timestamp of the log up to here, in milliseconds since the epoch, or -1.
    pub max_timestamp: i64,
    /// When the segment was opened, in milliseconds since the epoch.
    pub opened_ms: i64,
    /// Whether nothing is added to the segment any more.
    pub sealed: bool,
    /// Payload bytes of the log before it.
    bytes_before: u64,
    rewritten: bool,
}

impl Log {
    /// The windows of what is durable, the oldest first.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn windows(&self) -> Result<Vec<Window>> {
        let bounds = self.bounds();
        windows(self.inner(), &bounds).await
    }

    /// Where the log would have to start to hold `max_bytes` or little more: the first offset of the
    /// shortest tail that is at least that large. Not below the present start.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn cut_for_bytes(&self, max_bytes: u64) -> Result<u64> {
        let bounds = self.bounds();
        let mut left = max_bytes;
        for window in windows(self.inner(), &bounds).await?.iter().rev() {
            if window.bytes < left {
                left -= window.bytes;
                continue;
            }
            let cut = match self.inner().core.segments.get(window.segment) {
                Some(segment) if !window.rewritten => {
                    let target = window.bytes_before + window.bytes - left;
                    last_start_at(self.inner(), window, &segment, target).await?
                }
                _ => window.first_offset,
            };
            return Ok(cut.max(bounds.start_offset));
        }
        Ok(bounds.start_offset)
    }

    /// The highest timestamp in the first row of the log, in milliseconds since the epoch, -1 if it has
    /// none: nothing of the log is dead by age before that row is. `None` for an empty log.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn first_timestamp(&self) -> Result<Option<i64>> {
        let core = &self.inner().core;
        loop {
            let places = core.places();
            let first = self.first_timestamp_at(self.bounds()).await?;
            if places == core.places() {
                return Ok(first);
            }
        }
    }

    async fn first_timestamp_at(&self, bounds: Bounds) -> Result<Option<i64>> {
        let log = self.inner();
        for window in windows(log, &bounds).await? {
            let Some(segment) = log.core.segments.get(window.segment) else {
                continue;
            };
            let index =
                lookup::last_index_before(&log.core, &log.key, &segment, bounds.start_offset)
                    .await?;
            let sequence = index.map_or(0, |index| index.last_sequence + 1);
            let sequence = sequence.max(segment.start_sequence);
            let range = EntryKey::lower_bound(&log.key, &segment, sequence)
                ..EntryKey::end(&log.key, &segment);
            let fetch = lookup::entries(MIN_READ_AHEAD);
            let mut rows = Scan::new(&log.core, &log.key, range, fetch).await?;
            while let Some(row) = rows.next().await? {
                let row = EntryKey::decode(&row.key, &segment)?;
                if row.end_offset() > bounds.start_offset && row.first_offset < bounds.end_offset {
                    return Ok(Some(row.max_timestamp));
                }
            }
        }
        Ok(None)
    }
}

pub(crate) async fn windows(log: &Inner, bounds: &Bounds) -> Result<Vec<Window>> {
    let mut windows: Vec<Window> = Vec::new();
    let open = log.core.segments.last().map(|open| open.id);
    lookup::directories(&log.core, &log.key, |row| {
        if row.first_offset >= bounds.end_offset {
            return false;
        }
        if let Some(before) = windows.last_mut() {
            before.end_offset = row.first_offset;
            before.max_timestamp = row.max_timestamp_before;
            before.bytes = (row.bytes_before - before.bytes_before).saturating_sub(before.bytes);
        }
        windows.push(Window {
            segment: row.segment,
            first_offset: row.first_offset,
            end_offset: bounds.end_offset,
            // What rewriting took out, until the end is known.
            bytes: row.rewritten_bytes,
            max_timestamp: bounds.max_timestamp,
            opened_ms: 0,
            sealed: Some(row.segment) != open,
            bytes_before: row.bytes_before,
            rewritten: row.rewritten_bytes > 0,
        });
        true
    })
    .await?;
    if let Some(last) = windows.last_mut() {
        last.bytes = bounds
            .appended_bytes
            .saturating_sub(last.bytes_before)
            .saturating_sub(last.bytes);
    }
    // What lies below the start is no longer the log's, though it may still be there.
    windows.retain(|window| window.end_offset > bounds.start_offset);
    for window in &mut windows {
        if let Some(segment) = log.core.segments.get(window.segment) {
            window.opened_ms = segment.start_time_ms;
        }
    }
    Ok(windows)
}

/// The first offset of the last row in a window that starts at or before a place in the log, counted
/// in payload bytes.
async fn last_start_at(
    log: &Inner,
    window: &Window,
    segment: &SegmentMeta,
    target: u64,
) -> Result<u64> {
    let (mut bytes, mut sequence) = (window.bytes_before, segment.start_sequence);
    let mut start = window.first_offset;
    let range = Index::key(&log.key, segment.id, window.first_offset)
        ..Index::key(&log.key, segment.id, window.end_offset);
    let fetch = lookup::rows(IterationOrder::Ascending);
    let mut rows = Scan::new(&log.core, &log.key, range, fetch).await?;
    while let Some(row) = rows.next().await? {
        let index = Index::decode(&row.key, &row.value)?;
        if index.appended_bytes > target {
            break;
        }
        bytes = index.appended_bytes;
        sequence = index.last_sequence + 1;
        start = index.last_offset + 1;
    }
    let range =
        EntryKey::lower_bound(&log.key, segment, sequence)..EntryKey::end(&log.key, segment);
    let fetch = lookup::entries(MIN_READ_AHEAD);
    let mut rows = Scan::new(&log.core, &log.key, range, fetch).await?;
    while let Some(row) = rows.next().await? {
        let key = EntryKey::decode(&row.key, segment)?;
        if key.first_offset >= window.end_offset {
            break;
        }
        start = start.max(key.first_offset);
        bytes += match key.packed {
            true => PackedValue::decode(&key, &row.value)?.payload_bytes(),
            false => row.value.len() as u64,
        };
        if bytes > target {
            break;
        }
        start = key.end_offset();
    }
    Ok(start)
}
