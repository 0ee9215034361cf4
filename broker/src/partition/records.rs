//! A record batch as records, and records as a batch: for those who do not speak Kafka's protocol.
//!
//! Producers' batches are checked by `batch` on their way in; what is unpacked here was stored.

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::batch::{HEADER_BYTES, Header};
use super::compression::{self, Codec};
use crate::types::{Offset, Timestamp};

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order; a name may come twice.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// In milliseconds since the epoch; -1 for none.
    pub timestamp: Timestamp,
}

/// The records of a stored batch, each with its offset; those of a transaction marker are none.
///
/// # Errors
/// `InvalidData` if they do not parse or unpack to more than `max_bytes`.
pub fn unpack(batch: &Bytes, max_bytes: usize) -> io::Result<Vec<(Offset, Record)>> {
    let header = Header::parse(batch).ok_or_else(|| malformed("the batch header is short"))?;
    if header.is_control() {
        return Ok(Vec::new());
    }
    let packed = batch.slice(HEADER_BYTES..);
    let mut bytes = match header.codec() {
        Some(Codec::None) => packed,
        Some(codec) => {
            let mut unpacked = Vec::new();
            let reader = compression::decoder(codec, &packed, max_bytes)?;
            reader
                .take(max_bytes as u64 + 1)
                .read_to_end(&mut unpacked)?;
            if unpacked.len() > max_bytes {
                return Err(malformed("the batch unpacks to more than the limit"));
            }
            unpacked.into()
        }
        None => return Err(malformed("the codec is not known")),
    };
    let count = usize::try_from(header.record_count).unwrap_or(0);
    // A record takes at least 7 bytes: no count makes this allocate more.
    let mut records = Vec::with_capacity(count.min(bytes.len() / 7 + 1));
    for _ in 0..count {
        let length = varint(&mut bytes)?;
        let mut record = field(&mut bytes, length)?.ok_or_else(|| malformed("no record"))?;
        records.push(unpack_one(&mut record, &header)?);
    }
    Ok(records)
}

fn unpack_one(bytes: &mut Bytes, header: &Header) -> io::Result<(Offset, Record)> {
    bytes
        .try_get_u8()
        .map_err(|_| malformed("a record is cut short"))?;
    let timestamp_delta = varint(bytes)?;
    let offset_delta = varint(bytes)?;
    let mut next = || {
        let length = varint(bytes)?;
        field(bytes, length)
    };
    let (key, value) = (next()?, next()?);
    let count = varint(bytes)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let length = varint(bytes)?;
        let name = field(bytes, length)?.ok_or_else(|| malformed("a header without a key"))?;
        let length = varint(bytes)?;
        let value = field(bytes, length)?;
        headers.push((String::from_utf8_lossy(&name).into_owned(), value));
    }
    let timestamp = match header.is_log_append_time() {
        true => header.max_timestamp,
        false => header.base_timestamp.wrapping_add(timestamp_delta),
    };
    let record = Record {
        key,
        value,
        headers,
        timestamp,
    };
    Ok((header.base_offset.wrapping_add(offset_delta), record))
}

/// A field of `length` bytes; -1 is none.
fn field(bytes: &mut Bytes, length: i64) -> io::Result<Option<Bytes>> {
    if length == -1 {
        return Ok(None);
    }
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len() => Ok(Some(bytes.split_to(length))),
        _ => Err(malformed("a field reaches beyond its record")),
    }
}

