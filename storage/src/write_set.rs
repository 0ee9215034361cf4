//! The atomic unit of writing.

use bytes::Bytes;

use crate::key::Directory;
use crate::{EntryFormat, Log};

/// An entry to append. The caller assigns offsets; the store assigns sequences.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Offset of its first record; at or above the log's end, gaps are allowed. [`NewEntry::AT_END`]
    /// leaves it to the store.
    pub first_offset: u64,
    /// Offsets it spans, at least 1.
    pub count: u32,
    /// Highest timestamp of its records in milliseconds since the epoch, or -1.
    pub max_timestamp: i64,
    /// What the payload is.
    pub format: EntryFormat,
    /// The bytes, never looked into.
    pub payload: Bytes,
}

impl NewEntry {
    /// As [`NewEntry::first_offset`]: wherever the log ends when it is this entry's turn.
    pub const AT_END: u64 = u64::MAX;

    /// One past its last offset.
    pub(crate) fn end_offset(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }
}

/// What trims and the removal of a log left dead since that was last counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dead {
    /// Rows of segments that hold nothing of the log any more.
    pub(crate) directories: Vec<Directory>,
    /// Payload bytes, by segment.
    pub(crate) bytes: Vec<(u32, u64)>,
    /// Payload bytes from the beginning of the log that are counted now.
    pub(crate) through: u64,
    /// Where the log started then, and whether it was removed.
    pub(crate) start_offset: u64,
    pub(crate) removed: bool,
    /// Where it ended then, and the segment of its last row.
    pub(crate) end_offset: u64,
    pub(crate) last: Option<u32>,
}

impl Dead {
    /// Whether nothing is to be counted or cleared away.
    pub(crate) fn is_nothing(&self) -> bool {
        !self.removed && self.directories.is_empty() && self.bytes.is_empty()
    }
}

/// What the rewriting of a segment came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewrote {
    /// The dead bytes that were known when it began: they are gone.
    pub(crate) dead_bytes: u64,
    /// Rows of logs whose entries became smaller, as they are now.
    pub(crate) directories: Vec<(Log, Directory)>,
}

/// Entries of a log on their way from a sealed segment to the one before it.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    /// The row of the segment that they leave, as it is.
    pub(crate) from: Directory,
    /// The row of the segment that they come to, as it will be.
    pub(crate) to: Directory,
    /// The row of what stays, if anything does.
    pub(crate) rest: Option<Directory>,
    /// Entry and index rows, as they will be.
    pub(crate) rows: Vec<(Bytes, Bytes)>,
    /// Payload bytes of the entries.
    pub(crate) payload_bytes: u64,
}

impl Moved {
    /// Whether the log has entries in the segment that these come to.
    pub(crate) fn joins(&self) -> bool {
        self.to.first_offset != self.from.first_offset
    }

    fn bytes(&self) -> usize {
        let rows = self.rows.iter();
        rows.map(|(key, value)| key.len() + value.len()).sum()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Append {
        log: Log,
        entry: NewEntry,
    },
    Trim {
        log: Log,
        start_offset: u64,
    },
    Remove {
        log: Log,
    },
    PutRow {
        key: Bytes,
        value: Bytes,
    },
    DeleteRow {
        key: Bytes,
    },
    /// The store's own, after a trim or a removal: what that left dead.
    Clear {
        log: Log,
        dead: Dead,
    },
    /// The store's own: seals this segment, if it is the open one.
    Seal {
        segment: u32,
    },
    /// The store's own, before entries of the log may be taken out: its state is put down.
    KeepEnd {
        log: Log,
    },
    /// The store's own: a segment was rewritten.
    Rewrote {
        segment: u32,
        rewrote: Rewrote,
    },
    /// The store's own: entries change their segment.
    Move {
        log: Log,
        moved: Box<Moved>,
    },
    /// The store's own: everything was moved out of these, and what was moved is in files.
    DropEmptied {
        segments: Vec<u32>,
    },
}

impl Change {
    /// The log that it changes, but for clearing up.
    pub(crate) fn log(&self) -> Option<&Log> {
        match self {
            Self::Append { log, .. } | Self::Trim { log, .. } | Self::Remove { log } => Some(log),
            Self::PutRow { .. }
            | Self::DeleteRow { .. }
            | Self::Clear { .. }
            | Self::Seal { .. }
            | Self::KeepEnd { .. }
            | Self::Rewrote { .. }
            | Self::Move { .. }
            | Self::DropEmptied { .. } => None,
        }
    }

    /// Bytes that it holds on to.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append { entry, .. } => entry.payload.len(),
            Self::PutRow { key, value } => key.len() + value.len(),
            Self::DeleteRow { key } => key.len(),
            Self::Move { moved, .. } => moved.bytes(),
            Self::Trim { .. }
            | Self::Remove { .. }
            | Self::Clear { .. }
            | Self::Seal { .. }
            | Self::KeepEnd { .. }
            | Self::Rewrote { .. }
            | Self::DropEmptied { .. } => 0,
        }
    }
}

/// Appends, trims and row changes that become durable and visible together or not at all.
#[derive(Clone, Debug, Default)]
pub struct WriteSet {
    pub(crate) changes: Vec<Change>,
}

impl WriteSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry at the end of `log`.
    pub fn append(&mut self, log: &Log, entry: NewEntry) {
        self.changes.push(Change::Append {
            log: log.clone(),
            entry,
        });
    }

    /// Moves the start of `log` up to `start_offset`; lower than the present start changes nothing.
    /// Beyond the end of the log, the end moves too.
    pub fn trim(&mut self, log: &Log, start_offset: u64) {
        self.changes.push(Change::Trim {
            log: log.clone(),
            start_offset,
        });
    }

    /// Removes `log` and all that it holds. Its key must not be used again.
    pub fn remove(&mut self, log: &Log) {
        self.changes.push(Change::Remove { log: log.clone() });
    }

    /// Sets the row at `key`.
    pub fn put_row(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change::PutRow {
            key: key.into(),
            value: value.into(),
        });
    }

    /// Deletes the row at `key`.
    pub fn delete_row(&mut self, key: impl Into<Bytes>) {
        self.changes.push(Change::DeleteRow { key: key.into() });
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
