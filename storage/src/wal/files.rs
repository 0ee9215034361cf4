//! The files of a log directory: finding them, reading their records, and the durable position that
//! the writer publishes to readers in other processes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{BadHeader, FILE_HEADER_LEN, FileHeader, RECORD_HEADER_LEN, RecordHeader};
use crate::{Error, ErrorKind, Result};

const SUFFIX: &str = ".wal";
const DURABLE_NAME: &str = "durable";
const DURABLE_LEN: usize = 12;

/// The path of the file with this number; files are numbered in the order they are written.
pub(crate) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}{SUFFIX}"))
}

/// A file of the log and what its header says.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) header: FileHeader,
}

/// A file whose header is not whole, as a crash or a full disk leaves it when the file was being
/// created; or one that is damaged.
#[derive(Clone, Debug)]
pub(crate) struct Headless {
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
}

/// The files of `dir` in the order they were written, and those without a header.
pub(crate) fn list(dir: &Path) -> Result<(Vec<LogFile>, Vec<Headless>)> {
    let unavailable = |source| unavailable("cannot list", dir, source);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unavailable)? {
        let name = entry.map_err(unavailable)?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();

    let mut files = Vec::with_capacity(numbers.len());
    let mut headless = Vec::new();
    for number in numbers {
        let path = path_of(dir, number);
        match read_header(&path) {
            Ok(Ok(header)) => files.push(LogFile {
                number,
                path,
                header,
            }),
            Ok(Err((BadHeader::Damaged, len))) => headless.push(Headless { path, len }),
            Ok(Err((BadHeader::Version(version), _))) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!(
                        "{} has write-ahead log format {version}, which this version does not know; \
                         start the version that wrote it",
                        path.display()
                    ),
                ));
            }
            // Reclaimed since the listing.
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(self::unavailable("cannot read", &path, source)),
        }
    }
    Ok((files, headless))
}

fn read_header(path: &Path) -> io::Result<Result<FileHeader, (BadHeader, u64)>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = [0; FILE_HEADER_LEN];
    let have = FILE_HEADER_LEN.min(len as usize);
    file.read_exact_at(&mut bytes[..have], 0)?;
    Ok(FileHeader::decode(&bytes[..have]).map_err(|bad| (bad, len)))
}

/// What lies at a position of a file.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole record.
    Record { wal_id: u64, payload: Bytes },
    /// The end of the file.
    End,
    /// Bytes that are not the record that belongs there.
    Bad,
}

/// Reads the records of one file, in order.
#[derive(Debug)]
pub(crate) struct RecordReader {
    file: File,
    path: PathBuf,
    header: FileHeader,
    position: u64,
    next_wal_id: u64,
}

