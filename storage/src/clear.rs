//! Clearing up after trims and removals: counts what they left dead, finds the segments that hold
//! nothing of a log any more and takes them out of its directory. A segment that no directory names is
//! dropped; one in which much is dead is rewritten (see `reclaim`).

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::log::Inner;
use crate::write_set::{Change, Dead};
use crate::{Log, Result, lookup};

/// Most logs that are cleared up after in one commit.
const MAX_LOGS: usize = 256;

/// Clears up after the logs it is told of, until the publisher has ended.
pub(crate) async fn run(mut logs: mpsc::UnboundedReceiver<Log>) {
    let mut told = Vec::new();
    while logs.recv_many(&mut told, MAX_LOGS).await > 0 {
        if let Err(error) = clear(told.drain(..)).await {
            // Done when the store opens again, or with the next trim.
            tracing::debug!(%error, "not cleared up");
        }
    }
}

async fn clear(logs: impl Iterator<Item = Log>) -> Result<()> {
    let mut changes = Vec::new();
    let mut core = None;
    let mut seen = HashSet::new();
    let mut _moving = None;
    // A directory row must not be taken out twice.
    for log in logs.filter(|log| seen.insert(Arc::as_ptr(log.inner()) as usize)) {
        if core.is_none() {
            // Nor be moved to another segment meanwhile.
            let of_log = Arc::clone(&log.inner().core);
            _moving = Some(
                Arc::clone(&of_log.reclaiming.directories)
                    .lock_owned()
                    .await,
            );
            core = Some(of_log);
        }
        let dead = dead(log.inner()).await?;
        changes.push(Change::Clear { log, dead });
    }
    let Some(core) = core else { return Ok(()) };
    core.commit_own(changes).await
}

/// What of the log is dead and not yet counted, and the directory rows of segments in which everything
/// of it is.
pub(crate) async fn dead(log: &Arc<Inner>) -> Result<Dead> {
    let writer = *log.writer();
    let (removed, bounds) = (writer.removed, writer.bounds);
    let empty = removed || bounds.start_offset >= bounds.end_offset;
    let mut known = Vec::new();
    // Up to the one after that in which the start lies.
    lookup::directories(&log.core, &log.key, |directory| {
        if directory.first_offset >= bounds.end_offset {
            // Of entries that came since.
            return false;
        }
        known.push(directory);
        empty || directory.first_offset <= bounds.start_offset
    })
    .await?;
    // That in which the start lies is the last at or below it.
    let at_start = known.partition_point(|row| row.first_offset <= bounds.start_offset);
    let alive = if empty {
        known.len()
    } else {
        at_start.saturating_sub(1)
    };
    let through = match known.get(alive) {
        _ if empty => bounds.appended_bytes,
        Some(row) if row.first_offset < bounds.start_offset => {
            match log.core.segments.get(row.segment) {
                Some(segment) => {
                    lookup::last_index_before(&log.core, &log.key, &segment, bounds.start_offset)
                        .await?
                        .map_or(row.bytes_before, |index| index.appended_bytes)
                }
                None => row.bytes_before,
            }
        }
        Some(row) => row.bytes_before,
        None => 0,
    };
    let through = through.max(writer.dead_through);
    let mut bytes = Vec::new();
    for (at, row) in known.iter().enumerate() {
        let next = known.get(at + 1);
        let end = next.map_or(bounds.appended_bytes, |next| next.bytes_before);
        let from = row.bytes_before.max(writer.dead_through);
        let newly = end.min(through).saturating_sub(from);
        let newly = newly.saturating_sub(if at < alive { row.rewritten_bytes } else { 0 });
        if newly > 0 {
            bytes.push((row.segment, newly));
        }
    }
    known.truncate(alive);
    Ok(Dead {
        directories: known,
        bytes,
        through,
        start_offset: bounds.start_offset,
        end_offset: bounds.end_offset,
        last: writer.directory,
        removed,
    })
}
