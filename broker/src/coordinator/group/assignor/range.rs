//! Ranges: each topic is cut into runs, one a subscriber, in the order of members. Topics with the
//! same number of partitions and the same subscribers are cut alike, so that partition n of each of
//! them is with one member: joins rely on it.

use super::{Question, Share};
use crate::types::PartitionIndex;

pub(super) fn assign(question: &Question) -> Vec<Vec<Share>> {
    let mut shares = vec![Vec::new(); question.members.len()];
    for (topic, subscribers) in (0..).zip(question.subscribers()) {
        let Ok(runs) = PartitionIndex::try_from(subscribers.len()) else {
            continue;
        };
        if runs == 0 {
            continue;
        }
        let partitions = question.partitions_of(topic);
        let (each, longer) = (partitions / runs, partitions % runs);
        let mut next = 0;
        for (place, member) in (0..).zip(subscribers) {
            let end = next + each + PartitionIndex::from(place < longer);
            shares[member].extend((next..end).map(|partition| (topic, partition)));
            next = end;
        }
    }
    shares
}
