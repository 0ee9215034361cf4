//! What goes into a log and what comes out.

use bytes::Bytes;

use crate::{EntryFormat, Error, ErrorKind};

/// Identifies a segment; the first is 1, segment 0 belongs to the store.
pub type SegmentId = u32;

/// Place of a record in the order of the whole store. Within a key sequences rise but are not
/// contiguous: other keys' records lie between.
pub type Sequence = u64;

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The log it goes to: 1 to 1024 bytes. A new key begins a new log.
    pub key: Bytes,
    /// What it says.
    pub value: Bytes,
}

/// Where a batch of records went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendOutput {
    /// Sequence of the first record; the others follow it in the order given. 0 for an empty batch.
    pub start_sequence: Sequence,
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The log it is in.
    pub key: Bytes,
    /// Its sequence; of the first record, if it holds several.
    pub sequence: Sequence,
    /// What was appended.
    pub value: Bytes,
    /// Its offset within the log.
    pub offset: u64,
    /// Records it holds, each with a sequence and an offset: 1, unless it is a batch that another
    /// user of the store appended.
    pub records: u32,
    /// What `value` is.
    pub format: EntryFormat,
}

impl LogEntry {
    /// One past its last sequence: where to go on after it.
    pub fn next_sequence(&self) -> Sequence {
        self.sequence + u64::from(self.records)
    }
}

/// A window of the sequence, over all keys; what is removed is removed by segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which.
    pub id: SegmentId,
    /// The first sequence that it can hold.
    pub start_seq: Sequence,
    /// When it was opened, in milliseconds since the epoch.
    pub start_time_ms: i64,
}

/// The result of an append.
pub type AppendResult<T> = std::result::Result<T, AppendError>;

/// Why a batch was not appended. Where it may be tried again, the batch comes back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// So much is on its way to being durable that there is no room now.
    #[error("there is no room for more until what was appended is durable")]
    QueueFull(Vec<Record>),
    /// There was no room within the time given.
    #[error("there was no room within the time given")]
    Timeout(Vec<Record>),
    /// A record that cannot be appended; nothing was.
    #[error("{problem}")]
    Invalid {
        /// The batch.
        records: Vec<Record>,
        /// What is wrong with it.
        problem: String,
    },
    /// The log is closed, or another writer has taken it over.
    #[error("the log is closed")]
    Shutdown,
    /// The store failed. Whether the batch is stored is not known.
    #[error(transparent)]
    Storage(Error),
}

impl AppendError {
    /// The batch, where it was certainly not appended.
    pub fn into_inner(self) -> Option<Vec<Record>> {
        match self {
            Self::QueueFull(records) | Self::Timeout(records) | Self::Invalid { records, .. } => {
                Some(records)
            }
            Self::Shutdown | Self::Storage(_) => None,
        }
    }
}

impl From<Error> for AppendError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Closed | ErrorKind::Fenced => Self::Shutdown,
            ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Invalid => {
                Self::Storage(error)
            }
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        let kind = match &error {
            AppendError::QueueFull(_) | AppendError::Timeout(_) => ErrorKind::Unavailable,
            AppendError::Invalid { .. } => ErrorKind::Invalid,
            AppendError::Shutdown => ErrorKind::Closed,
            AppendError::Storage(error) => return error.clone(),
        };
        Self::new(kind, error.to_string())
    }
}
