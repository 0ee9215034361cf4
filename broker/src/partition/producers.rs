//! What a partition remembers of its idempotent producers (KIP-98): the last five batches of each.
//!
//! The rules are those of Kafka's `ProducerStateManager` and `ProducerAppendInfo`. State advances when
//! a batch is queued, in order, and not when it becomes durable: pipelined batches depend on it.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, BufMut};

use super::batch::{Header, add_sequence};
use super::control::Marker;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// Batches of a producer that are recognised when they come again.
const CACHED_BATCHES: usize = 5;

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appended {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Its highest timestamp.
    pub timestamp: Timestamp,
}

impl Appended {
    /// Offset after its last record.
    pub(super) fn next_offset(&self) -> Offset {
        let records = i64::from(self.last_sequence) - i64::from(self.first_sequence);
        self.base_offset + records.rem_euclid(1 << 31) + 1
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    batches: VecDeque<Appended>,
    last_append: Timestamp,
    /// The last marker: the producer's epoch in it, and the coordinator's.
    marker: Option<(ProducerEpoch, i32)>,
}

impl Producer {
    fn new(epoch: ProducerEpoch, now: Timestamp) -> Self {
        Self {
            epoch,
            batches: VecDeque::with_capacity(CACHED_BATCHES),
            last_append: now,
            marker: None,
        }
    }

    /// A new epoch starts its sequences anew.
    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

/// What is known of one producer, for those who look after transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of its last record, or -1.
    pub last_sequence: i32,
    /// When it was last here.
    pub last_append: Timestamp,
    /// Epoch of the coordinator that wrote its last marker, or -1.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub open_since: Option<Offset>,
}

/// Why a producer's batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A newer producer with the same id has written here.
    #[error("producer {producer_id} has epoch {current} here, not {given}")]
    FencedEpoch {
        /// Whose.
        producer_id: ProducerId,
        /// The batch's epoch.
        given: ProducerEpoch,
        /// The epoch last seen.
        current: ProducerEpoch,
    },
    /// The batch neither follows the last one nor repeats one of the last five.
    #[error("producer {producer_id} sent sequence {given} where {expected} belongs")]
    OutOfOrder {
        /// Whose.
        producer_id: ProducerId,
        /// The batch's first sequence.
        given: i32,
        /// The sequence that would follow.
        expected: i32,
    },
    /// The producer has a transaction open here, and the batch is not part of it.
    #[error("producer {producer_id} has an open transaction and sent a batch outside of it")]
    OutsideTransaction {
        /// Whose.
        producer_id: ProducerId,
    },
    /// A marker of a coordinator that another one has replaced.
    #[error("the coordinator's epoch is {current} here, not {given}")]
    FencedCoordinator {
        /// The marker's epoch.
        given: i32,
        /// The epoch last seen.
        current: i32,
    },
}

