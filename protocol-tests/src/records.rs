//! Reading back what a Fetch returned, strictly: whole batches, right CRCs, no bytes left over.

use bytes::{Buf, Bytes};

use crate::batch::{LOG_APPEND_TIME, Record, at};
use crate::compress::Codec;
use crate::wire::get_varint;

/// A batch as the broker stores it.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Leader epoch that the broker stamped on it.
    pub leader_epoch: i32,
    /// Codec and flags.
    pub attributes: i16,
    /// Offset of its last record, less the base offset.
    pub last_offset_delta: i32,
    /// Highest timestamp; of every record when the broker's clock counts.
    pub max_timestamp: i64,
    /// Producer id, -1 for none.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Sequence number of the first record.
    pub base_sequence: i32,
    /// Its records, decompressed.
    pub records: Vec<Record>,
    /// The bytes.
    pub bytes: Bytes,
}

/// The batches of a records field; panics unless it holds whole, correct batches and nothing else.
pub fn batches(mut bytes: Bytes) -> Vec<StoredBatch> {
    let mut batches = Vec::new();
    while bytes.has_remaining() {
        assert!(
            bytes.len() >= at::RECORDS,
            "{} bytes are no batch: {bytes:02x?}",
            bytes.len()
        );
        let length = i32::from_be_bytes(
            bytes[at::LENGTH..at::LEADER_EPOCH]
                .try_into()
                .expect("four bytes"),
        );
        let size = length as usize + at::LEADER_EPOCH;
        assert!(
            size <= bytes.len(),
            "a batch of {size} bytes is cut to {}",
            bytes.len()
        );
        batches.push(batch(bytes.split_to(size)));
    }
    batches
}

/// The bytes without a last batch that is cut short, as Kafka returns when a limit falls inside it.
pub fn without_cut_batch(bytes: Bytes) -> Bytes {
    let mut whole = 0;
    while bytes.len() >= whole + at::LEADER_EPOCH {
        let length = &bytes[whole + at::LENGTH..whole + at::LEADER_EPOCH];
        let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
        let next = whole + at::LEADER_EPOCH + length as usize;
        if next > bytes.len() {
            break;
        }
        whole = next;
    }
    bytes.slice(..whole)
}

/// All records of a records field.
pub fn records(bytes: Bytes) -> Vec<Record> {
    batches(bytes)
        .into_iter()
        .flat_map(|batch| batch.records)
        .collect()
}

fn batch(bytes: Bytes) -> StoredBatch {
    let crc = crc32c::crc32c(&bytes[at::ATTRIBUTES..]);
    let mut rest = bytes.clone();
    let base_offset = rest.get_i64();
    rest.advance(4);
    let leader_epoch = rest.get_i32();
    assert_eq!(
        rest.get_i8(),
        2,
        "the magic byte of the batch at offset {base_offset}"
    );
    assert_eq!(
        rest.get_u32(),
        crc,
        "the CRC of the batch at offset {base_offset}"
    );
    let attributes = rest.get_i16();
    let last_offset_delta = rest.get_i32();
    let base_timestamp = rest.get_i64();
    let max_timestamp = rest.get_i64();
    let producer_id = rest.get_i64();
    let producer_epoch = rest.get_i16();
    let base_sequence = rest.get_i32();
    let count = rest.get_i32();
    let mut body = Bytes::from(Codec::of(attributes).decompress(&rest));
    let mut records = Vec::new();
    for _ in 0..count {
        let mut record = record(&mut body, base_offset, base_timestamp);
        if attributes & LOG_APPEND_TIME != 0 {
            record.timestamp = max_timestamp;
        }
        records.push(record);
    }
    assert!(
        body.is_empty(),
        "{} bytes behind the last record of the batch at {base_offset}",
        body.len()
    );
    StoredBatch {
        base_offset,
        leader_epoch,
        attributes,
        last_offset_delta,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        records,
        bytes,
    }
}

fn record(body: &mut Bytes, base_offset: i64, base_timestamp: i64) -> Record {
    let length = get_varint(body) as usize;
    let mut rest = body.split_to(length);
    rest.advance(1);
    let timestamp = base_timestamp + get_varint(&mut rest);
    let offset = base_offset + get_varint(&mut rest);
    let key = field(&mut rest);
    let value = field(&mut rest);
    let mut headers = Vec::new();
    for _ in 0..get_varint(&mut rest) {
        let name = field(&mut rest).expect("a header has a name");
        let name = String::from_utf8(name.to_vec()).expect("a header name that is text");
        headers.push((name, field(&mut rest)));
    }
    assert!(
        rest.is_empty(),
        "{} bytes behind the headers of offset {offset}",
        rest.len()
    );
    Record {
        offset,
        timestamp,
        key,
        value,
        headers,
    }
}

fn field(rest: &mut Bytes) -> Option<Bytes> {
    let length = get_varint(rest);
    (length >= 0).then(|| rest.split_to(length as usize))
}
