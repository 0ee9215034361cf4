//! Batches of a topic that keeps another codec than their producer's (`compression.type`). Pure.
//!
//! The records stay as they are; what changes is the codec among the attributes, the length and the
//! checksum. They are unpacked and packed as a stream, and no further than the topic's largest batch:
//! a batch that unpacks to gigabytes takes no memory here.

use std::io::{self, Write};

use bytes::{BufMut, BytesMut};

use super::batch::{
    ATTRIBUTES_START, BatchError, CRC_FROM, CRC_START, CheckedBatch, HEADER_BYTES,
    LENGTH_PREFIX_BYTES, Rules,
};
use super::compression::{self, Codec};
use crate::config::CompressionType;

/// The codec's place in the attributes.
pub(super) const CODEC_BITS: i16 = 7;

/// `batch`, whose records are packed with `codec` and unpack to `unpacked_bytes`, packed as `kind`.
///
/// # Errors
/// [`BatchError::TooLarge`] if it becomes larger than the topic takes.
pub(super) fn recompressed(
    batch: &CheckedBatch,
    codec: Codec,
    kind: CompressionType,
    unpacked_bytes: u64,
    rules: &Rules,
) -> Result<CheckedBatch, BatchError> {
    let mut out = Bounded {
        bytes: BytesMut::with_capacity(batch.bytes.len()),
        max_bytes: usize::try_from(rules.max_message_bytes).unwrap_or(0),
        wanted_bytes: 0,
    };
    let packed = out.write_all(&batch.bytes[..HEADER_BYTES]).and_then(|()| {
        let payload = &batch.bytes[HEADER_BYTES..];
        let mut input = compression::decoder(codec, payload, rules.decompressed_max_bytes)?;
        compression::pack(kind, &mut input, unpacked_bytes, &mut out)
    });
    rules.check_size(out.wanted_bytes)?;
    packed.map_err(|error| BatchError::invalid(format!("records do not unpack: {error}")))?;

    let mut bytes = out.bytes;
    let mut header = batch.header;
    header.attributes = header.attributes & !CODEC_BITS | Codec::from(kind).attribute();
    header.size_bytes = bytes.len();
    let length = (bytes.len() - LENGTH_PREFIX_BYTES) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[ATTRIBUTES_START..ATTRIBUTES_START + 2].copy_from_slice(&header.attributes.to_be_bytes());
    header.crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[CRC_START..CRC_START + 4].copy_from_slice(&header.crc.to_be_bytes());
    Ok(CheckedBatch {
        bytes,
        header,
        log_append_time: batch.log_append_time,
    })
}

/// Takes bytes up to a number of them, and remembers how many there should have been.
struct Bounded {
    bytes: BytesMut,
    max_bytes: usize,
    wanted_bytes: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wanted_bytes = self.wanted_bytes.saturating_add(bytes.len());
        if self.wanted_bytes > self.max_bytes {
            return Err(io::Error::other("the batch is too large"));
        }
        self.bytes.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
