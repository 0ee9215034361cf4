//! Files of the log that are written again once nothing in them is needed.
//!
//! Writing over blocks that a file has already costs a sync half of what a file that grows costs: its
//! size and its blocks stay as they are, and only the bytes go to the disk. What was there before is not
//! read again: its records have lower ids than those the new header starts with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Disk;

/// Files kept. They are disk space that holds nothing.
const SPARES_MAX: usize = 2;
const SUFFIX: &str = "spare";

/// The files that wait to be written again; gone when the store closes.
#[derive(Debug)]
pub(crate) struct Spares {
    disk: Arc<dyn Disk>,
    fsync: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<PathBuf>,
    closed: bool,
}

impl Spares {
    pub(crate) fn new(disk: Arc<dyn Disk>, fsync: bool) -> Self {
        Self {
            disk,
            fsync,
            state: Mutex::default(),
        }
    }

    /// Takes the place of removing the file at `path`: it is kept if there is room, else removed. Its
    /// old name is gone for good before anything is written to it.
    pub(crate) fn keep_or_remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.closed || state.waiting.len() >= SPARES_MAX {
            return self.disk.remove(path);
        }
        let spare = path.with_extension(SUFFIX);
        self.disk.rename(path, &spare)?;
        if self.fsync
            && let Some(dir) = spare.parent()
            && let Err(error) = self.disk.sync_dir(dir)
        {
            let _ = self.disk.remove(&spare);
            return Err(error);
        }
        state.waiting.push(spare);
        Ok(())
    }

    pub(crate) fn take(&self) -> Option<PathBuf> {
        self.state.lock().waiting.pop()
    }

    /// Removes all, and keeps none from now on.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for spare in state.waiting.drain(..) {
            if let Err(error) = self.disk.remove(&spare) {
                tracing::debug!(%error, path = %spare.display(), "cannot remove a spare file");
            }
        }
    }
}

/// Removes what an earlier process kept in `dir`.
pub(crate) fn remove_left(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == SUFFIX)
        {
            match std::fs::remove_file(path) {
                // Whoever opened it before in this process may be at it too.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}
