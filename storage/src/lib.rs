//! A key-oriented log database on SlateDB.
//!
//! A [`Store`] holds many [`Log`]s, each an ordered run of opaque entries under a key of bytes. Every
//! record in the store has a place in one global **sequence**; within its log it also has an
//! **offset**. Entries are stored by sequence; sparse index rows beside them lead from offset to
//! sequence.
//!
//! What changes together is gathered in a [`WriteSet`] and committed; a commit is acknowledged when
//! it would survive a crash, and only then can it be read.

mod batch;
mod clear;
mod commit;
mod error;
mod key;
mod layout;
mod log;
mod lookup;
mod memory_wal;
mod metrics;
mod object_store;
mod open;
mod options;
mod pace;
mod publish;
mod queue;
mod segment;
mod store;
mod tail;
mod wal;
mod write_set;

pub use error::{Error, ErrorKind, Result};
pub use log::{Bounds, Entry, EntryFormat, Log, ReadLimit};
pub use metrics::Metrics;
pub use options::{DataUrl, Options};
pub use store::{Committed, Recovered, Store, StoreState};
pub use wal::FileWalReader;
pub use write_set::{NewEntry, WriteSet};
