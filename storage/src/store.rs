//! One SlateDB: opening and fencing it, committing to it in order, closing it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dashmap::DashMap;
use slatedb::config::{DurabilityLevel, FlushOptions, FlushType, ReadOptions, ScanOptions};
use slatedb::{Db, KeyValue};
use slatedb_common::clock::SystemClock;
use tokio::sync::{Mutex, mpsc, watch};
use uuid::Uuid;

use crate::ahead::Ahead;
use crate::commit::Committer;
use crate::key::{Directory, LogKey, LogState, Row};
use crate::log::Inner as LogInner;
use crate::merge::Merging;
use crate::object_store::LocalDirectory;
use crate::open::{self, Home, Opened};
use crate::pace::PacedClock;
use crate::publish::Publisher;
use crate::queue::{CommitQueue, Done, LOCAL_FLIGHTS, Queued};
use crate::reclaim::{self, Reclaiming};
use crate::rows::Rows;
use crate::segment::Segments;
use crate::wal::FileWal;
use crate::write_set::Change;
use crate::{DataUrl, Error, ErrorKind, Log, Options, Result, WriteSet, clear, follow, lookup};

/// What a commit became.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Sequence of the first record appended by the write set, if it appended any. A set that appends
    /// to several logs takes consecutive sequences, in the order of its changes.
    pub first_sequence: Option<u64>,
}

/// What opening found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovered {
    /// Whether the store was created by this open.
    pub created: bool,
    /// Rows replayed from the write-ahead log.
    pub replayed_rows: u64,
    /// Bytes cut from the end of a write-ahead log that a crash left torn.
    pub torn_bytes: u64,
}

/// Whether the store takes commits.
#[derive(Clone, Debug)]
pub enum StoreState {
    /// Commits are taken.
    Open,
    /// The disk or object store does not take writes now; what is in flight waits.
    Stalled(String),
    /// Nothing more is acknowledged.
    Closed(Error),
}

/// Opening a log is exclusive within a stripe of keys.
const STRIPES: usize = 64;

/// What the tasks of a store and the handles on its logs share.
pub(crate) struct Core {
    pub(crate) db: Rows,
    pub(crate) home: Home,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn SystemClock>,
    pub(crate) segments: Segments,
    /// Who has entries waiting that were read ahead.
    pub(crate) ahead: Ahead,
    pub(crate) reclaiming: Reclaiming,
    pub(crate) merging: Merging,
    pub(crate) queue: CommitQueue,
    /// One past the highest sequence that is durable and published.
    pub(crate) durable: watch::Sender<u64>,
    pub(crate) state: watch::Sender<StoreState>,
    logs: DashMap<Bytes, Weak<LogInner>>,
    opening: [Mutex<()>; STRIPES],
    /// Ours until the store is closed.
    directory: parking_lot::Mutex<Option<LocalDirectory>>,
    wal: Option<FileWal>,
    pub(crate) pace: Arc<PacedClock>,
    recovered: Recovered,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("data", &self.options.data)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// The logs that somebody has a handle on.
    pub(crate) fn open_logs(&self) -> Vec<Arc<LogInner>> {
        let logs = self.logs.iter();
        logs.filter_map(|log| log.upgrade()).collect()
    }

