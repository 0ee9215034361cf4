//! Committed offsets of a group, and those of open transactions that may become so.
//!
//! Hard state alone: it changes by rows. What a transaction brings is *pending*: nobody reads it, and who
//! wants stable offsets is told to wait, until the transaction's end makes it an offset or drops it.
//! Among commits for one partition the one that came last wins, whenever its transaction ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commands::{
    ByTopic, Commit, CompleteTxn, DeleteOffsets, Fetch, Fetched, GroupError, Import, Imported,
    NewOffset, Position, TxnCommit,
};
use super::consumer::CommitRight;
use super::turn::Turn;
use super::{Group, Groups, Kind, Row};
use crate::coordinator::machine::Decision;
use crate::metadata::Image;
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId};

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What the client said.
    pub offset: NewOffset,
    /// When.
    pub at: Timestamp,
    /// The topic that it is about: one of the same name that comes later has no part in it.
    pub topic_id: TopicId,
    /// The bridge has brought it: nobody here has said it.
    pub imported: bool,
}

/// An offset of an open transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// Rises with each pending offset of the group.
    pub order: u64,
    /// Something newer was committed since: the end of the transaction will not change the offset.
    pub superseded: bool,
    /// What is to be committed.
    pub committed: Committed,
}

/// The offsets of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    committed: BTreeMap<Arc<str>, BTreeMap<PartitionIndex, Committed>>,
    pending: BTreeMap<(ProducerId, Arc<str>, PartitionIndex), Pending>,
}

impl Offsets {
    /// Whether there are none, pending ones neither.
    pub(super) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Takes in an offset, or its removal.
    pub(super) fn apply(
        &mut self,
        topic: &Arc<str>,
        partition: PartitionIndex,
        value: Option<Committed>,
    ) {
        match value {
            Some(committed) => match self.committed.get_mut(topic) {
                Some(partitions) => {
                    partitions.insert(partition, committed);
                }
                None => {
                    let partitions = BTreeMap::from([(partition, committed)]);
                    self.committed.insert(topic.clone(), partitions);
                }
            },
            None => {
                if let Some(partitions) = self.committed.get_mut(topic) {
                    partitions.remove(&partition);
                    if partitions.is_empty() {
                        self.committed.remove(topic);
                    }
                }
            }
        }
    }

    /// Takes in a pending offset, or its removal.
    pub(super) fn apply_pending(
        &mut self,
        producer: ProducerId,
        topic: &Arc<str>,
        partition: PartitionIndex,
        value: Option<Pending>,
    ) {
        let key = (producer, topic.clone(), partition);
        match value {
            Some(pending) => self.pending.insert(key, pending),
            None => self.pending.remove(&key),
        };
    }

    fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&Committed> {
        self.committed.get(topic)?.get(&partition)
    }

    /// Every committed offset.
    pub(super) fn positions<'a>(
        &'a self,
        group: &'a Arc<str>,
    ) -> impl Iterator<Item = Position> + 'a {
        self.committed.iter().flat_map(move |(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, committed)| Position {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    offset: committed.offset.offset,
                    committed_at: committed.at,
                })
        })
    }

    /// Everything, as it is stored.
    pub(super) fn rows(&self, group: &Arc<str>) -> Vec<Row> {
        let committed = self.committed.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(partition, value)| Row::Offset {
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                value: Some(value.clone()),
            })
        });
        let pending = self
            .pending
            .iter()
            .map(|((producer, topic, partition), value)| Row::Pending {
                group: group.clone(),
                producer: *producer,
                topic: topic.clone(),
                partition: *partition,
                value: Some(value.clone()),
            });
        committed.chain(pending).collect()
    }

    /// Rows that forget everything.
    pub(super) fn tombstones(&self, group: &Arc<str>) -> Vec<Row> {
        let committed = self.committed.iter().flat_map(|(topic, partitions)| {
            partitions
                .keys()
                .map(|partition| forget(group, topic, *partition))
        });
        let pending = self.pending.keys().map(|key| forget_pending(group, key));
        committed.chain(pending).collect()
    }

    /// Forgets the offsets of topics that are not there any more.
    pub(super) fn drop_gone_topics(&self, turn: &mut Turn<'_>) {
        let image = turn.image.clone();
        let gone = |committed: &Committed| !image.topics_by_id.contains_key(&committed.topic_id);
        for (topic, partitions) in &self.committed {
            for (partition, _) in partitions.iter().filter(|(_, old)| gone(old)) {
                turn.store(forget(&turn.group, topic, *partition));
            }
        }
        for (key, _) in self.pending.iter().filter(|(_, old)| gone(&old.committed)) {
            turn.store(forget_pending(&turn.group, key));
        }
    }

    /// Marks what is pending for a partition as older than a commit of now; with `before`, what came
    /// before that pending offset.
    fn supersede(
        &self,
        turn: &mut Turn<'_>,
        topic: &Arc<str>,
        partition: PartitionIndex,
        before: Option<u64>,
    ) {
        for (key, pending) in &self.pending {
            let older = before.is_none_or(|order| pending.order < order);
            if key.1 == *topic && key.2 == partition && older && !pending.superseded {
                turn.store(Row::Pending {
                    group: turn.group.clone(),
                    producer: key.0,
                    topic: topic.clone(),
                    partition,
                    value: Some(Pending {
                        superseded: true,
                        ..pending.clone()
                    }),
                });
            }
        }
    }

    fn has_pending(&self, topic: &str, partition: PartitionIndex) -> bool {
        self.pending
            .keys()
            .any(|(_, pending, index)| **pending == *topic && *index == partition)
    }
}

