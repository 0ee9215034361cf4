//! Record batches taken apart and put together again, for compaction. Pure.
//!
//! The bytes of records are not looked into beyond what says where they are, when, and under which key;
//! a batch that is put together from some of them keeps everything of its header that does not follow
//! from its records.

use std::io::{self, Read};

use super::batch::{
    ATTRIBUTES_START, BASE_TIMESTAMP_START, CRC_FROM, CRC_START, DELETE_HORIZON_BIT, HEADER_BYTES,
    Header, MAX_TIMESTAMP_START, RECORD_COUNT_START,
};
use super::compression::{self, Codec};
use super::recompress::CODEC_BITS;
use crate::types::Timestamp;

/// Where a record lies in the unpacked bytes of its batch, and what its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordSpan {
    start: usize,
    end: usize,
    /// After the timestamp delta.
    after_timestamp: usize,
    timestamp_delta: i64,
    /// Offset less the base offset of the batch.
    pub(super) offset_delta: i32,
    key: Option<(usize, usize)>,
    /// Whether it has a value; without one it is a tombstone.
    pub(super) has_value: bool,
}

impl RecordSpan {
    /// Its key.
    pub(super) fn key<'a>(&self, unpacked: &'a [u8]) -> Option<&'a [u8]> {
        self.key.map(|(start, end)| &unpacked[start..end])
    }
}

/// The records of a stored batch, unpacked.
///
/// # Errors
/// `InvalidData` if they do not unpack, or to more than `max_bytes`.
pub(super) fn unpack(batch: &[u8], header: &Header, max_bytes: usize) -> io::Result<Vec<u8>> {
    let payload = batch.get(HEADER_BYTES..).ok_or_else(malformed)?;
    let codec = header.codec().ok_or_else(malformed)?;
    if codec == Codec::None {
        return Ok(payload.to_vec());
    }
    let mut unpacked = Vec::new();
    compression::decoder(codec, payload, max_bytes)?
        .take(max_bytes as u64 + 1)
        .read_to_end(&mut unpacked)?;
    if unpacked.len() > max_bytes {
        return Err(malformed());
    }
    Ok(unpacked)
}

/// Where the records lie in the unpacked bytes of a batch.
///
/// # Errors
/// `InvalidData` if they do not parse.
pub(super) fn spans(unpacked: &[u8], header: &Header) -> io::Result<Vec<RecordSpan>> {
    let count = usize::try_from(header.record_count).map_err(|_| malformed())?;
    // A record has at least seven bytes: no count makes this allocate more.
    let mut spans = Vec::with_capacity(count.min(unpacked.len() / 7));
    let mut input = Input {
        bytes: unpacked,
        at: 0,
    };
    for _ in 0..count {
        spans.push(input.record().ok_or_else(malformed)?);
    }
    Ok(spans)
}

/// Whether a control batch is the marker of an aborted transaction; `None` if it is another control
/// record.
///
/// # Errors
/// `InvalidData` if it does not parse.
pub(super) fn marker_aborts(batch: &[u8]) -> io::Result<Option<bool>> {
    let header = Header::parse(batch).ok_or_else(malformed)?;
    let unpacked = unpack(batch, &header, batch.len())?;
    let records = spans(&unpacked, &header)?;
    let key = records.first().and_then(|record| record.key(&unpacked));
    // Version and type, i16 each: 0 aborts, 1 commits.
    Ok(match key {
        Some([_, _, 0, 0, ..]) => Some(true),
        Some([_, _, 0, 1, ..]) => Some(false),
        _ => None,
    })
}

/// A batch put together from some records of another.
#[derive(Debug)]
pub(super) struct Rebuilt<'a> {
    /// Of the batch that they come from.
    pub(super) header: &'a Header,
    /// Its records.
    pub(super) unpacked: &'a [u8],
    /// Those that are left, at least one.
    pub(super) records: &'a [RecordSpan],
    /// When its tombstones, or the marker that it is, may go, if that is to be said now.
    pub(super) horizon: Option<Timestamp>,
}

