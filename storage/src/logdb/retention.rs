//! Removing what is older, or more, than is to be kept.

use std::sync::Arc;
use std::time::Duration;

use slatedb_common::clock::SystemClock;

use super::config::RetentionConfig;
use super::keys::{KeyOptions, LogKeyIterator};
use crate::key::Directory;
use crate::{Log, Result, Store, StoreState, WriteSet, lookup};

/// Looks at every interval, until the store is closed.
pub(super) fn start(store: Store, config: RetentionConfig, clock: Arc<dyn SystemClock>) {
    let limits =
        config.retention.is_some() || config.retention_bytes.is_some() || !config.keys.is_empty();
    if !limits {
        return;
    }
    let mut state = store.state();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = clock.sleep(config.check_interval) => {}
                _ = state.wait_for(|state| matches!(state, StoreState::Closed(_))) => return,
            }
            let now_ms = clock.now().timestamp_millis();
            if let Err(error) = enforce(&store, &config, now_ms).await {
                tracing::warn!(%error, "old records were not removed; it is tried again");
            }
        }
    });
}

/// Trims every log to what its limits leave.
async fn enforce(store: &Store, config: &RetentionConfig, now_ms: i64) -> Result<()> {
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let mut keys = LogKeyIterator::new(store, all, KeyOptions::default()).await?;
    let lowest_segment = match config.retention_bytes {
        Some(bytes) => lowest_kept(store, bytes),
        None => 0,
    };
    while let Some(key) = keys.next().await? {
        let log = store.log(&key.key).await?;
        let own = config.keys.iter().find(|rule| rule.matches(&key.key));
        let (time, bytes) = match own {
            Some(rule) => (rule.retention, rule.retention_bytes),
            None => (config.retention, None),
        };
        let bounds = log.bounds();
        let mut start = bounds.start_offset;
        if let Some(time) = time {
            start = start.max(kept_by_time(&log, time, now_ms).await?);
        }
        if bytes.is_some() || lowest_segment > 0 {
            start = start.max(kept_by_size(&log, bytes, lowest_segment).await?);
        }
        if start > bounds.start_offset {
            let mut trim = WriteSet::new();
            trim.trim(&log, start);
            store.ready().await;
            store.commit(trim, |_| {});
        }
    }
    store.flush().await
}

/// The first offset that is young enough to stay, or may be.
async fn kept_by_time(log: &Log, time: Duration, now_ms: i64) -> Result<u64> {
    let time_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let found = log.search_from(now_ms.saturating_sub(time_ms)).await?;
    Ok(found.unwrap_or(log.bounds().end_offset))
}

/// The first offset after the segments that the limits leave no room for.
async fn kept_by_size(log: &Log, bytes: Option<u64>, lowest_segment: u32) -> Result<u64> {
    let bounds = log.bounds();
    let inner = log.inner();
    let mut rows: Vec<Directory> = Vec::new();
    lookup::directories(&inner.core, &inner.key, |row| {
        rows.push(row);
        true
    })
    .await?;
    // By the log's own limit: from the last segment on that leaves at least so much.
    let leaves_enough = |row: &&Directory| {
        bytes.is_some_and(|bytes| bounds.appended_bytes.saturating_sub(row.bytes_before) >= bytes)
    };
    let by_bytes = rows.iter().rev().find(leaves_enough);
    let by_bytes = by_bytes.map_or(0, |row| row.first_offset);
    // By that of all logs together: from its lowest segment on.
    let by_segment = rows.iter().find(|row| row.segment >= lowest_segment);
    let by_segment = by_segment.map_or(bounds.end_offset, |row| row.first_offset);
    Ok(by_bytes.max(by_segment))
}

/// The oldest segment that may stay when all segments may have `bytes`; the last one always may.
fn lowest_kept(store: &Store, bytes: u64) -> u32 {
    let core = store.core();
    let sizes = core.segments.all();
    let mut kept = 0;
    let mut lowest = 0;
    for segment in sizes.iter().rev() {
        kept += crate::open::stored_bytes(&core.db.manifest(), segment.id);
        if kept > bytes && lowest > 0 {
            break;
        }
        lowest = segment.id;
    }
    lowest
}
