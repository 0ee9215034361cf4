//! Appending: SlateDB's writer task adds write batches to a group, a thread of our own writes group
//! after group, each with one write and one sync.
//!
//! While a group is being synced the next one fills; it is taken as soon as the thread is free. So a
//! lone writer waits for one sync, and many writers share it. An idle log writes nothing and wakes
//! nobody.
//!
//! An error of SlateDB's WAL closes the database, so a write that fails (a full disk) is not one: the
//! thread says that it is stalled and tries again, in a new file, until it succeeds. A failed sync is
//! different: what the kernel still holds of the file is unknown, so it is final. Nothing more is
//! acknowledged, and the store has to be opened again.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::{Condvar, Mutex};
use slatedb::RowEntry;
use slatedb::wal::{
    WalError, WalEvent, WalFlushResult, WalObserver, WalStatus, WalStatusListener, WalWriter,
};
use tokio::sync::{oneshot, watch};

use super::disk::{Disk, DiskFile};
use super::files::{DurablePosition, path_of};
use super::format::{FILE_HEADER_LEN, FileHeader, Group, marker};
use super::spares::Spares;

/// A group takes no further write batch once it is this long.
const GROUP_BYTES: usize = 8 << 20;
/// One write batch may not be longer than this.
const BATCH_BYTES_MAX: usize = 1 << 30;
/// Pause before a failed write is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Most slices that one write call takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;
/// Bytes of one write call, about. The kernel takes page cache in pieces as large as the call, and
/// pieces of megabytes cost it up to four times the CPU (measured on ext4, Linux 6.18, in a virtual
/// machine).
const WRITE_BYTES: usize = 512 << 10;

/// What SlateDB's tasks and the writer thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Signalled when there is a group to write, or to stop.
    wake: Condvar,
    /// Why the log cannot write just now.
    stalled: Arc<watch::Sender<Option<String>>>,
    /// Becomes true when the thread has ended.
    ended: watch::Sender<bool>,
}

struct State {
    /// Groups that are full or were flushed, oldest first, before `open`.
    sealed: VecDeque<Group>,
    /// Takes what is appended.
    open: Group,
    /// A group that was written; its buffers are used again.
    spare: Group,
    /// The id that `open` will get.
    open_wal_id: u64,
    /// Bytes and rows appended and not yet durable.
    pending_bytes: usize,
    pending_rows: usize,
    flushed_wal_id: u64,
    flushed_seq: Option<u64>,
    closed: Option<WalError>,
    stopping: bool,
    flush_waiters: Vec<(u64, oneshot::Sender<Result<(), WalError>>)>,
    listener: Option<WalStatusListener>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("open_wal_id", &self.open_wal_id)
            .field("flushed_wal_id", &self.flushed_wal_id)
            .field("pending_bytes", &self.pending_bytes)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl State {
    fn seal(&mut self) {
        let group = std::mem::replace(&mut self.open, std::mem::take(&mut self.spare));
        self.sealed.push_back(group);
        self.open_wal_id += 1;
    }

    fn status(&self) -> Result<WalStatus, WalStatus> {
        let status = WalStatus {
            closed_reason: self.closed.clone(),
            estimated_bytes: self.pending_bytes,
            last_flushed_wal_id: self.flushed_wal_id,
            last_flushed_seq: self.flushed_seq,
            buffered_wal_entries_count: self.pending_rows,
        };
        if status.closed_reason.is_none() {
            Ok(status)
        } else {
            Err(status)
        }
    }

    fn check_open(&self) -> Result<(), WalError> {
        self.closed.clone().map_or(Ok(()), Err)
    }
}

impl Shared {
    pub(crate) fn new(
        flushed_wal_id: u64,
        stalled: Arc<watch::Sender<Option<String>>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                sealed: VecDeque::new(),
                open: Group::default(),
                spare: Group::default(),
                open_wal_id: flushed_wal_id + 1,
                pending_bytes: 0,
                pending_rows: 0,
                flushed_wal_id,
                flushed_seq: None,
                closed: None,
                stopping: false,
                flush_waiters: Vec::new(),
                listener: None,
            }),
            wake: Condvar::new(),
            stalled,
            ended: watch::Sender::new(false),
        })
    }

    /// Ends the thread once the group in its hands is done or cannot be written; what was not yet
    /// durable is given up.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.wake.notify_one();
    }

    /// The next group and its id, or `None` to stop.
    fn next_group(&self) -> Option<(u64, Group)> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if state.sealed.is_empty() && !state.open.is_empty() {
                state.seal();
            }
            let wal_id = state.open_wal_id - state.sealed.len() as u64;
            if let Some(group) = state.sealed.pop_front() {
                return Some((wal_id, group));
            }
            self.wake.wait(&mut state);
        }
    }

    /// Whether a group will follow at once.
    fn more_waits(&self) -> bool {
        let state = self.state.lock();
        !state.stopping && (!state.sealed.is_empty() || !state.open.is_empty())
    }

    /// Waits before a failed write is tried again; false to stop.
    fn pause(&self) -> bool {
        let mut state = self.state.lock();
        let deadline = std::time::Instant::now() + RETRY_PAUSE;
        while !state.stopping && !self.wake.wait_until(&mut state, deadline).timed_out() {}
        !state.stopping
    }

    /// The group `wal_id` is durable.
    fn flushed(&self, wal_id: u64, mut group: Group) {
        let (status, listener, waiters) = {
            let mut state = self.state.lock();
            state.flushed_wal_id = wal_id;
            state.flushed_seq = Some(group.last_seq());
            state.pending_bytes -= group.len();
            state.pending_rows -= group.rows();
            let waiters = if state.flush_waiters.is_empty() {
                Vec::new()
            } else {
                state
                    .flush_waiters
                    .extract_if(.., |(id, _)| *id <= wal_id)
                    .collect()
            };
            group.clear();
            state.spare = group;
            (state.status(), state.listener.clone(), waiters)
        };
        if let (Ok(status), Some(listener)) = (status, listener) {
            listener(WalEvent::WalFlushed(status));
        }
        for (_, waiter) in waiters {
            let _ = waiter.send(Ok(()));
        }
    }

    /// Nothing more becomes durable.
    fn close(&self, reason: WalError) {
        let (status, listener, waiters) = {
            let mut state = self.state.lock();
            state.closed = Some(reason.clone());
            state.sealed.clear();
            state.open.clear();
            state.pending_bytes = 0;
            state.pending_rows = 0;
            (
                state.status(),
                state.listener.take(),
                std::mem::take(&mut state.flush_waiters),
            )
        };
        if let (Err(status), Some(listener)) = (status, listener) {
            listener(WalEvent::WalClosed(status));
        }
        for (_, waiter) in waiters {
            let _ = waiter.send(Err(reason.clone()));
        }
        self.ended.send_replace(true);
    }
}

