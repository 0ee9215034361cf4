//! The write-ahead log of stores on a local disk: append-only files behind SlateDB's pluggable WAL.
//!
//! It owns the log directory, the format of its files and the thread that writes them. It acknowledges
//! what is synced, in group commits; it replays what SlateDB has not flushed; it cuts a torn tail and
//! refuses damage; it reclaims what SlateDB has flushed. It does not lock the directory
//! (`object_store` does) and knows nothing of keys and logs.
//!
//! In SlateDB's terms each record (a group commit) is one "WAL file" with an id of its own; here a
//! file holds many records.

mod disk;
mod files;
mod format;
mod gc;
mod reader;
mod recover;
mod spares;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use slatedb::wal::{WalError, WalGc, WriterInit, WriterInitResult, WriterManifest};
use slatedb_common::clock::SystemClock;
use tokio::sync::watch;

use self::disk::{Disk, RealDisk};
use self::files::{DurablePosition, Records, unavailable};
use self::gc::FileWalGc;
pub use self::reader::FileWalReader;
use self::reader::Replay;
use self::recover::{Circumstances, Found, ManifestView};
use self::spares::Spares;
use self::writer::{Failure, FileWalWriter, LogWriter, Shared};
use crate::{Error, ErrorKind, Result};

/// Lies in the directory while an open has taken a writer epoch that no file names yet.
const OPENING_NAME: &str = "opening";

/// Settings of a [`FileWal`].
#[derive(Clone, Debug)]
pub(crate) struct FileWalOptions {
    /// Whether each group is synced before it is acknowledged.
    pub(crate) fsync: bool,
    /// A file is closed at the record that takes it past this many bytes.
    pub(crate) file_bytes: u64,
    /// Where SlateDB's own log would lie: looked into when another program has opened the store.
    pub(crate) foreign_wal_dir: Option<PathBuf>,
    /// The store's clock.
    pub(crate) clock: Arc<dyn SystemClock>,
}

/// What opening the log found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WalRecovered {
    /// Rows given to SlateDB to replay so far; all of them once the database is open.
    pub(crate) replayed_rows: u64,
    /// Bytes of an unfinished write that were cut.
    pub(crate) torn_bytes: u64,
}

/// The log of one open of a store.
#[derive(Clone, Debug)]
pub(crate) struct FileWal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    options: FileWalOptions,
    disk: Arc<dyn Disk>,
    spares: Arc<Spares>,
    found: Found,
    opening_was_cut_short: bool,
    replayed_rows: Arc<AtomicU64>,
    stalled: Arc<watch::Sender<Option<String>>>,
    /// Set by the writer's start.
    shared: Mutex<Option<Arc<Shared>>>,
}

impl FileWal {
    /// Opens the log in `dir`, which is created if it does not exist; its parent must. The caller
    /// holds the lock on the store. A torn tail is cut.
    ///
    /// # Errors
    /// `Corrupt` with file and position if records are damaged; `Invalid` if a newer version wrote
    /// the log; `Unavailable` if the disk fails.
    pub(crate) fn open(dir: &Path, options: FileWalOptions) -> Result<Self> {
        Self::open_on(Arc::new(RealDisk), dir, options)
    }

    fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: FileWalOptions) -> Result<Self> {
        if let Err(source) = std::fs::create_dir(dir)
            && source.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(unavailable("cannot create", dir, source));
        }
        spares::remove_left(dir).map_err(|source| unavailable("cannot clear", dir, source))?;
        let found = recover::recover(dir)?;
        let opening = dir.join(OPENING_NAME);
        let opening_was_cut_short = opening.exists();
        File::create(&opening).map_err(|source| unavailable("cannot create", &opening, source))?;
        if options.fsync {
            // What a process that was killed, or ran without fsync, has left may not be synced yet, and
            // is acknowledged from now on.
            for file in &found.files {
                File::open(&file.path)
                    .and_then(|file| file.sync_all())
                    .map_err(|source| unavailable("cannot sync", &file.path, source))?;
            }
            let parent = dir.parent().into_iter();
            for dir in parent.chain([dir]) {
                disk.sync_dir(dir)
                    .map_err(|source| unavailable("cannot sync", dir, source))?;
            }
        }
        let inner = Inner {
            dir: dir.to_owned(),
            spares: Arc::new(Spares::new(disk.clone(), options.fsync)),
            options,
            disk,
            found,
            opening_was_cut_short,
            replayed_rows: Arc::default(),
            stalled: Arc::new(watch::Sender::new(None)),
            shared: Mutex::new(None),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// What SlateDB opens the log with; give it to one database only.
    pub(crate) fn writer_init(&self) -> Box<dyn WriterInit> {
        Box::new(self.clone())
    }

    /// What SlateDB's garbage collector reclaims files with.
    pub(crate) fn gc(&self) -> Arc<dyn WalGc> {
        let Inner { dir, options, .. } = &*self.inner;
        Arc::new(FileWalGc {
            dir: dir.clone(),
            spares: self.inner.spares.clone(),
            clock: options.clock.clone(),
        })
    }

    /// Why the log cannot write just now, or `None` while it can.
    pub(crate) fn stalled(&self) -> watch::Receiver<Option<String>> {
        self.inner.stalled.subscribe()
    }

    /// Bytes of its files; 0 if the directory cannot be read now.
    pub(crate) fn bytes(&self) -> u64 {
        let files = std::fs::read_dir(&self.inner.dir).into_iter().flatten();
        let sizes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
        sizes.sum()
    }

    /// What opening found.
    pub(crate) fn recovered(&self) -> WalRecovered {
        WalRecovered {
            replayed_rows: self.inner.replayed_rows.load(Ordering::Relaxed),
            torn_bytes: self.inner.found.torn_bytes,
        }
    }

    /// Gives up what is not durable yet, so that a database whose log is stalled can be closed.
    pub(crate) fn stop(&self) {
        if let Some(shared) = &*self.inner.shared.lock() {
            shared.stop();
        }
    }
}

