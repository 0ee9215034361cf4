//! Transactions under simulation: the coordinator's machine, model partitions in the same store, clients
//! that hang, come back as zombies and send late, clocks that jump, crashes that lose what is not durable.
//!
//! What must hold in the end: no partition has an open transaction; a committed transaction is seen whole, an
//! aborted one not at all, one whose end nobody knows either way; and nothing is seen whose commit was
//! never asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use trestle::coordinator::machine::{Decision, Machine, Ticket};
use trestle::coordinator::txn::{Brain, Command, Ending, Reply, TopicPartition, TransactionError};
use trestle::types::{ProducerEpoch, ProducerId, Timestamp, TopicId};

use crate::sim::{Rows, play_seeds, show_end};

const PARTITIONS: i32 = 3;
const IDS: [&str; 2] = ["a", "b"];
const STEPS: usize = 1_200;
const TIMEOUT_MS: i32 = 60_000;

#[test]
fn txn_sim() {
    play_seeds("txn_sim", play);
    // And they did get somewhere.
    let traces: String = (0..30).map(play).collect();
    for (seen, times) in [
        ("committed: true", 50),
        ("committed: false", 50),
        ("Fenced", 10),
        ("crash", 50),
        ("ends beside a record", 10),
        ("waits for the gate", 10),
        ("late record", 1),
    ] {
        let count = traces.matches(seen).count();
        assert!(count >= times, "{seen}: {count} times");
    }
}

fn play(seed: u64) -> String {
    let mut sim = Sim::new(seed);
    for _ in 0..STEPS {
        sim.step();
    }
    sim.settle();
    sim.judge();
    std::mem::take(&mut sim.trace)
}

impl Drop for Sim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_end(&self.trace);
        }
    }
}

type Owner = (ProducerId, ProducerEpoch);

/// What a partition holds.
#[derive(Clone, Debug)]
enum Entry {
    /// A record of an attempt.
    Record {
        owner: Owner,
        attempt: usize,
    },
    Marker {
        owner: Owner,
        committed: bool,
    },
}

/// What a partition's leader knows; always what its entries say.
#[derive(Clone, Debug, Default)]
struct Partition {
    entries: Vec<Entry>,
    epochs: HashMap<ProducerId, ProducerEpoch>,
    marked: HashMap<ProducerId, ProducerEpoch>,
    open: BTreeSet<ProducerId>,
}

impl Partition {
    fn push(&mut self, entry: Entry) {
        match &entry {
            Entry::Record { owner, .. } => {
                self.epochs.insert(owner.0, owner.1);
                self.open.insert(owner.0);
            }
            Entry::Marker { owner, .. } => {
                self.epochs.insert(owner.0, owner.1);
                self.marked.insert(owner.0, owner.1);
                self.open.remove(&owner.0);
            }
        }
        self.entries.push(entry);
    }

    fn fenced(&self, owner: Owner) -> bool {
        self.epochs.get(&owner.0).is_some_and(|own| *own > owner.1)
    }

    fn is_marked(&self, owner: Owner) -> bool {
        !self.open.contains(&owner.0) && self.marked.get(&owner.0) == Some(&owner.1)
    }

    /// The attempts of the records that are seen by who reads only what is committed, with how many.
    fn seen(&self) -> BTreeMap<usize, usize> {
        let mut open: HashMap<ProducerId, Vec<usize>> = HashMap::new();
        let mut seen = BTreeMap::new();
        for entry in &self.entries {
            match entry {
                Entry::Record { owner, attempt } => {
                    open.entry(owner.0).or_default().push(*attempt);
                }
                Entry::Marker { owner, committed } => {
                    for attempt in open.remove(&owner.0).unwrap_or_default() {
                        if *committed {
                            *seen.entry(attempt).or_default() += 1;
                        }
                    }
                }
            }
        }
        seen
    }
}

/// What waits for a commit, or for all before it.
enum Then {
    Answer(Ticket, Reply),
    Errand(Ending),
    Acknowledge { client: usize, attempt: usize },
    Marked { courier: u64 },
}

enum Change {
    Row(Vec<u8>, Option<Vec<u8>>),
    Append(i32, Entry),
}

/// One transaction of one client, from its first step to its end.
#[derive(Default)]
struct Attempt {
    acknowledged: usize,
    /// Asked to be committed, whatever came of it.
    commit_asked: bool,
    /// What the client was told.
    told: Option<bool>,
}

enum Doing {
    Nothing,
    /// For the reply to a ticket; what was asked, to ask it again.
    Waiting(Ticket, Asked),
    /// A record is on its way, inside the gate or behind it.
    Appending,
    /// An end has to be asked for again.
    Retry(bool),
}