/// SlateDB's end of the log.
pub(crate) struct FileWalWriter {
    pub(crate) shared: Arc<Shared>,
}

#[async_trait]
impl WalWriter for FileWalWriter {
    async fn append(&mut self, write_batch: &[RowEntry]) -> Result<(), WalError> {
        let bytes: usize = write_batch
            .iter()
            .map(|row| row.key.len() + row.value.len())
            .sum();
        if bytes > BATCH_BYTES_MAX {
            let why = format!("a write batch of {bytes} bytes is larger than {BATCH_BYTES_MAX}");
            return Err(WalError::InternalError(Arc::new(io::Error::other(why))));
        }
        {
            let mut state = self.shared.state.lock();
            state.check_open()?;
            let before = state.open.len();
            if before >= GROUP_BYTES {
                state.seal();
            }
            let before = state.open.len();
            state.open.append(write_batch);
            state.pending_bytes += state.open.len() - before;
            state.pending_rows += write_batch.len();
        }
        self.shared.wake.notify_one();
        Ok(())
    }

    async fn flush(&mut self) -> Result<WalFlushResult, WalError> {
        let mut state = self.shared.state.lock();
        state.check_open()?;
        if !state.open.is_empty() {
            state.seal();
        }
        let wal_id = state.open_wal_id - 1;
        if wal_id <= state.flushed_wal_id {
            return Ok(WalFlushResult {
                wal_id,
                completion: async { Ok(()) }.boxed(),
            });
        }
        let (done, waiter) = oneshot::channel();
        state.flush_waiters.push((wal_id, done));
        drop(state);
        self.shared.wake.notify_one();
        let completion = async { waiter.await.unwrap_or(Err(WalError::Closed)) }.boxed();
        Ok(WalFlushResult { wal_id, completion })
    }

    fn observer(&self) -> Box<dyn WalObserver> {
        Box::new(Observer {
            shared: self.shared.clone(),
        })
    }

    fn status(&self) -> Result<WalStatus, WalStatus> {
        self.shared.state.lock().status()
    }

    async fn close(&mut self) -> Result<(), WalError> {
        let mut ended = self.shared.ended.subscribe();
        self.shared.stop();
        let _ = ended.wait_for(|ended| *ended).await;
        Ok(())
    }
}

