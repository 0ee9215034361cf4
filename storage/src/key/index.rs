//! Index rows: way marks from an offset of a log to the sequence where it lies, in the segment of the
//! entries that they describe. Sparse; between two of them the entries themselves lead on.
//!
//! Key: prefix with tag `1A`, the log's key, `FF`, last offset u64 BE. Value: last sequence u64 BE,
//! highest timestamp of the log so far i64 BE, payload bytes and records of the log so far, u64 BE
//! each; all up to and with that offset.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{
    LogKey, malformed, put_prefix, take_i64, take_prefix_of, take_terminated, take_u64,
};
use super::{SUFFIX, tag};
use crate::Result;

/// An index row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) last_offset: u64,
    pub(crate) last_sequence: u64,
    pub(crate) max_timestamp: i64,
    pub(crate) appended_bytes: u64,
    pub(crate) records: u64,
}

impl Index {
    pub(crate) fn key_into(out: &mut BytesMut, log: &LogKey, segment: u32, last_offset: u64) {
        put_prefix(out, segment, tag::INDEX);
        out.put_slice(log.stored());
        out.put_u8(SUFFIX);
        out.put_u64(last_offset);
    }

    /// The key of the row for `last_offset`.
    pub(crate) fn key(log: &LogKey, segment: u32, last_offset: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + log.stored().len());
        Self::key_into(&mut out, log, segment, last_offset);
        out.freeze()
    }

    pub(crate) fn value_into(&self, out: &mut BytesMut) {
        out.put_u64(self.last_sequence);
        out.put_i64(self.max_timestamp);
        out.put_u64(self.appended_bytes);
        out.put_u64(self.records);
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        Self::try_decode(key, value).ok_or_else(|| malformed("index", key))
    }

    fn try_decode(mut key: &[u8], mut value: &[u8]) -> Option<Self> {
        take_prefix_of(&mut key, tag::INDEX)?;
        take_terminated(&mut key)?;
        key = key.strip_prefix(&[SUFFIX])?;
        let last_offset = take_u64(&mut key)?;
        Some(Self {
            last_offset,
            last_sequence: take_u64(&mut value)?,
            max_timestamp: take_i64(&mut value)?,
            appended_bytes: take_u64(&mut value)?,
            records: take_u64(&mut value)?,
        })
    }
}
