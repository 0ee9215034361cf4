//! A RecordBatch (magic 2): its header, its checks, its stamps, and a walk over its records.
//!
//! Layout and meaning follow Kafka's `DefaultRecordBatch`. A batch is stored as the client sent it;
//! only base offset and leader epoch are stamped, which lie outside the CRC. Timestamps of
//! `LogAppendTime` topics, a wrong `maxTimestamp`, and another codec than the topic's are the three
//! reasons to write a new CRC.
//! Nothing here keeps state or waits.

use std::io::{self, BufRead};
use std::ops::ControlFlow;

use bytes::{Buf, BytesMut};

use super::compression::{self, Codec};
use super::recompress;
use crate::config::{CompressionType, TimestampType, TopicConfig};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 61;
/// Bytes before those that the length field counts.
pub(super) const LENGTH_PREFIX_BYTES: usize = 12;
/// The only format version that is stored, and where a batch says its own.
pub(super) const MAGIC: i8 = 2;
pub(super) const MAGIC_START: usize = 16;
pub(super) const CRC_START: usize = 17;
pub(super) const CRC_FROM: usize = 21;
pub(super) const ATTRIBUTES_START: usize = 21;
pub(super) const BASE_TIMESTAMP_START: usize = 27;
pub(super) const MAX_TIMESTAMP_START: usize = 35;
pub(super) const RECORD_COUNT_START: usize = 57;

const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
/// The base timestamp is when tombstones, or a marker, may go (KIP-534).
pub(super) const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// The fixed part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Whole size in bytes, prefix included.
    pub size_bytes: usize,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// Format version; 2 for this layout.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type, transactional and control bits.
    pub attributes: i16,
    /// Offset of the last record less `base_offset`.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from.
    pub base_timestamp: Timestamp,
    /// Highest timestamp of the records.
    pub max_timestamp: Timestamp,
    /// The producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Records in the batch.
    pub record_count: i32,
}

impl Header {
    /// Reads a header; `None` if `bytes` are too few or the length field is less than a header's.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let base_offset = bytes.get_i64();
        let length = usize::try_from(bytes.get_i32()).ok()?;
        if length < HEADER_BYTES - LENGTH_PREFIX_BYTES {
            return None;
        }
        Some(Self {
            base_offset,
            size_bytes: length + LENGTH_PREFIX_BYTES,
            leader_epoch: LeaderEpoch(bytes.get_i32()),
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: ProducerId(bytes.get_i64()),
            producer_epoch: ProducerEpoch(bytes.get_i16()),
            base_sequence: bytes.get_i32(),
            record_count: bytes.get_i32(),
        })
    }

    /// The compression codec; `None` for a number that means nothing.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_attributes(self.attributes)
    }

    /// Whether every record's timestamp is `max_timestamp`.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }

    /// Whether it is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether it is a transaction marker.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// When its tombstones, or the marker that it is, may go, if compaction has said so.
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Whether an idempotent producer sent it.
    pub fn has_producer(&self) -> bool {
        self.producer_id.0 >= 0
    }

    /// Sequence number of the last record; wraps from the highest to 0.
    pub fn last_sequence(&self) -> i32 {
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }
}

/// `sequence + delta` in producer sequence numbers, which wrap from 2,147,483,647 to 0.
pub fn add_sequence(sequence: i32, delta: i32) -> i32 {
    (i64::from(sequence) + i64::from(delta)).rem_euclid(1 << 31) as i32
}

/// What a topic and a request version ask of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `max.message.bytes`.
    pub max_message_bytes: i32,
    /// Produce below version 7 may not carry zstd (KIP-110).
    pub zstd_allowed: bool,
    /// A compacted topic needs a key in every record.
    pub keys_required: bool,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// Most bytes that the records may unpack to.
    pub decompressed_max_bytes: usize,
    /// `compression.type`: the codec that the topic's batches are kept in; `None` for their producer's.
    pub compression: Option<CompressionType>,
}

impl Rules {
    /// What a topic asks, of a request that may carry zstd or may not.
    pub fn of(topic: &TopicConfig, zstd_allowed: bool, decompressed_max_bytes: usize) -> Self {
        Self {
            max_message_bytes: topic.max_message_bytes,
            zstd_allowed,
            keys_required: topic.cleanup_compact,
            log_append_time: topic.timestamp_type == TimestampType::LogAppendTime,
            timestamp_before_max_ms: topic.timestamp_before_max_ms,
            timestamp_after_max_ms: topic.timestamp_after_max_ms,
            decompressed_max_bytes,
            compression: topic.compression,
        }
    }

