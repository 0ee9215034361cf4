//! The coordinator of groups: one machine for all of them.
//!
//! A group is what is kept under a group id: committed offsets, and members of one kind or the other.
//! Offsets lie beside the kind, so that a group without members may change from one to the other. What
//! is durable is in [`rows`]; who waits and when somebody is given up on is not, and is made anew at a
//! restart.

pub mod assignor;
pub mod classic;
pub mod commands;
pub mod consumer;
mod encoding;
pub mod offsets;
mod rebalance;
pub mod rows;
#[cfg(test)]
mod script_tests;
pub mod timers;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::Rng;

use self::commands::{Command, GroupError, Listed, Position, Reply};
use self::offsets::{Fences, Offsets};
pub use self::rows::Row;
use self::timers::{Timer, TimerKey, Timers};
use self::turn::Turn;
use crate::config::Config;
use crate::coordinator::machine::{Answer, Decision, Machine, Ticket};
use crate::metadata::Image;
use crate::types::Timestamp;

/// The settings that bear on groups.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i64,
    /// `group.max.size`.
    pub max_size: usize,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub upkeep_interval_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// Those of the consumer protocol.
    pub consumer: consumer::Limits,
}

impl Limits {
    /// Those of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms.into(),
            max_size: usize::try_from(config.group_max_size).unwrap_or(usize::MAX),
            min_session_timeout_ms: config.group_min_session_timeout_ms,
            max_session_timeout_ms: config.group_max_session_timeout_ms,
            offset_metadata_max_bytes: config.offset_metadata_max_bytes,
            offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
            upkeep_interval_ms: config.offsets_retention_check_interval_ms,
            producer_expiration_ms: config.producer_id_expiration_ms,
            consumer: consumer::Limits::new(config),
        }
    }
}

/// All groups.
#[derive(Clone, Debug)]
pub struct Groups {
    limits: Limits,
    /// The newest picture that was brought; none yet after a start.
    image: Arc<Image>,
    /// Whether one was brought.
    knows_topics: bool,
    groups: BTreeMap<Arc<str>, Group>,
    fences: Fences,
    timers: Timers,
}

/// What is kept under one group id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    kind: Kind,
    offsets: Offsets,
}

/// Who its members are.
#[allow(clippy::large_enum_variant, reason = "most groups have members")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// It never had members that are remembered, only offsets.
    #[default]
    Simple,
    /// Members that assign among themselves. May be empty.
    Classic(classic::Group),
    /// Members that are assigned to by the broker. May be empty.
    Consumer(consumer::Group),
}

impl Group {
    /// Whether it has no members.
    fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Simple => true,
            Kind::Classic(group) => group.is_empty(),
            Kind::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether there is nothing to it.
    fn is_nothing(&self) -> bool {
        matches!(self.kind, Kind::Simple) && self.offsets.is_empty()
    }

    /// Its state, by Kafka's name.
    fn state(&self) -> &'static str {
        match &self.kind {
            Kind::Simple => "Empty",
            Kind::Classic(group) => group.state(),
            Kind::Consumer(group) => group.state(),
        }
    }

    /// Its protocol type.
    fn protocol_type(&self) -> Arc<str> {
        match &self.kind {
            Kind::Simple => "".into(),
            Kind::Classic(group) => group.protocol_type(),
            Kind::Consumer(_) => "consumer".into(),
        }
    }

    /// The type of its protocol, as ListGroups names it.
    fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Simple | Kind::Classic(_) => "classic",
            Kind::Consumer(_) => "consumer",
        }
    }
}

