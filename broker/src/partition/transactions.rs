//! What a partition knows of transactions: those that are open, those whose end is not durable yet, and
//! which of the past were aborted. Pure.
//!
//! Kafka's `ProducerStateManager` (ongoing and unreplicated transactions) and `TransactionIndex`.

use std::collections::{BTreeMap, HashMap};

use bytes::{Buf, BufMut};

use crate::types::{Offset, ProducerId};

/// Format of an aborted transaction's row.
const ABORTED_FORMAT: u8 = 1;

/// The transactions that hold the last stable offset back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// First offset -> whose, of those that are open.
    open: BTreeMap<Offset, ProducerId>,
    /// The same the other way round.
    first_offsets: HashMap<ProducerId, Offset>,
    /// Marker's offset -> first offset, of those whose marker is not durable yet.
    closing: BTreeMap<Offset, Offset>,
}

impl Transactions {
    /// `producer` has written at `offset` as part of its transaction, the first time or again.
    pub(super) fn wrote(&mut self, producer: ProducerId, offset: Offset) {
        if let std::collections::hash_map::Entry::Vacant(new) = self.first_offsets.entry(producer) {
            new.insert(offset);
            self.open.insert(offset, producer);
        }
    }

    /// First offset of the open transaction of `producer`.
    pub(super) fn first_offset(&self, producer: ProducerId) -> Option<Offset> {
        if self.first_offsets.is_empty() {
            return None;
        }
        self.first_offsets.get(&producer).copied()
    }

    /// The marker at `marker_offset` ends the transaction of `producer`; its first offset, if there
    /// was one. The end holds once the marker is [durable](Self::durable).
    pub(super) fn ended(&mut self, producer: ProducerId, marker_offset: Offset) -> Option<Offset> {
        let first_offset = self.first_offsets.remove(&producer)?;
        self.open.remove(&first_offset);
        self.closing.insert(marker_offset, first_offset);
        Some(first_offset)
    }

    /// The marker at `marker_offset` is durable, and so is everything before it.
    pub(super) fn durable(&mut self, marker_offset: Offset) {
        self.closing = self.closing.split_off(&(marker_offset + 1));
    }

    /// First offset of the earliest transaction that is not known to be decided.
    pub(super) fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.first_key_value().map(|(first, _)| *first);
        let closing = self.closing.values().min().copied();
        match (open, closing) {
            (Some(open), Some(closing)) => Some(open.min(closing)),
            (open, closing) => open.or(closing),
        }
    }

    /// Writes those that are open, in the order of their offsets. A checkpoint becomes durable after
    /// every marker before it, so those that are closing are closed.
    pub(super) fn encode(&self, out: &mut impl BufMut) {
        out.put_u32(self.open.len() as u32);
        for (first, producer) in &self.open {
            out.put_i64(*first);
            out.put_i64(producer.0);
        }
    }

    /// Reads what [`Transactions::encode`] wrote; `None` if it is not that.
    pub(super) fn decode(input: &mut &[u8]) -> Option<Self> {
        let mut read = Self::default();
        for _ in 0..input.try_get_u32().ok()? {
            let first = input.try_get_i64().ok()?;
            read.wrote(ProducerId(input.try_get_i64().ok()?), first);
        }
        Some(read)
    }
}

/// A transaction that was aborted: consumers that read only what is committed skip its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Offset of its first record here.
    pub first_offset: Offset,
    /// Offset of the marker that aborted it.
    pub last_offset: Offset,
}

/// The aborted transactions of a partition, by the offsets of their markers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Aborted {
    all: Vec<AbortedTransaction>,
}

impl Aborted {
    /// Adds one whose marker comes after all others.
    pub(super) fn push(&mut self, aborted: AbortedTransaction) {
        self.all.push(aborted);
    }

    /// Those that a reader of `from..to` has to know: every one that has records below `to` and whose
    /// marker is at or above `from`. One whose marker the reader has passed must not be among them: its
    /// producer's later records would be skipped too.
    pub(super) fn within(&self, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        let start = self
            .all
            .partition_point(|aborted| aborted.last_offset < from);
        let mut found: Vec<_> = self.all[start..]
            .iter()
            .filter(|aborted| aborted.first_offset < to)
            .copied()
            .collect();
        found.sort_unstable_by_key(|aborted| aborted.first_offset);
        found
    }

