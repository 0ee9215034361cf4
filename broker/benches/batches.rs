//! The checks of a produced batch, and the encoding of a Fetch response: whether a change of them makes them slower.
//! compat/perf says how fast a broker is.

use std::hint::black_box;
use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trestle::api::fetch_response::{FetchResponse, PartitionResponse, TopicKey, TopicResponse};
use trestle::partition::batch::{self, Rules};

const VALUE_BYTES: usize = 1024;
const NOW_MS: i64 = 1_700_000_000_000;

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// A record batch, as a producer sends it.
fn record_batch(count: i32, lz4: bool) -> BytesMut {
    let mut records = Vec::new();
    for delta in 0..count {
        let mut record = vec![0, 0]; // attributes, timestamp delta
        put_varint(&mut record, i64::from(delta));
        put_varint(&mut record, -1); // no key
        put_varint(&mut record, VALUE_BYTES as i64);
        record.put_bytes(delta as u8, VALUE_BYTES);
        put_varint(&mut record, 0); // no headers
        put_varint(&mut records, record.len() as i64);
        records.put_slice(&record);
    }
    if lz4 {
        let mut packed = lz4_flex::frame::FrameEncoder::new(Vec::new());
        packed.write_all(&records).expect("memory takes it");
        records = packed.finish().expect("memory takes it");
    }
    let mut checked = Vec::new();
    checked.put_i16(if lz4 { 3 } else { 0 }); // attributes
    checked.put_i32(count - 1);
    checked.put_i64(NOW_MS);
    checked.put_i64(NOW_MS);
    checked.put_i64(-1); // no producer id, epoch, sequence
    checked.put_i16(-1);
    checked.put_i32(-1);
    checked.put_i32(count);
    checked.put_slice(&records);
    let mut batch = BytesMut::new();
    batch.put_i64(0); // base offset
    batch.put_i32(checked.len() as i32 + 9);
    batch.put_i32(-1); // leader epoch
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.put_slice(&checked);
    batch
}

fn checks(criterion: &mut Criterion) {
    let rules = Rules {
        max_message_bytes: 1 << 20,
        zstd_allowed: true,
        keys_required: false,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        decompressed_max_bytes: 256 << 20,
        compression: None,
    };
    let mut group = criterion.benchmark_group("check a batch");
    for (name, count, lz4) in [
        ("plain", 1, false),
        ("plain", 100, false),
        ("lz4", 100, true),
    ] {
        let batch = record_batch(count, lz4);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(BenchmarkId::new(name, count), |bencher| {
            bencher.iter_batched(
                || batch.clone(),
                |batch| batch::check(batch, &rules, NOW_MS).expect("a good batch"),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn fetched() -> FetchResponse {
    let batch = Bytes::from_static(&[7; 16 << 10]);
    let partition = |index| PartitionResponse {
        index,
        error_code: 0,
        high_watermark: 900,
        last_stable: 900,
        log_start: 0,
        aborted: None,
        records: vec![batch.clone(); 16],
    };
    FetchResponse {
        error_code: 0,
        topics: vec![TopicResponse {
            key: TopicKey::Id(trestle::types::TopicId::from_u128(7)),
            partitions: (0..10).map(partition).collect(),
        }],
    }
}

fn encoding(criterion: &mut Criterion) {
    criterion.bench_function("encode a Fetch of 10 partitions of 16 batches", |bencher| {
        bencher.iter_batched(
            fetched,
            |response| black_box(response.encode(17)),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, checks, encoding);
criterion_main!(benches);