impl Drop for FileWalWriter {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

struct Observer {
    shared: Arc<Shared>,
}

impl WalObserver for Observer {
    fn status(&self) -> Result<WalStatus, WalStatus> {
        self.shared.state.lock().status()
    }

    fn subscribe(&self, listener: WalStatusListener) -> Result<(), WalError> {
        let mut state = self.shared.state.lock();
        state.check_open()?;
        state.listener = Some(listener);
        Ok(())
    }
}

/// What the writer thread owns.
#[derive(Debug)]
pub(crate) struct LogWriter {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) spares: Arc<Spares>,
    pub(crate) fsync: bool,
    pub(crate) file_bytes: u64,
    pub(crate) epoch: u64,
    pub(crate) marker: u64,
    pub(crate) next_number: u64,
    pub(crate) durable: DurablePosition,
    /// What is durable and readers in other processes were not told.
    pub(crate) unpublished: Option<u64>,
    pub(crate) file: Option<OpenFile>,
}

/// The file that records are appended to.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    len: u64,
    marker: u64,
    /// Whether an older file's bytes follow.
    reused: bool,
}

/// Why a group did not become durable.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing of it was handed out as written: it can be tried again in a new file.
    Write(io::Error),
    /// What the disk holds is unknown.
    Sync(io::Error),
}

impl LogWriter {
    /// Creates the file that this open starts with, and writes records without rows for `wal_ids`.
    pub(crate) fn start_file(&mut self, wal_ids: RangeInclusive<u64>) -> Result<(), Failure> {
        self.file = Some(self.next_file(*wal_ids.start())?);
        for wal_id in wal_ids {
            let mut group = Group::default();
            group.seal(wal_id);
            self.write(wal_id, &mut group)?;
        }
        Ok(())
    }

    /// Writes groups until it is stopped or a sync fails.
    pub(crate) fn run(mut self, shared: &Shared) {
        // Whoever waits must hear of it, should a listener panic.
        let reason =
            catch_unwind(AssertUnwindSafe(|| self.write_groups(shared))).unwrap_or_else(|_| {
                WalError::InternalError(Arc::new(io::Error::other("the wal thread panicked")))
            });
        shared
            .stalled
            .send_if_modified(|stalled| stalled.take().is_some());
        self.publish();
        self.leave();
        shared.close(reason);
    }

    fn write_groups(&mut self, shared: &Shared) -> WalError {
        while let Some((wal_id, mut group)) = shared.next_group() {
            group.seal(wal_id);
            if let Err(reason) = self.write_until_done(shared, wal_id, &mut group) {
                return reason;
            }
            self.unpublished = Some(wal_id);
            if !shared.more_waits() {
                self.publish();
            }
            shared.flushed(wal_id, group);
        }
        WalError::Closed
    }

    /// Tells readers in other processes what is durable. While groups follow each other they learn of
    /// several at once.
    fn publish(&mut self) {
        if let Some(wal_id) = self.unpublished.take()
            && let Err(error) = self.durable.publish(wal_id)
        {
            tracing::warn!(%error, "readers in other processes fall behind");
        }
    }

    /// Leaves the directory as the next open likes it best: nothing behind the last record, no spares.
    fn leave(&mut self) {
        if let Some(mut open) = self.file.take()
            && open.reused
            && let Err(error) = open.file.truncate(open.len)
        {
            tracing::debug!(%error, path = %open.path.display(), "cannot cut what an older file left");
        }
        self.spares.close();
    }

    fn write_until_done(
        &mut self,
        shared: &Shared,
        wal_id: u64,
        group: &mut Group,
    ) -> Result<(), WalError> {
        let mut stalled = false;
        loop {
            match self.write(wal_id, group) {
                Ok(()) => {
                    if stalled {
                        tracing::info!("the write-ahead log is written again");
                        shared.stalled.send_replace(None);
                    }
                    return Ok(());
                }
                Err(Failure::Sync(error)) => {
                    tracing::error!(%error, "a sync of the write-ahead log failed: nothing more is acknowledged");
                    return Err(WalError::Unavailable(Arc::new(error)));
                }
                Err(Failure::Write(error)) => {
                    if !stalled {
                        stalled = true;
                        let why = format!("cannot write to {}: {error}", self.dir.display());
                        tracing::warn!("{why}; commits wait until it can");
                        self.publish();
                        shared.stalled.send_replace(Some(why));
                    }
                    if !shared.pause() {
                        return Err(WalError::Closed);
                    }
                }
            }
        }
    }

