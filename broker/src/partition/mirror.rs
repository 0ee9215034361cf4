//! Following a log of another cluster: batches come with their offsets and epochs and are stored as
//! they are, with the state that their leader rebuilt from them.
//!
//! A partition has one kind of writer. A mirrored one is written here alone, until the topic is
//! promoted: then it is sealed at its exact end, the metadata say so, and clients write on from there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use trestle_storage::{EntryFormat, NewEntry, WriteSet};

use super::batch::{CRC_FROM, HEADER_BYTES, Header, MAGIC, MAGIC_START};
use super::leader::{AppendError, Partition, checkpoint_key, from_offset, refusal, to_offset};
use crate::metadata::log_rows;
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// Who appends: clients, the bridge, nobody for a moment.
pub(super) const CLIENTS: u8 = 0;
pub(super) const MIRRORED: u8 = 1;
const SEALED: u8 = 2;

/// A batch of another log, whole and undamaged.
#[derive(Clone, Debug)]
pub struct MirroredBatch {
    /// What its header says.
    pub header: Header,
    /// Its bytes, as the source has them.
    pub bytes: Bytes,
}

/// Why batches of another log were not taken in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MirrorError {
    /// Clients write the partition, or are about to.
    #[error("the topic is promoted")]
    Promoted,
    /// It has its own records where the batch belongs.
    #[error("a batch of offsets {first} to {last} comes where this log ends at {end}")]
    Overlap {
        /// First offset of the batch.
        first: Offset,
        /// Its last.
        last: Offset,
        /// End of this log.
        end: Offset,
    },
    /// The bytes are not what a broker stores.
    #[error("{0}")]
    Invalid(String),
    /// It is in the format before Kafka 0.11.
    #[error("message format {magic} at offset {offset}")]
    OldFormat {
        /// 0 or 1.
        magic: i8,
        /// Where.
        offset: Offset,
    },
    /// Storage, or the topic is gone.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Cuts what a source sent into batches and checks each; one that is cut off at the end is left out,
