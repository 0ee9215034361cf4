//! The consumer protocol (KIP-848): not served yet. What [`super::Groups`] wants of it stands here.

use std::sync::Arc;

use super::commands::{Caller, GroupError, Join, Leave, Sync};
use super::timers::Timer;
use super::turn::Turn;
use crate::coordinator::machine::Ticket;
use crate::metadata::Image;

/// What is asked of a consumer group.
#[derive(Clone, Debug)]
pub enum Command {}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {}

/// A piece of its hard state. Keys start with `consumer/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {}

impl Row {
    /// Key and value, as [`super::Row`] stores them.
    pub(super) fn encode(&self, _group: &Arc<str>) -> (Vec<u8>, Option<Vec<u8>>) {
        match *self {}
    }

    /// The group and the row under `key`, which starts with `consumer/`.
    pub(super) fn decode(_key: &[u8], _value: &[u8]) -> Result<(Arc<str>, Self), String> {
        Err("a row of a consumer group, which this version does not know".into())
    }
}

/// A group under the consumer protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {}

impl Group {
    /// Whether it has no members, so that it may become a classic group or be deleted.
    pub(super) fn is_empty(&self) -> bool {
        match *self {}
    }

    /// How many members it has.
    pub(super) fn len(&self) -> usize {
        match *self {}
    }

    /// Its state, by Kafka's name.
    pub(super) fn state(&self) -> &'static str {
        match *self {}
    }

    /// Whether `caller` may commit offsets.
    pub(super) fn check_commit(
        &mut self,
        _turn: &mut Turn<'_>,
        _caller: &Caller,
        _transactional: bool,
    ) -> Result<(), GroupError> {
        match *self {}
    }

    /// Whether `caller` may fetch offsets.
    pub(super) fn check_fetch(&self, _caller: &Caller) -> Result<(), GroupError> {
        match *self {}
    }

    /// Whether a member reads `topic`.
    pub(super) fn is_subscribed(&self, _topic: &str) -> bool {
        match *self {}
    }

    /// Rows that forget an empty group.
    pub(super) fn tombstones(&self, _group: &Arc<str>) -> Vec<super::Row> {
        match *self {}
    }

    /// The topics have changed; `turn.image` is the new picture.
    pub(super) fn follow(&mut self, _turn: &mut Turn<'_>, _before: &Image) {
        match *self {}
    }

    /// `timer` is due.
    pub(super) fn expire(&mut self, _turn: &mut Turn<'_>, _timer: &Timer) {
        match *self {}
    }

    /// All rows were applied: deadlines are armed anew.
    pub(super) fn resume(&mut self, _turn: &mut Turn<'_>) {
        match *self {}
    }

    /// A member of the classic protocol wants to join this group, which has members.
    pub(super) fn classic_join(&mut self, _turn: &mut Turn<'_>, _ticket: Ticket, _join: Join) {
        match *self {}
    }

    /// A member of the classic protocol asks for its assignment.
    pub(super) fn classic_sync(&mut self, _turn: &mut Turn<'_>, _ticket: Ticket, _sync: Sync) {
        match *self {}
    }

    /// A member of the classic protocol is alive.
    pub(super) fn classic_heartbeat(
        &mut self,
        _turn: &mut Turn<'_>,
        _caller: &Caller,
    ) -> Result<(), GroupError> {
        match *self {}
    }

    /// Members go by LeaveGroup.
    pub(super) fn classic_leave(
        &mut self,
        _turn: &mut Turn<'_>,
        _leave: Leave,
    ) -> Vec<Result<(), GroupError>> {
        match *self {}
    }

    /// Takes in a row.
    pub(super) fn apply(_kind: &mut super::Kind, row: &Row) {
        match *row {}
    }
}

/// Judges a command of the consumer protocol.
pub(super) fn decide(
    _groups: &mut super::Groups,
    _now: crate::types::Timestamp,
    _rng: &mut dyn rand::Rng,
    _ticket: Ticket,
    command: Command,
) -> crate::coordinator::machine::Decision<super::Groups> {
    match command {}
}
