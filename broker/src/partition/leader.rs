//! One partition: the only writer of its log.
//!
//! A short lock holds the pure [`State`]; under it a batch gets its offset and is queued in the
//! store, so that offsets and the store's order agree. What is durable is published by the store,
//! in that order, through the callback given with each commit. Readers never take the lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{OnceCell, oneshot, watch};
use trestle_storage::{
    Entry, EntryFormat, Error, ErrorKind, Log, NewEntry, ReadLimit, Store, StoreState, WriteSet,
};

use super::batch::{CheckedBatch, Header};
use super::control::Marker;
use super::mirror::{CLIENTS, MIRRORED};
use super::producers::{ActiveProducer, ProducerError};
use super::state::{Marked, State, Verdict};
use super::transactions::{Aborted, AbortedTransaction};
use super::waiter::{Waiter, Waiters};
use crate::metadata::log_rows;
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId};

/// Bytes read at a time while state is rebuilt or a log is searched.
const SCAN_BYTES: usize = 1 << 20;

/// Where a partition starts and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// Lowest offset that may be read.
    pub log_start: Offset,
    /// One past the last record that would survive a crash. It is also the log end for readers.
    pub high_watermark: Offset,
    /// Up to here every transaction is decided.
    pub last_stable: Offset,
}

/// Why an append failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The producer's epoch or sequence does not fit.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The topic was deleted.
    #[error("the partition is gone")]
    Gone,
    /// This broker reads what another one writes.
    #[error("this broker only reads")]
    ReadOnly,
    /// The bridge writes the topic.
    #[error(
        "the topic is mirrored by the bridge and takes no writes until it is promoted \
         (trestle bridge promote)"
    )]
    Mirrored,
    /// The store does not take writes now; the client should try again.
    #[error("storage: {0}")]
    Storage(Arc<str>),
}

impl From<Error> for AppendError {
    fn from(error: Error) -> Self {
        match error.kind() {
            // The store refuses appends to a log that was removed.
            ErrorKind::Invalid => Self::Gone,
            _ => Self::Storage(error.to_string().into()),
        }
    }
}

/// An append that has its place; it is acknowledged when [`Receipt::durable`] says so.
#[derive(Debug)]
pub struct Receipt {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// When it was appended, on a `LogAppendTime` topic.
    pub log_append_time: Option<Timestamp>,
    done: oneshot::Receiver<Result<(), AppendError>>,
    store: watch::Receiver<StoreState>,
}

impl Receipt {
    /// Waits until the records would survive a crash and can be read.
    ///
    /// A store that stalls is an error at once, so that clients hear of it before they time out. The
    /// records may then become durable all the same; an idempotent producer's retry is recognised.
    pub async fn durable(self) -> Result<(), AppendError> {
        unless_stalled(self.done, self.store).await
    }
}

/// What a commit answers; an error at once if the store stalls.
pub(super) async fn unless_stalled<T>(
    done: oneshot::Receiver<Result<T, AppendError>>,
    mut store: watch::Receiver<StoreState>,
) -> Result<T, AppendError> {
    tokio::select! {
        biased;
        done = done => done.unwrap_or_else(|_| Err(closed())),
        stalled = store.wait_for(|state| matches!(state, StoreState::Stalled(_))) => {
            Err(stalled.map_or_else(|_| closed(), |state| refusal(&state).unwrap_or_else(closed)))
        }
    }
}

pub(super) fn closed() -> AppendError {
    AppendError::Storage("the store is closed".into())
}

/// Why a store in `state` takes no appends, if it takes none.
pub(super) fn refusal(state: &StoreState) -> Option<AppendError> {
    match state {
        StoreState::Open => None,
        StoreState::Stalled(why) => Some(AppendError::Storage(why.as_str().into())),
        StoreState::Closed(error) => Some(AppendError::Storage(error.to_string().into())),
    }
}

