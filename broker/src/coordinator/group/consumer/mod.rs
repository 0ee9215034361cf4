//! The consumer protocol (KIP-848): the broker assigns, and a member learns of it by its heartbeats.
//!
//! | file | what it is for |
//! |---|---|
//! | `group.rs` | what a group is; taking rows in |
//! | `heartbeat.rs` | joining, staying, leaving |
//! | `reconcile.rs` | the next step of one member |
//! | `target.rs` | what everybody is to have |
//! | `classic.rs`, `convert.rs` | classic members in a consumer group; from one kind of group to the other |
//! | `subscription.rs`, `embedded.rs` | what members want; how classic ones say it |
//! | `member.rs`, `rows.rs` | what is kept of a member, and its bytes |

mod classic;
mod convert;
mod embedded;
mod group;
mod heartbeat;
pub mod member;
mod reconcile;
mod rows;
mod subscription;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::Rng;

pub use self::group::{Group, State};
use self::heartbeat::store;
pub use self::heartbeat::{Beat, Heartbeat};
use self::member::{AWAY, Partitions, Progress};
pub use self::rows::{Head, Row};
use super::assignor::Assignor;
use super::commands::{Caller, GroupError};
use super::timers::Timer;
use super::turn::Turn;
use super::{Groups, Kind};
use crate::config::{Config, GroupConfig};
use crate::coordinator::machine::{Decision, Ticket};
use crate::metadata::Image;
use crate::types::{PartitionIndex, Timestamp};

/// The settings that bear on consumer groups.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For groups that have no settings of their own.
    pub times: GroupConfig,
    /// `group.consumer.max.size`.
    pub max_size: usize,
    /// `group.consumer.assignors`; the first is for members that name none.
    pub assignors: Vec<Assignor>,
    /// Whether a classic group becomes a consumer group when a member of the new protocol joins.
    pub upgrades: bool,
    /// Whether a consumer group becomes a classic one when only classic members are left.
    pub downgrades: bool,
}

/// What is asked of a consumer group.
#[derive(Clone, Debug)]
pub enum Command {
    /// To join, stay or leave; with cluster metadata as the request found it.
    Heartbeat(Box<Heartbeat>, Arc<Image>),
    /// What the group is and who is in it.
    Describe(Arc<str>),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `Heartbeat`.
    Beat(Result<Beat, GroupError>),
    /// To `Describe`.
    Described(Result<Described, GroupError>),
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its state.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch that the targets were made for.
    pub assignment_epoch: i32,
    /// The assignor that makes them.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Arc<str>,
    /// What it said of itself.
    pub said: member::Member,
    /// Its epoch.
    pub epoch: i32,
    /// What it may use.
    pub assigned: Partitions,
    /// What it is to have.
    pub target: Partitions,
}

impl Group {
    /// Takes in a row.
    pub(super) fn apply(kind: &mut Kind, row: &Row) {
        let adds = !matches!(
            row,
            Row::Head(None) | Row::Member(_, None) | Row::Target(_, None) | Row::Position(_, None)
        );
        if adds && !matches!(kind, Kind::Consumer(_)) {
            *kind = Kind::Consumer(Self::default());
        }
        if let Kind::Consumer(group) = kind
            && !group.take(row)
        {
            *kind = Kind::Simple;
        }
    }

