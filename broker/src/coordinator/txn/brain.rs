//! The machine of the transaction coordinator: every transactional id, its deadlines, and who waits for
//! an end that is under way. Pure.
//!
//! An end is a row first (PrepareCommit or PrepareAbort), which decides it. Once that is durable the
//! [`Ending`] goes to the courier; its report, `MarkersWritten`, makes the row of completion. An end that
//! was decided and not completed is handed out again after a restart. Commands that come in between wait
//! for the completion, but not for long: Kafka refuses them at once with CONCURRENT_TRANSACTIONS, and
//! clients then ask again.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::commands::{Command, Ending, Reply, TransactionError, Until};
use super::rows::{self, Row, Standing, TopicPartition, Transaction};
use super::rules::{self, Outcome, Step};
use crate::coordinator::machine::{Decision, Machine, Ticket};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

/// A command waits for the end before it no longer than this; far less than clients wait for an answer.
const HOLD_MS: i64 = 5_000;

/// Transactional ids that are looked at in one go when their time has come.
const EXPIRE_AT_MOST: usize = 1_000;

/// No entity has this name, so that an answer about it leaves at once.
const NOBODY: &str = "";

/// What the coordinator of transactions remembers.
#[derive(Clone, Debug)]
pub struct Brain {
    id_expiration_ms: i64,
    coordinator_epoch: i32,
    transactions: BTreeMap<String, Transaction>,
    deadlines: BTreeSet<(Timestamp, String)>,
    held: BTreeMap<String, Vec<Held>>,
    held_until: BTreeSet<(Until, String)>,
}

#[derive(Clone, Debug)]
struct Held {
    ticket: Ticket,
    until: Until,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Wants to know that the end is done.
    End,
    /// Is asked again then.
    Again(Command),
}

/// How transactional ids stand, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// How many stand how.
    pub standings: BTreeMap<Standing, usize>,
    /// When the oldest transaction began that has not ended.
    pub oldest: Option<Timestamp>,
}

impl Brain {
    /// No transactional ids. Those that are idle for `id_expiration_ms` are forgotten; markers carry
    /// `coordinator_epoch`.
    pub fn new(id_expiration_ms: i64, coordinator_epoch: i32) -> Self {
        Self {
            id_expiration_ms,
            coordinator_epoch,
            transactions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            held: BTreeMap::new(),
            held_until: BTreeSet::new(),
        }
    }

    /// What is known of a transactional id.
    pub fn transaction(&self, id: &str) -> Option<&Transaction> {
        self.transactions.get(id)
    }

