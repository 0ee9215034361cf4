//! Compares two logs as they are read: batch by batch, or for logs that their source compacts record by
//! record. Pure: what is read is handed in. docs/bridge.md describes the hashes for strangers.

use std::collections::VecDeque;
use std::fmt::Write;

use aws_lc_rs::digest::{Context, SHA256};

use crate::partition::MirroredBatch;
use crate::partition::records::{Record, unpack};
use crate::types::Offset;

/// What one side has of what was compared.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) first: Option<Offset>,
    pub(super) last: Option<Offset>,
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) gaps: u64,
    pub(super) bytes: u64,
    next: Offset,
    hash: Context,
}

impl Side {
    fn new(from: Offset) -> Self {
        Self {
            first: None,
            last: None,
            batches: 0,
            records: 0,
            gaps: 0,
            bytes: 0,
            next: from,
            hash: Context::new(&SHA256),
        }
    }

    /// The hash so far, as hexadecimal digits.
    pub(super) fn hash(&self) -> String {
        let digest = self.hash.clone().finish();
        let mut text = String::with_capacity(64);
        for byte in digest.as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn spans(&mut self, first: Offset, last: Offset, records: u64) {
        self.first.get_or_insert(first);
        self.last = Some(last);
        self.records += records;
        let holes = (first - self.next).max(0) + (last - first + 1) - records as Offset;
        self.gaps += u64::try_from(holes).unwrap_or(0);
        self.next = last + 1;
    }

    fn batch(&mut self, batch: &Seen) {
        self.hash.update(&batch.first.to_be_bytes());
        self.hash.update(&batch.last.to_be_bytes());
        self.hash.update(&batch.crc.to_be_bytes());
        self.batches += 1;
        self.bytes += batch.bytes;
        self.spans(batch.first, batch.last, batch.records);
    }

    fn record(&mut self, offset: Offset, record: &Record) {
        self.hash.update(&offset.to_be_bytes());
        self.hash.update(&record.timestamp.to_be_bytes());
        self.field(record.key.as_deref());
        self.field(record.value.as_deref());
        self.hash
            .update(&(record.headers.len() as i32).to_be_bytes());
        for (name, value) in &record.headers {
            self.field(Some(name.as_bytes()));
            self.field(value.as_deref());
        }
        self.spans(offset, offset, 1);
    }

    fn field(&mut self, field: Option<&[u8]>) {
        match field {
            None => self.hash.update(&(-1i32).to_be_bytes()),
            Some(field) => {
                self.hash.update(&(field.len() as i32).to_be_bytes());
                self.hash.update(field);
            }
        }
    }
}

/// What is compared of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    first: Offset,
    last: Offset,
    crc: u32,
    records: u64,
    bytes: u64,
}

/// A comparison under way.
pub(super) struct Comparison {
    pub(super) source: Side,
    pub(super) copy: Side,
    /// The first thing that differs.
    pub(super) difference: Option<String>,
    /// Offsets from here on are compared; what is below has gone at the source.
    pub(super) from: Offset,
    /// Records that are here and not at the source any more, which compacts.
    pub(super) compacted: u64,
    mode: Mode,
    read_to: (Offset, Offset),
}

enum Mode {
    Batches {
        source: VecDeque<Seen>,
        copy: VecDeque<Seen>,
    },
    Records {
        source: VecDeque<(Offset, Record)>,
        copy: VecDeque<(Offset, Record)>,
        most_bytes: usize,
    },
}

impl Comparison {
    /// Of batches, from `from` on.
    pub(super) fn of_batches(from: Offset) -> Self {
        let (source, copy) = (VecDeque::new(), VecDeque::new());
        Self::new(from, Mode::Batches { source, copy })
    }

    /// Of records: every one that the source has must be in the copy. A batch unpacks to at most
    /// `most_bytes`.
    pub(super) fn of_records(from: Offset, most_bytes: usize) -> Self {
        let (source, copy) = (VecDeque::new(), VecDeque::new());
        Self::new(
            from,
            Mode::Records {
                source,
                copy,
                most_bytes,
            },
        )
    }

    fn new(from: Offset, mode: Mode) -> Self {
        Self {
            source: Side::new(from),
            copy: Side::new(from),
            difference: None,
            from,
            compacted: 0,
            mode,
            read_to: (from, from),
        }
    }

