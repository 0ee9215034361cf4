//! Pending rows: a log was trimmed or removed, and what that leaves dead has not been cleared away
//! yet. In segment 0; found again when the store opens.
//!
//! Key: prefix with tag `1B`, the empty key, `FF 02`, the log's key as it is. Value: empty.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{LogKey, malformed, put_prefix};
use super::{SUFFIX, SYSTEM_SEGMENT, store_ordinal, tag};
use crate::Result;

/// A pending row.
pub(crate) struct Pending;

impl Pending {
    pub(crate) fn key(log: &LogKey) -> Bytes {
        let mut out = BytesMut::from(Self::prefix());
        out.put_slice(log.plain());
        out.freeze()
    }

    /// The start of all pending rows.
    pub(crate) fn prefix() -> Bytes {
        let mut out = BytesMut::with_capacity(10);
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        out.put_slice(&[0, SUFFIX, store_ordinal::PENDING]);
        out.freeze()
    }

    /// The key of the log.
    pub(crate) fn decode(key: &[u8]) -> Result<Bytes> {
        let rest = key
            .strip_prefix(&*Self::prefix())
            .ok_or_else(|| malformed("pending", key))?;
        Ok(Bytes::copy_from_slice(rest))
    }
}
