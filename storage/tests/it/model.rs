//! Random operations on a store and on a model of it that cannot be wrong.
//!
//! Sizes are small, so that segments roll, memtables are written out, rows are compacted and segments
//! are rewritten, merged and dropped all the time; the store is closed and opened again, or left as a killed process leaves
//! it, in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use trestle_storage::{
    Entry, EntryFormat, Log, NewEntry, Options, ReadLimit, Rewriter, Rewritten, Store, WriteSet,
};

use crate::stored;
use crate::support::{clock, commit, in_directory, read_all};

/// What a log holds.
#[derive(Clone, Default)]
struct ModelLog {
    start_offset: u64,
    end_offset: u64,
    appended_bytes: u64,
    max_timestamp: i64,
    entries: Vec<ModelEntry>,
}

#[derive(Clone)]
struct ModelEntry {
    first_offset: u64,
    end_offset: u64,
    timestamp: i64,
    payload: Bytes,
}

impl ModelLog {
    fn new() -> Self {
        Self {
            max_timestamp: -1,
            ..Self::default()
        }
    }

    fn append(&mut self, entry: &NewEntry) {
        self.entries.push(ModelEntry {
            first_offset: entry.first_offset,
            end_offset: entry.first_offset + u64::from(entry.count),
            timestamp: entry.max_timestamp,
            payload: entry.payload.clone(),
        });
        self.end_offset = entry.first_offset + u64::from(entry.count);
        self.appended_bytes += entry.payload.len() as u64;
        self.max_timestamp = self.max_timestamp.max(entry.max_timestamp);
    }

    /// What reading from `offset` gives, as far as it goes.
    fn from(&self, offset: u64) -> impl Iterator<Item = &ModelEntry> {
        let offset = offset.max(self.start_offset);
        self.entries
            .iter()
            .filter(move |entry| entry.end_offset > offset)
    }
}

struct World {
    rng: StdRng,
    logs: BTreeMap<String, ModelLog>,
    rows: BTreeMap<Bytes, Bytes>,
    /// Sequence of the last record that is known.
    sequence: u64,
    next_name: u32,
}

fn options(directory: &tempfile::TempDir, seed: u64) -> Options {
    let mut options = in_directory(directory);
    options.segment_bytes = 60_000;
    options.memtable_bytes = 100_000;
    options.index_interval_bytes = 3_000;
    options.tail_bytes = if rewrites(seed) { 1 } else { 20_000 };
    options.wal_file_bytes = 100_000;
    options.upkeep_interval = Duration::from_millis(20);
    options.reclaim_delay = Duration::from_millis(10);
    // With and without merging.
    options.max_segments = if seed % 4 < 2 { 5 } else { 0 };
    options
}

