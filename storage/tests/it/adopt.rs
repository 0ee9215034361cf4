//! A store of OpenData Log, written here with the engine alone, is taken over where it lies.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::{Db, WriteBatch};
use trestle_storage::{
    Config, EntryFormat, LogDb, LogDbReader, LogRead, Record, RetentionConfig, SegmentConfig,
    StorageConfig,
};

use crate::stored::BySegment;

const HOUR_MS: i64 = 3_600_000;

fn key(segment: u32, tag: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = vec![3, 1];
    key.extend(segment.to_be_bytes());
    key.push(tag);
    key.extend(rest);
    key
}

/// A number below 2^12 in their order-preserving form.
fn var_u64(number: u64) -> Vec<u8> {
    match number {
        0..16 => vec![number as u8],
        _ => vec![0x10 | (number >> 8) as u8, number as u8],
    }
}

/// What their writer would have left: `segments` by first sequence and time, `entries` by sequence.
struct Theirs<'a> {
    segments: &'a [(u64, i64)],
    entries: &'a [(u64, &'a [u8], &'a str)],
    next_sequence: u64,
}

impl Theirs<'_> {
    fn segment_of(&self, sequence: u64) -> (u32, u64) {
        let at = self
            .segments
            .iter()
            .rposition(|(start, _)| *start <= sequence);
        let at = at.expect("a segment");
        (at as u32 + 1, self.segments[at].0)
    }

    /// The last `unflushed` entries stay in the write-ahead log of the engine.
    async fn write(&self, directory: &Path, path: &str, unflushed: usize) -> Result<()> {
        std::fs::create_dir_all(directory)?;
        let store = Arc::new(LocalFileSystem::new_with_prefix(directory)?);
        let db = Db::builder(path, store)
            .with_segment_extractor(Arc::new(BySegment))
            .build()
            .await?;
        let mut batch = WriteBatch::new();
        for (at, (start, time)) in self.segments.iter().enumerate() {
            let id = at as u32 + 1;
            let mut value = start.to_be_bytes().to_vec();
            value.extend(time.to_be_bytes());
            batch.put(key(0, 0x30, &id.to_be_bytes()), value);
        }
        let mut block = 0u64.to_be_bytes().to_vec();
        block.extend(self.next_sequence.to_be_bytes());
        batch.put(key(0, 0x20, &[]), block);
        db.write(batch).await?;
        let flushed = self.entries.len() - unflushed;
        for (at, (sequence, log, value)) in self.entries.iter().enumerate() {
            if at == flushed {
                db.flush_with_options(slatedb::config::FlushOptions {
                    flush_type: slatedb::config::FlushType::MemTable,
                })
                .await?;
            }
            let (segment, start) = self.segment_of(*sequence);
            let mut entry: Vec<u8> = Vec::new();
            for byte in *log {
                match byte {
                    0 => entry.extend([1, 1]),
                    1 => entry.extend([1, 2]),
                    byte => entry.push(*byte),
                }
            }
            entry.push(0);
            entry.extend(var_u64(sequence - start));
            let mut batch = WriteBatch::new();
            batch.put(key(segment, 0x10, &entry), value);
            batch.put(key(segment, 0x40, log), b"");
            db.write(batch).await?;
        }
        db.flush().await?;
        if unflushed == 0 {
            db.close().await?;
        }
        // Else as in a crash: the log of the engine is all that there is.
        Ok(())
    }
}

fn config(directory: &Path) -> Config {
    Config {
        storage: StorageConfig::Local(directory.to_owned()),
        no_fsync: true,
        ..Config::default()
    }
}

async fn entries(log: &impl LogRead, key: &'static [u8]) -> Result<Vec<(u64, String)>> {
    let mut scan = log.scan(Bytes::from_static(key), ..).await?;
    let mut found = Vec::new();
    while let Some(entry) = scan.next().await? {
        assert_eq!((entry.records, entry.format), (1, EntryFormat::Raw));
        found.push((entry.sequence, String::from_utf8(entry.value.to_vec())?));
    }
    Ok(found)
}

fn now_ms() -> i64 {
    crate::support::clock().now().timestamp_millis()
}

