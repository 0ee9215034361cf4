//! Tests of the write-ahead log, with a SlateDB on top of it.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slatedb::Db;
use slatedb::config::Settings;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::wal::WalFileRange;
use slatedb_common::clock::{DefaultSystemClock, SystemClock};
use tempfile::TempDir;

use super::disk::{Disk, RealDisk};
use super::{FileWal, FileWalOptions};
use crate::Result;

mod damage;
mod faults;
mod faulty_disk;
mod readers;
mod replay;
mod reuse;

/// A data directory and what is needed to open a database in it.
struct Bench {
    dir: TempDir,
    disk: Arc<dyn Disk>,
    file_bytes: u64,
    fsync: bool,
    /// A memtable is flushed past this size.
    memtable_bytes: usize,
}

/// A database and its log.
struct Opened {
    db: Db,
    wal: FileWal,
}

fn clock() -> Arc<dyn SystemClock> {
    Arc::new(DefaultSystemClock::new())
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            disk: Arc::new(RealDisk),
            file_bytes: 1 << 20,
            fsync: true,
            memtable_bytes: 8 << 20,
        }
    }

    fn wal_dir(&self) -> PathBuf {
        self.dir.path().join("wal-files")
    }

    fn wal(&self) -> Result<FileWal> {
        let options = FileWalOptions {
            fsync: self.fsync,
            file_bytes: self.file_bytes,
            foreign_wal_dir: Some(self.dir.path().join("db/wal")),
            clock: clock(),
        };
        FileWal::open_on(self.disk.clone(), &self.wal_dir(), options)
    }

    fn object_store(&self) -> Arc<LocalFileSystem> {
        Arc::new(
            LocalFileSystem::new_with_prefix(self.dir.path())
                .unwrap()
                .with_fsync(self.fsync),
        )
    }

    async fn try_open(&self) -> std::result::Result<Opened, String> {
        let wal = self.wal().map_err(|error| error.to_string())?;
        let settings = Settings {
            l0_sst_size_bytes: self.memtable_bytes,
            l0_max_ssts: 10_000,
            l0_max_ssts_per_key: 10_000,
            compactor_options: None,
            garbage_collector_options: None,
            ..Settings::default()
        };
        let db = Db::builder("db", self.object_store())
            .with_settings(settings)
            .with_wal_writer(wal.writer_init())
            .build()
            .await
            .map_err(|error| chain(&error))?;
        Ok(Opened { db, wal })
    }

    async fn open(&self) -> Opened {
        self.try_open().await.unwrap()
    }

    /// The log's files, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        files_in(&self.wal_dir())
    }
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .collect();
    files.sort();
    files
}

/// The error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(|error| format!("{error}; "))
        .collect()
}

impl Opened {
    async fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        self.db
            .put(key, value.as_ref())
            .await
            .unwrap()
            .await_durable()
            .await
            .unwrap();
    }

    /// Reclaims what is flushed.
    async fn reclaim(&self) {
        let flushed = self.db.status().current_manifest.replay_after_wal_id();
        let referenced = vec![WalFileRange(Bound::Included(flushed), Bound::Unbounded)];
        let gc = self.wal.gc();
        gc.collect(referenced, Duration::ZERO, false).await.unwrap();
    }

    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.db.get(key).await.unwrap().map(|value| value.to_vec())
    }

    /// Goes away like a process that is killed: nothing more is flushed.
    async fn crash(self) {
        self.wal.stop();
        let close = slatedb::config::CloseOptions::default().with_flush_type(None);
        let _ = self.db.close_with_options(close).await;
    }
}
