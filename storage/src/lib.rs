//! A key-oriented log database on SlateDB.
//!
//! A [`Store`] holds many [`Log`]s, each an ordered run of opaque entries under a key of bytes. Every
//! record in the store has a place in one global **sequence**; within its log it also has an
//! **offset**. Entries are stored by sequence; sparse index rows beside them lead from offset to
//! sequence.
//!
//! [`LogDb`] is the way in for those who keep records of their own under keys of their own; a broker
//! stands on the [`Store`] itself.
//!
//! What changes together is gathered in a [`WriteSet`] and committed; a commit is acknowledged when
//! it would survive a crash, and only then can it be read.
//!
//! ```
//! use std::sync::Arc;
//!
//! use slatedb_common::clock::DefaultSystemClock;
//! use trestle_storage::{DataUrl, EntryFormat, NewEntry, Options, ReadLimit, Store, WriteSet};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let options = Options::new(DataUrl::Memory);
//! let store = Store::open(options, Arc::new(DefaultSystemClock::new())).await?;
//! let log = store.log(b"greetings").await?;
//!
//! let mut write_set = WriteSet::new();
//! write_set.append(
//!     &log,
//!     NewEntry {
//!         first_offset: log.bounds().end_offset,
//!         count: 1,
//!         max_timestamp: -1,
//!         format: EntryFormat::Raw,
//!         payload: "hello".into(),
//!     },
//! );
//! let (done, committed) = tokio::sync::oneshot::channel();
//! store.ready().await;
//! store.commit(write_set, move |result| {
//!     let _ = done.send(result);
//! });
//! let committed = committed.await??;
//!
//! let limit = ReadLimit { end_offset: u64::MAX, max_bytes: 1 << 20, max_entries: 100 };
//! let entries = log.read(0, limit).await?;
//! assert_eq!(entries[0].payload, "hello");
//! assert_eq!(Some(entries[0].first_sequence), committed.first_sequence);
//! store.close().await?;
//! # Ok(())
//! # })
//! # }
//! ```

mod adopt;
mod ahead;
mod batch;
mod checkpoint;
mod clear;
mod clone;
mod commit;
mod error;
mod follow;
mod key;
mod layout;
mod log;
mod logdb;
mod lookup;
mod memory_wal;
mod merge;
mod metrics;
mod object_store;
mod open;
mod options;
mod pace;
mod publish;
mod queue;
mod read;
mod reclaim;
mod rewrite;
mod rows;
mod runs;
mod segment;
mod sequence;
mod store;
mod tail;
mod wal;
mod windows;
mod write_set;

pub use checkpoint::Checkpoint;
pub use error::{Error, ErrorKind, Result};
pub use log::{Bounds, Entry, EntryFormat, Log, ReadLimit};
pub use logdb::{
    AppendError, AppendOutput, AppendResult, Config, CountOptions, Inspection, KeyOptions,
    KeyRetention, LogDb, LogDbBuilder, LogDbReader, LogEntry, LogIterator, LogKey, LogKeyIterator,
    LogRead, LogTail, LogView, ReadVisibility, ReaderConfig, Record, RetentionConfig, ScanOptions,
    Segment, SegmentConfig, SegmentId, SegmentInspection, SegmentTree, Sequence, StorageConfig,
    TreeSummary,
};
pub use merge::HeldWindows;
pub use metrics::Metrics;
pub use options::{DataUrl, Options};
pub use rewrite::{Rewriter, Rewritten};
pub use store::{Committed, Recovered, Store, StoreState};
/// What checkpoints are named by.
pub use uuid::Uuid;
pub use wal::FileWalReader;
pub use windows::Window;
pub use write_set::{NewEntry, WriteSet};
