//! The examples of the documents that this crate was made from, word for word but for their `use`
//! lines. (`Bytes::from(b"...")` there is `Bytes::from(&b"..."[..])` here: `Bytes` has never been made
//! from an array.)

use std::process::Command;

use anyhow::{Result, ensure};
use bytes::Bytes;

/// Set in the process that runs the examples which use the current directory.
const CHILD: &str = "TRESTLE_TEST_SEEDS";

/// The crate's page of documentation.
#[tokio::test(flavor = "multi_thread")]
async fn crate_docs() -> Result<()> {
    use trestle_storage::{Config, LogDb, LogRead, Record, StorageConfig};
    let mut seen = Vec::new();

    let config = Config {
        storage: StorageConfig::InMemory,
        ..Default::default()
    };
    let log = LogDb::open(config).await?;

    // Append records
    let records = vec![Record {
        key: Bytes::from("orders"),
        value: Bytes::from("order-123"),
    }];
    log.try_append(records).await?;
    log.flush().await?;

    // Scan a key's log
    let mut iter = log.scan(Bytes::from("orders"), ..).await?;
    while let Some(entry) = iter.next().await? {
        println!("seq={}, value={:?}", entry.sequence, entry.value);
        seen.push((entry.sequence, entry.value));
    }

    ensure!(seen == [(0, Bytes::from("order-123"))]);
    Ok(())
}

/// The source of its data types.
#[tokio::test(flavor = "multi_thread")]
async fn model() -> Result<()> {
    use bytes::Bytes;
    use trestle_storage::Record;

    let record = Record {
        key: Bytes::from("orders"),
        value: Bytes::from(r#"{"id": "123", "amount": 99.99}"#),
    };

    use trestle_storage::{Config, LogDb, LogRead, StorageConfig};
    let config = Config {
        storage: StorageConfig::InMemory,
        ..Default::default()
    };
    let log = LogDb::open(config).await?;
    let (records, key) = (vec![record.clone()], record.key.clone());

    let result = log.try_append(records).await?;
    println!("Appended starting at sequence {}", result.start_sequence);

    // List all segments
    let segments = log.list_segments(..).await?;
    for segment in segments {
        println!(
            "segment {}: start_seq={}, created at {}",
            segment.id, segment.start_seq, segment.start_time_ms
        );
    }

    let mut iter = log.scan(key, ..).await?;
    while let Some(entry) = iter.next().await? {
        println!(
            "key={:?}, seq={}, value={:?}",
            entry.key, entry.sequence, entry.value
        );
    }
    Ok(())
}

#[test]
fn readmes() -> Result<()> {
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(readme_first())?;
        return runtime.block_on(readme_0_2_2());
    }
    // The defaults keep their data in the current directory.
    let directory = tempfile::tempdir()?;
    let status = Command::new(std::env::current_exe()?)
        .args(["--exact", "seeds::readmes", "--nocapture"])
        .env(CHILD, "1")
        .current_dir(&directory)
        .status()?;
    ensure!(status.success(), "{status}");
    ensure!(directory.path().join(".data").is_dir());
    Ok(())
}

async fn readme_first() -> Result<()> {
    let checkpoint = 1;
    use bytes::Bytes;
    use trestle_storage::{Config, LogDb as Log, Record};

    let log = Log::open(Config::default()).await?;

    log.append(vec![
        Record {
            key: Bytes::from("orders"),
            value: Bytes::from(&b"..."[..]),
        },
        Record {
            key: Bytes::from("events"),
            value: Bytes::from(&b"..."[..]),
        },
    ])
    .await?;

    use trestle_storage::{LogDbReader as LogReader, LogRead};

    let reader = LogReader::open(Config::default()).await?;

    // Scan all entries for a key
    let mut iter = reader.scan(Bytes::from("orders"), ..).await?;
    while let Some(entry) = iter.next().await? {
        println!("seq={} value={:?}", entry.sequence, entry.value);
        ensure!(entry.sequence == 0 && entry.value == "...");
    }

    // Scan from a checkpoint
    let mut iter = reader.scan(Bytes::from("orders"), checkpoint..).await?;

    ensure!(iter.next().await?.is_none());
    ensure!(iter.next_sequence() == 2);
    reader.close().await?;
    log.close().await?;
    Ok(())
}

async fn readme_0_2_2() -> Result<()> {
    let checkpoint = 1;
    use bytes::Bytes;
    use trestle_storage::{Config, LogDb, Record};

    let log = LogDb::open(Config::default()).await?;

    log.append(vec![
        Record {
            key: Bytes::from("orders"),
            value: Bytes::from(&b"..."[..]),
        },
        Record {
            key: Bytes::from("events"),
            value: Bytes::from(&b"..."[..]),
        },
    ])
    .await?;

    use trestle_storage::{LogDbReader, LogRead, ReaderConfig};

    let reader = LogDbReader::open(ReaderConfig::default()).await?;

    // Scan all entries for a key
    let mut iter = reader.scan(Bytes::from("orders"), ..).await?;
    while let Some(entry) = iter.next().await? {
        println!("seq={} value={:?}", entry.sequence, entry.value);
    }

    // Scan from a checkpoint
    let mut iter = reader.scan(Bytes::from("orders"), checkpoint..).await?;

    // What the first example appended lies before it.
    ensure!(iter.next().await?.is_some() && iter.next().await?.is_none());
    log.close().await?;
    Ok(())
}