#[derive(Clone, Copy)]
enum Asked {
    Init,
    Add,
    End(bool),
}

struct Client {
    id: &'static str,
    /// Whether its epoch rises with each end.
    raises: bool,
    owner: Option<Owner>,
    attempt: usize,
    /// A record was sent and its answer lost.
    in_doubt: bool,
    doing: Doing,
}

struct Courier {
    ending: Ending,
    left: Vec<TopicPartition>,
    on_their_way: usize,
}

struct Sim {
    rng: StdRng,
    now: Timestamp,
    brain: Brain,
    rows: Rows,
    durable: Vec<Vec<Entry>>,
    partitions: Vec<Partition>,
    queue: VecDeque<Vec<Change>>,
    decided: u64,
    landed: u64,
    last: HashMap<String, u64>,
    parked: Vec<(u64, Then)>,
    clients: Vec<Client>,
    attempts: Vec<Attempt>,
    couriers: BTreeMap<u64, Courier>,
    /// Records that were verified and are about to be appended.
    gate: Vec<Sent>,
    /// Records of clients that are gone, still on some wire.
    late: Vec<Sent>,
    next: u64,
    next_id: i64,
    trace: String,
}

/// A record on its way to a partition.
#[derive(Clone, Copy)]
struct Sent {
    id: &'static str,
    owner: Owner,
    attempt: usize,
    partition: i32,
    /// Who waits for the answer.
    client: Option<usize>,
}

fn topic() -> TopicId {
    TopicId::from_bytes([7; 16])
}

fn brain() -> Brain {
    Brain::new(i64::MAX / 4, 1)
}

impl Sim {
    fn new(seed: u64) -> Self {
        let clients = (0..5).map(|number| Client {
            id: IDS[number % IDS.len()],
            raises: number % 3 != 0,
            owner: None,
            attempt: number,
            in_doubt: false,
            doing: Doing::Nothing,
        });
        Self {
            rng: StdRng::seed_from_u64(seed),
            now: 1_000_000,
            brain: brain(),
            rows: Rows::new(),
            durable: vec![Vec::new(); PARTITIONS as usize],
            partitions: vec![Partition::default(); PARTITIONS as usize],
            queue: VecDeque::new(),
            decided: 0,
            landed: 0,
            last: HashMap::new(),
            parked: Vec::new(),
            clients: clients.collect(),
            attempts: (0..5).map(|_| Attempt::default()).collect(),
            couriers: BTreeMap::new(),
            gate: Vec::new(),
            late: Vec::new(),
            next: 0,
            next_id: 0,
            trace: String::new(),
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        writeln!(self.trace, "{} {what}", self.now).expect("text");
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..55 => {
                let client = self.rng.random_range(0..self.clients.len());
                self.act(client);
            }
            55..62 => self.leave_gate(),
            62..77 => {
                let count = self.rng.random_range(0..=self.queue.len());
                self.land(count);
            }
            77..90 => self.run_errand(),
            90..93 => self.deliver_late(),
            93..97 => {
                let ahead = match self.rng.random_range(0..8) {
                    0..7 => self.rng.random_range(0..3_000),
                    _ => self.rng.random_range(0..90_000),
                };
                self.wait(ahead);
            }
            97 => self.now -= self.rng.random_range(0..20_000),
            98 => self.crash(),
            _ => {
                let client = self.rng.random_range(0..self.clients.len());
                self.vanish(client);
            }
        }
    }

