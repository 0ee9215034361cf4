//! Classic members in a consumer group, while an application moves from one protocol to the other.
//!
//! Their JoinGroup is a heartbeat that says everything, their generation is the member epoch, their
//! SyncGroup fetches what the position gives them. Nobody leads: assignments are the broker's. A member
//! that is to take another step is told so by REBALANCE_IN_PROGRESS, and joins again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::embedded;
use super::group::{Entry, Group};
use super::heartbeat::Protocol;
use super::member::{ClassicSide, Member, Partitions, Progress};
use crate::coordinator::group::commands::{
    Caller, GroupError, Join, Joined, Leave, Reply, Sync, Synced,
};
use crate::coordinator::group::timers::Timer;
use crate::coordinator::group::turn::Turn;
use crate::coordinator::machine::Ticket;

/// The protocol type of classic consumers.
pub(super) const CONSUMER: &str = "consumer";

impl Group {
    /// A member of the classic protocol wants to join this group, which has members.
    pub(in super::super) fn classic_join(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        join: Join,
    ) {
        let joined = self.join(turn, &join);
        turn.answer(ticket, Reply::Joined(joined));
    }

    /// A member of the classic protocol asks for its assignment.
    pub(in super::super) fn classic_sync(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        sync: Sync,
    ) {
        let synced = self.sync(turn, &sync);
        turn.answer(ticket, Reply::Synced(synced));
    }

