//! A full disk, a disk that fails, and power cuts.

use std::sync::atomic::{AtomicU64, Ordering};

use slatedb::CloseReason;
use tokio::sync::watch;

use super::faulty_disk::{FaultyDisk, Tail};
use super::*;

impl Bench {
    fn on(disk: &FaultyDisk) -> Self {
        Self {
            disk: Arc::new(disk.clone()),
            ..Self::new()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_costs_one_write_and_one_sync_and_waiting_costs_nothing() {
    let disk = FaultyDisk::default();
    let bench = Bench::on(&disk);
    let opened = bench.open().await;
    let (writes, syncs) = disk.calls();
    opened.put("a", "1").await;
    opened.put("b", vec![2; 100_000]).await;
    assert_eq!(disk.calls(), (writes + 2, syncs + 2));
    // A flush of nothing is nothing.
    opened.db.flush().await.unwrap();
    assert_eq!(disk.calls(), (writes + 2, syncs + 2));
    opened.db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_wait_share_a_sync() {
    let disk = FaultyDisk::default();
    let bench = Bench::on(&disk);
    let opened = bench.open().await;
    disk.state().room = Some(0);
    let mut handles = Vec::new();
    for n in 0..200 {
        handles.push(opened.db.put(format!("key{n}"), "value").await.unwrap());
    }
    // The first commits may have gone ahead of the others; all of these wait for room.
    opened
        .wal
        .stalled()
        .wait_for(Option::is_some)
        .await
        .unwrap();
    let (_, before) = disk.calls();
    disk.state().room = None;
    for handle in handles {
        handle.await_durable().await.unwrap();
    }
    let syncs = disk.calls().1 - before;
    // The header of a new file, what had gone ahead, and all others together.
    assert!(syncs <= 3, "{syncs} syncs");
    opened.db.close().await.unwrap();
}

async fn full_disk_stalls(fail_truncate: bool) {
    let disk = FaultyDisk::default();
    let bench = Bench::on(&disk);
    let opened = bench.open().await;
    let mut stalled = opened.wal.stalled();
    opened.put("before", vec![1; 3000]).await;

    disk.state().fail_truncate = fail_truncate;
    disk.state().room = Some(2500);
    let during = opened.db.put("during", vec![2; 5000]).await.unwrap();
    let why = stalled
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(
        why.contains("wal-files") && why.contains("no storage space"),
        "{why}"
    );
    // Commits are taken while it lasts, and nothing is acknowledged.
    let later = opened.db.put("later", "x").await.unwrap();
    assert!(opened.db.status().durable_seq < during.seqnum());
    assert_eq!(opened.db.status().close_reason, None);

    disk.state().room = None;
    during.await_durable().await.unwrap();
    later.await_durable().await.unwrap();
    assert_eq!(*stalled.wait_for(Option::is_none).await.unwrap(), None);
    opened.put("after", "y").await;
    opened.crash().await;

    let opened = bench.open().await;
    assert_eq!(opened.get("before").await, Some(vec![1; 3000]));
    assert_eq!(opened.get("during").await, Some(vec![2; 5000]));
    assert_eq!(opened.get("later").await, Some(b"x".to_vec()));
    assert_eq!(opened.get("after").await, Some(b"y".to_vec()));
    assert_eq!(opened.wal.recovered().replayed_rows, 4);
    opened.db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stalls_the_log_and_room_ends_it() {
    full_disk_stalls(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_left_half_written_is_passed_over() {
    full_disk_stalls(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_at_any_byte_loses_nothing() {
    let rooms = (0..400).step_by(7).map(|room| tokio::spawn(full_at(room)));
    for room in futures::future::join_all(rooms).await {
        room.unwrap();
    }
}

async fn full_at(room: u64) {
    let disk = FaultyDisk::default();
    // Every second record starts a new file, so that the disk also fills within a file's header.
    let bench = Bench {
        file_bytes: 150,
        ..Bench::on(&disk)
    };
    let opened = bench.open().await;
    disk.state().fail_truncate = room.is_multiple_of(2);
    disk.state().room = Some(room);
    let mut handles = Vec::new();
    for n in 0..8 {
        handles.push(opened.db.put(format!("key{n}"), vec![n; 50]).await.unwrap());
    }
    opened
        .wal
        .stalled()
        .wait_for(Option::is_some)
        .await
        .unwrap();
    disk.state().room = None;
    for handle in handles {
        handle.await_durable().await.unwrap();
    }
    opened.crash().await;
    let opened = bench.open().await;
    for n in 0..8 {
        assert_eq!(
            opened.get(&format!("key{n}")).await,
            Some(vec![n; 50]),
            "room {room}, key{n}"
        );
    }
    opened.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_log_can_be_given_up() {
    let disk = FaultyDisk::default();
    let bench = Bench::on(&disk);
    let opened = bench.open().await;
    opened.put("kept", "1").await;
    disk.state().room = Some(0);
    let lost = opened.db.put("lost", "2").await.unwrap();
    opened
        .wal
        .stalled()
        .wait_for(Option::is_some)
        .await
        .unwrap();
    opened.wal.stop();
    lost.await_durable().await.unwrap_err();
    let _ = opened.db.close().await;

    disk.state().room = None;
    let opened = bench.open().await;
    assert_eq!(opened.get("kept").await, Some(b"1".to_vec()));
    assert_eq!(opened.get("lost").await, None);
    opened.db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_nothing_more_is_acknowledged() {
    let disk = FaultyDisk::default();
    let bench = Bench::on(&disk);
    let opened = bench.open().await;
    opened.put("kept", "1").await;
    disk.state().fail_sync = true;
    let failed = opened.db.put("doubtful", "2").await.unwrap();
    failed.await_durable().await.unwrap_err();
    // The disk is well again, but this log is done.
    let mut status = opened.db.subscribe();
    let status = status
        .wait_for(|status| status.close_reason.is_some())
        .await
        .unwrap()
        .clone();
    assert_ne!(status.close_reason, Some(CloseReason::Clean));
    opened.db.put("late", "3").await.unwrap_err();
    let calls = disk.calls();
    let _ = opened.db.close().await;
    assert_eq!(disk.calls(), calls, "the file is not touched again");

    let opened = bench.open().await;
    assert_eq!(opened.get("kept").await, Some(b"1".to_vec()));
    assert_eq!(opened.get("late").await, None);
    opened.put("new", "4").await;
    opened.db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_acknowledged() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 12;
    const PER_ROUND: u64 = 40;
    let disk = FaultyDisk::default();
    let bench = Bench {
        file_bytes: 20_000,
        memtable_bytes: 100_000,
        ..Bench::on(&disk)
    };
    let opened = Arc::new(bench.open().await);
    // Each writer counts up to the goal; a count is in `acknowledged` once it is durable.
    let goal = watch::Sender::new(0);
    let acknowledged: Arc<[AtomicU64; WRITERS]> = Arc::default();
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (opened, acknowledged) = (opened.clone(), acknowledged.clone());
            let mut goal = goal.subscribe();
            tokio::spawn(async move {
                for n in 1..=ROUNDS as u64 * PER_ROUND {
                    goal.wait_for(|goal| n <= *goal).await.unwrap();
                    opened.put(&format!("{writer}/{n}"), value(writer, n)).await;
                    acknowledged[writer].store(n, Ordering::SeqCst);
                }
            })
        })
        .collect();

    for round in 0..ROUNDS {
        let before: u64 = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).sum();
        goal.send_modify(|goal| *goal += PER_ROUND);
        // The power fails in the middle of the work.
        while acknowledged
            .iter()
            .map(|n| n.load(Ordering::SeqCst))
            .sum::<u64>()
            < before + PER_ROUND
        {
            tokio::task::yield_now().await;
        }
        let safe: Vec<u64> = acknowledged
            .iter()
            .map(|n| n.load(Ordering::SeqCst))
            .collect();
        let tail = [Tail::Nothing, Tail::Half, Tail::Zeros][round % 3];
        let copy = Bench {
            file_bytes: 20_000,
            memtable_bytes: 100_000,
            ..Bench::new()
        };
        disk.copy_after_power_cut(bench.dir.path(), copy.dir.path(), tail);
        let reopened = copy.open().await;
        for (writer, &last) in safe.iter().enumerate() {
            for n in 1..=last {
                let found = reopened.get(&format!("{writer}/{n}")).await;
                assert_eq!(found, Some(value(writer, n)), "round {round}, {writer}/{n}");
            }
        }
        reopened.put("and it goes on", "yes").await;
        reopened.db.close().await.unwrap();
        // What is flushed by now is written again in the next rounds.
        opened.reclaim().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(disk.state().reused > 3, "the test writes files again");
}

fn value(writer: usize, n: u64) -> Vec<u8> {
    vec![writer as u8; 100 + n as usize * 97 % 4000]
}