    /// How all ids stand, counted.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for transaction in self.transactions.values() {
            *census.standings.entry(transaction.standing).or_default() += 1;
            if transaction.standing == Standing::Ongoing
                && let Some(started) = transaction.started
            {
                census.oldest = Some(census.oldest.map_or(started, |oldest| oldest.min(started)));
            }
        }
        census
    }

    /// Whether `producer` in `epoch` may write to `partition` as part of its transaction now.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(
        &self,
        id: &str,
        producer: ProducerId,
        epoch: ProducerEpoch,
        partition: &TopicPartition,
    ) -> Result<(), TransactionError> {
        self.is_part(id, producer, epoch, |open| {
            open.partitions.contains(partition)
        })
    }

    /// Whether `producer` in `epoch` may commit offsets of `group` as part of its transaction now.
    ///
    /// # Errors
    /// Why not.
    pub fn verify_group(
        &self,
        id: &str,
        producer: ProducerId,
        epoch: ProducerEpoch,
        group: &str,
    ) -> Result<(), TransactionError> {
        self.is_part(id, producer, epoch, |open| open.groups.contains(group))
    }

    fn is_part(
        &self,
        id: &str,
        producer: ProducerId,
        epoch: ProducerEpoch,
        part: impl Fn(&Transaction) -> bool,
    ) -> Result<(), TransactionError> {
        let transaction = rules::owned(self.transactions.get(id), producer, epoch)?;
        match transaction.standing {
            Standing::Ongoing if part(transaction) => Ok(()),
            Standing::PrepareCommit | Standing::PrepareAbort => Err(TransactionError::Concurrent),
            _ => Err(TransactionError::NotAdded),
        }
    }

    fn deadline(&self, transaction: &Transaction) -> Option<Timestamp> {
        match transaction.standing {
            Standing::Ongoing => {
                let started = transaction.started.unwrap_or(transaction.updated);
                Some(started.saturating_add(i64::from(transaction.timeout_ms)))
            }
            Standing::PrepareCommit | Standing::PrepareAbort => None,
            Standing::Empty | Standing::CompleteCommit | Standing::CompleteAbort => {
                Some(transaction.updated.saturating_add(self.id_expiration_ms))
            }
        }
    }

    fn ending(&self, id: &str, transaction: &Transaction) -> Ending {
        Ending {
            id: id.to_owned(),
            producer: transaction.producer,
            epoch: transaction.epoch,
            committed: transaction.standing == Standing::PrepareCommit,
            coordinator_epoch: self.coordinator_epoch,
            partitions: transaction.partitions.iter().copied().collect(),
            groups: transaction.groups.iter().cloned().collect(),
        }
    }

    /// Puts what `step` comes to into `decision`; the transaction that holds then.
    fn take(
        &mut self,
        id: &str,
        step: Step,
        (now, ticket, command): (Timestamp, Ticket, Command),
        decision: &mut Decision<Self>,
    ) -> Option<Transaction> {
        let next = step.next.inspect(|next| {
            if next.standing.is_prepared() {
                decision.effects.push(self.ending(id, next));
            }
            decision.rows.push(Row {
                id: id.to_owned(),
                transaction: Some(next.clone()),
            });
        });
        let what = match step.outcome {
            Outcome::Now(reply) => {
                let at_once = matches!(command, Command::Add { at_once: true, .. });
                decision.answer(ticket, if at_once { NOBODY } else { id }, reply);
                return next;
            }
            Outcome::WhenComplete => What::End,
            Outcome::Hold => What::Again(command),
        };
        let until = now.saturating_add(HOLD_MS);
        self.held_until.insert((until, id.to_owned()));
        let held = self.held.entry(id.to_owned()).or_default();
        held.push(Held {
            ticket,
            until,
            what,
        });
        next
    }

    /// The courier's report: the end is complete, and who waited for that goes on.
    fn markers_written(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        id: &str,
        (producer, epoch): (ProducerId, ProducerEpoch),
    ) -> Decision<Self> {
        let mut decision = Decision::default();
        let prepared = self.transactions.get(id).filter(|transaction| {
            transaction.standing.is_prepared()
                && (transaction.producer, transaction.epoch) == (producer, epoch)
        });
        let Some(prepared) = prepared else {
            // Reported before.
            return Decision::reply(ticket, id, Reply::Refused(TransactionError::InvalidState));
        };
        let mut transaction = rules::completed(prepared, now);
        let done = Reply::Producer(transaction.producer, transaction.epoch);
        decision.rows.push(Row {
            id: id.to_owned(),
            transaction: Some(transaction.clone()),
        });
        decision.answer(ticket, id, done.clone());
        for Held {
            ticket,
            until,
            what,
        } in self.held.remove(id).unwrap_or_default()
        {
            self.held_until.remove(&(until, id.to_owned()));
            match what {
                // The decision is durable and told: no crash can change what this says.
                What::End => decision.answer(ticket, NOBODY, done.clone()),
                What::Again(command) => {
                    let step = rules::judge(Some(&transaction), now, &command);
                    let next = self.take(id, step, (now, ticket, command), &mut decision);
                    transaction = next.unwrap_or(transaction);
                }
            }
        }
        decision
    }

    /// Lets go of who has waited for too long.
    fn release(&mut self, now: Timestamp, decision: &mut Decision<Self>) {
        while let Some((until, id)) = self.held_until.pop_first() {
            if until > now {
                self.held_until.insert((until, id));
                return;
            }
            let Some(held) = self.held.get_mut(&id) else {
                continue;
            };
            let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(held)
                .into_iter()
                .partition(|held| held.until <= now);
            *held = waiting;
            if held.is_empty() {
                self.held.remove(&id);
            }
            for held in due {
                let reply = match held.what {
                    // Nothing can stop the end any more.
                    What::End => self.transactions.get(&id).map(rules::after),
                    What::Again(_) => None,
                };
                let concurrent = Reply::Refused(TransactionError::Concurrent);
                decision.answer(held.ticket, id.as_str(), reply.unwrap_or(concurrent));
            }
        }
    }
}

