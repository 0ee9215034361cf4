//! Segment rows: where each segment starts; in segment 0.
//!
//! Key: prefix with tag `30`, the segment's id u32 BE. Value: first sequence u64 BE, start time in
//! milliseconds i64 BE, as in OpenData; then ours: the number of directory rows that name the segment,
//! u32 BE, counted when it is sealed and kept from then on, 0 while it is open; and the payload bytes in
//! it that are dead and not yet reclaimed, u64 BE; and, if the segment was taken over from OpenData, the
//! time that its entries without one count as written at, i64 BE. A row of an older store ends before the
//! last two, one of OpenData before the last three: none.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{
    malformed, put_prefix, take_i64, take_prefix_of, take_u32, take_u64, take_u64_if_any,
};
use super::{SYSTEM_SEGMENT, tag};
use crate::Result;

/// A segment row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) id: u32,
    pub(crate) start_sequence: u64,
    pub(crate) start_time_ms: i64,
    /// Logs that still have entries here.
    pub(crate) live_logs: u32,
    /// Payload bytes of trimmed and removed entries that still lie here.
    pub(crate) dead_bytes: u64,
    /// The time of entries that do not say when they were written; 0 if there are none.
    pub(crate) adopted_ms: i64,
}

impl SegmentMeta {
    pub(crate) fn key(id: u32) -> Bytes {
        let mut out = BytesMut::with_capacity(11);
        out.put_slice(&Self::prefix());
        out.put_u32(id);
        out.freeze()
    }

    /// The start of all segment rows.
    pub(crate) fn prefix() -> Bytes {
        let mut out = BytesMut::with_capacity(7);
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::SEGMENT_META);
        out.freeze()
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(36);
        out.put_u64(self.start_sequence);
        out.put_i64(self.start_time_ms);
        out.put_u32(self.live_logs);
        out.put_u64(self.dead_bytes);
        if self.adopted_ms != 0 {
            out.put_i64(self.adopted_ms);
        }
        out.freeze()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        Self::try_decode(key, value).ok_or_else(|| malformed("segment", key))
    }

    fn try_decode(mut key: &[u8], mut value: &[u8]) -> Option<Self> {
        take_prefix_of(&mut key, tag::SEGMENT_META)?;
        Some(Self {
            id: take_u32(&mut key)?,
            start_sequence: take_u64(&mut value)?,
            start_time_ms: take_i64(&mut value)?,
            live_logs: match value.is_empty() {
                true => 0,
                false => take_u32(&mut value)?,
            },
            dead_bytes: take_u64_if_any(&mut value)?,
            adopted_ms: take_u64_if_any(&mut value)? as i64,
        })
    }
}
