//! What the log database costs its users, through the crate: appends that wait until they are durable,
//! scans, the wake-up of a tail, idle tails, counts.
//!
//! ```text
//! cargo run --release -p trestle-storage --example log_bench             # every measure
//! cargo run --release -p trestle-storage --example log_bench -- append   # one of them
//! cargo run --release -p trestle-storage --example log_bench -- --fsync true --seconds 10 append
//! ```
//!
//! Without `--fsync true` a local disk is not synced, as in OpenData's own benchmark, which counts what
//! its writer has accepted; here an append counts when it is durable and readers see it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark stands outside of the world of passed-in time"
)]

mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use slatedb_common::metrics::{DefaultMetricsRecorder, MetricValue};
use trestle_storage::{Config, LogDb, LogDbBuilder, LogRead, Metrics, Record, StorageConfig};

use usage::Usage;

#[derive(Parser)]
#[command(about = "Measures the log database through the crate")]
struct Arguments {
    /// Measures to run; none: all of them
    measures: Vec<Measure>,
    /// Where to put the data; a fresh directory in it is used and removed
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Whether to sync before acknowledging
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    fsync: bool,
    /// How long each measure appends
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Records that are counted
    #[arg(long, default_value_t = 10_000_000)]
    records: u64,
    /// Writers that append at a time
    #[arg(long, default_value_t = 64)]
    writers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// 1 and 100 records a call, 256 B and 1 KiB
    Append,
    /// Writes of the write-ahead log while 64 appends wait at a time
    Waiters,
    /// One log of ten from its start
    Scan,
    /// From the call of append to the entry in a tail
    Tail,
    /// 1,000 tails without anything to read
    Idle,
    /// The records of a log, in all and in a range
    Count,
}

/// Bytes read from the disk.
const READ: &str = "read_bytes:";

struct Bench {
    arguments: Arguments,
    counted: Arc<DefaultMetricsRecorder>,
}

impl Bench {
    async fn open(&self, directory: &tempfile::TempDir) -> Result<LogDb> {
        let config = Config {
            storage: StorageConfig::Local(directory.path().join("log")),
            no_fsync: !self.arguments.fsync,
            ..Config::default()
        };
        let metrics = Metrics::new(self.counted.clone());
        Ok(LogDbBuilder::new(config)
            .with_metrics(metrics)
            .build()
            .await?)
    }

    fn directory(&self) -> Result<tempfile::TempDir> {
        std::fs::create_dir_all(&self.arguments.directory)?;
        Ok(tempfile::tempdir_in(&self.arguments.directory)?)
    }

    fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let metrics = self.counted.snapshot();
        let found = metrics.by_name_and_labels(name, labels);
        found.map_or(0, |metric| match &metric.value {
            MetricValue::Counter(count) => *count,
            _ => 0,
        })
    }

    fn commits(&self) -> u64 {
        self.counter("trestle.storage.commits", &[])
    }

    fn engine_reads(&self) -> u64 {
        self.counter("trestle.storage.reads", &[("from", "engine")])
    }

    /// Appends with all writers for the time given; calls a second and their latencies.
    async fn append_for(
        &self,
        log: &LogDb,
        batch: usize,
        size: usize,
    ) -> Result<(f64, Vec<Duration>)> {
        let over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..self.arguments.writers)
            .map(|writer| {
                let (log, over) = (log.clone(), Arc::clone(&over));
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    let mut next = writer;
                    while !over.load(Ordering::Relaxed) {
                        // 1,000 keys.
                        next = (next * 31 + 7) % 1000;
                        let key = Bytes::from(format!("key-{next:04}"));
                        let records = (0..batch).map(|_| Record {
                            key: key.clone(),
                            value: Bytes::from(vec![b'x'; size]),
                        });
                        let began = Instant::now();
                        log.append(records.collect()).await?;
                        latencies.push(began.elapsed());
                    }
                    anyhow::Ok(latencies)
                })
            })
            .collect();
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(self.arguments.seconds)).await;
        over.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        for writer in writers {
            latencies.extend(writer.await??);
        }
        let rate = latencies.len() as f64 / began.elapsed().as_secs_f64();
        latencies.sort();
        Ok((rate, latencies))
    }

    async fn append(&self) -> Result<()> {
        for (batch, size) in [(1, 256), (1, 1024), (100, 256), (100, 1024)] {
            let directory = self.directory()?;
            let log = self.open(&directory).await?;
            let before = Usage::now(READ)?;
            let (rate, latencies) = self.append_for(&log, batch, size).await?;
            let cpu = Usage::now(READ)?.cpu - before.cpu;
            let target = match (batch, size) {
                (1, 256) => ", target 60,000",
                _ => "",
            };
            println!(
                "append {batch} x {size} B, {} writers: {rate:.0} durable appends/s{target}; {:.0} records/s, \
                 {:.1} MB/s; p50 {:.2} ms, p99 {:.2} ms; {:.1} us of CPU an append",
                self.arguments.writers,
                rate * batch as f64,
                rate * (batch * size) as f64 / 1e6,
                percentile(&latencies, 50),
                percentile(&latencies, 99),
                cpu.as_secs_f64() * 1e6 / latencies.len() as f64,
            );
            log.close().await?;
        }
        Ok(())
    }

    async fn waiters(&self) -> Result<()> {
        let directory = self.directory()?;
        let log = self.open(&directory).await?;
        let before = self.commits();
        let (_, latencies) = self.append_for(&log, 1, 256).await?;
        let commits = self.commits() - before;
        println!(
            "waiters: {} appends of {} writers in {commits} writes of the log: {:.1} appends a write",
            latencies.len(),
            self.arguments.writers,
            latencies.len() as f64 / commits.max(1) as f64,
        );
        log.close().await?;
        Ok(())
    }

    async fn scan(&self) -> Result<()> {
        let directory = self.directory()?;
        let log = self.open(&directory).await?;
        let value = Bytes::from(vec![b'x'; 1024]);
        let total = self.arguments.records.min(400_000);
        for n in 0..total / 100 {
            let key = Bytes::from(format!("key-{}", n % 10));
            let record = Record {
                key,
                value: value.clone(),
            };
            log.append_timeout(vec![record; 100], Duration::from_secs(60))
                .await?;
        }
        log.flush().await?;
        log.close().await?;
        let log = self.open(&directory).await?;
        for round in ["first", "second"] {
            let (before, mut entries, mut bytes) = (Usage::now(READ)?, 0u64, 0usize);
            let mut scan = log.scan(Bytes::from("key-3"), ..).await?;
            while let Some(entry) = scan.next().await? {
                entries += 1;
                bytes += entry.value.len();
            }
            let seconds = before.at.elapsed().as_secs_f64();
            println!(
                "scan of one log of ten, 1 KiB records, {round} time: {entries} records, {:.0} records/s, \
                 {:.0} MB/s",
                entries as f64 / seconds,
                bytes as f64 / 1e6 / seconds
            );
        }
        log.close().await?;
        Ok(())
    }

    async fn tail(&self) -> Result<()> {
        let directory = self.directory()?;
        let log = self.open(&directory).await?;
        let key = Bytes::from("tailed");
        let mut tail = log.tail(key.clone(), 0).await?;
        let reader = tokio::spawn(async move {
            let mut latencies = Vec::new();
            while let Some(entry) = tail.next().await? {
                let sent: [u8; 8] = entry.value[..8].try_into()?;
                let now = now_ns();
                if sent == [0; 8] {
                    break;
                }
                latencies.push(Duration::from_nanos(now - u64::from_be_bytes(sent)));
            }
            latencies.sort();
            anyhow::Ok(latencies)
        });
        let until = Instant::now() + Duration::from_secs(self.arguments.seconds);
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let record = |stamp: u64| {
            let mut value = stamp.to_be_bytes().to_vec();
            value.resize(256, b'x');
            Record {
                key: key.clone(),
                value: value.into(),
            }
        };
        while Instant::now() < until {
            ticks.tick().await;
            log.try_append(vec![record(now_ns())]).await?;
        }
        log.append(vec![record(0)]).await?;
        let latencies = reader.await??;
        println!(
            "append to tail, 1,000 records/s: p50 {:.3} ms, p99 {:.3} ms, target 5; highest {:.3} ms",
            percentile(&latencies, 50),
            percentile(&latencies, 99),
            percentile(&latencies, 100),
        );
        log.close().await?;
        Ok(())
    }

    async fn idle(&self) -> Result<()> {
        let directory = self.directory()?;
        let log = self.open(&directory).await?;
        for n in 0..1000 {
            let record = Record {
                key: Bytes::from(format!("idle-{n}")),
                value: Bytes::from("x"),
            };
            log.try_append(vec![record]).await?;
        }
        log.flush().await?;
        let woken = Arc::new(AtomicU64::new(0));
        let mut followers = Vec::new();
        for n in 0..1000 {
            let mut tail = log.tail(Bytes::from(format!("idle-{n}")), 0).await?;
            let woken = Arc::clone(&woken);
            followers.push(tokio::spawn(async move {
                while let Ok(Some(_)) = tail.next().await {
                    woken.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        // What the start has left to do is not idleness.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (before, reads) = (Usage::now(READ)?, self.engine_reads());
        tokio::time::sleep(Duration::from_secs(self.arguments.seconds)).await;
        let after = Usage::now(READ)?;
        println!(
            "1,000 idle tails: {:.2} % of a core, target 2; {} reads of the engine, {} bytes from the disk, \
             target 0",
            100.0 * (after.cpu - before.cpu).as_secs_f64() / (after.at - before.at).as_secs_f64(),
            self.engine_reads() - reads,
            after.bytes - before.bytes,
        );
        anyhow::ensure!(
            woken.load(Ordering::Relaxed) == 1000,
            "each has read its record"
        );
        for follower in followers {
            follower.abort();
        }
        log.close().await?;
        Ok(())
    }

    async fn counts(&self) -> Result<()> {
        let directory = self.directory()?;
        let log = self.open(&directory).await?;
        let record = Record {
            key: Bytes::from("counted"),
            value: Bytes::from("0123456789abcdef"),
        };
        let began = Instant::now();
        for _ in 0..self.arguments.records / 1000 {
            let batch = vec![record.clone(); 1000];
            log.append_timeout(batch, Duration::from_secs(60)).await?;
        }
        log.flush().await?;
        let rate = self.arguments.records as f64 / began.elapsed().as_secs_f64();
        println!("{} records appended at {rate:.0}/s", self.arguments.records);
        let last = self.arguments.records;
        for (what, range) in [
            ("all", 0..u64::MAX),
            ("a range", last / 3..last / 3 * 2),
            ("the end", last - 1000..last),
        ] {
            let mut latencies = Vec::new();
            let mut count = 0;
            for _ in 0..1000 {
                let began = Instant::now();
                count = log.count(record.key.clone(), range.clone()).await?;
                latencies.push(began.elapsed());
            }
            latencies.sort();
            println!(
                "count of {what}: {count} records, p50 {:.4} ms, p99 {:.4} ms, target 1",
                percentile(&latencies, 50),
                percentile(&latencies, 99)
            );
        }
        log.close().await?;
        Ok(())
    }
}

fn now_ns() -> u64 {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    // Never zero, which says that it is over.
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

/// In milliseconds; of a sorted sample.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted
        .get(at)
        .map_or(0.0, |found| found.as_secs_f64() * 1e3)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let chosen = arguments.measures.clone();
    let bench = Bench {
        arguments,
        counted: Arc::new(DefaultMetricsRecorder::new()),
    };
    for measure in Measure::value_variants() {
        if !chosen.is_empty() && !chosen.contains(measure) {
            continue;
        }
        match measure {
            Measure::Append => bench.append().await?,
            Measure::Waiters => bench.waiters().await?,
            Measure::Scan => bench.scan().await?,
            Measure::Tail => bench.tail().await?,
            Measure::Idle => bench.idle().await?,
            Measure::Count => bench.counts().await?,
        }
    }
    Ok(())
}