    /// A client does its next step.
    fn act(&mut self, number: usize) {
        let client = &self.clients[number];
        let (id, raises) = (client.id, client.raises);
        match client.doing {
            Doing::Waiting(..) => {}
            // It may have enough of waiting for the answer.
            Doing::Appending => {
                if self.rng.random_range(0..4) == 0 {
                    self.note(format_args!("client {number} ends beside a record"));
                    self.end(number, false);
                }
            }
            Doing::Retry(commit) => self.end(number, commit),
            Doing::Nothing => {
                let Some(owner) = client.owner else {
                    // Somebody else's id is taken over now and then; mostly it is left alone.
                    let mut others = self.clients.iter();
                    let used = others.any(|other| other.id == id && other.owner.is_some());
                    if used && self.rng.random_range(0..15) != 0 {
                        return;
                    }
                    let command = self.init(id, None);
                    self.ask(number, Asked::Init, command);
                    return;
                };
                let in_doubt = client.in_doubt;
                let partition = self.rng.random_range(0..PARTITIONS);
                match self.rng.random_range(0..20) {
                    0 => {
                        let own = self.rng.random::<bool>().then_some(owner);
                        let command = self.init(id, own);
                        self.ask(number, Asked::Init, command);
                    }
                    1..8 => {
                        let command = Command::Add {
                            id: id.to_owned(),
                            producer: owner.0,
                            epoch: owner.1,
                            partitions: vec![(topic(), partition)],
                            group: None,
                            at_once: raises,
                        };
                        self.ask(number, Asked::Add, command);
                    }
                    8..16 => {
                        let part = (topic(), partition);
                        match self.brain.verify(id, owner.0, owner.1, &part) {
                            Ok(()) => {
                                self.clients[number].doing = Doing::Appending;
                                self.gate.push(Sent {
                                    id,
                                    owner,
                                    attempt: self.clients[number].attempt,
                                    partition,
                                    client: Some(number),
                                });
                            }
                            Err(TransactionError::Fenced | TransactionError::UnknownProducer) => {
                                self.lose(number);
                            }
                            Err(_) => {}
                        }
                    }
                    16..19 if !in_doubt => self.end(number, true),
                    _ => self.end(number, false),
                }
            }
        }
    }

    fn init(&mut self, id: &str, expected: Option<Owner>) -> Command {
        self.next_id += 1;
        Command::Init {
            id: id.to_owned(),
            timeout_ms: TIMEOUT_MS,
            expected,
            fresh: Some(ProducerId(self.next_id)),
        }
    }

    fn end(&mut self, number: usize, commit: bool) {
        let client = &self.clients[number];
        let Some(owner) = client.owner else {
            self.clients[number].doing = Doing::Nothing;
            return;
        };
        let (id, raise) = (client.id.to_owned(), client.raises);
        self.attempts[client.attempt].commit_asked |= commit;
        self.next_id += 1;
        let command = Command::End {
            id,
            producer: owner.0,
            epoch: owner.1,
            commit,
            raise,
            fresh: Some(ProducerId(self.next_id)),
        };
        self.ask(number, Asked::End(commit), command);
    }

    /// What a client takes for the beginning of another transaction.
    fn begin(&mut self, number: usize) {
        self.attempts.push(Attempt::default());
        self.clients[number].attempt = self.attempts.len() - 1;
        self.clients[number].in_doubt = false;
        self.clients[number].doing = Doing::Nothing;
    }

    /// A client has learnt that it is fenced.
    fn lose(&mut self, number: usize) {
        self.begin(number);
        self.clients[number].owner = None;
    }

    /// A client's process ends; what it has sent last may arrive later.
    fn vanish(&mut self, number: usize) {
        let client = &self.clients[number];
        if let (Some(owner), true) = (client.owner, client.raises) {
            let partition = self.rng.random_range(0..PARTITIONS);
            self.late.push(Sent {
                id: client.id,
                owner,
                attempt: client.attempt,
                partition,
                client: None,
            });
        }
        self.note(format_args!("client {number} vanishes"));
        self.lose(number);
    }

    /// A late record arrives, and adds its partition if it may.
    fn deliver_late(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let which = self.rng.random_range(0..self.late.len());
        let sent = self.late.swap_remove(which);
        let part = (topic(), sent.partition);
        let (producer, epoch) = sent.owner;
        let add = Command::Add {
            id: sent.id.to_owned(),
            producer,
            epoch,
            partitions: vec![part],
            group: None,
            at_once: true,
        };
        let ticket = self.ticket();
        self.submit(ticket, add);
        if self.brain.verify(sent.id, producer, epoch, &part).is_ok() {
            self.note(format_args!("a late record of {}", sent.attempt));
            self.gate.push(sent);
        }
    }

    /// A verified record comes to its partition.
    fn leave_gate(&mut self) {
        if self.gate.is_empty() {
            return;
        }
        let which = self.rng.random_range(0..self.gate.len());
        let Sent {
            owner,
            attempt,
            partition,
            client,
            ..
        } = self.gate.swap_remove(which);
        let model = &mut self.partitions[partition as usize];
        if model.fenced(owner) {
            let waits = |number: &usize| {
                let client = &self.clients[*number];
                client.attempt == attempt && matches!(client.doing, Doing::Appending)
            };
            if let Some(number) = client.filter(waits) {
                self.lose(number);
            }
            return;
        }
        let entry = Entry::Record { owner, attempt };
        model.push(entry.clone());
        self.note(format_args!("record {owner:?} of {attempt} in {partition}"));
        self.commit(vec![Change::Append(partition, entry)]);
        if let Some(client) = client {
            let then = Then::Acknowledge { client, attempt };
            self.parked.push((self.decided, then));
        }
    }

