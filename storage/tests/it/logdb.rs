//! The log database as its own users see it.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use proptest::prelude::*;
use slatedb_common::metrics::{DefaultMetricsRecorder, MetricValue};
use trestle_storage::{
    AppendError, Config, KeyOptions, KeyRetention, LogDb, LogDbBuilder, LogDbReader, LogEntry,
    LogIterator, LogKeyIterator, LogRead, LogView, Metrics, ReadVisibility, ReaderConfig, Record,
    ScanOptions, StorageConfig, Store,
};

use crate::support::{append, clock, entry, in_memory};
use crate::wait::until;

fn in_ram() -> Config {
    Config {
        storage: StorageConfig::InMemory,
        ..Config::default()
    }
}

fn at(directory: &tempfile::TempDir) -> Config {
    Config {
        storage: StorageConfig::Local(directory.path().join("store")),
        no_fsync: true,
        ..Config::default()
    }
}

/// A segment for each append, but for those within the same millisecond.
fn short_segments(mut config: Config) -> Config {
    config.segmentation.seal_byte_limit = Some(1);
    config
}

fn record(key: &str, value: &str) -> Record {
    Record {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

async fn all(mut iter: LogIterator) -> Result<Vec<LogEntry>> {
    let mut entries = Vec::new();
    while let Some(entry) = iter.next().await? {
        entries.push(entry);
    }
    Ok(entries)
}

async fn sequences(iter: LogIterator) -> Result<Vec<u64>> {
    Ok(all(iter)
        .await?
        .iter()
        .map(|entry| entry.sequence)
        .collect())
}

async fn keys(mut iter: LogKeyIterator) -> Result<Vec<Bytes>> {
    let mut keys = Vec::new();
    while let Some(key) = iter.next().await? {
        keys.push(key.key);
    }
    Ok(keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_by_sequence() -> Result<()> {
    let log = LogDb::open(in_ram()).await?;
    assert_eq!(log.durable_sequence(), 0);
    assert!(log.list_segments(..).await?.is_empty());
    assert!(keys(log.list_keys(..).await?).await?.is_empty());
    assert_eq!(log.try_append(Vec::new()).await?.start_sequence, 0);

    let first = log.try_append(vec![record("a", "0"), record("b", "1"), record("a", "2")]);
    assert_eq!(first.await?.start_sequence, 0);
    let second = log.append((3..6).map(|n| record("a", &n.to_string())).collect());
    assert_eq!(second.await?.start_sequence, 3);
    assert_eq!(log.durable_sequence(), 6);

    let a = || Bytes::from("a");
    assert_eq!(sequences(log.scan(a(), ..).await?).await?, [0, 2, 3, 4, 5]);
    assert_eq!(sequences(log.scan(a(), 1..4).await?).await?, [2, 3]);
    assert_eq!(sequences(log.scan(a(), 3..=4).await?).await?, [3, 4]);
    assert!(
        sequences(
            log.scan(a(), (Bound::Included(4), Bound::Excluded(2)))
                .await?
        )
        .await?
        .is_empty()
    );
    for (n, found) in all(log.scan(a(), ..).await?).await?.iter().enumerate() {
        assert_eq!(found.offset, n as u64);
        assert_eq!(found.value, found.sequence.to_string());
    }
    assert_eq!(log.count(a(), ..).await?, 5);
    assert_eq!(log.count(a(), 2..4).await?, 2);
    assert_eq!(log.count(Bytes::from("none"), ..).await?, 0);
    assert_eq!(keys(log.list_keys(..).await?).await?, ["a", "b"]);
    let segments = log.list_segments(..).await?;
    assert_eq!(
        (segments.len(), segments[0].id, segments[0].start_seq),
        (1, 1, 0)
    );
    assert!(log.list_segments(..0).await?.is_empty());
    assert!(keys(log.list_keys(10..20).await?).await?.is_empty());

    let one = ScanOptions {
        limit: Some(1),
        ..ScanOptions::default()
    };
    let mut page = log.scan_with_options(a(), .., one).await?;
    assert!(page.next().await?.is_some() && page.next().await?.is_none());
    assert_eq!(page.next_sequence(), 1);
    let none = ScanOptions {
        limit: Some(0),
        ..ScanOptions::default()
    };
    assert!(
        log.scan_with_options(a(), .., none)
            .await?
            .next()
            .await?
            .is_none()
    );
    let bytes = ScanOptions {
        max_bytes: Some(2),
        ..ScanOptions::default()
    };
    assert_eq!(
        sequences(log.scan_with_options(a(), .., bytes).await?).await?,
        [0, 2]
    );
    log.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_not_appended_comes_back() -> Result<()> {
    let log = LogDbBuilder::new(in_ram())
        .with_options(|options| options.in_flight_bytes = 1)
        .build()
        .await?;
    let batch = vec![record("a", "x"), record("", "y")];
    let refused = log.try_append(batch.clone()).await.unwrap_err();
    assert!(matches!(refused, AppendError::Invalid { .. }), "{refused}");
    assert_eq!(refused.into_inner(), Some(batch.clone()));
    assert_eq!(log.count(Bytes::from("a"), ..).await?, 0);
    log.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_an_idle_key_resumes_at_the_frontier() -> Result<()> {
    let log = LogDb::open(in_ram()).await?;
    log.append(vec![record("a", "0"), record("a", "1")]).await?;
    let mut idle = log.scan(Bytes::from("idle"), ..).await?;
    assert!(idle.next().await?.is_none());
    assert_eq!(idle.next_sequence(), 2);
    let mut ranged = log.scan(Bytes::from("idle"), ..1).await?;
    assert!(ranged.next().await?.is_none());
    assert_eq!(ranged.next_sequence(), 1);
    // Beyond what there is, a cursor stays where it is.
    let mut beyond = log.scan(Bytes::from("a"), 7..).await?;
    assert!(beyond.next().await?.is_none());
    assert_eq!(beyond.next_sequence(), 7);
    log.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_is_woken_and_resumes_without_loss() -> Result<()> {
    let log = LogDb::open(in_ram()).await?;
    log.append(vec![record("a", "0")]).await?;
    let mut tail = log.tail(Bytes::from("a"), 0).await?;
    assert_eq!(tail.next().await?.map(|entry| entry.sequence), Some(0));
    // Other keys take sequences meanwhile.
    log.append(vec![record("b", "1"), record("b", "2")]).await?;
    assert_eq!(tail.next_sequence(), 3);
    let waiting = tokio::spawn(async move {
        let entry = tail.next().await;
        (entry, tail)
    });
    log.append(vec![record("a", "3")]).await?;
    let (found, mut tail) = waiting.await?;
    assert_eq!(found?.map(|entry| entry.value), Some(Bytes::from("3")));
    assert_eq!(tail.next_sequence(), 4);
    log.close().await?;
    assert!(tail.next().await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_follow_each_other() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = LogDb::open(short_segments(at(&directory))).await?;
    for n in 0..4 {
        let key = if n % 2 == 0 { "even" } else { "odd" };
        log.append(vec![record(key, &n.to_string()), record("each", "x")])
            .await?;
    }
    let segments = log.list_segments(..).await?;
    assert_eq!(segments.len(), 4);
    assert!(
        segments
            .windows(2)
            .all(|pair| pair[0].id < pair[1].id && pair[0].start_seq < pair[1].start_seq)
    );
    let only_first = log.list_segments(0..1).await?;
    assert_eq!(only_first, segments[..1]);
    let id = |n: usize| segments[n].id;
    assert_eq!(
        keys(log.list_keys(id(0)..id(1)).await?).await?,
        ["each", "even"]
    );
    assert_eq!(
        keys(log.list_keys(id(1)..=id(1)).await?).await?,
        ["each", "odd"]
    );
    assert_eq!(
        keys(log.list_keys(..).await?).await?,
        ["each", "even", "odd"]
    );

    let inspection = log.inspect(Bytes::from("each"), ..).await?;
    assert_eq!(inspection.total, 4);
    assert_eq!(inspection.segments.len(), 4);
    assert_eq!(log.inspect(Bytes::from("each"), 2..6).await?.total, 2);
    assert_eq!(log.count(Bytes::from("each"), 2..6).await?, 2);
    log.close().await?;

    let log = LogDb::open(at(&directory)).await?;
    assert_eq!(
        sequences(log.scan(Bytes::from("each"), ..).await?).await?,
        [1, 3, 5, 7]
    );
    let tree = log.tree();
    assert_eq!(tree.extractor, "opendata-log/v1");
    assert!(
        tree.segments
            .iter()
            .any(|segment| segment.segment_id == 1 && segment.l0_bytes > 0)
    );
    log.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_merged_and_listed_by_page() -> Result<()> {
    let log = LogDb::open(short_segments(in_ram())).await?;
    for n in 0..30 {
        let key = format!("k{:02}", n * 7 % 15);
        log.append(vec![record(&key, &n.to_string()), record("other", "x")])
            .await?;
    }
    let merged = log
        .scan_prefix(Bytes::from("k"), .., ScanOptions::default())
        .await?;
    let expected: Vec<u64> = (0..30).map(|n| 2 * n).collect();
    assert_eq!(sequences(merged).await?, expected);
    let between = Bytes::from("k03")..Bytes::from("k05");
    let some = all(log.scan_keys(between, 10.., ScanOptions::default()).await?).await?;
    assert!(
        some.iter()
            .all(|entry| entry.key == "k03" || entry.key == "k04")
    );
    assert!(
        some.windows(2)
            .all(|pair| pair[0].sequence < pair[1].sequence)
    );

    let mut paged = Vec::new();
    let mut from = Bound::Unbounded;
    loop {
        let options = KeyOptions {
            prefix: Bytes::from("k"),
            from,
            limit: Some(4),
            ..KeyOptions::default()
        };
        let page = keys(log.list_keys_with_options(.., options).await?).await?;
        let Some(last) = page.last() else { break };
        from = Bound::Excluded(last.clone());
        paged.extend(page);
    }
    let expected: Vec<Bytes> = (0..15).map(|n| Bytes::from(format!("k{n:02}"))).collect();
    assert_eq!(paged, expected);
    log.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_in_between_sees_what_is_durable() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = LogDb::open(at(&directory)).await?;
    log.append(vec![record("a", "0")]).await?;
    let config = ReaderConfig {
        storage: at(&directory).storage,
        refresh_interval: Duration::from_millis(20),
    };
    let reader = LogDbReader::open(config).await?;
    assert_eq!(
        sequences(reader.scan(Bytes::from("a"), ..).await?).await?,
        [0]
    );
    let mut tail = reader.tail(Bytes::from("a"), 1).await?;
    log.append(vec![record("b", "1"), record("a", "2")]).await?;
    assert_eq!(tail.next().await?.map(|entry| entry.sequence), Some(2));
    assert_eq!(keys(reader.list_keys(..).await?).await?, ["a", "b"]);
    assert_eq!(reader.count(Bytes::from("a"), ..).await?, 2);
    // The frontier of a key without entries moves without a new segment.
    until(|| {
        let frontier = reader.durable_sequence();
        Ok(if frontier > 0 { Ok(()) } else { Err(frontier) })
    })
    .await?;
    log.close().await?;
    assert_eq!(
        sequences(reader.scan(Bytes::from("a"), ..).await?).await?,
        [0, 2]
    );
    reader.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_shows_what_was_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = LogDb::open(short_segments(at(&directory))).await?;
    log.append(vec![record("a", "0"), record("b", "1")]).await?;
    let made = log.create_checkpoint(Some("before".into()), None).await?;
    assert_eq!(made.name.as_deref(), Some("before"));
    assert!(log.list_checkpoints().await?.contains(&made));
    log.append(vec![record("a", "2"), record("late", "3")])
        .await?;
    // What it shows goes from the log itself.
    let store = log.store();
    let mut trim = trestle_storage::WriteSet::new();
    trim.trim(&store.log(b"a").await?, 2);
    crate::support::commit(store, trim).await?;
    assert_eq!(log.count(Bytes::from("a"), ..).await?, 0);

    let reader = LogDbReader::open_at(at(&directory), made.id).await?;
    assert_eq!(
        sequences(reader.scan(Bytes::from("a"), ..).await?).await?,
        [0]
    );
    assert_eq!(keys(reader.list_keys(..).await?).await?, ["a", "b"]);
    reader.close().await?;

    log.delete_checkpoint(made.id).await?;
    assert!(!log.list_checkpoints().await?.contains(&made));
    assert!(log.delete_checkpoint(made.id).await.is_err());
    assert!(LogDbReader::open_at(at(&directory), made.id).await.is_err());
    log.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_or_too_much_goes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut config = short_segments(at(&directory));
    config.retention.check_interval = Duration::from_millis(10);
    config.retention.keys = vec![
        KeyRetention {
            pattern: Bytes::from("short*"),
            retention: Some(Duration::from_millis(1)),
            retention_bytes: None,
        },
        KeyRetention {
            pattern: Bytes::from("small"),
            retention: None,
            retention_bytes: Some(25),
        },
    ];
    let log = LogDb::open(config).await?;
    for n in 0..5 {
        let value = format!("{n:010}");
        let batch = ["short-lived", "small", "kept"].map(|key| record(key, &value));
        log.append(batch.to_vec()).await?;
    }
    let view = LogView::new(log.store().clone(), ReadVisibility::Remote);
    let counts = async || -> Result<[u64; 3]> {
        let mut counts = [0; 3];
        for (count, key) in counts.iter_mut().zip(["short-lived", "small", "kept"]) {
            *count = Viewed(&view).count(Bytes::from(key), ..).await?;
        }
        Ok(counts)
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    // 30 bytes are the least whole segments that hold 25.
    while counts().await? != [0, 3, 5] {
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            counts().await?
        );
        tokio::task::yield_now().await;
    }
    log.close().await?;
    Ok(())
}

struct Viewed<'a>(&'a LogView);

impl LogRead for Viewed<'_> {
    fn view(&self) -> &LogView {
        self.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_records_together_keep_to_a_size() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut config = short_segments(at(&directory));
    config.retention.check_interval = Duration::from_millis(10);
    config.retention.retention_bytes = Some(1);
    let log = LogDb::open(config).await?;
    for n in 0..5 {
        log.append(vec![record("a", &n.to_string())]).await?;
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while log.count(Bytes::from("a"), ..).await? > 2 {
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "nothing was removed"
        );
        tokio::task::yield_now().await;
    }
    assert!(log.count(Bytes::from("a"), ..).await? > 0);
    log.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_another_user_are_returned_as_they_are() -> Result<()> {
    let store = Store::open(in_memory(), clock()).await?;
    let log = store.log(b"a").await?;
    let batch = trestle_storage::NewEntry {
        count: 10,
        ..entry("a", 5, 50)
    };
    append(&store, &log, batch.clone()).await?;
    append(&store, &log, entry("a", 20, 50)).await?;
    let view = LogView::new(store.clone(), ReadVisibility::Memory);
    let found = all(Viewed(&view).scan(Bytes::from("a"), 3..).await?).await?;
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].sequence, found[0].records, found[0].offset),
        (0, 10, 5)
    );
    assert_eq!(found[0].value, batch.payload);
    // Offsets have a gap: records are counted all the same.
    assert_eq!(Viewed(&view).count(Bytes::from("a"), ..).await?, 11);
    assert_eq!(Viewed(&view).count(Bytes::from("a"), 4..).await?, 7);
    store.close().await?;
    Ok(())
}

/// On one thread, so that all appends wait before the store looks at the first.
#[tokio::test]
async fn waiting_appends_share_commits() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let counted = Arc::new(DefaultMetricsRecorder::new());
    let log = LogDbBuilder::new(at(&directory))
        .with_metrics(Metrics::new(counted.clone()))
        .build()
        .await?;
    let commits = || -> u64 {
        let metrics = counted.snapshot();
        let found = metrics.by_name("trestle.storage.commits");
        let counts = found.iter().map(|metric| match &metric.value {
            MetricValue::Counter(count) => *count,
            _ => 0,
        });
        counts.sum()
    };
    for round in 0..5 {
        let before = commits();
        let appends = (0..64).map(|writer| {
            let log = log.clone();
            async move {
                let record = record(&format!("w{writer}"), "x");
                log.append(vec![record]).await
            }
        });
        let appended = futures::future::join_all(appends).await;
        assert!(appended.iter().all(|append| append.is_ok()));
        let writes = commits() - before;
        // The first round opens the logs one by one.
        assert!(round == 0 || (1..=3).contains(&writes), "{writes} writes");
    }
    for writer in 0..64 {
        assert_eq!(log.count(Bytes::from(format!("w{writer}")), ..).await?, 5);
    }
    log.close().await?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Scans by key and by prefix, and counts, against a plain list.
    #[test]
    fn scans_find_exactly_what_was_appended(
        batches in proptest::collection::vec(proptest::collection::vec((0u8..4, 0usize..3000), 1..8), 1..12),
        start in 0u64..60,
        len in 0u64..60,
        reopen: bool,
    ) {
        let runtime = tokio::runtime::Runtime::new()?;
        let checked: Result<()> = runtime.block_on(async {
            let directory = tempfile::tempdir()?;
            let mut config = at(&directory);
            config.segmentation.seal_byte_limit = Some(4000);
            let mut log = LogDb::open(config.clone()).await?;
            let mut expected: Vec<(String, u64, usize)> = Vec::new();
            for batch in &batches {
                let records = batch.iter().map(|(key, len)| record(&format!("k{key}"), &"v".repeat(*len)));
                let start = log.append(records.collect()).await?.start_sequence;
                for (sequence, (key, len)) in (start..).zip(batch) {
                    expected.push((format!("k{key}"), sequence, *len));
                }
            }
            if reopen {
                log.close().await?;
                log = LogDb::open(config).await?;
            }
            let range = start..start + len;
            let wanted = |key: Option<&str>| -> Vec<(u64, usize)> {
                let inside = expected.iter().filter(|(name, sequence, _)| {
                    range.contains(sequence) && key.is_none_or(|key| key == name)
                });
                inside.map(|(_, sequence, len)| (*sequence, *len)).collect()
            };
            let found = |entries: Vec<LogEntry>| -> Vec<(u64, usize)> {
                entries.iter().map(|entry| (entry.sequence, entry.value.len())).collect()
            };
            for key in ["k0", "k1", "k2", "k3"] {
                let bytes = || Bytes::copy_from_slice(key.as_bytes());
                let scanned = all(log.scan(bytes(), range.clone()).await?).await?;
                anyhow::ensure!(found(scanned) == wanted(Some(key)), "scan of {key}");
                let count = log.count(bytes(), range.clone()).await?;
                anyhow::ensure!(count == wanted(Some(key)).len() as u64, "count of {key}");
            }
            let merged = log.scan_prefix(Bytes::from("k"), range.clone(), ScanOptions::default()).await?;
            anyhow::ensure!(found(all(merged).await?) == wanted(None), "prefix scan");
            log.close().await?;
            Ok(())
        });
        prop_assert!(checked.is_ok(), "{checked:?}");
    }
}

async fn values(log: &impl LogRead, key: &'static str) -> Result<Vec<Bytes>> {
    let entries = all(log.scan(Bytes::from(key), ..).await?).await?;
    Ok(entries.into_iter().map(|entry| entry.value).collect())
}

/// Bytes of the tables below a directory; links are not followed.
fn table_bytes(directory: &std::path::Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += table_bytes(&entry.path())?;
        } else if entry.path().extension().is_some_and(|ext| ext == "sst") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_begins_with_what_its_parent_holds_and_goes_its_own_way() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    let url = |name: &str| trestle_storage::DataUrl::File(place(name));
    let config = |name: &str| Config {
        storage: StorageConfig::Local(place(name)),
        no_fsync: true,
        ..Config::default()
    };
    let parent = LogDb::open(short_segments(config("parent"))).await?;
    parent
        .append(vec![record("a", "0"), record("b", "1")])
        .await?;
    let before = parent.create_checkpoint(None, None).await?;
    // Only in the write-ahead log.
    parent.append(vec![record("a", "2")]).await?;

    parent.clone_to(&url("clone"), None).await?;
    parent.clone_to(&url("early"), Some(before.id)).await?;
    assert_eq!(table_bytes(&place("clone"))?, 0, "no data are copied");
    parent.append(vec![record("a", "parent's")]).await?;

    let clone = LogDb::open(config("clone")).await?;
    assert_eq!(values(&clone, "a").await?, ["0", "2"]);
    assert_eq!(values(&clone, "b").await?, ["1"]);
    let next = clone
        .append(vec![record("a", "clone's"), record("c", "new")])
        .await?;
    assert!(next.start_sequence >= 3);
    assert_eq!(values(&clone, "a").await?, ["0", "2", "clone's"]);
    assert_eq!(clone.count(Bytes::from("a"), ..).await?, 3);
    assert_eq!(values(&parent, "a").await?, ["0", "2", "parent's"]);
    assert_eq!(values(&parent, "c").await?, Vec::<Bytes>::new());
    let early = LogDb::open(config("early")).await?;
    assert_eq!(values(&early, "a").await?, ["0"]);
    early.close().await?;

    // A clone of the clone shares files with both.
    clone.clone_to(&url("grandchild"), None).await?;
    let grandchild = LogDb::open(config("grandchild")).await?;
    assert_eq!(values(&grandchild, "a").await?, ["0", "2", "clone's"]);
    grandchild.close().await?;

    // What the parent removes stays for the clone.
    let mut trim = trestle_storage::WriteSet::new();
    trim.trim(&parent.store().log(b"a").await?, 4);
    crate::support::commit(parent.store(), trim).await?;
    parent.close().await?;
    clone.close().await?;
    let clone = LogDb::open(config("clone")).await?;
    assert_eq!(values(&clone, "a").await?, ["0", "2", "clone's"]);

    for (target, why) in [
        (url("parent"), "is not empty"),
        (trestle_storage::DataUrl::Memory, "cannot share files"),
        ("s3://bucket/x".parse()?, "cannot share files"),
    ] {
        let refused = clone.clone_to(&target, None).await;
        let refused = refused.expect_err("refused").to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let none = clone
        .clone_to(&url("none"), Some(trestle_storage::Uuid::nil()))
        .await;
    assert!(
        none.expect_err("refused")
            .to_string()
            .contains("no checkpoint")
    );
    clone.close().await?;

    let memory = LogDb::open(in_ram()).await?;
    let refused = memory
        .clone_to(&url("none"), None)
        .await
        .expect_err("refused");
    assert!(refused.to_string().contains("in memory"), "{refused}");
    assert!(!place("none").exists());
    Ok(())
}
