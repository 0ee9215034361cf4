//! The classic protocol: who is in a group, and what it may do when. Members choose a leader among
//! them, and the leader assigns; how they get there is in [`super::rebalance`].
//!
//! Kafka's states: *Empty*; *Preparing*, while members join; *Completing*, while the leader assigns;
//! *Stable*. What is stored is how the group was when it last became stable or empty: after a restart
//! members go on from there by their heartbeats, and what was under way begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::commands::{Caller, Described, DescribedMember, GroupError, JoinedMember, Leave, Reply};
use super::timers::Timer;
use super::turn::Turn;
use super::{Kind, Row};
use crate::coordinator::machine::Ticket;
use crate::types::Timestamp;

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

/// What is stored of a classic group: how it was after its last rebalance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Rises with each rebalance.
    pub generation: i32,
    /// When it became empty; -1 while it is not.
    pub since: Timestamp,
    /// What kind of clients it has.
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: Option<Arc<str>>,
    /// Everybody, by id.
    pub members: Vec<Member>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: Arc<str>,
    /// Its static identity.
    pub instance: Option<Arc<str>>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// How long it may take to join a rebalance.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it can do, best first, and what it says about itself under each.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// What it is to do.
    pub assignment: Bytes,
}

/// Where a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody is there.
    #[default]
    Empty,
    /// Members join.
    Preparing,
    /// The leader assigns.
    Completing,
    /// Members work.
    Stable,
}

/// A member and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) member: Member,
    /// It does not know its id yet, and so cannot be heard of.
    pub(super) is_new: bool,
    /// Its JoinGroup, until the rebalance is complete.
    pub(super) join: Option<Ticket>,
    /// Its SyncGroup, until the leader has assigned.
    pub(super) sync: Option<Ticket>,
}

/// A classic group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub(super) phase: Phase,
    /// The rebalance under way is the first of an empty group.
    pub(super) initial: bool,
    /// Somebody has joined since the wait for the first rebalance was last extended.
    pub(super) newcomers: bool,
    /// How long that wait may still be extended.
    pub(super) extensible_ms: i64,
    pub(super) generation: i32,
    pub(super) since: Timestamp,
    pub(super) protocol_type: Arc<str>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) seats: BTreeMap<Arc<str>, Seat>,
    /// Member ids by instance id.
    pub(super) statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids given to clients that are to join again with them.
    pub(super) promised: BTreeSet<Arc<str>>,
    /// How many members know each protocol.
    pub(super) supported: BTreeMap<Arc<str>, usize>,
    /// How many members wait for their join to complete.
    pub(super) joining: usize,
    /// Members that have not asked for their assignment yet.
    pub(super) unsynced: BTreeSet<Arc<str>>,
    /// What its members read, if that is known.
    pub(super) topics: Option<BTreeSet<Arc<str>>>,
}