/// Whether entries are rewritten: then none are kept in memory, where they stay as they were.
fn rewrites(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            logs: BTreeMap::new(),
            rows: BTreeMap::new(),
            sequence: 0,
            next_name: 0,
        };
        for _ in 0..4 {
            world.new_log();
        }
        world
    }

    fn new_log(&mut self) {
        let name = format!("log/{}", self.next_name);
        self.next_name += 1;
        self.logs.insert(name, ModelLog::new());
    }

    fn a_log(&mut self) -> String {
        let at = self.rng.random_range(0..self.logs.len());
        self.logs.keys().nth(at).expect("in range").clone()
    }

    fn an_entry(&mut self, name: &str) -> NewEntry {
        let end = self.logs[name].end_offset;
        let gap = if self.rng.random_bool(0.05) {
            self.rng.random_range(1..50)
        } else {
            0
        };
        let len = match self.rng.random_range(0..10) {
            0 => 0,
            1..7 => self.rng.random_range(1..400),
            7 | 8 => self.rng.random_range(400..6_000),
            _ => self.rng.random_range(6_000..30_000),
        };
        let mut payload = vec![0; len];
        self.rng.fill(&mut payload[..]);
        NewEntry {
            first_offset: end + gap,
            count: self.rng.random_range(1..20),
            max_timestamp: self.rng.random_range(-1..1_000_000),
            format: if self.rng.random_bool(0.9) {
                EntryFormat::Batch
            } else {
                EntryFormat::Raw
            },
            payload: payload.into(),
        }
    }

    async fn append(&mut self, store: &Store) -> Result<()> {
        // Several write sets on their way at once, so that they share rows.
        let mut answers = Vec::new();
        let sets = self.rng.random_range(1..12);
        for _ in 0..sets {
            let mut write_set = WriteSet::new();
            let entries = if self.rng.random_bool(0.8) {
                1
            } else {
                self.rng.random_range(2..6)
            };
            for _ in 0..entries {
                let name = self.a_log();
                let entry = self.an_entry(&name);
                write_set.append(&store.log(name.as_bytes()).await?, entry.clone());
                self.logs
                    .get_mut(&name)
                    .context("a known log")?
                    .append(&entry);
            }
            if self.rng.random_bool(0.2) {
                let key = Bytes::from(format!("row/{}", self.rng.random_range(0..30)));
                if self.rng.random_bool(0.3) {
                    write_set.delete_row(key.clone());
                    self.rows.remove(&key);
                } else {
                    let value = Bytes::from(self.rng.random::<u64>().to_string());
                    write_set.put_row(key.clone(), value.clone());
                    self.rows.insert(key, value);
                }
            }
            let (done, answer) = oneshot::channel();
            store.commit(write_set, move |result| {
                let _ = done.send(result);
            });
            answers.push(answer);
        }
        for answer in answers {
            let committed = answer.await??;
            ensure!(committed.first_sequence.is_some(), "a sequence was given");
        }
        let durable = store.durable_sequence();
        ensure!(durable > self.sequence, "the durable sequence moves");
        self.sequence = durable;
        Ok(())
    }

    async fn trim(&mut self, store: &Store) -> Result<()> {
        let name = self.a_log();
        let log = store.log(name.as_bytes()).await?;
        let model = self.logs.get_mut(&name).context("a known log")?;
        let start = match self.rng.random_range(0..4) {
            0 => model.end_offset,
            1 => model.end_offset + self.rng.random_range(0..3),
            _ => self.rng.random_range(model.start_offset..=model.end_offset),
        };
        model.start_offset = model.start_offset.max(start);
        model.end_offset = model.end_offset.max(start);
        let mut write_set = WriteSet::new();
        write_set.trim(&log, start);
        commit(store, write_set).await?;
        Ok(())
    }

    async fn remove(&mut self, store: &Store) -> Result<()> {
        let name = self.a_log();
        let log = store.log(name.as_bytes()).await?;
        let mut write_set = WriteSet::new();
        write_set.remove(&log);
        commit(store, write_set).await?;
        ensure!(
            log.read(0, limit(usize::MAX)).await?.is_empty(),
            "a removed log is empty"
        );
        self.logs.remove(&name);
        self.new_log();
        Ok(())
    }

    /// Has a sealed window of a log rewritten; what becomes of an entry depends on its place and size.
    async fn rewrite(&mut self, store: &Store) -> Result<()> {
        let name = self.a_log();
        let log = store.log(name.as_bytes()).await?;
        let held = store.hold_windows().await;
        let windows = log.windows().await?;
        let sealed: Vec<_> = windows.iter().filter(|window| window.sealed).collect();
        if sealed.is_empty() {
            return Ok(());
        }
        let window = sealed[self.rng.random_range(0..sealed.len())];
        let sieve = Sieve(self.rng.random_range(2..9));
        let rewriter: Arc<dyn Rewriter> = Arc::new(sieve);
        store
            .rewrite(window.segment, vec![(log.clone(), rewriter)])
            .await?;
        drop(held);
        let model = self.logs.get_mut(&name).context("a known log")?;
        let start_offset = model.start_offset;
        model.entries.retain_mut(|entry| {
            let here = (window.first_offset..window.end_offset).contains(&entry.first_offset);
            if !here || entry.end_offset <= start_offset {
                return true;
            }
            match sieve.of(entry.first_offset, &entry.payload) {
                Rewritten::Keep => true,
                Rewritten::Drop => false,
                Rewritten::Replace(payload) => {
                    entry.payload = payload;
                    true
                }
            }
        });
        Ok(())
    }

    async fn read_some(&mut self, store: &Store) -> Result<()> {
        let name = self.a_log();
        let model = self.logs[&name].clone();
        let log = store.log(name.as_bytes()).await?;
        let offset = self.rng.random_range(0..=model.end_offset + 2);
        let max_bytes = [1, 500, 5_000, 200_000][self.rng.random_range(0..4)];
        let end_offset = match self.rng.random_range(0..3) {
            0 => self.rng.random_range(0..=model.end_offset),
            _ => u64::MAX,
        };
        let max_entries = [1, 7, usize::MAX][self.rng.random_range(0..3)];
        let found = log
            .read(
                offset,
                ReadLimit {
                    end_offset,
                    max_bytes,
                    max_entries,
                },
            )
            .await?;
        let mut expected = Vec::new();
        let mut bytes = 0;
        for entry in model
            .from(offset)
            .filter(|entry| entry.first_offset < end_offset)
        {
            bytes += entry.payload.len();
            if !expected.is_empty() && (bytes > max_bytes || expected.len() >= max_entries) {
                break;
            }
            expected.push(entry);
        }
        let nothing = offset.max(model.start_offset) >= end_offset.min(model.end_offset);
        if nothing {
            expected.clear();
        }
        same(&found, &expected).with_context(|| {
            let sizes: Vec<_> = expected.iter().map(|entry| entry.payload.len()).collect();
            format!("{name} from {offset} to {end_offset}, {max_bytes} bytes, expected {sizes:?}")
        })?;

        let timestamp = self.rng.random_range(-1..1_000_001);
        let from = log.search_from(timestamp).await?;
        let first = model.from(0).find(|entry| entry.timestamp >= timestamp);
        match (from, first) {
            (None, Some(first)) => {
                anyhow::bail!("{name}: nothing at {timestamp}, but {}", first.first_offset)
            }
            (Some(from), Some(first)) => {
                let ahead = from.max(model.start_offset) < first.end_offset;
                ensure!(
                    ahead,
                    "{name}: {timestamp} from {from}, but it is at {}",
                    first.first_offset
                );
            }
            (_, None) => {}
        }
        Ok(())
    }

    async fn check_all(&self, store: &Store) -> Result<()> {
        for (name, model) in &self.logs {
            let log = store.log(name.as_bytes()).await?;
            let bounds = log.bounds();
            let expected = (
                model.start_offset,
                model.end_offset,
                model.appended_bytes,
                model.max_timestamp,
            );
            let found = (
                bounds.start_offset,
                bounds.end_offset,
                bounds.appended_bytes,
                bounds.max_timestamp,
            );
            ensure!(found == expected, "{name}: {found:?}, not {expected:?}");
            let found = read_all(&log, 0, 40_000).await?;
            let expected: Vec<_> = model.from(0).collect();
            same(&found, &expected).with_context(|| format!("all of {name}"))?;
        }
        let rows = store.rows(b"row/").await?;
        let expected: Vec<_> = self
            .rows
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        ensure!(rows == expected, "rows");
        let keys = store.keys(b"log/").await?;
        for key in &keys {
            let name = std::str::from_utf8(key)?;
            ensure!(
                self.logs.contains_key(name),
                "{name} was removed and is listed"
            );
        }
        for (name, model) in &self.logs {
            let listed = keys.iter().any(|key| key == name.as_bytes());
            ensure!(
                listed || model.start_offset == model.end_offset,
                "{name} is not listed"
            );
        }
        Ok(())
    }
}