/// One partition of a topic, open.
#[derive(Debug)]
pub struct Partition {
    topic_id: TopicId,
    pub(super) leader_epoch: AtomicI32,
    pub(super) log: Log,
    pub(super) store: Store,
    /// Who may append; see `mirror.rs`.
    pub(super) writer: AtomicU8,
    /// Loaded by the first append, and by the first reader that cares for transactions.
    pub(super) state: OnceCell<Mutex<State>>,
    /// Where the earliest transaction starts that is not known to be decided; the highest number if
    /// there is none. Lowered before the transaction's first batch is queued, raised when the marker
    /// that allows it is durable: so whoever looks at the durable end first, and then here, never sees
    /// too much.
    pub(super) first_unstable: AtomicI64,
    pub(super) aborted: RwLock<Aborted>,
    pub(super) waiters: Waiters,
    gone: AtomicBool,
}

impl Partition {
    pub(super) fn new(
        topic_id: TopicId,
        leader_epoch: LeaderEpoch,
        mirrored: bool,
        log: Log,
        store: Store,
    ) -> Self {
        Self {
            topic_id,
            leader_epoch: AtomicI32::new(leader_epoch.0),
            writer: AtomicU8::new(if mirrored { MIRRORED } else { CLIENTS }),
            log,
            store,
            state: OnceCell::new(),
            first_unstable: AtomicI64::new(Offset::MAX),
            aborted: RwLock::default(),
            waiters: Waiters::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// The topic it belongs to.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Epoch in which this node leads it.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// Where it starts and ends now. The last stable offset is that of [`Partition::settle`]d
    /// partitions; before, it is the high watermark.
    pub fn offsets(&self) -> Offsets {
        let bounds = self.log.bounds();
        let first_unstable = self.first_unstable.load(Ordering::Acquire);
        let log_start = to_offset(bounds.start_offset);
        let end = to_offset(bounds.end_offset);
        Offsets {
            log_start,
            high_watermark: end,
            last_stable: first_unstable.max(log_start).min(end),
        }
    }

    /// Learns which transactions are open and which were aborted: for those who read only what is
    /// committed.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn settle(&self, now: Timestamp) -> Result<(), Error> {
        self.state.get_or_try_init(|| self.load(now)).await?;
        Ok(())
    }

    /// Whether [`Partition::settle`] has succeeded.
    pub(super) fn is_settled(&self) -> bool {
        self.state.initialized()
    }

    /// The aborted transactions that a reader of `from..to` has to skip.
    pub fn aborted_within(&self, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        self.aborted.read().within(from, to)
    }

    /// Every producer that the partition remembers.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn active_producers(&self, now: Timestamp) -> Result<Vec<ActiveProducer>, Error> {
        let state = self.state.get_or_try_init(|| self.load(now)).await?;
        Ok(state.lock().active_producers())
    }