    /// Commits changes of the store's own and waits until they are durable.
    pub(crate) async fn commit_own(&self, changes: Vec<Change>) -> Result<()> {
        let (done, committed) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| {
            let _ = done.send(result);
        });
        self.queue.push(Queued::new(changes, done));
        // Not answered only when the tasks of the store have gone.
        committed.await.map_or(Ok(()), |result| result.map(|_| ()))
    }

    /// Bytes of the files of the write-ahead log, if there are any.
    pub(crate) fn wal_bytes(&self) -> Option<u64> {
        self.wal.as_ref().map(FileWal::bytes)
    }

    /// Where entries lie: the same number before and after a lookup of several steps says that none of
    /// them looked into a segment out of which entries had been moved.
    pub(crate) fn places(&self) -> u64 {
        let changes = self.segments.changes();
        match self.db.writer() {
            Some(_) => changes,
            // Neither number goes back. What another process wrote may show in rows before it does in files.
            None => self.db.version().wrapping_add(changes),
        }
    }

    /// Opens a log; a removed one too if `removed`, to clear up after it.
    pub(crate) async fn open_log(self: &Arc<Self>, key: LogKey, removed: bool) -> Result<Log> {
        let stripe = key
            .plain()
            .iter()
            .fold(0usize, |h, &b| h.wrapping_mul(31).wrapping_add(b.into()));
        let _opening = self.opening[stripe % STRIPES].lock().await;
        if let Some(log) = self.logs.get(key.plain()).and_then(|log| log.upgrade()) {
            return Ok(Log::new(log));
        }
        let writer = lookup::load(self, &key).await?;
        if writer.removed && !removed {
            let problem = format!(
                "log {:?} was removed; its key cannot be used again",
                key.plain()
            );
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        let log = Arc::new(LogInner::new(Arc::clone(self), key, writer));
        self.logs
            .insert(log.key.plain().clone(), Arc::downgrade(&log));
        Ok(Log::new(log))
    }

    /// Takes a log off the table if no handle on it is left.
    pub(crate) fn forget_log(&self, key: &Bytes) {
        self.logs.remove_if(key, |_, log| log.strong_count() == 0);
    }
}

/// Ends the tasks of the store when the last handle on it goes.
#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.queue.end();
    }
}

