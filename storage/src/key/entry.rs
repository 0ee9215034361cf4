//! Entry rows: what logs hold.
//!
//! Key: prefix with tag `10`, the log's key, var_u64(last sequence - first sequence of the segment),
//! then a trailer of ours: form, varint(records - 1), varint(first offset), varint(zigzag(highest
//! timestamp - start time of the segment)). One row is one entry, its value the payload; or several
//! small entries of one log with consecutive offsets, the payloads one after the other and then their
//! sizes. Of those, some may have been dropped since: they keep their places.
//!
//! A key without the trailer is OpenData's: one raw record whose offset is its sequence, of the time that
//! the segment gives such records.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{
    LogKey, malformed, put_prefix, put_var_u64, put_varint, take_prefix_of, take_terminated,
    take_var_u64, take_varint, unzigzag, zigzag,
};
use super::{SegmentMeta, tag};
use crate::{EntryFormat, Error, Result};

/// Form: the value is one entry of this format.
const RAW: u8 = 0;
const BATCH: u8 = 1;
/// Added to the form of a row whose value packs several entries.
const PACKED: u8 = 0x10;

/// The key of an entry row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryKey {
    pub(crate) last_sequence: u64,
    pub(crate) format: EntryFormat,
    pub(crate) packed: bool,
    /// Records in the row, each with a sequence and an offset; at least 1.
    pub(crate) records: u64,
    pub(crate) first_offset: u64,
    /// Of all entries in the row, in milliseconds; -1 if none has one.
    pub(crate) max_timestamp: i64,
}

impl EntryKey {
    pub(crate) fn encode_into(&self, out: &mut BytesMut, log: &LogKey, segment: &SegmentMeta) {
        Self::position_into(out, log, segment, self.last_sequence);
        let form = match self.format {
            EntryFormat::Raw => RAW,
            EntryFormat::Batch => BATCH,
        };
        out.put_u8(if self.packed { form | PACKED } else { form });
        put_varint(out, self.records - 1);
        put_varint(out, self.first_offset);
        put_varint(
            out,
            zigzag(self.max_timestamp.wrapping_sub(segment.start_time_ms)),
        );
    }

    /// The start of the keys of all entries in `segment`.
    pub(crate) fn prefix(segment: u32) -> Bytes {
        let mut out = BytesMut::with_capacity(8);
        put_prefix(&mut out, segment, tag::ENTRY);
        out.freeze()
    }

    /// The lowest key that a row of `log` ending at or after `sequence` can have in `segment`.
    pub(crate) fn lower_bound(log: &LogKey, segment: &SegmentMeta, sequence: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(32 + log.stored().len());
        Self::position_into(&mut out, log, segment, sequence);
        out.freeze()
    }

    /// A key above all rows of `log` in `segment`.
    pub(crate) fn end(log: &LogKey, segment: &SegmentMeta) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + log.stored().len());
        put_prefix(&mut out, segment.id, tag::ENTRY);
        out.put_slice(log.stored());
        out.put_u8(0xFF);
        out.freeze()
    }

    fn position_into(out: &mut BytesMut, log: &LogKey, segment: &SegmentMeta, sequence: u64) {
        put_prefix(out, segment.id, tag::ENTRY);
        out.put_slice(log.stored());
        put_var_u64(out, sequence.saturating_sub(segment.start_sequence));
    }

    pub(crate) fn decode(key: &[u8], segment: &SegmentMeta) -> Result<Self> {
        Self::try_decode(key, segment).ok_or_else(|| malformed("entry", key))
    }

    fn try_decode(mut key: &[u8], segment: &SegmentMeta) -> Option<Self> {
        let bytes = &mut key;
        if take_prefix_of(bytes, tag::ENTRY)? != segment.id {
            return None;
        }
        take_terminated(bytes)?;
        let last_sequence = segment.start_sequence.checked_add(take_var_u64(bytes)?)?;
        let Some((&form, rest)) = bytes.split_first() else {
            return Some(Self {
                last_sequence,
                format: EntryFormat::Raw,
                packed: false,
                records: 1,
                first_offset: last_sequence,
                max_timestamp: segment.adopted_ms,
            });
        };
        *bytes = rest;
        let format = match form & !PACKED {
            RAW => EntryFormat::Raw,
            BATCH => EntryFormat::Batch,
            _ => return None,
        };
        let records = take_varint(bytes)?.checked_add(1)?;
        let first_offset = take_varint(bytes)?;
        let max_timestamp = unzigzag(take_varint(bytes)?).wrapping_add(segment.start_time_ms);
        let plausible = records <= last_sequence.checked_add(1)?
            && first_offset.checked_add(records).is_some()
            && bytes.is_empty();
        let packed = form & PACKED != 0;
        plausible.then_some(Self {
            last_sequence,
            format,
            packed,
            records,
            first_offset,
            max_timestamp,
        })
    }

    pub(crate) fn first_sequence(&self) -> u64 {
        self.last_sequence + 1 - self.records
    }

    /// One past the last offset in the row.
    pub(crate) fn end_offset(&self) -> u64 {
        self.first_offset + self.records
    }
}

