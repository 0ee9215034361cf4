//! Taking over a store of OpenData Log: its entries stay where they are, and what this crate needs
//! beside them, directory and index rows, is written once, when the store is first opened.
//!
//! Their entries have no offsets. An entry's sequence is its offset then, so that a row by itself says
//! all that is asked of it; offsets of such a log have gaps, and go on without any after its last
//! record. As the time of an entry counts the latest that it can have been written: the start of the
//! next segment, or now.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use slatedb::config::{FlushOptions, FlushType, ScanOptions};
use slatedb::object_store::ObjectStore;
use slatedb::object_store::path::Path as ObjectPath;
use slatedb::{Db, FilterPolicy, WriteBatch};
use slatedb_common::clock::SystemClock;

use crate::key::{DataRow, Directory, EntryKey, Format, Index, Listing, LogKey, SegmentMeta};
use crate::layout::{self, PositionFilterPolicy, SegmentExtractor};
use crate::{Error, Options, Result};

/// Rows written at a time.
const BATCH_ROWS: usize = 4096;

/// Puts what another program has left in its write-ahead log into files, with the engine as that
/// program uses it.
pub(crate) async fn absorb_wal(
    options: &Options,
    object_store: Arc<dyn ObjectStore>,
    db_path: ObjectPath,
    clock: Arc<dyn SystemClock>,
) -> Result<()> {
    let failed = |error| {
        let what = format!("taking over the write-ahead log of {}", options.data);
        Error::engine(what, error)
    };
    let mut settings = layout::settings(options);
    settings.compactor_options = None;
    settings.garbage_collector_options = None;
    let filters: Vec<Arc<dyn FilterPolicy>> = vec![Arc::new(PositionFilterPolicy)];
    let db = Db::builder(db_path, object_store)
        .with_settings(settings)
        .with_segment_extractor(Arc::new(SegmentExtractor))
        .with_filter_policies(filters)
        .with_system_clock(clock)
        .build()
        .await
        .map_err(failed)?;
    let options = FlushOptions {
        flush_type: FlushType::MemTable,
    };
    db.flush_with_options(options).await.map_err(failed)?;
    db.close().await.map_err(failed)
}

/// What a log has come to.
#[derive(Clone, Copy, Debug)]
struct Totals {
    bytes: u64,
    records: u64,
    max_timestamp: i64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            bytes: 0,
            records: 0,
            max_timestamp: -1,
        }
    }
}

/// Writes what is missing beside the entries of `segments`, which come back as they are now. Nothing
/// is lost if it does not come to its end: the row that says that it has is the last one.
pub(crate) async fn adopt(
    db: &Db,
    options: &Options,
    segments: &mut [SegmentMeta],
    now_ms: i64,
) -> Result<()> {
    tracing::info!(
        segments = segments.len(),
        "the store was written by OpenData Log; its entries are read once, and what is missing is \
         written beside them"
    );
    let starts = segments.iter().skip(1).map(|next| next.start_time_ms);
    let ends: Vec<i64> = starts.chain([now_ms]).collect();
    let mut totals: HashMap<LogKey, Totals> = HashMap::new();
    let mut rows = Rows::new(db);
    let last = segments.len() - 1;
    for (at, segment) in segments.iter_mut().enumerate() {
        segment.adopted_ms = ends[at].max(1);
        let live_logs = adopt_segment(&mut rows, options, segment, &mut totals).await?;
        // That of the open one is counted when it is sealed.
        segment.live_logs = if at == last { 0 } else { live_logs };
        rows.put(SegmentMeta::key(segment.id), segment.value())
            .await?;
    }
    rows.flush().await?;
    rows.put(Format::key(), Format::value(Format::CURRENT))
        .await?;
    rows.flush().await?;
    tracing::info!(logs = totals.len(), "the store was taken over");
    Ok(())
}

/// The rows of one segment; how many logs it holds.
async fn adopt_segment(
    rows: &mut Rows<'_>,
    options: &Options,
    segment: &SegmentMeta,
    totals: &mut HashMap<LogKey, Totals>,
) -> Result<u32> {
    let scan = ScanOptions {
        read_ahead_bytes: 1 << 20,
        ..ScanOptions::default()
    };
    let mut entries = rows
        .db
        .scan_prefix_with_options(EntryKey::prefix(segment.id), .., &scan)
        .await
        .map_err(failed)?;
    let mut live_logs = 0;
    let mut current: Option<(LogKey, Totals)> = None;
    let mut indexed_bytes = 0;
    while let Some(row) = entries.next().await.map_err(failed)? {
        let stored = DataRow::of(&row.key).map(|row| row.stored_key);
        let same =
            matches!((&current, stored), (Some((log, _)), Some(stored)) if log.stored() == stored);
        let key = EntryKey::decode(&row.key, segment)?;
        if !same {
            totals.extend(current.take());
            let Some(log) = stored.and_then(LogKey::of_stored) else {
                tracing::warn!("entries under the empty key are not served");
                continue;
            };
            if log.plain().len() > LogKey::MAX_LEN {
                let len = log.plain().len();
                tracing::warn!(len, "entries under a key that is too long are not served");
                continue;
            }
            let before = totals.get(&log).copied().unwrap_or_default();
            let directory = Directory {
                first_offset: key.first_offset,
                segment: segment.id,
                first_sequence: key.first_sequence(),
                bytes_before: before.bytes,
                records_before: before.records,
                max_timestamp_before: before.max_timestamp,
                rewritten_bytes: 0,
            };
            rows.put(
                Directory::key(&log, directory.first_offset),
                directory.value(),
            )
            .await?;
            rows.put(Listing::key(&log, segment.id), Bytes::new())
                .await?;
            live_logs += 1;
            indexed_bytes = before.bytes;
            current = Some((log, before));
        }
        let Some((log, known)) = &mut current else {
            continue;
        };
        known.bytes += row.value.len() as u64;
        known.records += key.records;
        known.max_timestamp = known.max_timestamp.max(key.max_timestamp);
        if known.bytes - indexed_bytes >= options.index_interval_bytes {
            indexed_bytes = known.bytes;
            let index = Index {
                last_offset: key.end_offset() - 1,
                last_sequence: key.last_sequence,
                max_timestamp: known.max_timestamp,
                appended_bytes: known.bytes,
                records: known.records,
            };
            let mut arena = BytesMut::new();
            Index::key_into(&mut arena, log, segment.id, index.last_offset);
            let index_key = arena.split().freeze();
            index.value_into(&mut arena);
            rows.put(index_key, arena.freeze()).await?;
        }
    }
    totals.extend(current);
    Ok(live_logs)
}

/// Rows on their way to the engine.
struct Rows<'a> {
    db: &'a Db,
    batch: WriteBatch,
    rows: usize,
}

impl<'a> Rows<'a> {
    fn new(db: &'a Db) -> Self {
        Self {
            db,
            batch: WriteBatch::new(),
            rows: 0,
        }
    }

    async fn put(&mut self, key: Bytes, value: Bytes) -> Result<()> {
        self.batch.put_bytes(key, value);
        self.rows += 1;
        match self.rows >= BATCH_ROWS {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Writes what has gathered and waits until it is durable.
    async fn flush(&mut self) -> Result<()> {
        self.rows = 0;
        let batch = std::mem::replace(&mut self.batch, WriteBatch::new());
        let written = self.db.write(batch).await.map_err(failed)?;
        self.db.flush().await.map_err(failed)?;
        written.await_durable().await.map_err(failed)
    }
}

fn failed(error: slatedb::Error) -> Error {
    Error::engine("taking the store over".into(), error)
}
