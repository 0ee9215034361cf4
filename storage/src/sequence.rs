//! From the sequence of the store to the offsets of one log, and how many records lie between.

use std::sync::Arc;

use slatedb::IterationOrder;

use crate::key::{Directory, EntryKey};
use crate::log::Inner;
use crate::lookup::{self, MIN_READ_AHEAD, Scan};
use crate::{Log, Result};

impl Log {
    /// The offset of the first record at or above `sequence`; the end of the log if there is none.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn offset_at(&self, sequence: u64) -> Result<u64> {
        let inner = self.inner();
        let start_offset = match inner.published_offset_at(sequence) {
            Ok(offset) => return Ok(offset),
            Err(bounds) => bounds.start_offset,
        };
        let offset = loop {
            let places = inner.core.places();
            let offset = offset_at(inner, sequence).await?;
            if places == inner.core.places() {
                break offset;
            }
        };
        let end_offset = self.bounds().end_offset;
        Ok(offset.unwrap_or(end_offset).max(start_offset))
    }

    /// How many records have a sequence from `start` up to, and not with, `end`.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn count(&self, start: u64, end: u64) -> Result<u64> {
        let from = self.offset_at(start).await?;
        let to = self.offset_at(end).await?;
        if from >= to {
            return Ok(0);
        }
        let inner = self.inner();
        if inner.is_dense() {
            return Ok(to - from);
        }
        loop {
            let places = inner.core.places();
            let (below, before) = (
                records_before(inner, to).await?,
                records_before(inner, from).await?,
            );
            if places == inner.core.places() {
                return Ok(below.saturating_sub(before));
            }
        }
    }
}

/// The offset of the first record at or above `sequence`, from the store.
async fn offset_at(log: &Arc<Inner>, sequence: u64) -> Result<Option<u64>> {
    let (core, key) = (&*log.core, &log.key);
    // The last segment of the log that starts at or below the sequence, and the one after.
    let (mut here, mut next): (Option<Directory>, Option<Directory>) = (None, None);
    lookup::directories(core, key, |directory| {
        if directory.first_sequence <= sequence {
            here = Some(directory);
            true
        } else {
            next = Some(directory);
            false
        }
    })
    .await?;
    if let Some(directory) = here
        && let Some(segment) = core.segments.get(directory.segment)
    {
        let range = EntryKey::lower_bound(key, &segment, sequence)..EntryKey::end(key, &segment);
        let mut scan = Scan::new(core, key, range, lookup::entries(MIN_READ_AHEAD)).await?;
        if let Some(row) = scan.next().await? {
            let row = EntryKey::decode(&row.key, &segment)?;
            let within = sequence.saturating_sub(row.first_sequence());
            return Ok(Some(row.first_offset + within));
        }
    }
    Ok(next.map(|directory| directory.first_offset))
}

/// The records that the log ever had below `offset`.
async fn records_before(log: &Arc<Inner>, offset: u64) -> Result<u64> {
    let (core, key) = (&*log.core, &log.key);
    let range = Directory::key(key, 0)..Directory::key(key, offset.saturating_add(1));
    let order = lookup::rows(IterationOrder::Descending);
    let mut scan = Scan::new(core, key, range, order).await?;
    let Some(row) = scan.next().await? else {
        return Ok(0);
    };
    let directory = Directory::decode(&row.key, &row.value)?;
    let mut records = directory.records_before;
    let mut sequence = directory.first_sequence;
    let Some(segment) = core.segments.get(directory.segment) else {
        return Ok(records);
    };
    if let Some(index) = lookup::last_index_before(core, key, &segment, offset).await?
        && index.last_offset >= directory.first_offset
    {
        records = index.records;
        sequence = index.last_sequence + 1;
    }
    let range = EntryKey::lower_bound(key, &segment, sequence)..EntryKey::end(key, &segment);
    let mut scan = Scan::new(core, key, range, lookup::entries(MIN_READ_AHEAD)).await?;
    while let Some(row) = scan.next().await? {
        let entry = EntryKey::decode(&row.key, &segment)?;
        if entry.first_offset >= offset {
            break;
        }
        if entry.end_offset() <= offset {
            records += entry.records;
            continue;
        }
        // Within a row offsets are consecutive.
        records += offset - entry.first_offset;
        break;
    }
    Ok(records)
}