impl Machine for Brain {
    const ROWS: &'static str = "txn/";
    type Command = Command;
    type Reply = Reply;
    type Row = Row;
    type Effect = Ending;

    fn decide(
        &mut self,
        now: Timestamp,
        _rng: &mut dyn Rng,
        ticket: Ticket,
        command: Command,
    ) -> Decision<Self> {
        match command {
            Command::Describe { id } => {
                let described = Reply::Described(self.transactions.get(&id).cloned());
                Decision::reply(ticket, id, described)
            }
            Command::List {
                standings,
                producers,
                open_ms,
            } => {
                let passes = |transaction: &Transaction| {
                    let open = transaction.started.map_or(0, |started| now - started);
                    (standings.is_empty() || standings.contains(&transaction.standing))
                        && (producers.is_empty() || producers.contains(&transaction.producer))
                        && (open_ms < 0 || transaction.started.is_some() && open > open_ms)
                };
                let all = self.transactions.iter();
                let listed = all
                    .filter(|(_, transaction)| passes(transaction))
                    .map(|(id, transaction)| {
                        (id.clone(), transaction.producer, transaction.standing)
                    })
                    .collect();
                let mut decision = Decision::default();
                decision.answers.push(crate::coordinator::machine::Answer {
                    ticket,
                    entity: None,
                    reply: Reply::Listed(listed),
                });
                decision
            }
            Command::MarkersWritten {
                id,
                producer,
                epoch,
            } => self.markers_written(now, ticket, &id, (producer, epoch)),
            command @ (Command::Init { .. } | Command::Add { .. } | Command::End { .. }) => {
                let id = command.id().unwrap_or_default().to_owned();
                let step = rules::judge(self.transactions.get(&id), now, &command);
                let mut decision = Decision::default();
                self.take(&id, step, (now, ticket, command), &mut decision);
                decision
            }
        }
    }

    fn apply(&mut self, row: &Row) {
        if let Some(before) = self.transactions.remove(&row.id)
            && let Some(deadline) = self.deadline(&before)
        {
            self.deadlines.remove(&(deadline, row.id.clone()));
        }
        if let Some(transaction) = &row.transaction {
            if let Some(deadline) = self.deadline(transaction) {
                self.deadlines.insert((deadline, row.id.clone()));
            }
            self.transactions
                .insert(row.id.clone(), transaction.clone());
        }
    }

    fn resume(&mut self, _now: Timestamp, _rng: &mut dyn Rng) -> Decision<Self> {
        let prepared = self.transactions.iter();
        let prepared = prepared.filter(|(_, transaction)| transaction.standing.is_prepared());
        Decision {
            effects: prepared
                .map(|(id, transaction)| self.ending(id, transaction))
                .collect(),
            ..Decision::default()
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let due = self.deadlines.first().map(|(deadline, _)| *deadline);
        let held = self.held_until.first().map(|(until, _)| *until);
        match (due, held) {
            (Some(due), Some(held)) => Some(due.min(held)),
            (due, held) => due.or(held),
        }
    }

    fn expire(&mut self, now: Timestamp, _rng: &mut dyn Rng) -> Decision<Self> {
        let mut decision = Decision::default();
        self.release(now, &mut decision);
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        for (_, id) in due.take(EXPIRE_AT_MOST) {
            let transaction = &self.transactions[id];
            let next = match transaction.standing {
                // Its producer is gone, or too slow: whatever it still sends is fenced.
                Standing::Ongoing => Some(rules::fenced(transaction, now, None)),
                _ => None,
            };
            if let Some(next) = &next {
                decision.effects.push(self.ending(id, next));
            }
            decision.rows.push(Row {
                id: id.clone(),
                transaction: next,
            });
        }
        decision
    }

    fn entity(row: &Row) -> &str {
        &row.id
    }

    fn encode(row: &Row) -> (Vec<u8>, Option<Vec<u8>>) {
        let value = row.transaction.as_ref().map(rows::encode);
        (row.id.clone().into_bytes(), value)
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Row, String> {
        rows::decode(key, value)
    }
}