impl Rebuilt<'_> {
    /// Its bytes.
    ///
    /// # Errors
    /// The codec fails.
    pub(super) fn write(&self) -> io::Result<Vec<u8>> {
        let header = self.header;
        let mut records = Vec::with_capacity(self.unpacked.len());
        for record in self.records {
            match self.horizon {
                None => records.extend_from_slice(&self.unpacked[record.start..record.end]),
                Some(horizon) => self.put_moved(&mut records, record, horizon),
            }
        }
        let codec = header.codec().ok_or_else(malformed)?;
        let packed = compression::encode(codec, &records)?;
        let base_timestamp = self.horizon.unwrap_or(header.base_timestamp);
        let times = self.records.iter().map(|record| self.timestamp(record));
        let max_timestamp = match header.is_log_append_time() {
            true => header.max_timestamp,
            false => times.max().unwrap_or(header.max_timestamp),
        };
        let attributes = match self.horizon {
            Some(_) => header.attributes | DELETE_HORIZON_BIT,
            None => header.attributes,
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + packed.len());
        put_header(&mut out, header);
        out.extend_from_slice(&packed);
        let count = self.records.len() as i32;
        finish(&mut out, attributes, base_timestamp, max_timestamp, count);
        Ok(out)
    }

    fn timestamp(&self, record: &RecordSpan) -> Timestamp {
        self.header
            .base_timestamp
            .wrapping_add(record.timestamp_delta)
    }

    /// A record whose timestamp counts from another base.
    fn put_moved(&self, out: &mut Vec<u8>, record: &RecordSpan, base: Timestamp) {
        let delta = self.timestamp(record).wrapping_sub(base);
        let mut delta_bytes = Vec::with_capacity(10);
        put_varlong(&mut delta_bytes, delta);
        let rest = &self.unpacked[record.after_timestamp..record.end];
        put_varlong(out, (1 + delta_bytes.len() + rest.len()) as i64);
        // The attributes of a record are unused, and 0.
        out.push(0);
        out.extend_from_slice(&delta_bytes);
        out.extend_from_slice(rest);
    }
}

/// A batch without records that stands for another: the same offsets, producer, epoch and sequence.
pub(super) fn emptied(batch: &[u8], header: &Header) -> Vec<u8> {
    let mut out = batch[..HEADER_BYTES].to_vec();
    let attributes = header.attributes & !(CODEC_BITS | DELETE_HORIZON_BIT);
    finish(&mut out, attributes, -1, header.max_timestamp, 0);
    out
}

fn put_header(out: &mut Vec<u8>, header: &Header) {
    out.extend_from_slice(&header.base_offset.to_be_bytes());
    out.extend_from_slice(&0i32.to_be_bytes());
    out.extend_from_slice(&header.leader_epoch.0.to_be_bytes());
    out.push(header.magic as u8);
    out.extend_from_slice(&0u32.to_be_bytes());
    out.extend_from_slice(&header.attributes.to_be_bytes());
    out.extend_from_slice(&header.last_offset_delta.to_be_bytes());
    out.extend_from_slice(&header.base_timestamp.to_be_bytes());
    out.extend_from_slice(&header.max_timestamp.to_be_bytes());
    out.extend_from_slice(&header.producer_id.0.to_be_bytes());
    out.extend_from_slice(&header.producer_epoch.0.to_be_bytes());
    out.extend_from_slice(&header.base_sequence.to_be_bytes());
    out.extend_from_slice(&header.record_count.to_be_bytes());
}

/// Writes what follows from the records, and the checksum over all.
fn finish(
    out: &mut [u8],
    attributes: i16,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    count: i32,
) {
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(ATTRIBUTES_START, &attributes.to_be_bytes());
    put(BASE_TIMESTAMP_START, &base_timestamp.to_be_bytes());
    put(MAX_TIMESTAMP_START, &max_timestamp.to_be_bytes());
    put(RECORD_COUNT_START, &count.to_be_bytes());
    // Everything after the length itself.
    let length = out.len() as i32 - 12;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&out[CRC_FROM..]);
    out[CRC_START..CRC_START + 4].copy_from_slice(&crc.to_be_bytes());
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a stored batch does not parse")
}

fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Unpacked records.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn record(&mut self) -> Option<RecordSpan> {
        let start = self.at;
        let length = usize::try_from(self.varlong()?).ok()?;
        let end = self.at.checked_add(length)?;
        if end > self.bytes.len() {
            return None;
        }
        self.skip(1)?;
        let timestamp_delta = self.varlong()?;
        let after_timestamp = self.at;
        let offset_delta = i32::try_from(self.varlong()?).ok()?;
        let key = self.field()?;
        let has_value = self.field()?.is_some();
        if self.at > end {
            return None;
        }
        self.at = end;
        Some(RecordSpan {
            start,
            end,
            after_timestamp,
            timestamp_delta,
            offset_delta,
            key,
            has_value,
        })
    }

    /// A length and that many bytes; `None` within for a length of -1.
    fn field(&mut self) -> Option<Option<(usize, usize)>> {
        let length = self.varlong()?;
        if length == -1 {
            return Some(None);
        }
        let start = self.at;
        self.skip(usize::try_from(length).ok()?)?;
        Some(Some((start, self.at)))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn varlong(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }
}