    /// Makes one group durable.
    fn write(&mut self, wal_id: u64, group: &mut Group) -> Result<(), Failure> {
        let mut open = match self.file.take() {
            Some(open) => open,
            None => self.next_file(wal_id)?,
        };
        group.mark(open.marker);
        if let Err(error) = write_all(&mut *open.file, group) {
            // The part that was written would be taken for a torn record; the space it holds may be
            // what the next file needs.
            if let Err(error) = open.file.truncate(open.len) {
                tracing::debug!(%error, path = %open.path.display(), "cannot cut what was half written");
            }
            return Err(Failure::Write(error));
        }
        if self.fsync {
            open.file.sync().map_err(Failure::Sync)?;
        }
        open.len += group.len() as u64;
        if open.len < self.file_bytes {
            self.file = Some(open);
        }
        Ok(())
    }

    /// Begins the file whose first record will be `first_wal_id`. Its header is durable before any
    /// record is written, so a header that is not whole means a file without records.
    fn next_file(&mut self, first_wal_id: u64) -> Result<OpenFile, Failure> {
        while let Some(spare) = self.spares.take() {
            match self.reuse(&spare, first_wal_id) {
                Err(Failure::Write(error)) => {
                    tracing::debug!(%error, path = %spare.display(), "cannot write a spare file");
                    let _ = self.disk.remove(&spare);
                }
                begun => return begun,
            }
        }
        self.create(first_wal_id)
    }

    fn header(&self, first_wal_id: u64, reused: bool) -> FileHeader {
        FileHeader {
            first_wal_id,
            epoch: self.epoch,
            marker: marker(self.marker, reused),
        }
    }

    /// Begins a file in the place of `spare`. It has a name that counts only once its header is durable.
    fn reuse(&mut self, spare: &Path, first_wal_id: u64) -> Result<OpenFile, Failure> {
        let header = self.header(first_wal_id, true);
        let mut file = self.disk.reuse(spare).map_err(Failure::Write)?;
        write_all_slices(&mut *file, &mut [io::IoSlice::new(&header.encode())])
            .map_err(Failure::Write)?;
        if self.fsync {
            file.sync().map_err(Failure::Sync)?;
        }
        let path = path_of(&self.dir, self.next_number);
        self.disk.rename(spare, &path).map_err(Failure::Write)?;
        self.next_number += 1;
        if self.fsync {
            self.disk.sync_dir(&self.dir).map_err(Failure::Sync)?;
        }
        Ok(OpenFile {
            file,
            path,
            len: FILE_HEADER_LEN as u64,
            marker: header.marker,
            reused: true,
        })
    }

    fn create(&mut self, first_wal_id: u64) -> Result<OpenFile, Failure> {
        let path = path_of(&self.dir, self.next_number);
        let header = self.header(first_wal_id, false);
        let mut file = self.disk.create(&path).map_err(Failure::Write)?;
        let written = write_all_slices(&mut *file, &mut [io::IoSlice::new(&header.encode())]);
        if let Err(error) = written {
            drop(file);
            if self.disk.remove(&path).is_err() {
                self.next_number += 1;
            }
            return Err(Failure::Write(error));
        }
        self.next_number += 1;
        if self.fsync {
            file.sync()
                .and_then(|()| self.disk.sync_dir(&self.dir))
                .map_err(Failure::Sync)?;
        }
        Ok(OpenFile {
            file,
            path,
            len: FILE_HEADER_LEN as u64,
            marker: header.marker,
            reused: false,
        })
    }
}

fn write_all(file: &mut dyn DiskFile, group: &Group) -> io::Result<()> {
    let mut slices = group.slices();
    write_all_slices(file, &mut slices)
}

/// How many of `slices` go into one call.
fn one_call(slices: &[io::IoSlice<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |slice: &&io::IoSlice<'_>| {
        bytes += slice.len();
        bytes <= WRITE_BYTES
    };
    let count = slices.iter().take(SLICES_MAX).take_while(fits).count();
    count.max(1)
}

fn write_all_slices(file: &mut dyn DiskFile, mut slices: &mut [io::IoSlice<'_>]) -> io::Result<()> {
    // Takes empty slices off the front, so that a write of nothing means a disk that takes nothing.
    io::IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let written = match one_call(slices) {
            1 => file.write(&[io::IoSlice::new(
                &slices[0][..slices[0].len().min(WRITE_BYTES)],
            )]),
            count => file.write(&slices[..count]),
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => io::IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
