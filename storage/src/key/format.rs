//! The format row: the version of the rows in this store. In segment 0.
//!
//! Key: prefix with tag `1B`, the empty key, `FF 00`. Value: version u32 BE.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{malformed, put_prefix, take_u32};
use super::{SUFFIX, SYSTEM_SEGMENT, store_ordinal, tag};
use crate::Result;

/// The format row.
pub(crate) struct Format;

impl Format {
    /// The version that this crate writes, and the highest that it reads.
    pub(crate) const CURRENT: u32 = 1;

    pub(crate) fn key() -> Bytes {
        let mut out = BytesMut::with_capacity(10);
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        out.put_slice(&[0, SUFFIX, store_ordinal::FORMAT]);
        out.freeze()
    }

    pub(crate) fn value(version: u32) -> Bytes {
        Bytes::copy_from_slice(&version.to_be_bytes())
    }

    pub(crate) fn decode(mut value: &[u8]) -> Result<u32> {
        take_u32(&mut value).ok_or_else(|| malformed("format", &Self::key()))
    }
}
