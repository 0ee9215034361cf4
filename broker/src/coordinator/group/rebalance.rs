//! Rebalances of classic groups: joining, choosing leader and protocol, assigning.

use std::sync::Arc;

use bytes::Bytes;

use super::Kind;
use super::classic::{Group, Member, Phase, Seat, distinct, watch};
use super::commands::{GroupError, Join, Joined, Reply, Sync, Synced};
use super::timers::Timer;
use super::turn::Turn;
use crate::coordinator::machine::Ticket;

/// How long a new member may wait for its first rebalance; Kafka's number. It cannot send heartbeats,
/// and nobody would see it go.
const NEW_MEMBER_JOIN_MS: i64 = 5 * 60 * 1000;

impl super::Group {
    /// Judges a JoinGroup.
    pub(super) fn join(&mut self, turn: &mut Turn<'_>, ticket: Ticket, join: Join) {
        let limits = turn.limits;
        let sessions = limits.min_session_timeout_ms..=limits.max_session_timeout_ms;
        let refused = if join.caller.group.is_empty() {
            Some(GroupError::InvalidGroupId)
        } else if !sessions.contains(&join.session_timeout_ms) {
            Some(GroupError::InvalidSessionTimeout)
        } else {
            None
        };
        if let Some(error) = refused {
            return turn.answer(ticket, Reply::Joined(Err(error)));
        }
        match &mut self.kind {
            Kind::Consumer(group) if !group.is_empty() => {
                return group.classic_join(turn, ticket, join);
            }
            Kind::Consumer(group) => {
                turn.decision.rows.extend(group.tombstones(&turn.group));
                self.kind = Kind::Classic(Group::default());
            }
            Kind::Simple => self.kind = Kind::Classic(Group::default()),
            Kind::Classic(_) => {}
        }
        if let Kind::Classic(group) = &mut self.kind {
            group.join(turn, ticket, join);
        }
    }

    /// Judges a SyncGroup.
    pub(super) fn sync(&mut self, turn: &mut Turn<'_>, ticket: Ticket, sync: Sync) {
        match &mut self.kind {
            Kind::Simple => {
                turn.answer(ticket, Reply::Synced(Err(GroupError::UnknownMember)));
            }
            Kind::Classic(group) => group.sync(turn, ticket, sync),
            Kind::Consumer(group) => group.classic_sync(turn, ticket, sync),
        }
    }
}

impl Group {
    fn join(&mut self, turn: &mut Turn<'_>, ticket: Ticket, join: Join) {
        let member = join.caller.member.clone();
        if !self.has_room(&member, turn.limits.max_size) {
            self.remove(turn, &member);
            turn.answer(ticket, Reply::Joined(Err(GroupError::Full)));
        } else if !self.supports(&join) {
            turn.answer(ticket, Reply::Joined(Err(GroupError::InconsistentProtocol)));
        } else if member.is_empty() {
            self.join_new(turn, ticket, join);
        } else {
            self.join_known(turn, ticket, join);
        }
        if self.phase == Phase::Preparing {
            self.rebalance(turn);
        }
    }

    /// Whether a member may come, or stay. While members join it is those who have joined that count:
    /// so a group that is too large shrinks.
    fn has_room(&self, member: &str, max_size: usize) -> bool {
        let seat = self.seats.get(member);
        match self.phase {
            Phase::Empty => true,
            Phase::Preparing => {
                seat.is_some_and(|seat| seat.join.is_some()) || self.joining < max_size
            }
            Phase::Completing | Phase::Stable => seat.is_some() || self.seats.len() < max_size,
        }
    }