    /// Judges a JoinGroup.
    fn join(&mut self, turn: &mut Turn<'_>, join: &Join) -> Result<Joined, GroupError> {
        let caller = &join.caller;
        let instance = caller.instance.as_deref();
        let is_new = caller.member.is_empty();
        let id: Arc<str> = if is_new {
            let name = instance.unwrap_or(&join.client_id);
            format!("{name}-{}", turn.uuid()).into()
        } else {
            caller.member.clone()
        };
        self.check_room(turn, &id, instance)?;
        self.check_protocols(join)?;
        if is_new && instance.is_none() && join.id_required {
            return Err(GroupError::MemberIdRequired(id));
        }
        let (_, metadata) = join
            .protocols
            .first()
            .ok_or(GroupError::InconsistentProtocol)?;
        let subscription =
            embedded::read_subscription(metadata).ok_or(GroupError::InconsistentProtocol)?;
        let mut arrival = match instance {
            None => self.dynamic(id, true)?,
            Some(instance) => self.fixed(id, instance, is_new, Protocol::Classic)?,
        };
        let before = &arrival.before.said;
        arrival.said = Member {
            instance: caller.instance.clone().or_else(|| before.instance.clone()),
            rack: subscription.rack.or_else(|| before.rack.clone()),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            rebalance_timeout: join.rebalance_timeout_ms,
            topics: subscription.topics.into_iter().collect(),
            regex: Arc::default(),
            assignor: before.assignor,
            classic: Some(ClassicSide {
                session_timeout: join.session_timeout_ms,
                protocols: join.protocols.clone(),
            }),
        };
        let image = self.sight.newest(turn.image);
        let mut owned = Partitions::new();
        for (name, mut partitions) in subscription.owned {
            if let Some(topic) = image.topic(&name) {
                partitions.sort_unstable();
                owned.insert(topic.id, partitions);
            }
        }
        let id = arrival.id.clone();
        let protocol = join.protocols.first().map(|(name, _)| name.clone());
        let replaces = arrival.replaces.clone();
        let first = turn.decision.rows.len();
        let position = self.advance(turn, &image, arrival, Some(&owned));
        turn.arm(Timer::Session(id.clone()), join.session_timeout_ms.into());
        // Until it has asked for its assignment.
        turn.arm(
            Timer::Revocation(id.clone()),
            join.rebalance_timeout_ms.into(),
        );
        let others = self.members.iter();
        let mut others =
            others.filter(|(other, _)| **other != id && Some(*other) != replaces.as_ref());
        if others.all(|(_, other)| other.said.classic.is_some()) {
            self.downgrade_after(turn, first);
        }
        Ok(Joined {
            generation: position.epoch,
            protocol_type: CONSUMER.into(),
            protocol: protocol.unwrap_or_default(),
            leader: Arc::default(),
            member: id,
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    /// Refuses a member that has no protocol in common with the classic members.
    fn check_protocols(&self, join: &Join) -> Result<(), GroupError> {
        let classic = self
            .members
            .values()
            .filter_map(|entry| entry.said.classic.as_ref());
        let supported = |name: &Arc<str>| {
            let mut classic = classic.clone();
            classic.all(|member| member.protocols.iter().any(|(other, _)| other == name))
        };
        let common = join.protocols.iter().any(|(name, _)| supported(name));
        if *join.protocol_type == *CONSUMER && common {
            Ok(())
        } else {
            Err(GroupError::InconsistentProtocol)
        }
    }

    /// Judges a SyncGroup.
    fn sync(&self, turn: &mut Turn<'_>, sync: &Sync) -> Result<Synced, GroupError> {
        let (id, entry, classic) = self.classic_member(&sync.caller)?;
        let protocol = classic.protocol();
        let other_type = sync
            .protocol_type
            .as_deref()
            .is_some_and(|name| name != CONSUMER);
        let other_protocol = sync.protocol.as_ref().is_some_and(|name| *name != protocol);
        if other_type || other_protocol {
            return Err(GroupError::InconsistentProtocol);
        }
        let position = &entry.position;
        let timer = Timer::Revocation(id.clone());
        if self.head.epoch > position.epoch && position.progress != Progress::Unrevoked {
            turn.arm_if_idle(timer, entry.said.rebalance_timeout.into());
            return Err(GroupError::Rebalancing);
        }
        turn.disarm(timer);
        turn.arm(Timer::Session(id.clone()), classic.session_timeout.into());
        let version = embedded::version(classic.metadata()).unwrap_or(0);
        let image = self.sight.newest(turn.image);
        let assignment = embedded::write_assignment(version, &position.partitions(), &image);
        Ok(Synced {
            protocol_type: CONSUMER.into(),
            protocol,
            assignment: assignment.into(),
        })
    }

    /// Judges a Heartbeat.
    pub(in super::super) fn classic_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
    ) -> Result<(), GroupError> {
        let (id, entry, classic) = self.classic_member(caller)?;
        turn.arm(Timer::Session(id.clone()), classic.session_timeout.into());
        let position = &entry.position;
        let joins_again = position.epoch < self.head.epoch
            || match position.progress {
                Progress::Stable => false,
                Progress::Unrevoked => true,
                Progress::Unreleased => !self.waits_for_others(id, entry),
            };
        if joins_again {
            turn.arm_if_idle(
                Timer::Revocation(id.clone()),
                entry.said.rebalance_timeout.into(),
            );
            return Err(GroupError::Rebalancing);
        }
        Ok(())
    }

    /// Whether something of the member's target is with another.
    fn waits_for_others(&self, id: &Arc<str>, entry: &Entry) -> bool {
        entry.target.iter().any(|(topic, partitions)| {
            let held = |partition| self.holder(*topic, partition);
            let with_other = |partition| held(partition).is_some_and(|holder| holder != id);
            partitions.iter().any(|&partition| with_other(partition))
        })
    }

    /// Judges a LeaveGroup: who goes, and what each is told.
    pub(in super::super) fn classic_leave(
        &mut self,
        turn: &mut Turn<'_>,
        leave: Leave,
    ) -> Vec<Result<(), GroupError>> {
        let mut gone = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(leave.members.len());
        for (member, instance) in &leave.members {
            let found = match instance {
                None => self.members.get_key_value(member).map(|(id, _)| id),
                Some(instance) => self.instances.get(instance),
            };
            outcomes.push(match found {
                None => Err(GroupError::UnknownMember),
                // An admin names the instance alone.
                Some(id) if id != member && !member.is_empty() => Err(GroupError::FencedInstance),
                Some(id) => {
                    gone.insert(id.clone());
                    Ok(())
                }
            });
        }
        self.take_leave(turn, &gone);
        outcomes
    }

    /// The classic member that calls.
    fn classic_member(
        &self,
        caller: &Caller,
    ) -> Result<(&Arc<str>, &Entry, &ClassicSide), GroupError> {
        let id = match &caller.instance {
            None => &caller.member,
            Some(instance) => {
                let id = self
                    .instances
                    .get(instance)
                    .ok_or(GroupError::UnknownMember)?;
                if *id != caller.member {
                    return Err(GroupError::FencedInstance);
                }
                id
            }
        };
        let known = self.members.get_key_value(id);
        let (id, entry) = known.ok_or(GroupError::UnknownMember)?;
        let classic = entry
            .said
            .classic
            .as_ref()
            .ok_or(GroupError::UnknownMember)?;
        if entry.position.epoch != caller.generation {
            return Err(GroupError::IllegalGeneration);
        }
        Ok((id, entry, classic))
    }
}
