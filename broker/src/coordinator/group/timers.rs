//! Deadlines by owner, ordered by time: the next one at hand, each moved or dropped in O(log n).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::types::Timestamp;

/// Whose deadline it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    /// The group; empty for what concerns all of them.
    pub group: Arc<str>,
    /// What is due.
    pub timer: Timer,
}

/// What is due. One of a kind, and for kinds that name a member one each, runs at a time in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A classic group's rebalance goes on without those that have not come.
    Join,
    /// A classic group goes on without members that have not asked for their assignment.
    Sync,
    /// A member, or one that was promised a place, has not been heard of.
    Session(Arc<str>),
    /// A member of a consumer group has not given up what it was told to.
    Revocation(Arc<str>),
    /// A consumer group has something of its own to do.
    Consumer,
    /// Offsets and groups that nobody wants any more are dropped. One for all groups.
    Upkeep,
}

/// All deadlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    order: BTreeSet<(Timestamp, TimerKey)>,
    // By group, so that a lookup compares few strings.
    at: BTreeMap<TimerKey, Timestamp>,
}

impl Timers {
    /// Sets the deadline of `key`, in the place of an earlier one.
    pub fn set(&mut self, key: TimerKey, at: Timestamp) {
        if let Some(old) = self.at.insert(key.clone(), at) {
            if old == at {
                return;
            }
            let old = (old, key);
            self.order.remove(&old);
            self.order.insert((at, old.1));
        } else {
            self.order.insert((at, key));
        }
    }

    /// Drops the deadline of `key`, if it has one.
    pub fn clear(&mut self, key: TimerKey) {
        if let Some(at) = self.at.remove(&key) {
            self.order.remove(&(at, key));
        }
    }

    /// When `key` is due.
    pub fn at(&self, key: &TimerKey) -> Option<Timestamp> {
        self.at.get(key).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest deadline, if it is at or before `now`.
    pub fn pop(&mut self, now: Timestamp) -> Option<TimerKey> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(Timestamp, TimerKey)> {
        self.order.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(member: &str) -> TimerKey {
        TimerKey {
            group: "g".into(),
            timer: Timer::Session(member.into()),
        }
    }

    #[test]
    fn deadlines_come_in_order_and_can_be_moved() {
        let mut timers = Timers::default();
        timers.set(key("a"), 10);
        timers.set(key("b"), 20);
        timers.set(key("a"), 30);
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.at(&key("a")), Some(30));
        assert_eq!(timers.pop(19), None);
        assert_eq!(timers.pop(20), Some(key("b")));
        timers.clear(key("b"));
        timers.clear(key("a"));
        assert_eq!(timers, Timers::default());
    }
}
