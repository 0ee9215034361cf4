//! Segments of which little is left, or that are too many, are merged; what lives in them stays as it is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;
use trestle_storage::{
    DataUrl, Entry, Log, LogRead, Options, ReadLimit, Rewriter, Rewritten, Store, WriteSet,
};

use crate::support::{NO_LIMIT, View, append, clock, commit, entry, in_directory, read_all};
use crate::{stored, wait};

fn small(mut options: Options) -> Options {
    options.segment_bytes = 100_000;
    options.memtable_bytes = 50_000;
    options.index_interval_bytes = 3_000;
    options.wal_file_bytes = 50_000;
    options.tail_bytes = 1;
    options.upkeep_interval = Duration::from_millis(20);
    options.reclaim_delay = Duration::from_millis(50);
    options.max_segments = 2_000;
    options
}

async fn segments(store: &Store) -> Result<usize> {
    Ok(View::of(store).list_segments(..).await?.len())
}

/// Waits until there are at most `limit` segments.
async fn merged_to(store: &Store, limit: usize) -> Result<usize> {
    let deadline = wait::Deadline::new();
    loop {
        let now = segments(store).await?;
        if now <= limit {
            return Ok(now);
        }
        deadline.pause(&now).await?;
    }
}

/// Keeps entries whose offset is a multiple of ten.
struct Tenth;

impl Rewriter for Tenth {
    fn rewrite(&self, entry: &Entry) -> Rewritten {
        match entry.first_offset.is_multiple_of(10) {
            true => Rewritten::Keep,
            false => Rewritten::Drop,
        }
    }
}

/// One log that never expires and one that is compacted, beside many that live for a short time.
#[tokio::test(flavor = "multi_thread")]
async fn little_that_lives_for_ever_does_not_hold_many_segments() -> Result<()> {
    const ROUNDS: u64 = 30;
    let directory = tempfile::tempdir()?;
    let store = Store::open(small(in_directory(&directory)), clock()).await?;
    let kept = store.log(b"kept").await?;
    let compacted = store.log(b"compacted").await?;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(keeps_reading(kept.clone(), Arc::clone(&done)));
    let mut opened = 0;
    for round in 0..ROUNDS {
        let gone = store.log(format!("gone {round}").as_bytes()).await?;
        let mut write_set = WriteSet::new();
        for at in 0..10 {
            write_set.append(&kept, entry("kept", 10 * round + at, 200));
            write_set.append(&compacted, entry("compacted", 10 * round + at, 1_000));
        }
        for at in 0..55 {
            write_set.append(&gone, entry("gone", at, 2_000));
        }
        commit(&store, write_set).await?;
        // What is to be compacted is, when its segment is sealed.
        let windows = compacted.windows().await?;
        if windows.len() > 1 {
            let window = windows[windows.len() - 2];
            let rewriter: Arc<dyn Rewriter> = Arc::new(Tenth);
            let held = store.hold_windows().await;
            store
                .rewrite(window.segment, vec![(compacted.clone(), rewriter)])
                .await?;
            drop(held);
        }
        let mut write_set = WriteSet::new();
        write_set.remove(&gone);
        commit(&store, write_set).await?;
        let newest = kept.windows().await?.last().context("a window")?.segment;
        opened = opened.max(newest);
    }
    ensure!(
        opened >= 25,
        "{opened} segments are enough to see a difference"
    );
    merged_to(&store, 14).await?;
    done.store(true, Ordering::Relaxed);
    reader.await??;

    let live: u64 = ROUNDS * 10 * 200 + ROUNDS * 1_000;
    let tree = wait::until(|| {
        let tree = View::of(&store).tree();
        let data = tree.segments.iter().filter(|files| files.segment_id > 0);
        let bytes: u64 = data.map(|files| files.l0_bytes + files.run_bytes).sum();
        // What the open segment holds waits for its end.
        Ok(if bytes <= live * 13 / 10 + 130_000 {
            Ok(tree)
        } else {
            Err(bytes)
        })
    });
    let tree = tree.await.context("space beside what lives")?;
    let files = tree.segments.iter().map(|files| files.l0_files);
    ensure!(files.clone().sum::<usize>() < 150, "{:?}", files.max());
    check_kept(&kept, ROUNDS * 10).await?;
    let (kept_bounds, compacted_bounds) = (kept.bounds(), compacted.bounds());
    let windows = kept.windows().await?;
    ensure!(windows.len() <= 14, "{} windows", windows.len());
    let bytes: u64 = windows.iter().map(|window| window.bytes).sum();
    assert_eq!(bytes, ROUNDS * 10 * 200, "nothing of it is counted twice");
    drop((kept, compacted));
    store.close().await?;
    drop(store);
    let directory = directory.path().join("store");
    stored::check(&directory).await?;
    ensure!(largest_manifest(&directory)? < 20_000, "a small manifest");

    let options = Options::new(DataUrl::File(directory));
    let store = Store::open(small(options), clock()).await?;
    let (kept, compacted) = (store.log(b"kept").await?, store.log(b"compacted").await?);
    assert_eq!(
        (kept.bounds(), compacted.bounds()),
        (kept_bounds, compacted_bounds)
    );
    check_kept(&kept, ROUNDS * 10).await?;
    let left = read_all(&compacted, 0, 10_000).await?;
    let end = left.last().context("entries")?.first_offset;
    let mut offsets = left.iter().map(|entry| entry.first_offset);
    let dense = ROUNDS * 10 - 40;
    ensure!(end == ROUNDS * 10 - 1, "up to its end");
    ensure!(
        offsets
            .by_ref()
            .take_while(|offset| *offset < dense)
            .all(|offset| offset.is_multiple_of(10)),
        "compacted"
    );
    assert_eq!(store.keys(b"").await?, ["compacted", "kept"]);
    store.close().await?;
    Ok(())
}

