//! What the storage crate costs, measured beside a raw sequential append of the same bytes.
//!
//! ```text
//! cargo run --release -p trestle-storage --example storage_bench -- all
//! cargo run --release -p trestle-storage --example storage_bench -- append --mib 2048
//! ```
//!
//! Each line says what was measured and what the target is. CPU and bytes written come from
//! `/proc/self`, so figures of a subcommand are cleanest when it is run by itself.

mod usage;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use slatedb_common::clock::DefaultSystemClock;
use tokio::sync::{Semaphore, oneshot};
use trestle_storage::{DataUrl, EntryFormat, Log, NewEntry, Options, ReadLimit, Store, WriteSet};

use usage::{Usage, field};

#[derive(Parser)]
#[command(about = "Measures the storage crate")]
struct Arguments {
    /// Where to put the stores; a fresh directory in it is used and removed.
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Whether to sync before acknowledging.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    fsync: bool,
    /// Keep the store in memory.
    #[arg(long)]
    memory: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Everything below, one after the other.
    All,
    /// 16 KiB entries over 10 logs, durable, beside a raw append.
    Append {
        /// How much to append.
        #[arg(long, default_value_t = 1024)]
        mib: usize,
    },
    /// 1 KiB commits, 64 in flight, over 10 logs.
    Small {
        #[arg(long, default_value_t = 256)]
        mib: usize,
        /// Commits that wait for durability at any time.
        #[arg(long, default_value_t = 64)]
        in_flight: usize,
    },
    /// 1 KiB commits, one at a time.
    Latency {
        #[arg(long, default_value_t = 5000)]
        commits: usize,
    },
    /// Reads one log of ten from its start.
    Scan {
        #[arg(long, default_value_t = 2048)]
        mib: usize,
    },
    /// The first read of logs that lie in many segments.
    Many {
        #[arg(long, default_value_t = 10_000)]
        logs: usize,
        #[arg(long, default_value_t = 1000)]
        segments: usize,
    },
}

/// Bytes that were given to the system to write.
const WRITTEN: &str = "wchar:";

/// Highest resident memory since [`reset_peak`], in MiB.
fn peak_mib() -> Result<u64> {
    Ok(field("/proc/self/status", "VmHWM:")? / 1024)
}