    /// Whether it has no members, so that it may become a classic group or be deleted.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Its state, by Kafka's name.
    pub(super) fn state(&self) -> &'static str {
        self.phase().name()
    }

    /// How many members it has.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether `caller` may commit the offset of a partition of the topic called `topic`. `epochs`:
    /// whether its request knows of member epochs.
    pub(super) fn check_commit(
        &self,
        caller: &Caller,
        transactional: bool,
        epochs: bool,
    ) -> Result<CommitRight, GroupError> {
        let nobody = caller.generation < 0 && caller.member.is_empty() && caller.instance.is_none();
        if (caller.generation < 0 && self.is_empty()) || (transactional && nobody) {
            return Ok(CommitRight::All);
        }
        let entry = self
            .members
            .get(&caller.member)
            .ok_or(GroupError::UnknownMember)?;
        let epoch = entry.position.epoch;
        if entry.said.classic.is_some() {
            return if caller.generation == epoch {
                Ok(CommitRight::All)
            } else {
                Err(GroupError::IllegalGeneration)
            };
        }
        if !transactional && !epochs {
            return Err(GroupError::TooOldForEpochs);
        }
        match caller.generation {
            same if same == epoch => Ok(CommitRight::All),
            older if older < epoch => Ok(CommitRight::GivenBy(older)),
            _ => Err(GroupError::StaleMemberEpoch),
        }
    }

    /// Whether a member of an older epoch still commits for a partition: it has had it since then.
    pub(super) fn had_since(
        &self,
        member: &str,
        topic: &crate::types::TopicId,
        partition: PartitionIndex,
        epoch: i32,
    ) -> bool {
        let entry = self.members.get(member);
        let given = entry.and_then(|entry| entry.position.given_at(topic, partition));
        given.is_some_and(|given| given <= epoch)
    }

    /// Whether `caller` may fetch offsets.
    pub(super) fn check_fetch(&self, caller: &Caller) -> Result<(), GroupError> {
        if caller.member.is_empty() && caller.generation < 0 {
            return Ok(());
        }
        let entry = self
            .members
            .get(&caller.member)
            .ok_or(GroupError::UnknownMember)?;
        if caller.generation == entry.position.epoch {
            Ok(())
        } else if entry.said.classic.is_some() {
            Err(GroupError::IllegalGeneration)
        } else {
            Err(GroupError::StaleMemberEpoch)
        }
    }

    /// Rows that forget an empty group.
    pub(super) fn tombstones(&self, group: &Arc<str>) -> Vec<super::Row> {
        let rows = self.rows_without_all().into_iter();
        rows.map(|row| super::Row::Consumer {
            group: group.clone(),
            row,
        })
        .collect()
    }

    /// The topics have changed; `turn.image` is the new picture.
    pub(super) fn follow(&mut self, turn: &mut Turn<'_>, _before: &Image) {
        let image = self.sight.newest(turn.image);
        if self.sight.has_seen(&image) || self.is_empty() {
            return;
        }
        let said = self.members.values().map(|entry| &entry.said);
        let fingerprint = self.sight.look(said, &image);
        if fingerprint != self.head.fingerprint {
            let head = Head {
                epoch: self.head.epoch + 1,
                fingerprint,
                ..self.head
            };
            store(turn, Row::Head(Some(head)));
        }
    }

    /// `timer` is due.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>, timer: &Timer) {
        let late = match timer {
            Timer::Session(id) => Some(id),
            Timer::Revocation(id) => self.members.get(id).and_then(|entry| {
                let waits =
                    entry.said.classic.is_some() || entry.position.progress == Progress::Unrevoked;
                waits.then_some(id)
            }),
            Timer::Consumer => {
                self.downgrade(turn, &BTreeSet::new());
                None
            }
            Timer::Join | Timer::Sync | Timer::Upkeep => None,
        };
        if let Some((id, _)) = late.and_then(|id| self.members.get_key_value(id)) {
            self.take_leave(turn, &BTreeSet::from([id.clone()]));
        }
    }

    /// All rows were applied: deadlines are armed anew.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) {
        let times = turn.times();
        for (id, entry) in &self.members {
            let session = match &entry.said.classic {
                Some(classic) => classic.session_timeout,
                None => times.session_timeout_ms,
            };
            turn.arm(Timer::Session(id.clone()), session.into());
            let position = &entry.position;
            if position.progress == Progress::Unrevoked && position.epoch != AWAY {
                let timeout = entry.said.rebalance_timeout;
                turn.arm(Timer::Revocation(id.clone()), timeout.into());
            }
        }
        if self.may_downgrade(turn, &BTreeSet::new()) {
            turn.arm(Timer::Consumer, 0);
        }
    }

    /// Judges a heartbeat of a member that leaves.
    fn leave(&mut self, turn: &mut Turn<'_>, heartbeat: &Heartbeat) -> Result<Beat, GroupError> {
        let (gone, beat) = self.leaver(turn, heartbeat)?;
        self.take_leave(turn, &gone.into_iter().collect());
        Ok(beat)
    }

    /// Members go: they are taken out, or the group becomes a classic one.
    fn take_leave(&mut self, turn: &mut Turn<'_>, ids: &BTreeSet<Arc<str>>) {
        if ids.is_empty() {
            return;
        }
        if self.may_downgrade(turn, ids) {
            for id in ids {
                turn.disarm(Timer::Session(id.clone()));
                turn.disarm(Timer::Revocation(id.clone()));
            }
            self.downgrade(turn, ids);
        } else {
            let image = self.sight.newest(turn.image);
            self.remove(turn, &image, ids);
        }
    }

    /// What tools are told.
    pub(super) fn describe(&self, assignors: &[Assignor]) -> Described {
        let all = self.members.values().map(|entry| &entry.said);
        let members = self.members.iter().map(|(id, entry)| DescribedMember {
            member: id.clone(),
            said: entry.said.clone(),
            epoch: entry.position.epoch,
            assigned: entry.position.partitions(),
            target: entry.target.clone(),
        });
        Described {
            state: self.state(),
            epoch: self.head.epoch,
            assignment_epoch: self.head.assignment_epoch,
            assignor: Self::preferred(all, assignors).name(),
            members: members.collect(),
        }
    }
}

