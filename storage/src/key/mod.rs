//! Bytes on disk: every row that a store holds, one file per type.
//!
//! Each key starts with a prefix of seven bytes, `03 01 | segment u32 BE | tag`; segment 0 holds what
//! belongs to the store, the others hold entries. A tag or an ordinal below is never given a second
//! meaning. The layout is a superset of OpenData Log 1.0's: what it does not know wears a tag whose
//! high half is its entry type and a suffix that starts with `FF`, which its readers step over.
//!
//! Nothing here reads or writes a store.

mod codec;
mod directory;
mod entry;
mod format;
mod frontier;
mod index;
mod listing;
mod log_state;
mod pending;
mod row;
mod segment_meta;
mod sequence_block;

pub(crate) use codec::{LogKey, escape_into};
pub(crate) use directory::Directory;
pub(crate) use entry::{EntryKey, PackedValue, Packer};
pub(crate) use format::Format;
pub(crate) use frontier::Frontier;
pub(crate) use index::Index;
pub(crate) use listing::Listing;
pub(crate) use log_state::LogState;
pub(crate) use pending::Pending;
pub(crate) use row::Row;
pub(crate) use segment_meta::SegmentMeta;
pub(crate) use sequence_block::SequenceBlock;

pub(crate) use codec::{DataRow, position_of, segment_prefix};

/// First byte of every key: the log subsystem.
const SUBSYSTEM: u8 = 0x03;
/// Second byte of every key: the version of the key layout.
const VERSION: u8 = 0x01;
/// Bytes by which SlateDB routes a row to its segment.
pub(crate) const SEGMENT_PREFIX_LEN: usize = 6;
/// Bytes before what the row type adds.
const PREFIX_LEN: usize = SEGMENT_PREFIX_LEN + 1;

/// The segment of rows that belong to the store.
pub(crate) const SYSTEM_SEGMENT: u32 = 0;

/// Seventh byte of a key: what the row is.
mod tag {
    /// Entries of a log, in the segment of their sequences.
    pub(super) const ENTRY: u8 = 0x10;
    /// Way marks into the entries of a log, in the same segment.
    pub(super) const INDEX: u8 = 0x1A;
    /// Everything else of ours, in segment 0.
    pub(super) const META: u8 = 0x1B;
    /// The last block of sequences handed out, in segment 0.
    pub(super) const SEQUENCE_BLOCK: u8 = 0x20;
    /// Where a segment starts, in segment 0.
    pub(super) const SEGMENT_META: u8 = 0x30;
    /// A log with entries in a segment, in that segment.
    pub(super) const LISTING: u8 = 0x40;
}

/// What follows the `FF` of a metadata row under the key of a log.
mod log_ordinal {
    pub(super) const DIRECTORY: u8 = 1;
    pub(super) const STATE: u8 = 2;
}

/// What follows the `FF` of a metadata row under the empty key, which no log can have.
mod store_ordinal {
    pub(super) const FORMAT: u8 = 0;
    pub(super) const ROW: u8 = 1;
    pub(super) const PENDING: u8 = 2;
    pub(super) const FRONTIER: u8 = 8;
}

/// Starts the suffix of a row that OpenData does not know.
const SUFFIX: u8 = 0xFF;

#[cfg(test)]
mod tests;
