//! A disk of real files that can be full, fail to sync, and remember what a power cut would leave.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::wal::disk::{Disk, DiskFile, RealDisk};

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Debug, Default)]
pub(super) struct DiskState {
    /// Bytes that can still be written, if the disk is finite.
    pub(super) room: Option<u64>,
    /// Whether the next sync of a file fails.
    pub(super) fail_sync: bool,
    /// Whether files cannot be cut.
    pub(super) fail_truncate: bool,
    /// Calls so far.
    pub(super) writes: usize,
    pub(super) syncs: usize,
    /// Files written again so far.
    pub(super) reused: usize,
    /// By the number of the file, what has survived a power cut by now.
    files: BTreeMap<u64, FileState>,
    next_file: u64,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    path: PathBuf,
    /// Its name after a power cut, if it has one.
    synced_path: Option<PathBuf>,
    len: u64,
    synced_len: u64,
    /// What it held before it was written from its start again.
    old: Vec<u8>,
}

impl DiskState {
    fn number(&self, path: &Path) -> u64 {
        let mut files = self.files.iter();
        *files.find(|(_, file)| file.path == path).unwrap().0
    }

    fn file(&mut self, number: u64) -> &mut FileState {
        self.files.get_mut(&number).unwrap()
    }
}

/// What a power cut leaves behind the synced part of a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tail {
    Nothing,
    /// The first half of what was written.
    Half,
    /// The length, but not the bytes.
    Zeros,
}

impl FaultyDisk {
    pub(super) fn state(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock()
    }

    /// Writes and syncs so far.
    pub(super) fn calls(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.writes, state.syncs)
    }

    /// Copies `from`, a data directory whose log lies in `wal-files`, as it would be after a power cut
    /// now. The object store syncs what it acknowledges, so its objects are copied as they are, the
    /// manifests before what they name.
    pub(super) fn copy_after_power_cut(&self, from: &Path, to: &Path, tail: Tail) {
        let state = self.state.lock();
        for part in ["db/manifest", "db"] {
            copy_dir(&from.join(part), &to.join(part));
        }
        let log = to.join("wal-files");
        std::fs::create_dir(&log).unwrap();
        for file in state.files.values() {
            let Some(name) = file.synced_path.as_ref().and_then(|path| path.file_name()) else {
                continue;
            };
            let now = std::fs::read(&file.path).unwrap();
            let (synced, unsynced) = now[..file.len as usize].split_at(file.synced_len as usize);
            let mut bytes = synced.to_vec();
            match tail {
                Tail::Nothing => {}
                Tail::Half => bytes.extend(&unsynced[..unsynced.len() / 2]),
                Tail::Zeros => bytes.resize(now.len().min(file.len as usize), 0),
            }
            bytes.extend(file.old.iter().skip(bytes.len()));
            std::fs::write(log.join(name), bytes).unwrap();
        }
    }
}

/// Copies what is not there yet.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if !target.exists() {
            // A staging file may be gone by now.
            let _ = std::fs::copy(entry.path(), target);
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let file = File::create_new(path)?;
        let number = state.next_file;
        state.next_file += 1;
        let known = FileState {
            path: path.to_owned(),
            ..FileState::default()
        };
        state.files.insert(number, known);
        Ok(Box::new(FaultyFile {
            file,
            number,
            disk: self.clone(),
        }))
    }

    fn reuse(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.reused += 1;
        let file = File::options().write(true).open(path)?;
        let number = state.number(path);
        let known = state.file(number);
        known.old = std::fs::read(path)?;
        (known.len, known.synced_len) = (0, 0);
        Ok(Box::new(FaultyFile {
            file,
            number,
            disk: self.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        RealDisk.rename(from, to)?;
        let number = state.number(from);
        state.file(number).path = to.to_owned();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        RealDisk.remove(path)?;
        let number = state.number(path);
        state.files.remove(&number);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        for file in state.files.values_mut() {
            if file.path.parent() == Some(dir) {
                file.synced_path = Some(file.path.clone());
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: File,
    number: u64,
    disk: FaultyDisk,
}

impl DiskFile for FaultyFile {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.disk.state.lock();
        state.writes += 1;
        let mut written = 0;
        for slice in slices {
            // As a real disk: what fits is written, and only the next call fails.
            let fits = state
                .room
                .map_or(slice.len(), |room| slice.len().min(room as usize));
            written += DiskFile::write(&mut self.file, &[IoSlice::new(&slice[..fits])])?;
            state.room = state.room.map(|room| room - fits as u64);
            if fits < slice.len() {
                break;
            }
        }
        if written == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.file(self.number).len += written as u64;
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.syncs += 1;
        if std::mem::take(&mut state.fail_sync) {
            return Err(io::Error::other("the disk is dying"));
        }
        let file = state.file(self.number);
        file.synced_len = file.len;
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.fail_truncate {
            return Err(io::Error::other("cannot cut"));
        }
        DiskFile::truncate(&mut self.file, len)?;
        let file = state.file(self.number);
        file.len = len;
        file.old.clear();
        Ok(())
    }
}
