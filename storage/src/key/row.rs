//! Rows that users of the crate keep beside their logs; in segment 0.
//!
//! Key: prefix with tag `1B`, the empty key, `FF 01`, the row's key as it is. Value: the user's.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{malformed, put_prefix};
use super::{SUFFIX, SYSTEM_SEGMENT, store_ordinal, tag};
use crate::Result;

/// A user's row.
pub(crate) struct Row;

impl Row {
    /// The stored key of the row at `key`, and the start of the stored keys of all rows under it.
    pub(crate) fn key(key: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(10 + key.len());
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::META);
        out.put_slice(&[0, SUFFIX, store_ordinal::ROW]);
        out.put_slice(key);
        out.freeze()
    }

    /// The user's key of a stored key.
    pub(crate) fn decode(key: &Bytes) -> Result<Bytes> {
        let empty = Self::key(b"");
        if !key.starts_with(&empty) {
            return Err(malformed("user", key));
        }
        Ok(key.slice(empty.len()..))
    }
}
