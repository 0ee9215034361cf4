//! The database that writes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use slatedb_common::clock::{DefaultSystemClock, SystemClock};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::config::Config;
use super::record::{AppendError, AppendOutput, AppendResult, Record, Sequence};
use super::retention;
use super::view::{LogRead, LogView};
use crate::key::LogKey;
use crate::{
    Checkpoint, Committed, DataUrl, EntryFormat, Error, ErrorKind, Log, Metrics, NewEntry, Options,
    Result, Store, WriteSet,
};

/// Logs that are kept open, so that an append does not look for the end of its log.
const OPEN_LOGS: usize = 1 << 16;

/// A log database: appends and reads. Cheap to clone.
///
/// There is one writer: a second open of the same data fences the first. Close it when done: what was
/// appended and is not durable is lost otherwise, as in a crash.
///
/// ```
/// use bytes::Bytes;
/// use trestle_storage::{Config, LogDb, LogRead, Record, ScanOptions, StorageConfig};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config { storage: StorageConfig::InMemory, ..Config::default() };
/// let log = LogDb::open(config).await?;
/// let record = |key: &'static str, value: &'static str| Record {
///     key: Bytes::from(key),
///     value: Bytes::from(value),
/// };
/// // All or none, and durable.
/// log.append(vec![record("orders/eu", "1"), record("orders/us", "2")]).await?;
///
/// // One log, from what comes on; then two, merged by sequence.
/// let mut tail = log.tail(Bytes::from("orders/eu"), log.durable_sequence()).await?;
/// log.append(vec![record("orders/eu", "3")]).await?;
/// assert_eq!(tail.next().await?.expect("an entry").value, "3");
/// let mut scan = log.scan_prefix(Bytes::from("orders/"), .., ScanOptions::default()).await?;
/// let mut values = Vec::new();
/// while let Some(entry) = scan.next().await? {
///     values.push(entry.value);
/// }
/// assert_eq!(values, ["1", "2", "3"]);
/// assert_eq!(log.count(Bytes::from("orders/eu"), ..).await?, 2);
/// log.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LogDb {
    view: LogView,
    logs: Arc<DashMap<Bytes, Log>>,
    clock: Arc<dyn SystemClock>,
}

/// Opens a [`LogDb`] with more choice than [`LogDb::open`].
#[derive(Debug)]
pub struct LogDbBuilder {
    config: Config,
    clock: Arc<dyn SystemClock>,
    metrics: Metrics,
    tune: Option<fn(&mut Options)>,
}

impl LogDbBuilder {
    /// A builder for a database with `config`.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            clock: Arc::new(DefaultSystemClock::new()),
            metrics: Metrics::default(),
            tune: None,
        }
    }

    /// The clock that stamps segments and records, and by which retention goes.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn SystemClock>) -> Self {
        self.clock = clock;
        self
    }

    /// What to count with.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Changes the store's own settings, such as budgets of memory.
    #[must_use]
    pub fn with_options(mut self, tune: fn(&mut Options)) -> Self {
        self.tune = Some(tune);
        self
    }

    /// Opens the database.
    ///
    /// # Errors
    /// `Invalid` for a configuration that cannot work; else as [`Store::open`].
    pub async fn build(self) -> Result<LogDb> {
        let mut options = self.config.options()?;
        options.metrics = self.metrics;
        if let Some(tune) = self.tune {
            tune(&mut options);
        }
        let store = Store::open(options, Arc::clone(&self.clock)).await?;
        let db = LogDb {
            view: LogView::new(store.clone(), self.config.read_visibility),
            logs: Arc::default(),
            clock: self.clock,
        };
        retention::start(store, self.config.retention, Arc::clone(&db.clock));
        Ok(db)
    }
}

impl LogDb {
    /// Opens a database, fencing any earlier writer.
    ///
    /// # Errors
    /// As [`LogDbBuilder::build`].
    pub async fn open(config: Config) -> Result<Self> {
        LogDbBuilder::new(config).build().await
    }

    /// Appends `records`, all or none, and returns when they have their sequences: they can be read
    /// then, and be lost only with this process. [`LogDb::flush`] or [`LogDb::durable_sequence`] tell
    /// when they would survive that too.
    ///
    /// # Errors
    /// `QueueFull`, with the batch, if there is no room now.
    pub async fn try_append(&self, records: Vec<Record>) -> AppendResult<AppendOutput> {
        let write_set = self.write_set(records).await?;
        if !self.view.store.has_room() {
            return Err(AppendError::QueueFull(write_set.records));
        }
        self.commit(write_set, false).await
    }

    /// [`LogDb::try_append`] that waits for room, for up to `timeout`.
    ///
    /// # Errors
    /// `Timeout`, with the batch, if there was no room in time.
    pub async fn append_timeout(
        &self,
        records: Vec<Record>,
        timeout: Duration,
    ) -> AppendResult<AppendOutput> {
        let write_set = self.write_set(records).await?;
        if !self.view.store.has_room() {
            tokio::select! {
                () = self.view.store.ready() => {}
                () = self.clock.sleep(timeout) => {
                    return Err(AppendError::Timeout(write_set.records));
                }
            }
        }
        self.commit(write_set, false).await
    }

