//! What a broker takes without much to do: start, idleness, many topics, many connections.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Bench, TOPIC, create};
use crate::broker::Data;
use crate::report::{Latencies, Report, Target};
use crate::wire::{self, Connection};

pub(super) async fn start(bench: &Bench, report: &mut Report) -> Result<()> {
    for (what, limit_ms) in [("empty directory", 100.0), ("in memory", 40.0)] {
        let mut latencies = Latencies::default();
        for _ in 0..9 {
            let data = if what == "in memory" {
                Data::Memory
            } else {
                bench.fresh()
            };
            let broker = bench.start(&data, &[])?;
            let mut connection = Connection::open(&broker.address).await?;
            connection.call(&mut wire::metadata(Some(TOPIC))).await?;
            let mut frame = wire::produce(TOPIC, 0, &wire::record_batch(1, 100));
            wire::produced(connection.call(&mut frame).await?)?;
            latencies.add(broker.since_start());
        }
        let what = format!("to the first acknowledged produce, {what}, median of 9");
        report.figure(
            "start",
            &what,
            latencies.percentile(0.5),
            "ms",
            Target::AtMost(limit_ms),
        );
    }
    Ok(())
}

pub(super) async fn idle(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&bench.fresh(), &[])?;
    create(&broker, TOPIC, 1).await?;
    // What the start itself still has to do is not idleness: files that it replaced are removed after a
    // minute.
    tokio::time::sleep(Duration::from_secs(if bench.divide == 1 { 100 } else { 3 })).await;
    let (cpu, written) = (broker.cpu_seconds(), broker.disk_bytes_written());
    let seconds = (60 / bench.divide).max(5);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let share = (broker.cpu_seconds() - cpu) / seconds as f64 * 100.0;
    let written = (broker.disk_bytes_written() - written) as f64;
    report.figure(
        "idle",
        "resident memory",
        broker.resident_mb(),
        "MB",
        Target::AtMost(25.0),
    );
    report.figure("idle", "CPU", share, "% of a core", Target::AtMost(0.5));
    report.figure(
        "idle",
        &format!("written in {seconds} s"),
        written,
        "bytes",
        Target::AtMost(0.0),
    );
    Ok(())
}

pub(super) async fn topics(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&bench.fresh(), &[])?;
    let mut connection = Connection::open(&broker.address).await?;
    let names: Vec<String> = (0..bench.work(1000))
        .map(|i| format!("topic-{i:04}"))
        .collect();
    let began = Instant::now();
    for some in names.chunks(50) {
        wire::created(connection.call(&mut wire::create_topics(some, 10)).await?)?;
    }
    let created = began.elapsed().as_secs_f64();
    let mut latencies = Latencies::default();
    for _ in 0..20 {
        let began = Instant::now();
        connection.call(&mut wire::metadata(None)).await?;
        latencies.add(began.elapsed());
    }
    let count = names.len();
    report.figure(
        "topics",
        &format!("{count} of 10 partitions created"),
        created,
        "s",
        Target::AtMost(10.0),
    );
    report.figure(
        "topics",
        "metadata of all, median",
        latencies.percentile(0.5),
        "ms",
        Target::AtMost(100.0),
    );
    report.figure(
        "topics",
        "metadata of all, slowest of 20",
        latencies.percentile(1.0),
        "ms",
        Target::AtMost(100.0),
    );
    report.figure(
        "topics",
        "resident memory",
        broker.resident_mb(),
        "MB",
        Target::AtMost(200.0),
    );
    Ok(())
}

pub(super) async fn sockets(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&bench.fresh(), &["--set", "max.connections=20000"])?;
    let mut idle = Vec::new();
    for _ in 0..bench.work(10_000) {
        idle.push(Connection::open(&broker.address).await?);
    }
    // Each has asked once, as a real client does.
    for connection in &mut idle {
        connection
            .call(&mut wire::metadata(Some("no.such.topic.yet")))
            .await?;
    }
    let what = format!("{} idle connections, resident memory", idle.len());
    report.figure(
        "sockets",
        &what,
        broker.resident_mb(),
        "MB",
        Target::AtMost(150.0),
    );
    drop(idle);
    drop(broker);

    let broker = bench.start(&bench.fresh(), &[])?;
    let deadline = Instant::now() + Duration::from_secs((20 / bench.divide).max(3));
    let senders = (0..200).map(|_| send_slowly_refused(&broker.address, deadline));
    let taken: u64 = futures::future::try_join_all(senders)
        .await?
        .into_iter()
        .sum();
    report.figure(
        "sockets",
        "200 frames of 100 MiB, bytes the broker took",
        taken as f64 / 1e6,
        "MB",
        Target::None,
    );
    report.figure(
        "sockets",
        "200 frames of 100 MiB, most memory",
        broker.peak_mb(),
        "MB",
        Target::AtMost(400.0),
    );
    create(&broker, TOPIC, 1).await?;
    Ok(())
}

/// Sends all but the last byte of a Produce frame of 100 MiB as fast as the broker takes it; answers
/// how much that was. The frame never ends, so the broker holds what it has read.
async fn send_slowly_refused(address: &str, deadline: Instant) -> Result<u64> {
    const SIZE: usize = 100 << 20;
    let mut stream = TcpStream::connect(address).await?;
    let mut head = Vec::new();
    head.extend_from_slice(&(SIZE as i32).to_be_bytes());
    head.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 1, 0, 4, b'l', b'o', b'a', b'd']);
    stream.write_all(&head).await?;
    let chunk = vec![0; 256 << 10];
    let mut sent = 10;
    while sent + chunk.len() < SIZE {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, stream.write(&chunk)).await {
            Ok(Ok(0) | Err(_)) | Err(_) => break,
            Ok(Ok(count)) => sent += count,
        }
    }
    // Held open until all others are done, or memory would be given back early.
    tokio::time::sleep(deadline.saturating_duration_since(Instant::now())).await;
    Ok(sent as u64)
}
