//! What the tests in `s3` run in processes of their own, because the AWS variables belong to a process.
//! Each step says on standard output what the parent waits for.

use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use slatedb_common::clock::{SystemClock, SystemClockTicker};
use tokio::sync::oneshot;
use trestle_storage::{ErrorKind, Options, Store, StoreState, WriteSet};

use crate::support::{append, clock, entry, read_all};

fn options() -> Result<Options> {
    let url = std::env::var("TRESTLE_TEST_S3_URL").context("started by the tests in s3")?;
    Ok(Options::new(url.parse()?))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests in s3"]
async fn append_and_reopen() -> Result<()> {
    let store = Store::open(options()?, clock()).await?;
    ensure!(store.recovered().created);
    let log = store.log(b"log").await?;
    for offset in 0..50 {
        append(&store, &log, entry("log", offset, 10_000)).await?;
    }
    store.close().await?;
    drop((log, store));

    let store = Store::open(options()?, clock()).await?;
    ensure!(!store.recovered().created);
    let log = store.log(b"log").await?;
    let all = read_all(&log, 0, 100_000).await?;
    ensure!(all.len() == 50);
    for (offset, found) in (0..).zip(&all) {
        ensure!(found.payload == entry("log", offset, 10_000).payload);
    }
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests in s3"]
async fn second_writer_fences_the_first() -> Result<()> {
    let first = Store::open(options()?, clock()).await?;
    let log = first.log(b"log").await?;
    append(&first, &log, entry("log", 0, 100)).await?;

    let second = Store::open(options()?, clock()).await?;
    ensure!(second.epoch() > first.epoch());
    let taken_over = second.log(b"log").await?;
    ensure!(
        taken_over.bounds().end_offset == 1,
        "what was acknowledged is there"
    );
    append(&second, &taken_over, entry("log", 1, 100)).await?;

    let error = append(&first, &log, entry("log", 1, 200))
        .await
        .unwrap_err();
    ensure!(error.kind() == ErrorKind::Fenced, "{error}");
    let mut state = first.state();
    let closed = state
        .wait_for(|state| matches!(state, StoreState::Closed(_)))
        .await?
        .clone();
    let StoreState::Closed(why) = closed else {
        unreachable!("waited for it")
    };
    ensure!(why.kind() == ErrorKind::Fenced, "{why}");
    let _ = first.close().await;

    append(&second, &taken_over, entry("log", 2, 100)).await?;
    let all = read_all(&taken_over, 0, usize::MAX).await?;
    ensure!(all.len() == 3);
    ensure!(all[1].payload == entry("log", 1, 100).payload);
    second.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests in s3"]
async fn open_is_refused() -> Result<()> {
    let started = Instant::now();
    let error = Store::open(options()?, clock())
        .await
        .err()
        .context("was opened")?;
    println!(
        "\nrefused after {} ms: {error}",
        started.elapsed().as_millis()
    );
    Ok(())
}

/// A clock by which a minute lasts a second.
#[derive(Debug)]
struct FastClock {
    inner: Arc<dyn SystemClock>,
    started: DateTime<Utc>,
}

const FASTER: u32 = 60;

impl SystemClock for FastClock {
    fn now(&self) -> DateTime<Utc> {
        self.started + (self.inner.now() - self.started) * FASTER as i32
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.inner.sleep(duration / FASTER)
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}

/// Appends a little, lets upkeep come to rest, and does nothing until standard input ends.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests in s3"]
async fn idle() -> Result<()> {
    let inner = clock();
    let started = inner.now();
    let fast: Arc<dyn SystemClock> = Arc::new(FastClock { inner, started });
    let store = Store::open(options()?, fast.clone()).await?;
    let log = store.log(b"log").await?;
    append(&store, &log, entry("log", 0, 100)).await?;
    fast.sleep(Duration::from_secs(300)).await;
    println!("\nsettled");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    store.close().await?;
    Ok(())
}

/// Appends 1 MB a second in records of 10 kB, each waited for, for ten seconds.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests in s3"]
async fn megabyte_a_second() -> Result<()> {
    let store = Store::open(options()?, clock()).await?;
    let log = store.log(b"log").await?;
    println!("\nstarted");
    let time = clock();
    let mut ticks = time.ticker(Duration::from_millis(10));
    let began = Instant::now();
    let mut waits = Vec::new();
    for offset in 0..1000 {
        ticks.tick().await;
        let started = Instant::now();
        let mut write_set = WriteSet::new();
        write_set.append(&log, entry("log", offset, 10_000));
        let (done, took) = oneshot::channel();
        store.commit(write_set, move |result| {
            let _ = done.send(result.map(|_| started.elapsed()));
        });
        waits.push(took);
    }
    let mut took = Vec::new();
    for wait in waits {
        took.push(wait.await??);
    }
    took.sort();
    println!(
        "\nfinished {} ms: acknowledged in p50 {:?}, p99 {:?}",
        began.elapsed().as_millis(),
        took[500],
        took[990]
    );
    store.close().await?;
    Ok(())
}