    /// Appends `records`, all or none, waiting for room, and returns when they are durable. Appends
    /// that wait at the same time share their syncs.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn append(&self, records: Vec<Record>) -> AppendResult<AppendOutput> {
        let write_set = self.write_set(records).await?;
        if !self.view.store.has_room() {
            self.view.store.ready().await;
        }
        self.commit(write_set, true).await
    }

    async fn write_set(&self, records: Vec<Record>) -> AppendResult<Checked> {
        let mut write_set = WriteSet::new();
        let max_timestamp = self.clock.now().timestamp_millis();
        let mut last: Option<Log> = None;
        for record in &records {
            let log = match last {
                Some(log) if *log.key() == record.key => log,
                _ => match self.log(&record.key).await {
                    Ok(log) => log,
                    Err(error) if error.kind() == ErrorKind::Invalid => {
                        let problem = error.to_string();
                        return Err(AppendError::Invalid { records, problem });
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            write_set.append(
                &log,
                NewEntry {
                    first_offset: NewEntry::AT_END,
                    count: 1,
                    max_timestamp,
                    format: EntryFormat::Raw,
                    payload: record.value.clone(),
                },
            );
            last = Some(log);
        }
        Ok(Checked { records, write_set })
    }

    /// The log under `key`, kept open.
    async fn log(&self, key: &Bytes) -> Result<Log> {
        if let Some(log) = self.logs.get(key) {
            return Ok(log.clone());
        }
        if key.is_empty() || key.len() > LogKey::MAX_LEN {
            LogKey::new(key.clone())?;
        }
        let log = self.view.store.log(key).await?;
        if self.logs.len() >= OPEN_LOGS {
            // Whichever: those in use come back.
            let mut keep = false;
            self.logs.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        self.logs.insert(log.key().clone(), log.clone());
        Ok(log)
    }

    async fn commit(&self, checked: Checked, durable: bool) -> AppendResult<AppendOutput> {
        if checked.records.is_empty() {
            return Ok(AppendOutput::default());
        }
        let (send, receive) = oneshot::channel();
        let answer = |result: Result<Committed>| {
            // The caller may have gone; its records stay.
            let _ = send.send(result);
        };
        let store = &self.view.store;
        if durable {
            store.commit(checked.write_set, answer);
        } else {
            store.commit_early(checked.write_set, answer, drop);
        }
        let closed = || Error::new(ErrorKind::Closed, "the store is closed");
        let committed = receive.await.unwrap_or_else(|_| Err(closed()));
        match committed {
            Ok(committed) => Ok(AppendOutput {
                start_sequence: committed.first_sequence.unwrap_or(0),
            }),
            // A set that is refused is refused as a whole.
            Err(error) if error.kind() == ErrorKind::Invalid => Err(AppendError::Invalid {
                records: checked.records,
                problem: error.to_string(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until everything appended so far is durable.
    ///
    /// # Errors
    /// `Closed` or `Fenced` if that is no longer possible.
    pub async fn flush(&self) -> Result<()> {
        self.view.store.flush().await
    }

    /// Every sequence below this is durable and can be read.
    pub fn durable_sequence(&self) -> Sequence {
        self.view.store.durable_sequence()
    }

    /// [`LogDb::durable_sequence`] as a value that can be watched.
    pub fn subscribe_durable(&self) -> watch::Receiver<Sequence> {
        self.view.store.subscribe_durable()
    }

    /// Makes a checkpoint of everything appended so far; [`crate::LogDbReader::open_at`] reads it.
    /// Without a `lifetime` it stays until it is deleted.
    ///
    /// # Errors
    /// As [`Store::create_checkpoint`].
    pub async fn create_checkpoint(
        &self,
        name: Option<String>,
        lifetime: Option<Duration>,
    ) -> Result<Checkpoint> {
        self.view.store.create_checkpoint(name, lifetime).await
    }

    /// The checkpoints that there are.
    ///
    /// # Errors
    /// As [`Store::checkpoints`].
    pub async fn list_checkpoints(&self) -> Result<Vec<Checkpoint>> {
        self.view.store.checkpoints().await
    }

    /// Deletes a checkpoint.
    ///
    /// # Errors
    /// As [`Store::delete_checkpoint`].
    pub async fn delete_checkpoint(&self, id: Uuid) -> Result<()> {
        self.view.store.delete_checkpoint(id).await
    }

    /// Makes a database at `target` that holds what this one does, or did at a `checkpoint`, and shares
    /// its files: a fork, to be opened and appended to on its own.
    ///
    /// # Errors
    /// As [`Store::clone_to`].
    pub async fn clone_to(&self, target: &DataUrl, checkpoint: Option<Uuid>) -> Result<()> {
        self.view.store.clone_to(target, checkpoint).await
    }

    /// The store under it.
    pub fn store(&self) -> &Store {
        &self.view.store
    }

    /// Makes everything durable and closes; calls on clones fail from then on.
    ///
    /// # Errors
    /// As [`Store::close`].
    pub async fn close(self) -> Result<()> {
        self.view.store.close().await
    }
}

impl LogRead for LogDb {
    fn view(&self) -> &LogView {
        &self.view
    }
}

/// Records that can be appended, and how.
struct Checked {
    records: Vec<Record>,
    write_set: WriteSet,
}
