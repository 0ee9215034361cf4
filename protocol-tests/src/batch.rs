//! Record batches (magic 2) made by hand: every field can be set, also to what no client would send.

use bytes::Bytes;

use crate::compress::Codec;
use crate::wait::now_ms;
use crate::wire::Wire;

/// Positions of the header fields in an encoded batch, for tests that change bytes.
pub mod at {
    /// INT64.
    pub const BASE_OFFSET: usize = 0;
    /// INT32, counts the bytes after it.
    pub const LENGTH: usize = 8;
    /// INT32.
    pub const LEADER_EPOCH: usize = 12;
    /// INT8.
    pub const MAGIC: usize = 16;
    /// UINT32, CRC-32C of everything from [`ATTRIBUTES`] on.
    pub const CRC: usize = 17;
    /// INT16.
    pub const ATTRIBUTES: usize = 21;
    /// The first record.
    pub const RECORDS: usize = 61;
}

/// Attribute bit: timestamps are the broker's.
pub const LOG_APPEND_TIME: i16 = 1 << 3;
/// Attribute bit: part of a transaction.
pub const TRANSACTIONAL: i16 = 1 << 4;
/// Attribute bit: a transaction marker.
pub const CONTROL: i16 = 1 << 5;

/// One record, to send or as read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition; 0 while it is yet to be sent.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key, if any.
    pub key: Option<Bytes>,
    /// Value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Headers, in order, names may repeat.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Record {
    /// A record of this value, no key, written now.
    pub fn new(value: impl AsRef<[u8]>) -> Self {
        Self {
            timestamp: now_ms(),
            value: Some(Bytes::copy_from_slice(value.as_ref())),
            ..Self::default()
        }
    }

    /// Sets the key.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// Sets the timestamp.
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: Option<&str>) -> Self {
        let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        self.headers.push((name.to_owned(), value));
        self
    }

    /// The value as text; panics when there is none.
    pub fn text(&self) -> &str {
        let value = self.value.as_deref().expect("a record with a value");
        std::str::from_utf8(value).expect("a value that is text")
    }

    fn encode(&self, offset_delta: i64, base_timestamp: i64) -> Wire {
        let field = |wire: Wire, bytes: Option<&[u8]>| match bytes {
            None => wire.varint(-1),
            Some(bytes) => wire.varint(bytes.len() as i64).raw(bytes),
        };
        let mut body = Wire::new()
            .i8(0)
            .varint(self.timestamp.wrapping_sub(base_timestamp))
            .varint(offset_delta);
        body = field(body, self.key.as_deref());
        body = field(body, self.value.as_deref());
        body = body.varint(self.headers.len() as i64);
        for (name, value) in &self.headers {
            body = field(body, Some(name.as_bytes()));
            body = field(body, value.as_deref());
        }
        Wire::new().varint(body.0.len() as i64).raw(&body.0)
    }
}

/// A batch to send. What is not set is what a correct producer would write.
#[derive(Clone, Debug)]
pub struct Batch {
    records: Vec<Record>,
    codec: Codec,
    flags: i16,
    magic: i8,
    base_offset: i64,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    max_timestamp: Option<i64>,
    offset_deltas: Option<Vec<i32>>,
    last_offset_delta: Option<i32>,
    record_count: Option<i32>,
    trailing: Vec<u8>,
}

impl Batch {
    /// A batch of one record for each value.
    pub fn of<T: AsRef<[u8]>>(values: &[T]) -> Self {
        Self::records(values.iter().map(Record::new).collect())
    }

    /// `count` records, `0`, `1` and so on.
    pub fn counted(count: usize) -> Self {
        let values: Vec<String> = (0..count).map(|value| value.to_string()).collect();
        Self::of(&values)
    }

    /// One record whose value has `size` bytes that no codec makes smaller.
    pub fn noise(size: usize) -> Self {
        let mut value = vec![0; size];
        rand::fill(&mut value[..]);
        Self::of(&[value])
    }

    /// A batch of one record whose encoding has exactly `size` bytes.
    pub fn sized(size: usize) -> Self {
        let of_value = |value| Self::of(&[vec![b'x'; value]]);
        let overhead = of_value(size).encode().len() - size;
        let mut value = size - overhead;
        while of_value(value).encode().len() < size {
            value += 1;
        }
        let batch = of_value(value);
        // Where a longer value needs a longer length, some sizes are skipped.
        assert_eq!(
            batch.encode().len(),
            size,
            "no batch of one record has this size"
        );
        batch
    }

