//! Space comes back from segments that something else holds alive, and entries are rewritten in place.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use trestle_storage::{
    Entry, EntryFormat, Log, LogRead, NewEntry, Options, ReadLimit, Rewriter, Rewritten, Store,
    WriteSet,
};

use crate::support::{NO_LIMIT, View, append, clock, commit, entry, in_directory, read_all};
use crate::wait;

fn options(directory: &tempfile::TempDir) -> Options {
    let mut options = in_directory(directory);
    options.segment_bytes = 400_000;
    options.memtable_bytes = 100_000;
    options.index_interval_bytes = 5_000;
    options.wal_file_bytes = 50_000;
    options.tail_bytes = 1;
    options.upkeep_interval = Duration::from_millis(20);
    options.reclaim_delay = Duration::from_millis(100);
    options
}

/// Bytes of the tables in a store's directory.
fn table_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    // There is no directory before the first table.
    let Ok(files) = std::fs::read_dir(directory.join("store/db/compacted")) else {
        return Ok(u64::MAX);
    };
    for file in files {
        // It may go while it is counted.
        bytes += file?.metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

async fn shrinks_to(directory: &Path, limit: u64) -> Result<u64> {
    wait::until(|| {
        let bytes = table_bytes(directory)?;
        Ok(if bytes <= limit {
            Ok(bytes)
        } else {
            Err(bytes)
        })
    })
    .await
}

/// Appends `count` entries of 2,000 bytes.
async fn fill(store: &Store, log: &Log, name: &str, count: u64) -> Result<()> {
    let mut write_set = WriteSet::new();
    let from = log.bounds().end_offset;
    for offset in from..from + count {
        write_set.append(log, entry(name, offset, 2_000));
    }
    commit(store, write_set).await?;
    Ok(())
}

async fn is_whole(log: &Log, name: &str, from: u64, to: u64) -> Result<()> {
    for max_bytes in [10_000, 1 << 20] {
        let found = read_all(log, from, max_bytes).await?;
        let offsets: Vec<_> = found.iter().map(|entry| entry.first_offset).collect();
        ensure!(
            offsets == (from..to).collect::<Vec<_>>(),
            "{name}: {from}..{to} is {offsets:?}"
        );
        for found in found {
            let expected = entry(name, found.first_offset, 2_000).payload;
            ensure!(found.payload == expected, "{name} {}", found.first_offset);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_beside_what_lives_goes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(options(&directory), clock()).await?;
    let kept = store.log(b"kept").await?;
    let cut = store.log(b"cut").await?;
    for round in 0..40u32 {
        let gone = store.log(format!("gone {round}").as_bytes()).await?;
        fill(&store, &gone, "gone", 60).await?;
        fill(&store, &kept, "kept", 10).await?;
        fill(&store, &cut, "cut", 60).await?;
        let mut write_set = WriteSet::new();
        write_set.remove(&gone);
        write_set.trim(&cut, cut.bounds().end_offset - 35);
        commit(&store, write_set).await?;
    }
    // 40 rounds of 260 KB; what lives is 870 KB, in every segment.
    let live = 400 * 2_000 + 35 * 2_000;
    let bytes = shrinks_to(directory.path(), live * 13 / 10 + 400_000).await;
    bytes.context("dead bytes beside live ones")?;
    is_whole(&kept, "kept", 0, 400).await?;
    is_whole(&cut, "cut", 2_365, 2_400).await?;
    let (kept_bounds, cut_bounds) = (kept.bounds(), cut.bounds());
    drop((kept, cut));
    store.close().await?;
    drop(store);

    let store = Store::open(options(&directory), clock()).await?;
    assert_eq!(store.keys(b"").await?, ["cut", "kept"]);
    let (kept, cut) = (store.log(b"kept").await?, store.log(b"cut").await?);
    assert_eq!(kept.bounds(), kept_bounds);
    assert_eq!(cut.bounds(), cut_bounds);
    assert_eq!(cut.bounds().appended_bytes, 2_400 * 2_000);
    is_whole(&kept, "kept", 0, 400).await?;
    is_whole(&cut, "cut", 2_365, 2_400).await?;
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_store_gives_back_what_its_open_segment_holds() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut options = options(&directory);
    options.segment_bytes = 100 << 20;
    options.segment_interval = Duration::from_millis(500);
    let store = Store::open(options, clock()).await?;
    let kept = store.log(b"kept").await?;
    let gone = store.log(b"gone").await?;
    let mut write_set = WriteSet::new();
    for offset in 0..200 {
        write_set.append(&kept, entry("kept", offset, 2_000));
        write_set.append(&gone, entry("gone", offset, 20_000));
    }
    write_set.put_row("other", "row");
    commit(&store, write_set).await?;
    let mut write_set = WriteSet::new();
    write_set.remove(&gone);
    commit(&store, write_set).await?;
    shrinks_to(directory.path(), 600_000).await?;
    is_whole(&kept, "kept", 0, 200).await?;
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_bit_by_bit_is_not_rewritten() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut options = options(&directory);
    options.segment_bytes = 200_000;
    options.reclaim_delay = Duration::from_secs(60);
    let store = Store::open(options, clock()).await?;
    let log = store.log(b"log").await?;
    let view = View::of(&store);
    for end in 1..=100u64 {
        fill(&store, &log, "log", 20).await?;
        let mut write_set = WriteSet::new();
        // A fifth of a segment at a time.
        write_set.trim(&log, (20 * end).saturating_sub(100));
        commit(&store, write_set).await?;
        let runs = view.tree().segments;
        let runs = runs.iter().filter(|files| files.segment_id > 0);
        ensure!(
            runs.map(|files| files.runs).sum::<usize>() == 0,
            "rewritten"
        );
    }
    shrinks_to(directory.path(), 900_000).await?;
    let runs = view.tree().segments;
    let runs = runs.iter().filter(|files| files.segment_id > 0);
    ensure!(
        runs.map(|files| files.runs).sum::<usize>() == 0,
        "rewritten"
    );
    is_whole(&log, "log", 1_900, 2_000).await?;
    store.close().await?;
    Ok(())
}

/// Drops entries at odd offsets, and says of every fifth that it was changed.
struct Thin;

impl Rewriter for Thin {
    fn rewrite(&self, entry: &Entry) -> Rewritten {
        match entry.first_offset {
            offset if offset % 2 == 1 => Rewritten::Drop,
            offset if offset.is_multiple_of(5) => Rewritten::Replace(Bytes::from("changed")),
            _ => Rewritten::Keep,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_dropped_and_replaced_in_place() -> Result<()> {
    for len in [100, 20_000] {
        let directory = tempfile::tempdir()?;
        let store = Store::open(options(&directory), clock()).await?;
        let thin = store.log(b"thin").await?;
        let other = store.log(b"other").await?;
        let mut write_set = WriteSet::new();
        for offset in 0..100 {
            write_set.append(
                &thin,
                NewEntry {
                    count: 1,
                    format: EntryFormat::Batch,
                    ..entry("thin", offset, len)
                },
            );
        }
        commit(&store, write_set).await?;
        fill(&store, &other, "other", 20).await?;
        store.seal().await?;
        append(&store, &thin, entry("thin", 100, len)).await?;
        let windows = thin.windows().await?;
        assert_eq!(windows.len(), 2, "one window a segment");
        let sealed = windows[0];
        assert_eq!(
            (sealed.first_offset, sealed.end_offset, sealed.bytes),
            (0, 100, 100 * len as u64)
        );
        assert!(sealed.sealed && !windows[1].sealed);
        let refused = store.rewrite(windows[1].segment, Vec::new()).await;
        assert!(refused.is_err(), "the open segment is not rewritten");

        let rewriter: Arc<dyn Rewriter> = Arc::new(Thin);
        let logs = vec![(thin.clone(), rewriter)];
        store.rewrite(sealed.segment, logs).await?;
        let left = 10 * 7 + 40 * len as u64;
        assert_eq!(
            thin.windows().await?[0].bytes,
            left,
            "what is left is known"
        );
        check_thin(&store, len).await?;
        is_whole(&other, "other", 0, 20).await?;

        // The last window of a log too: its end and its totals stay.
        store.seal().await?;
        let last = thin.windows().await?[1].segment;
        let rewriter: Arc<dyn Rewriter> = Arc::new(DropAll);
        store.rewrite(last, vec![(thin.clone(), rewriter)]).await?;
        let bounds = thin.bounds();
        drop((thin, other));
        store.close().await?;
        drop(store);
        let store = Store::open(options(&directory), clock()).await?;
        let thin = store.log(b"thin").await?;
        assert_eq!(thin.bounds(), bounds);
        assert_eq!(bounds.end_offset, 101);
        assert_eq!(bounds.appended_bytes, 101 * len as u64);
        ensure!(
            thin.read(100, NO_LIMIT).await?.is_empty(),
            "the last is gone"
        );
        append(&store, &thin, entry("thin", 101, len)).await?;
        let next = thin.read(99, NO_LIMIT).await?;
        assert_eq!(next[0].first_offset, 101, "beyond the gap");
        store.close().await?;
    }
    Ok(())
}

struct DropAll;

impl Rewriter for DropAll {
    fn rewrite(&self, _: &Entry) -> Rewritten {
        Rewritten::Drop
    }
}

async fn check_thin(store: &Store, len: usize) -> Result<()> {
    let thin = store.log(b"thin").await?;
    for max_bytes in [1, 1_000, 1 << 20] {
        let found = read_all(&thin, 0, max_bytes).await?;
        let offsets: Vec<_> = found.iter().map(|entry| entry.first_offset).collect();
        let expected: Vec<u64> = (0..=100).step_by(2).collect();
        ensure!(offsets == expected, "{offsets:?}");
        for found in &found {
            let offset = found.first_offset;
            let expected = if offset.is_multiple_of(5) && offset < 100 {
                Bytes::from("changed")
            } else {
                entry("thin", offset, len).payload
            };
            ensure!(found.payload == expected, "another payload at {offset}");
        }
    }
    let limit = ReadLimit {
        max_entries: 1,
        ..NO_LIMIT
    };
    for offset in 0..100 {
        let next = thin.read(offset, limit).await?;
        let at = next.first().map(|entry| entry.first_offset);
        ensure!(at == Some(offset.next_multiple_of(2)), "{offset}: {at:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_by_size_and_by_time() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(options(&directory), clock()).await?;
    let log = store.log(b"log").await?;
    assert_eq!(log.first_timestamp().await?, None);
    for offset in 0..600 {
        append(&store, &log, entry("log", offset, 2_000)).await?;
    }
    ensure!(log.windows().await?.len() >= 3, "several windows");
    for keep in [1u64, 2_000, 2_001, 399_999, 400_000, 1_199_999] {
        let cut = log.cut_for_bytes(keep).await?;
        let tail = |from: u64| (600 - from) * 2_000;
        ensure!(tail(cut) >= keep, "{keep} from {cut}: too little is kept");
        ensure!(tail(cut + 1) < keep, "{keep} from {cut}: more than needed");
    }
    assert_eq!(log.cut_for_bytes(10_000_000).await?, 0);
    assert_eq!(log.first_timestamp().await?, Some(0));
    let mut write_set = WriteSet::new();
    write_set.trim(&log, 250);
    commit(&store, write_set).await?;
    assert_eq!(log.first_timestamp().await?, Some(250));
    assert_eq!(log.search_from(300).await?, Some(300));
    assert_eq!(log.cut_for_bytes(10_000_000).await?, 250);
    store.close().await?;
    Ok(())
}
