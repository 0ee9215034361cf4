//! Appending to several logs at once, all or none.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::MutexGuard;
use tokio::sync::oneshot;
use trestle_storage::{EntryFormat, Log, NewEntry, Store, WriteSet};

use super::batch::CheckedBatch;
use super::leader::{AppendError, Partition, unless_stalled};
use super::state::State;
use crate::types::Timestamp;

/// What goes to one log. Several may go to the same.
#[derive(Debug)]
pub enum Part {
    /// A batch to a partition, for which [`Partition::prepare`] has succeeded.
    Batch(Arc<Partition>, CheckedBatch),
    /// A value to a log that is no partition.
    Value(Log, Bytes),
}

/// When an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// When the records have their sequences; only a crash of the process can take them back.
    Written,
    /// When they would survive a crash.
    Durable,
}

/// Appends `parts`, in their order, as one commit of `store`, and answers the sequence of the first
/// record; the others follow it.
///
/// # Errors
/// As [`Partition::append`]; nothing was appended then, but for a store that failed meanwhile.
pub async fn append_together(
    store: &Store,
    parts: Vec<Part>,
    wait: Wait,
    now: Timestamp,
    producer_expiration_ms: i64,
) -> Result<u64, AppendError> {
    let (send, answer) = oneshot::channel();
    queue(store, parts, wait, now, producer_expiration_ms, send)?;
    unless_stalled(answer, store.state()).await
}

/// Gives all batches their offsets and queues them, under the locks of all their partitions.
fn queue(
    store: &Store,
    parts: Vec<Part>,
    wait: Wait,
    now: Timestamp,
    producer_expiration_ms: i64,
    send: oneshot::Sender<Result<u64, AppendError>>,
) -> Result<(), AppendError> {
    let mut partitions: Vec<Arc<Partition>> = Vec::new();
    for part in &parts {
        if let Part::Batch(partition, _) = part {
            partition.check_open()?;
            partitions.push(Arc::clone(partition));
        }
    }
    // One order for everybody who takes several locks.
    partitions.sort_by_key(|partition| Arc::as_ptr(partition) as usize);
    partitions.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let mut states: Vec<MutexGuard<'_, State>> = partitions
        .iter()
        .map(|partition| partition.lock())
        .collect();

    let mut write_set = WriteSet::new();
    let mut published = Vec::new();
    for part in parts {
        match part {
            Part::Batch(partition, batch) => {
                let at = partitions
                    .iter()
                    .position(|known| Arc::ptr_eq(known, &partition))
                    .expect("all partitions are locked");
                let bytes = batch.bytes.len();
                let state = &mut states[at];
                partition.put(state, batch, now, producer_expiration_ms, &mut write_set)?;
                published.push((partition, bytes));
            }
            Part::Value(log, payload) => write_set.append(
                &log,
                NewEntry {
                    first_offset: NewEntry::AT_END,
                    count: 1,
                    max_timestamp: now,
                    format: EntryFormat::Raw,
                    payload,
                },
            ),
        }
    }
    let (early, late) = match wait {
        Wait::Written => (Some(send), None),
        Wait::Durable => (None, Some(send)),
    };
    let answer = |send: Option<oneshot::Sender<_>>, result: trestle_storage::Result<_>| {
        if let Some(send) = send {
            let first =
                |committed: trestle_storage::Committed| committed.first_sequence.unwrap_or(0);
            // The client may have gone; its records stay.
            let _ = send.send(result.map(first).map_err(AppendError::from));
        }
    };
    store.commit_early(
        write_set,
        move |result| answer(early, result),
        move |result| {
            let outcome = result.clone().map(drop).map_err(AppendError::from);
            for (partition, bytes) in published {
                partition.tell_published(bytes, &outcome);
            }
            answer(late, result);
        },
    );
    Ok(())
}