impl RecordReader {
    pub(crate) fn open(log_file: &LogFile) -> Result<Self> {
        let file = File::open(&log_file.path)
            .map_err(|source| unavailable("cannot open", &log_file.path, source))?;
        Ok(Self {
            file,
            path: log_file.path.clone(),
            header: log_file.header,
            position: FILE_HEADER_LEN as u64,
            next_wal_id: log_file.header.first_wal_id,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the next record starts, or what is bad lies.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn len(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(|source| unavailable("cannot read", &self.path, source))?
            .len())
    }

    /// The next record; those with an id below `from_wal_id` are passed over unread.
    pub(crate) fn next(&mut self, from_wal_id: u64) -> Result<Step> {
        loop {
            let len = self.len()?;
            if self.position >= len {
                return Ok(Step::End);
            }
            let Some(record) = self.header_at(self.position, len)? else {
                return Ok(Step::Bad);
            };
            if record.wal_id != self.next_wal_id {
                return Ok(Step::Bad);
            }
            let payload = if record.wal_id < from_wal_id {
                None
            } else {
                match self.payload_at(self.position, &record)? {
                    Some(payload) => Some(payload),
                    None => return Ok(Step::Bad),
                }
            };
            self.position += RECORD_HEADER_LEN as u64 + u64::from(record.payload_len);
            self.next_wal_id += 1;
            if let Some(payload) = payload {
                return Ok(Step::Record {
                    wal_id: record.wal_id,
                    payload,
                });
            }
        }
    }

    /// Whether what lies at the current position is the beginning of the record that belongs there, as a
    /// crash leaves it, rather than what an older file left.
    pub(crate) fn is_torn(&self) -> Result<bool> {
        if !self.header.is_reused() {
            return Ok(true);
        }
        let mut bytes = [0; RECORD_HEADER_LEN];
        if self.len()?.saturating_sub(self.position) < RECORD_HEADER_LEN as u64 {
            return Ok(false);
        }
        self.read_at(&mut bytes, self.position)?;
        Ok(RecordHeader::decode(&bytes).is_some_and(|record| {
            record.marker == self.header.marker && record.wal_id == self.next_wal_id
        }))
    }

    /// Whether the file is being written again since it was opened.
    fn is_taken(&self) -> Result<bool> {
        let mut bytes = [0; FILE_HEADER_LEN];
        self.read_at(&mut bytes, 0)?;
        Ok(FileHeader::decode(&bytes) != Ok(self.header))
    }

    /// Where the first whole record after the current position starts. Looked for when what lies at
    /// the position is bad: a crash leaves nothing behind it, damage does.
    pub(crate) fn find_record_behind(&self) -> Result<Option<u64>> {
        const WINDOW: usize = 1 << 20;
        let marker = self.header.marker.to_le_bytes();
        let len = self.len()?;
        let mut window = vec![0; WINDOW];
        let mut start = self.position + 1;
        while start + (RECORD_HEADER_LEN as u64) <= len {
            let have = WINDOW.min((len - start) as usize);
            self.read_at(&mut window[..have], start)?;
            for (at, _) in window[..have]
                .windows(marker.len())
                .enumerate()
                .filter(|(_, w)| *w == marker)
            {
                let at = start + at as u64;
                if let Some(record) = self.header_at(at, len)?
                    && record.wal_id > self.next_wal_id
                    && self.payload_at(at, &record)?.is_some()
                {
                    return Ok(Some(at));
                }
            }
            // The next window overlaps this one by all but the first byte of a marker.
            start += (have + 1).saturating_sub(marker.len()).max(1) as u64;
        }
        Ok(None)
    }

    /// The record header at `position`, if one can be there.
    fn header_at(&self, position: u64, len: u64) -> Result<Option<RecordHeader>> {
        let room = len.saturating_sub(position);
        if room < RECORD_HEADER_LEN as u64 {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEADER_LEN];
        self.read_at(&mut bytes, position)?;
        let header = RecordHeader::decode(&bytes).filter(|header| {
            header.marker == self.header.marker
                && u64::from(header.payload_len) <= room - RECORD_HEADER_LEN as u64
        });
        Ok(header)
    }

    fn payload_at(&self, position: u64, header: &RecordHeader) -> Result<Option<Bytes>> {
        let mut payload = vec![0; header.payload_len as usize];
        self.read_at(&mut payload, position + RECORD_HEADER_LEN as u64)?;
        let start = RecordHeader::crc_start(header.payload_len, header.wal_id);
        Ok((crc32c::crc32c_append(start, &payload) == header.crc).then(|| payload.into()))
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> Result<()> {
        self.file
            .read_exact_at(into, position)
            .map_err(|source| unavailable("cannot read", &self.path, source))
    }
}

/// Why the next record cannot be had.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// No file holds the record with this id; `path` is where it would have been.
    Missing { wal_id: u64, path: Option<PathBuf> },
    /// A read failed, or the bytes are damaged.
    Failed(Error),
}

/// The records of a range of wal ids, read from as many files as it takes.
#[derive(Debug)]
pub(crate) struct Records {
    /// Files not opened yet, oldest first.
    files: std::collections::VecDeque<LogFile>,
    current: Option<RecordReader>,
    next_wal_id: u64,
    last_wal_id: u64,
}

impl Records {
    /// The records `first_wal_id..=last_wal_id` of `files`.
    pub(crate) fn new(files: Vec<LogFile>, first_wal_id: u64, last_wal_id: u64) -> Self {
        Self {
            files: files.into(),
            current: None,
            next_wal_id: first_wal_id,
            last_wal_id,
        }
    }

    /// The next record and its id.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Bytes)>, ReadError> {
        while self.next_wal_id <= self.last_wal_id {
            // A file ends where the next one starts. After a failed write it may hold more than that:
            // the group was written again, to the next file.
            if self
                .files
                .front()
                .is_some_and(|next| next.header.first_wal_id <= self.next_wal_id)
            {
                let file = self.files.pop_front().expect("there is a front");
                let superseded = self
                    .files
                    .front()
                    .is_some_and(|next| next.header.first_wal_id <= self.next_wal_id);
                self.current = if superseded {
                    None
                } else {
                    Some(RecordReader::open(&file).map_err(ReadError::Failed)?)
                };
                continue;
            }
            let Some(reader) = &mut self.current else {
                return Err(self.missing());
            };
            match reader.next(self.next_wal_id).map_err(ReadError::Failed)? {
                Step::Record { wal_id, payload } => {
                    self.next_wal_id = wal_id + 1;
                    return Ok(Some((wal_id, payload)));
                }
                Step::End => return Err(self.missing()),
                // Reclaimed while it was read, and written again: the header came first.
                Step::Bad if reader.is_taken().map_err(ReadError::Failed)? => {
                    return Err(self.missing());
                }
                Step::Bad => return Err(ReadError::Failed(damaged(reader))),
            }
        }
        Ok(None)
    }

    fn missing(&self) -> ReadError {
        let path = self.current.as_ref().map(|reader| reader.path().to_owned());
        ReadError::Missing {
            wal_id: self.next_wal_id,
            path,
        }
    }
}

/// The error for the bytes at the position of `reader`.
pub(crate) fn damaged(reader: &RecordReader) -> Error {
    corrupt(
        reader.path(),
        reader.position(),
        "the record there is damaged",
    )
}

/// The error for damage; names the place and what to do.
pub(crate) fn corrupt(path: &Path, position: u64, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "write-ahead log {} is corrupt at byte {position}: {what}. Nothing was changed; \
             restore the data directory from a copy",
            path.display()
        ),
    )
}

