//! Opening: from options to a running engine, and what the store had come to.

use std::sync::Arc;

use bytes::Bytes;
use slatedb::config::ScanOptions;
use slatedb::db_cache::CacheTarget;
use slatedb::object_store::ObjectStore;
use slatedb::object_store::path::Path as ObjectPath;
use slatedb::{
    BlockCachePolicy, CompactorBuilder, Db, FilterPolicy, GarbageCollectorBuilder, KeyValue,
    SstBlockSize, VersionedManifest,
};
use slatedb_common::clock::SystemClock;

use crate::batch::{Assigned, OpenSegment};
use crate::key::{Format, Listing, Pending, SegmentMeta, SequenceBlock, segment_prefix};
use crate::layout::{
    self, LiveSegments, PositionFilterPolicy, Rewrites, Schedule, SegmentExtractor,
};
use crate::memory_wal::MemoryWal;
use crate::object_store::{self, LocalDirectory, OpenedStore};
use crate::pace::PacedClock;
use crate::segment::Segments;
use crate::wal::{FileWal, FileWalOptions};
use crate::{DataUrl, Error, ErrorKind, Options, Recovered, Result, adopt};

/// An open engine and what was found in it.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) segments: Segments,
    pub(crate) assigned: Assigned,
    pub(crate) recovered: Recovered,
    /// Keys of logs to clear up after.
    pub(crate) pending: Vec<Bytes>,
    /// How segments are rewritten.
    pub(crate) rewrites: Rewrites,
}

/// Where the files of a store lie.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) object_store: Arc<dyn ObjectStore>,
    pub(crate) db_path: ObjectPath,
}

/// The running engine and what it stands on.
pub(crate) struct Engine {
    pub(crate) db: Db,
    /// Where its files lie.
    pub(crate) home: Home,
    /// The directory, if the store lies in one; ours until this is dropped.
    pub(crate) directory: Option<LocalDirectory>,
    /// Its write-ahead log.
    pub(crate) wal: Option<FileWal>,
    /// What paces its upkeep.
    pub(crate) pace: Arc<PacedClock>,
}

/// Opens the engine, fencing any earlier writer, and reads the rows of the store.
pub(crate) async fn open(options: &Options, clock: Arc<dyn SystemClock>) -> Result<Opened> {
    check(options)?;
    let live = LiveSegments::default();
    let rewrites = Rewrites::default();
    let now_ms = clock.now().timestamp_millis();
    let engine = build(options, clock, &live, &rewrites).await?;
    read(engine, options, live, rewrites, now_ms).await
}

fn check(options: &Options) -> Result<()> {
    let limits = [
        ("segment_bytes", options.segment_bytes),
        ("index_interval_bytes", options.index_interval_bytes),
        ("memtable_bytes", options.memtable_bytes as u64),
        ("in_flight_bytes", options.in_flight_bytes as u64),
        ("wal_file_bytes", options.wal_file_bytes),
    ];
    match limits.iter().find(|(_, value)| *value == 0) {
        Some((name, _)) => Err(Error::new(
            ErrorKind::Invalid,
            format!("{name} is 0; it must be at least 1"),
        )),
        None => Ok(()),
    }
}

async fn build(
    options: &Options,
    clock: Arc<dyn SystemClock>,
    live: &LiveSegments,
    rewrites: &Rewrites,
) -> Result<Engine> {
    let OpenedStore {
        object_store,
        db_path,
        local: directory,
    } = object_store::open(options).await?;
    let home = Home {
        object_store: Arc::clone(&object_store),
        db_path: db_path.clone(),
    };
    let wal_options = FileWalOptions {
        fsync: options.fsync,
        file_bytes: options.wal_file_bytes,
        foreign_wal_dir: directory.as_ref().map(LocalDirectory::foreign_wal_dir),
        clock: Arc::clone(&clock),
    };
    if directory
        .as_ref()
        .is_some_and(LocalDirectory::was_written_by_others)
    {
        let store = Arc::clone(&object_store);
        adopt::absorb_wal(options, store, db_path.clone(), Arc::clone(&clock)).await?;
    }
    let wal = match &directory {
        Some(directory) => Some(FileWal::open(&directory.wal_dir(), wal_options)?),
        None => None,
    };

    let pace = Arc::new(PacedClock::new(
        clock,
        layout::restless(options),
        layout::manifest_interval(options),
    ));
    let filters: Vec<Arc<dyn FilterPolicy>> = vec![Arc::new(PositionFilterPolicy)];
    let block_size = SstBlockSize::Block64Kib;
    let compactor = CompactorBuilder::new(db_path.clone(), Arc::clone(&object_store))
        .with_options(layout::compactor_options(options))
        .with_sst_block_size(block_size)
        .with_filter_policies(filters.clone())
        .with_compaction_filter_supplier(Arc::new(rewrites.clone()))
        .with_scheduler_supplier(Arc::new(Schedule {
            live: live.clone(),
            rewrites: rewrites.clone(),
        }));
    let mut gc = GarbageCollectorBuilder::new(db_path.clone(), Arc::clone(&object_store))
        .with_options(layout::gc_options(options));
    let mut builder = Db::builder(db_path, object_store)
        .with_settings(layout::settings(options))
        .with_sst_block_size(block_size)
        .with_segment_extractor(Arc::new(SegmentExtractor))
        .with_filter_policies(filters)
        .with_db_cache(layout::block_cache(options), 0)
        .with_block_cache_policy(
            BlockCachePolicy::default()
                .with_flush_targets(&[CacheTarget::Index, CacheTarget::Filters]),
        )
        .with_system_clock(Arc::clone(&pace) as Arc<dyn SystemClock>)
        .with_metrics_recorder(Arc::clone(&options.metrics.recorder))
        .with_compactor_builder(compactor);
    if let Some(wal) = &wal {
        builder = builder.with_wal_writer(wal.writer_init());
        gc = gc.with_wal_gc(wal.gc());
    } else if options.data == DataUrl::Memory {
        builder = builder.with_wal_writer(Box::new(MemoryWal));
        gc = gc.with_wal_gc(Arc::new(MemoryWal));
    }
    let db = builder.with_gc_builder(gc).build().await;
    let db =
        db.map_err(|error| Error::engine(format!("opening the store at {}", options.data), error))?;
    Ok(Engine {
        db,
        home,
        directory,
        wal,
        pace,
    })
}

