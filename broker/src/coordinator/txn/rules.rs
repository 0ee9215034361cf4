//! What each command makes of a transactional id: Kafka's `TransactionMetadata` and
//! `TransactionCoordinator`, without their locks.
//!
//! Each rule takes the transaction as it is and gives what becomes of it, if anything, and what the
//! caller is told.

use super::commands::{Command, Reply, TransactionError};
use super::rows::{Standing, Transaction};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

/// From this epoch on the producer gets a new id, so that there is always one more to fence it with.
const LAST_EPOCH: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// What a command comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The transaction from now on, if it changes.
    pub next: Option<Transaction>,
    pub outcome: Outcome,
}

/// What its caller is told, and when.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Now(Reply),
    /// That the end is done, when it is.
    WhenComplete,
    /// The same is asked again when the end that is under way is done.
    Hold,
}

impl Step {
    fn refused(error: TransactionError) -> Self {
        Self::now(None, Reply::Refused(error))
    }

    fn now(next: Option<Transaction>, reply: Reply) -> Self {
        Self {
            next,
            outcome: Outcome::Now(reply),
        }
    }

    fn changed(next: Transaction) -> Self {
        let reply = Reply::Producer(next.producer, next.epoch);
        Self::now(Some(next), reply)
    }

    fn unchanged(transaction: &Transaction) -> Self {
        Self::now(
            None,
            Reply::Producer(transaction.producer, transaction.epoch),
        )
    }

    fn hold(next: Option<Transaction>) -> Self {
        Self {
            next,
            outcome: Outcome::Hold,
        }
    }
}

/// What `command` makes of `transaction`. Only for commands that change one.
pub(super) fn judge(transaction: Option<&Transaction>, now: Timestamp, command: &Command) -> Step {
    match command {
        Command::Init {
            timeout_ms,
            expected,
            fresh,
            ..
        } => init(transaction, now, *timeout_ms, *expected, *fresh),
        Command::Add {
            producer,
            epoch,
            partitions,
            group,
            ..
        } => match owned(transaction, *producer, *epoch) {
            Ok(transaction) => {
                let all = partitions.iter();
                if transaction.standing.is_prepared() {
                    return Step::hold(None);
                }
                let ongoing = transaction.standing == Standing::Ongoing;
                let known = all.clone().all(|one| transaction.partitions.contains(one))
                    && group.iter().all(|one| transaction.groups.contains(one));
                if ongoing && known {
                    return Step::unchanged(transaction);
                }
                let mut next = transaction.clone();
                if !ongoing {
                    next.standing = Standing::Ongoing;
                    next.started = Some(now);
                    next.partitions.clear();
                    next.groups.clear();
                }
                next.updated = now;
                next.partitions.extend(all.copied());
                next.groups.extend(group.clone());
                Step::changed(next)
            }
            Err(error) => Step::refused(error),
        },
        Command::End {
            producer,
            epoch,
            commit,
            raise,
            fresh,
            ..
        } => end(
            transaction,
            now,
            (*producer, *epoch),
            *commit,
            *raise,
            *fresh,
        ),
        Command::MarkersWritten { .. } | Command::Describe { .. } | Command::List { .. } => {
            Step::refused(TransactionError::InvalidState)
        }
    }
}

/// The transaction, if `producer` in `epoch` may use it.
pub(super) fn owned(
    transaction: Option<&Transaction>,
    producer: ProducerId,
    epoch: ProducerEpoch,
) -> Result<&Transaction, TransactionError> {
    match transaction {
        Some(transaction) if transaction.producer == producer => {
            if transaction.epoch == epoch {
                Ok(transaction)
            } else {
                Err(TransactionError::Fenced)
            }
        }
        _ => Err(TransactionError::UnknownProducer),
    }
}

fn init(
    transaction: Option<&Transaction>,
    now: Timestamp,
    timeout_ms: i32,
    expected: Option<(ProducerId, ProducerEpoch)>,
    fresh: Option<ProducerId>,
) -> Step {
    let begun = |producer, epoch, previous| Transaction {
        producer,
        epoch,
        previous,
        successor: None,
        timeout_ms,
        standing: Standing::Empty,
        raised: false,
        started: None,
        updated: now,
        partitions: Default::default(),
        groups: Default::default(),
    };
    let Some(transaction) = transaction else {
        return match fresh {
            Some(fresh) => Step::changed(begun(fresh, ProducerEpoch(0), None)),
            None => Step::now(None, Reply::NeedsId),
        };
    };
    let current = (transaction.producer, transaction.epoch);
    if expected.is_some_and(|given| given != current && Some(given) != transaction.previous) {
        return Step::refused(TransactionError::Fenced);
    }
    match transaction.standing {
        Standing::PrepareCommit | Standing::PrepareAbort => Step::hold(None),
        Standing::Ongoing => {
            // The one before is fenced and its transaction aborted; then the same is asked again.
            if expected.is_some_and(|given| given != current) {
                return Step::refused(TransactionError::Fenced);
            }
            Step::hold(Some(fenced(transaction, now, expected)))
        }
        Standing::Empty | Standing::CompleteCommit | Standing::CompleteAbort => {
            if expected.is_some_and(|given| given != current) {
                // What was given is what the last change began with: its answer was lost.
                return Step::unchanged(transaction);
            }
            if transaction.epoch >= LAST_EPOCH {
                return match fresh {
                    Some(fresh) => Step::changed(begun(fresh, ProducerEpoch(0), expected)),
                    None => Step::now(None, Reply::NeedsId),
                };
            }
            Step::changed(begun(
                transaction.producer,
                raised(transaction.epoch),
                expected,
            ))
        }
    }
}

