//! What an append means to a partition: offsets, producers, leader epochs. Pure: no clock, no I/O.

use bytes::{Buf, BufMut};

use super::batch::{CheckedBatch, Header};
use super::epochs::Epochs;
use super::producers::{Appended, ProducerError, Producers};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// Format of the checkpoint row.
const CHECKPOINT_FORMAT: u8 = 1;

/// A checkpoint is written after this many bytes, or eight times its own size if that is more.
const CHECKPOINT_INTERVAL_BYTES: usize = 4 << 20;

/// What a batch was to a partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was given this base offset, and stamped.
    New(Offset),
    /// It is here already.
    Duplicate(Appended),
}

/// The state that one partition's leader keeps of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    log_end: Offset,
    leader_epoch: LeaderEpoch,
    producers: Producers,
    epochs: Epochs,
    checkpoint_bytes: usize,
    since_checkpoint_bytes: usize,
}

impl State {
    /// State as `checkpoint` holds it, or of an empty log that starts at `log_start`. Batches from
    /// [`State::log_end`] on are to be [replayed](State::replay), then leadership
    /// [begins](State::lead).
    pub(super) fn restore(checkpoint: Option<&[u8]>, log_start: Offset) -> Self {
        checkpoint.and_then(Self::decode).unwrap_or_else(|| Self {
            log_end: log_start,
            leader_epoch: LeaderEpoch(-1),
            producers: Producers::default(),
            epochs: Epochs::default(),
            checkpoint_bytes: 0,
            since_checkpoint_bytes: 0,
        })
    }

    /// Takes in a stored batch. Its producer counts as seen `now`: a client's own timestamps say
    /// nothing about when it was last here.
    pub(super) fn replay(&mut self, header: &Header, now: Timestamp) {
        self.epochs.begin(header.leader_epoch, header.base_offset);
        if header.has_producer() && !header.is_control() {
            self.producers.appended(header, now);
        }
        self.log_end = header.next_offset();
        self.since_checkpoint_bytes += header.size_bytes;
    }

    /// Begins to lead in `epoch`; the log ends at `log_end`.
    pub(super) fn lead(&mut self, epoch: LeaderEpoch, log_end: Offset) {
        self.log_end = self.log_end.max(log_end);
        self.leader_epoch = epoch;
        self.epochs.begin(epoch, self.log_end);
    }

    /// Offset that the next record gets.
    pub(super) fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Leader epochs and where they start.
    pub(super) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Decides on a batch; a new one is stamped and counted.
    pub(super) fn append(
        &mut self,
        batch: &mut CheckedBatch,
        now: Timestamp,
        producer_expiration_ms: i64,
    ) -> Result<Verdict, ProducerError> {
        if batch.header.has_producer()
            && let Some(appended) =
                self.producers
                    .check(&batch.header, now, producer_expiration_ms)?
        {
            return Ok(Verdict::Duplicate(appended));
        }
        let base_offset = self.log_end;
        batch.stamp(base_offset, self.leader_epoch);
        self.log_end = batch.header.next_offset();
        self.since_checkpoint_bytes += batch.bytes.len();
        if batch.header.has_producer() {
            self.producers.appended(&batch.header, now);
        }
        Ok(Verdict::New(base_offset))
    }

    /// A checkpoint of all that was appended so far, if one is due. It goes into the same commit as
    /// the batch that made it due, so it never speaks of what the log does not hold.
    pub(super) fn checkpoint_if_due(
        &mut self,
        now: Timestamp,
        log_start: Offset,
        producer_expiration_ms: i64,
    ) -> Option<Vec<u8>> {
        let due = CHECKPOINT_INTERVAL_BYTES.max(8 * self.checkpoint_bytes);
        if self.since_checkpoint_bytes < due {
            return None;
        }
        self.producers.expire(now, producer_expiration_ms);
        self.epochs.trim(log_start);
        let bytes = self.encode();
        self.checkpoint_bytes = bytes.len();
        self.since_checkpoint_bytes = 0;
        Some(bytes)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(CHECKPOINT_FORMAT);
        out.put_i64(self.log_end);
        self.epochs.encode(&mut out);
        self.producers.encode(&mut out);
        out
    }

    fn decode(mut input: &[u8]) -> Option<Self> {
        let checkpoint_bytes = input.len();
        if input.try_get_u8().ok()? != CHECKPOINT_FORMAT {
            return None;
        }
        let log_end = input.try_get_i64().ok()?;
        let epochs = Epochs::decode(&mut input)?;
        let producers = Producers::decode(&mut input)?;
        Some(Self {
            log_end,
            leader_epoch: LeaderEpoch(-1),
            producers,
            epochs,
            checkpoint_bytes,
            since_checkpoint_bytes: 0,
        })
    }
}
