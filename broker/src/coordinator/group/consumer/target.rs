//! The target of a group: asking an assignor, and saying what changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::group::Sight;
use super::member::{Member, Partitions};
use crate::coordinator::group::assignor::{Assignor, Question, Subscriber};
use crate::metadata::Image;
use crate::types::TopicId;

/// A member, and what it was to have.
pub(super) struct Asker<'a> {
    pub(super) id: &'a Arc<str>,
    pub(super) said: &'a Member,
    pub(super) target: &'a Partitions,
}

/// What each of `askers` is to have from now on, in their order.
pub(super) fn assign(
    sight: &Sight,
    assignor: Assignor,
    askers: &[Asker<'_>],
    image: &Image,
) -> Vec<Partitions> {
    // Topics by name, as people would expect ranges to go.
    let mut topics: BTreeMap<&str, (TopicId, i32)> = BTreeMap::new();
    for asker in askers {
        for name in sight.names(asker.said) {
            if !topics.contains_key(name)
                && let Some(topic) = image.topic(name)
            {
                let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                topics.insert(name, (topic.id, partitions));
            }
        }
    }
    let by_name: HashMap<&str, u32> = topics.keys().copied().zip(0..).collect();
    let by_id: HashMap<TopicId, u32> = topics.values().map(|(id, _)| *id).zip(0..).collect();
    let ids: Vec<TopicId> = topics.values().map(|(id, _)| *id).collect();

    // Static members first, by the names they were given, so that a new member id changes nothing.
    let mut order: Vec<usize> = (0..askers.len()).collect();
    order.sort_by_key(|&place| {
        let asker = &askers[place];
        let instance = asker.said.instance.as_deref();
        (instance.is_none(), instance.unwrap_or(asker.id))
    });
    let members = order.iter().map(|&place| {
        let asker = &askers[place];
        let wanted = sight.names(asker.said);
        let mut wanted: Vec<u32> = wanted
            .filter_map(|name| by_name.get(name).copied())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let held = asker.target.iter().filter_map(|(id, partitions)| {
            let topic = *by_id.get(id)?;
            Some(partitions.iter().map(move |partition| (topic, *partition)))
        });
        let mut held: Vec<_> = held.flatten().collect();
        held.sort_unstable();
        Subscriber {
            topics: wanted,
            held,
        }
    });
    let question = Question {
        members: members.collect(),
        topics: topics.values().map(|(_, partitions)| *partitions).collect(),
    };
    let mut targets = vec![Partitions::new(); askers.len()];
    for (place, shares) in order.iter().zip(assignor.assign(&question)) {
        let target = &mut targets[*place];
        for (topic, partition) in shares {
            let id = ids[topic as usize];
            target.entry(id).or_default().push(partition);
        }
    }
    targets
}