/// Aborts the open transaction of a producer that is to have no part in it any more.
pub(super) fn fenced(
    transaction: &Transaction,
    now: Timestamp,
    previous: Option<(ProducerId, ProducerEpoch)>,
) -> Transaction {
    Transaction {
        epoch: raised(transaction.epoch),
        previous,
        standing: Standing::PrepareAbort,
        raised: false,
        updated: now,
        ..transaction.clone()
    }
}

fn end(
    transaction: Option<&Transaction>,
    now: Timestamp,
    given: (ProducerId, ProducerEpoch),
    commit: bool,
    raise: bool,
    fresh: Option<ProducerId>,
) -> Step {
    // A retry has the epoch from before the end that it repeats.
    let retried = transaction.filter(|transaction| {
        let ended = transaction.standing.is_prepared() || transaction.standing.is_complete();
        raise && transaction.raised && ended && transaction.previous == Some(given)
    });
    let is_retry = retried.is_some();
    let transaction = match retried {
        Some(transaction) => transaction,
        None => match owned(transaction, given.0, given.1) {
            Ok(transaction) => transaction,
            Err(error) => return Step::refused(error),
        },
    };
    let exhausted = raise && transaction.epoch >= LAST_EPOCH;
    let invalid = || Step::refused(TransactionError::InvalidState);
    match (transaction.standing, commit) {
        (Standing::Ongoing, _) => {
            if exhausted && fresh.is_none() {
                return Step::now(None, Reply::NeedsId);
            }
            let mut next = transaction.clone();
            next.standing = match commit {
                true => Standing::PrepareCommit,
                false => Standing::PrepareAbort,
            };
            next.raised = raise;
            next.updated = now;
            if raise {
                next.previous = Some(given);
                next.epoch = raised(transaction.epoch);
                next.successor = fresh.filter(|_| exhausted);
            }
            Step {
                next: Some(next),
                outcome: Outcome::WhenComplete,
            }
        }
        (Standing::PrepareCommit, true) | (Standing::PrepareAbort, false) => {
            Step::refused(TransactionError::Concurrent)
        }
        (Standing::PrepareCommit, false) | (Standing::PrepareAbort, true) => invalid(),
        (Standing::CompleteCommit, true) | (Standing::CompleteAbort, false)
            if is_retry || !raise =>
        {
            Step::unchanged(transaction)
        }
        // Nothing is open: an abort still ends the epoch (KIP-890), a commit has nothing to say.
        (Standing::Empty | Standing::CompleteCommit | Standing::CompleteAbort, false)
            if raise && !is_retry =>
        {
            if exhausted && fresh.is_none() {
                return Step::now(None, Reply::NeedsId);
            }
            let mut next = transaction.clone();
            next.standing = Standing::CompleteAbort;
            next.raised = true;
            next.updated = now;
            next.previous = Some(given);
            match fresh.filter(|_| exhausted) {
                Some(fresh) => (next.producer, next.epoch) = (fresh, ProducerEpoch(0)),
                None => next.epoch = raised(transaction.epoch),
            }
            Step::changed(next)
        }
        (Standing::Empty | Standing::CompleteCommit | Standing::CompleteAbort, _) => invalid(),
    }
}

/// The transaction when everybody has been told of its end.
pub(super) fn completed(transaction: &Transaction, now: Timestamp) -> Transaction {
    let mut next = transaction.clone();
    next.standing = match transaction.standing {
        Standing::PrepareCommit => Standing::CompleteCommit,
        _ => Standing::CompleteAbort,
    };
    if let Some(successor) = next.successor.take() {
        (next.producer, next.epoch) = (successor, ProducerEpoch(0));
    }
    next.started = None;
    next.updated = now;
    next.partitions.clear();
    next.groups.clear();
    next
}

/// The producer and epoch that hold once a prepared end is done.
pub(super) fn after(transaction: &Transaction) -> Reply {
    match transaction.successor {
        Some(successor) => Reply::Producer(successor, ProducerEpoch(0)),
        None => Reply::Producer(transaction.producer, transaction.epoch),
    }
}

fn raised(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}