    /// Whether what a member can do goes with what all others can.
    fn supports(&self, join: &Join) -> bool {
        if self.phase == Phase::Empty {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let by_all =
            |name: &Arc<str>| self.supported.get(name).copied().unwrap_or(0) == self.seats.len();
        join.protocol_type == self.protocol_type
            && join.protocols.iter().any(|(name, _)| by_all(name))
    }

    fn join_new(&mut self, turn: &mut Turn<'_>, ticket: Ticket, join: Join) {
        let uuid = turn.uuid();
        let prefix = join.caller.instance.as_ref().unwrap_or(&join.client_id);
        let id: Arc<str> = format!("{prefix}-{uuid}").into();
        let instance = join.caller.instance.as_ref();
        match instance.and_then(|instance| self.statics.get(instance)) {
            Some(old) => {
                let old = old.clone();
                self.replace(turn, ticket, &old, id, &join);
            }
            None if instance.is_none() && join.id_required => {
                self.promised.insert(id.clone());
                turn.arm(Timer::Session(id.clone()), join.session_timeout_ms.into());
                turn.answer(ticket, Reply::Joined(Err(GroupError::MemberIdRequired(id))));
            }
            None => self.add(turn, ticket, id, &join),
        }
    }

    fn join_known(&mut self, turn: &mut Turn<'_>, ticket: Ticket, join: Join) {
        let id = join.caller.member.clone();
        if join.caller.instance.is_none() && self.promised.contains(&id) {
            return self.add(turn, ticket, id, &join);
        }
        if let Err(error) = self.check_member(&join.caller) {
            return turn.answer(ticket, Reply::Joined(Err(error)));
        }
        let same = self.seats[&id].member.protocols == join.protocols;
        let stands = match self.phase {
            Phase::Empty | Phase::Preparing => false,
            // Its response was lost.
            Phase::Completing => same,
            // The leader joins again when there is something new to assign.
            Phase::Stable => same && !self.is_leader(&id),
        };
        if stands {
            self.heard_of(turn, &id);
            let skip = false;
            return self.tell(turn, ticket, &id, skip);
        }
        self.update(&id, &join);
        self.park(turn, &id, ticket);
        self.rebalance(turn);
    }

    /// Takes a new member in.
    fn add(&mut self, turn: &mut Turn<'_>, ticket: Ticket, id: Arc<str>, join: &Join) {
        if self.phase == Phase::Preparing && self.initial {
            self.newcomers = true;
        }
        if self.seats.is_empty() {
            self.protocol_type = join.protocol_type.clone();
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        self.promised.remove(&id);
        turn.arm(Timer::Session(id.clone()), NEW_MEMBER_JOIN_MS);
        self.insert(Seat {
            member: member(id, join),
            is_new: true,
            join: Some(ticket),
            sync: None,
        });
        self.rebalance(turn);
    }

    /// Puts a new life of a static member in the place of the old one.
    fn replace(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        old: &Arc<str>,
        id: Arc<str>,
        join: &Join,
    ) {
        let Some(seat) = self.take(old) else { return };
        turn.disarm(Timer::Session(old.clone()));
        seat.dismiss(turn, &GroupError::FencedInstance);
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.clone());
        }
        let old_leader = self.leader.clone();
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        let mut member = member(id.clone(), join);
        member.assignment = seat.member.assignment;
        watch(turn, &member);
        self.insert(Seat {
            member,
            is_new: false,
            join: None,
            sync: None,
        });
        if self.phase == Phase::Stable && self.choose_protocol() == self.protocol {
            // It goes on with what its last life had; nobody else need know.
            self.topics = self.read_topics();
            self.store(turn);
            if join.skips_assignment {
                let skip = self.is_leader(&id);
                self.tell(turn, ticket, &id, skip);
            } else {
                // Under its old name the leader is somebody else, and so does not assign.
                let joined = Joined {
                    leader: old_leader.unwrap_or_default(),
                    members: Vec::new(),
                    ..self.joined(&id, false)
                };
                turn.answer(ticket, Reply::Joined(Ok(joined)));
            }
        } else {
            self.park(turn, &id, ticket);
            self.rebalance(turn);
        }
    }

    /// Takes over what a member now says about itself.
    fn update(&mut self, id: &Arc<str>, join: &Join) {
        if let Some(mut seat) = self.take(id) {
            let assignment = seat.member.assignment;
            seat.member = member(id.clone(), join);
            seat.member.assignment = assignment;
            self.insert(seat);
        }
    }

    /// Has a member's join wait for the rebalance; one that waits already is a lost connection's.
    fn park(&mut self, turn: &mut Turn<'_>, id: &Arc<str>, ticket: Ticket) {
        let Some(seat) = self.seats.get_mut(id) else {
            return;
        };
        match seat.join.replace(ticket) {
            Some(lost) => turn.answer(lost, Reply::Joined(Err(GroupError::UnknownMember))),
            None => self.joining += 1,
        }
    }