/// Drops some entries, and makes others shorter.
#[derive(Clone, Copy)]
struct Sieve(u64);

impl Sieve {
    fn of(self, first_offset: u64, payload: &Bytes) -> Rewritten {
        match first_offset % self.0 {
            _ if payload.len() < 2 => Rewritten::Keep,
            0 => Rewritten::Drop,
            1 => Rewritten::Replace(payload.slice(..payload.len() / 2)),
            _ => Rewritten::Keep,
        }
    }
}

impl Rewriter for Sieve {
    fn rewrite(&self, entry: &Entry) -> Rewritten {
        self.of(entry.first_offset, &entry.payload)
    }
}

fn limit(max_bytes: usize) -> ReadLimit {
    ReadLimit {
        end_offset: u64::MAX,
        max_bytes,
        max_entries: usize::MAX,
    }
}

fn same(found: &[Entry], expected: &[&ModelEntry]) -> Result<()> {
    ensure!(
        found.len() == expected.len(),
        "{} entries, not {}",
        found.len(),
        expected.len()
    );
    let mut sequence = 0;
    for (found, expected) in found.iter().zip(expected) {
        let at = expected.first_offset;
        ensure!(
            found.first_offset == at,
            "offset {}, not {at}",
            found.first_offset
        );
        ensure!(
            found.end_offset() == expected.end_offset,
            "another end at {at}"
        );
        ensure!(found.payload == expected.payload, "another payload at {at}");
        ensure!(
            found.first_sequence >= sequence,
            "sequences go back at {at}"
        );
        sequence = found.first_sequence + u64::from(found.count);
    }
    Ok(())
}

fn run(seed: u64, lives: usize, steps: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut world = World::new(seed);
    for life in 0..lives {
        let runtime = Runtime::new()?;
        let killed = world.rng.random_bool(0.5);
        runtime
            .block_on(async {
                let store = Store::open(options(&directory, seed), clock()).await?;
                ensure!(
                    store.durable_sequence() >= world.sequence,
                    "sequences go back"
                );
                world.check_all(&store).await.context("after opening")?;
                // Some handles stay open, others come and go.
                let kept: Vec<Log> = match world.rng.random_bool(0.5) {
                    true => vec![store.log(world.a_log().as_bytes()).await?],
                    false => Vec::new(),
                };
                for step in 0..steps {
                    let done = match world.rng.random_range(0..20) {
                        0 => world.trim(&store).await,
                        1 if world.rng.random_bool(0.3) => world.remove(&store).await,
                        2 if rewrites(seed) && world.rng.random_bool(0.3) => {
                            world.rewrite(&store).await
                        }
                        3..11 => world.append(&store).await,
                        _ => world.read_some(&store).await,
                    };
                    done.with_context(|| format!("step {step}"))?;
                }
                world.check_all(&store).await.context("at the end")?;
                drop(kept);
                if !killed {
                    store.close().await?;
                    let stored = directory.path().join("store");
                    stored::check(&stored).await.context("what is stored")?;
                }
                anyhow::Ok(())
            })
            .with_context(|| {
                format!("seed {seed}, life {life}, the one before was killed or closed")
            })?;
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
    Ok(())
}

#[test]
fn random_operations_agree_with_the_model() -> Result<()> {
    let seeds = match std::env::var("TRESTLE_MODEL_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse()?;
            seed..seed + 1
        }
        Err(_) => 0..4,
    };
    // Side by side, for each of them mostly waits.
    std::thread::scope(|scope| {
        let runs: Vec<_> = seeds
            .map(|seed| scope.spawn(move || run(seed, 5, 120)))
            .collect();
        runs.into_iter().try_for_each(|run| match run.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
