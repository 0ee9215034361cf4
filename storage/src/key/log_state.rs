//! State rows: where a log starts once it has been trimmed, and what it had come to then, so that a
//! log whose entries are all gone still knows its end. In segment 0.
//!
//! Key: prefix with tag `1B`, the log's key, `FF 02`. Value: flags (bit 0: removed), start offset, end
//! offset, payload bytes and records ever appended, u64 BE each, highest timestamp i64 BE, and up to
//! which of those payload bytes the log is counted as dead in its segments, u64 BE. A row of an older
//! store ends before that: 0.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{LogKey, malformed, put_prefix, take_i64, take_u64, take_u64_if_any};
use super::{SUFFIX, SYSTEM_SEGMENT, log_ordinal, tag};
use crate::Result;

const REMOVED: u8 = 1;

/// A state row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogState {
    pub(crate) removed: bool,
    pub(crate) start_offset: u64,
    pub(crate) end_offset: u64,
    pub(crate) appended_bytes: u64,
    pub(crate) records: u64,
    pub(crate) max_timestamp: i64,
    /// Payload bytes from the beginning of the log that its segments count as dead.
    pub(crate) dead_through: u64,
}

impl LogState {
    pub(crate) fn key(log: &LogKey) -> Bytes {
        let mut out = BytesMut::with_capacity(12 + log.stored().len());
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        out.put_slice(log.stored());
        out.put_slice(&[SUFFIX, log_ordinal::STATE]);
        out.freeze()
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(49);
        out.put_u8(if self.removed { REMOVED } else { 0 });
        out.put_u64(self.start_offset);
        out.put_u64(self.end_offset);
        out.put_u64(self.appended_bytes);
        out.put_u64(self.records);
        out.put_i64(self.max_timestamp);
        out.put_u64(self.dead_through);
        out.freeze()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        Self::try_decode(value).ok_or_else(|| malformed("log state", key))
    }

    fn try_decode(mut value: &[u8]) -> Option<Self> {
        let (&flags, rest) = value.split_first()?;
        value = rest;
        Some(Self {
            removed: flags & REMOVED != 0,
            start_offset: take_u64(&mut value)?,
            end_offset: take_u64(&mut value)?,
            appended_bytes: take_u64(&mut value)?,
            records: take_u64(&mut value)?,
            max_timestamp: take_i64(&mut value)?,
            dead_through: take_u64_if_any(&mut value)?,
        })
    }
}
