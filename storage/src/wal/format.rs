//! The bytes of a write-ahead log file: a header, then records.
//!
//! ```text
//! header  magic "TRSTLWAL" | version u32 | first wal id u64 | writer epoch u64 | marker u64 | crc u32
//! record  marker u64 | crc u32 | payload length u32 | wal id u64 | payload
//! payload write batches, each: sequence u64 | rows u32 | rows
//! row     flags u8 | key length u32 | value length u32 | [create time i64] | [expire time i64] | key | value
//! ```
//!
//! Integers are little-endian; checksums are CRC-32C. A record is one group commit: it is written and
//! synced as a whole, and its wal id is one above that of the record before it. The marker is a number
//! of the open that wrote the file; it leads every record, so that a search for records behind damage
//! is quick and is not fooled by records that users stored as data.
//!
//! The lowest bit of the marker says that the file was written over an older one. What follows its last
//! record then is what is left of that one: records with lower ids, or parts of them.

use std::io::IoSlice;

use bytes::{Buf, Bytes};
use slatedb::{RowEntry, ValueDeletable};

const FILE_MAGIC: [u8; 8] = *b"TRSTLWAL";
const FORMAT_VERSION: u32 = 1;
/// Length of the header of a file.
pub(crate) const FILE_HEADER_LEN: usize = 40;
/// Length of what precedes a record's payload.
pub(crate) const RECORD_HEADER_LEN: usize = 24;

/// Values from this size on are not copied into the group's buffer but written from where they lie.
const LARGE_VALUE_LEN: usize = 2048;
/// A buffer that grew past this is not kept for the next group.
const KEPT_BUFFER_LEN: usize = 1 << 20;

const KIND_MASK: u8 = 0b11;
const KIND_VALUE: u8 = 0;
const KIND_MERGE: u8 = 1;
const KIND_TOMBSTONE: u8 = 2;
const HAS_CREATE_TS: u8 = 0b100;
const HAS_EXPIRE_TS: u8 = 0b1000;

/// What the header of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// The id of the first record, if there is one.
    pub(crate) first_wal_id: u64,
    /// The SlateDB writer epoch of the open that wrote the file.
    pub(crate) epoch: u64,
    /// Leads every record of the file.
    pub(crate) marker: u64,
}

/// The bit of a marker that says that the file was written over an older one.
const MARKER_REUSED: u64 = 1;

/// The marker of a file, from any number that was not used before.
pub(crate) fn marker(number: u64, reused: bool) -> u64 {
    number & !MARKER_REUSED | u64::from(reused)
}

impl FileHeader {
    /// Whether older records follow its last one.
    pub(crate) fn is_reused(&self) -> bool {
        self.marker & MARKER_REUSED != 0
    }
}

/// Why a file header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Too short, or not what was written.
    Damaged,
    /// Of a format this program does not know.
    Version(u32),
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut out = [0; FILE_HEADER_LEN];
        out[..8].copy_from_slice(&FILE_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..20].copy_from_slice(&self.first_wal_id.to_le_bytes());
        out[20..28].copy_from_slice(&self.epoch.to_le_bytes());
        out[28..36].copy_from_slice(&self.marker.to_le_bytes());
        let crc = crc32c::crc32c(&out[..36]);
        out[36..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, BadHeader> {
        if bytes.len() < FILE_HEADER_LEN || bytes[..8] != FILE_MAGIC {
            return Err(BadHeader::Damaged);
        }
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes.advance(8);
        let version = bytes.get_u32_le();
        let header = Self {
            first_wal_id: bytes.get_u64_le(),
            epoch: bytes.get_u64_le(),
            marker: bytes.get_u64_le(),
        };
        // A newer format may place its checksum elsewhere, so the version is looked at first.
        match version {
            FORMAT_VERSION if bytes.get_u32_le() == crc => Ok(header),
            FORMAT_VERSION => Err(BadHeader::Damaged),
            newer => Err(BadHeader::Version(newer)),
        }
    }
}

/// What precedes a record's payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordHeader {
    pub(crate) marker: u64,
    pub(crate) crc: u32,
    pub(crate) payload_len: u32,
    pub(crate) wal_id: u64,
}

impl RecordHeader {
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= RECORD_HEADER_LEN).then(|| Self {
            marker: bytes.get_u64_le(),
            crc: bytes.get_u32_le(),
            payload_len: bytes.get_u32_le(),
            wal_id: bytes.get_u64_le(),
        })
    }

    /// Checksum of what the checksum covers besides the payload.
    pub(crate) fn crc_start(payload_len: u32, wal_id: u64) -> u32 {
        crc32c::crc32c_append(
            crc32c::crc32c(&payload_len.to_le_bytes()),
            &wal_id.to_le_bytes(),
        )
    }
}

/// Write batches on their way to become one record. Small rows are copied into one buffer; large
/// values stay where they are and are only pointed at.
#[derive(Debug, Default)]
pub(crate) struct Group {
    small: Vec<u8>,
    /// Each value goes in after that many bytes of `small`.
    large: Vec<(usize, Bytes)>,
    large_bytes: usize,
    rows: usize,
    last_seq: u64,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Sequence number of the last write batch.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Bytes of the record, its header included.
    pub(crate) fn len(&self) -> usize {
        self.small.len() + self.large_bytes
    }

