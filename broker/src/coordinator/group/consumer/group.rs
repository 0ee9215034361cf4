//! What a consumer group is: its epochs, its members, and who holds which partition.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::member::{Member, Partitions, Position};
use super::rows::{Head, Row};
use super::subscription;
use crate::coordinator::group::assignor::Assignor;
use crate::metadata::Image;
use crate::types::{PartitionIndex, TopicId};

/// A group under the consumer protocol.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub(super) head: Head,
    pub(super) members: BTreeMap<Arc<str>, Entry>,
    /// Member ids of static members, by instance id.
    pub(super) instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Who holds a partition: who may use it, or has yet to give it up.
    holders: HashMap<(TopicId, PartitionIndex), Arc<str>>,
    pub(super) sight: Sight,
}

/// What was seen of the topics; worked out anew after a restart.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// The image that was looked at.
    image: Option<Arc<Image>>,
    /// The topics that match each expression in use.
    pub(super) matches: BTreeMap<Arc<str>, Arc<BTreeSet<Arc<str>>>>,
}

/// A member, its target and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) said: Member,
    pub(super) target: Partitions,
    pub(super) position: Position,
}

/// Hard state is compared; what was seen of the topics is not.
impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head
            && self.members == other.members
            && self.instances == other.instances
            && self.holders == other.holders
    }
}

impl Eq for Group {}

/// The state of a group, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No members.
    Empty,
    /// The target is older than the group's epoch.
    Assigning,
    /// Some member has not reached the target.
    Reconciling,
    /// Everybody has what they are to have.
    Stable,
}

impl State {
    /// The name that tools show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl Group {
    /// Its state.
    pub(super) fn phase(&self) -> State {
        let epoch = self.head.assignment_epoch;
        if self.members.is_empty() {
            State::Empty
        } else if self.head.epoch > epoch {
            State::Assigning
        } else if self.members.values().all(|m| m.position.has_reached(epoch)) {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    /// Takes in a row; says whether the group is still there.
    pub(super) fn take(&mut self, row: &Row) -> bool {
        match row {
            Row::Head(head) => {
                self.head = head.unwrap_or_default();
                return head.is_some();
            }
            Row::Member(id, Some(said)) => {
                if let Some(instance) = &said.instance {
                    self.instances.insert(instance.clone(), id.clone());
                }
                self.entry(id).said = (**said).clone();
            }
            Row::Member(id, None) => {
                if let Some(entry) = self.members.remove(id) {
                    self.release(id, &entry.position);
                    if let Some(instance) = entry.said.instance
                        && self.instances.get(&instance) == Some(id)
                    {
                        self.instances.remove(&instance);
                    }
                }
            }
            Row::Target(id, Some(target)) => self.entry(id).target.clone_from(target),
            Row::Position(id, Some(position)) => {
                let before = std::mem::replace(&mut self.entry(id).position, position.clone());
                self.release(id, &before);
                for partition in position.holds() {
                    self.holders.insert(partition, id.clone());
                }
            }
            // Comes with the end of the member, whose row says it all.
            Row::Target(_, None) => {}
            Row::Position(id, None) => {
                if let Some(entry) = self.members.get_mut(id) {
                    let before = std::mem::take(&mut entry.position);
                    self.release(id, &before);
                }
            }
        }
        true
    }

    fn entry(&mut self, id: &Arc<str>) -> &mut Entry {
        self.members.entry(id.clone()).or_default()
    }

    fn release(&mut self, id: &Arc<str>, position: &Position) {
        for partition in position.holds() {
            if self.holders.get(&partition) == Some(id) {
                self.holders.remove(&partition);
            }
        }
    }

    /// Who holds a partition.
    pub fn holder(&self, topic: TopicId, partition: PartitionIndex) -> Option<&Arc<str>> {
        self.holders.get(&(topic, partition))
    }

    /// The rows that take the member `id` out.
    pub(super) fn rows_without(id: &Arc<str>) -> [Row; 3] {
        [
            Row::Position(id.clone(), None),
            Row::Target(id.clone(), None),
            Row::Member(id.clone(), None),
        ]
    }

    /// The rows that take the whole group out.
    pub(super) fn rows_without_all(&self) -> Vec<Row> {
        let members = self.members.keys();
        let mut rows: Vec<Row> = members.flat_map(Self::rows_without).collect();
        rows.push(Row::Head(None));
        rows
    }

    /// The assignor that most members would like, or the first of `assignors`.
    pub(super) fn preferred<'a>(
        said: impl Iterator<Item = &'a Member>,
        assignors: &[Assignor],
    ) -> Assignor {
        let mut votes = BTreeMap::<Assignor, usize>::new();
        for assignor in said.filter_map(|said| said.assignor) {
            *votes.entry(assignor).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        let most = most.map(|(assignor, _)| assignor);
        most.or_else(|| assignors.first().copied())
            .unwrap_or(Assignor::Uniform)
    }

    /// Whether a member wants the topic.
    pub(in super::super) fn is_subscribed(&self, topic: &str) -> bool {
        let mut said = self.members.values().map(|entry| &entry.said);
        said.any(|said| self.sight.names(said).any(|name| name == topic))
    }
}

impl Sight {
    /// Whether `image` was looked at.
    pub(super) fn has_seen(&self, image: &Image) -> bool {
        let seen = self.image.as_ref();
        seen.is_some_and(|seen| seen.version == image.version)
    }

    /// The newer of `image` and the one that was looked at: requests bring images, and may overtake the
    /// news of one.
    pub(super) fn newest(&self, image: &Arc<Image>) -> Arc<Image> {
        let newer = |seen: &&Arc<Image>| seen.version > image.version;
        self.image.as_ref().filter(newer).unwrap_or(image).clone()
    }

    /// The topics that a member wants.
    pub(super) fn wanted(&self, said: &Member, image: &Image) -> BTreeSet<TopicId> {
        self.names(said)
            .filter_map(|name| Some(image.topic(name)?.id))
            .collect()
    }

    /// Their names, some of them twice, some of topics that are not there.
    pub(super) fn names<'a>(&'a self, said: &'a Member) -> impl Iterator<Item = &'a str> {
        let matches = self.matches.get(&said.regex);
        let matches = matches.into_iter().flat_map(|names| names.iter());
        let names = said.topics.iter().map(|name| &**name);
        names.chain(matches.map(|name| &**name))
    }

    /// Works out what the expressions of all members match in `image`; a number that changes when what
    /// they want does.
    pub(super) fn look<'a>(
        &mut self,
        members: impl Iterator<Item = &'a Member> + Clone,
        image: &Arc<Image>,
    ) -> u64 {
        let seen = self.has_seen(image);
        let mut before = std::mem::take(&mut self.matches);
        for said in members.clone().filter(|said| !said.regex.is_empty()) {
            if !self.matches.contains_key(&said.regex) {
                let known = before.remove(&said.regex).filter(|_| seen);
                let names = known.unwrap_or_else(|| subscription::matching(&said.regex, image));
                self.matches.insert(said.regex.clone(), names);
            }
        }
        self.image = Some(image.clone());
        let mut names = BTreeSet::new();
        for said in members {
            names.extend(said.topics.iter().map(|name| &**name));
        }
        names.extend(
            self.matches
                .values()
                .flat_map(|names| names.iter().map(|name| &**name)),
        );
        subscription::fingerprint(names, image)
    }
}
