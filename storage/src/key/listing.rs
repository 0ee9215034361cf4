//! Listing rows: a log has entries in a segment; kept in that segment, as OpenData does.
//!
//! Key: prefix with tag `40`, the log's key as it is. Value: empty.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{LogKey, malformed, put_prefix};
use super::{PREFIX_LEN, tag};
use crate::Result;

/// A listing row.
pub(crate) struct Listing;

impl Listing {
    pub(crate) fn key(log: &LogKey, segment: u32) -> Bytes {
        let mut out = BytesMut::with_capacity(8 + log.plain().len());
        put_prefix(&mut out, segment, tag::LISTING);
        out.put_slice(log.plain());
        out.freeze()
    }

    /// The key of the log that the row under `key` lists.
    pub(crate) fn log(key: &[u8]) -> Result<LogKey> {
        let plain = key.get(PREFIX_LEN..).unwrap_or_default();
        LogKey::new(Bytes::copy_from_slice(plain)).map_err(|_| malformed("listing", key))
    }

    /// The start of all listing rows of `segment`.
    pub(crate) fn prefix(segment: u32) -> Bytes {
        let mut out = BytesMut::with_capacity(8);
        put_prefix(&mut out, segment, tag::LISTING);
        out.freeze()
    }
}
