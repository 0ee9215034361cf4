//! Readers in other processes.

use std::ops::Bound;

use slatedb::DbReader;
use slatedb::wal::{WalError, WalFileRange, WalReader};

use super::faulty_disk::FaultyDisk;
use super::*;
use crate::wal::FileWalReader;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_what_is_durable_and_no_more() {
    let disk = FaultyDisk::default();
    let bench = Bench {
        disk: Arc::new(disk.clone()),
        file_bytes: 5000,
        ..Bench::new()
    };
    let opened = bench.open().await;
    for n in 0..20 {
        opened.put(&format!("key{n}"), vec![n; 1000]).await;
    }
    disk.state().room = Some(100);
    let pending = opened.db.put("pending", vec![0; 1000]).await.unwrap();
    opened
        .wal
        .stalled()
        .wait_for(Option::is_some)
        .await
        .unwrap();

    let reader = Arc::new(FileWalReader::new(bench.wal_dir(), clock()));
    let db = DbReader::builder("db", bench.object_store())
        .with_wal_reader(reader.clone())
        .build()
        .await
        .unwrap();
    for n in 0..20 {
        let value = db.get(format!("key{n}")).await.unwrap();
        assert_eq!(value.as_deref(), Some(&[n; 1000][..]), "key{n}");
    }
    assert_eq!(db.get("pending").await.unwrap(), None);
    assert_eq!(reader.last_wal_file_id(0).await.unwrap(), 20);
    db.close().await.unwrap();

    disk.state().room = None;
    pending.await_durable().await.unwrap();
    assert_eq!(reader.last_wal_file_id(0).await.unwrap(), 21);
    opened.db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_the_log_and_is_told_when_it_is_truncated() {
    let bench = Bench {
        file_bytes: 3000,
        ..Bench::new()
    };
    let opened = bench.open().await;
    opened.put("key1", vec![1; 2000]).await;
    opened.put("key2", vec![2; 2000]).await;
    let reader = FileWalReader::new(bench.wal_dir(), clock());
    let mut live = reader.iterator((2..).into()).await.unwrap();
    assert_eq!(
        live.next()
            .await
            .unwrap()
            .unwrap()
            .last_consumed_wal_file_id,
        2
    );
    let next = tokio::spawn(async move { live.next().await });
    opened.put("key3", vec![3; 2000]).await;
    let rows = next.await.unwrap().unwrap().unwrap();
    assert_eq!(rows.last_consumed_wal_file_id, 3);
    assert_eq!(&rows.rows[0].key[..], b"key3");

    let mut range = reader.iterator((1..3).into()).await.unwrap();
    assert_eq!(
        range
            .next()
            .await
            .unwrap()
            .unwrap()
            .last_consumed_wal_file_id,
        1
    );
    assert_eq!(
        range
            .next()
            .await
            .unwrap()
            .unwrap()
            .last_consumed_wal_file_id,
        2
    );
    assert!(range.next().await.unwrap().is_none());

    let all_flushed = vec![WalFileRange(Bound::Included(3), Bound::Unbounded)];
    opened
        .wal
        .gc()
        .collect(all_flushed, std::time::Duration::ZERO, false)
        .await
        .unwrap();
    let mut range = reader.iterator((1..4).into()).await.unwrap();
    assert!(matches!(range.next().await, Err(WalError::WalTruncated(1))));
    opened.db.close().await.unwrap();
}