fn largest_manifest(directory: &Path) -> Result<u64> {
    let mut largest = 0;
    for file in std::fs::read_dir(directory.join("db/manifest"))? {
        largest = largest.max(file?.metadata()?.len());
    }
    Ok(largest)
}

/// All ways to find what is in a log lead there.
async fn check_kept(kept: &Log, end: u64) -> Result<()> {
    for max_bytes in [100, 3_000, 1 << 20] {
        let found = read_all(kept, 0, max_bytes).await?;
        let offsets: Vec<_> = found.iter().map(|entry| entry.first_offset).collect();
        ensure!(offsets == (0..end).collect::<Vec<_>>(), "{offsets:?}");
        for found in &found {
            let expected = entry("kept", found.first_offset, 200).payload;
            ensure!(found.payload == expected, "at {}", found.first_offset);
        }
    }
    let all = read_all(kept, 0, 1 << 20).await?;
    let one = ReadLimit {
        max_entries: 1,
        ..NO_LIMIT
    };
    for expected in all.iter().step_by(37) {
        let offset = expected.first_offset;
        let found = kept.read(offset, one).await?;
        ensure!(found == [expected.clone()], "a read from {offset}");
        let by_sequence = kept.offset_at(expected.first_sequence).await?;
        ensure!(by_sequence == offset, "{offset} by sequence: {by_sequence}");
        let by_time = kept.search_from(offset as i64).await?;
        ensure!(
            by_time.is_some_and(|by_time| by_time <= offset && offset - by_time < 100),
            "{offset} by time: {by_time:?}"
        );
        let below = kept.count(0, expected.first_sequence).await?;
        ensure!(below == offset, "{below} below {offset}");
    }
    Ok(())
}