    /// Whether [`check`] packs the records of `batch` anew, as far as its header tells.
    pub fn repacks(&self, batch: &[u8]) -> bool {
        let attributes = batch.get(ATTRIBUTES_START..ATTRIBUTES_START + 2);
        let codec = attributes.and_then(|bytes| {
            let attributes = i16::from_be_bytes(bytes.try_into().ok()?);
            Codec::from_attributes(attributes)
        });
        let kept = self.compression.map(Codec::from);
        kept.is_some_and(|kept| codec.is_some_and(|codec| codec != kept))
    }

    pub(super) fn check_size(&self, size_bytes: usize) -> Result<(), BatchError> {
        let max_bytes = self.max_message_bytes;
        if size_bytes > usize::try_from(max_bytes).unwrap_or(0) {
            return Err(BatchError::TooLarge {
                size_bytes,
                max_bytes,
            });
        }
        Ok(())
    }
}

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It breaks a rule of the format or of the topic.
    #[error("{message}")]
    Invalid {
        /// Which rule.
        message: String,
        /// The records at fault by index, if particular ones are.
        records: Vec<(i32, &'static str)>,
    },
    /// Its timestamps are out of the topic's bounds, or of a type the topic does not take.
    #[error("{message}")]
    Timestamp {
        /// Which bound.
        message: String,
        /// The records at fault by index.
        records: Vec<(i32, &'static str)>,
    },
    /// The bytes are damaged.
    #[error("{0}")]
    Corrupt(String),
    /// Larger than `max.message.bytes`.
    #[error("the batch of {size_bytes} bytes is larger than max.message.bytes={max_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
        /// The topic's limit.
        max_bytes: i32,
    },
    /// A codec that the request's version does not allow.
    #[error("zstd needs Produce version 7 or later")]
    UnsupportedCompression,
}

impl BatchError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            records: Vec::new(),
        }
    }
}

/// A batch that passed every check but the producer's.
#[derive(Debug)]
pub struct CheckedBatch {
    /// The bytes, ready to be stamped.
    pub bytes: BytesMut,
    /// What its header says.
    pub header: Header,
    /// The time it was appended at, on a `LogAppendTime` topic.
    pub log_append_time: Option<Timestamp>,
}

