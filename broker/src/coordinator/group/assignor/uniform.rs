//! Even shares, and as few moves as that allows.
//!
//! When all members want the same topics, shares differ by one at most, and nobody gives up a partition
//! that the even share leaves to them. Otherwise partitions go to whoever of their subscribers has
//! least, and are moved until no single move would make the shares of two members more even.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::{Question, Share};
use crate::types::PartitionIndex;

/// Stands for a partition that nobody has.
const NOBODY: u32 = u32::MAX;

pub(super) fn assign(question: &Question) -> Vec<Vec<Share>> {
    if question.members.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(question);
    if question.is_homogeneous() {
        share_evenly(question, &mut table);
    } else {
        share_among_subscribers(question, &mut table);
    }
    table.shares(question.members.len())
}

/// Who has which partition.
struct Table {
    /// Per topic, where its partitions begin in `owners`; one more at the end.
    starts: Vec<usize>,
    owners: Vec<u32>,
    /// How many each member has.
    load: Vec<usize>,
}

impl Table {
    /// What members keep of what they had: what they still want and no earlier member claims too.
    fn new(question: &Question) -> Self {
        let mut starts = Vec::with_capacity(question.topics.len() + 1);
        let mut end = 0;
        for &partitions in &question.topics {
            starts.push(end);
            end += usize::try_from(partitions).unwrap_or(0);
        }
        starts.push(end);
        let mut table = Self {
            starts,
            owners: vec![NOBODY; end],
            load: vec![0; question.members.len()],
        };
        for (member, subscriber) in (0..).zip(&question.members) {
            for &(topic, partition) in &subscriber.held {
                if subscriber.topics.binary_search(&topic).is_ok()
                    && let Some(place) = table.place(topic, partition)
                    && table.owners[place] == NOBODY
                {
                    table.give(place, member);
                }
            }
        }
        table
    }

    fn place(&self, topic: u32, partition: PartitionIndex) -> Option<usize> {
        let start = *self.starts.get(topic as usize)?;
        let end = *self.starts.get(topic as usize + 1)?;
        let place = start + usize::try_from(partition).ok()?;
        (place < end).then_some(place)
    }

    fn give(&mut self, place: usize, member: u32) {
        self.owners[place] = member;
        self.load[member as usize] += 1;
    }

    fn take(&mut self, place: usize) {
        let owner = std::mem::replace(&mut self.owners[place], NOBODY);
        if owner != NOBODY {
            self.load[owner as usize] -= 1;
        }
    }

    fn shares(&self, members: usize) -> Vec<Vec<Share>> {
        let mut shares: Vec<Vec<Share>> = (0..members)
            .map(|member| Vec::with_capacity(self.load[member]))
            .collect();
        for (topic, bounds) in (0..).zip(self.starts.windows(2)) {
            for (partition, &owner) in (0..).zip(&self.owners[bounds[0]..bounds[1]]) {
                if owner != NOBODY {
                    shares[owner as usize].push((topic, partition));
                }
            }
        }
        shares
    }
}

/// All members want the same.
fn share_evenly(question: &Question, table: &mut Table) {
    let wanted = || question.members[0].topics.iter();
    let places = || {
        wanted().filter_map(|&topic| {
            let topic = topic as usize;
            Some(*table.starts.get(topic)?..*table.starts.get(topic + 1)?)
        })
    };
    let places: Vec<usize> = places().flatten().collect();
    let members = question.members.len();
    let (each, mut larger) = (places.len() / members, places.len() % members);

    // Those that have more than an even share keep one more, as many as may.
    let mut may_have = vec![each; members];
    for (member, may_have) in may_have.iter_mut().enumerate() {
        if larger > 0 && table.load[member] > each {
            *may_have += 1;
            larger -= 1;
        }
    }
    // The rest of the larger shares go to those with most, which then have less to get.
    for may_have in &mut may_have {
        if larger == 0 {
            break;
        }
        if *may_have == each {
            *may_have += 1;
            larger -= 1;
        }
    }
    for &place in places.iter().rev() {
        let owner = table.owners[place];
        if owner != NOBODY && table.load[owner as usize] > may_have[owner as usize] {
            table.take(place);
        }
    }
    // In turns, so that a topic spreads over many members.
    let mut turn = 0;
    for &place in &places {
        if table.owners[place] != NOBODY {
            continue;
        }
        for _ in 0..members {
            let member = turn;
            turn = (turn + 1) % members;
            if table.load[member] < may_have[member] {
                table.give(place, u32::try_from(member).unwrap_or(NOBODY));
                break;
            }
        }
    }
}