#[async_trait]
impl WriterInit for FileWal {
    async fn fence_and_init(
        &self,
        manifest: &mut WriterManifest,
    ) -> Result<WriterInitResult, WalError> {
        let view = {
            let epoch = manifest.epoch();
            let manifest = manifest.manifest();
            ManifestView {
                epoch,
                replay_after_wal_id: manifest.replay_after_wal_id(),
                next_wal_id: manifest.next_wal_sst_id(),
                last_l0_seq: manifest.last_l0_seq(),
            }
        };
        self.start(&view).map_err(wal_error)
    }
}

impl FileWal {
    fn start(&self, manifest: &ManifestView) -> Result<WriterInitResult> {
        let Inner {
            dir,
            options,
            disk,
            spares,
            found,
            ..
        } = &*self.inner;
        let at = Circumstances {
            dir,
            foreign_wal_dir: options.foreign_wal_dir.as_deref(),
            opening_was_cut_short: self.inner.opening_was_cut_short,
            fsync: options.fsync,
        };
        recover::check(found, manifest, at)?;

        let known_wal_id = found.last_wal_id.max(manifest.replay_after_wal_id);
        let last_wal_id = known_wal_id.max(manifest.next_wal_id.saturating_sub(1));
        let durable = DurablePosition::open(dir)?;
        let mut writer = LogWriter {
            dir: dir.clone(),
            disk: disk.clone(),
            spares: spares.clone(),
            fsync: options.fsync,
            file_bytes: options.file_bytes,
            epoch: manifest.epoch,
            // Any number that whoever writes records cannot foresee.
            marker: options
                .clock
                .now()
                .timestamp_nanos_opt()
                .unwrap_or_default() as u64,
            next_number: found.next_number,
            durable,
            unpublished: None,
            file: None,
        };
        // Names the epoch, whether or not anything is written. Ids that the manifest has seen and a
        // power cut without fsync has taken are filled, so that the log has no gap.
        writer
            .start_file(known_wal_id + 1..=last_wal_id)
            .map_err(|failure| match failure {
                Failure::Write(source) | Failure::Sync(source) => {
                    unavailable("cannot write to", dir, source)
                }
            })?;
        let opening = dir.join(OPENING_NAME);
        std::fs::remove_file(&opening)
            .map_err(|source| unavailable("cannot remove", &opening, source))?;
        writer
            .durable
            .publish(last_wal_id)
            .map_err(|source| unavailable("cannot publish the durable position in", dir, source))?;

        let shared = Shared::new(last_wal_id, self.inner.stalled.clone());
        let records = Records::new(
            found.files.clone(),
            manifest.replay_after_wal_id + 1,
            found.last_wal_id,
        );
        let replay = Replay {
            dir: dir.clone(),
            records,
            last_l0_seq: manifest.last_l0_seq,
            replayed_rows: self.inner.replayed_rows.clone(),
        };
        let for_thread = shared.clone();
        std::thread::Builder::new()
            .name("wal-writer".into())
            .spawn(move || writer.run(&for_thread))
            .map_err(|source| unavailable("cannot start a thread to write to", dir, source))?;
        *self.inner.shared.lock() = Some(shared.clone());
        Ok(WriterInitResult {
            replay_iterator: Box::new(replay),
            wal_writer: Box::new(FileWalWriter { shared }),
        })
    }
}

/// The error in SlateDB's terms.
fn wal_error(error: Error) -> WalError {
    match error.kind() {
        ErrorKind::Corrupt => WalError::DataError(Arc::new(error)),
        ErrorKind::Unavailable => WalError::Unavailable(Arc::new(error)),
        _ => WalError::InternalError(Arc::new(error)),
    }
}
