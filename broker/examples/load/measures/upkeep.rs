//! What the broker does by itself beside its clients: compaction, retention, and space that comes back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::produce::load;
use super::{Bench, GIB, MIB, create};
use crate::broker::{Broker, Data};
use crate::report::{Latencies, Report, Target};
use crate::wire::{self, Connection, Frame};

const COMPACTED: &str = "compacted";
const LIVE: &str = "live";
/// Records of a batch, and bytes of each.
const BATCH: (usize, usize) = (15, 1024);

/// Of a directory's tables.
fn table_bytes(directory: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(directory.join("db/compacted")) else {
        return 0;
    };
    let sizes = files.flatten().filter_map(|file| file.metadata().ok());
    sizes.map(|metadata| metadata.len()).sum()
}

fn directory(data: &Data) -> Result<PathBuf> {
    match data {
        Data::Directory(path) => Ok(path.clone()),
        Data::Memory => bail!("not on a disk"),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            std::fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// Waits until the broker has been at work and then used no CPU to speak of for two seconds; answers
/// when that began.
async fn rests(broker: &Broker) -> Result<Instant> {
    let deadline = Instant::now() + Duration::from_secs(600);
    let (mut busy, mut since, mut last) = (false, Instant::now(), broker.cpu_seconds());
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = broker.cpu_seconds();
        if now - last > 0.03 {
            (busy, since) = (true, Instant::now());
        } else if since.elapsed() > Duration::from_secs(if busy { 2 } else { 8 }) {
            return Ok(since);
        }
        last = now;
    }
    bail!("the broker goes on and on")
}

/// Fills the compacted topic: `records` keys, each at random one of `keys`.
async fn fill(broker: &Broker, bytes: u64, keys: u64) -> Result<u64> {
    const IN_FLIGHT: u64 = 16;
    let mut connection = Connection::open(&broker.address).await?;
    let mut noise = 1;
    let mut next = || {
        let keys = std::array::from_fn::<u64, { BATCH.0 }, _>(|_| {
            noise = wire::xorshift(noise);
            noise % keys
        });
        wire::produce(COMPACTED, 0, &wire::keyed_batch(&keys, BATCH.1))
    };
    let batches = bytes / (BATCH.0 * BATCH.1) as u64;
    let mut sent = 0;
    for received in 0..batches {
        while sent < batches && sent - received < IN_FLIGHT {
            connection.send(&mut next()).await?;
            sent += 1;
        }
        wire::produced(connection.receive().await?)?;
    }
    Ok(batches * (BATCH.0 * BATCH.1) as u64)
}

/// Producers of 16 KiB batches to a topic that is not compacted; bytes a second.
async fn producers(broker: &Broker, bytes: u64) -> Result<f64> {
    let batch = wire::record_batch(BATCH.0, BATCH.1);
    let frames: Vec<Frame> = (0..10)
        .map(|partition| wire::produce(LIVE, partition, &batch))
        .collect();
    let requests = bytes / batch.len() as u64;
    let seconds = load(broker, &frames, 4, 2, requests).await?;
    Ok((requests * batch.len() as u64) as f64 / seconds)
}

pub(super) async fn compaction(bench: &Bench, report: &mut Report) -> Result<()> {
    const OFF: &[&str] = &["--set", "log.cleaner.enable=false"];
    const ON: &[&str] = &[
        "--set",
        "log.cleaner.backoff.ms=500",
        "--set",
        "log.initial.task.delay.ms=0",
    ];
    let (data, beside) = (bench.fresh(), bench.fresh());
    let bytes = bench.work(1 << 30);
    let broker = bench.start(&data, OFF)?;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let mut connection = Connection::open(&broker.address).await?;
    let mut frame = wire::create_topic_with(COMPACTED, 1, &configs);
    wire::created(connection.call(&mut frame).await?)?;
    create(&broker, LIVE, 10).await?;
    // A third of the records is the last of its key.
    let filled = fill(&broker, bytes, bytes / BATCH.1 as u64 / 3).await?;
    drop(connection);
    broker.stop()?;
    copy(&directory(&data)?, &directory(&beside)?)?;

    // Alone: what it costs.
    let broker = bench.start(&data, ON)?;
    let (began, cpu) = (Instant::now(), broker.cpu_seconds());
    let ended = rests(&broker).await?;
    let cpu = broker.cpu_seconds() - cpu;
    let seconds = ended.duration_since(began).as_secs_f64();
    let figures = [
        (
            "1 GiB of keys alone, by the clock",
            filled as f64 / 1e6 / seconds,
            "MB/s",
            Target::None,
        ),
        (
            "1 GiB of keys alone, a second of CPU",
            filled as f64 / 1e6 / cpu,
            "MB",
            Target::AtLeast(60.0),
        ),
        ("CPU", cpu / (filled as f64 / GIB), "s/GiB", Target::None),
        ("most memory", broker.peak_mb(), "MB", Target::None),
    ];
    for (what, value, unit, target) in figures {
        report.figure("compaction", what, value, unit, target);
    }
    drop(broker);

    // Beside producers: what they lose.
    let sent = bench.work(4 << 30);
    let broker = bench.start(&beside, OFF)?;
    producers(&broker, sent / 8).await?;
    let before = producers(&broker, sent).await?;
    broker.stop()?;
    let broker = bench.start(&beside, ON)?;
    producers(&broker, sent / 8).await?;
    let during = producers(&broker, sent).await?;
    let lost = (1.0 - during / before) * 100.0;
    report.figure(
        "compaction",
        "producers without it",
        before / MIB,
        "MiB/s",
        Target::None,
    );
    report.figure(
        "compaction",
        "producers beside it",
        during / MIB,
        "MiB/s",
        Target::None,
    );
    report.figure(
        "compaction",
        "what producers lose",
        lost,
        "%",
        Target::AtMost(30.0),
    );
    Ok(())
}

pub(super) async fn retention(bench: &Bench, report: &mut Report) -> Result<()> {
    let arguments = [
        "--set",
        "log.retention.check.interval.ms=1000",
        "--set",
        "log.initial.task.delay.ms=0",
    ];
    let broker = bench.start(&bench.fresh(), &arguments)?;
    let topics = bench.work(1000);
    let mut connection = Connection::open(&broker.address).await?;
    let names: Vec<String> = (0..topics).map(|at| format!("topic-{at}")).collect();
    for names in names.chunks(100) {
        let mut frame = wire::create_topics(names, 1);
        wire::created(connection.call(&mut frame).await?)?;
    }
    let batch = wire::record_batch(1, 1000);
    for _ in 0..3 {
        for name in &names {
            let mut frame = wire::produce(name, 0, &batch);
            wire::produced(connection.call(&mut frame).await?)?;
        }
    }
    rests(&broker).await?;
    let (began, cpu) = (Instant::now(), broker.cpu_seconds());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let share = (broker.cpu_seconds() - cpu) / began.elapsed().as_secs_f64() * 100.0;
    let what = format!("{topics} topics, nothing expires, looked at every second");
    report.figure(
        "retention",
        &what,
        share,
        "% of a core",
        Target::AtMost(1.0),
    );
    Ok(())
}

pub(super) async fn expiry(bench: &Bench, report: &mut Report) -> Result<()> {
    let (kept, _) = written_per_byte(bench, "-1").await?;
    let (expired, back) = written_per_byte(bench, "5000").await?;
    report.figure(
        "expiry",
        "space is back after the last record",
        back.as_secs_f64(),
        "s",
        Target::None,
    );
    for (what, written) in [("nothing expires", kept), ("all expires", expired)] {
        let what = format!("bytes written per byte produced, {what}");
        report.figure("expiry", &what, written, "", Target::None);
    }
    // Synced pages are written again with what comes after: the same without anything that expires.
    report.figure(
        "expiry",
        "bytes written for what expires, a byte produced",
        (expired - kept).max(0.0),
        "",
        Target::AtMost(0.02),
    );
    Ok(())
}

/// A hundredth of 100 GB, in segments of a hundredth of their size: the bytes that the broker writes for
/// each byte produced, until all that expires has gone, and how long that takes after the last record.
async fn written_per_byte(bench: &Bench, retention_ms: &str) -> Result<(f64, Duration)> {
    let data = bench.fresh();
    let arguments = [
        "--set",
        "log.retention.check.interval.ms=1000",
        "--set",
        "log.initial.task.delay.ms=0",
        "--set",
        "trestle.segment.bytes=2684354",
        "--set",
        "trestle.memtable.bytes=2684354",
        "--set",
        "trestle.wal.file.bytes=2684354",
    ];
    let broker = bench.start(&data, &arguments)?;
    let mut connection = Connection::open(&broker.address).await?;
    let mut frame = wire::create_topic_with(LIVE, 10, &[("retention.ms", retention_ms)]);
    wire::created(connection.call(&mut frame).await?)?;
    let bytes = bench.work(1 << 30);
    let written = broker.disk_bytes_written();
    let mut sent = 0;
    // For longer than the retention, so that segments die while others are written.
    while sent < bytes {
        let piece = bytes / 20;
        let batch = wire::record_batch(BATCH.0, BATCH.1);
        let frames: Vec<Frame> = (0..10)
            .map(|partition| wire::produce(LIVE, partition, &batch))
            .collect();
        load(&broker, &frames, 4, 2, piece / batch.len() as u64).await?;
        sent += piece / batch.len() as u64 * batch.len() as u64;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let ended = Instant::now();
    let directory = directory(&data)?;
    while retention_ms != "-1" && table_bytes(&directory) > bytes / 50 {
        if ended.elapsed() > Duration::from_secs(300) {
            bail!("{} bytes are left", table_bytes(&directory));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let written = (broker.disk_bytes_written() - written) as f64 / sent as f64;
    Ok((written, ended.elapsed()))
}

pub(super) async fn configs(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&bench.fresh(), &[])?;
    let mut connection = Connection::open(&broker.address).await?;
    let names: Vec<String> = (0..1000).map(|at| format!("topic-{at}")).collect();
    for names in names.chunks(100) {
        let mut frame = wire::create_topics(names, 1);
        wire::created(connection.call(&mut frame).await?)?;
    }
    let mut frame = wire::describe_configs(&names);
    let mut latencies = Latencies::default();
    let mut bytes = 0;
    for _ in 0..20 {
        let began = Instant::now();
        let answer = connection.call(&mut frame).await?;
        latencies.add(began.elapsed());
        bytes = answer.len();
        let count = answer.get(4..8).context("an answer")?;
        if count != 1000i32.to_be_bytes() {
            bail!("DescribeConfigs answered for others than 1,000 topics");
        }
    }
    let size = bytes as f64 / 1e6;
    report.figure(
        "configs",
        "all of 1,000 topics, the answer",
        size,
        "MB",
        Target::None,
    );
    let (median, slowest) = (latencies.percentile(0.5), latencies.percentile(1.0));
    report.figure(
        "configs",
        "all of 1,000 topics, median of 20",
        median,
        "ms",
        Target::AtMost(200.0),
    );
    report.figure(
        "configs",
        "all of 1,000 topics, slowest of 20",
        slowest,
        "ms",
        Target::None,
    );
    Ok(())
}