    /// Takes out those that lie before `log_start` altogether; no reader needs them.
    pub(super) fn trim(&mut self, log_start: Offset) -> Vec<AbortedTransaction> {
        let gone = self
            .all
            .partition_point(|aborted| aborted.last_offset < log_start);
        self.all.drain(..gone).collect()
    }
}

impl AbortedTransaction {
    /// What is stored; the marker's offset is in the key.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = vec![ABORTED_FORMAT];
        value.put_i64(self.producer_id.0);
        value.put_i64(self.first_offset);
        value
    }

    /// The other way round; `None` if it is not that.
    pub(super) fn decode(last_offset: Offset, mut value: &[u8]) -> Option<Self> {
        if value.try_get_u8().ok()? != ABORTED_FORMAT {
            return None;
        }
        Some(Self {
            producer_id: ProducerId(value.try_get_i64().ok()?),
            first_offset: value.try_get_i64().ok()?,
            last_offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer: i64, first_offset: Offset, last_offset: Offset) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset,
            last_offset,
        }
    }

    #[test]
    fn the_earliest_transaction_holds_until_its_marker_is_durable() {
        let mut transactions = Transactions::default();
        assert_eq!(transactions.first_unstable(), None);
        transactions.wrote(ProducerId(1), 5);
        transactions.wrote(ProducerId(2), 7);
        transactions.wrote(ProducerId(1), 9);
        assert_eq!(transactions.first_offset(ProducerId(1)), Some(5));
        assert_eq!(transactions.ended(ProducerId(1), 10), Some(5));
        assert_eq!(transactions.first_offset(ProducerId(1)), None);
        assert_eq!(transactions.first_unstable(), Some(5));
        transactions.durable(10);
        assert_eq!(transactions.first_unstable(), Some(7));
        assert_eq!(transactions.ended(ProducerId(2), 11), Some(7));
        assert_eq!(transactions.ended(ProducerId(2), 12), None);
        transactions.durable(11);
        assert_eq!(transactions.first_unstable(), None);
    }

    #[test]
    fn encoding_gives_the_open_ones_back() {
        let mut transactions = Transactions::default();
        transactions.wrote(ProducerId(1), 5);
        transactions.wrote(ProducerId(2), 7);
        transactions.ended(ProducerId(1), 8);
        let mut bytes = Vec::new();
        transactions.encode(&mut bytes);
        let read = Transactions::decode(&mut &bytes[..]).unwrap();
        transactions.durable(8);
        assert_eq!(read, transactions);
        assert_eq!(Transactions::decode(&mut &bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_reader_is_told_of_exactly_those_it_may_meet() {
        let mut index = Aborted::default();
        for entry in [aborted(1, 0, 4), aborted(2, 3, 6), aborted(1, 5, 9)] {
            index.push(entry);
        }
        let within = |from, to| index.within(from, to);
        assert_eq!(within(0, 1), [aborted(1, 0, 4)]);
        assert_eq!(
            within(4, 10),
            [aborted(1, 0, 4), aborted(2, 3, 6), aborted(1, 5, 9)]
        );
        assert_eq!(within(5, 6), [aborted(2, 3, 6), aborted(1, 5, 9)]);
        assert_eq!(within(7, 8), [aborted(1, 5, 9)]);
        assert_eq!(within(10, 20), []);
        assert_eq!(within(0, 0), []);
    }

    #[test]
    fn trimming_keeps_those_that_end_after_the_log_start() {
        let mut index = Aborted::default();
        index.push(aborted(1, 0, 4));
        index.push(aborted(2, 3, 6));
        assert_eq!(index.trim(5), [aborted(1, 0, 4)]);
        assert_eq!(index.trim(6), []);
        assert_eq!(index.within(0, 10), [aborted(2, 3, 6)]);
    }

    // Pins what is on disk.
    #[test]
    fn golden() {
        let entry = aborted(0x0102, 0x0304, 9);
        assert_eq!(
            entry.encode(),
            [1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4]
        );
        assert_eq!(AbortedTransaction::decode(9, &entry.encode()), Some(entry));
        assert_eq!(AbortedTransaction::decode(9, &[2]), None);
    }
}