impl Groups {
    /// No groups yet, under `limits`.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            image: Arc::default(),
            knows_topics: false,
            groups: BTreeMap::new(),
            fences: Fences::default(),
            timers: Timers::default(),
        }
    }

    /// All deadlines, for tests.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Every committed offset, for metrics.
    pub fn positions(&self) -> Vec<Position> {
        let positions = self
            .groups
            .iter()
            .flat_map(|(id, group)| group.offsets.positions(id));
        positions.collect()
    }

    /// The rows that a restart would begin from, but for groups in the middle of a rebalance: for tests.
    pub fn settled(&self) -> Vec<Row> {
        let groups = self.groups.iter().flat_map(|(id, group)| {
            let classic = match &group.kind {
                Kind::Classic(classic) => classic.settled(id),
                Kind::Simple | Kind::Consumer(_) => None,
            };
            classic.into_iter().chain(group.offsets.rows(id))
        });
        groups.chain(self.fences.rows()).collect()
    }

    /// Members of each group, by state, for metrics and tests.
    pub fn members(&self) -> impl Iterator<Item = (&Arc<str>, &'static str, usize)> {
        self.groups.iter().map(|(id, group)| {
            let count = match &group.kind {
                Kind::Simple => 0,
                Kind::Classic(group) => group.len(),
                Kind::Consumer(group) => group.len(),
            };
            (id, group.state(), count)
        })
    }

    /// Gives `id` its turn; the group exists while `act` runs, and afterwards if there is something to
    /// it.
    fn turn<T>(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        id: &Arc<str>,
        decision: &mut Decision<Self>,
        act: impl FnOnce(&mut Group, &mut Turn<'_>) -> T,
    ) -> T {
        let id = match self.groups.get_key_value(id) {
            Some((id, _)) => id.clone(),
            None => {
                self.groups.insert(id.clone(), Group::default());
                id.clone()
            }
        };
        let group = self.groups.get_mut(&id).expect("it is there now");
        let mut turn = Turn {
            now,
            rng,
            limits: &self.limits,
            image: &self.image,
            group: id.clone(),
            timers: &mut self.timers,
            decision,
        };
        let outcome = act(group, &mut turn);
        self.drop_if_nothing(&id);
        outcome
    }

    fn drop_if_nothing(&mut self, id: &Arc<str>) {
        if let Some(group) = self.groups.get_mut(id)
            && matches!(&group.kind, Kind::Classic(classic) if classic.is_blank())
        {
            group.kind = Kind::Simple;
        }
        if self.groups.get(id).is_some_and(Group::is_nothing) {
            self.groups.remove(id);
        }
    }

    /// Takes in `image` if it is newer than what is known: the offsets of topics that have gone go, and
    /// consumer groups look at what has changed. Requests bring images that are newer than the news on its
    /// way: what is older says nothing of a topic that came since, nor of what was committed for it.
    fn follow(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        image: &Arc<Image>,
        decision: &mut Decision<Self>,
    ) {
        if self.knows_topics && image.version <= self.image.version {
            return;
        }
        let first = !std::mem::replace(&mut self.knows_topics, true);
        let before = std::mem::replace(&mut self.image, image.clone());
        let gone = first
            || before
                .topics_by_id
                .keys()
                .any(|id| !image.topics_by_id.contains_key(id));
        let consumers = |group: &Group| matches!(group.kind, Kind::Consumer(_));
        let ids: Vec<Arc<str>> = self
            .groups
            .iter()
            .filter(|(_, group)| gone || consumers(group))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.turn(now, rng, &id, decision, |group, turn| {
                if gone {
                    group.offsets.drop_gone_topics(turn);
                }
                if let Kind::Consumer(consumer) = &mut group.kind {
                    consumer.follow(turn, &before);
                }
            });
        }
    }

    fn list(&self, list: &commands::List) -> Vec<Listed> {
        let passes = |filter: &[String], name: &str| {
            filter.is_empty()
                || filter
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let all = self.groups.iter().map(|(id, group)| Listed {
            group: id.clone(),
            protocol_type: group.protocol_type(),
            state: group.state(),
            kind: group.kind_name(),
        });
        all.filter(|group| passes(&list.states, group.state) && passes(&list.types, group.kind))
            .collect()
    }

    fn describe(&self, id: &Arc<str>) -> Result<commands::Described, GroupError> {
        match self.groups.get(id).map(|group| &group.kind) {
            Some(Kind::Simple) => Ok(commands::Described {
                state: "Empty",
                protocol_type: "".into(),
                protocol: "".into(),
                members: Vec::new(),
            }),
            Some(Kind::Classic(group)) => Ok(group.describe()),
            Some(Kind::Consumer(_)) | None => Err(GroupError::UnknownGroup(id.clone())),
        }
    }

    /// Forgets a group that has no members.
    fn delete(&self, id: &Arc<str>, decision: &mut Decision<Self>) -> Result<(), GroupError> {
        let Some(group) = self.groups.get(id) else {
            return Err(GroupError::UnknownGroup(id.clone()));
        };
        if !group.is_empty() {
            return Err(GroupError::NotEmpty);
        }
        decision.rows.extend(group.offsets.tombstones(id));
        decision.rows.extend(group.kind.tombstones(id));
        Ok(())
    }

    /// Drops what is not wanted any longer: offsets past their time, empty groups without offsets,
    /// fences of producers that are silent.
    fn upkeep(&mut self, now: Timestamp, rng: &mut dyn Rng, decision: &mut Decision<Self>) {
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.turn(now, rng, &id, decision, |group, turn| {
                let nothing_left = group.expire_offsets(turn);
                if nothing_left && group.is_empty() {
                    let rows = group.kind.tombstones(&turn.group);
                    turn.decision.rows.extend(rows);
                }
            });
        }
        let oldest = now.saturating_sub(self.limits.producer_expiration_ms);
        decision.rows.extend(self.fences.expired(oldest));
        self.arm_upkeep(now);
    }

    fn arm_upkeep(&mut self, now: Timestamp) {
        let key = TimerKey {
            group: "".into(),
            timer: Timer::Upkeep,
        };
        let at = now.saturating_add(self.limits.upkeep_interval_ms);
        self.timers.set(key, at);
    }
}