fn forget(group: &Arc<str>, topic: &Arc<str>, partition: PartitionIndex) -> Row {
    Row::Offset {
        group: group.clone(),
        topic: topic.clone(),
        partition,
        value: None,
    }
}

fn forget_pending(
    group: &Arc<str>,
    (producer, topic, partition): &(ProducerId, Arc<str>, PartitionIndex),
) -> Row {
    Row::Pending {
        group: group.clone(),
        producer: *producer,
        topic: topic.clone(),
        partition: *partition,
        value: None,
    }
}

/// What is committed by a group that there is none of.
pub(super) fn nothing(fetch: &Fetch) -> ByTopic<Fetched> {
    let topics = fetch.topics.iter().flatten();
    let nothing = |partition: &PartitionIndex| (*partition, Fetched::Nothing);
    topics
        .map(|(topic, partitions)| (topic.clone(), partitions.iter().map(nothing).collect()))
        .collect()
}

/// The topic's own name and its id, if it has the partition.
fn existing(image: &Image, topic: &str, partition: PartitionIndex) -> Option<(Arc<str>, TopicId)> {
    let topic = image.topic(topic)?;
    let partition = usize::try_from(partition).ok()?;
    (partition < topic.partitions.len()).then(|| (topic.name.clone(), topic.id))
}

impl Group {
    /// Whether `caller` may commit.
    fn check_commit(
        &mut self,
        turn: &mut Turn<'_>,
        commit: &Commit,
        transactional: bool,
    ) -> Result<CommitRight, GroupError> {
        let caller = &commit.caller;
        let exists = !self.is_nothing();
        match &mut self.kind {
            // Whoever is no member may commit to a group without members.
            Kind::Simple if caller.generation < 0 => Ok(CommitRight::All),
            Kind::Simple if exists => Err(GroupError::UnknownMember),
            Kind::Simple => Err(GroupError::UnknownGroup(caller.group.clone())),
            Kind::Classic(group) => group
                .check_commit(turn, caller, transactional)
                .map(|()| CommitRight::All),
            Kind::Consumer(group) => group.check_commit(caller, transactional, commit.knows_epochs),
        }
    }

