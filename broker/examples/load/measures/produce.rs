//! What producing costs: latency, requests a second, throughput.

use std::time::Instant;

use anyhow::Result;

use super::{Bench, GIB, MIB, TOPIC, create};
use crate::broker::{Broker, Data};
use crate::report::{Latencies, Report, Target};
use crate::wire::{self, Connection, Frame};
use crate::yardstick;

pub(super) async fn latency(bench: &Bench, report: &mut Report) -> Result<()> {
    let batch = wire::record_batch(1, 1024);
    for (what, arguments, p50_ms) in [
        ("fsync on", &["--fsync", "true"][..], Some(0.6)),
        ("fsync off", &["--fsync", "false"][..], Some(0.3)),
        ("in memory", &[][..], None),
    ] {
        let data = if what == "in memory" {
            Data::Memory
        } else {
            bench.fresh()
        };
        let broker = bench.start(&data, arguments)?;
        create(&broker, TOPIC, 1).await?;
        let mut connection = Connection::open(&broker.address).await?;
        let mut frame = wire::produce(TOPIC, 0, &batch);
        for _ in 0..bench.work(1000) {
            wire::produced(connection.call(&mut frame).await?)?;
        }
        let mut latencies = Latencies::default();
        for _ in 0..bench.work(20_000) {
            let began = Instant::now();
            wire::produced(connection.call(&mut frame).await?)?;
            latencies.add(began.elapsed());
        }
        let p50 = p50_ms.map_or(Target::None, Target::AtMost);
        let p99 = p50_ms.map_or(Target::None, |_| Target::AtMost(5.0));
        report.figure(
            "latency",
            &format!("{what}, p50"),
            latencies.percentile(0.5),
            "ms",
            p50,
        );
        report.figure(
            "latency",
            &format!("{what}, p99"),
            latencies.percentile(0.99),
            "ms",
            p99,
        );
        report.figure(
            "latency",
            &format!("{what}, p99.9"),
            latencies.percentile(0.999),
            "ms",
            Target::None,
        );
    }
    Ok(())
}

/// One connection that keeps `in_flight` requests under way until `count` are answered.
async fn pump(
    mut connection: Connection,
    mut frames: Vec<Frame>,
    in_flight: u64,
    count: u64,
) -> Result<()> {
    let mut sent = 0;
    for received in 0..count {
        while sent < count && sent - received < in_flight {
            let at = sent as usize % frames.len();
            connection.send(&mut frames[at]).await?;
            sent += 1;
        }
        wire::produced(connection.receive().await?)?;
    }
    Ok(())
}

/// Requests spread over connections; answers the seconds that it took.
pub(super) async fn load(
    broker: &Broker,
    frames: &[Frame],
    connections: u64,
    in_flight: u64,
    requests: u64,
) -> Result<f64> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(&broker.address).await?);
    }
    let began = Instant::now();
    let pumps = open.into_iter().enumerate().map(|(at, connection)| {
        let mut frames = frames.to_vec();
        let shift = at % frames.len();
        frames.rotate_left(shift);
        pump(connection, frames, in_flight, requests / connections)
    });
    futures::future::try_join_all(pumps).await?;
    Ok(began.elapsed().as_secs_f64())
}

pub(super) async fn connections(bench: &Bench, report: &mut Report) -> Result<()> {
    for (what, arguments, target) in [
        ("fsync on", &["--fsync", "true"], Target::AtLeast(25_000.0)),
        ("fsync off", &["--fsync", "false"], Target::None),
    ] {
        let broker = bench.start(&bench.fresh(), arguments)?;
        create(&broker, TOPIC, 10).await?;
        let batch = wire::record_batch(1, 1024);
        let frames: Vec<Frame> = (0..10)
            .map(|partition| wire::produce(TOPIC, partition, &batch))
            .collect();
        load(&broker, &frames, 64, 1, bench.work(20_000)).await?;
        let (requests, cpu) = (bench.work(500_000), broker.cpu_seconds());
        let seconds = load(&broker, &frames, 64, 1, requests).await?;
        let cpu = (broker.cpu_seconds() - cpu) / requests as f64 * 1e6;
        report.figure(
            "connections",
            &format!("{what}, 64 of them"),
            requests as f64 / seconds,
            "requests/s",
            target,
        );
        report.figure(
            "connections",
            &format!("{what}, CPU"),
            cpu,
            "us/request",
            Target::None,
        );
    }
    Ok(())
}

pub(super) async fn throughput(bench: &Bench, report: &mut Report) -> Result<()> {
    let shapes = [
        ("16 KiB batches", 15, 8, bench.work(4 << 30)),
        ("1 KiB batches", 1, 64, bench.work(1 << 30)),
    ];
    for (what, records, in_flight, bytes) in shapes {
        let raw = yardstick::sequential(&bench.dir, bytes >> 20)?;
        let broker = bench.start(&bench.fresh(), &["--fsync", "true"])?;
        create(&broker, TOPIC, 10).await?;
        let batch = wire::record_batch(records, 1024);
        let frames: Vec<Frame> = (0..10)
            .map(|partition| wire::produce(TOPIC, partition, &batch))
            .collect();
        let requests = bytes / batch.len() as u64;
        let (cpu, written) = (broker.cpu_seconds(), broker.disk_bytes_written());
        let seconds = load(&broker, &frames, 4, in_flight / 4, requests).await?;
        let sent = (requests * batch.len() as u64) as f64;
        let cpu = (broker.cpu_seconds() - cpu) / (sent / GIB);
        let written = (broker.disk_bytes_written() - written) as f64 / sent;
        let speed = sent / MIB / seconds;
        report.figure(
            "produce",
            &format!("{what}, {in_flight} in flight"),
            speed,
            "MiB/s",
            Target::None,
        );
        report.figure(
            "produce",
            &format!("{what}, share of a raw append"),
            speed / raw,
            "",
            Target::None,
        );
        report.figure(
            "produce",
            &format!("{what}, CPU of the broker"),
            cpu,
            "s/GiB",
            Target::None,
        );
        report.figure(
            "produce",
            &format!("{what}, written to disk"),
            written,
            "bytes/byte",
            Target::None,
        );
        report.figure(
            "produce",
            &format!("{what}, most memory"),
            broker.peak_mb(),
            "MB",
            Target::None,
        );
    }
    Ok(())
}

pub(super) async fn in_memory(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&Data::Memory, &[])?;
    create(&broker, TOPIC, 10).await?;
    let batch = wire::record_batch(15, 1024);
    let frames: Vec<Frame> = (0..10)
        .map(|partition| wire::produce(TOPIC, partition, &batch))
        .collect();
    let requests = bench.work(2 << 30) / batch.len() as u64;
    let seconds = load(&broker, &frames, 4, 2, requests).await?;
    let mebibytes = (requests * batch.len() as u64) as f64 / MIB;
    let target = if bench.divide == 1 {
        Target::AtMost(2600.0)
    } else {
        Target::None
    };
    report.figure(
        "memory",
        &format!("{mebibytes:.0} MiB in 16 KiB batches"),
        mebibytes / seconds,
        "MiB/s",
        Target::None,
    );
    report.figure(
        "memory",
        "most resident memory",
        broker.peak_mb(),
        "MB",
        target,
    );
    Ok(())
}
