//! Append and replay, rotation and reclaiming.

use std::ops::Bound;
use std::time::Duration;

use slatedb::config::{FlushOptions, FlushType};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_durable_is_there_after_a_crash() {
    let bench = Bench::new();
    let opened = bench.open().await;
    for n in 0..100 {
        // Small values are copied into the group, large ones are not.
        opened
            .put(&format!("key{n:03}"), vec![n as u8; n * 100])
            .await;
    }
    opened
        .db
        .delete("key007")
        .await
        .unwrap()
        .await_durable()
        .await
        .unwrap();
    opened.crash().await;

    let opened = bench.open().await;
    for n in 0..100 {
        let expected = (n != 7).then(|| vec![n as u8; n * 100]);
        assert_eq!(
            opened.get(&format!("key{n:03}")).await,
            expected,
            "key{n:03}"
        );
    }
    assert_eq!(opened.wal.recovered().replayed_rows, 101);
    assert_eq!(opened.wal.recovered().torn_bytes, 0);
    // And again, with what the second open adds.
    opened.put("more", "yes").await;
    opened.crash().await;
    let opened = bench.open().await;
    assert_eq!(opened.get("key099").await, Some(vec![99; 9900]));
    assert_eq!(opened.get("more").await, Some(b"yes".to_vec()));
    opened.db.close().await.unwrap();

    // A clean close leaves nothing to replay.
    let opened = bench.open().await;
    assert_eq!(opened.wal.recovered().replayed_rows, 0);
    assert_eq!(opened.get("key099").await, Some(vec![99; 9900]));
    opened.db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_rotated_and_reclaimed_while_running() {
    let bench = Bench {
        file_bytes: 10_000,
        ..Bench::new()
    };
    let opened = bench.open().await;
    for n in 0..50 {
        opened.put(&format!("key{n:03}"), vec![n as u8; 5000]).await;
    }
    let before = bench.files().len();
    assert!(before >= 20, "{before} files");
    opened
        .db
        .flush_with_options(FlushOptions {
            flush_type: FlushType::MemTable,
        })
        .await
        .unwrap();
    let replay_after = opened.db.status().current_manifest.replay_after_wal_id();
    let referenced = vec![WalFileRange(
        Bound::Included(replay_after),
        Bound::Unbounded,
    )];
    let gc = opened.wal.gc();
    gc.collect(referenced.clone(), Duration::from_secs(3600), false)
        .await
        .unwrap();
    assert_eq!(bench.files().len(), before, "younger than the least age");
    gc.collect(referenced.clone(), Duration::ZERO, true)
        .await
        .unwrap();
    assert_eq!(bench.files().len(), before, "a dry run");
    gc.collect(referenced, Duration::ZERO, false).await.unwrap();
    assert!(bench.files().len() <= 2, "{:?}", bench.files());

    opened.put("last", "x").await;
    opened.crash().await;
    let opened = bench.open().await;
    assert_eq!(opened.get("key049").await, Some(vec![49; 5000]));
    assert_eq!(opened.get("last").await, Some(b"x".to_vec()));
    opened.db.close().await.unwrap();
}
