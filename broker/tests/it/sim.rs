//! Seeded simulation of a coordinator's machine: random commands, a clock that jumps, crashes that lose
//! what was not durable. The harness plays the runtime: it parks replies until what they could have seen
//! is durable, and hands over effects then. A machine's own test is a [`World`]: what its clients do, and
//! what must hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use trestle::coordinator::machine::{Decision, Machine, Ticket};
use trestle::types::Timestamp;

/// Rows as a store holds them.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The clients of a machine, and what must hold of it.
pub(crate) trait World {
    type Machine: Machine<Row: Clone, Command: Clone + std::fmt::Debug, Reply: std::fmt::Debug>;

    /// A machine without rows.
    fn machine(&self) -> Self::Machine;

    /// Something that a client asks now.
    fn ask(&mut self, rng: &mut StdRng, ticket: Ticket) -> <Self::Machine as Machine>::Command;

    /// A reply has left; `ticket` is never answered again.
    fn hear(&mut self, ticket: Ticket, reply: &<Self::Machine as Machine>::Reply);

    /// A row was decided; it may yet be lost.
    fn see(&mut self, row: &<Self::Machine as Machine>::Row);

    /// An effect was handed over; what it leads to, if that is a command.
    fn carry_out(
        &mut self,
        effect: <Self::Machine as Machine>::Effect,
    ) -> Option<<Self::Machine as Machine>::Command>;

    /// Everything that was not durable is lost; `waiting` will never be answered.
    fn crash(&mut self, waiting: &BTreeSet<Ticket>);

    /// What must hold between any two steps; `rows` are all that were decided.
    fn check(&self, machine: &Self::Machine, rows: &Rows);
}

/// How long a run is.
const STEPS: usize = 400;

/// Plays `world` with `seed`, and returns all that happened, line by line.
pub(crate) fn play<W: World>(world: W, seed: u64) -> String {
    let mut sim = Sim::new(world, seed);
    for _ in 0..STEPS {
        sim.step();
    }
    sim.settle();
    std::mem::take(&mut sim.trace)
}

/// Plays seeds from 0, as many as `TRESTLE_SIM_SEEDS` says or 200, or the one that `TRESTLE_SIM_SEED`
/// names; the first twice.
pub(crate) fn play_all<W: World>(name: &str, world: impl Fn() -> W) {
    play_seeds(name, |seed| play(world(), seed));
}