impl Group {
    /// The group that was stored as `state`.
    fn restore(state: &Snapshot) -> Self {
        let mut group = Self {
            generation: state.generation,
            since: state.since,
            protocol_type: state.protocol_type.clone(),
            protocol: state.protocol.clone(),
            leader: state.leader.clone(),
            ..Self::default()
        };
        for member in &state.members {
            group.insert(Seat {
                member: member.clone(),
                is_new: false,
                join: None,
                sync: None,
            });
        }
        if !group.seats.is_empty() {
            group.phase = Phase::Stable;
        }
        group.topics = group.read_topics();
        group
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            generation: self.generation,
            since: self.since,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self
                .seats
                .values()
                .map(|seat| seat.member.clone())
                .collect(),
        }
    }

    /// What is stored of it, unless a rebalance is under way.
    pub(super) fn settled(&self, id: &Arc<str>) -> Option<Row> {
        let settled = matches!(self.phase, Phase::Stable | Phase::Empty) && self.generation > 0;
        settled.then(|| Row::Classic {
            group: id.clone(),
            state: Some(Arc::new(self.snapshot())),
        })
    }

    /// Stores the group as it is.
    pub(super) fn store(&self, turn: &mut Turn<'_>) {
        turn.store(Row::Classic {
            group: turn.group.clone(),
            state: Some(Arc::new(self.snapshot())),
        });
    }

    /// Takes in what was stored. A group that is alive has led to its own row, and is ahead of it.
    pub(super) fn apply(kind: &mut Kind, state: Option<&Arc<Snapshot>>) {
        match (&kind, state) {
            (Kind::Classic(_), None) => *kind = Kind::Simple,
            (Kind::Simple, Some(state)) => *kind = Kind::Classic(Self::restore(state)),
            (Kind::Classic(_) | Kind::Consumer(_), Some(_))
            | (Kind::Simple | Kind::Consumer(_), None) => {}
        }
    }

    /// Gives every member its session anew.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) {
        for seat in self.seats.values() {
            watch(turn, &seat.member);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.phase == Phase::Empty
    }

    /// Whether there is nothing to remember of it.
    pub(super) fn is_blank(&self) -> bool {
        self.is_empty() && self.generation == 0 && self.promised.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn state(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    pub(super) fn protocol_type(&self) -> Arc<str> {
        self.protocol_type.clone()
    }

    pub(super) fn describe(&self) -> Described {
        let stable = self.phase == Phase::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = self
            .seats
            .values()
            .map(|Seat { member, .. }| DescribedMember {
                member: member.id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata: match stable {
                    true => member.metadata(&protocol),
                    false => Bytes::new(),
                },
                assignment: match stable {
                    true => member.assignment.clone(),
                    false => Bytes::new(),
                },
            });
        Described {
            state: self.state(),
            protocol_type: self.protocol_type.clone(),
            members: members.collect(),
            protocol,
        }
    }

    /// Puts a member in its place.
    pub(super) fn insert(&mut self, seat: Seat) {
        let member = &seat.member;
        for (protocol, _) in distinct(&member.protocols) {
            *self.supported.entry(protocol.clone()).or_default() += 1;
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.joining += usize::from(seat.join.is_some());
        self.seats.insert(member.id.clone(), seat);
    }

    /// Takes a member out, with what it waits for.
    pub(super) fn take(&mut self, id: &str) -> Option<Seat> {
        let seat = self.seats.remove(id)?;
        let member = &seat.member;
        for (protocol, _) in distinct(&member.protocols) {
            if let Some(count) = self.supported.get_mut(protocol) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(protocol);
                }
            }
        }
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(&member.id)
        {
            self.statics.remove(instance);
        }
        self.joining -= usize::from(seat.join.is_some());
        Some(seat)
    }

    /// Ends a membership: whoever waits is told so.
    pub(super) fn remove(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) {
        turn.disarm(Timer::Session(id.clone()));
        self.promised.remove(id);
        self.unsynced.remove(id);
        let Some(seat) = self.take(id) else { return };
        seat.dismiss(turn, &GroupError::UnknownMember);
        if self.leader.as_ref() == Some(id) {
            self.leader = self.seats.keys().next().cloned();
        }
    }

    pub(super) fn is_leader(&self, id: &Arc<str>) -> bool {
        self.leader.as_ref() == Some(id)
    }

    /// The member that `caller` says it is.
    pub(super) fn check_member(&self, caller: &Caller) -> Result<(), GroupError> {
        if let Some(instance) = &caller.instance {
            match self.statics.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(member) if *member != caller.member => {
                    return Err(GroupError::FencedInstance);
                }
                Some(_) => {}
            }
        }
        match self.seats.contains_key(&caller.member) {
            true => Ok(()),
            false => Err(GroupError::UnknownMember),
        }
    }

    pub(super) fn check_generation(&self, caller: &Caller) -> Result<(), GroupError> {
        match caller.generation == self.generation {
            true => Ok(()),
            false => Err(GroupError::IllegalGeneration),
        }
    }

    fn check_heartbeat(&self, caller: &Caller) -> Result<(), GroupError> {
        self.check_member(caller)?;
        self.check_generation(caller)?;
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Preparing | Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
    ) -> Result<(), GroupError> {
        self.check_heartbeat(caller)?;
        self.heard_of(turn, &caller.member);
        match self.phase {
            Phase::Preparing => Err(GroupError::Rebalancing),
            Phase::Empty | Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    /// A member is alive.
    pub(super) fn heard_of(&self, turn: &mut Turn<'_>, id: &Arc<str>) {
        if let Some(seat) = self.seats.get(id) {
            watch(turn, &seat.member);
        }
    }

    /// Whether `caller` may commit offsets.
    pub(super) fn check_commit(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        transactional: bool,
    ) -> Result<(), GroupError> {
        if caller.generation < 0 && self.is_empty() {
            return Ok(());
        }
        let named = !caller.member.is_empty() || caller.instance.is_some();
        if caller.generation >= 0 || named {
            self.check_member(caller)?;
            self.check_generation(caller)?;
        } else if !transactional {
            return Err(GroupError::UnknownMember);
        }
        match self.phase {
            // It has not got its assignment yet, so these are offsets of the last one.
            Phase::Completing if !transactional => return Err(GroupError::Rebalancing),
            Phase::Preparing | Phase::Stable => self.heard_of(turn, &caller.member),
            Phase::Completing | Phase::Empty => {}
        }
        Ok(())
    }

    /// Whether offsets may be deleted: of a live group only if it says what it reads.
    pub(super) fn check_delete_offsets(&self) -> Result<(), GroupError> {
        match self.is_empty() || &*self.protocol_type == CONSUMER {
            true => Ok(()),
            false => Err(GroupError::NotEmpty),
        }
    }

    /// Whether a member reads `topic`, or may.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.topics {
            Some(topics) => topics.contains(topic),
            None => !self.is_empty() && &*self.protocol_type == CONSUMER,
        }
    }

    /// Since when nobody has use for an offset of `topic`; `None` while somebody has.
    pub(super) fn unused_since(&self, topic: &str, committed_at: Timestamp) -> Option<Timestamp> {
        match self.phase {
            Phase::Empty => Some(self.since.max(committed_at)),
            Phase::Stable => {
                let topics = self.topics.as_ref()?;
                (!topics.contains(topic)).then_some(committed_at)
            }
            Phase::Preparing | Phase::Completing => None,
        }
    }

    /// The topics that its members have named, if they are consumers and can be understood.
    pub(super) fn read_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        if &*self.protocol_type != CONSUMER {
            return None;
        }
        let mut topics = BTreeSet::new();
        let mut known: Option<Bytes> = None;
        for Seat { member, .. } in self.seats.values() {
            let metadata = member.metadata(self.protocol.as_ref()?);
            // Most members say the same.
            if known.as_ref() != Some(&metadata) {
                topics.extend(subscription(&metadata)?);
                known = Some(metadata);
            }
        }
        Some(topics)
    }

    /// Everybody, for the leader.
    pub(super) fn roll(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.clone().unwrap_or_default();
        let all = self.seats.values().map(|Seat { member, .. }| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(&protocol),
        });
        all.collect()
    }

    /// The longest that any member may take to join.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        let all = self.seats.values();
        let longest = all.map(|seat| seat.member.rebalance_timeout_ms).max();
        longest.unwrap_or(0).into()
    }

    pub(super) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        leave: Leave,
    ) -> Vec<Result<(), GroupError>> {
        let mut left = false;
        let mut outcomes = Vec::with_capacity(leave.members.len());
        for (member, instance) in leave.members {
            let member = match &instance {
                // An admin knows the instance alone.
                Some(instance) if member.is_empty() => match self.statics.get(instance) {
                    Some(member) => member.clone(),
                    None => {
                        outcomes.push(Err(GroupError::UnknownMember));
                        continue;
                    }
                },
                Some(_) | None => member,
            };
            let caller = Caller {
                member,
                instance,
                ..Caller::default()
            };
            let promised = caller.instance.is_none() && self.promised.contains(&caller.member);
            let outcome = match promised {
                true => Ok(()),
                false => self.check_member(&caller),
            };
            if outcome.is_ok() {
                left |= !promised || self.phase == Phase::Preparing;
                self.remove(turn, &caller.member);
            }
            outcomes.push(outcome);
        }
        if left {
            self.rebalance(turn);
        }
        outcomes
    }

    /// `timer` is due.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>, timer: &Timer) {
        match timer {
            Timer::Session(id) => self.expire_session(turn, id),
            Timer::Join => self.expire_join(turn),
            Timer::Sync => self.expire_sync(turn),
            Timer::Revocation(_) | Timer::Consumer | Timer::Upkeep => {}
        }
    }

    fn expire_session(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) {
        if self.promised.remove(id) {
            if self.phase == Phase::Preparing {
                self.rebalance(turn);
            }
            return;
        }
        let Some(seat) = self.seats.get(id) else {
            return;
        };
        // Whoever is made to wait cannot be heard of; the session starts again with the answer.
        let waits = !seat.is_new && (seat.join.is_some() || seat.sync.is_some());
        if !waits {
            self.remove(turn, id);
            self.rebalance(turn);
        }
    }
}