impl Kind {
    /// Rows that forget a group without members.
    fn tombstones(&self, id: &Arc<str>) -> Vec<Row> {
        match self {
            Self::Simple => Vec::new(),
            Self::Classic(_) => vec![Row::Classic {
                group: id.clone(),
                state: None,
            }],
            Self::Consumer(group) => group.tombstones(id),
        }
    }
}

impl Machine for Groups {
    const ROWS: &'static str = "group/";
    type Command = Command;
    type Reply = Reply;
    type Row = Row;
    type Effect = std::convert::Infallible;

    fn decide(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        ticket: Ticket,
        command: Command,
    ) -> Decision<Self> {
        let mut decision = Decision::default();
        let d = &mut decision;
        match command {
            Command::Join(join) => {
                let id = join.caller.group.clone();
                self.turn(now, rng, &id, d, |group, turn| {
                    group.join(turn, ticket, join);
                });
            }
            Command::Sync(sync) => {
                let id = sync.caller.group.clone();
                self.turn(now, rng, &id, d, |group, turn| {
                    group.sync(turn, ticket, sync);
                });
            }
            Command::Heartbeat(caller) => {
                let id = caller.group.clone();
                self.turn(now, rng, &id, d, |group, turn| {
                    let outcome = group.heartbeat(turn, &caller);
                    turn.answer(ticket, Reply::Done(outcome));
                });
            }
            Command::Leave(leave) => {
                let id = leave.group.clone();
                self.turn(now, rng, &id, d, |group, turn| {
                    let outcomes = group.leave(turn, leave);
                    turn.answer(ticket, Reply::Left(outcomes));
                });
            }
            Command::Commit(commit) => {
                self.follow(now, rng, &commit.image.clone(), d);
                let id = commit.caller.group.clone();
                self.turn(now, rng, &id, d, |group, turn| {
                    let outcomes = group.commit(turn, commit);
                    turn.answer(ticket, Reply::Partitions(Ok(outcomes)));
                });
            }
            Command::Import(import) => {
                self.follow(now, rng, &import.image.clone(), d);
                let id = import.group.clone();
                self.turn(now, rng, &id, d, |group, turn| {
                    let outcome = group.import(turn, import);
                    turn.answer(ticket, Reply::Imported(outcome));
                });
            }
            Command::TxnCommit(commit) => {
                self.follow(now, rng, &commit.commit.image.clone(), d);
                let fence = self.fences.check(&commit);
                let id = commit.commit.caller.group.clone();
                self.turn(now, rng, &id, d, |group, turn| {
                    let outcomes = group.commit_in_transaction(turn, commit, fence);
                    turn.answer(ticket, Reply::Partitions(Ok(outcomes)));
                });
            }
            Command::CompleteTxn(complete) => {
                let outcome = self.complete(now, rng, &complete, d);
                d.answers.push(Answer {
                    ticket,
                    entity: None,
                    reply: Reply::Done(outcome),
                });
            }
            Command::Fetch(fetch) => {
                let id = fetch.caller.group.clone();
                let fetched = match self.groups.get(&id) {
                    Some(group) => group.fetch(&fetch),
                    None => Ok(offsets::nothing(&fetch)),
                };
                d.answer(ticket, &*id, Reply::Fetched(fetched));
            }
            Command::List(list) => d.answers.push(Answer {
                ticket,
                entity: None,
                reply: Reply::Listed(self.list(&list)),
            }),
            Command::Describe(id) => {
                let described = self.describe(&id);
                d.answer(ticket, &*id, Reply::Described(described));
            }
            Command::Delete(id) => {
                let outcome = self.delete(&id, d);
                d.answer(ticket, &*id, Reply::Done(outcome));
            }
            Command::DeleteOffsets(delete) => {
                self.follow(now, rng, &delete.image.clone(), d);
                let id = delete.group.clone();
                self.turn(now, rng, &id, d, |group, turn| {
                    let outcomes = group.delete_offsets(turn, delete);
                    turn.answer(ticket, Reply::Partitions(outcomes));
                });
            }
            Command::Follow(image) => {
                self.follow(now, rng, &image, d);
                d.answers.push(Answer {
                    ticket,
                    entity: None,
                    reply: Reply::Done(Ok(())),
                });
            }
            Command::Consumer(command) => return consumer::decide(self, now, rng, ticket, command),
        }
        decision
    }