/// The error for a failed file operation.
pub(crate) fn unavailable(what: &str, path: &Path, source: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what} {}", path.display())).with_source(source)
}

/// The wal id up to which the log is durable, in a small file that readers in other processes poll.
#[derive(Debug)]
pub(crate) struct DurablePosition {
    file: File,
}

impl DurablePosition {
    /// Opens the file to write it.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(DURABLE_NAME);
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let file = options
            .open(&path)
            .map_err(|source| unavailable("cannot open", &path, source))?;
        Ok(Self { file })
    }

    /// Tells readers. It is not synced: after a power cut readers see less until the next writer
    /// publishes, never more.
    pub(crate) fn publish(&self, wal_id: u64) -> io::Result<()> {
        let mut bytes = [0; DURABLE_LEN];
        bytes[..8].copy_from_slice(&wal_id.to_le_bytes());
        bytes[8..].copy_from_slice(&crc32c::crc32c(&wal_id.to_le_bytes()).to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }

    /// What was published last; 0 if nothing was.
    pub(crate) fn read(dir: &Path) -> Result<u64> {
        let path = dir.join(DURABLE_NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(source) => return Err(unavailable("cannot read", &path, source)),
        };
        let Some((wal_id, crc)) = bytes.first_chunk::<8>().zip(bytes.last_chunk::<4>()) else {
            return Ok(0);
        };
        // A read in the middle of a write is read again by the next poll.
        let whole =
            bytes.len() == DURABLE_LEN && crc32c::crc32c(wal_id) == u32::from_le_bytes(*crc);
        Ok(if whole {
            u64::from_le_bytes(*wal_id)
        } else {
            0
        })
    }
}