    /// Where each side was read to: source and copy.
    pub(super) fn read_to(&self) -> (Offset, Offset) {
        self.read_to
    }

    /// The source has lost what lies below `from` since.
    pub(super) fn source_starts_at(&mut self, from: Offset) {
        self.from = self.from.max(from);
        self.read_to.0 = self.read_to.0.max(from);
        self.pair();
    }

    /// Takes in what was read of the source.
    pub(super) fn source(&mut self, batches: &[MirroredBatch]) {
        let read = batches.last().map(|last| last.header.next_offset());
        self.read_to.0 = self.read_to.0.max(read.unwrap_or(0));
        self.take(batches, true);
    }

    /// Takes in what was read of the copy.
    pub(super) fn copy(&mut self, batches: &[MirroredBatch]) {
        let read = batches.last().map(|last| last.header.next_offset());
        self.read_to.1 = self.read_to.1.max(read.unwrap_or(0));
        self.take(batches, false);
    }

    fn take(&mut self, batches: &[MirroredBatch], of_source: bool) {
        let mut failed = None;
        match &mut self.mode {
            Mode::Batches { source, copy } => {
                let side = if of_source { source } else { copy };
                side.extend(batches.iter().map(|batch| Seen {
                    first: batch.header.base_offset,
                    last: batch.header.next_offset() - 1,
                    crc: batch.header.crc,
                    records: u64::from(batch.header.record_count.unsigned_abs()),
                    bytes: batch.bytes.len() as u64,
                }));
            }
            Mode::Records {
                source,
                copy,
                most_bytes,
            } => {
                let side = if of_source { source } else { copy };
                for batch in batches {
                    match unpack(&batch.bytes, *most_bytes) {
                        Ok(records) => side.extend(records),
                        Err(error) => {
                            let offset = batch.header.base_offset;
                            failed = Some(format!("the batch at {offset} cannot be read: {error}"));
                        }
                    }
                }
            }
        }
        if failed.is_some() {
            self.differ(failed.unwrap_or_default());
        }
        self.pair();
    }

    fn differ(&mut self, what: String) {
        self.difference.get_or_insert(what);
    }

    /// Compares what both sides have been read of.
    fn pair(&mut self) {
        let from = self.from;
        let mut found = Vec::new();
        match &mut self.mode {
            Mode::Batches { source, copy } => {
                while source.front().is_some_and(|batch| batch.last < from) {
                    source.pop_front();
                }
                while copy.front().is_some_and(|batch| batch.last < from) {
                    copy.pop_front();
                }
                while let (Some(there), Some(here)) = (source.front(), copy.front()) {
                    if there != here {
                        found.push(format!(
                            "the source has a batch of offsets {} to {} (CRC {:08x}), the copy one of {} to \
                             {} (CRC {:08x})",
                            there.first, there.last, there.crc, here.first, here.last, here.crc
                        ));
                    }
                    let (first, second) = (there.first, here.first);
                    if first <= second {
                        self.source.batch(there);
                        source.pop_front();
                    }
                    if second <= first
                        && let Some(here) = copy.pop_front()
                    {
                        self.copy.batch(&here);
                    }
                }
            }
            Mode::Records { source, copy, .. } => {
                while source.front().is_some_and(|(offset, _)| *offset < from) {
                    source.pop_front();
                }
                while copy.front().is_some_and(|(offset, _)| *offset < from) {
                    copy.pop_front();
                }
                while let (Some(there), Some(here)) = (source.front(), copy.front()) {
                    if here.0 < there.0 {
                        self.compacted += 1;
                        copy.pop_front();
                        continue;
                    }
                    self.source.record(there.0, &there.1);
                    if here.0 == there.0 {
                        if here.1 != there.1 {
                            found.push(format!("the record at offset {} is another one", here.0));
                        }
                        self.copy.record(here.0, &here.1);
                        copy.pop_front();
                    } else {
                        found.push(format!(
                            "the record at offset {} is not in the copy",
                            there.0
                        ));
                    }
                    source.pop_front();
                }
            }
        }
        if let Some(first) = found.into_iter().next() {
            self.differ(first);
        }
    }

