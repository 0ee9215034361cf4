//! Reading the log, for replay at an open and for readers in other processes.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use slatedb::RowEntry;
use slatedb::wal::{WalError, WalFileRange, WalIterator, WalReader, WalRows};
use slatedb_common::clock::SystemClock;

use super::files::{DurablePosition, ReadError, Records, list};
use super::format::decode_rows;
use super::recover::missing;
use super::wal_error;
use crate::{Error, ErrorKind};

/// How often a reader that follows the log looks for more.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The records that an open replays.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) dir: PathBuf,
    pub(crate) records: Records,
    /// Rows up to this sequence number are in the tree already.
    pub(crate) last_l0_seq: u64,
    /// Counts the others.
    pub(crate) replayed_rows: Arc<AtomicU64>,
}

#[async_trait]
impl WalIterator for Replay {
    async fn next(&mut self) -> Result<Option<WalRows>, WalError> {
        let record = self
            .records
            .next()
            .map_err(|error| wal_error(missing(&self.dir, error)))?;
        let Some((wal_id, payload)) = record else {
            return Ok(None);
        };
        let rows = rows_of(&self.dir, wal_id, payload)?;
        let new = rows.iter().filter(|row| row.seq > self.last_l0_seq).count();
        self.replayed_rows.fetch_add(new as u64, Ordering::Relaxed);
        Ok(Some(WalRows {
            rows,
            last_consumed_wal_file_id: wal_id,
        }))
    }
}

fn rows_of(dir: &Path, wal_id: u64, payload: Bytes) -> Result<Vec<RowEntry>, WalError> {
    decode_rows(payload).ok_or_else(|| {
        wal_error(Error::new(
            ErrorKind::Corrupt,
            format!(
                "record {wal_id} of the write-ahead log in {} is not a list of rows",
                dir.display()
            ),
        ))
    })
}

/// Reads the log of a store that another process writes: pass it to
/// [`DbReaderBuilder::with_wal_reader`](slatedb::DbReaderBuilder::with_wal_reader). It shows what is
/// durable and no more.
#[derive(Clone, Debug)]
pub struct FileWalReader {
    dir: PathBuf,
    clock: Arc<dyn SystemClock>,
}

impl FileWalReader {
    /// A reader of the log in `dir`, which is polled by `clock`.
    pub fn new(dir: impl Into<PathBuf>, clock: Arc<dyn SystemClock>) -> Self {
        Self {
            dir: dir.into(),
            clock,
        }
    }

    /// The records from `first_wal_id` to what is durable, but not past `last_wal_id`.
    fn durable_records(&self, first_wal_id: u64, last_wal_id: u64) -> Result<Records, WalError> {
        let durable = DurablePosition::read(&self.dir).map_err(wal_error)?;
        let (files, _) = list(&self.dir).map_err(wal_error)?;
        Ok(Records::new(files, first_wal_id, last_wal_id.min(durable)))
    }
}

#[async_trait]
impl WalReader for FileWalReader {
    async fn iterator(&self, range: WalFileRange) -> Result<Box<dyn WalIterator>, WalError> {
        let out_of_range = || {
            wal_error(Error::new(
                ErrorKind::Invalid,
                format!("wal range {range:?}"),
            ))
        };
        let first = match range.0 {
            Bound::Included(id) => id,
            Bound::Excluded(id) => id.checked_add(1).ok_or_else(out_of_range)?,
            Bound::Unbounded => return Err(out_of_range()),
        };
        let last = match range.1 {
            Bound::Included(id) => Some(id),
            Bound::Excluded(id) => Some(id.saturating_sub(1)),
            Bound::Unbounded => None,
        };
        let records = self.durable_records(first, last.unwrap_or(u64::MAX))?;
        let reader = self.clone();
        Ok(Box::new(Following {
            reader,
            records,
            next_wal_id: first,
            for_ever: last.is_none(),
        }))
    }

    async fn last_wal_file_id(&self, replay_after_wal_id: u64) -> Result<u64, WalError> {
        let durable = DurablePosition::read(&self.dir).map_err(wal_error)?;
        Ok(durable.max(replay_after_wal_id))
    }
}

/// What a [`FileWalReader`] returns.
struct Following {
    reader: FileWalReader,
    records: Records,
    next_wal_id: u64,
    /// Whether to wait for more at the end.
    for_ever: bool,
}

#[async_trait]
impl WalIterator for Following {
    async fn next(&mut self) -> Result<Option<WalRows>, WalError> {
        loop {
            match self.records.next() {
                Ok(Some((wal_id, payload))) => {
                    self.next_wal_id = wal_id + 1;
                    let rows = rows_of(&self.reader.dir, wal_id, payload)?;
                    return Ok(Some(WalRows {
                        rows,
                        last_consumed_wal_file_id: wal_id,
                    }));
                }
                Ok(None) if self.for_ever => {
                    self.reader.clock.sleep(POLL_INTERVAL).await;
                    self.records = self.reader.durable_records(self.next_wal_id, u64::MAX)?;
                }
                Ok(None) => return Ok(None),
                // The writer has reclaimed what the manifest of this reader still asks for.
                Err(ReadError::Missing { wal_id, .. }) => {
                    return Err(WalError::WalTruncated(wal_id));
                }
                Err(ReadError::Failed(error)) => return Err(wal_error(error)),
            }
        }
    }
}
