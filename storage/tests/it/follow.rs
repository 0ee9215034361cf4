//! A store that is read while another handle, or process, writes it.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::oneshot;
use trestle_storage::{ErrorKind, NewEntry, Store, WriteSet};

use crate::support::{NO_LIMIT, append, clock, commit, entry, in_directory, read_all};
use crate::wait::until;

const REFRESH: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_each_record_without_a_flush_and_writes_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let options = in_directory(&directory);
    let store = Store::open(options.clone(), clock()).await?;
    let log = store.log(b"a").await?;
    append(&store, &log, entry("a", 0, 100)).await?;

    let reader = Store::open_read_only(options.clone(), clock(), REFRESH).await?;
    let read = reader.log(b"a").await?;
    assert_eq!(read.bounds().end_offset, 1);
    assert_eq!(
        read_all(&read, 0, 1000).await?[0].payload,
        entry("a", 0, 100).payload
    );

    for offset in 1..5 {
        append(&store, &log, entry("a", offset, 100)).await?;
        let seen = async {
            loop {
                let changed = read.changed();
                if read.bounds().end_offset > offset {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await?;
        let found = read.read(offset, NO_LIMIT).await?;
        assert_eq!(found[0].payload, entry("a", offset, 100).payload);
    }
    // A log that begins after the reader was opened, and one that is trimmed.
    let late = store.log(b"late").await?;
    append(&store, &late, entry("late", 0, 10)).await?;
    let mut trim = WriteSet::new();
    trim.trim(&log, 3);
    commit(&store, trim).await?;
    until(|| match read.bounds().start_offset {
        3 => Ok(Ok(())),
        start => Ok(Err(start)),
    })
    .await?;
    let late_read = reader.log(b"late").await?;
    assert_eq!(late_read.bounds().end_offset, 1);
    assert!(reader.durable_sequence() <= store.durable_sequence());

    let (done, answer) = oneshot::channel();
    let mut refused = WriteSet::new();
    refused.append(&read, entry("a", 5, 10));
    reader.commit(refused, move |result| {
        let _ = done.send(result);
    });
    assert_eq!(answer.await?.unwrap_err().kind(), ErrorKind::Invalid);

    // The writer neither notices the reader nor is missed by it.
    reader.log(b"a").await?;
    store.close().await?;
    assert_eq!(read_all(&read, 0, 1000).await?.len(), 2);
    reader.close().await?;
    Ok(())
}

#[tokio::test]
async fn there_must_be_a_store_to_read() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let error = Store::open_read_only(in_directory(&directory), clock(), REFRESH)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(std::fs::read_dir(directory.path())?.next().is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_places_entries_that_have_no_offset() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(in_directory(&directory), clock()).await?;
    let (a, b) = (store.log(b"a").await?, store.log(b"b").await?);
    let at_end = |name: &str| NewEntry {
        first_offset: NewEntry::AT_END,
        ..entry(name, 0, 10)
    };
    let mut write_set = WriteSet::new();
    for log in [&a, &b, &a] {
        write_set.append(log, at_end("x"));
    }
    let (early, written) = oneshot::channel();
    let (done, durable) = oneshot::channel();
    store.commit_early(
        write_set,
        move |result| {
            let _ = early.send(result);
        },
        move |result| {
            let _ = done.send(result);
        },
    );
    assert_eq!(written.await??.first_sequence, Some(0));
    a.settled().await?;
    assert_eq!(a.bounds().end_offset, 2);
    assert_eq!(durable.await??.first_sequence, Some(0));
    let sequences = |entries: Vec<trestle_storage::Entry>| -> Vec<u64> {
        entries.iter().map(|entry| entry.first_sequence).collect()
    };
    assert_eq!(sequences(read_all(&a, 0, 1000).await?), [0, 2]);
    assert_eq!(sequences(read_all(&b, 0, 1000).await?), [1]);
    assert_eq!(store.durable_sequence(), 3);
    store.close().await?;
    Ok(())
}