    /// A batch of these records.
    pub fn records(records: Vec<Record>) -> Self {
        Self {
            records,
            codec: Codec::None,
            flags: 0,
            magic: 2,
            base_offset: 0,
            leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            max_timestamp: None,
            offset_deltas: None,
            last_offset_delta: None,
            record_count: None,
            trailing: Vec::new(),
        }
    }

    /// Compresses the records.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets attribute bits beside the codec's.
    pub fn flags(mut self, flags: i16) -> Self {
        self.flags = flags;
        self
    }

    /// Sets the magic byte.
    pub fn magic(mut self, magic: i8) -> Self {
        self.magic = magic;
        self
    }

    /// Sets the base offset, which clients leave at 0.
    pub fn base_offset(mut self, offset: i64) -> Self {
        self.base_offset = offset;
        self
    }

    /// Makes it a batch of an idempotent producer.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Gives the records these timestamps, in order.
    pub fn timestamps(mut self, timestamps: &[i64]) -> Self {
        for (record, timestamp) in self.records.iter_mut().zip(timestamps) {
            record.timestamp = *timestamp;
        }
        self
    }

    /// Claims another highest timestamp than that of the records.
    pub fn max_timestamp(mut self, timestamp: i64) -> Self {
        self.max_timestamp = Some(timestamp);
        self
    }

    /// Gives the records these offset deltas instead of 0, 1, 2...
    pub fn offset_deltas(mut self, deltas: &[i32]) -> Self {
        self.offset_deltas = Some(deltas.to_vec());
        self
    }

    /// Claims another last offset delta.
    pub fn last_offset_delta(mut self, delta: i32) -> Self {
        self.last_offset_delta = Some(delta);
        self
    }

    /// Claims another number of records.
    pub fn record_count(mut self, count: i32) -> Self {
        self.record_count = Some(count);
        self
    }

    /// Puts bytes behind the last record, inside what is compressed.
    pub fn trailing(mut self, bytes: &[u8]) -> Self {
        self.trailing = bytes.to_vec();
        self
    }

    /// The bytes, CRC and all.
    pub fn encode(&self) -> Bytes {
        let base_timestamp = self.records.first().map_or(-1, |record| record.timestamp);
        let max_timestamp = self
            .records
            .iter()
            .map(|record| record.timestamp)
            .max()
            .unwrap_or(-1);
        let count = self.records.len() as i32;
        let mut records = Wire::new();
        for (index, record) in self.records.iter().enumerate() {
            let delta = self
                .offset_deltas
                .as_ref()
                .map_or(index as i32, |deltas| deltas[index]);
            records = records.raw(&record.encode(i64::from(delta), base_timestamp).0);
        }
        let records = self.codec.compress(&records.raw(&self.trailing).0);
        let sealed = Wire::new()
            .i16(self.codec.bits() | self.flags)
            .i32(self.last_offset_delta.unwrap_or(count - 1))
            .i64(base_timestamp)
            .i64(self.max_timestamp.unwrap_or(max_timestamp))
            .i64(self.producer_id)
            .i16(self.producer_epoch)
            .i32(self.base_sequence)
            .i32(self.record_count.unwrap_or(count))
            .raw(&records)
            .0;
        let batch = Wire::new()
            .i64(self.base_offset)
            .i32((sealed.len() + at::ATTRIBUTES - at::LEADER_EPOCH) as i32)
            .i32(self.leader_epoch)
            .i8(self.magic)
            .raw(&crc32c::crc32c(&sealed).to_be_bytes())
            .raw(&sealed);
        Bytes::from(batch.0)
    }
}

impl From<Batch> for Bytes {
    fn from(batch: Batch) -> Self {
        batch.encode()
    }
}

impl From<&Batch> for Bytes {
    fn from(batch: &Batch) -> Self {
        batch.encode()
    }
}

/// Puts the right CRC into a batch whose bytes a test has changed.
pub fn reseal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[at::ATTRIBUTES..]);
    batch[at::CRC..at::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}