    fn commit(&mut self, changes: Vec<Change>) {
        self.decided += 1;
        self.queue.push_back(changes);
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    fn ask(&mut self, number: usize, asked: Asked, command: Command) {
        let ticket = self.ticket();
        self.clients[number].doing = Doing::Waiting(ticket, asked);
        self.submit(ticket, command);
    }

    fn submit(&mut self, ticket: Ticket, command: Command) {
        self.note(format_args!("#{} {command:?}", ticket.0));
        let mut luck = StdRng::seed_from_u64(0);
        let decision = self.brain.decide(self.now, &mut luck, ticket, command);
        self.carry_out(decision);
    }

    fn carry_out(&mut self, decision: Decision<Brain>) {
        let mut changes = Vec::new();
        let mut entities = BTreeSet::new();
        for row in &decision.rows {
            self.brain.apply(row);
            let (key, value) = Brain::encode(row);
            changes.push(Change::Row(key, value));
            entities.insert(Brain::entity(row).to_owned());
        }
        if !changes.is_empty() {
            self.commit(changes);
        }
        for entity in entities {
            self.last.insert(entity, self.decided);
        }
        for answer in decision.answers {
            let after = match &answer.entity {
                Some(entity) => self.last.get(entity).copied().unwrap_or(0),
                None => self.decided,
            };
            let then = Then::Answer(answer.ticket, answer.reply);
            self.parked.push((after, then));
        }
        for ending in decision.effects {
            self.parked.push((self.decided, Then::Errand(ending)));
        }
        self.release();
    }

    fn land(&mut self, count: usize) {
        for changes in self.queue.drain(..count) {
            self.landed += 1;
            for change in changes {
                match change {
                    Change::Row(key, Some(value)) => {
                        self.rows.insert(key, value);
                    }
                    Change::Row(key, None) => {
                        self.rows.remove(&key);
                    }
                    Change::Append(partition, entry) => {
                        self.durable[partition as usize].push(entry);
                    }
                }
            }
        }
        self.release();
    }

    fn release(&mut self) {
        while let Some(at) = self
            .parked
            .iter()
            .position(|(after, _)| *after <= self.landed)
        {
            match self.parked.remove(at).1 {
                Then::Answer(ticket, reply) => self.hear(ticket, reply),
                Then::Errand(ending) => {
                    self.next += 1;
                    let left = ending.partitions.clone();
                    let courier = Courier {
                        ending,
                        left,
                        on_their_way: 0,
                    };
                    self.couriers.insert(self.next, courier);
                }
                Then::Acknowledge { client, attempt } => {
                    self.attempts[attempt].acknowledged += 1;
                    let client = &mut self.clients[client];
                    if client.attempt == attempt && matches!(client.doing, Doing::Appending) {
                        client.doing = Doing::Nothing;
                    }
                }
                Then::Marked { courier } => {
                    if let Some(courier) = self.couriers.get_mut(&courier) {
                        courier.on_their_way -= 1;
                    }
                }
            }
        }
    }

    fn hear(&mut self, ticket: Ticket, reply: Reply) {
        self.note(format_args!("-> #{} {reply:?}", ticket.0));
        let waits =
            |client: &Client| matches!(client.doing, Doing::Waiting(own, _) if own == ticket);
        let Some(number) = self.clients.iter().position(waits) else {
            return;
        };
        let client = &mut self.clients[number];
        let Doing::Waiting(_, asked) = std::mem::replace(&mut client.doing, Doing::Nothing) else {
            return;
        };
        match (asked, reply) {
            (Asked::Init, Reply::Producer(producer, epoch)) => {
                self.begin(number);
                self.clients[number].owner = Some((producer, epoch));
            }
            (Asked::End(commit), Reply::Producer(producer, epoch)) => {
                self.attempts[client.attempt].told = Some(commit);
                if client.raises {
                    client.owner = Some((producer, epoch));
                }
                self.begin(number);
            }
            (Asked::Add, Reply::Producer(..)) => {}
            (Asked::End(commit), Reply::Refused(TransactionError::Concurrent)) => {
                client.doing = Doing::Retry(commit);
            }
            (_, Reply::Refused(TransactionError::Concurrent)) => {}
            // There was nothing to end.
            (Asked::End(_), Reply::Refused(TransactionError::InvalidState)) => self.begin(number),
            (_, Reply::Refused(_)) => self.lose(number),
            (_, reply) => panic!("{reply:?} to #{}", ticket.0),
        }
    }

    /// Some courier does its next step.
    fn run_errand(&mut self) {
        if self.couriers.is_empty() {
            return;
        }
        let which = self.rng.random_range(0..self.couriers.len());
        let number = *self.couriers.keys().nth(which).expect("one of them");
        let courier = &self.couriers[&number];
        let id = courier.ending.id.clone();
        // Who was let in before the end was decided goes first.
        if self.gate.iter().any(|sent| sent.id == id) {
            self.note(format_args!("the end of {id} waits for the gate"));
            return;
        }
        let owner = (courier.ending.producer, courier.ending.epoch);
        let courier = self.couriers.get_mut(&number).expect("that one");
        if let Some((_, partition)) = courier.left.pop() {
            let entry = Entry::Marker {
                owner,
                committed: courier.ending.committed,
            };
            let model = &mut self.partitions[partition as usize];
            if !model.is_marked(owner) && !model.fenced(owner) {
                courier.on_their_way += 1;
                model.push(entry.clone());
                self.note(format_args!("marker {entry:?} in {partition}"));
                self.commit(vec![Change::Append(partition, entry)]);
                self.parked
                    .push((self.decided, Then::Marked { courier: number }));
            }
        } else if courier.on_their_way == 0 {
            self.couriers.remove(&number);
            let ticket = self.ticket();
            let (producer, epoch) = owner;
            self.submit(
                ticket,
                Command::MarkersWritten {
                    id,
                    producer,
                    epoch,
                },
            );
        }
    }

    fn wait(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.brain.next_deadline()
            && at <= until
        {
            self.now = self.now.max(at);
            let mut luck = StdRng::seed_from_u64(0);
            let decision = self.brain.expire(self.now, &mut luck);
            self.carry_out(decision);
        }
        self.now = until.max(self.now);
    }

    /// Everything that is not durable is lost, and so is everybody's connection.
    fn crash(&mut self) {
        self.note(format_args!("crash, {} on their way", self.queue.len()));
        self.queue.clear();
        self.parked.clear();
        self.couriers.clear();
        self.gate.clear();
        self.last.clear();
        self.landed = self.decided;
        self.brain = brain();
        for (key, value) in &self.rows {
            let row = Brain::decode(key, value).expect("a stored row");
            self.brain.apply(&row);
        }
        for (model, entries) in self.partitions.iter_mut().zip(&self.durable) {
            *model = Partition::default();
            for entry in entries {
                model.push(entry.clone());
            }
        }
        for client in &mut self.clients {
            client.doing = match std::mem::replace(&mut client.doing, Doing::Nothing) {
                Doing::Waiting(_, Asked::End(commit)) | Doing::Retry(commit) => {
                    Doing::Retry(commit)
                }
                Doing::Appending => {
                    client.in_doubt = true;
                    Doing::Nothing
                }
                Doing::Waiting(..) | Doing::Nothing => Doing::Nothing,
            };
        }
        let mut luck = StdRng::seed_from_u64(0);
        let decision = self.brain.resume(self.now, &mut luck);
        self.carry_out(decision);
    }

    /// Clients fall silent; everything that is under way comes to its end.
    fn settle(&mut self) {
        for client in &mut self.clients {
            client.doing = Doing::Nothing;
        }
        while !self.gate.is_empty() {
            self.leave_gate();
        }
        for _ in 0..50 {
            while !self.couriers.is_empty() || !self.queue.is_empty() {
                let count = self.queue.len();
                self.land(count);
                self.run_errand();
            }
            self.wait(i64::from(TIMEOUT_MS));
        }
    }

    fn judge(&self) {
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        for (number, partition) in self.partitions.iter().enumerate() {
            assert!(
                partition.open.is_empty(),
                "open for ever in partition {number}: {:?}",
                partition.open
            );
            for (attempt, records) in partition.seen() {
                *seen.entry(attempt).or_default() += records;
            }
        }
        for (number, attempt) in self.attempts.iter().enumerate() {
            let seen = seen.get(&number).copied().unwrap_or(0);
            let whole = seen >= attempt.acknowledged;
            match attempt.told {
                Some(true) => assert!(whole, "attempt {number} is committed and not seen whole"),
                Some(false) => assert_eq!(seen, 0, "attempt {number} is aborted and seen"),
                None => assert!(whole || seen == 0, "attempt {number} is seen in part"),
            }
            assert!(
                attempt.commit_asked || seen == 0,
                "attempt {number} is seen and nobody has asked for that"
            );
        }
    }
}
