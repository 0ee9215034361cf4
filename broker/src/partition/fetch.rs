//! One read over many partitions: read, wait at most once until enough is there, read again.
//!
//! Follows Kafka's `ReplicaManager.fetchMessages` and `DelayedFetch`. Waiting is on the partitions
//! themselves; nothing polls.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use trestle_storage::{Error, ErrorKind};

use super::batch::Header;
use super::leader::Partition;
use super::transactions::AbortedTransaction;
use super::waiter::Waiter;
use crate::env::Env;
use crate::types::{LeaderEpoch, Offset};

/// Partitions that are read at the same time.
const SIDE_BY_SIDE: usize = 16;

/// What is asked of one partition.
#[derive(Debug)]
pub struct Ask {
    /// Which.
    pub partition: Arc<Partition>,
    /// First offset wanted.
    pub offset: Offset,
    /// Most bytes wanted.
    pub max_bytes: usize,
    /// The epoch that the client believes in, if it says so (KIP-320).
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// Only what is decided by transactions.
    pub read_committed: bool,
}

/// Why a partition was not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The topic was deleted.
    #[error("the partition is gone")]
    Gone,
    /// No topic has the id asked for.
    #[error("no topic has this id")]
    UnknownTopicId,
    /// The client's epoch is older than ours.
    #[error("the client's leader epoch is fenced")]
    FencedLeaderEpoch,
    /// The client's epoch is newer than ours.
    #[error("the client's leader epoch is not known here")]
    UnknownLeaderEpoch,
    /// The offset lies before the log start or after the log end.
    #[error("offset {0} is out of range")]
    OffsetOutOfRange(Offset),
    /// The store could not be read.
    #[error("{0}")]
    Storage(#[from] Error),
}

/// What one partition gave.
#[derive(Debug)]
pub struct Fetched {
    /// End of what may be read.
    pub high_watermark: Offset,
    /// End of what transactions have decided.
    pub last_stable: Offset,
    /// Lowest offset that may be read.
    pub log_start: Offset,
    /// Whole batches, as stored.
    pub batches: Vec<Bytes>,
    /// Whose records among them are to be skipped, if only what is committed was asked for.
    pub aborted: Vec<AbortedTransaction>,
}

impl Fetched {
    /// Bytes of all batches.
    pub fn size_bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }
}

/// How much, and how long to wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Do not wait once this much is there.
    pub min_bytes: usize,
    /// All partitions together; one batch is returned even if it is larger (KIP-74).
    pub max_bytes: usize,
    /// Wait no longer than this.
    pub max_wait: Duration,
}