impl Seat {
    /// Tells whoever waits that this member is no more.
    pub(super) fn dismiss(&self, turn: &mut Turn<'_>, why: &GroupError) {
        if let Some(ticket) = self.join {
            turn.answer(ticket, Reply::Joined(Err(why.clone())));
        }
        if let Some(ticket) = self.sync {
            turn.answer(ticket, Reply::Synced(Err(why.clone())));
        }
    }
}

impl Member {
    /// What it says about itself under `protocol`.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        // Of a name that comes twice, the last.
        let mut own = self.protocols.iter().rev();
        own.find(|(name, _)| **name == *protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }
}

/// Starts a member's session again.
pub(super) fn watch(turn: &mut Turn<'_>, member: &Member) {
    let timer = Timer::Session(member.id.clone());
    turn.arm(timer, member.session_timeout_ms.into());
}

/// A list of protocols without those whose name came before.
pub(super) fn distinct(
    protocols: &[(Arc<str>, Bytes)],
) -> impl Iterator<Item = &(Arc<str>, Bytes)> {
    protocols.iter().enumerate().filter_map(|(at, protocol)| {
        let before = &protocols[..at];
        (!before.iter().any(|(name, _)| *name == protocol.0)).then_some(protocol)
    })
}

/// The topics in what a consumer says about itself: the part that all versions start with. `None` if it
/// is something else.
fn subscription(mut metadata: &[u8]) -> Option<Vec<Arc<str>>> {
    let version = metadata.try_get_i16().ok()?;
    let count = metadata.try_get_i32().ok()?;
    if version < 0 || count < 0 {
        return None;
    }
    let mut topics = Vec::new();
    for _ in 0..count {
        let len = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let (topic, rest) = metadata.split_at_checked(len)?;
        topics.push(std::str::from_utf8(topic).ok()?.into());
        metadata = rest;
    }
    Some(topics)
}

