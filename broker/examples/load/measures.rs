//! The measures: each starts its own broker, loads it and reports.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::LocalBoxFuture;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::broker::{Broker, Data};
use crate::report::{Latencies, Report, Target};
use crate::wire::{self, Connection, Frame};
use crate::yardstick;

const TOPIC: &str = "load";
const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// What all measures share.
pub(crate) struct Bench {
    pub(crate) binary: PathBuf,
    pub(crate) dir: PathBuf,
    /// Divides every amount of work.
    pub(crate) divide: u64,
}

/// One measure.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: for<'a> fn(&'a Bench, &'a mut Report) -> LocalBoxFuture<'a, Result<()>>,
}

/// All measures, in the order in which they run.
pub(crate) const ALL: &[Measure] = &[
    Measure {
        name: "disk",
        about: "the yardstick: what a bare append to a file gives",
        run: |b, r| Box::pin(disk(b, r)),
    },
    Measure {
        name: "start",
        about: "start of the process to the first acknowledged produce",
        run: |b, r| Box::pin(start(b, r)),
    },
    Measure {
        name: "idle",
        about: "memory, CPU and writes of an idle broker",
        run: |b, r| Box::pin(idle(b, r)),
    },
    Measure {
        name: "latency",
        about: "one record of 1 KiB at a time, acks=all",
        run: |b, r| Box::pin(latency(b, r)),
    },
    Measure {
        name: "connections",
        about: "64 connections with one request of 1 KiB in flight each",
        run: |b, r| Box::pin(connections(b, r)),
    },
    Measure {
        name: "produce",
        about: "throughput of 16 KiB and of 1 KiB batches over 10 partitions",
        run: |b, r| Box::pin(throughput(b, r)),
    },
    Measure {
        name: "consume",
        about: "catch-up of one partition among ten, from page cache",
        run: |b, r| Box::pin(catch_up(b, r)),
    },
    Measure {
        name: "tail",
        about: "a consumer that keeps up: delay from send to receipt, and what the broker reads for it",
        run: |b, r| Box::pin(tail(b, r)),
    },
    Measure {
        name: "memory",
        about: "2 GiB produced to a broker in memory",
        run: |b, r| Box::pin(in_memory(b, r)),
    },
    Measure {
        name: "topics",
        about: "1,000 topics of 10 partitions: creation, metadata, memory",
        run: |b, r| Box::pin(topics(b, r)),
    },
    Measure {
        name: "sockets",
        about: "10,000 idle connections; 200 connections that each send a frame of 100 MiB",
        run: |b, r| Box::pin(sockets(b, r)),
    },
];

impl Bench {
    fn fresh(&self) -> Data {
        Data::fresh(&self.dir)
    }

    fn start(&self, data: &Data, more: &[&str]) -> Result<Broker> {
        Broker::start(&self.binary, data, more)
    }

    fn work(&self, amount: u64) -> u64 {
        (amount / self.divide).max(1)
    }
}

/// Creates a topic, and waits until each of its partitions takes a record.
async fn create(broker: &Broker, topic: &str, partitions: i32) -> Result<()> {
    let mut connection = Connection::open(&broker.address).await?;
    wire::created(
        connection
            .call(&mut wire::create_topics(&[topic.to_owned()], partitions))
            .await?,
    )?;
    let (batch, deadline) = (
        wire::record_batch(1, 100),
        Instant::now() + Duration::from_secs(10),
    );
    for partition in 0..partitions {
        let mut frame = wire::produce(topic, partition, &batch);
        while let Err(error) = wire::produced(connection.call(&mut frame).await?) {
            if Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

async fn disk(bench: &Bench, report: &mut Report) -> Result<()> {
    let speed = yardstick::sequential(&bench.dir, bench.work(2048))?;
    report.figure(
        "disk",
        "raw append, 16 KiB writes, fdatasync per 4 MiB",
        speed,
        "MiB/s",
        Target::None,
    );
    let mut latencies = yardstick::one_by_one(&bench.dir, bench.work(5000))?;
    report.figure(
        "disk",
        "raw append of 1 KiB with fdatasync, p50",
        latencies.percentile(0.5),
        "ms",
        Target::None,
    );
    report.figure(
        "disk",
        "raw append of 1 KiB with fdatasync, p99",
        latencies.percentile(0.99),
        "ms",
        Target::None,
    );
    Ok(())
}

async fn start(bench: &Bench, report: &mut Report) -> Result<()> {
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

async fn idle(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&bench.fresh(), &[])?;
    create(&broker, TOPIC, 1).await?;
    // What the start itself still has to do is not idleness.
    tokio::time::sleep(Duration::from_secs(3)).await;
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

async fn latency(bench: &Bench, report: &mut Report) -> Result<()> {
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
async fn load(
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

async fn connections(bench: &Bench, report: &mut Report) -> Result<()> {
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

async fn throughput(bench: &Bench, report: &mut Report) -> Result<()> {
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

async fn catch_up(bench: &Bench, report: &mut Report) -> Result<()> {
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

/// One producer sends a record at a time; one consumer follows it with long polls.
async fn tail(bench: &Bench, report: &mut Report) -> Result<()> {
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

async fn in_memory(bench: &Bench, report: &mut Report) -> Result<()> {
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

async fn topics(bench: &Bench, report: &mut Report) -> Result<()> {
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

async fn sockets(bench: &Bench, report: &mut Report) -> Result<()> {
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
