//! What a group has at hand while it decides: the time, luck, the rules, its timers, and the decision
//! that it fills.

use std::sync::Arc;

use rand::Rng;

use super::commands::Reply;
use super::timers::{Timer, TimerKey, Timers};
use super::{Groups, Limits, Row};
use crate::config::{GroupConfig, Resource};
use crate::coordinator::machine::{Decision, Ticket};
use crate::metadata::Image;
use crate::types::Timestamp;

/// One group's turn.
pub(super) struct Turn<'a> {
    /// Now.
    pub(super) now: Timestamp,
    /// Randomness.
    pub(super) rng: &'a mut dyn Rng,
    /// The settings.
    pub(super) limits: &'a Limits,
    /// The topics.
    pub(super) image: &'a Arc<Image>,
    /// The group whose turn it is.
    pub(super) group: Arc<str>,
    pub(super) timers: &'a mut Timers,
    pub(super) decision: &'a mut Decision<Groups>,
}

impl Turn<'_> {
    /// Answers somebody; the answer leaves when all rows of the group so far are durable.
    pub(super) fn answer(&mut self, ticket: Ticket, reply: Reply) {
        self.decision.answer(ticket, &*self.group, reply);
    }

    /// Adds a row to what is stored.
    pub(super) fn store(&mut self, row: Row) {
        self.decision.rows.push(row);
    }

    fn key(&self, timer: Timer) -> TimerKey {
        TimerKey {
            group: self.group.clone(),
            timer,
        }
    }

    /// Sets a deadline, so many milliseconds from now.
    pub(super) fn arm(&mut self, timer: Timer, in_ms: i64) {
        let key = self.key(timer);
        self.timers.set(key, self.now.saturating_add(in_ms.max(0)));
    }

    /// The same, if `timer` does not run yet.
    pub(super) fn arm_if_idle(&mut self, timer: Timer, in_ms: i64) {
        let key = self.key(timer);
        if self.timers.at(&key).is_none() {
            self.timers.set(key, self.now.saturating_add(in_ms.max(0)));
        }
    }

    /// Drops a deadline.
    pub(super) fn disarm(&mut self, timer: Timer) {
        let key = self.key(timer);
        self.timers.clear(key);
    }

    /// Session and pause between heartbeats of this group under the consumer protocol: its own
    /// settings go before the broker's.
    pub(super) fn times(&self) -> GroupConfig {
        let settings = &self.image.settings;
        let own = match settings.is_empty() {
            true => None,
            false => settings.get(&Resource::Group(self.group.to_string())),
        };
        match own {
            Some(own) => GroupConfig::effective(own, &self.image.config),
            None => self.limits.consumer.times,
        }
    }

    /// A random UUID as text, for member ids.
    pub(super) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string()
    }
}
