//! What is stored of a transactional id: its producer, and where its transaction stands.
//!
//! Owns the format and nothing else. The key is the transactional id. Integers are big-endian; what is
//! not there is -1.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut};

use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId};

const FORMAT: u8 = 1;

/// A partition by its topic's identity: a topic made anew under the same name is another.
pub type TopicPartition = (TopicId, PartitionIndex);

/// Where a transaction stands; the names and numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// The id has a producer and no transaction yet.
    Empty,
    /// Partitions or groups were added.
    Ongoing,
    /// To be committed, which nothing can stop now.
    PrepareCommit,
    /// To be aborted, which nothing can stop now.
    PrepareAbort,
    /// Committed everywhere.
    CompleteCommit,
    /// Aborted everywhere.
    CompleteAbort,
}

/// Every standing, by its number.
pub const STANDINGS: [Standing; 6] = [
    Standing::Empty,
    Standing::Ongoing,
    Standing::PrepareCommit,
    Standing::PrepareAbort,
    Standing::CompleteCommit,
    Standing::CompleteAbort,
];

impl Standing {
    /// As tools show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether the end was decided, and not yet told everywhere.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether the end was told everywhere.
    pub fn is_complete(self) -> bool {
        matches!(self, Self::CompleteCommit | Self::CompleteAbort)
    }
}

/// One transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The producer that may use it.
    pub producer: ProducerId,
    /// That producer's epoch: any other is fenced.
    pub epoch: ProducerEpoch,
    /// Id and epoch before the last change that the producer asked for itself: a request that repeats
    /// it is a retry.
    pub previous: Option<(ProducerId, ProducerEpoch)>,
    /// Takes the place of `producer` when the transaction is complete: its epochs are used up.
    pub successor: Option<ProducerId>,
    /// A transaction that is open for longer is aborted.
    pub timeout_ms: i32,
    /// Where it stands.
    pub standing: Standing,
    /// Whether the last end raised the epoch (KIP-890).
    pub raised: bool,
    /// When the transaction began.
    pub started: Option<Timestamp>,
    /// When anything last changed.
    pub updated: Timestamp,
    /// Partitions with records of the transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// Groups whose offsets are part of the transaction.
    pub groups: BTreeSet<String>,
}

/// A change of what is stored: a transactional id as it is from now on, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub id: String,
    /// `None` when it has expired.
    pub transaction: Option<Transaction>,
}

pub(super) fn encode(transaction: &Transaction) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + transaction.partitions.len() * 20);
    let (previous_id, previous_epoch) = transaction
        .previous
        .unwrap_or((ProducerId(-1), ProducerEpoch(-1)));
    out.put_u8(FORMAT);
    out.put_i64(transaction.producer.0);
    out.put_i16(transaction.epoch.0);
    out.put_i64(previous_id.0);
    out.put_i16(previous_epoch.0);
    out.put_i64(transaction.successor.map_or(-1, |id| id.0));
    out.put_i32(transaction.timeout_ms);
    out.put_u8(transaction.standing as u8);
    out.put_u8(u8::from(transaction.raised));
    out.put_i64(transaction.started.unwrap_or(-1));
    out.put_i64(transaction.updated);
    out.put_u32(transaction.partitions.len() as u32);
    for (topic, index) in &transaction.partitions {
        out.put_slice(topic.as_bytes());
        out.put_i32(*index);
    }
    out.put_u32(transaction.groups.len() as u32);
    for group in &transaction.groups {
        out.put_u32(group.len() as u32);
        out.put_slice(group.as_bytes());
    }
    out
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let Ok(id) = std::str::from_utf8(key) else {
        return Err("the key of a row txn/ is no text; restore the store from a copy".into());
    };
    match value.first() {
        Some(&FORMAT) => match fields(&value[1..]) {
            Some(transaction) => Ok(Row {
                id: id.to_owned(),
                transaction: Some(transaction),
            }),
            None => Err(format!(
                "row txn/{id} is damaged; restore the store from a copy"
            )),
        },
        found => Err(format!(
            "row txn/{id} has format {found:?}, this version knows {FORMAT}: start the version that \
             wrote it, or a newer one"
        )),
    }
}

fn fields(mut input: &[u8]) -> Option<Transaction> {
    let some_id = |id: i64| (id >= 0).then_some(ProducerId(id));
    let producer = ProducerId(input.try_get_i64().ok()?);
    let epoch = ProducerEpoch(input.try_get_i16().ok()?);
    let previous_id = some_id(input.try_get_i64().ok()?);
    let previous_epoch = ProducerEpoch(input.try_get_i16().ok()?);
    let successor = some_id(input.try_get_i64().ok()?);
    let timeout_ms = input.try_get_i32().ok()?;
    let standing = *STANDINGS.get(usize::from(input.try_get_u8().ok()?))?;
    let raised = input.try_get_u8().ok()? != 0;
    let started = input.try_get_i64().ok()?;
    let updated = input.try_get_i64().ok()?;
    let mut partitions = BTreeSet::new();
    for _ in 0..input.try_get_u32().ok()? {
        let (topic, rest) = input.split_first_chunk::<16>()?;
        input = rest;
        partitions.insert((TopicId::from_bytes(*topic), input.try_get_i32().ok()?));
    }
    let mut groups = BTreeSet::new();
    for _ in 0..input.try_get_u32().ok()? {
        let length = input.try_get_u32().ok()? as usize;
        let (group, rest) = input.split_at_checked(length)?;
        input = rest;
        groups.insert(std::str::from_utf8(group).ok()?.to_owned());
    }
    input.is_empty().then_some(Transaction {
        producer,
        epoch,
        previous: previous_id.map(|id| (id, previous_epoch)),
        successor,
        timeout_ms,
        standing,
        raised,
        started: (started >= 0).then_some(started),
        updated,
        partitions,
        groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction() -> Transaction {
        Transaction {
            producer: ProducerId(1),
            epoch: ProducerEpoch(2),
            previous: Some((ProducerId(3), ProducerEpoch(4))),
            successor: Some(ProducerId(5)),
            timeout_ms: 6,
            standing: Standing::PrepareCommit,
            raised: true,
            started: Some(7),
            updated: 8,
            partitions: [(TopicId::from_bytes([9; 16]), 10)].into(),
            groups: ["g".to_owned()].into(),
        }
    }

    // Pins what is on disk; see the tests of `metadata::rows`.
    #[test]
    fn golden() {
        let bytes = [
            &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2][..],
            &[0, 0, 0, 0, 0, 0, 0, 3, 0, 4],
            &[0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 0, 0, 6, 2, 1],
            &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8],
            &[0, 0, 0, 1],
            &[9; 16],
            &[0, 0, 0, 10],
            &[0, 0, 0, 1, 0, 0, 0, 1, b'g'],
        ]
        .concat();
        assert_eq!(encode(&transaction()), bytes);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut all = vec![transaction()];
        all.extend(STANDINGS.map(|standing| Transaction {
            previous: None,
            successor: None,
            standing,
            raised: false,
            started: None,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            ..transaction()
        }));
        for transaction in all {
            let bytes = encode(&transaction);
            let row = Row {
                id: "t".into(),
                transaction: Some(transaction),
            };
            assert_eq!(decode(b"t", &bytes), Ok(row));
            for length in 0..bytes.len() {
                assert!(decode(b"t", &bytes[..length]).is_err());
            }
        }
        assert!(decode(b"t", &[2]).is_err());
        assert!(decode(&[255], &encode(&transaction())).is_err());
    }
}
