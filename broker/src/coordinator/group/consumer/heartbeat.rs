//! The one call of the consumer protocol: to join, to stay, to leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::group::{Entry, Group};
use super::member::{AWAY, Assigned, JOINING, LEAVING, Member, Partitions, Position, Progress};
use super::reconcile::{self, Goal};
use super::rows::{Head, Row};
use super::target::{self, Asker};
use crate::coordinator::group::assignor::Assignor;
use crate::coordinator::group::commands::{Caller, GroupError};
use crate::coordinator::group::timers::Timer;
use crate::coordinator::group::turn::Turn;
use crate::coordinator::pattern::Pattern;
use crate::metadata::Image;

/// A ConsumerGroupHeartbeat. What is `None` has not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who asks; the generation is the member epoch.
    pub caller: Caller,
    /// Whether the broker may make a member id (v0).
    pub makes_id: bool,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Where it is, as tools show it.
    pub client_host: Arc<str>,
    /// Where it runs.
    pub rack: Option<Arc<str>>,
    /// How long it may take to give up partitions.
    pub rebalance_timeout: Option<i32>,
    /// The topics it wants.
    pub topics: Option<Vec<Arc<str>>>,
    /// It also wants what matches.
    pub regex: Option<Arc<str>>,
    /// The assignor it would like.
    pub assignor: Option<Arc<str>>,
    /// What it has.
    pub owned: Option<Partitions>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The member id.
    pub member: Arc<str>,
    /// Its epoch now.
    pub epoch: i32,
    /// When to come again, in milliseconds; 0 for one that has left.
    pub interval: i32,
    /// What it may use; `None` if that has not changed.
    pub assignment: Option<Partitions>,
}

impl Heartbeat {
    /// Whether it says all there is to say.
    fn is_full(&self) -> bool {
        let subscribed = self.topics.is_some() || self.regex.is_some();
        self.rebalance_timeout.is_some() && subscribed && self.owned.is_some()
    }

    /// Looks for what no group could make sense of.
    pub(super) fn check(&self, assignors: &[Assignor]) -> Result<(), GroupError> {
        let epoch = self.caller.generation;
        let problem = if self.caller.member.is_empty() && !(self.makes_id && epoch == JOINING) {
            "MemberId can't be empty."
        } else if self.caller.group.is_empty() {
            "GroupId can't be empty."
        } else if self.caller.instance.as_deref() == Some("") {
            "InstanceId can't be empty."
        } else if self.rack.as_deref() == Some("") {
            "RackId can't be empty."
        } else if epoch == JOINING && self.rebalance_timeout.is_none() {
            "RebalanceTimeoutMs must be provided in first request."
        } else if epoch == JOINING && self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            "TopicPartitions must be empty when (re-)joining."
        } else if epoch == JOINING && self.topics.is_none() && self.regex.is_none() {
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
        } else if epoch == AWAY && self.caller.instance.is_none() {
            "InstanceId can't be null."
        } else if epoch < AWAY {
            "MemberEpoch must be greater than or equal to -2."
        } else {
            let known = |name: &str| assignors.iter().any(|assignor| assignor.name() == name);
            if self.assignor.as_deref().is_some_and(|name| !known(name)) {
                let names: Vec<_> = assignors.iter().map(|assignor| assignor.name()).collect();
                return Err(GroupError::UnsupportedAssignor(names.join(", ")));
            }
            return Ok(());
        };
        Err(GroupError::InvalidRequest(problem.to_owned()))
    }

    /// Whether the member goes, for good or for a while.
    pub(super) fn leaves(&self) -> bool {
        matches!(self.caller.generation, LEAVING | AWAY)
    }

    /// What `before` says now.
    fn update(&self, before: &Member) -> Member {
        let mut said = before.clone();
        if let Some(instance) = &self.caller.instance {
            said.instance = Some(instance.clone());
        }
        if let Some(rack) = &self.rack {
            said.rack = Some(rack.clone());
        }
        if let Some(timeout) = self.rebalance_timeout {
            said.rebalance_timeout = timeout;
        }
        if let Some(topics) = &self.topics {
            said.topics = topics.iter().cloned().collect();
        }
        if let Some(regex) = &self.regex {
            said.regex.clone_from(regex);
        }
        if let Some(name) = &self.assignor {
            said.assignor = Assignor::named(name);
        }
        said.client_id = self.client_id.clone();
        said.client_host = self.client_host.clone();
        said.classic = None;
        said
    }

    /// Whether nothing of `said` would change.
    fn repeats(&self, said: &Member) -> bool {
        said.classic.is_none()
            && self.rack.is_none()
            && self.rebalance_timeout.is_none()
            && self.topics.is_none()
            && self.regex.is_none()
            && self.assignor.is_none()
            && self
                .caller
                .instance
                .as_deref()
                .is_none_or(|i| said.instance.as_deref() == Some(i))
            && said.client_id == self.client_id
            && said.client_host == self.client_host
    }
}