    /// Both sides were read to their ends: what is left over differs.
    pub(super) fn finish(&mut self) {
        self.pair();
        let left = match &self.mode {
            Mode::Batches { source, copy } => (
                source.front().map(|b| b.first),
                copy.front().map(|b| b.first),
            ),
            Mode::Records { source, copy, .. } => {
                self.compacted += copy.len() as u64;
                (source.front().map(|(offset, _)| *offset), None)
            }
        };
        match left {
            (Some(offset), _) => {
                self.differ(format!("the copy has nothing from offset {offset} on"))
            }
            (None, Some(offset)) => {
                self.differ(format!("the source has nothing from offset {offset} on"));
            }
            (None, None) => {}
        }
        if self.difference.is_none() && self.source.hash() != self.copy.hash() {
            self.differ("the hashes differ".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::partition::check_mirrored;
    use crate::partition::records::pack;

    fn batch(base_offset: Offset, values: &[&'static str]) -> MirroredBatch {
        let records: Vec<Record> = values
            .iter()
            .map(|value| Record {
                key: Some(Bytes::from_static(b"k")),
                value: Some(Bytes::from_static(value.as_bytes())),
                ..Record::default()
            })
            .collect();
        let mut bytes = pack(&records);
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        check_mirrored(bytes.freeze()).unwrap().0.remove(0)
    }

    fn compare(
        mut comparison: Comparison,
        source: &[MirroredBatch],
        copy: &[MirroredBatch],
    ) -> Comparison {
        // In unequal steps, as it comes.
        source
            .iter()
            .for_each(|one| comparison.source(std::slice::from_ref(one)));
        comparison.copy(copy);
        comparison.finish();
        comparison
    }

    #[test]
    fn equal_logs_have_one_hash() {
        let log = [batch(0, &["a", "b"]), batch(5, &["c"])];
        let compared = compare(Comparison::of_batches(0), &log, &log);
        assert_eq!(compared.difference, None);
        assert_eq!((compared.source.records, compared.source.gaps), (3, 3));
        assert_eq!(compared.source.hash(), compared.copy.hash());
        assert_eq!(
            (compared.copy.first, compared.copy.last),
            (Some(0), Some(5))
        );
        // The recipe of docs/bridge.md.
        let mut recipe = Context::new(&SHA256);
        for one in &log {
            recipe.update(&one.header.base_offset.to_be_bytes());
            recipe.update(&(one.header.next_offset() - 1).to_be_bytes());
            recipe.update(&one.bytes[17..21]);
        }
        let digest = recipe.finish();
        let text: String = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(compared.copy.hash(), text);
    }

    #[test]
    fn what_is_missing_changed_or_too_much_is_named() {
        let log = [batch(0, &["a"]), batch(1, &["b"]), batch(2, &["c"])];
        for copy in [
            vec![log[0].clone(), log[2].clone()],
            vec![log[0].clone(), log[1].clone()],
            vec![log[0].clone(), batch(1, &["x"]), log[2].clone()],
            [&log[..], &[batch(3, &["d"])]].concat(),
            vec![],
        ] {
            let compared = compare(Comparison::of_batches(0), &log, &copy);
            assert!(compared.difference.is_some(), "{}", copy.len());
        }
    }

    #[test]
    fn what_retention_took_at_the_source_is_no_difference() {
        let log = [batch(0, &["a"]), batch(1, &["b"]), batch(2, &["c"])];
        let compared = compare(Comparison::of_batches(1), &log[1..], &log);
        assert_eq!(compared.difference, None);
        let mut comparison = Comparison::of_batches(0);
        comparison.copy(&log);
        comparison.source_starts_at(2);
        comparison.source(&log[2..]);
        comparison.finish();
        assert_eq!(comparison.difference, None);
        assert_eq!(comparison.source.records, 1);
    }

    #[test]
    fn of_a_compacted_log_every_record_that_is_left_must_be_here() {
        let copy = [batch(0, &["a", "b", "c"]), batch(3, &["d"])];
        let source = [batch(1, &["b"]), batch(3, &["d"])];
        let records = || Comparison::of_records(0, 1 << 20);
        let compared = compare(records(), &source, &copy);
        assert_eq!(compared.difference, None);
        assert_eq!((compared.compacted, compared.source.records), (2, 2));
        for source in [
            vec![batch(1, &["x"])],
            vec![batch(1, &["b"]), batch(4, &["e"])],
        ] {
            assert!(compare(records(), &source, &copy).difference.is_some());
        }
        assert!(compare(records(), &source, &copy[..1]).difference.is_some());
    }
}
