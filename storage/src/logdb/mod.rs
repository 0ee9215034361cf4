//! The log database for its own users: records under keys of their own choice, read by sequence.
//!
//! [`LogDb`] writes and reads, [`LogDbReader`] follows what another process writes; what both can read
//! is [`LogRead`]. All of it stands on a [`crate::Store`], which others may use beside it: an entry that
//! they appended is returned as it is stored.

mod config;
mod database;
mod inspect;
mod keys;
mod merge;
mod reader;
mod record;
mod retention;
mod scan;
mod tail;
mod view;

pub use config::{
    Config, KeyRetention, ReadVisibility, ReaderConfig, RetentionConfig, SegmentConfig,
    StorageConfig,
};
pub use database::{LogDb, LogDbBuilder};
pub use inspect::{Inspection, SegmentInspection, SegmentTree, TreeSummary};
pub use keys::{KeyOptions, LogKey, LogKeyIterator};
pub use reader::LogDbReader;
pub use record::{
    AppendError, AppendOutput, AppendResult, LogEntry, Record, Segment, SegmentId, Sequence,
};
pub use scan::{LogIterator, ScanOptions};
pub use tail::LogTail;
pub use view::{CountOptions, LogRead, LogView};