/// Checks what a client believes about who leads (KIP-320).
pub fn check_leader_epoch(
    partition: &Partition,
    believed: Option<LeaderEpoch>,
) -> Result<(), FetchError> {
    match believed {
        Some(epoch) if epoch < partition.leader_epoch() => Err(FetchError::FencedLeaderEpoch),
        Some(epoch) if epoch > partition.leader_epoch() => Err(FetchError::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// Reads all of `asks`, in their order; `at_once` if the answer must not wait in any case. A wait
/// ends early when `hurried` is ready.
pub async fn fetch(
    env: &Env,
    asks: &[Ask],
    limits: Limits,
    at_once: bool,
    hurried: impl Future<Output = ()>,
) -> Vec<Result<Fetched, FetchError>> {
    for ask in asks.iter().filter(|ask| ask.read_committed) {
        if let Err(error) = ask.partition.settle(env.now()).await {
            tracing::warn!(%error, "a partition's transactions could not be read");
        }
    }
    if at_once || asks.is_empty() || limits.max_wait.is_zero() {
        return read_all(asks, limits.max_bytes).await;
    }
    let min_bytes = limits.min_bytes.min(limits.max_bytes);
    let ends: Vec<_> = asks.iter().map(readable_end).collect();
    let fetched = read_all(asks, limits.max_bytes).await;
    let Some(missing) = missing_bytes(&fetched, min_bytes) else {
        return fetched;
    };
    drop(fetched);
    let watch = Watch::new(asks, missing);
    // What was published between the read and the watch woke nobody.
    let moved = asks
        .iter()
        .zip(&ends)
        .any(|(ask, end)| readable_end(ask) != *end);
    if moved || asks.iter().any(|ask| ask.partition.is_gone()) {
        watch.waiter.look_again();
    }
    tokio::select! {
        () = watch.waiter.woken() => {}
        () = env.sleep(limits.max_wait) => {}
        () = hurried => {}
        () = env.stopping().cancelled() => {}
    }
    drop(watch);
    read_all(asks, limits.max_bytes).await
}

/// Bytes still missing, or `None` if the answer can leave as it is.
fn missing_bytes(fetched: &[Result<Fetched, FetchError>], min_bytes: usize) -> Option<i64> {
    let mut found = 0;
    for partition in fetched {
        match partition {
            Ok(partition) => found += partition.size_bytes(),
            Err(_) => return None,
        }
    }
    (found < min_bytes).then(|| (min_bytes - found) as i64)
}

fn readable_end(ask: &Ask) -> Offset {
    let offsets = ask.partition.offsets();
    if ask.read_committed {
        offsets.last_stable
    } else {
        offsets.high_watermark
    }
}

/// Watches partitions for as long as it lives.
struct Watch<'a> {
    asks: &'a [Ask],
    waiter: Arc<Waiter>,
}

impl<'a> Watch<'a> {
    fn new(asks: &'a [Ask], wanted_bytes: i64) -> Self {
        let committed_only = asks.iter().any(|ask| ask.read_committed);
        let waiter = Waiter::new(wanted_bytes, committed_only);
        for ask in asks {
            ask.partition.watch(&waiter);
        }
        Self { asks, waiter }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        for ask in self.asks {
            ask.partition.unwatch(&self.waiter);
        }
    }
}

async fn read_all(asks: &[Ask], max_bytes: usize) -> Vec<Result<Fetched, FetchError>> {
    let mut budget = Budget {
        left_bytes: max_bytes,
        nothing_yet: true,
    };
    let mut all = Vec::with_capacity(asks.len());
    let mut rest = asks;
    while !rest.is_empty() {
        let (some, after) = rest.split_at(budget.together(rest));
        rest = after;
        let found = join_all(some.iter().map(|ask| read_one(ask, &budget))).await;
        for (ask, read) in some.iter().zip(found) {
            all.push(read.map(|fetched| budget.spend(ask, fetched)));
        }
    }
    all
}

/// What a response may still hold.
struct Budget {
    left_bytes: usize,
    /// The first batch is returned whatever its size, or a consumer could never pass it (KIP-74).
    nothing_yet: bool,
}

impl Budget {
    /// How many of `asks` are read at the same time, so that waits for files are shared: those of which
    /// none takes from another what it may have.
    fn together(&self, asks: &[Ask]) -> usize {
        let mut room = self.left_bytes;
        let fits = |ask: &&Ask| {
            let fits = ask.max_bytes <= room;
            room = room.saturating_sub(ask.max_bytes);
            fits
        };
        let count = asks.iter().take(SIDE_BY_SIDE).take_while(fits).count();
        count.max(1)
    }

    /// What may be had of one partition.
    fn of(&self, ask: &Ask) -> usize {
        ask.max_bytes.min(self.left_bytes)
    }

    /// Counts what was read of a partition. What those before it have left no room for is dropped, but the
    /// first batch of all stays.
    fn spend(&mut self, ask: &Ask, mut fetched: Fetched) -> Fetched {
        let (most, mut bytes) = (self.of(ask), 0);
        let fits = |batch: &&Bytes| {
            bytes += batch.len();
            bytes <= most
        };
        let fitting = fetched.batches.iter().take_while(fits).count();
        fetched
            .batches
            .truncate(fitting.max(usize::from(self.nothing_yet)));
        if fetched.batches.is_empty() {
            fetched.aborted.clear();
        } else {
            self.nothing_yet = false;
            self.left_bytes = self.left_bytes.saturating_sub(fetched.size_bytes());
        }
        fetched
    }
}

async fn read_one(ask: &Ask, budget: &Budget) -> Result<Fetched, FetchError> {
    let partition = &ask.partition;
    if partition.is_gone() {
        return Err(FetchError::Gone);
    }
    check_leader_epoch(partition, ask.current_leader_epoch)?;
    if ask.read_committed && !partition.is_settled() {
        return Err(FetchError::Storage(Error::new(
            ErrorKind::Unavailable,
            "what was committed is not known yet",
        )));
    }
    let offsets = partition.offsets();
    if ask.offset < offsets.log_start || ask.offset > offsets.high_watermark {
        return Err(FetchError::OffsetOutOfRange(ask.offset));
    }
    let mut fetched = Fetched {
        high_watermark: offsets.high_watermark,
        last_stable: offsets.last_stable,
        log_start: offsets.log_start,
        batches: Vec::new(),
        aborted: Vec::new(),
    };
    let end = if ask.read_committed {
        offsets.last_stable
    } else {
        offsets.high_watermark
    };
    let max_bytes = budget.of(ask);
    if ask.offset >= end || (max_bytes == 0 && !budget.nothing_yet) {
        return Ok(fetched);
    }
    let entries = partition.read(ask.offset, end, max_bytes).await?;
    fetched
        .batches
        .extend(entries.into_iter().map(|entry| entry.payload));
    if ask.read_committed && !fetched.batches.is_empty() {
        let last = fetched.batches.last();
        let to = last.and_then(|last| Header::parse(last));
        let to = to.map_or(end, |header| header.next_offset());
        fetched.aborted = partition.aborted_within(ask.offset, to);
    }
    Ok(fetched)
}
