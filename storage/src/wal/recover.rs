//! What opening finds: the end of the log, a torn tail that is cut, damage that is refused, and
//! whether another program wrote to the store in between.

use std::fs::File;
use std::path::Path;

use super::files::{LogFile, ReadError, RecordReader, Step, corrupt, damaged, list, unavailable};
use super::format::{FILE_HEADER_LEN, decode_rows};
use crate::{Error, ErrorKind, Result};

/// The log as opening left it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its files, oldest first.
    pub(crate) files: Vec<LogFile>,
    /// Id of the last record; 0 if there never was one.
    pub(crate) last_wal_id: u64,
    /// Number of the next file.
    pub(crate) next_number: u64,
    /// Bytes cut because a crash left them half written.
    pub(crate) torn_bytes: u64,
}

/// Reads the end of the log in `dir`, and cuts what a crash left there half written.
pub(crate) fn recover(dir: &Path) -> Result<Found> {
    let (files, headless) = list(dir)?;
    let mut torn_bytes = 0;
    for file in headless {
        // The header is durable before any record is written.
        if file.len > FILE_HEADER_LEN as u64 {
            return Err(corrupt(&file.path, 0, "its header is damaged"));
        }
        torn_bytes += file.len;
        std::fs::remove_file(&file.path)
            .map_err(|source| unavailable("cannot remove", &file.path, source))?;
    }
    let mut found = Found {
        last_wal_id: 0,
        next_number: 1,
        torn_bytes,
        files,
    };
    if let Some(last) = found.files.last() {
        found.next_number = last.number + 1;
        let end = end_of(last)?;
        found.last_wal_id = end.next_wal_id - 1;
        found.torn_bytes += end.torn_bytes;
    }
    if found.torn_bytes > 0 {
        tracing::warn!(
            bytes = found.torn_bytes,
            last_wal_id = found.last_wal_id,
            "cut a torn tail off the write-ahead log: its last write was not finished and not acknowledged"
        );
    }
    Ok(found)
}

struct End {
    next_wal_id: u64,
    torn_bytes: u64,
}

/// Checks the last file to its end.
fn end_of(last: &LogFile) -> Result<End> {
    let mut reader = RecordReader::open(last)?;
    let mut next_wal_id = last.header.first_wal_id;
    loop {
        match reader.next(0)? {
            Step::Record { wal_id, .. } => next_wal_id = wal_id + 1,
            Step::End => {
                return Ok(End {
                    next_wal_id,
                    torn_bytes: 0,
                });
            }
            Step::Bad => break,
        }
    }
    if reader.find_record_behind()?.is_some() {
        return Err(damaged(&reader));
    }
    let torn_bytes = match reader.is_torn()? {
        true => reader.len()? - reader.position(),
        false => 0,
    };
    File::options()
        .write(true)
        .open(&last.path)
        .and_then(|file| {
            file.set_len(reader.position())?;
            file.sync_all()
        })
        .map_err(|source| unavailable("cannot cut the torn tail of", &last.path, source))?;
    Ok(End {
        next_wal_id,
        torn_bytes,
    })
}

/// What the manifest says about the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ManifestView {
    /// The epoch this open was given.
    pub(crate) epoch: u64,
    /// Records up to this id lie in the tree.
    pub(crate) replay_after_wal_id: u64,
    /// One past the last id that was durable when the manifest was written.
    pub(crate) next_wal_id: u64,
    /// Rows up to this sequence number lie in the tree.
    pub(crate) last_l0_seq: u64,
}

/// How the log was left, as far as [`check`] asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    pub(crate) dir: &'a Path,
    /// Where SlateDB's own log would lie.
    pub(crate) foreign_wal_dir: Option<&'a Path>,
    /// An open of ours was cut short, and may have taken an epoch without a trace in the log.
    pub(crate) opening_was_cut_short: bool,
    pub(crate) fsync: bool,
}

/// Refuses a log that does not belong to the manifest.
pub(crate) fn check(found: &Found, manifest: &ManifestView, at: Circumstances<'_>) -> Result<()> {
    let foreign_open = !at.opening_was_cut_short
        && manifest.epoch > found.files.last().map_or(0, |file| file.header.epoch) + 1;
    if foreign_open {
        if last_seq(found)?.is_some_and(|seq| seq > manifest.last_l0_seq) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "the store was opened for writing by a program that does not read the write-ahead \
                     log in {} (writer epoch {}), and that log holds records that are not in the store \
                     yet; restore the data directory from a copy made before",
                    at.dir.display(),
                    manifest.epoch - 1,
                ),
            ));
        }
        if let Some(object) = at
            .foreign_wal_dir
            .map(|dir| foreign_record(dir, manifest.replay_after_wal_id))
            .transpose()?
            .flatten()
        {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "another program wrote to the store and did not close it cleanly: {object} is not in \
                     the store yet; open and close the store with that program first"
                ),
            ));
        }
    }
    let durable = manifest.next_wal_id.saturating_sub(1);
    if durable > manifest.replay_after_wal_id && found.last_wal_id < durable {
        let why = format!(
            "the write-ahead log in {} ends at record {}, but record {durable} was durable",
            at.dir.display(),
            found.last_wal_id
        );
        if at.fsync {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{why}: files are missing. Restore the data directory from a copy; if the store ran \
                     without fsync before a power cut, start it once without fsync to accept the loss"
                ),
            ));
        }
        tracing::warn!("{why}: records written without fsync were lost");
    }
    Ok(())
}

/// Sequence number of the last row in the log.
fn last_seq(found: &Found) -> Result<Option<u64>> {
    for file in found.files.iter().rev() {
        let mut reader = RecordReader::open(file)?;
        let mut last = None;
        while let Step::Record { payload, .. } = reader.next(0)? {
            last = Some(payload);
        }
        if let Some(payload) = last {
            let rows = decode_rows(payload);
            return Ok(rows.and_then(|rows| rows.last().map(|row| row.seq)));
        }
    }
    Ok(None)
}

/// A record in SlateDB's own log with an id above `replay_after_wal_id`. Its fences are empty objects.
fn foreign_record(dir: &Path, replay_after_wal_id: u64) -> Result<Option<String>> {
    let failed = |source| unavailable("cannot list", dir, source);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(".sst")?.parse::<u64>().ok());
        if id.is_some_and(|id| id > replay_after_wal_id)
            && entry.metadata().map_err(failed)?.len() > 0
        {
            return Ok(Some(entry.path().display().to_string()));
        }
    }
    Ok(None)
}

/// The error for records that replay needs and no file has.
pub(crate) fn missing(dir: &Path, error: ReadError) -> Error {
    match error {
        ReadError::Failed(error) => error,
        ReadError::Missing { wal_id, path } => {
            let behind = path.map_or(String::new(), |path| format!(" after {}", path.display()));
            Error::new(
                ErrorKind::Corrupt,
                format!(
                    "record {wal_id} of the write-ahead log in {} is missing{behind}. Nothing was changed; \
                     restore the data directory from a copy",
                    dir.display()
                ),
            )
        }
    }
}