/// Members want different topics.
fn share_among_subscribers(question: &Question, table: &mut Table) {
    let subscribers = question.subscribers();
    // Topics that few want first: there is least choice.
    let mut order: Vec<usize> = (0..question.topics.len())
        .filter(|&topic| !subscribers[topic].is_empty())
        .collect();
    order.sort_by_key(|&topic| subscribers[topic].len());

    for &topic in &order {
        let bounds = table.starts[topic]..table.starts[topic + 1];
        let mut least: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
        for place in bounds {
            if table.owners[place] != NOBODY {
                continue;
            }
            if least.is_empty() {
                let loads = subscribers[topic].iter();
                least = loads.map(|&m| Reverse((table.load[m], m))).collect();
            }
            if let Some(Reverse((load, member))) = least.pop() {
                table.give(place, u32::try_from(member).unwrap_or(NOBODY));
                least.push(Reverse((load + 1, member)));
            }
        }
    }
    // Each move makes the sum of the squares of the shares smaller, so this ends.
    loop {
        let mut moved = false;
        for &topic in &order {
            moved |= balance(topic, &subscribers[topic], table);
        }
        if !moved {
            break;
        }
    }
}

/// Moves partitions of `topic` from its fullest owner to its emptiest subscriber, while that makes
/// the two more even.
fn balance(topic: usize, subscribers: &[usize], table: &mut Table) -> bool {
    let bounds = table.starts[topic]..table.starts[topic + 1];
    let lowest = subscribers.iter().map(|&m| table.load[m]).min();
    let highest = bounds
        .clone()
        .filter(|&place| table.owners[place] != NOBODY)
        .map(|place| table.load[table.owners[place] as usize])
        .max();
    match (lowest, highest) {
        (Some(lowest), Some(highest)) if highest > lowest + 1 => {}
        _ => return false,
    }
    let mut by_load: BTreeSet<(usize, usize)> =
        subscribers.iter().map(|&m| (table.load[m], m)).collect();
    // What each owner could give up, fullest owner first.
    let mut owners: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut owned: Vec<Vec<usize>> = vec![Vec::new(); table.load.len()];
    for place in bounds {
        let owner = table.owners[place] as usize;
        if table.owners[place] != NOBODY {
            owned[owner].push(place);
            owners.insert((table.load[owner], owner));
        }
    }
    let mut moved = false;
    while let (Some(&(highest, from)), Some(&(lowest, to))) = (owners.last(), by_load.first()) {
        if highest <= lowest + 1 {
            break;
        }
        let Some(place) = owned[from].pop() else {
            owners.remove(&(highest, from));
            continue;
        };
        table.take(place);
        table.give(place, u32::try_from(to).unwrap_or(NOBODY));
        owned[to].push(place);
        by_load.remove(&(highest, from));
        by_load.remove(&(lowest, to));
        by_load.insert((highest - 1, from));
        by_load.insert((lowest + 1, to));
        owners.remove(&(highest, from));
        if !owned[from].is_empty() {
            owners.insert((highest - 1, from));
        }
        owners.remove(&(lowest, to));
        owners.insert((lowest + 1, to));
        moved = true;
    }
    moved
}
