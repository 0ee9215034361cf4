//! What consuming costs: catching up with a partition, and following its end.

use std::cell::RefCell;
use std::time::Instant;

use anyhow::Result;

use super::produce::load;
use super::{Bench, GIB, MIB, TOPIC, create};
use crate::broker::Broker;
use crate::report::{Latencies, Report, Target};
use crate::wire::{self, Connection, Frame};

pub(super) async fn catch_up(bench: &Bench, report: &mut Report) -> Result<()> {
    let data = bench.fresh();
    let broker = bench.start(&data, &["--fsync", "false"])?;
    create(&broker, TOPIC, 10).await?;
    let batch = wire::record_batch(15, 1024);
    let frames: Vec<Frame> = (0..10)
        .map(|partition| wire::produce(TOPIC, partition, &batch))
        .collect();
    load(
        &broker,
        &frames,
        4,
        8,
        bench.work(4 << 30) / batch.len() as u64,
    )
    .await?;
    broker.stop()?;
    let broker = bench.start(&data, &[])?;
    // The first partition warms up caches and the page cache, the second is measured.
    for (partition, measured) in [(3, false), (4, true)] {
        let cpu = broker.cpu_seconds();
        let (bytes, seconds) = read_partition(&broker, partition).await?;
        let cpu = (broker.cpu_seconds() - cpu) / (bytes / GIB);
        if measured {
            report.figure(
                "consume",
                "one partition among ten, after a restart",
                bytes / MIB / seconds,
                "MiB/s",
                Target::AtLeast(700.0),
            );
            report.figure("consume", "CPU of the broker", cpu, "s/GiB", Target::None);
        }
    }
    Ok(())
}

/// One producer sends a record at a time; one consumer follows it with long polls.
pub(super) async fn tail(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&bench.fresh(), &["--fsync", "true"])?;
    create(&broker, TOPIC, 1).await?;
    let count = bench.work(20_000) as usize;
    let sent_at = RefCell::new(Vec::with_capacity(count));
    let batch = wire::record_batch(1, 1024);
    let read_before = broker.bytes_read();
    let producing = async {
        let mut connection = Connection::open(&broker.address).await?;
        let mut frame = wire::produce(TOPIC, 0, &batch);
        for _ in 0..count {
            sent_at.borrow_mut().push(Instant::now());
            wire::produced(connection.call(&mut frame).await?)?;
        }
        anyhow::Ok(())
    };
    let consuming = async {
        let mut connection = Connection::open(&broker.address).await?;
        let mut latencies = Latencies::default();
        // Offset 0 is the record that `create` left.
        let mut offset = 1;
        while offset <= count as i64 {
            let mut frame = wire::fetch(TOPIC, 0, offset, 500, 4 << 20);
            let answer = wire::fetched(connection.call(&mut frame).await?, offset)?;
            let now = Instant::now();
            for record in offset..answer.next_offset {
                latencies.add(now - sent_at.borrow()[record as usize - 1]);
            }
            offset = answer.next_offset;
        }
        Ok(latencies)
    };
    let (_, mut latencies) = futures::future::try_join(producing, consuming).await?;
    let read = (broker.bytes_read() - read_before) as f64 / (count * batch.len()) as f64;
    report.figure(
        "tail",
        "send to receipt, fsync on, p50",
        latencies.percentile(0.5),
        "ms",
        Target::None,
    );
    report.figure(
        "tail",
        "send to receipt, fsync on, p99",
        latencies.percentile(0.99),
        "ms",
        Target::None,
    );
    // Wake-ups between threads are reads of eight bytes, which is why this is not exactly nothing.
    report.figure(
        "tail",
        "read from files per byte consumed",
        read,
        "bytes/byte",
        Target::AtMost(0.05),
    );
    Ok(())
}

/// Reads a partition from its start to its end; answers bytes and seconds.
async fn read_partition(broker: &Broker, partition: i32) -> Result<(f64, f64)> {
    let mut connection = Connection::open(&broker.address).await?;
    let (mut offset, mut bytes) = (0, 0);
    let began = Instant::now();
    loop {
        let mut frame = wire::fetch(TOPIC, partition, offset, 500, 4 << 20);
        let answer = wire::fetched(connection.call(&mut frame).await?, offset)?;
        bytes += answer.bytes;
        offset = answer.next_offset;
        if offset >= answer.high_watermark {
            return Ok((bytes as f64, began.elapsed().as_secs_f64()));
        }
    }
}