/// A store; cheap to clone.
///
/// Its tasks end when the last clone is dropped; [`Store::close`] comes first, or what is not yet
/// durable may be lost, as in a crash.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens the store, fencing any earlier writer.
    ///
    /// # Errors
    /// `Invalid` for options that cannot work and for a store of a newer format, `Unavailable` if
    /// the directory or bucket cannot be used, `Corrupt` if what it holds cannot be read.
    pub async fn open(options: Options, clock: Arc<dyn SystemClock>) -> Result<Self> {
        let Opened {
            engine,
            segments,
            assigned,
            recovered,
            pending,
            rewrites,
        } = open::open(&options, Arc::clone(&clock)).await?;
        let on_s3 = matches!(options.data, DataUrl::S3 { .. });
        // An object covers what was written before its flush, however many batches that is.
        let max_flights = if on_s3 { usize::MAX } else { LOCAL_FLIGHTS };
        let core = Arc::new(Core {
            ahead: Ahead::new(options.scan_ahead_bytes),
            queue: CommitQueue::new(options.in_flight_bytes, max_flights),
            durable: watch::Sender::new(assigned.next_sequence),
            state: watch::Sender::new(StoreState::Open),
            logs: DashMap::new(),
            opening: std::array::from_fn(|_| Mutex::new(())),
            db: Rows::Written(engine.db.clone()),
            home: engine.home,
            directory: parking_lot::Mutex::new(engine.directory),
            wal: engine.wal,
            pace: engine.pace,
            options,
            clock,
            segments,
            reclaiming: Reclaiming::new(rewrites),
            merging: Merging::default(),
            recovered,
        });
        core.reclaiming.rewrites.belong_to(&core);
        let (flights, landing) = mpsc::unbounded_channel();
        let (clearing, cleared) = mpsc::unbounded_channel();
        // The write-ahead logs on disk and in memory flush themselves.
        let written = on_s3.then(|| {
            let (written, flushing) = mpsc::channel(1);
            let db = engine.db.clone();
            tokio::spawn(flush_when_written(Arc::downgrade(&core), db, flushing));
            written
        });
        if let Some(wal) = &core.wal {
            tokio::spawn(tell_when_stalled(Arc::downgrade(&core), wal.stalled()));
        }
        tokio::spawn(
            Committer::new(
                Arc::clone(&core),
                engine.db.clone(),
                assigned,
                flights,
                written,
            )
            .run(),
        );
        tokio::spawn(
            Publisher::new(
                Arc::clone(&core),
                engine.db.subscribe(),
                landing,
                clearing.clone(),
            )
            .run(),
        );
        tokio::spawn(clear::run(cleared));
        tokio::spawn(reclaim::run(Arc::downgrade(&core)));
        let store = Self {
            inner: Arc::new(Inner { core }),
        };
        for key in pending {
            let log = store.core().open_log(LogKey::new(key)?, true).await?;
            // Fails only if the task has panicked.
            let _ = clearing.send(log);
        }
        Ok(store)
    }

    /// Opens a store that another process writes, for reading. It takes no lock, fences nobody and
    /// writes nothing; what is durable shows within `refresh`. Commits fail with `Invalid`.
    ///
    /// # Errors
    /// `Invalid` if there is no such store, for one in memory and for one of a newer format; else as
    /// [`Store::open`].
    pub async fn open_read_only(
        options: Options,
        clock: Arc<dyn SystemClock>,
        refresh: Duration,
    ) -> Result<Self> {
        Self::open_followed(options, clock, refresh, None).await
    }

    /// [`Store::open_read_only`] for what the store held at a checkpoint.
    pub(crate) async fn open_followed(
        options: Options,
        clock: Arc<dyn SystemClock>,
        refresh: Duration,
        checkpoint: Option<Uuid>,
    ) -> Result<Self> {
        let followed = follow::open(&options, Arc::clone(&clock), refresh, checkpoint).await?;
        let core = Arc::new(Core {
            ahead: Ahead::new(options.scan_ahead_bytes),
            queue: CommitQueue::new(options.in_flight_bytes, 1),
            durable: watch::Sender::new(followed.next_sequence),
            state: watch::Sender::new(StoreState::Open),
            logs: DashMap::new(),
            opening: std::array::from_fn(|_| Mutex::new(())),
            db: followed.rows,
            home: followed.home,
            directory: parking_lot::Mutex::new(None),
            wal: None,
            pace: followed.pace,
            options,
            clock,
            segments: followed.segments,
            reclaiming: Reclaiming::default(),
            merging: Merging::default(),
            recovered: Recovered::default(),
        });
        tokio::spawn(follow::refresh(Arc::downgrade(&core), followed.status));
        Ok(Self {
            inner: Arc::new(Inner { core }),
        })
    }

    /// Whether it was opened for reading.
    pub fn is_read_only(&self) -> bool {
        self.core().db.writer().is_none()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    /// The number of times the store has been opened for writing: the fence.
    pub fn epoch(&self) -> u64 {
        self.core().db.manifest().writer_epoch()
    }

    /// What opening found.
    pub fn recovered(&self) -> Recovered {
        self.core().recovered
    }

    /// Open, stalled or closed, as a value that can be watched.
    pub fn state(&self) -> watch::Receiver<StoreState> {
        self.core().state.subscribe()
    }

    /// Opens the log under `key`; an empty one if nothing was appended yet. The same key gives the
    /// same log while any handle on it lives.
    ///
    /// # Errors
    /// `Invalid` for a key that is empty, longer than 1024 bytes or of a log that was removed; else as
    /// [`Log::read`].
    pub async fn log(&self, key: &[u8]) -> Result<Log> {
        if let Some(log) = self.core().logs.get(key).and_then(|log| log.upgrade()) {
            return Ok(Log::new(log));
        }
        let key = LogKey::new(Bytes::copy_from_slice(key))?;
        self.core().open_log(key, false).await
    }

    /// The keys of all logs that start with `prefix` and hold entries, in order.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn keys(&self, prefix: &[u8]) -> Result<Vec<Bytes>> {
        let failed = |error| Error::engine("listing logs".into(), error);
        let mut keys = Vec::new();
        let mut rows = self.scan(Directory::scan_start(prefix)).await?;
        while let Some(row) = rows.next().await.map_err(failed)? {
            let Some((key, holds_entries)) = Directory::owner(&row.key)? else {
                // Rows of the store stand before those of all logs.
                rows.seek(Directory::first_log()).await.map_err(failed)?;
                continue;
            };
            if holds_entries {
                let log = LogKey::new(key.clone())?;
                rows.seek(Directory::scan_end(&log)).await.map_err(failed)?;
                // A removed log is gone at once, its rows a little later.
                if !self.is_removed(&log).await? {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    /// Whether a log of which a directory row was seen is not there any more. The rows of a removed log go
    /// with its state, at once: without a state they are looked for again.
    pub(crate) async fn is_removed(&self, log: &LogKey) -> Result<bool> {
        let key = LogState::key(log);
        let row = self.core().db.get(&key).await;
        let row = row.map_err(|error| Error::engine("listing logs".into(), error))?;
        match row {
            Some(value) => Ok(LogState::decode(&key, &value)?.removed),
            None => {
                let rows = lookup::directories_from(self.core(), log, 0, 1).await?;
                Ok(rows.is_empty())
            }
        }
    }

    /// Waits until less than [`Options::in_flight_bytes`] is on its way to being durable. A caller
    /// that awaits this before each [`Store::commit`] keeps memory bounded; one that does not is
    /// never held up.
    pub async fn ready(&self) {
        self.core().queue.ready().await;
    }

    /// Bytes committed and not yet durable.
    pub fn in_flight_bytes(&self) -> usize {
        self.core().queue.in_flight()
    }

    /// Queues `write_set`. Write sets take effect in the order of these calls. `done` runs, in that
    /// same order, when the set is durable and can be read, or has failed; it must not block.
    ///
    /// A set fails by itself with `Invalid` if one of its changes cannot be made, and then none is.
    /// With `Fenced` or `Closed` it failed with all that follow, and may yet turn out to be stored.
    pub fn commit(
        &self,
        write_set: WriteSet,
        done: impl FnOnce(Result<Committed>) + Send + 'static,
    ) {
        self.push(Queued::new(write_set.changes, Box::new(done)));
    }

    /// [`Store::commit`] for a caller that wants to go on before the set is durable: `written` runs
    /// when the set has its sequences and can only be lost with the process or its disk, or has failed;
    /// `done` follows as ever. Neither may block.
    pub fn commit_early(
        &self,
        write_set: WriteSet,
        written: impl FnOnce(Result<Committed>) + Send + 'static,
        done: impl FnOnce(Result<Committed>) + Send + 'static,
    ) {
        let queued = Queued::new(write_set.changes, Box::new(done));
        self.push(Queued {
            written: Some(Box::new(written)),
            ..queued
        });
    }

    fn push(&self, queued: Queued) {
        if self.core().db.writer().is_none() {
            let read_only =
                || Error::new(ErrorKind::Invalid, "the store was opened for reading only");
            let answer: Vec<Done> = queued.written.into_iter().chain([queued.done]).collect();
            // Never within the call: the caller may hold what `done` takes.
            tokio::spawn(async move {
                for done in answer {
                    done(Err(read_only()));
                }
            });
            return;
        }
        self.core().queue.push(queued);
    }

    /// Whether [`Store::ready`] would return at once.
    pub fn has_room(&self) -> bool {
        self.in_flight_bytes() < self.core().options.in_flight_bytes
    }

    /// The row at `key`, as it is durable.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn row(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let options = ReadOptions {
            durability_filter: DurabilityLevel::Remote,
            cache_blocks: true,
            ..ReadOptions::default()
        };
        let row = self
            .core()
            .db
            .get_with_options(Row::key(key), &options)
            .await;
        row.map_err(|error| Error::engine("reading a row".into(), error))
    }

    /// All rows whose key starts with `prefix`, in key order, as they are durable.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn rows(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        let failed = |error| Error::engine("reading rows".into(), error);
        let mut rows = self.scan(Row::key(prefix)).await?;
        let mut found = Vec::new();
        while let Some(KeyValue { key, value, .. }) = rows.next().await.map_err(failed)? {
            // Copies, so that a small row does not hold the block it was read in.
            let key = Bytes::copy_from_slice(&Row::decode(&key)?);
            found.push((key, Bytes::copy_from_slice(&value)));
        }
        Ok(found)
    }

    /// The keys of all rows whose key starts with `prefix`, in order, as they are durable.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn row_keys(&self, prefix: &[u8]) -> Result<Vec<Bytes>> {
        let failed = |error| Error::engine("reading rows".into(), error);
        let mut rows = self.scan(Row::key(prefix)).await?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().await.map_err(failed)? {
            found.push(Bytes::copy_from_slice(&Row::decode(&row.key)?));
        }
        Ok(found)
    }

    pub(crate) async fn scan(&self, prefix: Bytes) -> Result<slatedb::DbIterator> {
        let options = ScanOptions {
            durability_filter: DurabilityLevel::Remote,
            cache_blocks: true,
            read_ahead_bytes: 256 << 10,
            ..ScanOptions::default()
        };
        let rows = self
            .core()
            .db
            .scan_prefix_with_options(prefix, &options)
            .await;
        rows.map_err(|error| Error::engine("scanning rows".into(), error))
    }

    /// Every sequence below this is durable and can be read.
    pub fn durable_sequence(&self) -> u64 {
        *self.core().durable.borrow()
    }

    /// [`Store::durable_sequence`] as a value that can be watched.
    pub fn subscribe_durable(&self) -> watch::Receiver<u64> {
        self.core().durable.subscribe()
    }

    /// Waits until everything committed so far is durable.
    ///
    /// # Errors
    /// As for a commit.
    pub async fn flush(&self) -> Result<()> {
        // Every set committed before this one is done when this one is.
        let (done, settled) = tokio::sync::oneshot::channel();
        self.commit(WriteSet::new(), move |result| {
            let _ = done.send(result);
        });
        let closed = || Error::new(ErrorKind::Closed, "the store is closed");
        settled.await.unwrap_or_else(|_| Err(closed())).map(|_| ())
    }

    /// Makes everything durable and closes; later calls fail with `Closed`.
    ///
    /// # Errors
    /// `Fenced` or `Closed` if the store was no longer open, `Unavailable` if what was committed could
    /// not be made durable.
    pub async fn close(&self) -> Result<()> {
        let core = self.core();
        if let Some(wal) = &core.wal
            && wal.stalled().borrow().is_some()
        {
            // A disk that takes nothing would be waited for.
            wal.stop();
        }
        let closed = || Error::new(ErrorKind::Closed, "the store is closed");
        let settled = match self.is_read_only() {
            true => Ok(()),
            false => self.flush().await,
        };
        let failed = |error| Error::engine("closing the store".into(), error);
        let flushed = match settled {
            Ok(()) => {
                let options = FlushOptions {
                    flush_type: FlushType::MemTable,
                };
                match core.db.writer() {
                    Some(db) => db.flush_with_options(options).await.map_err(failed),
                    None => Ok(()),
                }
            }
            Err(error) => Err(error),
        };
        let was_closed = flushed
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Closed);
        let closing = core.db.close().await.map_err(failed);
        drop(core.directory.lock().take());
        core.state.send_if_modified(|state| {
            let open = !matches!(state, StoreState::Closed(_));
            if open {
                *state = StoreState::Closed(closed());
            }
            open
        });
        if was_closed {
            flushed
        } else {
            flushed.and(closing)
        }
    }
}

