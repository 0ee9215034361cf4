//! The settings of the engine.

use std::sync::Arc;
use std::time::Duration;

use slatedb::Settings;
use slatedb::config::{
    CompactorOptions, GarbageCollectorDirectoryOptions, GarbageCollectorOptions,
};
use slatedb::db_cache::{DbCache, SplitCache, foyer::FoyerCache, foyer::FoyerCacheOptions};

use crate::{DataUrl, Options};

/// Files that a running scan may still need are kept this long after they were replaced.
const CHECKPOINT_LIFETIME: Duration = Duration::from_secs(60);

/// On S3, requests cost: nothing is looked for more often than this.
const S3_UPKEEP: Duration = Duration::from_secs(15);

/// What a process of before was compacting when it was killed is taken up when nobody has shown to be at
/// it for so many upkeep intervals, within these bounds. Until then that segment stays as it is.
const ABANDONED: u32 = 60;
const LEAST_ABANDONED: Duration = Duration::from_secs(2);
const MOST_ABANDONED: Duration = Duration::from_secs(30);

/// However short the intervals, a busy machine may take so long for what they are counted for.
const LEAST_RESTLESS: Duration = Duration::from_secs(30);

/// How often upkeep is due while the store is written to.
pub(crate) fn upkeep_interval(options: &Options) -> Duration {
    match options.data {
        DataUrl::S3 { .. } => options.upkeep_interval.max(S3_UPKEEP),
        DataUrl::Memory | DataUrl::File(_) => options.upkeep_interval,
    }
}

/// How often files that nothing refers to are looked for. They are removed once they are twice as old:
/// what was just written may not be referred to yet.
fn gc_interval(options: &Options) -> Duration {
    let upkeep = upkeep_interval(options);
    (upkeep * 6).max(Duration::from_secs(30).min(upkeep * 30))
}

/// How long after the last write upkeep goes on at its pace: long enough for what that write replaced
/// to be compacted, to age and to be removed.
pub(crate) fn restless(options: &Options) -> Duration {
    (gc_interval(options) * 4).max(LEAST_RESTLESS)
}

/// How often the manifest is polled for changes by others; no other interval is as short, by which
/// the paced clock knows it.
pub(crate) fn manifest_interval(options: &Options) -> Duration {
    upkeep_interval(options) * 4 / 5
}

/// What applies to the database.
pub(crate) fn settings(options: &Options) -> Settings {
    Settings {
        // Whoever needs durability asks for it: the write-ahead log itself, or the store's flusher.
        flush_interval: None,
        manifest_poll_interval: manifest_interval(options),
        min_filter_keys: 1,
        l0_sst_size_bytes: options.memtable_bytes,
        // One memtable that fills, one that is written out, and what the write-ahead log holds.
        max_unflushed_bytes: 2 * options.memtable_bytes + options.in_flight_bytes,
        // Segments are not compacted: what bounds their files is that they are rolled.
        l0_max_ssts: 1_000_000,
        l0_max_ssts_per_key: 100_000,
        l0_flush_parallelism: 2,
        compression_codec: None,
        compactor_options: None,
        garbage_collector_options: None,
        ..Settings::default()
    }
}

/// What applies to compaction.
pub(crate) fn compactor_options(options: &Options) -> CompactorOptions {
    let interval = upkeep_interval(options);
    let abandoned = (interval * ABANDONED).clamp(LEAST_ABANDONED, MOST_ABANDONED);
    let mut compactor = CompactorOptions {
        poll_interval: interval,
        worker_heartbeat_timeout: abandoned,
        // Drains count, and cost nothing; rows are rewritten by one worker.
        max_concurrent_compactions: 32,
        checkpoint_lifetime: CHECKPOINT_LIFETIME.min(gc_interval(options) * 2),
        commit_compacted_interval: interval,
        ..CompactorOptions::default()
    };
    if let Some(worker) = &mut compactor.worker {
        worker.max_concurrent_compactions = 1;
        worker.compactions_poll_interval = interval;
        worker.heartbeat_interval = abandoned / 3;
        worker.max_subcompactions = 1;
        worker.max_fetch_tasks = 1;
        worker.bytes_to_fetch = 512 << 10;
        worker.max_sst_size = 64 << 20;
        worker.min_filter_keys = 1;
    }
    compactor
}

/// What applies to the removal of files that nothing refers to.
pub(crate) fn gc_options(options: &Options) -> GarbageCollectorOptions {
    let interval = gc_interval(options);
    let directory = Some(GarbageCollectorDirectoryOptions {
        interval: Some(interval),
        min_age: interval * 2,
        dry_run: false,
    });
    // Files of the write-ahead log on disk are written again once they are reclaimed; a reader in
    // another process that finds one gone looks at the manifest again.
    let soon = upkeep_interval(options) * 2;
    let wal = match options.data {
        DataUrl::File(_) => Some(GarbageCollectorDirectoryOptions {
            interval: Some(soon),
            min_age: soon,
            dry_run: false,
        }),
        DataUrl::Memory | DataUrl::S3 { .. } => directory,
    };
    GarbageCollectorOptions {
        manifest_options: directory,
        wal_options: wal,
        wal_fence_options: None,
        compacted_options: directory,
        compactions_options: directory,
        detach_options: None,
        metric_level: None,
        // A file system cannot replace a file on a condition.
        boundary_files_enabled: !matches!(options.data, DataUrl::File(_)),
        object_store_max_retries: None,
    }
}

/// Blocks read by lookups, and the indexes and filters of files.
pub(crate) fn block_cache(options: &Options) -> Arc<dyn DbCache> {
    let half = |shards| -> Arc<dyn DbCache> {
        let max_capacity = options.cache_bytes as u64 / 2;
        Arc::new(FoyerCache::new_with_opts(FoyerCacheOptions {
            max_capacity,
            shards,
        }))
    };
    Arc::new(
        SplitCache::new()
            .with_block_cache(Some(half(4)))
            .with_meta_cache(Some(half(4)))
            .build(),
    )
}