/// Reads a log from its start to its end again and again, and finds no gap.
async fn keeps_reading(log: Log, done: Arc<AtomicBool>) -> Result<()> {
    let mut max_bytes = 1_000;
    while !done.load(Ordering::Relaxed) {
        let end = log.bounds().end_offset;
        let found = read_all(&log, 0, max_bytes).await?;
        for (offset, found) in (0..).zip(&found) {
            ensure!(
                found.first_offset == offset,
                "{} follows {offset}",
                found.first_offset
            );
        }
        if (found.len() as u64) < end {
            let at = found.len() as u64;
            let again = read_all(&log, at, max_bytes).await?.len();
            let (windows, bounds) = (log.windows().await?, log.bounds());
            bail!("{at} of {end}, then {again} more: {bounds:?}, {windows:?}");
        }
        let first = log.first_timestamp().await?;
        ensure!(first == (end > 0).then_some(0) || end == 0, "{first:?}");
        max_bytes = max_bytes * 3 % 100_000 + 1;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Large windows are merged too when there are too many, in pieces, also of logs that were trimmed or
/// are appended to meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn there_are_not_more_segments_than_the_limit() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut options = small(in_directory(&directory));
    options.max_segments = 5;
    options.memtable_bytes = 1 << 20;
    options.wal_file_bytes = 1 << 20;
    options.segment_bytes = 1_500_000;
    let store = Store::open(options.clone(), clock()).await?;
    let (whole, cut) = (store.log(b"whole").await?, store.log(b"cut").await?);
    for offset in 0..2_000 {
        let mut write_set = WriteSet::new();
        write_set.append(&whole, entry("whole", offset, 8_000));
        write_set.append(&cut, entry("cut", offset, 2_000));
        commit(&store, write_set).await?;
    }
    let mut write_set = WriteSet::new();
    write_set.trim(&cut, 777);
    commit(&store, write_set).await?;
    merged_to(&store, 5).await?;
    for (log, name, from, len) in [(&whole, "whole", 0, 8_000), (&cut, "cut", 777, 2_000)] {
        let found = read_all(log, 0, 100_000).await?;
        ensure!(
            found.len() as u64 == 2_000 - from,
            "{name}: {}",
            found.len()
        );
        for (offset, found) in (from..).zip(&found) {
            let expected = entry(name, offset, len).payload;
            ensure!(found.first_offset == offset && found.payload == expected);
        }
        let bytes = log.windows().await?.iter().map(|w| w.bytes).sum::<u64>();
        let live = found.len() as u64 * len as u64;
        ensure!(bytes >= live, "{name}: {bytes} of {live}");
    }
    let cut_at = cut.cut_for_bytes(100 * 2_000).await?;
    assert_eq!(cut_at, 1_900);
    drop((whole, cut));
    store.close().await?;
    drop(store);
    stored::check(&directory.path().join("store")).await?;
    Ok(())
}

/// A reader in another process, here another handle, finds everything while segments are merged.
#[tokio::test(flavor = "multi_thread")]
async fn readers_beside_the_writer_miss_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut options = small(in_directory(&directory));
    options.max_segments = 4;
    let store = Store::open(options.clone(), clock()).await?;
    let kept = store.log(b"kept").await?;
    append(&store, &kept, entry("kept", 0, 200)).await?;
    let refresh = Duration::from_millis(10);
    let beside = Store::open_read_only(options, clock(), refresh).await?;
    let done = Arc::new(AtomicBool::new(false));
    let log = beside.log(b"kept").await?;
    let reader = tokio::spawn(keeps_reading(log, Arc::clone(&done)));
    for offset in 1..1_000 {
        append(&store, &kept, entry("kept", offset, 3_000)).await?;
    }
    merged_to(&store, 4).await?;
    done.store(true, Ordering::Relaxed);
    reader.await??;
    beside.close().await?;
    store.close().await?;
    Ok(())
}

const DIRECTORY: &str = "TRESTLE_MERGE_DIRECTORY";

fn child_options(directory: &str) -> Options {
    let mut options = small(Options::new(DataUrl::File(directory.into())));
    options.fsync = false;
    options.segment_bytes = 200_000;
    options.max_segments = 6;
    options
}

