//! A process that is killed while it appends: what it said was durable is there.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;
use trestle_storage::{DataUrl, Options, Store, WriteSet};

use crate::support::{clock, entry, read_all};

const DIRECTORY: &str = "TRESTLE_CRASH_DIRECTORY";
const LOGS: [&str; 3] = ["a", "b", "c"];

fn options(directory: &str) -> Options {
    let mut options = Options::new(DataUrl::File(directory.into()));
    options.segment_bytes = 2 << 20;
    options.memtable_bytes = 1 << 20;
    options.wal_file_bytes = 1 << 20;
    options.upkeep_interval = Duration::from_millis(50);
    options
}

fn len_at(offset: u64) -> usize {
    if offset.is_multiple_of(7) { 9_000 } else { 300 }
}

/// The process that is killed. Says on standard output what is durable.
#[test]
fn child() -> Result<()> {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return Ok(());
    };
    Runtime::new()?.block_on(async {
        let store = Store::open(options(&directory), clock()).await?;
        let mut logs = Vec::new();
        for name in LOGS {
            let log = store.log(name.as_bytes()).await?;
            logs.push((name, log.bounds().end_offset, log));
        }
        println!("open");
        loop {
            store.ready().await;
            for (name, offset, log) in &mut logs {
                let (name, at) = (*name, *offset);
                let mut write_set = WriteSet::new();
                write_set.append(log, entry(name, at, len_at(at)));
                write_set.put_row(name, at.to_string());
                *offset += 1;
                store.commit(write_set, move |result| {
                    if result.is_ok() {
                        println!("durable {name} {at}");
                    }
                });
            }
            tokio::task::yield_now().await;
        }
    })
}

#[test]
fn what_was_durable_outlives_a_kill() -> Result<()> {
    let rounds = std::env::var("TRESTLE_CRASH_ROUNDS").map_or(Ok(12), |rounds| rounds.parse())?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let path = path.to_str().context("a readable path")?;
    let mut rng = StdRng::seed_from_u64(1);
    let mut durable = [None::<u64>; LOGS.len()];
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["crash::child", "--exact", "--nocapture"])
            .env(DIRECTORY, path)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("piped")?);
        let mut left = rng.random_range(0..4_000u32);
        for line in output.lines() {
            let line = line?;
            if let Some((name, offset)) = line
                .strip_prefix("durable ")
                .and_then(|l| l.split_once(' '))
            {
                let at = LOGS
                    .iter()
                    .position(|log| *log == name)
                    .context("a known log")?;
                durable[at] = Some(offset.parse()?);
            }
            match left.checked_sub(1) {
                Some(less) => left = less,
                // What it still says is read to the end.
                None => child.kill()?,
            }
        }
        child.wait()?;
        let runtime = Runtime::new()?;
        runtime
            .block_on(async {
                let store = Store::open(options(path), clock()).await?;
                for (name, durable) in LOGS.iter().zip(durable) {
                    let log = store.log(name.as_bytes()).await?;
                    let end = log.bounds().end_offset;
                    ensure!(
                        durable.is_none_or(|durable| durable < end),
                        "{name}: {durable:?} of {end}"
                    );
                    let all = read_all(&log, 0, 1 << 20).await?;
                    ensure!(all.len() as u64 == end, "{name}: {} of {end}", all.len());
                    for (offset, found) in (0..).zip(&all) {
                        ensure!(
                            found.payload == entry(name, offset, len_at(offset)).payload,
                            "{name} {offset}"
                        );
                    }
                    let row = store.row(name.as_bytes()).await?;
                    let expected = end.checked_sub(1).map(|last| last.to_string().into());
                    ensure!(row == expected, "{name}: its row is {row:?}, its end {end}");
                }
                store.close().await?;
                anyhow::Ok(())
            })
            .with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