/// For which partitions a member may commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitRight {
    /// All.
    All,
    /// Those that it has had since this epoch or before: its request was on its way when it moved on.
    GivenBy(i32),
}

/// Judges a command of the consumer protocol.
pub(super) fn decide(
    groups: &mut Groups,
    now: Timestamp,
    rng: &mut dyn Rng,
    ticket: Ticket,
    command: Command,
) -> Decision<Groups> {
    let mut decision = Decision::default();
    match command {
        Command::Heartbeat(heartbeat, image) => {
            let id = heartbeat.caller.group.clone();
            groups.turn(now, rng, &id, &mut decision, |group, turn| {
                let newer = image.version >= turn.image.version;
                let image = if newer { image } else { turn.image.clone() };
                let beat = group.beat(turn, &image, &heartbeat);
                turn.answer(ticket, super::commands::Reply::Consumer(Reply::Beat(beat)));
            });
        }
        Command::Describe(id) => {
            let described = match groups.groups.get(&id).map(|group| &group.kind) {
                Some(Kind::Consumer(group)) => {
                    Ok(group.describe(&groups.limits.consumer.assignors))
                }
                _ => Err(GroupError::UnknownGroup(id.clone())),
            };
            let reply = super::commands::Reply::Consumer(Reply::Described(described));
            decision.answer(ticket, &*id, reply);
        }
    }
    decision
}

impl super::Group {
    /// Judges a heartbeat of the consumer protocol, whatever kind of group this is.
    fn beat(
        &mut self,
        turn: &mut Turn<'_>,
        image: &Arc<Image>,
        heartbeat: &Heartbeat,
    ) -> Result<Beat, GroupError> {
        heartbeat.check(&turn.limits.consumer.assignors)?;
        let joins = heartbeat.caller.generation == member::JOINING;
        match &mut self.kind {
            Kind::Consumer(group) if heartbeat.leaves() => group.leave(turn, heartbeat),
            Kind::Consumer(group) => {
                let image = group.sight.newest(image);
                group.heartbeat(turn, &image, heartbeat)
            }
            Kind::Simple if joins => Group::default().heartbeat(turn, image, heartbeat),
            Kind::Classic(group) if joins => {
                let id = turn.group.clone();
                let unknown = || GroupError::UnknownGroup(id.clone());
                let state = group.snapshot();
                if !state.members.is_empty()
                    && (!turn.limits.consumer.upgrades
                        || state.members.len() > turn.limits.consumer.max_size)
                {
                    return Err(unknown());
                }
                let (mut upgraded, rows) = if state.members.is_empty() {
                    (Group::default(), Vec::new())
                } else {
                    Group::of_classic(&state, image).ok_or_else(unknown)?
                };
                let first = turn.decision.rows.len();
                turn.store(super::Row::Classic {
                    group: id.clone(),
                    state: None,
                });
                for row in rows {
                    store(turn, row);
                }
                let beat = upgraded.heartbeat(turn, image, heartbeat);
                if beat.is_err() {
                    turn.decision.rows.truncate(first);
                } else {
                    group.disband(turn);
                }
                beat
            }
            Kind::Simple | Kind::Classic(_) => Err(GroupError::UnknownGroup(turn.group.clone())),
        }
    }
}

impl Limits {
    /// Those of `config`.
    pub fn new(config: &Config) -> Self {
        let names = config.group_consumer_assignors.split(',');
        let mut assignors: Vec<_> = names.filter_map(|n| Assignor::named(n.trim())).collect();
        if assignors.is_empty() {
            assignors.push(Assignor::Uniform);
        }
        let policy = |policy: &str| config.group_consumer_migration_policy == policy;
        Self {
            times: GroupConfig::effective(&BTreeMap::new(), config),
            max_size: usize::try_from(config.group_consumer_max_size).unwrap_or(usize::MAX),
            assignors,
            upgrades: policy("bidirectional") || policy("upgrade"),
            downgrades: policy("bidirectional") || policy("downgrade"),
        }
    }
}

#[cfg(test)]
pub(super) mod script_words;
#[cfg(test)]
mod tests;
