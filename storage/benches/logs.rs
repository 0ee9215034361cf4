//! Append and read, in small: whether a change of them makes them slower. storage_bench (examples) says how
//! fast a store is.

// A bench stands outside of the crate's world of passed-in time.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slatedb_common::clock::DefaultSystemClock;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use trestle_storage::{DataUrl, EntryFormat, Log, NewEntry, Options, ReadLimit, Store, WriteSet};

const LOGS: usize = 10;

fn entry(bytes: usize) -> NewEntry {
    NewEntry {
        first_offset: NewEntry::AT_END,
        count: 1,
        max_timestamp: 1,
        format: EntryFormat::Batch,
        payload: Bytes::from(vec![0x5A; bytes]),
    }
}

async fn open(options: Options) -> (Store, Vec<Log>) {
    let store = Store::open(options, Arc::new(DefaultSystemClock::new()))
        .await
        .expect("a store");
    let mut logs = Vec::new();
    for at in 0..LOGS {
        let log = store.log(format!("log {at}").as_bytes()).await;
        logs.push(log.expect("a log"));
    }
    (store, logs)
}

/// Commits one entry each, and waits for all of them.
async fn append(store: &Store, logs: &[Log], count: usize, bytes: usize) {
    let mut answers = Vec::with_capacity(count);
    for at in 0..count {
        store.ready().await;
        let mut write_set = WriteSet::new();
        write_set.append(&logs[at % logs.len()], entry(bytes));
        let (done, answer) = oneshot::channel();
        store.commit(write_set, move |result| {
            let _ = done.send(result);
        });
        answers.push(answer);
    }
    for answer in answers {
        answer.await.expect("an answer").expect("a commit");
    }
}

async fn read_all(log: &Log) -> usize {
    let limit = ReadLimit {
        end_offset: u64::MAX,
        max_bytes: 1 << 20,
        max_entries: usize::MAX,
    };
    let (mut offset, mut bytes) = (0, 0);
    loop {
        let entries = log.read(offset, limit).await.expect("entries");
        let Some(last) = entries.last() else {
            return bytes;
        };
        offset = last.end_offset();
        bytes += entries.iter().map(|e| e.payload.len()).sum::<usize>();
    }
}

/// 64 commits at once, in memory and on disk.
fn appends(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let mut group = criterion.benchmark_group("append 64 entries");
    group.sample_size(20);
    for (name, data) in [
        ("memory", DataUrl::Memory),
        ("file", DataUrl::File(directory.path().join("store"))),
    ] {
        let (store, logs) = runtime.block_on(open(Options::new(data)));
        for bytes in [1 << 10, 16 << 10] {
            group.throughput(Throughput::Bytes(64 * bytes as u64));
            group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
                bencher.iter(|| runtime.block_on(append(&store, &logs, 64, bytes)));
            });
        }
        runtime.block_on(store.close()).expect("a close");
    }
    group.finish();
}

/// A log of ten is read: from memory, and from files.
fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let options = || Options::new(DataUrl::File(directory.path().join("store")));
    let (store, logs) = runtime.block_on(open(options()));
    runtime.block_on(append(&store, &logs, 4096, 8 << 10));
    let mut group = criterion.benchmark_group("read a log");
    group.sample_size(20);
    let bytes = runtime.block_on(read_all(&logs[3]));
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("written just now", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(read_all(&logs[3]))));
    });
    runtime.block_on(store.close()).expect("a close");
    drop((store, logs));
    let (store, logs) = runtime.block_on(open(options()));
    group.bench_function("after a restart", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(read_all(&logs[3]))));
    });
    group.finish();
    runtime.block_on(store.close()).expect("a close");
}

criterion_group!(benches, appends, reads);
criterion_main!(benches);