async fn check(directory: &Path) -> Result<()> {
    // A reader does not take over; it says what to do.
    let refused = LogDbReader::open(config(directory)).await;
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("OpenData Log"), "{refused}");

    let owned = |found: &[(u64, &str)]| -> Vec<(u64, String)> {
        found
            .iter()
            .map(|(at, value)| (*at, (*value).to_owned()))
            .collect()
    };
    for round in 0..2 {
        let log = LogDb::open(config(directory)).await?;
        let mut keys = log.list_keys(..).await?;
        let mut listed = Vec::new();
        while let Some(key) = keys.next().await? {
            listed.push(key.key);
        }
        assert_eq!(listed, [&b"a\0b"[..], b"orders", b"users"]);
        assert_eq!(
            entries(&log, b"users").await?,
            owned(&[(1, "u1"), (25, "u2")])
        );
        assert_eq!(entries(&log, b"a\0b").await?, owned(&[(2, "nul")]));
        let mut orders = owned(&[(0, "o1"), (20, "o2"), (26, "o3")]);
        if round == 1 {
            let next = 4096;
            orders.push((next, "ours".into()));
        }
        assert_eq!(entries(&log, b"orders").await?, orders);
        let orders_key = Bytes::from("orders");
        assert_eq!(log.count(orders_key.clone(), ..).await?, 3 + round);
        assert_eq!(log.count(orders_key.clone(), 1..26).await?, 1);
        let by_segment = log.inspect(orders_key.clone(), ..).await?;
        assert_eq!(by_segment.total, 3 + round);
        let segments = log.list_segments(..).await?;
        let ids: Vec<u32> = segments.iter().map(|segment| segment.id).collect();
        assert!(ids.starts_with(&[1, 2]), "{ids:?}");
        if round == 0 {
            let record = Record {
                key: orders_key,
                value: Bytes::from("ours"),
            };
            let appended = log.append(vec![record]).await?;
            assert_eq!(
                appended.start_sequence, 4096,
                "above all that they gave out"
            );
        }
        // A reader has something to read now.
        let reader = LogDbReader::open(config(directory)).await?;
        assert_eq!(entries(&reader, b"users").await?.len(), 2);
        reader.close().await?;
        log.close().await?;
    }
    Ok(())
}

const ENTRIES: &[(u64, &[u8], &str)] = &[
    (0, b"orders", "o1"),
    (1, b"users", "u1"),
    (2, b"a\0b", "nul"),
    (20, b"orders", "o2"),
    (25, b"users", "u2"),
    (26, b"orders", "o3"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_opendata_is_taken_over_in_place() -> Result<()> {
    let now = now_ms();
    let theirs = Theirs {
        segments: &[(0, now - 3 * HOUR_MS), (20, now - HOUR_MS)],
        entries: ENTRIES,
        next_sequence: 4096,
    };
    let directory = tempfile::tempdir()?;
    // Closed, killed, and with the path of the database given by itself.
    theirs
        .write(&directory.path().join("closed"), "data", 0)
        .await?;
    check(&directory.path().join("closed")).await?;
    theirs
        .write(&directory.path().join("killed"), "data", 3)
        .await?;
    check(&directory.path().join("killed")).await?;
    theirs
        .write(&directory.path().join("elsewhere"), "mine", 2)
        .await?;
    check(&directory.path().join("elsewhere/mine")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_a_time_are_as_old_as_their_segment_s_end() -> Result<()> {
    let now = now_ms();
    let theirs = Theirs {
        segments: &[(0, now - 5 * HOUR_MS), (20, now - 3 * HOUR_MS)],
        entries: ENTRIES,
        next_sequence: 4096,
    };
    let directory = tempfile::tempdir()?;
    theirs.write(directory.path(), "data", 0).await?;
    let log = LogDb::open(Config {
        retention: RetentionConfig {
            retention: Some(std::time::Duration::from_secs(2 * 3600)),
            check_interval: std::time::Duration::from_millis(10),
            ..RetentionConfig::default()
        },
        segmentation: SegmentConfig {
            seal_interval: Some(std::time::Duration::from_secs(3600)),
            seal_byte_limit: None,
        },
        ..config(directory.path())
    })
    .await?;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while entries(&log, b"orders")
        .await?
        .first()
        .is_none_or(|(first, _)| *first != 20)
    {
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "still there");
        tokio::task::yield_now().await;
    }
    assert_eq!(entries(&log, b"orders").await?.len(), 2);
    assert_eq!(entries(&log, b"a\0b").await?, []);
    log.close().await?;
    Ok(())
}
