//! The shell around a [`Machine`]: one lock, the commit of rows, parked replies, the one timer.
//!
//! Under the lock a command is decided, its rows applied and queued in the store, so that the order of
//! decisions and the order of commits agree. Replies and effects leave when what they could have seen
//! is durable: a reply about a quiet group never waits for a busy neighbour. When a commit fails the
//! store has closed; everything waiting is told [`Unavailable`] and the coordinator is of no more use:
//! the next one loads the rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use trestle_storage::{Error, ErrorKind, Result, Store, StoreState, WriteSet};

use super::machine::{Answer, Decision, Machine, Ticket};
use crate::env::Env;
use crate::types::Timestamp;

/// Why a coordinator gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The store takes no writes now; the client should try again here.
    #[error("the store does not take writes now: {0}")]
    Stalled(String),
    /// This coordinator is gone; the client should look for the next.
    #[error("the coordinator has closed")]
    Gone,
}

/// Does what a machine wants done elsewhere; must not block.
pub type Courier<M> = Box<dyn Fn(<M as Machine>::Effect) + Send + Sync>;

/// A machine at work.
pub struct Coordinator<M: Machine> {
    shell: Arc<Shell<M>>,
}

struct Shell<M: Machine> {
    env: Env,
    store: Store,
    courier: Courier<M>,
    /// Signalled when the next deadline has become an earlier one.
    sooner: Notify,
    desk: Mutex<Desk<M>>,
}

/// What the lock guards.
struct Desk<M: Machine> {
    machine: M,
    next_ticket: u64,
    waiting: HashMap<Ticket, oneshot::Sender<M::Reply>>,
    /// Number of the last commit queued, and of the last that is durable.
    queued: u64,
    durable: u64,
    /// Per entity its last commit that is not durable yet.
    last_commit: HashMap<String, u64>,
    /// What leaves when the commit with this number is durable.
    parked: BTreeMap<u64, Parked<M>>,
    /// What the timer sleeps until.
    armed: Option<Timestamp>,
    gone: bool,
}

struct Parked<M: Machine> {
    entities: Vec<String>,
    replies: Vec<(Ticket, M::Reply)>,
    effects: Vec<M::Effect>,
}

impl<M: Machine> Default for Parked<M> {
    fn default() -> Self {
        Self {
            entities: Vec::new(),
            replies: Vec::new(),
            effects: Vec::new(),
        }
    }
}

impl<M: Machine> Clone for Coordinator<M> {
    fn clone(&self) -> Self {
        Self {
            shell: self.shell.clone(),
        }
    }
}

impl<M: Machine> fmt::Debug for Coordinator<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Coordinator({})", M::ROWS)
    }
}

impl<M: Machine> Coordinator<M> {
    /// Applies the stored rows to `machine` and begins to serve.
    ///
    /// # Errors
    /// Those of the store, and `Corrupt` for a row that does not decode.
    pub async fn load(
        name: &'static str,
        mut machine: M,
        env: Env,
        store: Store,
        courier: Courier<M>,
    ) -> Result<Self> {
        for (key, value) in store.rows(M::ROWS.as_bytes()).await? {
            let row = M::decode(&key[M::ROWS.len()..], &value)
                .map_err(|what| Error::new(ErrorKind::Corrupt, what))?;
            machine.apply(&row);
        }
        let shell = Arc::new(Shell {
            env: env.clone(),
            store,
            courier,
            sooner: Notify::new(),
            desk: Mutex::new(Desk {
                machine,
                next_ticket: 0,
                waiting: HashMap::new(),
                queued: 0,
                durable: 0,
                last_commit: HashMap::new(),
                parked: BTreeMap::new(),
                armed: None,
                gone: false,
            }),
        });
        shell.act(|machine, now, rng| machine.resume(now, rng));
        env.spawn(name, keep_time(shell.clone()));
        Ok(Self { shell })
    }

    /// Has `command` decided and waits for the reply, however long that takes. A caller that gives up
    /// waiting takes nothing back.
    ///
    /// # Errors
    /// When there is no reply, and will be none.
    pub async fn submit(&self, command: M::Command) -> Result<M::Reply, Unavailable> {
        let mut state = self.shell.store.state();
        let ended = async {
            // Fails only when the store has gone.
            let _ = state
                .wait_for(|state| !matches!(state, StoreState::Open))
                .await;
        };
        tokio::select! {
            biased;
            () = self.shell.store.ready() => {}
            () = ended => {}
        }
        let reply = self.shell.take(command)?;
        reply.await.map_err(|_| Unavailable::Gone)
    }

    /// Looks at the machine, for metrics and tests: what is seen may not be durable yet.
    pub fn inspect<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.shell.desk.lock().machine)
    }
}

impl<M: Machine> Shell<M> {
    /// Has `command` decided; the reply comes by the channel.
    fn take(
        self: &Arc<Self>,
        command: M::Command,
    ) -> Result<oneshot::Receiver<M::Reply>, Unavailable> {
        match &*self.store.state().borrow() {
            StoreState::Open => {}
            StoreState::Stalled(why) => return Err(Unavailable::Stalled(why.clone())),
            StoreState::Closed(_) => return Err(Unavailable::Gone),
        }
        let (reply, replied) = oneshot::channel();
        let mut desk = self.desk.lock();
        if desk.gone {
            return Err(Unavailable::Gone);
        }
        let ticket = Ticket(desk.next_ticket);
        desk.next_ticket += 1;
        desk.waiting.insert(ticket, reply);
        let now = self.env.now();
        let decision = self
            .env
            .with_rng(|rng| desk.machine.decide(now, rng, ticket, command));
        let effects = self.carry_out(&mut desk, decision);
        drop(desk);
        self.send(effects);
        Ok(replied)
    }

