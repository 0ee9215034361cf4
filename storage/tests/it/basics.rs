//! Appending, reading, reopening.

use anyhow::{Result, ensure};
use trestle_storage::{Entry, Options, ReadLimit, Store, WriteSet};

use crate::support::{NO_LIMIT, append, clock, commit, entry, in_directory, in_memory, read_all};

async fn appends_and_reads(options: Options) -> Result<Store> {
    let store = Store::open(options, clock()).await?;
    assert!(store.recovered().created);
    let (a, b) = (store.log(b"a").await?, store.log(b"b").await?);
    for offset in 0..200 {
        append(&store, &a, entry("a", offset, 100)).await?;
        append(&store, &b, entry("b", offset, 20_000)).await?;
    }
    for (log, name, len) in [(&a, "a", 100), (&b, "b", 20_000)] {
        assert_eq!(log.bounds().end_offset, 200);
        let all = read_all(log, 0, 50_000).await?;
        assert_eq!(all.len(), 200);
        for (offset, found) in (0..).zip(&all) {
            assert_eq!(found.first_offset, offset);
            assert_eq!(found.payload, entry(name, offset, len).payload);
        }
    }
    Ok(store)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_appends_are_read_back() -> Result<()> {
    let store = appends_and_reads(in_memory()).await?;
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_is_there_after_reopening() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut options = in_directory(&directory);
    options.segment_bytes = 300_000;
    let store = appends_and_reads(options.clone()).await?;
    store.close().await?;
    drop(store);

    let store = Store::open(options, clock()).await?;
    assert!(!store.recovered().created);
    assert_eq!(store.keys(b"").await?, ["a", "b"]);
    for (name, len) in [("a", 100), ("b", 20_000)] {
        let log = store.log(name.as_bytes()).await?;
        let bounds = log.bounds();
        assert_eq!((bounds.start_offset, bounds.end_offset), (0, 200));
        assert_eq!(bounds.appended_bytes, 200 * len as u64);
        assert_eq!(bounds.max_timestamp, 199);
        for max_bytes in [1, 1000, 100_000, usize::MAX] {
            let all = read_all(&log, 0, max_bytes).await?;
            assert_eq!(all.len(), 200);
            for (offset, found) in (0..).zip(&all) {
                assert_eq!(found.payload, entry(name, offset, len).payload);
            }
        }
        for timestamp in [0, 1, 57, 199] {
            let offset = log
                .search_from(timestamp)
                .await?
                .expect("there is such a record");
            assert!(offset <= timestamp as u64, "{offset} for {timestamp}");
        }
        assert_eq!(log.search_from(200).await?, None);
        append(&store, &log, entry(name, 200, len)).await?;
        let found = log.read(199, NO_LIMIT).await?;
        assert_eq!(
            found.iter().map(|e| e.first_offset).collect::<Vec<_>>(),
            [199, 200]
        );
    }
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whole_entry_is_returned_whatever_the_limit() -> Result<()> {
    let store = Store::open(in_memory(), clock()).await?;
    let log = store.log(b"a").await?;
    append(&store, &log, entry("a", 0, 5000)).await?;
    append(&store, &log, entry("a", 1, 5000)).await?;
    let limit = ReadLimit {
        end_offset: u64::MAX,
        max_bytes: 0,
        max_entries: 0,
    };
    assert_eq!(log.read(0, limit).await?.len(), 1);
    assert_eq!(log.read(1, limit).await?[0].first_offset, 1);
    assert_eq!(log.read(2, limit).await?.len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_kept_beside_logs() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let options = in_directory(&directory);
    let store = Store::open(options.clone(), clock()).await?;
    let log = store.log(b"a").await?;
    let mut write_set = WriteSet::new();
    write_set.append(&log, entry("a", 0, 10));
    write_set.put_row("x/1", "one");
    write_set.put_row("x/2", "two");
    write_set.put_row("y", "why");
    write_set.delete_row("x/2");
    commit(&store, write_set).await?;
    store.close().await?;
    drop((store, log));

    let store = Store::open(options, clock()).await?;
    assert_eq!(store.rows(b"x/").await?, [("x/1".into(), "one".into())]);
    assert_eq!(store.row(b"y").await?, Some("why".into()));
    assert_eq!(store.row(b"x/2").await?, None);
    assert_eq!(store.keys(b"").await?, ["a"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_cannot_be_made_changes_nothing() -> Result<()> {
    let store = Store::open(in_memory(), clock()).await?;
    let log = store.log(b"a").await?;
    append(&store, &log, entry("a", 0, 10)).await?;
    let mut write_set = WriteSet::new();
    write_set.append(&log, entry("a", 1, 10));
    write_set.append(&log, entry("a", 0, 10));
    write_set.put_row("row", "value");
    let error = commit(&store, write_set)
        .await
        .expect_err("offset 0 is taken");
    assert_eq!(error.kind(), trestle_storage::ErrorKind::Invalid);
    assert_eq!(log.bounds().end_offset, 1);
    assert_eq!(store.row(b"row").await?, None);
    append(&store, &log, entry("a", 1, 10)).await?;
    assert_eq!(read_all(&log, 0, 100).await?.len(), 2);
    Ok(())
}

/// Whatever the order of logs in a set, a reader that sees its end finds all that lies before it.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_that_is_shown_is_that_of_what_is_there() -> Result<()> {
    const SETS: u64 = 100;
    const ENTRIES: u64 = 200;
    let store = Store::open(in_memory(), clock()).await?;
    let (a, b) = (store.log(b"a").await?, store.log(b"b").await?);
    let log = a.clone();
    let reader = tokio::spawn(async move {
        let mut next = 0;
        while next < SETS * ENTRIES {
            let end = log.bounds().end_offset;
            ensure!(end % ENTRIES == 0, "a part of a set: {end}");
            let found = log.read(next, NO_LIMIT).await?;
            let reached = found.last().map_or(next, Entry::end_offset);
            ensure!(reached >= end, "{reached} of {end}");
            next = reached;
            tokio::task::yield_now().await;
        }
        Ok(())
    });
    for set in 0..SETS {
        let mut write_set = WriteSet::new();
        for offset in set * ENTRIES..(set + 1) * ENTRIES {
            write_set.append(&a, entry("a", offset, 20));
            write_set.append(&b, entry("b", offset, 20));
        }
        commit(&store, write_set).await?;
    }
    reader.await??;
    store.close().await?;
    Ok(())
}
