//! One log: an ordered run of opaque entries under a key.

use std::sync::Arc;

use bytes::Bytes;

use crate::Result;

/// What an entry's payload is; storage keeps it beside the entry and does not look inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFormat {
    /// One value.
    Raw,
    /// A batch of records in the broker's format.
    Batch,
}

/// An entry as it was appended.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Sequence of its first record; the others follow it.
    pub first_sequence: u64,
    /// Offset of its first record.
    pub first_offset: u64,
    /// Offsets it spans.
    pub count: u32,
    /// What the payload is.
    pub format: EntryFormat,
    /// The bytes.
    pub payload: Bytes,
}

/// How much one read may return. At least one whole entry is returned if there is any.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Entries whose first offset is at or above this are not returned.
    pub end_offset: u64,
    /// Payload bytes, past which no further entry is added.
    pub max_bytes: usize,
    /// Entries at the most.
    pub max_entries: usize,
}

/// Where a log starts and ends, of what is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Lowest offset that may be read.
    pub start_offset: u64,
    /// One past the highest offset.
    pub end_offset: u64,
    /// Payload bytes ever appended before `end_offset`.
    pub appended_bytes: u64,
    /// Highest timestamp ever appended in milliseconds since the epoch, or -1.
    pub max_timestamp: i64,
}

#[derive(Debug)]
struct Inner {}

/// A handle on one log of a [`crate::Store`]; cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    #[allow(dead_code)]
    inner: Arc<Inner>,
}

impl Log {
    /// The key it was opened with.
    pub fn key(&self) -> &Bytes {
        unimplemented!()
    }

    /// Start and end of what is durable and can be read.
    pub fn bounds(&self) -> Bounds {
        unimplemented!()
    }

    /// The entries from the one that contains `from_offset` (or, in a gap, the next one) on.
    /// Only what is durable is returned. Recent entries come from memory.
    pub async fn read(&self, _from_offset: u64, _limit: ReadLimit) -> Result<Vec<Entry>> {
        unimplemented!()
    }

    /// The first offset of an entry before which no entry has a timestamp at or above `timestamp`:
    /// where a search for that time starts. `None` if no entry can have one. Conservative: the entry
    /// there may itself be older; the caller reads on from it.
    pub async fn search_from(&self, _timestamp: i64) -> Result<Option<u64>> {
        unimplemented!()
    }
}