/// Set in the number of entries of a packed value with holes: lengths are one more than they are
/// without, and 0 stands for an entry that was dropped.
const WITH_HOLES: u32 = 1 << 31;

/// Builds the value of a row that packs several entries.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    bytes: BytesMut,
    /// Length of each, `None` for a hole, and its records.
    directory: Vec<(Option<u32>, u32)>,
}

impl Packer {
    pub(crate) fn with_capacity(payload_bytes: usize, entries: usize) -> Self {
        Self {
            bytes: BytesMut::with_capacity(payload_bytes + entries * 6 + 8),
            directory: Vec::with_capacity(entries),
        }
    }

    pub(crate) fn push(&mut self, payload: &[u8], records: u32) {
        self.bytes.put_slice(payload);
        self.directory.push((Some(payload.len() as u32), records));
    }

    /// In the place of an entry that was dropped.
    pub(crate) fn push_hole(&mut self, records: u32) {
        self.directory.push((None, records));
    }

    /// Payloads, then (length, records - 1) of each as varints, then the number of entries and the
    /// length of that directory as `u32` BE.
    pub(crate) fn finish(mut self) -> Bytes {
        let with_holes = self.directory.iter().any(|(length, _)| length.is_none());
        let payload_end = self.bytes.len();
        for &(length, records) in &self.directory {
            let length = match (length, with_holes) {
                (Some(length), false) => u64::from(length),
                (Some(length), true) => u64::from(length) + 1,
                (None, _) => 0,
            };
            put_varint(&mut self.bytes, length);
            put_varint(&mut self.bytes, u64::from(records) - 1);
        }
        let directory_len = self.bytes.len() - payload_end;
        let flag = if with_holes { WITH_HOLES } else { 0 };
        self.bytes.put_u32(self.directory.len() as u32 | flag);
        self.bytes.put_u32(directory_len as u32);
        self.bytes.freeze()
    }
}

/// A packed value taken apart: each payload, if it was not dropped, with its number of records.
#[derive(Debug)]
pub(crate) struct PackedValue {
    pub(crate) entries: Vec<(Option<Bytes>, u32)>,
}

impl PackedValue {
    /// Bytes of all payloads.
    pub(crate) fn payload_bytes(&self) -> u64 {
        let payloads = self
            .entries
            .iter()
            .filter_map(|(payload, _)| payload.as_ref());
        payloads.map(|payload| payload.len() as u64).sum()
    }

    pub(crate) fn decode(key: &EntryKey, value: &Bytes) -> Result<Self> {
        Self::try_decode(key, value).ok_or_else(|| {
            let what = format!("the packed entries at sequence {}", key.last_sequence);
            Error::new(crate::ErrorKind::Corrupt, format!("{what} do not decode"))
        })
    }

    fn try_decode(key: &EntryKey, value: &Bytes) -> Option<Self> {
        let (rest, length) = value.split_last_chunk::<4>()?;
        let (rest, count) = rest.split_last_chunk::<4>()?;
        let payload_end = rest
            .len()
            .checked_sub(u32::from_be_bytes(*length) as usize)?;
        let mut directory = &rest[payload_end..];
        let count = u32::from_be_bytes(*count);
        let with_holes = count & WITH_HOLES != 0;
        let count = (count & !WITH_HOLES) as usize;
        // An entry takes at least two bytes of directory: no count makes this allocate more.
        let mut entries = Vec::with_capacity(count.min(directory.len() / 2));
        let (mut at, mut records) = (0usize, 0u64);
        for _ in 0..count {
            let length = usize::try_from(take_varint(&mut directory)?).ok()?;
            let length = match with_holes {
                true => length.checked_sub(1),
                false => Some(length),
            };
            let of_entry = u32::try_from(take_varint(&mut directory)?.checked_add(1)?).ok()?;
            let end = at.checked_add(length.unwrap_or(0))?;
            if end > payload_end {
                return None;
            }
            entries.push((length.map(|_| value.slice(at..end)), of_entry));
            records = records.checked_add(u64::from(of_entry))?;
            at = end;
        }
        let whole = at == payload_end && directory.is_empty() && records == key.records;
        whole.then_some(Self { entries })
    }
}