    /// Whether its topic was deleted.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Refuses further appends and wakes who waits: the topic was deleted.
    pub(super) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        self.waiters.wake_all();
    }

    pub(super) fn watch(&self, waiter: &Arc<Waiter>) {
        self.waiters.add(waiter);
    }

    pub(super) fn unwatch(&self, waiter: &Arc<Waiter>) {
        self.waiters.remove(waiter);
    }

    /// Loads what the first append needs, and waits until the store has room for another.
    ///
    /// # Errors
    /// A store that cannot be read, or that has stalled and so makes no room.
    pub async fn prepare(&self, now: Timestamp) -> Result<(), AppendError> {
        if self.store.is_read_only() {
            return Err(AppendError::ReadOnly);
        }
        self.state(now).await?;
        let mut store = self.store.state();
        tokio::select! {
            biased;
            () = self.store.ready() => Ok(()),
            state = store.wait_for(|state| !matches!(state, StoreState::Open)) => match state {
                Ok(state) => refusal(&state).map_or(Ok(()), Err),
                Err(_) => Err(closed()),
            }
        }
    }

    pub(super) async fn state(&self, now: Timestamp) -> Result<&Mutex<State>, AppendError> {
        let loaded = self.state.get_or_try_init(|| self.load(now)).await?;
        Ok(loaded)
    }

    /// State as the last checkpoint has it, and the headers and markers of the batches since.
    async fn load(&self, now: Timestamp) -> Result<Mutex<State>, Error> {
        let bounds = self.log.bounds();
        let checkpoint = self.store.row(&checkpoint_key(&self.log)).await?;
        let mut state = State::restore(checkpoint.as_deref(), to_offset(bounds.start_offset));
        let mut next = from_offset(state.log_end()).max(bounds.start_offset);
        while next < bounds.end_offset {
            let entries = self.scan(next).await?;
            let Some(last) = entries.last() else { break };
            next = last.first_offset + u64::from(last.count);
            for entry in &entries {
                if let Some(header) = Header::parse(&entry.payload) {
                    state.replay(&header, &entry.payload, now);
                }
            }
        }
        match self.is_mirrored() {
            // Its batches have the source's epochs; this one begins when clients write it.
            true => state.skip_to(to_offset(bounds.end_offset)),
            false => state.lead(self.leader_epoch(), to_offset(bounds.end_offset)),
        }
        *self.aborted.write() = self.load_aborted().await?;
        self.first_unstable
            .store(state.first_unstable(), Ordering::Release);
        Ok(Mutex::new(state))
    }

    async fn load_aborted(&self) -> Result<Aborted, Error> {
        let prefix = log_rows::aborted(self.log.key());
        let mut aborted = Aborted::default();
        for (key, value) in self.store.rows(&prefix).await? {
            let offset = key[prefix.len()..].try_into().map(u64::from_be_bytes);
            let row = offset
                .ok()
                .and_then(|offset| AbortedTransaction::decode(to_offset(offset), &value));
            let row = row.ok_or_else(|| {
                Error::new(
                    ErrorKind::Corrupt,
                    "the row of an aborted transaction is damaged or of a newer version",
                )
            })?;
            aborted.push(row);
        }
        Ok(aborted)
    }

    /// Whether appends are taken.
    pub(super) fn check_open(&self) -> Result<(), AppendError> {
        if self.is_gone() {
            return Err(AppendError::Gone);
        }
        if self.is_mirrored() {
            return Err(AppendError::Mirrored);
        }
        refusal(&self.store.state().borrow()).map_or(Ok(()), Err)
    }

    /// The state, of which [`Partition::prepare`] has made sure.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.state.get();
        state
            .expect("prepare() loads the state before append()")
            .lock()
    }

    /// Gives a batch of no producer its offset, and puts it into `write_set`, which must be committed
    /// before `state` is unlocked.
    pub(super) fn put(
        &self,
        state: &mut State,
        mut batch: CheckedBatch,
        now: Timestamp,
        producer_expiration_ms: i64,
        write_set: &mut WriteSet,
    ) -> Result<(), AppendError> {
        let base_offset = match state.append(&mut batch, now, producer_expiration_ms)? {
            Verdict::New(base_offset) => base_offset,
            Verdict::Duplicate(appended) => appended.base_offset,
        };
        self.put_batch(
            write_set,
            state,
            batch,
            base_offset,
            now,
            producer_expiration_ms,
        );
        Ok(())
    }

    /// Puts a batch that has its offset into `write_set`, with a checkpoint if one is due.
    fn put_batch(
        &self,
        write_set: &mut WriteSet,
        state: &mut State,
        batch: CheckedBatch,
        base_offset: Offset,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) {
        write_set.append(
            &self.log,
            NewEntry {
                first_offset: from_offset(base_offset),
                count: batch.header.record_count.unsigned_abs(),
                max_timestamp: batch.header.max_timestamp,
                format: EntryFormat::Batch,
                payload: batch.bytes.freeze(),
            },
        );
        let log_start = to_offset(self.log.bounds().start_offset);
        if let Some(row) = state.checkpoint_if_due(now, log_start, producer_expiration_ms) {
            write_set.put_row(checkpoint_key(&self.log), row);
        }
    }

    /// Wakes who waits for `bytes` that have become durable, or have failed to.
    pub(super) fn tell_published(&self, bytes: usize, result: &Result<(), AppendError>) {
        let stable = self.first_unstable.load(Ordering::Acquire) == Offset::MAX;
        self.waiters.published(&self.log, bytes, stable, result);
    }

    /// Gives a checked batch its offset and queues it. [`Partition::prepare`] must have succeeded.
    pub fn append(
        self: &Arc<Self>,
        mut batch: CheckedBatch,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) -> Result<Receipt, AppendError> {
        self.check_open()?;
        let store = self.store.state();
        let state = self
            .state
            .get()
            .expect("prepare() loads the state before append()");
        let (send, done) = oneshot::channel();
        let log_append_time = batch.log_append_time;

        let mut state = state.lock();
        let base_offset = match state.append(&mut batch, now, producer_expiration_ms)? {
            Verdict::Duplicate(appended) => {
                // The original may not be durable yet; its repetition may not be sooner.
                self.waiters
                    .when_durable(from_offset(appended.next_offset()), &self.log, send);
                let log_append_time = log_append_time.map(|_| appended.timestamp);
                return Ok(Receipt {
                    base_offset: appended.base_offset,
                    log_append_time,
                    done,
                    store,
                });
            }
            Verdict::New(base_offset) => base_offset,
        };
        if batch.header.is_transactional() {
            self.first_unstable
                .store(state.first_unstable(), Ordering::Release);
        }
        let size_bytes = batch.bytes.len();
        let mut write_set = WriteSet::new();
        self.put_batch(
            &mut write_set,
            &mut state,
            batch,
            base_offset,
            now,
            producer_expiration_ms,
        );
        let partition = self.clone();
        self.store.commit(write_set, move |result| {
            let result = result.map(drop).map_err(AppendError::from);
            let stable = partition.first_unstable.load(Ordering::Acquire) == Offset::MAX;
            partition
                .waiters
                .published(&partition.log, size_bytes, stable, &result);
            // The client may have gone; its records stay.
            let _ = send.send(result);
        });
        drop(state);
        Ok(Receipt {
            base_offset,
            log_append_time,
            done,
            store,
        })
    }

    /// Queues the marker that ends a transaction; `None` if it was written before, and is durable or
    /// about to be. [`Partition::prepare`] must have succeeded.
    pub fn append_marker(
        self: &Arc<Self>,
        marker: Marker,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) -> Result<Option<Receipt>, AppendError> {
        self.check_open()?;
        let store = self.store.state();
        let state = self
            .state
            .get()
            .expect("prepare() loads the state before append_marker()");
        let (send, done) = oneshot::channel();
        let mut state = state.lock();
        let Some(Marked { batch, aborted }) = state.append_marker(&marker, now)? else {
            return Ok(None);
        };
        let size_bytes = batch.bytes.len();
        let offset = batch.header.base_offset;
        let mut write_set = WriteSet::new();
        write_set.append(
            &self.log,
            NewEntry {
                first_offset: from_offset(offset),
                count: 1,
                // No record that anybody looks for by its time.
                max_timestamp: -1,
                format: EntryFormat::Batch,
                payload: batch.bytes.freeze(),
            },
        );
        let log_start = to_offset(self.log.bounds().start_offset);
        if let Some(row) = state.checkpoint_if_due(now, log_start, producer_expiration_ms) {
            write_set.put_row(checkpoint_key(&self.log), row);
        }
        let mut index = self.aborted.write();
        for gone in index.trim(log_start) {
            write_set.delete_row(log_rows::aborted_at(
                self.log.key(),
                from_offset(gone.last_offset),
            ));
        }
        if let Some(aborted) = aborted {
            write_set.put_row(
                log_rows::aborted_at(self.log.key(), from_offset(offset)),
                aborted.encode(),
            );
            index.push(aborted);
        }
        drop(index);
        let partition = self.clone();
        self.store.commit(write_set, move |result| {
            let result = result.map(drop).map_err(AppendError::from);
            partition.marker_landed(offset, size_bytes, &result);
            // The coordinator may have gone.
            let _ = send.send(result);
        });
        drop(state);
        Ok(Some(Receipt {
            base_offset: offset,
            log_append_time: None,
            done,
            store,
        }))
    }

    /// The marker at `offset` is durable, or has failed to become so.
    pub(super) fn marker_landed(
        &self,
        offset: Offset,
        size_bytes: usize,
        result: &Result<(), AppendError>,
    ) {
        if result.is_ok()
            && let Some(state) = self.state.get()
        {
            let mut state = state.lock();
            state.marker_durable(offset);
            self.first_unstable
                .store(state.first_unstable(), Ordering::Release);
        }
        self.waiters.published(&self.log, size_bytes, false, result);
        self.waiters.settled();
    }

    /// Raises the log start to `offset`; returns the log start that holds when that is durable. Aborted
    /// transactions before it are forgotten with the next marker.
    pub async fn delete_records(&self, offset: Offset) -> Result<Offset, AppendError> {
        self.check_open()?;
        let mut write_set = WriteSet::new();
        write_set.trim(&self.log, from_offset(offset));
        self.commit(write_set).await?;
        Ok(self.offsets().log_start)
    }

    /// Puts down a checkpoint of the state, for what it would be rebuilt from may go; and raises the log
    /// start to `trim_to`.
    pub(super) async fn checkpoint(
        &self,
        trim_to: Option<u64>,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) -> Result<(), AppendError> {
        let durable = {
            let mut state = self.state(now).await?.lock();
            let mut write_set = WriteSet::new();
            if let Some(start) = trim_to {
                write_set.trim(&self.log, start);
            }
            let log_start = trim_to.unwrap_or(self.log.bounds().start_offset);
            let row = state.checkpoint(now, to_offset(log_start), producer_expiration_ms);
            write_set.put_row(checkpoint_key(&self.log), row);
            self.commit(write_set)
        };
        durable.await
    }

    /// Commits `write_set` at once, so that its place is that of the caller's turn; what is returned ends
    /// when it is durable. It is committed also if nobody waits for that.
    pub(super) fn commit(
        &self,
        write_set: WriteSet,
    ) -> impl Future<Output = Result<(), AppendError>> + use<> {
        let (send, done) = oneshot::channel();
        self.store.commit(write_set, move |result| {
            let _ = send.send(result);
        });
        async move {
            match done.await {
                Ok(result) => Ok(result.map(drop)?),
                Err(_) => Err(closed()),
            }
        }
    }

    /// Loads the state, which says what is undecided.
    pub(super) async fn load_state(&self, now: Timestamp) -> Result<(), Error> {
        let loaded = self.state.get_or_try_init(|| self.load(now)).await;
        loaded.map(drop)
    }

    /// The base offset of the last batch of each producer that is known.
    pub(super) async fn last_batches(&self, now: Timestamp) -> Result<HashMap<i64, Offset>, Error> {
        let state = self.state.get_or_try_init(|| self.load(now)).await?;
        Ok(state.lock().last_batches())
    }

    /// Stored batches from the one that holds `offset` on, below `end`; at least one if there is
    /// any, whatever its size.
    pub async fn read(
        &self,
        offset: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        let limit = ReadLimit {
            end_offset: from_offset(end),
            max_bytes,
            max_entries: usize::MAX,
        };
        self.log.read(from_offset(offset), limit).await
    }

    /// The epoch at or below `asked` and the offset where it ends (KIP-101).
    pub async fn end_of_epoch(
        &self,
        asked: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Option<(LeaderEpoch, Offset)>, AppendError> {
        let end = self.offsets().high_watermark;
        let found = self
            .state(now)
            .await?
            .lock()
            .epochs()
            .end_offset(asked, end);
        // Of a mirrored log the epoch that clients are told of holds nothing yet.
        let told = self.is_mirrored() && asked <= self.leader_epoch();
        Ok(found.or_else(|| told.then_some((asked, end))))
    }

    /// About how many bytes it holds, between its start and its end.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn size_bytes(&self) -> Result<u64, Error> {
        self.log.size_bytes().await
    }

    /// The log under it, for reading.
    pub fn log(&self) -> &Log {
        &self.log
    }

    pub(super) async fn scan(&self, offset: u64) -> Result<Vec<Entry>, Error> {
        let limit = ReadLimit {
            end_offset: u64::MAX,
            max_bytes: SCAN_BYTES,
            max_entries: usize::MAX,
        };
        self.log.read(offset, limit).await
    }
}

pub(super) fn checkpoint_key(log: &Log) -> Bytes {
    log_rows::checkpoint(log.key())
}

/// Offsets are unsigned in the store. Kafka's never reach the sign.
pub(super) fn to_offset(stored: u64) -> Offset {
    Offset::try_from(stored).unwrap_or(Offset::MAX)
}

pub(super) fn from_offset(offset: Offset) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}
