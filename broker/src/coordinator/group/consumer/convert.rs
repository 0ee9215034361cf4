//! From one kind of group to the other while it has members, as an application moves from the classic
//! protocol to the new one or back.
//!
//! **Up**: when a member of the new protocol joins a classic group of consumers. Everybody keeps what
//! they have; who waits for a rebalance is told to join again.
//!
//! **Down**: when the last member of the new protocol has gone. The classic group is to rebalance then,
//! and would have to even if the broker stopped at this moment: so the one who goes is taken along as a
//! member whose session ends at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::classic::CONSUMER;
use super::embedded;
use super::group::Group;
use super::heartbeat::store;
use super::member::{Assigned, ClassicSide, Member, Position, Progress};
use super::rows::{Head, Row};
use super::subscription;
use crate::coordinator::group::classic::{self, Snapshot};
use crate::coordinator::group::commands::GroupError;
use crate::coordinator::group::timers::Timer;
use crate::coordinator::group::turn::Turn;
use crate::metadata::Image;

/// The session timeout of that member, should the broker stop before it is taken out.
const GONE_SESSION_MS: i32 = 1000;

impl Group {
    /// Whether the group becomes a classic one when `leaving` go.
    pub(super) fn may_downgrade(&self, turn: &Turn<'_>, leaving: &BTreeSet<Arc<str>>) -> bool {
        let stay = || self.members.iter().filter(|(id, _)| !leaving.contains(*id));
        let count = stay().count();
        turn.limits.consumer.downgrades
            && (1..=turn.limits.max_size).contains(&count)
            && stay().all(|(_, entry)| entry.said.classic.is_some())
    }

    /// Makes it a classic group if only classic members are left when the rows from `first` on, which
    /// have just been decided, are applied.
    pub(super) fn downgrade_after(&self, turn: &mut Turn<'_>, first: usize) {
        let mut after = self.clone();
        for row in &turn.decision.rows[first..] {
            if let super::super::Row::Consumer { row, .. } = row {
                after.take(row);
            }
        }
        after.downgrade(turn, &BTreeSet::new());
    }

    /// Makes it a classic group if only classic members are left. `leaving`: who goes now.
    pub(super) fn downgrade(&self, turn: &mut Turn<'_>, leaving: &BTreeSet<Arc<str>>) {
        if !self.may_downgrade(turn, leaving) {
            return;
        }
        let stay = || self.members.iter().filter(|(id, _)| !leaving.contains(*id));
        let mut members = Vec::with_capacity(self.members.len() + 1);
        let mut settled = leaving.is_empty();
        let image = self.sight.newest(turn.image);
        for (id, entry) in stay() {
            let Some(side) = &entry.said.classic else {
                return;
            };
            settled &= entry.position.has_reached(self.head.epoch);
            let version = embedded::version(side.metadata()).unwrap_or(0);
            let partitions = entry.position.partitions();
            let assignment = embedded::write_assignment(version, &partitions, &image);
            members.push(classic::Member {
                id: id.clone(),
                instance: entry.said.instance.clone(),
                client_id: entry.said.client_id.clone(),
                client_host: entry.said.client_host.clone(),
                rebalance_timeout_ms: entry.said.rebalance_timeout,
                session_timeout_ms: side.session_timeout,
                protocols: side.protocols.clone(),
                assignment: assignment.into(),
            });
        }
        let Some(first) = members.first() else {
            return;
        };
        let common = |name: &Arc<str>| {
            let has = |m: &classic::Member| m.protocols.iter().any(|(other, _)| other == name);
            members.iter().all(has)
        };
        let mut names = first.protocols.iter().map(|(name, _)| name);
        let protocol = names.find(|name| common(name)).cloned();
        let leader = first.id.clone();
        if !settled {
            let id: Arc<str> = format!("gone-{}", turn.uuid()).into();
            members.push(classic::Member {
                id: id.clone(),
                instance: None,
                client_id: Arc::default(),
                client_host: Arc::default(),
                session_timeout_ms: GONE_SESSION_MS,
                assignment: bytes::Bytes::new(),
                ..first.clone()
            });
            turn.arm(Timer::Session(id), 0);
        }
        members.sort_by(|a, b| a.id.cmp(&b.id));
        for id in self.members.keys() {
            turn.disarm(Timer::Revocation(id.clone()));
        }
        turn.disarm(Timer::Consumer);
        for row in self.rows_without_all() {
            store(turn, row);
        }
        let state = Snapshot {
            generation: self.head.epoch,
            since: -1,
            protocol_type: CONSUMER.into(),
            protocol,
            leader: Some(leader),
            members,
        };
        turn.store(super::super::Row::Classic {
            group: turn.group.clone(),
            state: Some(Arc::new(state)),
        });
    }

    /// The rows of a consumer group with the members of a classic one, and that group; `None` if it is
    /// none of consumers, or has an assignor of its own.
    pub(super) fn of_classic(from: &Snapshot, image: &Image) -> Option<(Self, Vec<Row>)> {
        if *from.protocol_type != *CONSUMER {
            return None;
        }
        let mut rows = Vec::new();
        let mut wanted = BTreeSet::new();
        for member in from
            .members
            .iter()
            .filter(|member| !stands_for_gone(member))
        {
            let chosen = member
                .protocols
                .iter()
                .find(|(name, _)| Some(name) == from.protocol.as_ref());
            let (_, metadata) = chosen.or_else(|| member.protocols.first())?;
            let subscription = embedded::read_subscription(metadata)?;
            let assignment = embedded::read_assignment(&member.assignment)?;
            if assignment.has_user_data {
                return None;
            }
            let mut assigned = Assigned::new();
            for (name, partitions) in assignment.partitions {
                if let Some(topic) = image.topic(&name) {
                    let partitions = partitions.into_iter();
                    let given = partitions.map(|partition| (partition, from.generation));
                    assigned.insert(topic.id, given.collect());
                }
            }
            let position = Position {
                epoch: from.generation,
                previous: from.generation,
                progress: Progress::Stable,
                assigned,
                revoking: Assigned::new(),
            };
            wanted.extend(subscription.topics.iter().cloned());
            let said = Member {
                instance: member.instance.clone(),
                rack: subscription.rack,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout: member.rebalance_timeout_ms,
                topics: subscription.topics.into_iter().collect(),
                regex: Arc::default(),
                assignor: None,
                classic: Some(ClassicSide {
                    session_timeout: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
            };
            let id = &member.id;
            rows.push(Row::Target(id.clone(), Some(position.partitions())));
            rows.push(Row::Position(id.clone(), Some(position)));
            rows.push(Row::Member(id.clone(), Some(Box::new(said))));
        }
        let names = wanted.iter().map(|name| &**name).collect();
        rows.push(Row::Head(Some(Head {
            epoch: from.generation,
            assignment_epoch: from.generation,
            fingerprint: subscription::fingerprint(names, image),
        })));
        let mut group = Self::default();
        for row in &rows {
            group.take(row);
        }
        Some((group, rows))
    }
}

/// Whether it was made by [`Group::downgrade`]: whoever has called has an address.
fn stands_for_gone(member: &classic::Member) -> bool {
    member.client_host.is_empty()
}

impl classic::Group {
    /// Ends it as a classic group: whoever waits is to join again.
    pub(super) fn disband(&mut self, turn: &mut Turn<'_>) {
        turn.disarm(Timer::Join);
        turn.disarm(Timer::Sync);
        for seat in self.seats.values_mut() {
            seat.dismiss(turn, &GroupError::Rebalancing);
            seat.join = None;
            seat.sync = None;
            classic::watch(turn, &seat.member);
        }
    }
}