    /// Judges an OffsetCommit.
    pub(super) fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        commit: Commit,
    ) -> ByTopic<Result<(), GroupError>> {
        let allowed = self.check_commit(turn, &commit, false);
        let member = commit.caller.member;
        self.each(
            turn,
            (&member, commit.offsets),
            allowed,
            |group, turn, row| {
                if !group.offsets.pending.is_empty() {
                    let (topic, partition) = (&row.topic, row.partition);
                    group.offsets.supersede(turn, topic, partition, None);
                }
                turn.store(Row::Offset {
                    group: turn.group.clone(),
                    topic: row.topic,
                    partition: row.partition,
                    value: Some(row.committed),
                });
            },
        )
    }

    /// Judges a TxnOffsetCommit; `fence` is what is known of its producer.
    pub(super) fn commit_in_transaction(
        &mut self,
        turn: &mut Turn<'_>,
        commit: TxnCommit,
        fence: Result<(), GroupError>,
    ) -> ByTopic<Result<(), GroupError>> {
        let TxnCommit {
            commit,
            producer,
            epoch,
        } = commit;
        let mut own = self
            .offsets
            .pending
            .range((producer, "".into(), PartitionIndex::MIN)..)
            .take_while(|(key, _)| key.0 == producer);
        let newer = own.any(|(_, pending)| pending.epoch > epoch);
        let allowed = match fence {
            Ok(()) if newer => Err(GroupError::ProducerFenced),
            Ok(()) => self.check_commit(turn, &commit, true),
            Err(error) => Err(error),
        };
        let last = self.offsets.pending.values().map(|pending| pending.order);
        let mut order = last.max().unwrap_or(0);
        let member = commit.caller.member;
        self.each(turn, (&member, commit.offsets), allowed, |_, turn, row| {
            order += 1;
            turn.store(Row::Pending {
                group: turn.group.clone(),
                producer,
                topic: row.topic,
                partition: row.partition,
                value: Some(Pending {
                    epoch,
                    order,
                    superseded: false,
                    committed: row.committed,
                }),
            });
        })
    }

    /// Takes in offsets of another cluster, as long as nobody uses the group here: a group with members,
    /// or with an offset that was not imported, is left alone. An offset is never lowered.
    pub(super) fn import(
        &mut self,
        turn: &mut Turn<'_>,
        import: Import,
    ) -> Result<Imported, GroupError> {
        if !matches!(self.kind, Kind::Simple) || !self.offsets.pending.is_empty() {
            return Err(GroupError::NotEmpty);
        }
        let image = turn.image.clone();
        let mut imported = Imported::default();
        let mut fresh = Vec::new();
        for (topic, partitions) in import.offsets {
            for (partition, offset) in partitions {
                let Some((topic, topic_id)) = existing(&image, &topic, partition) else {
                    continue;
                };
                match self.offsets.get(&topic, partition) {
                    // Committed here: the group is at work.
                    Some(known) if !known.imported => return Err(GroupError::NotEmpty),
                    Some(known) if known.offset == offset => continue,
                    Some(known) if known.offset.offset > offset.offset => {
                        imported.higher += 1;
                        continue;
                    }
                    Some(_) | None => {}
                }
                fresh.push(Row::Offset {
                    group: turn.group.clone(),
                    topic,
                    partition,
                    value: Some(Committed {
                        offset,
                        at: turn.now,
                        topic_id,
                        imported: true,
                    }),
                });
            }
        }
        imported.stored = fresh.len();
        fresh.into_iter().for_each(|row| turn.store(row));
        Ok(imported)
    }

    /// Looks at each offset on its own, and hands those that are fine to `take`.
    fn each(
        &mut self,
        turn: &mut Turn<'_>,
        (member, offsets): (&str, ByTopic<NewOffset>),
        allowed: Result<CommitRight, GroupError>,
        mut take: impl FnMut(&mut Self, &mut Turn<'_>, Fine),
    ) -> ByTopic<Result<(), GroupError>> {
        let image = turn.image.clone();
        let mut outcomes = Vec::with_capacity(offsets.len());
        for (topic, partitions) in offsets {
            let mut judged = Vec::with_capacity(partitions.len());
            for (partition, offset) in partitions {
                let allowed = |id| match (&allowed, &self.kind) {
                    (Err(error), _) => Err(error.clone()),
                    (Ok(CommitRight::GivenBy(epoch)), Kind::Consumer(group))
                        if !group.had_since(member, id, partition, *epoch) =>
                    {
                        Err(GroupError::StaleMemberEpoch)
                    }
                    (Ok(_), _) => Ok(()),
                };
                let outcome = match existing(&image, &topic, partition) {
                    None => Err(GroupError::UnknownTopic),
                    Some((_, id)) if allowed(&id).is_err() => allowed(&id),
                    Some(_) if offset.metadata.len() > turn.limits.offset_metadata_max_bytes => {
                        Err(GroupError::MetadataTooLarge)
                    }
                    Some((topic, topic_id)) => {
                        let fine = Fine {
                            topic,
                            partition,
                            committed: Committed {
                                offset,
                                at: turn.now,
                                topic_id,
                                imported: false,
                            },
                        };
                        take(self, turn, fine);
                        Ok(())
                    }
                };
                judged.push((partition, outcome));
            }
            outcomes.push((topic, judged));
        }
        outcomes
    }

    /// Makes what is pending of a producer the group's offsets, or drops it.
    fn complete(&self, turn: &mut Turn<'_>, complete: &CompleteTxn) {
        let producer = complete.producer;
        let own = self
            .offsets
            .pending
            .range((producer, "".into(), PartitionIndex::MIN)..)
            .take_while(|(key, _)| key.0 == producer)
            .filter(|(_, pending)| pending.epoch <= complete.epoch);
        for (key, pending) in own {
            turn.store(forget_pending(&turn.group, key));
            if complete.committed && !pending.superseded {
                let (_, topic, partition) = key;
                turn.store(Row::Offset {
                    group: turn.group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    value: Some(pending.committed.clone()),
                });
                let order = Some(pending.order);
                self.offsets.supersede(turn, topic, *partition, order);
            }
        }
    }

    /// Judges an OffsetFetch.
    pub(super) fn fetch(&self, fetch: &Fetch) -> Result<ByTopic<Fetched>, GroupError> {
        if let Kind::Consumer(group) = &self.kind {
            group.check_fetch(&fetch.caller)?;
        }
        let offsets = &self.offsets;
        let look = |topic: &str, partition: PartitionIndex| {
            if fetch.require_stable && offsets.has_pending(topic, partition) {
                return Fetched::Unstable;
            }
            match offsets.get(topic, partition) {
                Some(committed) => Fetched::Offset(committed.offset.clone()),
                None => Fetched::Nothing,
            }
        };
        let fetched = match &fetch.topics {
            Some(topics) => topics
                .iter()
                .map(|(topic, partitions)| {
                    let partitions = partitions.iter().map(|index| (*index, look(topic, *index)));
                    (topic.clone(), partitions.collect())
                })
                .collect(),
            None => offsets
                .committed
                .iter()
                .map(|(topic, partitions)| {
                    let partitions = partitions.keys().map(|index| (*index, look(topic, *index)));
                    (topic.clone(), partitions.collect())
                })
                .collect(),
        };
        Ok(fetched)
    }

    /// Judges an OffsetDelete.
    pub(super) fn delete_offsets(
        &self,
        turn: &mut Turn<'_>,
        delete: DeleteOffsets,
    ) -> Result<ByTopic<Result<(), GroupError>>, GroupError> {
        if self.is_nothing() {
            return Err(GroupError::UnknownGroup(delete.group));
        }
        if let Kind::Classic(group) = &self.kind {
            group.check_delete_offsets()?;
        }
        let mut outcomes = Vec::with_capacity(delete.topics.len());
        for (topic, partitions) in delete.topics {
            let mut judged = Vec::with_capacity(partitions.len());
            for partition in partitions {
                let outcome = if existing(turn.image, &topic, partition).is_none() {
                    Err(GroupError::UnknownTopic)
                } else if self.is_subscribed(&topic) {
                    Err(GroupError::Subscribed)
                } else {
                    if self.offsets.get(&topic, partition).is_some() {
                        turn.store(forget(&turn.group, &topic, partition));
                    }
                    Ok(())
                };
                judged.push((partition, outcome));
            }
            outcomes.push((topic, judged));
        }
        Ok(outcomes)
    }

    fn is_subscribed(&self, topic: &str) -> bool {
        match &self.kind {
            Kind::Simple => false,
            Kind::Classic(group) => group.is_subscribed(topic),
            Kind::Consumer(group) => group.is_subscribed(topic),
        }
    }

    /// Forgets offsets past their time; says whether none are left.
    ///
    /// The time counts from when the group lost its last member, for offsets of consumers that never
    /// join from their commit, and in a live group only for topics that it no longer reads.
    pub(super) fn expire_offsets(&self, turn: &mut Turn<'_>) -> bool {
        let oldest = turn.now.saturating_sub(turn.limits.offsets_retention_ms);
        let mut left = !self.offsets.pending.is_empty();
        for (topic, partitions) in &self.offsets.committed {
            for (partition, committed) in partitions {
                let since = match &self.kind {
                    Kind::Simple => Some(committed.at),
                    Kind::Classic(group) => group.unused_since(topic, committed.at),
                    Kind::Consumer(group) => {
                        (group.is_empty() || !group.is_subscribed(topic)).then_some(committed.at)
                    }
                };
                let expired = since.is_some_and(|since| since <= oldest);
                if expired && !self.offsets.has_pending(topic, *partition) {
                    turn.store(forget(&turn.group, topic, *partition));
                } else {
                    left = true;
                }
            }
        }
        !left
    }
}