/// The process that is killed: two logs that live, and one after the other that do not.
#[test]
fn child() -> Result<()> {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return Ok(());
    };
    Runtime::new()?.block_on(async {
        let store = Store::open(child_options(&directory), clock()).await?;
        let (a, b) = (store.log(b"a").await?, store.log(b"b").await?);
        let mut lives = store.epoch() * 1_000_000;
        println!("open");
        loop {
            lives += 1;
            let gone = store.log(format!("gone {lives}").as_bytes()).await?;
            let mut write_set = WriteSet::new();
            for log in [&a, &b] {
                let name = if std::ptr::eq(log, &a) { "a" } else { "b" };
                let end = log.bounds().end_offset;
                for offset in end..end + 5 {
                    write_set.append(log, entry(name, offset, 700));
                }
            }
            for offset in 0..20 {
                write_set.append(&gone, entry("gone", offset, 4_000));
            }
            let end = a.bounds().end_offset;
            if end > 1_000 {
                write_set.trim(&b, end - 1_000);
            }
            commit(&store, write_set).await?;
            let mut write_set = WriteSet::new();
            write_set.remove(&gone);
            commit(&store, write_set).await?;
            println!("durable {} {lives}", a.bounds().end_offset);
        }
    })
}

#[test]
fn a_kill_while_segments_are_merged_loses_nothing_and_leaves_nothing() -> Result<()> {
    let rounds = std::env::var("TRESTLE_CRASH_ROUNDS").map_or(Ok(4), |rounds| rounds.parse())?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let path = path.to_str().context("a readable path")?;
    let mut rng = StdRng::seed_from_u64(2);
    let mut durable = (0u64, 0u64);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["merge::child", "--exact", "--nocapture"])
            .env(DIRECTORY, path)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("piped")?);
        let mut left = rng.random_range(20..150u32);
        for line in output.lines() {
            let line = line?;
            let told = line.strip_prefix("durable ");
            if let Some((end, lives)) = told.and_then(|told| told.split_once(' ')) {
                durable = (end.parse()?, lives.parse()?);
            }
            match left.checked_sub(1) {
                Some(less) => left = less,
                None => child.kill()?,
            }
        }
        child.wait()?;
        let runtime = Runtime::new()?;
        let checked = runtime.block_on(check_killed(path, durable));
        checked.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

async fn check_killed(path: &str, (durable_end, lives): (u64, u64)) -> Result<()> {
    let store = Store::open(child_options(path), clock()).await?;
    let (a, b) = (store.log(b"a").await?, store.log(b"b").await?);
    let end = a.bounds().end_offset;
    ensure!(end >= durable_end, "{end} of {durable_end}");
    ensure!(b.bounds().end_offset == end, "what is one commit is whole");
    let start = b.bounds().start_offset;
    ensure!(start + 1_000 + 5 >= end || end <= 1_005, "{start} of {end}");
    for (log, name, from) in [(&a, "a", 0), (&b, "b", start)] {
        let found = read_all(log, 0, 50_000).await?;
        ensure!(found.len() as u64 == end - from, "{name}: {}", found.len());
        for (offset, found) in (from..).zip(&found) {
            let expected = entry(name, offset, 700).payload;
            ensure!(
                found.first_offset == offset && found.payload == expected,
                "{name} at {offset} is {}",
                found.first_offset
            );
        }
    }
    let last = format!("gone {}", lives + 1);
    for key in store.keys(b"gone").await? {
        ensure!(key == last, "{key:?} is back; {lives} were removed");
        let mut write_set = WriteSet::new();
        write_set.remove(&store.log(&key).await?);
        commit(&store, write_set).await?;
    }
    merged_to(&store, 6).await?;
    let live = (end + (end - start)) * 700;
    // No file stays behind, and no segment that nobody knows.
    wait::until(|| {
        let bytes = table_bytes(Path::new(path))?;
        Ok(if bytes <= live * 13 / 10 + 500_000 {
            Ok(())
        } else {
            Err((bytes, live))
        })
    })
    .await
    .context("space")?;
    drop((a, b));
    store.close().await?;
    drop(store);
    stored::check(Path::new(path)).await
}

fn table_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(directory.join("db/compacted"))? {
        // It may go while it is counted.
        bytes += file?.metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}