    /// Lets the machine decide of its own accord.
    fn act(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut M, Timestamp, &mut dyn rand::Rng) -> Decision<M>,
    ) {
        let mut desk = self.desk.lock();
        if desk.gone {
            return;
        }
        let now = self.env.now();
        let decision = self.env.with_rng(|rng| decide(&mut desk.machine, now, rng));
        let effects = self.carry_out(&mut desk, decision);
        drop(desk);
        self.send(effects);
    }

    /// Applies and commits the rows; sends or parks the replies. Returns the effects that may be
    /// handed over at once, outside of the lock.
    fn carry_out(self: &Arc<Self>, desk: &mut Desk<M>, decision: Decision<M>) -> Vec<M::Effect> {
        let Decision {
            rows,
            answers,
            effects,
        } = decision;
        if !rows.is_empty() {
            desk.queued += 1;
            let number = desk.queued;
            let mut write_set = WriteSet::new();
            let mut entities: Vec<String> = Vec::new();
            for row in &rows {
                desk.machine.apply(row);
                let (key, value) = M::encode(row);
                let key = [M::ROWS.as_bytes(), &key].concat();
                match value {
                    Some(value) => write_set.put_row(key, value),
                    None => write_set.delete_row(key),
                }
                let entity = M::entity(row);
                if entities.last().is_none_or(|last| last != entity) {
                    desk.last_commit.insert(entity.to_owned(), number);
                    entities.push(entity.to_owned());
                }
            }
            desk.parked.entry(number).or_default().entities = entities;
            let shell = self.clone();
            self.store.commit(write_set, move |result| {
                shell.landed(number, result.is_ok())
            });
        }
        for Answer {
            ticket,
            entity,
            reply,
        } in answers
        {
            let seen = match entity {
                Some(entity) => desk.last_commit.get(&entity).copied().unwrap_or(0),
                None => desk.queued,
            };
            if seen <= desk.durable {
                desk.send(ticket, reply);
            } else {
                desk.parked
                    .entry(seen)
                    .or_default()
                    .replies
                    .push((ticket, reply));
            }
        }
        let deadline = desk.machine.next_deadline();
        if deadline.is_some_and(|deadline| desk.armed.is_none_or(|armed| deadline < armed)) {
            self.sooner.notify_one();
        }
        // An effect without rows of its own may rest on those of an earlier decision.
        if effects.is_empty() || desk.queued == desk.durable {
            return effects;
        }
        let last = desk.queued;
        desk.parked.entry(last).or_default().effects.extend(effects);
        Vec::new()
    }

    /// The commit with this number is durable, and so are all before it; or it failed, and the store
    /// has closed.
    fn landed(&self, number: u64, durable: bool) {
        let mut desk = self.desk.lock();
        if !durable {
            desk.gone = true;
            desk.waiting.clear();
            desk.parked.clear();
            return;
        }
        desk.durable = number;
        let mut effects = Vec::new();
        while let Some(first) = desk.parked.first_entry()
            && *first.key() <= number
        {
            let parked = first.remove();
            for entity in parked.entities {
                if desk
                    .last_commit
                    .get(&entity)
                    .is_some_and(|last| *last <= number)
                {
                    desk.last_commit.remove(&entity);
                }
            }
            for (ticket, reply) in parked.replies {
                desk.send(ticket, reply);
            }
            effects.extend(parked.effects);
        }
        drop(desk);
        self.send(effects);
    }

    /// Takes no more commands. What was decided is still answered when it is durable; who waits for
    /// something that has not happened yet is told that it will not happen here.
    fn close(&self) {
        let mut desk = self.desk.lock();
        desk.gone = true;
        let parked = desk.parked.values();
        let decided: HashSet<Ticket> = parked
            .flat_map(|parked| parked.replies.iter().map(|(ticket, _)| *ticket))
            .collect();
        desk.waiting.retain(|ticket, _| decided.contains(ticket));
    }

    fn send(&self, effects: Vec<M::Effect>) {
        for effect in effects {
            (self.courier)(effect);
        }
    }
}

impl<M: Machine> Desk<M> {
    fn send(&mut self, ticket: Ticket, reply: M::Reply) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            // The caller may have gone.
            let _ = waiting.send(reply);
        }
    }
}

/// Has the machine do what is due, when it is due.
async fn keep_time<M: Machine>(shell: Arc<Shell<M>>) {
    loop {
        let deadline = {
            let mut desk = shell.desk.lock();
            if desk.gone {
                return;
            }
            desk.armed = desk.machine.next_deadline();
            desk.armed
        };
        let due = async {
            match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_sub(shell.env.now());
                    if let Ok(left) = u64::try_from(left) {
                        shell.env.sleep(Duration::from_millis(left)).await;
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shell.env.stopping().cancelled() => {
                shell.close();
                return;
            }
            () = shell.sooner.notified() => {}
            () = due => {
                // Clocks may wake a little early.
                if deadline.is_some_and(|deadline| deadline <= shell.env.now()) {
                    shell.act(|machine, now, rng| machine.expire(now, rng));
                }
            }
        }
    }
}