    fn joined(&self, id: &Arc<str>, skip_assignment: bool) -> Joined {
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            member: id.clone(),
            skip_assignment,
            members: match self.is_leader(id) {
                true => self.roll(),
                false => Vec::new(),
            },
        }
    }

    fn tell(&self, turn: &mut Turn<'_>, ticket: Ticket, id: &Arc<str>, skip_assignment: bool) {
        let joined = self.joined(id, skip_assignment);
        turn.answer(ticket, Reply::Joined(Ok(joined)));
    }

    /// Begins a rebalance, or takes the one that goes on as far as it goes.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Preparing => self.complete_if_all_are_here(turn),
            Phase::Empty | Phase::Completing | Phase::Stable => self.prepare(turn),
        }
    }

    fn prepare(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::Completing {
            for seat in self.seats.values_mut() {
                seat.member.assignment = Bytes::new();
                if let Some(ticket) = seat.sync.take() {
                    turn.answer(ticket, Reply::Synced(Err(GroupError::Rebalancing)));
                    watch(turn, &seat.member);
                }
            }
        }
        turn.disarm(Timer::Sync);
        self.unsynced.clear();
        self.initial = self.phase == Phase::Empty;
        self.newcomers = false;
        self.phase = Phase::Preparing;
        if !self.initial {
            return self.complete_if_all_are_here(turn);
        }
        let delay = turn.limits.initial_rebalance_delay_ms;
        self.extensible_ms = (self.rebalance_timeout_ms() - delay).max(0);
        match delay {
            ..=0 => self.complete(turn),
            1.. => turn.arm(Timer::Join, delay),
        }
    }

    fn complete_if_all_are_here(&mut self, turn: &mut Turn<'_>) {
        if self.initial {
            // The first members of a group are waited for by time alone.
        } else if self.joining == self.seats.len() && self.promised.is_empty() {
            self.complete(turn);
        } else {
            turn.arm_if_idle(Timer::Join, self.rebalance_timeout_ms());
        }
    }

    pub(super) fn expire_join(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Preparing {
            return;
        }
        if self.initial && self.newcomers && self.extensible_ms > 0 {
            let delay = turn.limits.initial_rebalance_delay_ms;
            self.newcomers = false;
            turn.arm(Timer::Join, delay.min(self.extensible_ms));
            self.extensible_ms = (self.extensible_ms - delay).max(0);
        } else {
            self.complete(turn);
        }
    }

    /// Goes on with those that have joined.
    fn complete(&mut self, turn: &mut Turn<'_>) {
        turn.disarm(Timer::Join);
        let absent = self.seats.values().filter(|seat| seat.join.is_none());
        let lost: Vec<Arc<str>> = absent
            .filter(|seat| seat.member.instance.is_none())
            .map(|seat| seat.member.id.clone())
            .collect();
        for id in lost {
            self.remove(turn, &id);
        }
        if !self.seats.is_empty() && !self.elect() {
            // Static members alone, and none has come: until their sessions end.
            return turn.arm(Timer::Join, self.rebalance_timeout_ms());
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.unsynced.clear();
        self.initial = false;
        if self.seats.is_empty() {
            self.phase = Phase::Empty;
            self.since = turn.now;
            self.protocol = None;
            self.leader = None;
            self.topics = self.read_topics();
            return self.store(turn);
        }
        self.phase = Phase::Completing;
        self.since = -1;
        self.protocol = self.choose_protocol();
        self.topics = self.read_topics();
        let ids: Vec<Arc<str>> = self.seats.keys().cloned().collect();
        for id in ids {
            let Some(seat) = self.seats.get_mut(&id) else {
                continue;
            };
            seat.is_new = false;
            watch(turn, &seat.member);
            if let Some(ticket) = seat.join.take() {
                self.joining -= 1;
                self.tell(turn, ticket, &id, false);
            }
            self.unsynced.insert(id);
        }
        turn.arm(Timer::Sync, self.rebalance_timeout_ms());
    }

    /// Makes sure that the leader is one who has joined; `false` if nobody has.
    fn elect(&mut self) -> bool {
        let here = |seat: &Seat| seat.join.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.seats.get(id));
        if leader.is_some_and(here) {
            return true;
        }
        let first = self.seats.values().find(|seat| here(seat));
        let Some(first) = first.map(|seat| seat.member.id.clone()) else {
            return false;
        };
        self.leader = Some(first);
        true
    }

    /// The protocol that all know and most like best; of equals, the one that the leader likes best.
    fn choose_protocol(&self) -> Option<Arc<str>> {
        let by_all = |name: &Arc<str>| self.supported.get(name) == Some(&self.seats.len());
        let leader = self.seats.get(self.leader.as_ref()?)?;
        let mut votes: Vec<(Arc<str>, usize)> = distinct(&leader.member.protocols)
            .filter(|(name, _)| by_all(name))
            .map(|(name, _)| (name.clone(), 0))
            .collect();
        for seat in self.seats.values() {
            let mut own = seat.member.protocols.iter();
            let best = own.find(|(name, _)| by_all(name));
            let vote = best.and_then(|(best, _)| votes.iter_mut().find(|(name, _)| name == best));
            if let Some((_, count)) = vote {
                *count += 1;
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        let chosen = votes.into_iter().find(|(_, count)| *count == most);
        chosen.map(|(name, _)| name)
    }

    fn sync(&mut self, turn: &mut Turn<'_>, ticket: Ticket, sync: Sync) {
        if let Err(error) = self.check_sync(&sync) {
            return turn.answer(ticket, Reply::Synced(Err(error)));
        }
        let id = &sync.caller.member;
        if self.unsynced.remove(id) && self.unsynced.is_empty() {
            turn.disarm(Timer::Sync);
        }
        match self.phase {
            Phase::Completing => {
                if let Some(seat) = self.seats.get_mut(id)
                    && let Some(lost) = seat.sync.replace(ticket)
                {
                    turn.answer(lost, Reply::Synced(Err(GroupError::UnknownMember)));
                }
                if self.is_leader(id) {
                    self.assign(turn, sync.assignments);
                }
            }
            Phase::Stable => {
                self.heard_of(turn, id);
                self.hand_out(turn, ticket, id);
            }
            Phase::Empty | Phase::Preparing => {}
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), GroupError> {
        self.check_member(&sync.caller)?;
        self.check_generation(&sync.caller)?;
        let differs = |said: &Option<Arc<str>>, is: Option<&Arc<str>>| {
            said.as_ref()
                .is_some_and(|said| is.is_some_and(|is| is != said))
        };
        if differs(&sync.protocol_type, Some(&self.protocol_type))
            || differs(&sync.protocol, self.protocol.as_ref())
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Preparing => Err(GroupError::Rebalancing),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    /// The leader has spoken: whom it did not name gets nothing.
    fn assign(&mut self, turn: &mut Turn<'_>, assignments: Vec<(Arc<str>, Bytes)>) {
        for seat in self.seats.values_mut() {
            seat.member.assignment = Bytes::new();
        }
        for (id, assignment) in assignments {
            if let Some(seat) = self.seats.get_mut(&id) {
                seat.member.assignment = assignment;
            }
        }
        self.phase = Phase::Stable;
        self.store(turn);
        let waiting: Vec<(Arc<str>, Ticket)> = self
            .seats
            .iter_mut()
            .filter_map(|(id, seat)| seat.sync.take().map(|ticket| (id.clone(), ticket)))
            .collect();
        for (id, ticket) in waiting {
            self.heard_of(turn, &id);
            self.hand_out(turn, ticket, &id);
        }
    }

    fn hand_out(&self, turn: &mut Turn<'_>, ticket: Ticket, id: &Arc<str>) {
        let synced = Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment: self.seats[id].member.assignment.clone(),
        };
        turn.answer(ticket, Reply::Synced(Ok(synced)));
    }

    pub(super) fn expire_sync(&mut self, turn: &mut Turn<'_>) {
        let late = std::mem::take(&mut self.unsynced);
        let assigned = matches!(self.phase, Phase::Completing | Phase::Stable);
        if late.is_empty() || !assigned {
            return;
        }
        for id in late {
            self.remove(turn, &id);
        }
        self.rebalance(turn);
    }
}

/// The member that `join` makes of a client.
fn member(id: Arc<str>, join: &Join) -> Member {
    Member {
        id,
        instance: join.caller.instance.clone(),
        client_id: join.client_id.clone(),
        client_host: join.client_host.clone(),
        rebalance_timeout_ms: join.rebalance_timeout_ms,
        session_timeout_ms: join.session_timeout_ms,
        protocols: join.protocols.clone(),
        assignment: Bytes::new(),
    }
}
