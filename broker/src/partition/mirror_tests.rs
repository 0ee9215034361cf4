//! Tests of what a source may send, and of the state that is rebuilt from it.

use bytes::{BufMut, BytesMut};

use super::*;
use crate::partition::batch::CheckedBatch;
use crate::partition::control::Marker;
use crate::partition::records::{Record, pack};
use crate::partition::state::State;
use crate::types::{ProducerEpoch, ProducerId};

/// A batch of `count` records, as a leader has stored it.
fn stored(base_offset: Offset, epoch: i32, count: usize) -> BytesMut {
    let mut bytes = pack(&vec![Record::default(); count]);
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    bytes
}

/// The same by a producer, as part of a transaction.
fn transactional(base_offset: Offset, producer: i64, sequence: i32) -> BytesMut {
    let mut bytes = stored(base_offset, 1, 2);
    bytes[21..23].copy_from_slice(&(1i16 << 4).to_be_bytes());
    bytes[43..51].copy_from_slice(&producer.to_be_bytes());
    bytes[51..53].copy_from_slice(&0i16.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn marker(offset: Offset, producer: i64, committed: bool) -> BytesMut {
    let marker = Marker {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        committed,
        coordinator_epoch: 3,
    };
    let mut batch: CheckedBatch = marker.batch(5);
    batch.stamp(offset, LeaderEpoch(1));
    batch.bytes
}

fn take(state: &mut State, bytes: BytesMut) -> Option<crate::partition::AbortedTransaction> {
    let (batches, cut) = check_mirrored(bytes.freeze()).unwrap();
    assert_eq!((batches.len(), cut), (1, None));
    state.mirror(&batches[0].header, &batches[0].bytes, 0)
}

#[test]
fn whole_batches_are_taken_and_a_cut_one_is_left() {
    let mut sent = stored(10, 3, 2);
    sent.extend_from_slice(&stored(20, 4, 1));
    let whole = sent.len();
    sent.extend_from_slice(&stored(21, 4, 5));
    let size = sent.len() - whole;
    for cut in whole..sent.len() {
        let (batches, left) = check_mirrored(sent.clone().freeze().slice(..cut)).unwrap();
        let bases: Vec<_> = batches
            .iter()
            .map(|batch| batch.header.base_offset)
            .collect();
        assert_eq!(bases, [10, 20]);
        assert!(left.is_none_or(|left| left == size));
        let bytes: Vec<u8> = batches
            .iter()
            .flat_map(|batch| batch.bytes.to_vec())
            .collect();
        assert_eq!(bytes, sent[..whole]);
    }
    let (batches, _) = check_mirrored(sent.freeze()).unwrap();
    assert_eq!(batches.len(), 3);
}

#[test]
fn what_no_broker_stores_is_refused() {
    let good = stored(10, 3, 2);
    let damaged = |at: usize, bytes: &[u8]| {
        let mut batch = good.clone();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        check_mirrored(batch.freeze()).unwrap_err()
    };
    assert!(matches!(damaged(60, b"\xff"), MirrorError::Invalid(_)));
    assert!(matches!(
        damaged(0, &(-1i64).to_be_bytes()),
        MirrorError::Invalid(_)
    ));
    assert!(matches!(
        damaged(0, &i64::MAX.to_be_bytes()),
        MirrorError::Invalid(_)
    ));
    assert!(matches!(
        damaged(8, &5i32.to_be_bytes()),
        MirrorError::Invalid(_)
    ));
    assert!(matches!(
        damaged(23, &(-2i32).to_be_bytes()),
        MirrorError::Invalid(_)
    ));
    assert!(matches!(
        damaged(57, &3i32.to_be_bytes()),
        MirrorError::Invalid(_)
    ));
    assert!(matches!(damaged(16, b"\x05"), MirrorError::Invalid(_)));
    let old = damaged(16, b"\x01");
    assert!(matches!(
        old,
        MirrorError::OldFormat {
            magic: 1,
            offset: 10
        }
    ));
}

#[test]
fn a_mirrored_log_has_the_transactions_and_producers_of_its_source() {
    let mut state = State::restore(None, 0);
    assert_eq!(take(&mut state, stored(5, 1, 2)), None);
    assert_eq!(take(&mut state, transactional(10, 7, 0)), None);
    assert_eq!(state.first_unstable(), 10);
    let aborted = take(&mut state, marker(12, 7, false)).unwrap();
    assert_eq!((aborted.first_offset, aborted.last_offset), (10, 12));
    // Until the marker is durable the end is not known.
    assert_eq!(state.first_unstable(), 10);
    state.marker_durable(12);
    assert_eq!(state.first_unstable(), Offset::MAX);
    assert_eq!(take(&mut state, transactional(20, 7, 2)), None);
    assert_eq!(take(&mut state, marker(22, 7, true)), None);
    state.marker_durable(22);
    assert_eq!(state.log_end(), 23);
    let producers = state.active_producers();
    assert_eq!(producers.len(), 1);
    assert_eq!(
        (producers[0].last_sequence, producers[0].coordinator_epoch),
        (3, 3)
    );
}

#[test]
fn epochs_of_the_source_are_kept_and_a_new_one_begins_with_promotion() {
    let mut state = State::restore(None, 0);
    take(&mut state, stored(0, 2, 2));
    take(&mut state, stored(7, 5, 1));
    state.skip_to(8);
    assert_eq!(
        state.epochs().end_offset(LeaderEpoch(2), 8),
        Some((LeaderEpoch(2), 7))
    );
    assert_eq!(
        state.epochs().end_offset(LeaderEpoch(5), 8),
        Some((LeaderEpoch(5), 8))
    );
    state.lead(LeaderEpoch(9), 8);
    assert_eq!(
        state.epochs().end_offset(LeaderEpoch(5), 8),
        Some((LeaderEpoch(5), 8))
    );
    let again = State::restore(Some(&state.checkpoint(0, 0, 1000)), 0);
    assert_eq!(again.epochs(), state.epochs());
}

#[test]
fn a_batch_that_compaction_has_emptied_opens_no_transaction() {
    let mut bytes = transactional(10, 7, 0);
    bytes.truncate(HEADER_BYTES);
    bytes[8..12].copy_from_slice(&(HEADER_BYTES as i32 - 12).to_be_bytes());
    bytes[57..61].copy_from_slice(&0i32.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let mut state = State::restore(None, 0);
    take(&mut state, bytes);
    assert_eq!((state.first_unstable(), state.log_end()), (Offset::MAX, 12));
    let mut nothing = BytesMut::new();
    nothing.put_u8(0);
    assert!(check_mirrored(nothing.freeze()).unwrap().0.is_empty());
}