/// A zigzag varint of at most ten bytes.
fn varint(bytes: &mut Bytes) -> io::Result<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = bytes
            .try_get_u8()
            .map_err(|_| malformed("a number is cut short"))?;
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(malformed("a number of more than ten bytes"))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// An uncompressed batch of `records` as a producer without an id would send it.
pub fn pack(records: &[Record]) -> BytesMut {
    let base_timestamp = records.first().map_or(-1, |record| record.timestamp);
    let max_timestamp = records.iter().map(|record| record.timestamp).max();
    let mut out =
        BytesMut::with_capacity(HEADER_BYTES + records.iter().map(size_of).sum::<usize>());
    out.put_i64(0);
    out.put_i32(0);
    out.put_i32(-1);
    out.put_i8(2);
    out.put_u32(0);
    out.put_i16(0);
    out.put_i32(records.len() as i32 - 1);
    out.put_i64(base_timestamp);
    out.put_i64(max_timestamp.unwrap_or(-1));
    out.put_i64(-1);
    out.put_i16(-1);
    out.put_i32(-1);
    out.put_i32(records.len() as i32);
    let mut body = BytesMut::new();
    for (delta, record) in (0..).zip(records) {
        body.put_u8(0);
        put_varint(&mut body, record.timestamp.wrapping_sub(base_timestamp));
        put_varint(&mut body, delta);
        put_field(&mut body, record.key.as_deref());
        put_field(&mut body, record.value.as_deref());
        put_varint(&mut body, record.headers.len() as i64);
        for (name, value) in &record.headers {
            put_field(&mut body, Some(name.as_bytes()));
            put_field(&mut body, value.as_deref());
        }
        put_varint(&mut out, body.len() as i64);
        out.put_slice(&body);
        body.clear();
    }
    let length = (out.len() - 12) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out
}

/// About the bytes that a record takes in a batch.
pub fn size_of(record: &Record) -> usize {
    let headers = record.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| 10 + name.len() + value.as_ref().map_or(0, Bytes::len))
        .sum();
    let payload = [&record.key, &record.value].map(|field| field.as_ref().map_or(0, Bytes::len));
    40 + payload[0] + payload[1] + headers
}

fn put_field(out: &mut BytesMut, field: Option<&[u8]>) {
    match field {
        None => put_varint(out, -1),
        Some(field) => {
            put_varint(out, field.len() as i64);
            out.put_slice(field);
        }
    }
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut value = (value << 1 ^ value >> 63) as u64;
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::partition::batch::{Rules, check};

    fn record() -> impl Strategy<Value = Record> {
        let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
        let headers = proptest::collection::vec(("[a-z]{0,5}", bytes()), 0..3);
        (bytes(), bytes(), headers, 0i64..1 << 40).prop_map(|(key, value, headers, timestamp)| {
            let headers = headers.into_iter();
            Record {
                key: key.map(Bytes::from),
                value: value.map(Bytes::from),
                headers: headers.map(|(n, v)| (n, v.map(Bytes::from))).collect(),
                timestamp,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_passes_the_checks_and_comes_back(
            records in proptest::collection::vec(record(), 1..10),
        ) {
            let packed = pack(&records);
            prop_assert!(packed.len() <= HEADER_BYTES + records.iter().map(size_of).sum::<usize>());
            let rules = Rules {
                max_message_bytes: i32::MAX,
                zstd_allowed: true,
                keys_required: false,
                log_append_time: false,
                timestamp_before_max_ms: i64::MAX,
                timestamp_after_max_ms: i64::MAX,
                decompressed_max_bytes: usize::MAX,
                compression: None,
            };
            let mut checked = check(packed, &rules, 0).expect("passes");
            checked.stamp(100, crate::types::LeaderEpoch(0));
            let unpacked = unpack(&checked.bytes.freeze(), usize::MAX).expect("whole");
            let expected: Vec<_> = (100..).zip(records).collect();
            prop_assert_eq!(unpacked, expected);
        }

        #[test]
        fn noise_is_refused_and_does_no_harm(
            noise in proptest::collection::vec(any::<u8>(), 0..80),
            at in 0usize..100,
        ) {
            let mut packed = pack(&[Record::default(), Record::default()]);
            for (offset, byte) in noise.into_iter().enumerate() {
                if let Some(place) = packed.get_mut(at + offset) {
                    *place = byte;
                }
            }
            let _ = unpack(&packed.freeze(), 1000);
        }
    }
}