/// A member that takes a step: who it was, and what it says now.
pub(super) struct Arrival {
    pub(super) id: Arc<str>,
    /// Its entry so far; of the member that it replaces; or blank.
    pub(super) before: Entry,
    /// Whether it has no rows yet.
    pub(super) is_new: bool,
    /// The static member whose place it takes.
    pub(super) replaces: Option<Arc<str>>,
    pub(super) said: Member,
}

impl Group {
    /// Judges a heartbeat of a member that joins or stays.
    pub(super) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        image: &Arc<Image>,
        request: &Heartbeat,
    ) -> Result<Beat, GroupError> {
        let caller = &request.caller;
        let id: Arc<str> = if caller.member.is_empty() {
            turn.uuid().into()
        } else {
            caller.member.clone()
        };
        let instance = caller.instance.as_deref();
        self.check_room(turn, &id, instance)?;
        if caller.generation != JOINING
            && let Some(beat) = self.steady(turn, image, request)
        {
            return Ok(beat);
        }
        let joining = caller.generation == JOINING;
        let mut arrival = match instance {
            None => self.dynamic(id, joining)?,
            Some(instance) => self.fixed(id, instance, joining, Protocol::Consumer)?,
        };
        if !joining {
            check_epoch(
                &arrival.before.position,
                caller.generation,
                request.owned.as_ref(),
            )?;
        }
        arrival.said = request.update(&arrival.before.said);
        let regex = &arrival.said.regex;
        if !regex.is_empty() && *regex != arrival.before.said.regex {
            Pattern::new(regex).map_err(GroupError::InvalidRegex)?;
        }
        let id = arrival.id.clone();
        let before = arrival.before.position.clone();
        let times = turn.times();
        let position = self.advance(turn, image, arrival, request.owned.as_ref());
        turn.arm(Timer::Session(id.clone()), times.session_timeout_ms.into());
        let tell = joining || request.is_full() || !position.has_same_partitions(&before);
        Ok(Beat {
            member: id,
            epoch: position.epoch,
            interval: times.heartbeat_interval_ms,
            assignment: tell.then(|| position.partitions()),
        })
    }

    /// The answer to a heartbeat that changes nothing: by far the most frequent one.
    fn steady(&self, turn: &mut Turn<'_>, image: &Image, request: &Heartbeat) -> Option<Beat> {
        let (id, entry) = self.members.get_key_value(&request.caller.member)?;
        let position = &entry.position;
        let quiet = request.repeats(&entry.said)
            && position.epoch == request.caller.generation
            && position.has_reached(self.head.epoch)
            && self.head.assignment_epoch == self.head.epoch
            && self.sight.has_seen(image);
        if !quiet {
            return None;
        }
        let times = turn.times();
        turn.arm(Timer::Session(id.clone()), times.session_timeout_ms.into());
        Some(Beat {
            member: id.clone(),
            epoch: position.epoch,
            interval: times.heartbeat_interval_ms,
            assignment: None,
        })
    }

    /// Refuses a member more than the group may have.
    pub(super) fn check_room(
        &self,
        turn: &Turn<'_>,
        id: &str,
        instance: Option<&str>,
    ) -> Result<(), GroupError> {
        let known = self.members.contains_key(id)
            || instance.is_some_and(|instance| self.instances.contains_key(instance));
        if !known && self.members.len() >= turn.limits.consumer.max_size {
            return Err(GroupError::Full);
        }
        Ok(())
    }

    /// A member without an instance id.
    pub(super) fn dynamic(&self, id: Arc<str>, joining: bool) -> Result<Arrival, GroupError> {
        match self.members.get(&id) {
            Some(entry) => Ok(Arrival::of(id, entry)),
            None if joining => Ok(Arrival {
                id,
                before: Entry::default(),
                is_new: true,
                replaces: None,
                said: Member::default(),
            }),
            None => Err(GroupError::UnknownMember),
        }
    }

    /// A member with an instance id.
    pub(super) fn fixed(
        &self,
        id: Arc<str>,
        instance: &str,
        joining: bool,
        protocol: Protocol,
    ) -> Result<Arrival, GroupError> {
        let known = self.instances.get(instance);
        let known = known.and_then(|known| self.members.get_key_value(known));
        let Some((known, entry)) = known else {
            return if joining {
                self.dynamic(id, true)
            } else {
                Err(GroupError::UnknownMember)
            };
        };
        if *known == id {
            return Ok(Arrival::of(id, entry));
        }
        if !joining {
            return Err(GroupError::FencedInstance);
        }
        let both_consumer = protocol == Protocol::Consumer && entry.said.classic.is_none();
        if both_consumer && entry.position.epoch != AWAY {
            return Err(GroupError::UnreleasedInstance);
        }
        // The place is kept, but for the epochs.
        let mut before = entry.clone();
        before.position.epoch = 0;
        before.position.previous = 0;
        Ok(Arrival {
            id,
            before,
            is_new: true,
            replaces: Some(known.clone()),
            said: Member::default(),
        })
    }

    /// Lets a member take its step: the group's epoch rises if what it wants has changed or the
    /// topics have, a target is made for a new epoch, and the member walks towards it.
    pub(super) fn advance(
        &mut self,
        turn: &mut Turn<'_>,
        image: &Arc<Image>,
        arrival: Arrival,
        owned: Option<&Partitions>,
    ) -> Position {
        let Arrival {
            id,
            before,
            is_new,
            replaces,
            said,
        } = arrival;
        if let Some(old) = &replaces {
            Self::take_out(turn, old);
        }
        if is_new || said != before.said {
            store(turn, Row::Member(id.clone(), Some(Box::new(said.clone()))));
        }
        let wants_other = said.topics != before.said.topics || said.regex != before.said.regex;
        let mut head = self.head;
        let mut bump = head.epoch == 0 || wants_other;
        if bump || !self.sight.has_seen(image) {
            let others = self.members.iter();
            let others =
                others.filter(|(other, _)| **other != id && Some(*other) != replaces.as_ref());
            let others = others.map(|(_, entry)| &entry.said).chain([&said]);
            head.fingerprint = self.sight.look(others, image);
            bump |= head.fingerprint != self.head.fingerprint;
        }
        if bump {
            head.epoch += 1;
        }
        let mut target = before.target.clone();
        if head.epoch > head.assignment_epoch {
            target = self.retarget(turn, image, (&id, &said, &before.target), replaces.as_ref());
            head.assignment_epoch = head.epoch;
        }
        if target != before.target || is_new {
            store(turn, Row::Target(id.clone(), Some(target.clone())));
        }
        if head != self.head {
            store(turn, Row::Head(Some(head)));
        }
        let position = if !wants_other && before.position.has_reached(head.assignment_epoch) {
            before.position.clone()
        } else {
            let taken = |topic, partition| {
                let holder = self.holder(topic, partition);
                holder.is_some_and(|holder| *holder != id && Some(holder) != replaces.as_ref())
            };
            let wanted: BTreeSet<_> = self.sight.wanted(&said, image);
            reconcile::step(
                &before.position,
                &Goal {
                    epoch: head.assignment_epoch,
                    target: &target,
                    wanted: &wanted,
                    wants_other,
                    taken: &taken,
                    owned,
                },
            )
        };
        if position != before.position || is_new {
            store(turn, Row::Position(id.clone(), Some(position.clone())));
            if said.classic.is_none() {
                let timer = Timer::Revocation(id);
                if position.progress == Progress::Unrevoked {
                    turn.arm(timer, said.rebalance_timeout.into());
                } else {
                    turn.disarm(timer);
                }
            }
        }
        position
    }

    /// Makes a target for everybody. Returns that of the member `id`, adds rows for the others whose
    /// target has changed.
    fn retarget(
        &self,
        turn: &mut Turn<'_>,
        image: &Arc<Image>,
        (id, said, target): (&Arc<str>, &Member, &Partitions),
        replaces: Option<&Arc<str>>,
    ) -> Partitions {
        let mut askers: Vec<Asker<'_>> = self
            .members
            .iter()
            .filter(|(other, _)| *other != id && Some(*other) != replaces)
            .map(|(id, entry)| Asker {
                id,
                said: &entry.said,
                target: &entry.target,
            })
            .collect();
        askers.push(Asker { id, said, target });
        let all = askers.iter().map(|asker| asker.said);
        let assignor = Self::preferred(all, &turn.limits.consumer.assignors);
        let mut targets = target::assign(&self.sight, assignor, &askers, image);
        let own = targets.pop().unwrap_or_default();
        for (asker, target) in askers.iter().zip(targets) {
            if target != *asker.target {
                store(turn, Row::Target(asker.id.clone(), Some(target)));
            }
        }
        own
    }

    /// Judges a heartbeat of a member that leaves: whom to take out, and the answer.
    pub(super) fn leaver(
        &self,
        turn: &mut Turn<'_>,
        request: &Heartbeat,
    ) -> Result<(Option<Arc<str>>, Beat), GroupError> {
        let caller = &request.caller;
        let id = match caller.instance.as_deref() {
            None => self.members.get_key_value(&caller.member).map(|(id, _)| id),
            Some(instance) => {
                let known = self.instances.get(instance);
                if known.is_some_and(|known| *known != caller.member) {
                    return Err(GroupError::FencedInstance);
                }
                known
            }
        };
        let id = id.ok_or(GroupError::UnknownMember)?;
        let beat = Beat {
            member: id.clone(),
            epoch: caller.generation,
            interval: 0,
            assignment: None,
        };
        if caller.generation != AWAY {
            return Ok((Some(id.clone()), beat));
        }
        let entry = self.members.get(id).ok_or(GroupError::UnknownMember)?;
        let mut position = entry.position.clone();
        position.epoch = AWAY;
        position.revoking = Assigned::new();
        store(turn, Row::Position(id.clone(), Some(position)));
        turn.disarm(Timer::Revocation(id.clone()));
        Ok((None, beat))
    }

    /// Takes members out; the group's epoch rises.
    pub(super) fn remove(
        &mut self,
        turn: &mut Turn<'_>,
        image: &Arc<Image>,
        ids: &BTreeSet<Arc<str>>,
    ) {
        for id in ids {
            Self::take_out(turn, id);
        }
        let others = self.members.iter().filter(|(id, _)| !ids.contains(*id));
        let fingerprint = self.sight.look(others.map(|(_, entry)| &entry.said), image);
        let head = Head {
            epoch: self.head.epoch + 1,
            fingerprint,
            ..self.head
        };
        store(turn, Row::Head(Some(head)));
    }

    /// Takes a member out.
    fn take_out(turn: &mut Turn<'_>, id: &Arc<str>) {
        for row in Self::rows_without(id) {
            store(turn, row);
        }
        turn.disarm(Timer::Session(id.clone()));
        turn.disarm(Timer::Revocation(id.clone()));
    }
}

impl Arrival {
    fn of(id: Arc<str>, entry: &Entry) -> Self {
        Self {
            id,
            before: entry.clone(),
            is_new: false,
            replaces: None,
            said: Member::default(),
        }
    }
}

/// What a member speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Classic,
    Consumer,
}

/// Accepts the member's epoch, and the one before while the member has nothing that it may not have:
/// the answer with the new one may have been lost.
fn check_epoch(
    position: &Position,
    epoch: i32,
    owned: Option<&Partitions>,
) -> Result<(), GroupError> {
    let known = position.epoch;
    let lost = || epoch == position.previous && owned.is_some_and(|owned| position.covers(owned));
    if epoch == known || (epoch < known && lost()) {
        return Ok(());
    }
    let word = if epoch > known { "greater" } else { "smaller" };
    Err(GroupError::FencedMemberEpoch(format!(
        "The consumer group member has a {word} member epoch ({epoch}) than the one known by the \
         group coordinator ({known}). The member must abandon all its partitions and rejoin."
    )))
}

/// Adds a row to what is stored.
pub(super) fn store(turn: &mut Turn<'_>, row: Row) {
    let group = turn.group.clone();
    turn.store(super::super::Row::Consumer { group, row });
}
