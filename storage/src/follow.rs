//! A store that another process writes, opened for reading: it takes no lock, fences nobody and writes
//! nothing. What it shows is what was durable when it last looked.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use slatedb::config::{DbReaderOptions, ScanOptions};
use slatedb::{DbReader, DbReaderMode, DbStatus, FilterPolicy};
use slatedb_common::clock::SystemClock;
use tokio::sync::watch;
use uuid::Uuid;

use crate::key::{Format, Frontier, SegmentMeta};
use crate::layout::{self, LiveSegments, PositionFilterPolicy, SegmentExtractor};
use crate::object_store::{self, ReadOnlyStore};
use crate::open::Home;
use crate::pace::PacedClock;
use crate::rows::Rows;
use crate::segment::Segments;
use crate::store::{Core, StoreState};
use crate::wal::FileWalReader;
use crate::{DataUrl, Error, ErrorKind, Options, Result, lookup};

/// The engine tells of new rows an instant before it shows them.
const SETTLE: Duration = Duration::from_millis(2);

/// A store opened for reading.
pub(crate) struct Followed {
    pub(crate) rows: Rows,
    pub(crate) home: Home,
    pub(crate) status: watch::Receiver<DbStatus>,
    pub(crate) segments: Segments,
    pub(crate) next_sequence: u64,
    pub(crate) pace: Arc<PacedClock>,
}

/// Opens a store for reading: what it holds now and will, or what it held at `checkpoint`.
pub(crate) async fn open(
    options: &Options,
    clock: Arc<dyn SystemClock>,
    refresh: Duration,
    checkpoint: Option<Uuid>,
) -> Result<Followed> {
    if options.data == DataUrl::Memory {
        let problem = "a store in memory can be read only by the process that writes it";
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    if refresh.is_zero() {
        let problem = "the refresh interval is 0; it must be at least 1 ms";
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    let ReadOnlyStore {
        object_store,
        db_path,
        wal_dir,
    } = object_store::open_read_only(options).await?;
    let home = Home {
        object_store: Arc::clone(&object_store),
        db_path: db_path.clone(),
    };
    let filters: Vec<Arc<dyn FilterPolicy>> = vec![Arc::new(PositionFilterPolicy)];
    let mode = match checkpoint {
        Some(checkpoint) => DbReaderMode::Checkpoint(checkpoint),
        None => DbReaderMode::FollowLatest,
    };
    let mut builder = DbReader::builder(db_path, object_store)
        .with_reader_mode(mode)
        .with_options(DbReaderOptions {
            manifest_poll_interval: refresh,
            // A wrong address must not be tried for ever; a poll that fails is made again anyway.
            object_store_max_retries: Some(3),
            ..DbReaderOptions::default()
        })
        .with_segment_extractor(Arc::new(SegmentExtractor))
        .with_filter_policies(filters)
        .with_db_cache(layout::block_cache(options), 0)
        .with_system_clock(Arc::clone(&clock))
        .with_metrics_recorder(Arc::clone(&options.metrics.recorder));
    if let Some(wal_dir) = wal_dir {
        builder =
            builder.with_wal_reader(Arc::new(FileWalReader::new(wal_dir, Arc::clone(&clock))));
    }
    let reader = builder.build().await.map_err(|error| {
        Error::engine(
            format!("opening the store at {} for reading", options.data),
            error,
        )
    })?;
    let status = reader.subscribe();
    let rows = Rows::Followed(reader);
    let format = get(&rows, Format::key()).await?;
    let has_format = format.is_some();
    if let Some(value) = format {
        let found = Format::decode(&value)?;
        if found > Format::CURRENT {
            let problem = format!(
                "the store is of format {found}, this version reads up to format {}; read it with a \
                 newer version",
                Format::CURRENT
            );
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
    }
    let found = segments(&rows).await?;
    if !has_format && !found.is_empty() {
        let problem = format!(
            "the store at {} was written by OpenData Log; open it once for writing, which takes it over",
            options.data
        );
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    let next_sequence = frontier(&rows, &found).await?;
    Ok(Followed {
        status,
        next_sequence,
        segments: Segments::new(found, LiveSegments::default()),
        pace: Arc::new(PacedClock::new(clock, Duration::ZERO, refresh)),
        rows,
        home,
    })
}

/// Shows what is new whenever the engine has found something; ends with the store.
pub(crate) async fn refresh(core: Weak<Core>, mut status: watch::Receiver<DbStatus>) {
    loop {
        let changed = status.changed().await;
        let Some(core) = core.upgrade() else { return };
        if changed.is_err() {
            let stopped = Error::new(ErrorKind::Closed, "the engine has stopped");
            core.state.send_replace(StoreState::Closed(stopped));
            return;
        }
        let reason = status.borrow_and_update().close_reason;
        if let Some(reason) = reason {
            core.state
                .send_replace(StoreState::Closed(Error::closed(reason)));
            return;
        }
        core.clock.sleep(SETTLE).await;
        if let Err(error) = look(&core).await {
            // The next change of the store is the next chance.
            tracing::warn!(%error, "could not look at what is new in the store");
        }
    }
}

/// Reads what changes as a store is written: segments, the ends of open logs, the frontier.
async fn look(core: &Arc<Core>) -> Result<()> {
    let found = segments(&core.db).await?;
    let next_sequence = frontier(&core.db, &found).await?;
    core.segments.replace(found);
    for log in core.open_logs() {
        log.follow(lookup::load(core, &log.key).await?);
    }
    // After the logs: whoever sees the frontier finds everything below it.
    core.durable.send_if_modified(|durable| {
        let moved = next_sequence > *durable;
        *durable = next_sequence.max(*durable);
        moved
    });
    Ok(())
}

async fn segments(rows: &Rows) -> Result<Vec<SegmentMeta>> {
    let failed = |error| Error::engine("reading the store's segments".into(), error);
    let options = ScanOptions::default();
    let mut scan = rows
        .scan_prefix_with_options(SegmentMeta::prefix(), &options)
        .await
        .map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = scan.next().await.map_err(failed)? {
        found.push(SegmentMeta::decode(&row.key, &row.value)?);
    }
    Ok(found)
}

/// Every sequence below this was durable when it was read.
async fn frontier(rows: &Rows, segments: &[SegmentMeta]) -> Result<u64> {
    let told = match get(rows, Frontier::key()).await? {
        Some(value) => Frontier::decode(&value)?,
        None => 0,
    };
    let opened = segments.last().map_or(0, |segment| segment.start_sequence);
    Ok(told.max(opened))
}

async fn get(rows: &Rows, key: Bytes) -> Result<Option<Bytes>> {
    rows.get(key)
        .await
        .map_err(|error| Error::engine("reading the store's rows".into(), error))
}
