//! The walk of one member from what it has to what it is to have.
//!
//! First it gives up, staying at its old epoch until it has said so; then it moves to the target's
//! epoch and gets what nobody else holds; the rest follows when others have given it up. So no
//! partition is ever with two members, whatever order their heartbeats come in.

use std::collections::{BTreeMap, BTreeSet};

use super::member::{Assigned, Partitions, Position, Progress};
use crate::types::{PartitionIndex, TopicId};

/// Where a member is to go, and what it says that it still has.
pub(super) struct Goal<'a> {
    /// The epoch of the target.
    pub(super) epoch: i32,
    /// What it is to have.
    pub(super) target: &'a Partitions,
    /// The topics that it wants now.
    pub(super) wanted: &'a BTreeSet<TopicId>,
    /// Whether it has just changed its mind about them.
    pub(super) wants_other: bool,
    /// Whether another member holds a partition.
    pub(super) taken: &'a dyn Fn(TopicId, PartitionIndex) -> bool,
    /// What it says it has; `None` if it did not say.
    pub(super) owned: Option<&'a Partitions>,
}

/// The next position; the same one if there is no step to take.
pub(super) fn step(from: &Position, goal: &Goal<'_>) -> Position {
    match from.progress {
        Progress::Stable if from.epoch != goal.epoch => walk(from, goal),
        Progress::Stable if goal.wants_other => trim(from, goal),
        Progress::Stable => from.clone(),
        Progress::Unrevoked if still_owns(goal.owned, &from.revoking) => {
            if goal.wants_other {
                trim(from, goal)
            } else {
                from.clone()
            }
        }
        Progress::Unrevoked | Progress::Unreleased => walk(from, goal),
    }
}

/// Whether the member has, or may still have, some of `revoking`.
fn still_owns(owned: Option<&Partitions>, revoking: &Assigned) -> bool {
    owned.is_none_or(|owned| {
        owned.iter().any(|(topic, partitions)| {
            revoking
                .get(topic)
                .is_some_and(|revoking| partitions.iter().any(|p| revoking.contains_key(p)))
        })
    })
}

/// Takes away topics that are no longer wanted, and does no more.
fn trim(from: &Position, goal: &Goal<'_>) -> Position {
    let mut next = from.clone();
    let mut revoking = from.revoking.clone();
    next.assigned.retain(|topic, partitions| {
        let keep = goal.wanted.contains(topic);
        if !keep {
            let revoking = revoking.entry(*topic).or_default();
            revoking.extend(partitions.iter().map(|(p, epoch)| (*p, *epoch)));
        }
        keep
    });
    if !revoking.is_empty() && still_owns(goal.owned, &revoking) {
        next.progress = Progress::Unrevoked;
        next.revoking = revoking;
    }
    next
}

fn walk(from: &Position, goal: &Goal<'_>) -> Position {
    let nothing = BTreeMap::new();
    let mut kept = Assigned::new();
    let mut revoking = Assigned::new();
    let mut fresh: Vec<(TopicId, PartitionIndex)> = Vec::new();
    let mut unreleased = false;
    let topics: BTreeSet<&TopicId> = goal.target.keys().chain(from.assigned.keys()).collect();
    for topic in topics {
        let has = from.assigned.get(topic).unwrap_or(&nothing);
        let target = match goal.target.get(topic) {
            Some(target) if goal.wanted.contains(topic) => target.as_slice(),
            _ => &[],
        };
        for (&partition, &epoch) in has {
            let side = if target.binary_search(&partition).is_ok() {
                &mut kept
            } else {
                &mut revoking
            };
            side.entry(*topic).or_default().insert(partition, epoch);
        }
        for &partition in target.iter().filter(|p| !has.contains_key(p)) {
            if (goal.taken)(*topic, partition) {
                unreleased = true;
            } else {
                fresh.push((*topic, partition));
            }
        }
    }
    if !revoking.is_empty() && still_owns(goal.owned, &revoking) {
        return Position {
            epoch: from.epoch,
            previous: from.previous,
            progress: Progress::Unrevoked,
            assigned: kept,
            revoking,
        };
    }
    for (topic, partition) in fresh {
        let of_topic = kept.entry(topic).or_default();
        of_topic.insert(partition, goal.epoch);
    }
    Position {
        epoch: goal.epoch,
        // An answer that is lost twice is still known.
        previous: if from.epoch == goal.epoch {
            from.previous
        } else {
            from.epoch
        },
        progress: if unreleased {
            Progress::Unreleased
        } else {
            Progress::Stable
        },
        assigned: kept,
        revoking: Assigned::new(),
    }
}
