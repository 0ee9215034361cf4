//! What compaction makes of a batch. Pure.
//!
//! Of each key the last record is kept, as far as the [`Plan`] reaches; offsets stay, with gaps. A
//! tombstone stays `delete.retention.ms` beyond the first pass that saw it: that pass writes the end of
//! its time into the batch (KIP-534), as base timestamp, with a bit in the attributes. Records of aborted
//! transactions go; a transaction's marker goes once its records are gone and its time, counted the same
//! way, is over. The last batch of a producer stays, empty if need be, for its sequence numbers. A batch
//! of which something is dropped is written anew in its own codec, and keeps its base offset, the delta
//! of its last offset, producer, epoch and sequence.

use std::collections::{BTreeMap, HashMap};
use std::io;

use bytes::Bytes;

use super::batch::Header;
use super::key_map::KeyMap;
use super::rebuild::{self, Rebuilt, RecordSpan};
use crate::types::{Offset, ProducerId, Timestamp};

/// What of transactions a pass must know: their markers, by producer and offset.
#[derive(Debug, Default)]
pub(super) struct Markers {
    by_producer: HashMap<i64, BTreeMap<Offset, Marker>>,
    /// Producers with records in a transaction that no marker has ended yet.
    ongoing: HashMap<i64, ()>,
}

#[derive(Clone, Copy, Debug)]
struct Marker {
    aborts: bool,
    has_records: bool,
}

impl Markers {
    /// Takes in the next batch of the log.
    ///
    /// # Errors
    /// A marker that does not parse.
    pub(super) fn see(&mut self, batch: &[u8], header: &Header) -> io::Result<()> {
        let producer = header.producer_id.0;
        if header.is_control() {
            let Some(aborts) = rebuild::marker_aborts(batch)? else {
                return Ok(());
            };
            let has_records = self.ongoing.remove(&producer).is_some();
            let marker = Marker {
                aborts,
                has_records,
            };
            self.by_producer
                .entry(producer)
                .or_default()
                .insert(header.base_offset, marker);
        } else if header.is_transactional() {
            self.ongoing.insert(producer, ());
        }
        Ok(())
    }

    /// Whether the records of a transactional batch were aborted.
    fn aborted(&self, producer: ProducerId, offset: Offset) -> bool {
        let markers = self.by_producer.get(&producer.0);
        let next = markers.and_then(|markers| markers.range(offset..).next());
        next.is_some_and(|(_, marker)| marker.aborts)
    }

    /// Whether the transaction that a marker ended has no records left.
    fn is_spent(&self, producer: ProducerId, offset: Offset) -> bool {
        let markers = self.by_producer.get(&producer.0);
        let marker = markers.and_then(|markers| markers.get(&offset));
        marker.is_some_and(|marker| !marker.has_records)
    }
}

/// What one pass over a log goes by. Its answers depend on the batch alone.
#[derive(Debug)]
pub(super) struct Plan {
    /// The last offset of each key from where the pass before ended up to `end`.
    pub(super) keys: KeyMap,
    /// The first offset that the pass does not touch.
    pub(super) end: Offset,
    /// When the pass began.
    pub(super) now: Timestamp,
    /// `delete.retention.ms`.
    pub(super) delete_retention_ms: i64,
    /// Transactions up to `end`.
    pub(super) markers: Markers,
    /// The base offset of the last batch of each producer that is still known.
    pub(super) last_batches: HashMap<i64, Offset>,
    /// One past the last record of the log: what holds that stays, so that the log's end can be read.
    pub(super) log_end: Offset,
    /// Largest size that a batch may unpack to.
    pub(super) max_bytes: usize,
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cleaned {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// This takes its place.
    Replace(Bytes),
}

impl Plan {
    /// Notes the keys of a batch; false if they may not all fit in, and then none is.
    ///
    /// # Errors
    /// A batch that does not parse.
    pub(super) fn note(&mut self, batch: &[u8], header: &Header) -> io::Result<bool> {
        if header.is_control() || self.is_aborted(header) {
            return Ok(true);
        }
        let records = usize::try_from(header.record_count).unwrap_or(0);
        // One batch must always fit, or no pass would get anywhere.
        if !self.keys.has_room(records) && !self.keys.is_empty() {
            return Ok(false);
        }
        let unpacked = rebuild::unpack(batch, header, self.max_bytes)?;
        for record in rebuild::spans(&unpacked, header)? {
            if let Some(key) = record.key(&unpacked) {
                let offset = header.base_offset + i64::from(record.offset_delta);
                self.keys.put(key, offset);
            }
        }
        Ok(true)
    }

    fn is_aborted(&self, header: &Header) -> bool {
        header.is_transactional()
            && !header.is_control()
            && self.markers.aborted(header.producer_id, header.base_offset)
    }

    /// What becomes of a stored batch.
    ///
    /// # Errors
    /// A batch that does not parse.
    pub(super) fn clean(&self, batch: &Bytes) -> io::Result<Cleaned> {
        let header = Header::parse(batch).ok_or(io::ErrorKind::InvalidData)?;
        if header.next_offset() > self.end {
            return Ok(Cleaned::Keep);
        }
        let horizon = header.delete_horizon();
        let is_over = horizon.is_some_and(|horizon| horizon <= self.now);
        if header.is_control() {
            if !self
                .markers
                .is_spent(header.producer_id, header.base_offset)
            {
                return Ok(Cleaned::Keep);
            }
            if is_over {
                return Ok(self.without_records(batch, &header));
            }
            if horizon.is_some() {
                return Ok(Cleaned::Keep);
            }
        }
        if self.is_aborted(&header) || header.record_count <= 0 {
            return Ok(self.without_records(batch, &header));
        }
        let unpacked = rebuild::unpack(batch, &header, self.max_bytes)?;
        let records = rebuild::spans(&unpacked, &header)?;
        let mut kept = Vec::with_capacity(records.len());
        let mut tombstones = header.is_control();
        for record in &records {
            if header.is_control() || self.keeps(record, &unpacked, &header, is_over) {
                tombstones |= !record.has_value;
                kept.push(*record);
            }
        }
        let starts_time = tombstones && horizon.is_none();
        if kept.is_empty() {
            return Ok(self.without_records(batch, &header));
        }
        if kept.len() == records.len() && !starts_time {
            return Ok(Cleaned::Keep);
        }
        let horizon = starts_time.then(|| self.now.saturating_add(self.delete_retention_ms));
        let rebuilt = Rebuilt {
            header: &header,
            unpacked: &unpacked,
            records: &kept,
            horizon,
        };
        rebuilt.write().map(|bytes| Cleaned::Replace(bytes.into()))
    }

    fn keeps(&self, record: &RecordSpan, unpacked: &[u8], header: &Header, is_over: bool) -> bool {
        let Some(key) = record.key(unpacked) else {
            // Kafka drops records without a key from compacted topics too.
            return false;
        };
        let offset = header.base_offset + i64::from(record.offset_delta);
        let is_last = self.keys.get(key).is_none_or(|last| last <= offset);
        is_last && (record.has_value || !is_over)
    }

    /// What a batch of which no record is kept becomes.
    fn without_records(&self, batch: &Bytes, header: &Header) -> Cleaned {
        let is_last = header.has_producer()
            && self.last_batches.get(&header.producer_id.0) == Some(&header.base_offset);
        if !is_last && header.next_offset() < self.log_end {
            return Cleaned::Drop;
        }
        if header.record_count == 0 {
            return Cleaned::Keep;
        }
        Cleaned::Replace(rebuild::emptied(batch, header).into())
    }
}

#[cfg(test)]
#[path = "cleaner_tests.rs"]
mod tests;
