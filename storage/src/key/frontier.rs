//! The frontier row: a sequence that the store had come to, written now and then, so that those who
//! read the store from another process can tell how far a log without entries has been idle.
//!
//! Key: prefix with tag `1B`, the empty key, `FF 08`. Value: one past a sequence that was given out,
//! u64 BE.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{malformed, put_prefix, take_u64};
use super::{SUFFIX, SYSTEM_SEGMENT, store_ordinal, tag};
use crate::Result;

/// The frontier row.
pub(crate) struct Frontier;

impl Frontier {
    pub(crate) fn key() -> Bytes {
        let mut out = BytesMut::with_capacity(10);
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        out.put_slice(&[0, SUFFIX, store_ordinal::FRONTIER]);
        out.freeze()
    }

    pub(crate) fn value(next_sequence: u64) -> Bytes {
        Bytes::copy_from_slice(&next_sequence.to_be_bytes())
    }

    pub(crate) fn decode(mut value: &[u8]) -> Result<u64> {
        take_u64(&mut value).ok_or_else(|| malformed("frontier", &Self::key()))
    }
}