/// All producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// What `header` is to its producer: `Some` if it repeats a batch that is already here, `None` if
    /// it is new and in order.
    pub(super) fn check(
        &self,
        header: &Header,
        now: Timestamp,
        expiration_ms: i64,
    ) -> Result<Option<Appended>, ProducerError> {
        let producer_id = header.producer_id;
        let Some(producer) = self
            .by_id
            .get(&producer_id.0)
            .filter(|p| now.saturating_sub(p.last_append) < expiration_ms)
        else {
            // State can have expired or been trimmed, so any first sequence is taken.
            return Ok(None);
        };
        if header.producer_epoch < producer.epoch {
            return Err(ProducerError::FencedEpoch {
                producer_id,
                given: header.producer_epoch,
                current: producer.epoch,
            });
        }
        let out_of_order = |expected| ProducerError::OutOfOrder {
            producer_id,
            given: header.base_sequence,
            expected,
        };
        if header.producer_epoch > producer.epoch {
            return if header.base_sequence == 0 {
                Ok(None)
            } else {
                Err(out_of_order(0))
            };
        }
        let last_sequence = header.last_sequence();
        let duplicate = producer.batches.iter().find(|batch| {
            batch.first_sequence == header.base_sequence && batch.last_sequence == last_sequence
        });
        if duplicate.is_some() {
            return Ok(duplicate.copied());
        }
        match producer.batches.back() {
            Some(last) if add_sequence(last.last_sequence, 1) != header.base_sequence => {
                Err(out_of_order(add_sequence(last.last_sequence, 1)))
            }
            // A marker has begun the epoch.
            None if header.base_sequence != 0 => Err(out_of_order(0)),
            _ => Ok(None),
        }
    }

    /// Whether `marker` is new, given whether it would end a transaction that is `open`: false if it
    /// was written before.
    pub(super) fn check_marker(&self, marker: &Marker, open: bool) -> Result<bool, ProducerError> {
        let Some(producer) = self.by_id.get(&marker.producer_id.0) else {
            return Ok(true);
        };
        if marker.producer_epoch < producer.epoch {
            return Err(ProducerError::FencedEpoch {
                producer_id: marker.producer_id,
                given: marker.producer_epoch,
                current: producer.epoch,
            });
        }
        match producer.marker {
            Some((_, current)) if marker.coordinator_epoch < current => {
                Err(ProducerError::FencedCoordinator {
                    given: marker.coordinator_epoch,
                    current,
                })
            }
            Some((epoch, _)) => Ok(open || epoch != marker.producer_epoch),
            None => Ok(true),
        }
    }

    /// Remembers a marker that was given its offset. Also how state is rebuilt from stored ones.
    pub(super) fn marked(&mut self, marker: &Marker, now: Timestamp) {
        let producer = self
            .by_id
            .entry(marker.producer_id.0)
            .or_insert_with(|| Producer::new(marker.producer_epoch, now));
        producer.enter(marker.producer_epoch);
        producer.marker = Some((marker.producer_epoch, marker.coordinator_epoch));
        producer.last_append = now;
    }

    /// All of them, in order of their ids.
    pub(super) fn active(&self) -> Vec<ActiveProducer> {
        let mut all: Vec<_> = self
            .by_id
            .iter()
            .map(|(id, producer)| ActiveProducer {
                id: ProducerId(*id),
                epoch: producer.epoch,
                last_sequence: producer
                    .batches
                    .back()
                    .map_or(-1, |last| last.last_sequence),
                last_append: producer.last_append,
                coordinator_epoch: producer.marker.map_or(-1, |(_, epoch)| epoch),
                open_since: None,
            })
            .collect();
        all.sort_unstable_by_key(|producer| producer.id);
        all
    }

    /// Remembers a batch that was given its offset. Also how state is rebuilt from stored headers.
    pub(super) fn appended(&mut self, header: &Header, now: Timestamp) {
        let producer = self
            .by_id
            .entry(header.producer_id.0)
            .or_insert_with(|| Producer::new(header.producer_epoch, now));
        producer.enter(header.producer_epoch);
        if producer.batches.len() == CACHED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Appended {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            timestamp: header.max_timestamp,
        });
        producer.last_append = now;
    }

    /// The base offset of the last batch of each.
    pub(super) fn last_batches(&self) -> HashMap<i64, Offset> {
        let last =
            |(id, producer): (&i64, &Producer)| Some((*id, producer.batches.back()?.base_offset));
        self.by_id.iter().filter_map(last).collect()
    }

    /// Forgets producers that have not appended for `expiration_ms`, but for those that are `busy`.
    pub(super) fn expire(
        &mut self,
        now: Timestamp,
        expiration_ms: i64,
        busy: impl Fn(ProducerId) -> bool,
    ) {
        self.by_id.retain(|id, p| {
            now.saturating_sub(p.last_append) < expiration_ms || busy(ProducerId(*id))
        });
    }

    /// Writes all producers, in order of their ids.
    pub(super) fn encode(&self, out: &mut impl BufMut) {
        out.put_u32(self.by_id.len() as u32);
        let mut ids: Vec<_> = self.by_id.iter().collect();
        ids.sort_unstable_by_key(|(id, _)| **id);
        for (id, producer) in ids {
            out.put_i64(*id);
            out.put_i16(producer.epoch.0);
            out.put_i64(producer.last_append);
            let (marker_epoch, coordinator_epoch) =
                producer.marker.unwrap_or((ProducerEpoch(-1), -1));
            out.put_i16(marker_epoch.0);
            out.put_i32(coordinator_epoch);
            out.put_u8(producer.batches.len() as u8);
            for batch in &producer.batches {
                out.put_i32(batch.first_sequence);
                out.put_i32(batch.last_sequence);
                out.put_i64(batch.base_offset);
                out.put_i64(batch.timestamp);
            }
        }
    }

    /// Reads what [`Producers::encode`] wrote, or what it wrote when there were no markers; `None` if
    /// it is not that.
    pub(super) fn decode(input: &mut &[u8], markers: bool) -> Option<Self> {
        let count = input.try_get_u32().ok()?;
        let mut by_id = HashMap::new();
        for _ in 0..count {
            let id = input.try_get_i64().ok()?;
            let epoch = ProducerEpoch(input.try_get_i16().ok()?);
            let last_append = input.try_get_i64().ok()?;
            let marker = if markers {
                let marker_epoch = ProducerEpoch(input.try_get_i16().ok()?);
                let coordinator_epoch = input.try_get_i32().ok()?;
                (marker_epoch.0 >= 0).then_some((marker_epoch, coordinator_epoch))
            } else {
                None
            };
            let mut batches = VecDeque::with_capacity(CACHED_BATCHES);
            for _ in 0..input.try_get_u8().ok()? {
                batches.push_back(Appended {
                    first_sequence: input.try_get_i32().ok()?,
                    last_sequence: input.try_get_i32().ok()?,
                    base_offset: input.try_get_i64().ok()?,
                    timestamp: input.try_get_i64().ok()?,
                });
            }
            by_id.insert(
                id,
                Producer {
                    epoch,
                    batches,
                    last_append,
                    marker,
                },
            );
        }
        Some(Self { by_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LeaderEpoch;

    const DAY_MS: i64 = 86_400_000;

    fn header(epoch: i16, first: i32, count: i32, base_offset: Offset) -> Header {
        Header {
            base_offset,
            size_bytes: 100,
            leader_epoch: LeaderEpoch(1),
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 5,
            max_timestamp: 5,
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: first,
            record_count: count,
        }
    }

    fn after(headers: &[Header]) -> Producers {
        let mut producers = Producers::default();
        for header in headers {
            assert_eq!(producers.check(header, 0, DAY_MS), Ok(None));
            producers.appended(header, 0);
        }
        producers
    }

    #[test]
    fn the_last_five_batches_are_recognised_and_the_sixth_is_not() {
        let headers: Vec<_> = (0..6)
            .map(|i| header(0, i * 2, 2, i64::from(i) * 2))
            .collect();
        let producers = after(&headers);
        let again = producers.check(&headers[1], 0, DAY_MS).unwrap().unwrap();
        assert_eq!((again.base_offset, again.next_offset()), (2, 4));
        assert!(producers.check(&headers[0], 0, DAY_MS).is_err());
    }

    #[test]
    fn gaps_overlaps_and_old_epochs_are_refused() {
        let producers = after(&[header(1, 0, 5, 0)]);
        let check = |h| producers.check(&h, 0, DAY_MS);
        assert!(matches!(
            check(header(1, 6, 1, 5)),
            Err(ProducerError::OutOfOrder { expected: 5, .. })
        ));
        assert!(matches!(
            check(header(1, 3, 5, 5)),
            Err(ProducerError::OutOfOrder { .. })
        ));
        assert!(matches!(
            check(header(0, 5, 1, 5)),
            Err(ProducerError::FencedEpoch { .. })
        ));
        assert!(matches!(
            check(header(2, 7, 1, 5)),
            Err(ProducerError::OutOfOrder { expected: 0, .. })
        ));
        assert_eq!(check(header(2, 0, 1, 5)), Ok(None));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let producers = after(&[header(0, i32::MAX, 1, 0)]);
        assert_eq!(producers.check(&header(0, 0, 3, 1), 0, DAY_MS), Ok(None));
        let wrapped = after(&[header(0, i32::MAX - 1, 4, 0)]);
        assert_eq!(wrapped.check(&header(0, 2, 1, 4), 0, DAY_MS), Ok(None));
        let again = wrapped
            .check(&header(0, i32::MAX - 1, 4, 0), 0, DAY_MS)
            .unwrap()
            .unwrap();
        assert_eq!(again.next_offset(), 4);
    }

    #[test]
    fn an_expired_producer_may_start_anywhere() {
        let mut producers = after(&[header(0, 0, 5, 0)]);
        assert_eq!(
            producers.check(&header(0, 90, 1, 5), DAY_MS, DAY_MS),
            Ok(None)
        );
        producers.expire(DAY_MS, DAY_MS, |_| true);
        assert_ne!(producers, Producers::default());
        producers.expire(DAY_MS, DAY_MS, |_| false);
        assert_eq!(producers, Producers::default());
    }

    #[test]
    fn encoding_gives_the_same_back() {
        let mut producers = after(&[header(0, 0, 5, 0), header(0, 5, 1, 5)]);
        for marked in [false, true] {
            if marked {
                producers.marked(&marker(0), 0);
            }
            let mut bytes = Vec::new();
            producers.encode(&mut bytes);
            let read = |bytes: &[u8]| Producers::decode(&mut &bytes[..], true);
            assert_eq!(read(&bytes), Some(producers.clone()));
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
        }
    }

    fn marker(epoch: i16) -> Marker {
        Marker {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(epoch),
            committed: true,
            coordinator_epoch: 3,
        }
    }

    #[test]
    fn sequences_go_on_behind_a_marker_unless_it_begins_an_epoch() {
        let mut producers = after(&[header(0, 0, 5, 0)]);
        producers.marked(&marker(0), 0);
        assert_eq!(producers.check(&header(0, 5, 1, 6), 0, DAY_MS), Ok(None));
        producers.marked(&marker(1), 0);
        let check = |h| producers.check(&h, 0, DAY_MS);
        assert!(matches!(
            check(header(0, 5, 1, 6)),
            Err(ProducerError::FencedEpoch { .. })
        ));
        assert!(matches!(
            check(header(1, 5, 1, 6)),
            Err(ProducerError::OutOfOrder { expected: 0, .. })
        ));
        assert_eq!(check(header(1, 0, 1, 6)), Ok(None));
    }

    #[test]
    fn a_marker_is_new_once_and_fenced_by_later_ones() {
        let mut producers = after(&[header(1, 0, 5, 0)]);
        assert!(matches!(
            producers.check_marker(&marker(0), true),
            Err(ProducerError::FencedEpoch { .. })
        ));
        assert_eq!(producers.check_marker(&marker(1), true), Ok(true));
        producers.marked(&marker(1), 0);
        assert_eq!(producers.check_marker(&marker(1), false), Ok(false));
        assert_eq!(producers.check_marker(&marker(1), true), Ok(true));
        assert_eq!(producers.check_marker(&marker(2), false), Ok(true));
        let mut old = marker(1);
        old.coordinator_epoch = 2;
        assert!(matches!(
            producers.check_marker(&old, true),
            Err(ProducerError::FencedCoordinator { .. })
        ));
    }
}