/// and the size that it says is returned. What is wrong with a batch is said when it is the first: those before
/// it are good.
pub fn check_mirrored(
    mut bytes: Bytes,
) -> Result<(Vec<MirroredBatch>, Option<usize>), MirrorError> {
    let mut batches = Vec::new();
    while bytes.len() > MAGIC_START {
        match first_batch(&mut bytes) {
            Ok(First::Whole(batch)) => batches.push(batch),
            Ok(First::Cut(size)) => return Ok((batches, size)),
            Err(error) if batches.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok((batches, None))
}

enum First {
    Whole(MirroredBatch),
    /// Cut off; how large it is, if so much is there.
    Cut(Option<usize>),
}

fn first_batch(bytes: &mut Bytes) -> Result<First, MirrorError> {
    let invalid =
        |why: &str, offset: Offset| MirrorError::Invalid(format!("{why} at offset {offset}"));
    let magic = bytes[MAGIC_START].cast_signed();
    if magic != MAGIC {
        let offset = bytes[..8].try_into().map_or(-1, i64::from_be_bytes);
        return Err(match magic {
            0 | 1 => MirrorError::OldFormat { magic, offset },
            _ => invalid("an unknown message format", offset),
        });
    }
    if bytes.len() < HEADER_BYTES {
        return Ok(First::Cut(None));
    }
    let header = Header::parse(bytes)
        .ok_or_else(|| MirrorError::Invalid("a batch shorter than its header".into()))?;
    let offset = header.base_offset;
    if header.size_bytes > bytes.len() {
        return Ok(First::Cut(Some(header.size_bytes)));
    }
    let records = i64::from(header.record_count);
    let delta = i64::from(header.last_offset_delta);
    let spans = offset >= 0 && delta >= 0 && offset.checked_add(delta + 1).is_some();
    if !spans || records < 0 || records > delta + 1 {
        return Err(invalid("a batch with impossible offsets", offset));
    }
    if header.codec().is_none() {
        return Err(invalid("a batch of an unknown codec", offset));
    }
    let bytes = bytes.split_to(header.size_bytes);
    if crc32c::crc32c(&bytes[CRC_FROM..]) != header.crc {
        return Err(invalid("a batch with a wrong checksum", offset));
    }
    Ok(First::Whole(MirroredBatch { header, bytes }))
}

impl Partition {
    /// Whether the bridge writes it.
    pub fn is_mirrored(&self) -> bool {
        self.writer.load(Ordering::Acquire) != CLIENTS
    }

    /// Where the next batch of the source belongs, and the epoch of the one before it.
    /// [`Partition::prepare`] must have succeeded.
    pub fn mirror_end(&self) -> (Offset, Option<LeaderEpoch>) {
        let state = self.lock();
        (state.log_end(), state.epochs().latest())
    }

    /// Queues batches of the source; those that are here already are left out. Returns where the log
    /// then ends. [`Partition::prepare`] must have succeeded.
    ///
    /// # Errors
    /// A partition that is not mirrored, a batch that does not belong at the end.
    pub fn mirror(
        self: &Arc<Self>,
        batches: Vec<MirroredBatch>,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) -> Result<Offset, MirrorError> {
        if self.is_gone() {
            return Err(AppendError::Gone.into());
        }
        if let Some(refusal) = refusal(&self.store.state().borrow()) {
            return Err(refusal.into());
        }
        let mut state = self.lock();
        if self.writer.load(Ordering::Acquire) != MIRRORED {
            return Err(MirrorError::Promoted);
        }
        let mut end = state.log_end();
        let mut fresh = Vec::with_capacity(batches.len());
        for batch in batches {
            let header = &batch.header;
            if header.next_offset() <= end {
                continue;
            }
            if header.base_offset < end {
                return Err(MirrorError::Overlap {
                    first: header.base_offset,
                    last: header.next_offset() - 1,
                    end,
                });
            }
            end = header.next_offset();
            fresh.push(batch);
        }
        if fresh.is_empty() {
            return Ok(end);
        }
        let log_start = to_offset(self.log.bounds().start_offset);
        let mut write_set = WriteSet::new();
        let mut size_bytes = 0;
        let mut last_marker = None;
        for MirroredBatch { header, bytes } in fresh {
            let aborted = state.mirror(&header, &bytes, now);
            if header.is_control() {
                last_marker = Some(header.base_offset);
            }
            if let Some(aborted) = aborted {
                write_set.put_row(
                    log_rows::aborted_at(self.log.key(), from_offset(aborted.last_offset)),
                    aborted.encode(),
                );
                self.aborted.write().push(aborted);
            }
            size_bytes += bytes.len();
            let span = header.next_offset() - header.base_offset;
            write_set.append(
                &self.log,
                NewEntry {
                    first_offset: from_offset(header.base_offset),
                    count: u32::try_from(span).unwrap_or(u32::MAX),
                    // Nobody looks for a marker by its time.
                    max_timestamp: if header.is_control() {
                        -1
                    } else {
                        header.max_timestamp
                    },
                    format: EntryFormat::Batch,
                    payload: bytes,
                },
            );
        }
        if let Some(row) = state.checkpoint_if_due(now, log_start, producer_expiration_ms) {
            write_set.put_row(checkpoint_key(&self.log), row);
        }
        self.first_unstable
            .store(state.first_unstable(), Ordering::Release);
        let partition = self.clone();
        self.store.commit(write_set, move |result| {
            let result = result.map(drop).map_err(AppendError::from);
            match last_marker {
                Some(offset) => partition.marker_landed(offset, size_bytes, &result),
                None => partition.tell_published(size_bytes, &result),
            }
        });
        Ok(end)
    }

    /// Moves the log start to where the source's is, and beyond the end the end too. Returns when that is
    /// durable. The batch that holds `start`, if there is one, must have been mirrored.
    pub async fn mirror_start(
        &self,
        start: Offset,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) -> Result<(), AppendError> {
        let durable = {
            let mut state = self.state(now).await?.lock();
            if self.writer.load(Ordering::Acquire) != MIRRORED {
                return Ok(());
            }
            let mut write_set = WriteSet::new();
            write_set.trim(&self.log, from_offset(start));
            state.skip_to(start);
            for gone in self.aborted.write().trim(start) {
                write_set.delete_row(log_rows::aborted_at(
                    self.log.key(),
                    from_offset(gone.last_offset),
                ));
            }
            let row = state.checkpoint(now, start, producer_expiration_ms);
            write_set.put_row(checkpoint_key(&self.log), row);
            self.commit(write_set)
        };
        durable.await
    }

    /// The source's leader is in `epoch`, and everything of it is here: an offset that was committed with
    /// that epoch is known then, also where all records are gone.
    pub fn mirror_epoch(&self, epoch: LeaderEpoch) {
        if let Some(state) = self.state.get() {
            let mut state = state.lock();
            if self.writer.load(Ordering::Acquire) == MIRRORED {
                state.begin_epoch(epoch);
            }
        }
    }

    /// Takes no more batches of the source, if the log ends at `end`; else says where it ends.
    pub async fn seal(&self, end: Offset, now: Timestamp) -> Result<(), MirrorError> {
        let state = self.state(now).await?.lock();
        if self.writer.load(Ordering::Acquire) == CLIENTS {
            return Err(MirrorError::Promoted);
        }
        if state.log_end() != end {
            return Err(MirrorError::Overlap {
                first: end,
                last: end,
                end: state.log_end(),
            });
        }
        self.writer.store(SEALED, Ordering::Release);
        Ok(())
    }

    /// Undoes [`Partition::seal`].
    pub fn unseal(&self) {
        // Where it was not sealed, nothing is undone.
        let _ = self
            .writer
            .compare_exchange(SEALED, MIRRORED, Ordering::AcqRel, Ordering::Acquire);
    }

    /// What the metadata say now: the epoch that clients are told of, and whether the bridge writes on.
    pub(super) fn follow(&self, epoch: LeaderEpoch, mirrored: bool) {
        if mirrored {
            self.leader_epoch.fetch_max(epoch.0, Ordering::AcqRel);
            return;
        }
        match self.state.get() {
            Some(state) => {
                let mut state = state.lock();
                self.leader_epoch.fetch_max(epoch.0, Ordering::AcqRel);
                let end = state.log_end();
                state.lead(self.leader_epoch(), end);
                self.writer.store(CLIENTS, Ordering::Release);
            }
            // Loading begins the epoch.
            None => {
                self.leader_epoch.fetch_max(epoch.0, Ordering::AcqRel);
                self.writer.store(CLIENTS, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