impl super::Group {
    /// Judges a Heartbeat.
    pub(super) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
    ) -> Result<(), GroupError> {
        match &mut self.kind {
            Kind::Simple => Err(GroupError::UnknownMember),
            Kind::Classic(group) => group.heartbeat(turn, caller),
            Kind::Consumer(group) => group.classic_heartbeat(turn, caller),
        }
    }

    /// Judges a LeaveGroup.
    pub(super) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        leave: Leave,
    ) -> Vec<Result<(), GroupError>> {
        match &mut self.kind {
            Kind::Simple => {
                let nobody = |_| Err(GroupError::UnknownMember);
                leave.members.iter().map(nobody).collect()
            }
            Kind::Classic(group) => group.leave(turn, leave),
            Kind::Consumer(group) => group.classic_leave(turn, leave),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_read_as_far_as_they_go() {
        let two = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc and more";
        let topics: Vec<Arc<str>> = vec!["a".into(), "bc".into()];
        assert_eq!(subscription(two), Some(topics));
        assert_eq!(subscription(b"\0\0\0\0\0\0"), Some(Vec::new()));
        for foreign in [
            &b""[..],
            b"\0",
            b"\0\0\x7f\xff\xff\xff",
            b"\xff\xff\0\0\0\0",
            b"{\"a\": 1}",
        ] {
            assert_eq!(subscription(foreign), None, "{foreign:?}");
        }
    }
}
