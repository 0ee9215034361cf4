//! The sequence row: the block of sequences handed out last. A store that opens goes on after its end,
//! so no sequence is ever used twice and the row need not change with every append.
//!
//! Key: prefix with tag `20`. Value: base u64 BE, size u64 BE.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{malformed, put_prefix, take_u64};
use super::{SYSTEM_SEGMENT, tag};
use crate::Result;

/// The sequence row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SequenceBlock {
    pub(crate) base: u64,
    pub(crate) size: u64,
}

impl SequenceBlock {
    pub(crate) fn key() -> Bytes {
        let mut out = BytesMut::with_capacity(7);
        put_prefix(&mut out, SYSTEM_SEGMENT, tag::SEQUENCE_BLOCK);
        out.freeze()
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16);
        out.put_u64(self.base);
        out.put_u64(self.size);
        out.freeze()
    }

    pub(crate) fn decode(mut value: &[u8]) -> Result<Self> {
        let parsed = take_u64(&mut value).zip(take_u64(&mut value));
        let (base, size) = parsed.ok_or_else(|| malformed("sequence", &Self::key()))?;
        Ok(Self { base, size })
    }

    /// One past the last sequence of the block.
    pub(crate) fn end(&self) -> u64 {
        self.base.saturating_add(self.size)
    }
}