/// An offset that may be kept.
struct Fine {
    topic: Arc<str>,
    partition: PartitionIndex,
    committed: Committed,
}

/// Since when which epoch of a producer is the lowest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The epoch.
    pub epoch: ProducerEpoch,
    /// When a transaction of it last ended.
    pub at: Timestamp,
}

/// By group and producer: what keeps a producer of the past from leaving offsets that no end of a
/// transaction would ever clear up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fences(BTreeMap<Arc<str>, BTreeMap<ProducerId, Fence>>);

impl Fences {
    fn get(&self, group: &str, producer: ProducerId) -> Option<&Fence> {
        self.0.get(group)?.get(&producer)
    }

    /// Whether the producer may still bring offsets.
    pub(super) fn check(&self, commit: &TxnCommit) -> Result<(), GroupError> {
        match self.get(&commit.commit.caller.group, commit.producer) {
            Some(fence) if fence.epoch > commit.epoch => Err(GroupError::ProducerFenced),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes in a fence, or its removal.
    pub(super) fn apply(&mut self, group: &Arc<str>, producer: ProducerId, value: Option<Fence>) {
        match value {
            Some(fence) => {
                let fences = self.0.entry(group.clone()).or_default();
                fences.insert(producer, fence);
            }
            None => {
                if let Some(fences) = self.0.get_mut(group) {
                    fences.remove(&producer);
                    if fences.is_empty() {
                        self.0.remove(group);
                    }
                }
            }
        }
    }

    /// All of them, as they are stored.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.0.iter().flat_map(|(group, fences)| {
            fences.iter().map(|(producer, fence)| Row::Fence {
                group: group.clone(),
                producer: *producer,
                value: Some(fence.clone()),
            })
        })
    }

    /// Rows that forget those last used at or before `oldest`.
    pub(super) fn expired(&self, oldest: Timestamp) -> Vec<Row> {
        let all = self.0.iter().flat_map(|(group, fences)| {
            let old = fences.iter().filter(|(_, fence)| fence.at <= oldest);
            old.map(|(producer, _)| Row::Fence {
                group: group.clone(),
                producer: *producer,
                value: None,
            })
        });
        all.collect()
    }
}

