//! The file operations the writer needs, behind a seam so that tests can fill the disk, fail a sync
//! and cut the power.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::Path;

/// A disk that files are written to.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Creates a file that does not exist yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file, to be written from its start over what it holds.
    fn reuse(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the creation and removal of files in `dir` survive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file that is written from its start to its end.
pub(crate) trait DiskFile: Debug + Send {
    /// Appends some of `slices` and returns how many bytes.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Makes what was written survive a power cut.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file at `len`.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The disk of the machine.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn reuse(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::options().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for File {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored(slices)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}
