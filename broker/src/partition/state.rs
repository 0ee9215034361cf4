//! What an append means to a partition: offsets, producers, transactions, leader epochs. Pure: no clock,
//! no I/O.

use std::collections::HashMap;

use bytes::{Buf, BufMut};

use super::batch::{CheckedBatch, Header};
use super::control::Marker;
use super::epochs::Epochs;
use super::producers::{ActiveProducer, Appended, ProducerError, Producers};
use super::transactions::{AbortedTransaction, Transactions};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// Format of the checkpoint row.
const CHECKPOINT_FORMAT: u8 = 2;
/// The format before there were transactions.
const CHECKPOINT_FORMAT_PLAIN: u8 = 1;

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

/// A marker that has its place, ready to be stored.
#[derive(Debug)]
pub(super) struct Marked {
    /// The stamped control batch.
    pub batch: CheckedBatch,
    /// The transaction that it aborts, if it does.
    pub aborted: Option<AbortedTransaction>,
}

/// The state that one partition's leader keeps of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    log_end: Offset,
    leader_epoch: LeaderEpoch,
    producers: Producers,
    transactions: Transactions,
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
            transactions: Transactions::default(),
            epochs: Epochs::default(),
            checkpoint_bytes: 0,
            since_checkpoint_bytes: 0,
        })
    }

    /// Takes in the stored batch `bytes`. Its producer counts as seen `now`: a client's own timestamps
    /// say nothing about when it was last here.
    pub(super) fn replay(&mut self, header: &Header, bytes: &[u8], now: Timestamp) {
        self.epochs.begin(header.leader_epoch, header.base_offset);
        if header.is_control() {
            if let Some(marker) = Marker::parse(header, bytes) {
                self.producers.marked(&marker, now);
                self.transactions
                    .ended(marker.producer_id, header.base_offset);
                self.transactions.durable(header.base_offset);
            }
        } else if header.has_producer() {
            self.appended(header, now);
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

    /// Takes in `bytes`, a batch of the log that this one mirrors, at its own offset and epoch; the
    /// transaction that it aborts, if it does. The batch is behind [`State::log_end`].
    pub(super) fn mirror(
        &mut self,
        header: &Header,
        bytes: &[u8],
        now: Timestamp,
    ) -> Option<AbortedTransaction> {
        self.epochs.begin(header.leader_epoch, header.base_offset);
        let mut aborted = None;
        if header.is_control() {
            if let Some(marker) = Marker::parse(header, bytes) {
                self.producers.marked(&marker, now);
                let producer_id = marker.producer_id;
                let first = self.transactions.ended(producer_id, header.base_offset);
                aborted =
                    first
                        .filter(|_| !marker.committed)
                        .map(|first_offset| AbortedTransaction {
                            producer_id,
                            first_offset,
                            last_offset: header.base_offset,
                        });
            }
        } else if header.has_producer() {
            self.appended(header, now);
        }
        self.log_end = header.next_offset();
        self.since_checkpoint_bytes += header.size_bytes;
        aborted
    }

    /// The mirrored log has nothing below `offset` that is not here.
    pub(super) fn skip_to(&mut self, offset: Offset) {
        self.log_end = self.log_end.max(offset);
    }

    /// The mirrored log holds no batch that says of which epoch it is; what comes is of `epoch`.
    pub(super) fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        if self.epochs.latest().is_none() {
            self.epochs.begin(epoch, self.log_end);
        }
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
        if batch.header.has_producer() {
            let header = &batch.header;
            if let Some(appended) = self.producers.check(header, now, producer_expiration_ms)? {
                return Ok(Verdict::Duplicate(appended));
            }
            let producer_id = header.producer_id;
            if !header.is_transactional() && self.transactions.first_offset(producer_id).is_some() {
                return Err(ProducerError::OutsideTransaction { producer_id });
            }
        }
        let base_offset = self.log_end;
        batch.stamp(base_offset, self.leader_epoch);
        self.log_end = batch.header.next_offset();
        self.since_checkpoint_bytes += batch.bytes.len();
        if batch.header.has_producer() {
            self.appended(&batch.header, now);
        }
        Ok(Verdict::New(base_offset))
    }

    fn appended(&mut self, header: &Header, now: Timestamp) {
        self.producers.appended(header, now);
        // One that compaction has emptied has nothing to be decided.
        if header.is_transactional() && header.record_count > 0 {
            self.transactions
                .wrote(header.producer_id, header.base_offset);
        }
    }

    /// Decides on the end of a transaction; `None` if it was written before.
    pub(super) fn append_marker(
        &mut self,
        marker: &Marker,
        now: Timestamp,
    ) -> Result<Option<Marked>, ProducerError> {
        let open = self.transactions.first_offset(marker.producer_id).is_some();
        if !self.producers.check_marker(marker, open)? {
            return Ok(None);
        }
        let mut batch = marker.batch(now);
        let offset = self.log_end;
        batch.stamp(offset, self.leader_epoch);
        self.log_end = batch.header.next_offset();
        self.since_checkpoint_bytes += batch.bytes.len();
        self.producers.marked(marker, now);
        let ended = self.transactions.ended(marker.producer_id, offset);
        let aborted = ended
            .filter(|_| !marker.committed)
            .map(|first_offset| AbortedTransaction {
                producer_id: marker.producer_id,
                first_offset,
                last_offset: offset,
            });
        Ok(Some(Marked { batch, aborted }))
    }

    /// The marker at `offset` is durable.
    pub(super) fn marker_durable(&mut self, offset: Offset) {
        self.transactions.durable(offset);
    }

    /// Offset of the earliest record whose transaction is not known to be decided; the highest number
    /// if there is none.
    pub(super) fn first_unstable(&self) -> Offset {
        self.transactions.first_unstable().unwrap_or(Offset::MAX)
    }

    /// The producers that are remembered.
    pub(super) fn active_producers(&self) -> Vec<ActiveProducer> {
        let mut all = self.producers.active();
        for producer in &mut all {
            producer.open_since = self.transactions.first_offset(producer.id);
        }
        all
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
        Some(self.checkpoint(now, log_start, producer_expiration_ms))
    }

    /// A checkpoint of all that was appended so far.
    pub(super) fn checkpoint(
        &mut self,
        now: Timestamp,
        log_start: Offset,
        producer_expiration_ms: i64,
    ) -> Vec<u8> {
        let transactions = &self.transactions;
        self.producers
            .expire(now, producer_expiration_ms, |producer| {
                transactions.first_offset(producer).is_some()
            });
        self.epochs.trim(log_start);
        let bytes = self.encode();
        self.checkpoint_bytes = bytes.len();
        self.since_checkpoint_bytes = 0;
        bytes
    }

    /// The base offset of the last batch of each producer.
    pub(super) fn last_batches(&self) -> HashMap<i64, Offset> {
        self.producers.last_batches()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(CHECKPOINT_FORMAT);
        out.put_i64(self.log_end);
        self.epochs.encode(&mut out);
        self.producers.encode(&mut out);
        self.transactions.encode(&mut out);
        out
    }

    fn decode(mut input: &[u8]) -> Option<Self> {
        let checkpoint_bytes = input.len();
        let with_transactions = match input.try_get_u8().ok()? {
            CHECKPOINT_FORMAT => true,
            CHECKPOINT_FORMAT_PLAIN => false,
            _ => return None,
        };
        let log_end = input.try_get_i64().ok()?;
        let epochs = Epochs::decode(&mut input)?;
        let producers = Producers::decode(&mut input, with_transactions)?;
        let transactions = match with_transactions {
            true => Transactions::decode(&mut input)?,
            false => Transactions::default(),
        };
        Some(Self {
            log_end,
            leader_epoch: LeaderEpoch(-1),
            producers,
            transactions,
            epochs,
            checkpoint_bytes,
            since_checkpoint_bytes: 0,
        })
    }
}