impl Groups {
    /// Ends a transaction in each group that it touched. The same end may come again.
    pub(super) fn complete(
        &mut self,
        now: Timestamp,
        rng: &mut dyn rand::Rng,
        complete: &CompleteTxn,
        decision: &mut Decision<Self>,
    ) -> Result<(), GroupError> {
        let fenced = |group: &Arc<str>| {
            let fence = self.fences.get(group, complete.producer);
            fence.is_some_and(|fence| fence.epoch > complete.epoch)
        };
        if complete.groups.iter().any(fenced) {
            return Err(GroupError::ProducerFenced);
        }
        for id in &complete.groups {
            self.turn(now, rng, id, decision, |group, turn| {
                group.complete(turn, complete);
            });
            // Renewed now and then, so that it outlives the producer.
            let renewed = self.limits.producer_expiration_ms / 2;
            let fence = self.fences.get(id, complete.producer);
            let stands = fence.is_some_and(|fence| {
                fence.epoch == complete.epoch && now.saturating_sub(fence.at) < renewed
            });
            if !stands {
                decision.rows.push(Row::Fence {
                    group: id.clone(),
                    producer: complete.producer,
                    value: Some(Fence {
                        epoch: complete.epoch,
                        at: now,
                    }),
                });
            }
        }
        Ok(())
    }
}