    fn apply(&mut self, row: &Row) {
        let id = row.group();
        if let Row::Fence {
            producer, value, ..
        } = row
        {
            self.fences.apply(id, *producer, value.clone());
            return;
        }
        let group = self.groups.entry(id.clone()).or_default();
        match row {
            Row::Classic { state, .. } => classic::Group::apply(&mut group.kind, state.as_ref()),
            Row::Offset {
                topic,
                partition,
                value,
                ..
            } => group.offsets.apply(topic, *partition, value.clone()),
            Row::Pending {
                producer,
                topic,
                partition,
                value,
                ..
            } => group
                .offsets
                .apply_pending(*producer, topic, *partition, value.clone()),
            Row::Consumer { row, .. } => consumer::Group::apply(&mut group.kind, row),
            Row::Fence { .. } => {}
        }
        let id = id.clone();
        self.drop_if_nothing(&id);
    }

    fn resume(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Decision<Self> {
        let mut decision = Decision::default();
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.turn(
                now,
                rng,
                &id,
                &mut decision,
                |group, turn| match &mut group.kind {
                    Kind::Simple => {}
                    Kind::Classic(classic) => classic.resume(turn),
                    Kind::Consumer(consumer) => consumer.resume(turn),
                },
            );
        }
        self.arm_upkeep(now);
        decision
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    fn expire(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Decision<Self> {
        let mut decision = Decision::default();
        // What is decided next may rest on the rows of what was decided before: those are applied first.
        while decision.rows.is_empty()
            && let Some(TimerKey { group: id, timer }) = self.timers.pop(now)
        {
            if timer == Timer::Upkeep {
                self.upkeep(now, rng, &mut decision);
                continue;
            }
            self.turn(
                now,
                rng,
                &id,
                &mut decision,
                |group, turn| match &mut group.kind {
                    Kind::Simple => {}
                    Kind::Classic(classic) => classic.expire(turn, &timer),
                    Kind::Consumer(consumer) => consumer.expire(turn, &timer),
                },
            );
        }
        decision
    }

    fn entity(row: &Row) -> &str {
        row.group()
    }

    fn encode(row: &Row) -> (Vec<u8>, Option<Vec<u8>>) {
        row.encode()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Row, String> {
        Row::decode(key, value)
    }
}