/// Reports that the write-ahead log cannot write, and that it can again. Ends with the store.
async fn tell_when_stalled(core: Weak<Core>, mut stalled: watch::Receiver<Option<String>>) {
    while stalled.changed().await.is_ok() {
        let Some(core) = core.upgrade() else { return };
        let now = stalled.borrow_and_update().clone();
        core.state.send_if_modified(|state| match (&*state, now) {
            (StoreState::Open, Some(reason)) => {
                *state = StoreState::Stalled(reason);
                true
            }
            (StoreState::Stalled(_), None) => {
                *state = StoreState::Open;
                true
            }
            _ => false,
        });
    }
}

/// Asks for durability after writes: soon after the first, and then at most once an interval, for each
/// flush is a request that costs money. Ends with the commit task.
async fn flush_when_written(core: Weak<Core>, db: Db, mut written: mpsc::Receiver<()>) {
    let mut next_flush = DateTime::<Utc>::MIN_UTC;
    while written.recv().await.is_some() {
        let Some(core) = core.upgrade() else { return };
        let wait = next_flush.signed_duration_since(core.clock.now()).to_std();
        let wait = wait.unwrap_or_default().max(core.options.flush_linger);
        core.clock.sleep(wait).await;
        next_flush = core.clock.now() + core.options.flush_interval;
        // Why it failed, the publisher learns from the engine.
        if db.flush().await.is_err() {
            return;
        }
    }
}