    /// Adds one write batch, whose rows all have the same sequence number.
    pub(crate) fn append(&mut self, rows: &[RowEntry]) {
        let Some(first) = rows.first() else { return };
        if self.small.is_empty() {
            self.small.resize(RECORD_HEADER_LEN, 0);
        }
        self.small.extend_from_slice(&first.seq.to_le_bytes());
        self.small
            .extend_from_slice(&(rows.len() as u32).to_le_bytes());
        for row in rows {
            debug_assert_eq!(row.seq, first.seq, "one write batch, one sequence number");
            self.append_row(row);
        }
        self.rows += rows.len();
        self.last_seq = first.seq;
    }

    fn append_row(&mut self, row: &RowEntry) {
        let (kind, value) = match &row.value {
            ValueDeletable::Value(value) => (KIND_VALUE, Some(value)),
            ValueDeletable::Merge(value) => (KIND_MERGE, Some(value)),
            ValueDeletable::Tombstone => (KIND_TOMBSTONE, None),
        };
        let mut flags = kind;
        if row.create_ts.is_some() {
            flags |= HAS_CREATE_TS;
        }
        if row.expire_ts.is_some() {
            flags |= HAS_EXPIRE_TS;
        }
        let out = &mut self.small;
        out.push(flags);
        out.extend_from_slice(&(row.key.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.map_or(0, Bytes::len) as u32).to_le_bytes());
        for time in [row.create_ts, row.expire_ts].into_iter().flatten() {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&row.key);
        match value {
            Some(value) if value.len() >= LARGE_VALUE_LEN => {
                self.large.push((out.len(), value.clone()));
                self.large_bytes += value.len();
            }
            Some(value) => out.extend_from_slice(value),
            None => {}
        }
    }

    /// Fills in the record header but for the marker. Nothing may be appended afterwards.
    pub(crate) fn seal(&mut self, wal_id: u64) {
        if self.small.is_empty() {
            self.small.resize(RECORD_HEADER_LEN, 0);
        }
        let payload_len = (self.len() - RECORD_HEADER_LEN) as u32;
        let mut crc = RecordHeader::crc_start(payload_len, wal_id);
        for slice in self.slices_from(RECORD_HEADER_LEN) {
            crc = crc32c::crc32c_append(crc, &slice);
        }
        let header = &mut self.small[..RECORD_HEADER_LEN];
        header[8..12].copy_from_slice(&crc.to_le_bytes());
        header[12..16].copy_from_slice(&payload_len.to_le_bytes());
        header[16..].copy_from_slice(&wal_id.to_le_bytes());
    }

    /// Sets the marker of a sealed group to that of the file it goes into.
    pub(crate) fn mark(&mut self, marker: u64) {
        self.small[..8].copy_from_slice(&marker.to_le_bytes());
    }

    /// The bytes of the record in order.
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.slices_from(0)
    }

    fn slices_from(&self, mut from: usize) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(2 * self.large.len() + 1);
        for (at, value) in &self.large {
            slices.push(IoSlice::new(&self.small[from..*at]));
            slices.push(IoSlice::new(value));
            from = *at;
        }
        if from < self.small.len() {
            slices.push(IoSlice::new(&self.small[from..]));
        }
        slices
    }

    /// Empties the group and keeps its buffers.
    pub(crate) fn clear(&mut self) {
        self.small.clear();
        self.small.shrink_to(KEPT_BUFFER_LEN);
        self.large.clear();
        self.large.shrink_to(KEPT_BUFFER_LEN / 64);
        self.large_bytes = 0;
        self.rows = 0;
    }
}

/// The rows of a record's payload, or `None` if it is not a list of rows. They share its allocation.
pub(crate) fn decode_rows(mut payload: Bytes) -> Option<Vec<RowEntry>> {
    let mut rows = Vec::new();
    while !payload.is_empty() {
        let seq = payload.try_get_u64_le().ok()?;
        for _ in 0..payload.try_get_u32_le().ok()? {
            rows.push(decode_row(&mut payload, seq)?);
        }
    }
    Some(rows)
}

fn decode_row(payload: &mut Bytes, seq: u64) -> Option<RowEntry> {
    let flags = payload.try_get_u8().ok()?;
    let key_len = payload.try_get_u32_le().ok()? as usize;
    let value_len = payload.try_get_u32_le().ok()? as usize;
    let mut time = |flag: u8| {
        if flags & flag == 0 {
            Some(None)
        } else {
            payload.try_get_i64_le().ok().map(Some)
        }
    };
    let create_ts = time(HAS_CREATE_TS)?;
    let expire_ts = time(HAS_EXPIRE_TS)?;
    if payload.len() < key_len.checked_add(value_len)? {
        return None;
    }
    let key = payload.split_to(key_len);
    let value = payload.split_to(value_len);
    let value = match flags & KIND_MASK {
        KIND_VALUE => ValueDeletable::Value(value),
        KIND_MERGE => ValueDeletable::Merge(value),
        KIND_TOMBSTONE => ValueDeletable::Tombstone,
        _ => return None,
    };
    Some(RowEntry {
        key,
        value,
        seq,
        create_ts,
        expire_ts,
    })
}
