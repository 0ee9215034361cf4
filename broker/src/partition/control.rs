//! Control records: the markers that end a transaction in a partition (KIP-98).
//!
//! A marker is a batch of one record with the transactional and control bits. Its key says whether the
//! transaction was committed or aborted, its value which coordinator said so. It takes one offset, and
//! consumers do not show it. Kafka's `EndTransactionMarker`.

use bytes::{Buf, BufMut, BytesMut};

use super::batch::{CRC_FROM, CRC_START, CheckedBatch, HEADER_BYTES, Header, MAGIC};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

/// Transactional and control.
const ATTRIBUTES: i16 = 1 << 4 | 1 << 5;

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// The end of one transaction, as a partition is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The producer's epoch from now on: a lower one is fenced.
    pub producer_epoch: ProducerEpoch,
    /// Whether its records are to be read.
    pub committed: bool,
    /// Epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// The batch that says so, written at `now`.
    pub(super) fn batch(&self, now: Timestamp) -> CheckedBatch {
        let mut record = Vec::with_capacity(16);
        record.put_u8(0); // attributes
        record.put_u8(0); // timestamp delta
        record.put_u8(0); // offset delta
        record.put_u8(4 << 1); // key length, as a zigzag varint
        record.put_i16(0); // version of the key
        record.put_i16(if self.committed { COMMIT } else { ABORT });
        record.put_u8(6 << 1); // value length
        record.put_i16(0); // version of the value
        record.put_i32(self.coordinator_epoch);
        record.put_u8(0); // headers

        let size_bytes = HEADER_BYTES + 1 + record.len();
        let mut bytes = BytesMut::with_capacity(size_bytes);
        bytes.put_i64(0); // base offset, stamped later
        bytes.put_i32((size_bytes - 12) as i32);
        bytes.put_i32(-1); // leader epoch, stamped later
        bytes.put_i8(MAGIC);
        bytes.put_u32(0); // CRC
        bytes.put_i16(ATTRIBUTES);
        bytes.put_i32(0); // last offset delta
        bytes.put_i64(now);
        bytes.put_i64(now);
        bytes.put_i64(self.producer_id.0);
        bytes.put_i16(self.producer_epoch.0);
        bytes.put_i32(-1); // base sequence
        bytes.put_i32(1); // records
        bytes.put_u8((record.len() as u8) << 1);
        bytes.extend_from_slice(&record);
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[CRC_START..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        let header = Header {
            base_offset: 0,
            size_bytes,
            leader_epoch: crate::types::LeaderEpoch(-1),
            magic: MAGIC,
            crc,
            attributes: ATTRIBUTES,
            last_offset_delta: 0,
            base_timestamp: now,
            max_timestamp: now,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: -1,
            record_count: 1,
        };
        CheckedBatch {
            bytes,
            header,
            log_append_time: None,
        }
    }

    /// What the stored control batch `bytes` with this `header` says; `None` if it is not the end of a
    /// transaction.
    pub(super) fn parse(header: &Header, bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(HEADER_BYTES..)?;
        varint(&mut rest)?; // length
        rest.try_get_u8().ok()?; // attributes
        varint(&mut rest)?; // timestamp delta
        varint(&mut rest)?; // offset delta
        if varint(&mut rest)? < 4 {
            return None;
        }
        rest.try_get_i16().ok()?; // version of the key
        let committed = match rest.try_get_i16().ok()? {
            ABORT => false,
            COMMIT => true,
            _ => return None,
        };
        let coordinator_epoch = match varint(&mut rest)? {
            6.. => {
                rest.try_get_i16().ok()?;
                rest.try_get_i32().ok()?
            }
            _ => -1,
        };
        Some(Self {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            committed,
            coordinator_epoch,
        })
    }
}

/// A zigzag varint.
fn varint(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = input.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker {
        producer_id: ProducerId(0x0102),
        producer_epoch: ProducerEpoch(3),
        committed: true,
        coordinator_epoch: 5,
    };

    // Pins what is on disk and on the wire.
    #[test]
    fn golden() {
        let batch = MARKER.batch(0x10);
        let body = [
            0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0,
            0, 0, 1, 2, 0, 3, 255, 255, 255, 255, 0, 0, 0,
            1, // header, from the attributes on
            32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 5, 0,
        ];
        assert_eq!(batch.bytes[CRC_FROM..], body);
        assert_eq!(Header::parse(&batch.bytes), Some(batch.header));
        assert_eq!(batch.header.size_bytes, batch.bytes.len());
        assert_eq!(batch.header.crc, crc32c::crc32c(&body));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for committed in [true, false] {
            let marker = Marker {
                committed,
                ..MARKER
            };
            let batch = marker.batch(7);
            assert_eq!(Marker::parse(&batch.header, &batch.bytes), Some(marker));
            for length in 0..batch.bytes.len() - 1 {
                assert_eq!(Marker::parse(&batch.header, &batch.bytes[..length]), None);
            }
        }
    }
}