fn reset_peak() {
    // Where it is not allowed, the peak is that of the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

struct Bench {
    arguments: Arguments,
}

impl Bench {
    fn options(&self, directory: &Path) -> Options {
        let data = match self.arguments.memory {
            true => DataUrl::Memory,
            false => DataUrl::File(directory.join("store")),
        };
        Options {
            fsync: self.arguments.fsync,
            ..Options::new(data)
        }
    }

    async fn open(&self, directory: &Path) -> Result<Store> {
        Ok(Store::open(self.options(directory), clock()).await?)
    }

    fn directory(&self) -> Result<tempfile::TempDir> {
        std::fs::create_dir_all(&self.arguments.directory)?;
        Ok(tempfile::tempdir_in(&self.arguments.directory)?)
    }

    async fn run(&self, command: Command) -> Result<()> {
        match command {
            Command::All => {
                for command in [
                    Command::Append { mib: 1024 },
                    Command::Small {
                        mib: 256,
                        in_flight: 64,
                    },
                    Command::Latency { commits: 5000 },
                    Command::Scan { mib: 2048 },
                    Command::Many {
                        logs: 10_000,
                        segments: 1000,
                    },
                ] {
                    Box::pin(self.run(command)).await?;
                }
                Ok(())
            }
            Command::Append { mib } => self.append(mib).await,
            Command::Small { mib, in_flight } => self.small(mib, in_flight).await,
            Command::Latency { commits } => self.latency(commits).await,
            Command::Scan { mib } => self.scan(mib).await,
            Command::Many { logs, segments } => self.many(logs, segments).await,
        }
    }

    async fn append(&self, mib: usize) -> Result<()> {
        let directory = self.directory()?;
        let used = Usage::now(WRITTEN)?;
        let raw = raw_append(directory.path(), mib, self.arguments.fsync)?;
        let raw_cpu = since(&used)?.0.as_secs_f64() * 1024.0 / mib as f64;
        println!("raw append: {raw:.0} MiB/s, {raw_cpu:.2} CPU s/GiB");
        reset_peak();
        let store = self.open(directory.path()).await?;
        let used = Usage::now(WRITTEN)?;
        let elapsed = fill(&store, mib, 16 << 10, 10, None).await?;
        let rate = mib as f64 / elapsed.as_secs_f64();
        store.close().await?;
        let (cpu, written) = since(&used)?;
        let (per_gib, bytes) = (1024.0 / mib as f64, (mib << 20) as f64);
        println!(
            "append 16 KiB x 10 logs: {rate:.0} MiB/s to durable, {:.2} of raw (target 0.4); \
             {:.2} CPU s/GiB (target 2.5); {:.3} bytes written per byte (target 2.05); \
             peak {} MiB (target 400)",
            rate / raw,
            cpu.as_secs_f64() * per_gib,
            written as f64 / bytes,
            peak_mib()?,
        );
        Ok(())
    }

    async fn small(&self, mib: usize, in_flight: usize) -> Result<()> {
        let directory = self.directory()?;
        reset_peak();
        let store = self.open(directory.path()).await?;
        let used = Usage::now(WRITTEN)?;
        let elapsed = fill(&store, mib, 1 << 10, 10, Some(in_flight)).await?;
        let (cpu, _) = since(&used)?;
        println!(
            "1 KiB commits, {in_flight} in flight, 10 logs: {:.0}/s; {:.2} CPU s/GiB (target 3.5); peak {} MiB",
            (mib << 10) as f64 / elapsed.as_secs_f64(),
            cpu.as_secs_f64() * 1024.0 / mib as f64,
            peak_mib()?,
        );
        store.close().await?;
        Ok(())
    }

    async fn latency(&self, commits: usize) -> Result<()> {
        let directory = self.directory()?;
        let store = self.open(directory.path()).await?;
        let log = store.log(b"log").await?;
        let mut took = Vec::with_capacity(commits);
        for offset in 0..commits {
            let mut write_set = WriteSet::new();
            write_set.append(&log, entry(offset as u64, 1 << 10));
            let (done, answer) = oneshot::channel();
            let begun = Instant::now();
            store.commit(write_set, move |result| {
                let _ = done.send(result);
            });
            answer.await??;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "1 KiB commits, one at a time, fsync {}: p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms",
            self.arguments.fsync,
            at(0.5),
            at(0.99),
            at(0.999)
        );
        store.close().await?;
        Ok(())
    }

    async fn scan(&self, mib: usize) -> Result<()> {
        let directory = self.directory()?;
        let store = self.open(directory.path()).await?;
        fill(&store, mib, 16 << 10, 10, None).await?;
        store.close().await?;
        drop(store);
        let store = self.open(directory.path()).await?;
        for round in 0..2 {
            for max_bytes in [256 << 10, 1 << 20, 8 << 20] {
                let used = Usage::now(WRITTEN)?;
                let log = store.log(b"log 3").await?;
                let limit = ReadLimit {
                    end_offset: u64::MAX,
                    max_bytes,
                    max_entries: usize::MAX,
                };
                let (mut offset, mut bytes) = (0, 0);
                loop {
                    let entries = log.read(offset, limit).await?;
                    let Some(last) = entries.last() else { break };
                    offset = last.end_offset();
                    bytes += entries
                        .iter()
                        .map(|entry| entry.payload.len())
                        .sum::<usize>();
                }
                let elapsed = used.at.elapsed();
                let (cpu, _) = since(&used)?;
                println!(
                    "scan of one log of ten, {} KiB a read, round {round}: {:.0} MiB/s (target 700), \
                     {:.2} CPU s/GiB",
                    max_bytes >> 10,
                    bytes as f64 / 1048576.0 / elapsed.as_secs_f64(),
                    cpu.as_secs_f64() * (1 << 30) as f64 / bytes as f64,
                );
            }
        }
        store.close().await?;
        Ok(())
    }

    async fn many(&self, logs: usize, segments: usize) -> Result<()> {
        let directory = self.directory()?;
        // Every commit is a segment of its own.
        let options = Options {
            segment_bytes: 1,
            ..self.options(directory.path())
        };
        let store = Store::open(options.clone(), clock()).await?;
        let begun = Instant::now();
        let mut handles = Vec::with_capacity(logs);
        for at in 0..logs {
            handles.push(store.log(name(at).as_bytes()).await?);
        }
        println!(
            "opened {logs} empty logs in {:.2} s",
            begun.elapsed().as_secs_f64()
        );
        let per_segment = (logs / 100).max(1);
        for segment in 0..segments {
            let mut write_set = WriteSet::new();
            for at in 0..per_segment {
                let log = &handles[(segment * per_segment + at) % logs];
                write_set.append(log, entry((segment / 100) as u64, 1 << 10));
            }
            let (done, answer) = oneshot::channel();
            store.commit(write_set, move |result| {
                let _ = done.send(result);
            });
            answer.await??;
        }
        drop(handles);
        store.close().await?;
        drop(store);
        println!(
            "{segments} segments written in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        let begun = Instant::now();
        let store = Store::open(options, clock()).await?;
        println!("reopened in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
        let mut took = Vec::new();
        for at in (0..logs).step_by((logs / 500).max(1)) {
            let begun = Instant::now();
            let log = store.log(name(at).as_bytes()).await?;
            let found = log
                .read(
                    0,
                    ReadLimit {
                        end_offset: u64::MAX,
                        max_bytes: 1 << 20,
                        max_entries: 1 << 20,
                    },
                )
                .await?;
            anyhow::ensure!(!found.is_empty(), "log {at} is empty");
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        println!(
            "{logs} logs over {segments} segments, open and first read: p50 {:.2} ms, worst of {} {:.2} ms \
             (target 20)",
            took[took.len() / 2].as_secs_f64() * 1e3,
            took.len(),
            took[took.len() - 1].as_secs_f64() * 1e3,
        );
        store.close().await?;
        Ok(())
    }
}

fn clock() -> Arc<DefaultSystemClock> {
    Arc::new(DefaultSystemClock::new())
}

fn name(at: usize) -> String {
    format!("log {at}")
}

fn since(used: &Usage) -> Result<(Duration, u64)> {
    let now = Usage::now(WRITTEN)?;
    Ok((now.cpu - used.cpu, now.bytes - used.bytes))
}

fn entry(first_offset: u64, len: usize) -> NewEntry {
    NewEntry {
        first_offset,
        count: 1,
        max_timestamp: first_offset as i64,
        format: EntryFormat::Batch,
        // Stands for what a socket was read into: an allocation of its own, filled.
        payload: Bytes::from(vec![b'x'; len]),
    }
}

/// 16 KiB writes, one sync for every 4 MiB: the yardstick, in MiB/s.
fn raw_append(directory: &Path, mib: usize, fsync: bool) -> Result<f64> {
    let path = directory.join("raw");
    let mut file = std::fs::File::create(&path)?;
    let begun = Instant::now();
    let chunk = vec![b'x'; 16 << 10];
    for written in 1..=(mib << 6) {
        file.write_all(&chunk)?;
        if fsync && written % 256 == 0 {
            file.sync_data()?;
        }
    }
    let elapsed = begun.elapsed();
    std::fs::remove_file(path)?;
    Ok(mib as f64 / elapsed.as_secs_f64())
}

/// Appends `mib` in entries of `len` to `logs` logs, with up to `in_flight` commits at a time or as
/// many as the store has room for; the time until all of it is durable.
async fn fill(
    store: &Store,
    mib: usize,
    len: usize,
    logs: usize,
    in_flight: Option<usize>,
) -> Result<Duration> {
    let mut handles: Vec<(Log, u64)> = Vec::new();
    for at in 0..logs {
        handles.push((store.log(name(at).as_bytes()).await?, 0));
    }
    let permits = Arc::new(Semaphore::new(in_flight.unwrap_or(Semaphore::MAX_PERMITS)));
    let begun = Instant::now();
    let commits = (mib << 20) / len;
    let (last, answer) = oneshot::channel();
    let mut last = Some(last);
    for commit in 0..commits {
        let permit = Arc::clone(&permits).acquire_owned().await?;
        store.ready().await;
        let (log, offset) = &mut handles[commit % logs];
        let mut write_set = WriteSet::new();
        write_set.append(log, entry(*offset, len));
        *offset += 1;
        let last = if commit + 1 == commits {
            last.take()
        } else {
            None
        };
        store.commit(write_set, move |result| {
            drop(permit);
            if let Some(last) = last {
                let _ = last.send(result);
            }
        });
    }
    answer.await??;
    Ok(begun.elapsed())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let command = arguments.command;
    Bench { arguments }.run(command).await
}
