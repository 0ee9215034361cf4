//! Directory rows: one per log and segment that holds entries of it, in segment 0, written with the
//! first append there. Opening a log, its sizes and the search by offset or time
//! start here.
//!
//! Key: prefix with tag `1B`, the log's key, `FF 01`, first offset u64 BE. Value: segment u32 BE, first
//! sequence u64 BE, then what the log held before that offset: payload bytes u64 BE, records u64 BE,
//! highest timestamp i64 BE. If entries in the segment were rewritten: the payload bytes by which they
//! are less than what was appended, u64 BE.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{
    LogKey, malformed, put_prefix, take_i64, take_prefix_of, take_terminated, take_u32, take_u64,
    take_u64_if_any,
};
use super::{SUFFIX, SYSTEM_SEGMENT, log_ordinal, tag};
use crate::Result;

/// A directory row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) first_offset: u64,
    pub(crate) segment: u32,
    pub(crate) first_sequence: u64,
    pub(crate) bytes_before: u64,
    pub(crate) records_before: u64,
    pub(crate) max_timestamp_before: i64,
    /// Payload bytes that rewriting took out of this segment.
    pub(crate) rewritten_bytes: u64,
}

impl Directory {
    /// The key of the row for `first_offset`.
    pub(crate) fn key(log: &LogKey, first_offset: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(20 + log.stored().len());
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        out.put_slice(log.stored());
        out.put_slice(&[SUFFIX, log_ordinal::DIRECTORY]);
        out.put_u64(first_offset);
        out.freeze()
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(44);
        out.put_u32(self.segment);
        out.put_u64(self.first_sequence);
        out.put_u64(self.bytes_before);
        out.put_u64(self.records_before);
        out.put_i64(self.max_timestamp_before);
        if self.rewritten_bytes > 0 {
            out.put_u64(self.rewritten_bytes);
        }
        out.freeze()
    }

    /// The start of the keys of all logs whose key starts with `prefix`.
    pub(crate) fn scan_start(prefix: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(8 + prefix.len());
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        super::escape_into(&mut out, prefix);
        out.freeze()
    }

    /// A key above all rows of the store and below those of every log.
    pub(crate) fn first_log() -> Bytes {
        let mut out = BytesMut::with_capacity(8);
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        out.put_u8(1);
        out.freeze()
    }

    /// A key above all metadata rows of the log.
    pub(crate) fn scan_end(log: &LogKey) -> Bytes {
        let mut out = BytesMut::with_capacity(20 + log.stored().len());
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        out.put_slice(log.stored());
        out.put_slice(&[SUFFIX, u8::MAX]);
        out.freeze()
    }

    /// The log that a metadata row belongs to and whether it is a directory row; `None` for rows of
    /// the store.
    pub(crate) fn owner(mut key: &[u8]) -> Result<Option<(Bytes, bool)>> {
        let whole = key;
        let parsed = take_prefix_of(&mut key, tag::META).and_then(|_| take_terminated(&mut key));
        let log = parsed.ok_or_else(|| malformed("metadata", whole))?;
        Ok((!log.is_empty()).then(|| (log, key.starts_with(&[SUFFIX, log_ordinal::DIRECTORY]))))
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        Self::try_decode(key, value).ok_or_else(|| malformed("directory", key))
    }

    fn try_decode(mut key: &[u8], mut value: &[u8]) -> Option<Self> {
        take_prefix_of(&mut key, tag::META)?;
        take_terminated(&mut key)?;
        key = key.strip_prefix(&[SUFFIX, log_ordinal::DIRECTORY])?;
        let first_offset = take_u64(&mut key)?;
        Some(Self {
            first_offset,
            segment: take_u32(&mut value)?,
            first_sequence: take_u64(&mut value)?,
            bytes_before: take_u64(&mut value)?,
            records_before: take_u64(&mut value)?,
            max_timestamp_before: take_i64(&mut value)?,
            rewritten_bytes: take_u64_if_any(&mut value)?,
        })
    }
}