/// Reads what the store had come to.
async fn read(
    engine: Engine,
    options: &Options,
    live: LiveSegments,
    rewrites: Rewrites,
    now_ms: i64,
) -> Result<Opened> {
    let db = &engine.db;
    let format = get(db, Format::key())
        .await?
        .map(|value| Format::decode(&value))
        .transpose()?;
    if let Some(found) = format.filter(|found| *found > Format::CURRENT) {
        let problem = format!(
            "the store is of format {found}, this version reads up to format {}; open it with a \
             newer version",
            Format::CURRENT
        );
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    let block = get(db, SequenceBlock::key()).await?;
    let block = block
        .map(|value| SequenceBlock::decode(&value))
        .transpose()?;
    let block = block.unwrap_or(SequenceBlock { base: 0, size: 0 });

    let mut found = Vec::new();
    for row in scan(db, SegmentMeta::prefix()).await? {
        found.push(SegmentMeta::decode(&row.key, &row.value)?);
    }
    let adopts = format.is_none() && !found.is_empty();
    if adopts {
        adopt::adopt(db, options, &mut found, now_ms).await?;
    }
    let pending = scan(db, Pending::prefix()).await?;
    let pending = pending
        .iter()
        .map(|row| Pending::decode(&row.key))
        .collect::<Result<_>>()?;

    let segments = Segments::new(found, live);
    let open = match segments.last() {
        Some(mut meta) => {
            meta.live_logs = scan(db, Listing::prefix(meta.id)).await?.len() as u32;
            Some(OpenSegment {
                bytes: stored_bytes(&db.manifest(), meta.id),
                meta,
            })
        }
        None => None,
    };
    let assigned = Assigned {
        next_sequence: block.end(),
        block,
        next_segment: open.as_ref().map_or(1, |open| open.meta.id + 1),
        open,
        told_ms: i64::MIN,
        format_written: format.is_some() || adopts,
    };
    let replay = engine
        .wal
        .as_ref()
        .map(FileWal::recovered)
        .unwrap_or_default();
    let recovered = Recovered {
        created: format.is_none() && !adopts,
        replayed_rows: replay.replayed_rows,
        torn_bytes: replay.torn_bytes,
    };
    Ok(Opened {
        engine,
        segments,
        assigned,
        recovered,
        pending,
        rewrites,
    })
}

/// Bytes of the files of a segment: about what was appended to it.
pub(crate) fn stored_bytes(manifest: &VersionedManifest, segment: u32) -> u64 {
    let Some(segment) = manifest.segment(&segment_prefix(segment)) else {
        return 0;
    };
    let l0s = segment.l0().iter().map(|view| view.estimate_size());
    l0s.chain(segment.compacted().iter().map(|run| run.estimate_size()))
        .sum()
}

async fn get(db: &Db, key: Bytes) -> Result<Option<Bytes>> {
    db.get(key)
        .await
        .map_err(|error| Error::engine("reading the store's rows".into(), error))
}

async fn scan(db: &Db, prefix: Bytes) -> Result<Vec<KeyValue>> {
    let failed = |error| Error::engine("reading the store's rows".into(), error);
    let options = ScanOptions {
        read_ahead_bytes: 256 << 10,
        ..ScanOptions::default()
    };
    let mut rows = db
        .scan_prefix_with_options(prefix, .., &options)
        .await
        .map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().await.map_err(failed)? {
        found.push(row);
    }
    Ok(found)
}
