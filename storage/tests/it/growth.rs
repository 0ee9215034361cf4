//! A store whose logs are trimmed does not grow: segments are dropped, rows compacted, and files that
//! nothing needs removed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trestle_storage::{Options, Store, WriteSet};

use crate::support::{append, clock, commit, entry, in_directory, read_all};
use crate::wait;

/// What lies in the directory of a store.
#[derive(Debug, Default)]
struct Files {
    wal: u64,
    tables: u64,
    manifests: u64,
    manifest_bytes: u64,
    bytes: u64,
}

fn count(directory: &Path) -> Result<Files> {
    let mut files = Files::default();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            // Files may go while they are counted.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                left.push(path);
                continue;
            }
            files.bytes += metadata.len();
            let text = path.to_string_lossy();
            if text.contains("/wal-files/") {
                files.wal += 1;
            } else if text.contains("/compacted/") {
                files.tables += 1;
            } else if text.contains("/manifest/") {
                files.manifests += 1;
                files.manifest_bytes = files.manifest_bytes.max(metadata.len());
            }
        }
    }
    Ok(files)
}

fn options(directory: &tempfile::TempDir) -> Options {
    let mut options = in_directory(directory);
    options.segment_bytes = 400_000;
    options.memtable_bytes = 60_000;
    options.index_interval_bytes = 5_000;
    options.wal_file_bytes = 50_000;
    options.upkeep_interval = Duration::from_millis(20);
    options.reclaim_delay = Duration::from_millis(100);
    options
}

/// Waits until the files are as `wanted`.
async fn settled(directory: &Path, wanted: impl Fn(&Files) -> bool) -> Result<Files> {
    wait::until(|| {
        let files = count(directory)?;
        Ok(if wanted(&files) {
            Ok(files)
        } else {
            Err(files)
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_stay_few_while_logs_are_trimmed() -> Result<()> {
    const LOGS: usize = 5;
    let directory = tempfile::tempdir()?;
    let store = Store::open(options(&directory), clock()).await?;
    let mut logs = Vec::new();
    for at in 0..LOGS {
        logs.push(store.log(format!("log {at}").as_bytes()).await?);
    }
    // 20 segments, more than 130 memtables.
    let mut appended = 0;
    for offset in 0..800 {
        for (at, log) in logs.iter().enumerate() {
            append(&store, log, entry(&at.to_string(), offset, 2_000)).await?;
            appended += 2_000;
        }
        if offset % 40 == 39 {
            let mut write_set = WriteSet::new();
            for log in &logs {
                write_set.trim(log, offset.saturating_sub(50));
            }
            write_set.put_row("progress", offset.to_string());
            commit(&store, write_set).await?;
        }
    }
    ensure!(appended > 7_000_000, "enough to see a difference");
    let few = |files: &Files| {
        files.wal <= 6
            && files.tables <= 60
            && files.manifests <= 40
            && files.manifest_bytes <= 20_000
            && files.bytes <= 2_500_000
    };
    settled(directory.path(), few)
        .await
        .context("after trimming")?;
    for (at, log) in logs.iter().enumerate() {
        let left = read_all(log, 0, 100_000).await?;
        ensure!(
            left.first().is_some_and(|first| first.first_offset == 749),
            "from its start"
        );
        ensure!(left.len() == 51, "{} left in log {at}", left.len());
        ensure!(
            left.iter()
                .all(|e| e.payload == entry(&at.to_string(), e.first_offset, 2_000).payload)
        );
    }

    // Idle logs that were trimmed to their end hold nothing back, and know where they end.
    let mut write_set = WriteSet::new();
    for log in &logs[1..] {
        write_set.trim(log, 800);
    }
    write_set.remove(&logs[0]);
    commit(&store, write_set).await?;
    let other = store.log(b"other").await?;
    for offset in 0..400 {
        append(&store, &other, entry("other", offset, 2_000)).await?;
        if offset % 100 == 99 {
            let mut write_set = WriteSet::new();
            write_set.trim(&other, offset);
            commit(&store, write_set).await?;
        }
    }
    let almost_nothing = |files: &Files| files.bytes <= 1_200_000 && files.tables <= 40;
    settled(directory.path(), almost_nothing)
        .await
        .context("after trimming everything")?;
    drop((logs, other));
    store.close().await?;
    drop(store);

    let store = Store::open(options(&directory), clock()).await?;
    assert_eq!(store.keys(b"").await?, ["other"]);
    let bounds = store.log(b"log 3").await?.bounds();
    assert_eq!((bounds.start_offset, bounds.end_offset), (800, 800));
    assert_eq!(
        (bounds.appended_bytes, bounds.max_timestamp),
        (1_600_000, 799)
    );
    store.close().await?;
    Ok(())
}