/// The same for a play of another kind, which returns all that happened.
pub(crate) fn play_seeds(name: &str, play: impl Fn(u64) -> String) {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let seeds = match number("TRESTLE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRESTLE_SIM_SEEDS").unwrap_or(200),
    };
    let first = seeds.start;
    assert_eq!(
        play(first),
        play(first),
        "the same seed twice is the same run"
    );
    for seed in seeds {
        let played = std::panic::AssertUnwindSafe(|| play(seed));
        if let Err(panic) = std::panic::catch_unwind(played) {
            eprintln!(
                "to see it again: TRESTLE_SIM_SEED={seed} cargo test -p trestle --test it {name}"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

/// A write set on its way.
struct Commit<M: Machine> {
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    entities: BTreeSet<String>,
    effects: Vec<M::Effect>,
}

impl<W: World> Drop for Sim<W> {
    /// A run that fails shows how it got there.
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_end(&self.trace);
        }
    }
}

/// The last lines of a run that has failed.
pub(crate) fn show_end(trace: &str) {
    let lines: Vec<&str> = trace.lines().collect();
    let from = lines.len().saturating_sub(60);
    eprintln!("{}", lines[from..].join("\n"));
}

struct Parked<R> {
    ticket: Ticket,
    reply: R,
    /// Commits that must be durable first.
    after: u64,
}

struct Sim<W: World> {
    world: W,
    machine: W::Machine,
    rng: StdRng,
    /// The machine's own, so that what it draws does not depend on what the clients do.
    luck: StdRng,
    now: Timestamp,
    tickets: u64,
    waiting: BTreeSet<Ticket>,
    queued: VecDeque<Commit<W::Machine>>,
    landed: u64,
    decided: u64,
    last: BTreeMap<String, u64>,
    parked: Vec<Parked<<W::Machine as Machine>::Reply>>,
    durable: Rows,
    /// With what is on its way.
    all: Rows,
    trace: String,
}

impl<W: World> Sim<W> {
    fn new(world: W, seed: u64) -> Self {
        Self {
            machine: world.machine(),
            world,
            rng: StdRng::seed_from_u64(seed),
            luck: StdRng::seed_from_u64(!seed),
            now: 1_000_000,
            tickets: 0,
            waiting: BTreeSet::new(),
            queued: VecDeque::new(),
            landed: 0,
            decided: 0,
            last: BTreeMap::new(),
            parked: Vec::new(),
            durable: Rows::new(),
            all: Rows::new(),
            trace: String::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..60 => {
                let ticket = self.ticket();
                let command = self.world.ask(&mut self.rng, ticket);
                self.submit(ticket, command);
            }
            60..75 => {
                let count = self.rng.random_range(0..=self.queued.len());
                self.land(count);
            }
            75..97 => {
                let ahead = match self.rng.random_range(0..10) {
                    0..7 => self.rng.random_range(0..3_000),
                    7..9 => self.rng.random_range(0..40_000),
                    _ => self.rng.random_range(0..400_000),
                };
                self.wait(ahead);
            }
            // Somebody sets the clock back.
            97 => self.now -= self.rng.random_range(0..20_000),
            _ => self.crash(),
        }
        self.world.check(&self.machine, &self.all);
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        writeln!(self.trace, "{} {what}", self.now).expect("text");
    }

    fn submit(&mut self, ticket: Ticket, command: <W::Machine as Machine>::Command) {
        self.note(format_args!("#{} {}", ticket.0, short(&command)));
        self.waiting.insert(ticket);
        let decision = self
            .machine
            .decide(self.now, &mut self.luck, ticket, command);
        self.carry_out(decision);
    }

    fn carry_out(&mut self, decision: Decision<W::Machine>) {
        let mut commit = Commit {
            rows: Vec::new(),
            entities: BTreeSet::new(),
            effects: decision.effects,
        };
        for row in &decision.rows {
            self.machine.apply(row);
            self.world.see(row);
            let (key, value) = W::Machine::encode(row);
            if let Some(value) = &value {
                let again = W::Machine::decode(&key, value).expect("a row that was just written");
                assert_eq!(
                    W::Machine::encode(&again),
                    (key.clone(), Some(value.clone()))
                );
            }
            match &value {
                Some(value) => self.all.insert(key.clone(), value.clone()),
                None => self.all.remove(&key),
            };
            commit.entities.insert(W::Machine::entity(row).to_owned());
            commit.rows.push((key, value));
        }
        if !commit.rows.is_empty() || !commit.effects.is_empty() {
            self.decided += 1;
            for entity in &commit.entities {
                self.last.insert(entity.clone(), self.decided);
            }
            self.queued.push_back(commit);
        }
        for answer in decision.answers {
            let after = match &answer.entity {
                Some(entity) => self.last.get(entity).copied().unwrap_or(0),
                None => self.decided,
            };
            self.parked.push(Parked {
                ticket: answer.ticket,
                reply: answer.reply,
                after,
            });
        }
        self.release();
    }

    /// The oldest `count` commits have become durable.
    fn land(&mut self, count: usize) {
        let mut effects = Vec::new();
        for commit in self.queued.drain(..count) {
            self.landed += 1;
            for (key, value) in commit.rows {
                match value {
                    Some(value) => self.durable.insert(key, value),
                    None => self.durable.remove(&key),
                };
            }
            effects.extend(commit.effects);
        }
        self.release();
        for effect in effects {
            if let Some(command) = self.world.carry_out(effect) {
                let ticket = self.ticket();
                self.submit(ticket, command);
            }
        }
    }

    fn release(&mut self) {
        let mut parked = std::mem::take(&mut self.parked);
        parked.retain(|answer| {
            if answer.after > self.landed {
                return true;
            }
            // A machine may answer somebody who was lost in a crash; nobody twice.
            assert!(
                self.waiting.remove(&answer.ticket),
                "{:?} is answered and does not wait: {:?}",
                answer.ticket,
                answer.reply
            );
            writeln!(
                self.trace,
                "{} -> #{} {}",
                self.now,
                answer.ticket.0,
                short(&answer.reply)
            )
            .expect("text");
            self.world.hear(answer.ticket, &answer.reply);
            false
        });
        self.parked = parked;
    }

    /// Time passes, and what becomes due is done when it is.
    fn wait(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.machine.next_deadline()
            && at <= until
        {
            self.now = self.now.max(at);
            let decision = self.machine.expire(self.now, &mut self.luck);
            self.carry_out(decision);
        }
        self.now = until.max(self.now);
    }

    fn crash(&mut self) {
        self.note(format_args!(
            "crash with {} on their way",
            self.queued.len()
        ));
        self.queued.clear();
        self.parked.clear();
        self.last.clear();
        self.landed = self.decided;
        let waiting = std::mem::take(&mut self.waiting);
        self.world.crash(&waiting);
        self.all = self.durable.clone();
        self.machine = self.world.machine();
        for (key, value) in &self.durable {
            let row = W::Machine::decode(key, value).expect("a stored row");
            self.machine.apply(&row);
        }
        self.world.check(&self.machine, &self.all);
        let decision = self.machine.resume(self.now, &mut self.luck);
        self.carry_out(decision);
    }

    /// Nobody asks for anything more: whoever waits is answered in the end.
    fn settle(&mut self) {
        for _ in 0..200 {
            let count = self.queued.len();
            self.land(count);
            self.wait(60_000);
        }
        let count = self.queued.len();
        self.land(count);
        self.world.check(&self.machine, &self.all);
        assert!(
            self.waiting.is_empty(),
            "never answered: {:?}",
            self.waiting
        );
    }
}

/// One line of what may be long.
fn short(what: &impl std::fmt::Debug) -> String {
    let mut text = format!("{what:?}");
    if text.len() > 400 {
        let cut = text.floor_char_boundary(400);
        text.truncate(cut);
    }
    text
}