impl CheckedBatch {
    /// Writes base offset and leader epoch, which the CRC does not cover.
    pub fn stamp(&mut self, base_offset: Offset, leader_epoch: LeaderEpoch) {
        self.bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        self.bytes[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
        self.header.base_offset = base_offset;
        self.header.leader_epoch = leader_epoch;
    }
}

/// Checks the bytes that a client sent for one partition, in Kafka's order.
///
/// A partial batch after the first whole one is cut off, as Kafka does.
pub fn check(
    mut bytes: BytesMut,
    rules: &Rules,
    now: Timestamp,
) -> Result<CheckedBatch, BatchError> {
    let header = check_framing(&mut bytes, rules)?;
    let codec = header.codec().ok_or_else(|| {
        BatchError::invalid(format!(
            "compression type {} is not known",
            header.attributes & 7
        ))
    })?;
    if header.record_count <= 0 {
        return Err(BatchError::invalid(format!(
            "a batch of {} records",
            header.record_count
        )));
    }
    if header.last_offset_delta != header.record_count - 1 {
        return Err(BatchError::invalid(format!(
            "last offset delta {} does not fit {} records",
            header.last_offset_delta, header.record_count
        )));
    }
    if header.is_control() {
        return Err(BatchError::invalid("clients may not write control batches"));
    }
    if header.has_producer() && header.base_sequence < 0 {
        return Err(BatchError::invalid(
            "a producer id needs a base sequence of 0 or more",
        ));
    }
    if header.is_log_append_time() && !rules.log_append_time {
        return Err(BatchError::Timestamp {
            message: "only the broker writes log append times".into(),
            records: Vec::new(),
        });
    }
    let records = check_records(&bytes[HEADER_BYTES..], &header, codec, rules, now)?;
    let mut batch = CheckedBatch {
        bytes,
        header,
        log_append_time: None,
    };
    if let Some(kind) = rules.compression
        && Codec::from(kind) != codec
    {
        batch = recompress::recompressed(&batch, codec, kind, records.unpacked_bytes, rules)?;
    }
    if rules.log_append_time {
        batch.log_append_time = Some(now);
        let attributes = batch.header.attributes | LOG_APPEND_TIME_BIT;
        rewrite_timestamp(&mut batch, now, attributes);
    } else if records.max_timestamp != header.max_timestamp {
        let attributes = batch.header.attributes;
        rewrite_timestamp(&mut batch, records.max_timestamp, attributes);
    }
    Ok(batch)
}

/// What a walk over the records found.
struct Walked {
    max_timestamp: Timestamp,
    unpacked_bytes: u64,
}

/// The checks that need no record: exactly one whole batch of magic 2, undamaged, of a legal size.
fn check_framing(bytes: &mut BytesMut, rules: &Rules) -> Result<Header, BatchError> {
    if bytes.len() < LENGTH_PREFIX_BYTES + 5 {
        return Err(BatchError::invalid("there is no whole record batch"));
    }
    let magic = bytes[MAGIC_START];
    if magic.cast_signed() != MAGIC {
        return Err(BatchError::invalid(format!(
            "message format {magic}; only record batches (magic 2) are taken"
        )));
    }
    let length = (&bytes[8..12]).get_i32();
    let size = usize::try_from(length)
        .ok()
        .and_then(|n| n.checked_add(LENGTH_PREFIX_BYTES));
    let Some(size) = size.filter(|n| *n >= HEADER_BYTES) else {
        return Err(BatchError::Corrupt(format!("a batch length of {length}")));
    };
    if size > bytes.len() {
        return Err(BatchError::Corrupt(format!(
            "the batch says {size} bytes and {} were sent",
            bytes.len()
        )));
    }
    let rest = &bytes[size..];
    if rest.len() >= LENGTH_PREFIX_BYTES {
        let next = (&rest[8..12]).get_i32();
        let whole = usize::try_from(next).is_ok_and(|n| n + LENGTH_PREFIX_BYTES <= rest.len());
        if whole {
            return Err(BatchError::invalid(
                "more than one batch for a partition in a request",
            ));
        }
    }
    bytes.truncate(size);
    let header = Header::parse(bytes).ok_or_else(|| BatchError::Corrupt("short header".into()))?;
    if header.codec() == Some(Codec::Zstd) && !rules.zstd_allowed {
        return Err(BatchError::UnsupportedCompression);
    }
    if header.base_offset != 0 {
        return Err(BatchError::invalid(format!(
            "base offset {}; producers send 0",
            header.base_offset
        )));
    }
    rules.check_size(size)?;
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    if crc != header.crc {
        return Err(BatchError::Corrupt(format!(
            "the CRC is {crc:08x} and the batch says {:08x}",
            header.crc
        )));
    }
    Ok(header)
}

/// Walks all records and judges them.
fn check_records(
    payload: &[u8],
    header: &Header,
    codec: Codec,
    rules: &Rules,
    now: Timestamp,
) -> Result<Walked, BatchError> {
    let earliest = now.saturating_sub(rules.timestamp_before_max_ms);
    let latest = now.saturating_add(rules.timestamp_after_max_ms);
    let mut max_timestamp = -1;
    let mut expected = 0;
    let mut without_key = Vec::new();
    let mut out_of_bounds = Vec::new();
    let mut wrong_delta = None;
    let walked = walk(
        payload,
        header,
        codec,
        rules.decompressed_max_bytes,
        |record| {
            if record.offset_delta != expected {
                wrong_delta = Some((expected, record.offset_delta));
                return ControlFlow::Break(());
            }
            if rules.keys_required && !record.has_key {
                without_key.push((expected, "the topic is compacted and the record has no key"));
            }
            let timestamp = record.timestamp;
            if !rules.log_append_time
                && timestamp != -1
                && !(earliest..=latest).contains(&timestamp)
            {
                out_of_bounds.push((expected, "the timestamp is out of the topic's bounds"));
            }
            max_timestamp = max_timestamp.max(timestamp);
            expected += 1;
            ControlFlow::Continue(())
        },
    );
    if let Some((expected, found)) = wrong_delta {
        return Err(BatchError::invalid(format!(
            "offset delta {found} where {expected} belongs"
        )));
    }
    let unpacked_bytes =
        walked.map_err(|error| BatchError::invalid(format!("records do not parse: {error}")))?;
    if !out_of_bounds.is_empty() {
        out_of_bounds.extend(without_key);
        return Err(BatchError::Timestamp {
            message: format!(
                "timestamps must lie between {earliest} and {latest} \
                 (message.timestamp.before.max.ms, message.timestamp.after.max.ms)"
            ),
            records: out_of_bounds,
        });
    }
    if !without_key.is_empty() {
        return Err(BatchError::Invalid {
            message: "records of a compacted topic need a key".into(),
            records: without_key,
        });
    }
    Ok(Walked {
        max_timestamp,
        unpacked_bytes,
    })
}

fn rewrite_timestamp(batch: &mut CheckedBatch, max_timestamp: Timestamp, attributes: i16) {
    let bytes = &mut batch.bytes;
    bytes[ATTRIBUTES_START..ATTRIBUTES_START + 2].copy_from_slice(&attributes.to_be_bytes());
    bytes[MAX_TIMESTAMP_START..MAX_TIMESTAMP_START + 8]
        .copy_from_slice(&max_timestamp.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[CRC_START..CRC_START + 4].copy_from_slice(&crc.to_be_bytes());
    batch.header.attributes = attributes;
    batch.header.max_timestamp = max_timestamp;
    batch.header.crc = crc;
}

/// What a walk tells of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// Offset less the batch's base offset.
    pub offset_delta: i32,
    /// Its timestamp; the batch's highest on a `LogAppendTime` batch.
    pub timestamp: Timestamp,
    /// Whether it has a key.
    pub has_key: bool,
}

/// Visits the records of a stored batch in order until `visit` breaks.
///
/// # Errors
/// `InvalidData` if they do not parse, and also if they unpack to more than `max_bytes`.
pub fn records(
    batch: &[u8],
    max_bytes: usize,
    visit: impl FnMut(RecordHead) -> ControlFlow<()>,
) -> io::Result<()> {
    let header = Header::parse(batch).ok_or_else(|| malformed("the batch header is short"))?;
    let codec = header
        .codec()
        .ok_or_else(|| malformed("the codec is not known"))?;
    walk(&batch[HEADER_BYTES..], &header, codec, max_bytes, visit)?;
    Ok(())
}

/// Visits all records; the bytes that they unpack to.
fn walk(
    payload: &[u8],
    header: &Header,
    codec: Codec,
    max_bytes: usize,
    visit: impl FnMut(RecordHead) -> ControlFlow<()>,
) -> io::Result<u64> {
    match codec {
        Codec::None => walk_unpacked(&mut Limited::new(payload, max_bytes), header, visit),
        _ => {
            let reader = compression::decoder(codec, payload, max_bytes)?;
            walk_unpacked(&mut Limited::new(reader, max_bytes), header, visit)
        }
    }
}

fn walk_unpacked(
    input: &mut Limited<impl BufRead>,
    header: &Header,
    mut visit: impl FnMut(RecordHead) -> ControlFlow<()>,
) -> io::Result<u64> {
    for _ in 0..header.record_count {
        let length = input.varint()?;
        let length = u64::try_from(length).map_err(|_| malformed("a negative record length"))?;
        let start = input.position();
        input.byte()?;
        let timestamp_delta = input.varlong()?;
        let offset_delta = input.varint()?;
        let has_key = input.skip_field()?;
        input.skip_field()?;
        let headers = input.varint()?;
        if headers < 0 {
            return Err(malformed("a negative header count"));
        }
        for _ in 0..headers {
            if !input.skip_field()? {
                return Err(malformed("a header without a key"));
            }
            input.skip_field()?;
        }
        if input.position() - start != length {
            return Err(malformed("a record's length does not match its fields"));
        }
        let timestamp = if header.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.wrapping_add(timestamp_delta)
        };
        if visit(RecordHead {
            offset_delta,
            timestamp,
            has_key,
        })
        .is_break()
        {
            return Ok(input.position());
        }
    }
    if input.at_end()? {
        Ok(input.position())
    } else {
        Err(malformed("bytes are left after the last record"))
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads a record's fields and refuses to read past a number of bytes.
struct Limited<R> {
    inner: R,
    position: u64,
    max: u64,
}

impl<R: BufRead> Limited<R> {
    fn new(inner: R, max_bytes: usize) -> Self {
        Self {
            inner,
            position: 0,
            max: max_bytes as u64,
        }
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn at_end(&mut self) -> io::Result<bool> {
        Ok(self.inner.fill_buf()?.is_empty())
    }

    fn byte(&mut self) -> io::Result<u8> {
        let byte = *self
            .inner
            .fill_buf()?
            .first()
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.inner.consume(1);
        self.advance(1)?;
        Ok(byte)
    }

    fn advance(&mut self, count: u64) -> io::Result<()> {
        self.position += count;
        if self.position > self.max {
            return Err(malformed("the batch unpacks to more than the limit"));
        }
        Ok(())
    }

    /// A zigzag varint of at most five bytes.
    fn varint(&mut self) -> io::Result<i32> {
        i32::try_from(self.varlong()?).map_err(|_| malformed("a number out of range"))
    }

    /// A zigzag varint of at most ten bytes.
    fn varlong(&mut self) -> io::Result<i64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(malformed("a number of more than ten bytes"))
    }

    /// Skips a length and that many bytes; whether there was a field (length -1 is null).
    fn skip_field(&mut self) -> io::Result<bool> {
        let length = self.varint()?;
        if length == -1 {
            return Ok(false);
        }
        let mut left = usize::try_from(length).map_err(|_| malformed("a negative field length"))?;
        while left > 0 {
            let available = self.inner.fill_buf()?.len();
            if available == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = available.min(left);
            self.inner.consume(step);
            self.advance(step as u64)?;
            left -= step;
        }
        Ok(true)
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
