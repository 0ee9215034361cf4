//! The contract of a coordinator's brain: commands in; rows, replies and effects out. Pure.
//!
//! Hard state changes only by applying rows, live and while loading, so that a restart, a crash and a
//! takeover are one path. The shape is that of Kafka's `CoordinatorShard`; the shell around it is
//! [`super::runtime`].

use rand::Rng;

use crate::types::Timestamp;

/// Stands for one waiting caller. The machine keeps the number, the runtime the channel behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Pure: the same state and the same inputs give the same outputs, on every machine, for ever.
pub trait Machine: Send + Sized + 'static {
    /// Namespace of its rows in the store; ends with a slash.
    const ROWS: &'static str;
    /// What callers ask.
    type Command: Send;
    /// What they are told.
    type Reply: Send + 'static;
    /// A piece of hard state.
    type Row;
    /// What is to be done elsewhere, once the rows that decided it are durable.
    type Effect: Send + 'static;

    /// Judges a command. May touch soft state (who is waiting, deadlines), never hard state: that is
    /// changed by [`apply`](Self::apply), which the runtime calls with each row, in order, right after.
    /// The reply may come now or with a later decision.
    fn decide(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        ticket: Ticket,
        command: Self::Command,
    ) -> Decision<Self>;

    /// Takes a row in: the only way hard state changes.
    fn apply(&mut self, row: &Self::Row);

    /// Begins to serve, after every stored row was applied: arms deadlines, repeats effects that a
    /// crash may have swallowed.
    fn resume(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Decision<Self>;

    /// When [`expire`](Self::expire) is next due. Cheap: asked after every command.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Does what is due at `now`; afterwards no deadline at or before `now` is left, unless the work
    /// was cut into pieces.
    fn expire(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Decision<Self>;

    /// Whom a row concerns: a group, a transactional id. Replies that name the same entity wait until
    /// the row is durable.
    fn entity(row: &Self::Row) -> &str;

    /// The row as it is stored: its key within [`ROWS`](Self::ROWS), and its value, or `None` to delete
    /// what is there.
    fn encode(row: &Self::Row) -> (Vec<u8>, Option<Vec<u8>>);

    /// A stored row.
    ///
    /// # Errors
    /// A sentence that says what does not decode, and what to do.
    fn decode(key: &[u8], value: &[u8]) -> Result<Self::Row, String>;
}

/// A reply, and whose state it may have seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<R> {
    /// Whom it goes to. A ticket that nobody waits for any more is no mistake.
    pub ticket: Ticket,
    /// The reply leaves when every row of this entity so far is durable; with `None`, every row.
    pub entity: Option<String>,
    /// What it says.
    pub reply: R,
}

/// What became of a command.
#[derive(Debug)]
pub struct Decision<M: Machine> {
    /// To be applied in this order, and committed together.
    pub rows: Vec<M::Row>,
    /// To be sent when what they could have seen is durable.
    pub answers: Vec<Answer<M::Reply>>,
    /// To be handed over when the rows are durable.
    pub effects: Vec<M::Effect>,
}

impl<M: Machine> Default for Decision<M> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            answers: Vec::new(),
            effects: Vec::new(),
        }
    }
}

impl<M: Machine> Decision<M> {
    /// Answers at once.
    pub fn reply(ticket: Ticket, entity: impl Into<String>, reply: M::Reply) -> Self {
        let mut decision = Self::default();
        decision.answer(ticket, entity, reply);
        decision
    }

    /// Adds a reply.
    pub fn answer(&mut self, ticket: Ticket, entity: impl Into<String>, reply: M::Reply) {
        self.answers.push(Answer {
            ticket,
            entity: Some(entity.into()),
            reply,
        });
    }
}
