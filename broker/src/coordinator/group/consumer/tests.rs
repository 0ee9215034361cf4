//! Seeded runs of consumers of both protocols against the machine: answers and rows that are lost,
//! clocks that jump, topics that grow and go. `TRESTLE_SIM_SEEDS` says how many seeds, `TRESTLE_SIM_SEED` which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::member::{AWAY, LEAVING, Partitions};
use super::{Beat, Command, Heartbeat, Reply};
use crate::config::{Config, TopicConfig};
use crate::coordinator::group::commands::{
    self, Caller, GroupError, Join, Joined, Leave, Sync, Synced,
};
use crate::coordinator::group::{Groups, Kind, Limits, Row};
use crate::coordinator::machine::{Decision, Machine, Ticket};
use crate::metadata::{Image, PartitionMeta, Topic};
use crate::types::{Timestamp, TopicId};

const GROUP: &str = "g";
const NAMES: [&str; 3] = ["a", "b", "c1"];

/// What a client believes.
#[derive(Clone, Debug, Default)]
struct Client {
    id: Arc<str>,
    instance: Option<Arc<str>>,
    classic: bool,
    epoch: i32,
    /// What it works on.
    owned: Partitions,
    topics: Vec<Arc<str>>,
    regex: Option<Arc<str>>,
    /// What it is to say in full with its next heartbeat.
    news: bool,
    /// Its call that has not been answered.
    waits: Option<Ticket>,
}

/// Rows of a decision, and the answers that wait for them.
type Pending = (Vec<Row>, Vec<(Ticket, commands::Reply)>);

struct World {
    rng: StdRng,
    now: Timestamp,
    image: Arc<Image>,
    groups: Groups,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Decisions that are not durable yet: their rows, and the answers that wait for them.
    pending: Vec<Pending>,
    clients: Vec<Client>,
    tickets: u64,
    /// Whose ticket it is, and what was asked.
    asked: BTreeMap<Ticket, (usize, Asked)>,
    ids: u32,
    /// Heartbeats that were sent, of which one may come again much later.
    sent: Vec<Heartbeat>,
    /// Those that came so late that they must not count.
    late: BTreeSet<Ticket>,
    trace: Vec<String>,
}

#[derive(Clone, Debug)]
enum Asked {
    Heartbeat,
    Join,
    Sync,
    Beat,
}

fn limits() -> Limits {
    let mut limits = Limits::new(&Config::default());
    limits.consumer.times.session_timeout_ms = 10_000;
    limits
}

fn image(version: u64, topics: &BTreeMap<&str, (TopicId, usize)>) -> Arc<Image> {
    let mut image = Image {
        version,
        cluster_id: "cluster".into(),
        ..Image::default()
    };
    for (name, (id, partitions)) in topics {
        let partition = PartitionMeta {
            log_key: Bytes::new(),
            shard: 0,
            epoch_base: 0,
        };
        let topic = Arc::new(Topic {
            id: *id,
            name: (*name).into(),
            partitions: vec![partition; *partitions],
            replication_factor: 1,
            overrides: BTreeMap::new(),
            config: Arc::new(TopicConfig::default()),
            mirror: None,
        });
        image.topics.insert(topic.name.clone(), topic.clone());
        image.topics_by_id.insert(*id, topic);
    }
    Arc::new(image)
}

impl World {
    fn new(seed: u64) -> Self {
        let topics = BTreeMap::from([
            ("a", (TopicId::from_u128(1), 3)),
            ("b", (TopicId::from_u128(2), 2)),
        ]);
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            now: 1_000,
            image: image(1, &topics),
            groups: Groups::new(limits()),
            stored: BTreeMap::new(),
            pending: Vec::new(),
            clients: Vec::new(),
            tickets: 0,
            asked: BTreeMap::new(),
            ids: 0,
            sent: Vec::new(),
            late: BTreeSet::new(),
            trace: Vec::new(),
        };
        for place in 0..5 {
            let client = world.blank(place);
            world.clients.push(client);
        }
        world.load();
        world
    }

    fn blank(&mut self, place: usize) -> Client {
        self.ids += 1;
        let classic = place >= 3;
        Client {
            id: if classic {
                "".into()
            } else {
                format!("m{}", self.ids).into()
            },
            instance: place.is_multiple_of(2).then(|| format!("i{place}").into()),
            classic,
            topics: vec!["a".into()],
            news: true,
            ..Client::default()
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Begins anew with what is stored.
    fn load(&mut self) {
        self.groups = Groups::new(limits());
        for (key, value) in &self.stored {
            let row = Groups::decode(key, value).expect("a stored row");
            self.groups.apply(&row);
        }
        let decision = self.groups.resume(self.now, &mut self.rng);
        self.carry_out(decision);
        self.submit(None, commands::Command::Follow(self.image.clone()));
    }

    fn submit(&mut self, from: Option<(usize, Asked)>, command: commands::Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut said = format!("{command:?}");
        said.truncate(500);
        self.trace.push(format!("{} {ticket:?} {said}", self.now));
        if let Some((place, asked)) = from {
            self.clients[place].waits = Some(ticket);
            self.asked.insert(ticket, (place, asked));
        }
        let decision = self.groups.decide(self.now, &mut self.rng, ticket, command);
        self.carry_out(decision);
    }

    fn carry_out(&mut self, decision: Decision<Groups>) {
        for row in &decision.rows {
            self.trace.push(format!("  {row:?}"));
            self.groups.apply(row);
        }
        let answers = decision.answers.into_iter();
        let answers = answers
            .map(|answer| (answer.ticket, answer.reply))
            .collect();
        self.pending.push((decision.rows, answers));
        self.check();
    }

    /// Makes the oldest decisions durable and hands out their answers.
    fn flush(&mut self, lost: bool) {
        for (rows, answers) in std::mem::take(&mut self.pending) {
            for row in rows {
                let (key, value) = Groups::encode(&row);
                match value {
                    Some(value) => self.stored.insert(key, value),
                    None => self.stored.remove(&key),
                };
            }
            for (ticket, reply) in answers {
                if self.late.remove(&ticket) {
                    let refused = matches!(&reply, commands::Reply::Consumer(Reply::Beat(Err(_))));
                    assert!(refused, "{reply:?} to a zombie\n{}", self.tail());
                }
                if let Some((place, asked)) = self.asked.remove(&ticket) {
                    self.trace
                        .push(format!("  {ticket:?} lost={lost} {reply:?}"));
                    let client = &mut self.clients[place];
                    if client.waits != Some(ticket) {
                        continue;
                    }
                    client.waits = None;
                    client.news |= lost;
                    if !lost {
                        self.hear(place, &asked, reply);
                    }
                }
            }
        }
    }

    fn hear(&mut self, place: usize, asked: &Asked, reply: commands::Reply) {
        match (asked, reply) {
            (Asked::Heartbeat, commands::Reply::Consumer(Reply::Beat(beat))) => {
                self.hear_beat(place, beat);
            }
            (Asked::Join, commands::Reply::Joined(joined)) => self.hear_joined(place, joined),
            (Asked::Sync, commands::Reply::Synced(synced)) => self.hear_synced(place, synced),
            (Asked::Beat, commands::Reply::Done(outcome)) => match outcome {
                Ok(()) => {}
                Err(GroupError::Rebalancing) => self.join(place),
                Err(_) => self.start_over(place),
            },
            (asked, reply) => panic!("{asked:?} was answered with {reply:?}"),
        }
    }

    fn start_over(&mut self, place: usize) {
        let mut client = self.blank(place);
        client.topics = self.clients[place].topics.clone();
        self.clients[place] = client;
    }

    fn hear_beat(&mut self, place: usize, beat: Result<Beat, GroupError>) {
        let client = &mut self.clients[place];
        match beat {
            Ok(beat) => {
                client.epoch = beat.epoch;
                if let Some(assigned) = beat.assignment {
                    client.owned = assigned;
                }
            }
            Err(GroupError::UnreleasedInstance) => {}
            Err(GroupError::FencedMemberEpoch(_)) => {
                client.epoch = 0;
                client.owned = Partitions::new();
                client.news = true;
            }
            Err(_) => self.start_over(place),
        }
    }

    fn hear_joined(&mut self, place: usize, joined: Result<Joined, GroupError>) {
        match joined {
            Ok(joined) => {
                let client = &mut self.clients[place];
                client.id = joined.member.clone();
                client.epoch = joined.generation;
                let mut assignments = Vec::new();
                let all: Vec<i32> = (0..3).collect();
                let count = joined.members.len().max(1);
                for (at, member) in joined.members.iter().enumerate() {
                    let own = all.iter().filter(|p| **p as usize % count == at).copied();
                    let own = Partitions::from([(TopicId::from_u128(1), own.collect())]);
                    let bytes = super::embedded::write_assignment(0, &own, &self.image);
                    assignments.push((member.member.clone(), bytes.into()));
                }
                let caller = self.caller(place);
                let sync = Sync {
                    caller,
                    protocol_type: None,
                    protocol: None,
                    assignments,
                };
                let from = Some((place, Asked::Sync));
                self.submit(from, commands::Command::Sync(sync));
            }
            Err(GroupError::MemberIdRequired(id)) => {
                self.clients[place].id = id;
                self.join(place);
            }
            Err(GroupError::Rebalancing) => self.join(place),
            Err(_) => self.start_over(place),
        }
    }

    fn hear_synced(&mut self, place: usize, synced: Result<Synced, GroupError>) {
        match synced {
            Ok(synced) => {
                let read = super::embedded::read_assignment(&synced.assignment);
                let read = read.expect("an assignment");
                let own = read.partitions.into_iter();
                let own = own.filter_map(|(name, own)| Some((self.image.topic(&name)?.id, own)));
                self.clients[place].owned = own.collect();
            }
            Err(GroupError::Rebalancing) => self.join(place),
            Err(_) => self.start_over(place),
        }
    }

    fn caller(&self, place: usize) -> Caller {
        let client = &self.clients[place];
        Caller {
            group: GROUP.into(),
            member: client.id.clone(),
            instance: client.instance.clone(),
            generation: client.epoch,
        }
    }

    /// An eager consumer: it gives up all it has, and joins.
    fn join(&mut self, place: usize) {
        let client = &mut self.clients[place];
        client.owned = Partitions::new();
        let mut metadata = vec![0, 0];
        metadata.put_i32(i32::try_from(client.topics.len()).unwrap());
        for topic in &client.topics {
            metadata.put_i16(i16::try_from(topic.len()).unwrap());
            metadata.put_slice(topic.as_bytes());
        }
        metadata.put_i32(-1);
        let join = Join {
            caller: self.caller(place),
            client_id: "classic".into(),
            client_host: "/here".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 5_000,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), metadata.into())],
            id_required: true,
            skips_assignment: true,
        };
        let from = Some((place, Asked::Join));
        self.submit(from, commands::Command::Join(join));
    }

    fn act(&mut self, place: usize) {
        if self.clients[place].waits.is_some() {
            return;
        }
        if self.clients[place].classic {
            return self.act_classic(place);
        }
        let leaves = self.chance(4);
        let says_what_it_has = self.chance(80);
        let client = self.clients[place].clone();
        let joins = client.epoch == 0;
        let full = joins || client.news || self.chance(10);
        let mut heartbeat = Heartbeat {
            caller: self.caller(place),
            client_id: "consumer".into(),
            client_host: "/here".into(),
            owned: (full || says_what_it_has).then(|| client.owned.clone()),
            ..Heartbeat::default()
        };
        if full {
            self.clients[place].news = false;
            heartbeat.rebalance_timeout = Some(5_000);
            heartbeat.topics = Some(client.topics.clone());
            heartbeat.regex.clone_from(&client.regex);
        }
        if leaves && !joins {
            let away = client.instance.is_some() && self.chance(50);
            heartbeat.caller.generation = if away { AWAY } else { LEAVING };
            heartbeat.owned = None;
            self.start_over(place);
            let command = Command::Heartbeat(Box::new(heartbeat), self.image.clone());
            self.submit(None, commands::Command::Consumer(command));
            return;
        }
        self.sent.push(heartbeat.clone());
        let from = Some((place, Asked::Heartbeat));
        let command = Command::Heartbeat(Box::new(heartbeat), self.image.clone());
        self.submit(from, commands::Command::Consumer(command));
    }

    /// A heartbeat comes from the past: of an epoch that is neither the member's nor the one before.
    fn haunt(&mut self) {
        let Some(Kind::Consumer(group)) = self.groups.groups.get(GROUP).map(|group| &group.kind)
        else {
            return;
        };
        let stale = self.sent.iter().filter(|sent| {
            let member = group.members.get(&sent.caller.member);
            let epoch = sent.caller.generation;
            let own = member.map(|member| [member.position.epoch, member.position.previous]);
            epoch > 0 && own.is_none_or(|own| !own.contains(&epoch))
        });
        let stale: Vec<Heartbeat> = stale.cloned().collect();
        if !stale.is_empty() {
            let heartbeat = stale[self.rng.random_range(0..stale.len())].clone();
            self.late.insert(Ticket(self.tickets + 1));
            let command = Command::Heartbeat(Box::new(heartbeat), self.image.clone());
            self.submit(None, commands::Command::Consumer(command));
        }
    }

    fn act_classic(&mut self, place: usize) {
        let client = self.clients[place].clone();
        if client.epoch == 0 {
            self.join(place);
        } else if self.chance(5) {
            let leave = Leave {
                group: GROUP.into(),
                members: vec![(client.id.clone(), client.instance.clone())],
            };
            self.start_over(place);
            self.submit(None, commands::Command::Leave(leave));
        } else {
            let caller = self.caller(place);
            self.submit(
                Some((place, Asked::Beat)),
                commands::Command::Heartbeat(caller),
            );
        }
    }

    /// A change of topics.
    fn change_topics(&mut self) {
        let mut topics: BTreeMap<&str, (TopicId, usize)> = BTreeMap::new();
        for (name, topic) in &self.image.topics {
            let name = NAMES.into_iter().find(|known| *known == &**name).unwrap();
            topics.insert(name, (topic.id, topic.partitions.len()));
        }
        let name = NAMES[self.rng.random_range(0..NAMES.len())];
        let fresh = TopicId::from_u128(u128::from(self.image.version) + 100);
        match topics.get_mut(name) {
            None => {
                topics.insert(name, (fresh, 2));
            }
            // Classic leaders here know this topic by heart.
            Some((_, partitions)) if name == "a" || *partitions < 4 => *partitions += 1,
            Some(_) => {
                topics.remove(name);
            }
        }
        self.image = image(self.image.version + 1, &topics);
        if self.chance(50) {
            self.submit(None, commands::Command::Follow(self.image.clone()));
        }
    }

    fn step(&mut self) {
        let place = self.rng.random_range(0..self.clients.len());
        match self.rng.random_range(0..100) {
            0..60 => self.act(place),
            60..65 => {
                let names: BTreeSet<&str> =
                    NAMES.into_iter().filter(|_| self.rng.random()).collect();
                let names = names.into_iter().map(Arc::from).collect();
                let client = &mut self.clients[place];
                client.topics = names;
                client.news = true;
                client.regex = (place == 1).then(|| "[bc].*".into());
            }
            65..70 => self.change_topics(),
            70..78 => {
                self.now += self.rng.random_range(0..3_000);
                self.tick();
            }
            78..80 => {
                // All that is not durable is lost, and so is every call.
                self.pending.clear();
                self.asked.clear();
                for client in &mut self.clients {
                    client.news |= client.waits.take().is_some();
                }
                self.trace.push("crash".into());
                self.load();
            }
            80..82 => self.haunt(),
            82..85 => self.flush(true),
            85..86 => {
                // A client that starts anew without a word.
                self.start_over(place);
            }
            _ => self.flush(false),
        }
    }

    fn tick(&mut self) {
        while self.groups.next_deadline().is_some_and(|at| at <= self.now) {
            let decision = self.groups.expire(self.now, &mut self.rng);
            self.carry_out(decision);
        }
    }

    /// No partition is with two, on the books and in the hands of members.
    fn check(&self) {
        let Some(Kind::Consumer(group)) = self.groups.groups.get(GROUP).map(|group| &group.kind)
        else {
            return;
        };
        let mut holders: BTreeMap<(TopicId, i32), &Arc<str>> = BTreeMap::new();
        for (id, entry) in &group.members {
            for partition in entry.position.holds() {
                let before = holders.insert(partition, id);
                assert_eq!(before, None, "{partition:?} is with two\n{}", self.tail());
                assert_eq!(
                    group.holder(partition.0, partition.1),
                    Some(id),
                    "the books are wrong\n{}",
                    self.tail()
                );
            }
        }
        for client in self
            .clients
            .iter()
            .filter(|client| group.members.contains_key(&client.id))
        {
            for (topic, partitions) in &client.owned {
                for partition in partitions {
                    let holder = holders.get(&(*topic, *partition));
                    assert!(
                        holder.is_none_or(|holder| **holder == client.id),
                        "{client:?} works on {topic} {partition}, which is {holder:?}'s\n{}",
                        self.tail()
                    );
                }
            }
        }
    }

    /// After a restart everything is as it was.
    fn check_reload(&mut self) {
        self.flush(true);
        let mut loaded = Groups::new(limits());
        for (key, value) in &self.stored {
            loaded.apply(&Groups::decode(key, value).unwrap());
        }
        let live = self.groups.groups.get(GROUP).map(|group| &group.kind);
        let loaded = loaded.groups.get(GROUP).map(|group| &group.kind);
        if let Some(Kind::Consumer(_)) = live {
            assert_eq!(loaded, live, "{}", self.tail());
        }
    }

    /// Left alone, members come to rest, and every partition that somebody wants is with somebody.
    fn settle(&mut self) {
        for client in &mut self.clients {
            client.topics = vec!["a".into(), "b".into(), "c1".into()];
            client.news = true;
        }
        // Nobody leaves, so that who is away or gone has had its time.
        self.flush_all();
        for round in 0..60 {
            self.now += 1_000;
            self.tick();
            for place in 0..self.clients.len() {
                let client = self.clients[place].clone();
                if client.waits.is_some() {
                    continue;
                }
                if client.classic {
                    match client.epoch {
                        0 => self.join(place),
                        _ => {
                            let caller = self.caller(place);
                            let from = Some((place, Asked::Beat));
                            self.submit(from, commands::Command::Heartbeat(caller));
                        }
                    }
                } else {
                    let full = client.epoch == 0 || client.news || round == 50;
                    self.clients[place].news &= !full;
                    let heartbeat = Heartbeat {
                        caller: self.caller(place),
                        client_id: "consumer".into(),
                        client_host: "/here".into(),
                        owned: Some(client.owned.clone()),
                        rebalance_timeout: full.then_some(5_000),
                        topics: full.then(|| client.topics.clone()),
                        regex: full.then(|| client.regex.clone()).flatten(),
                        ..Heartbeat::default()
                    };
                    let from = Some((place, Asked::Heartbeat));
                    let command = Command::Heartbeat(Box::new(heartbeat), self.image.clone());
                    self.submit(from, commands::Command::Consumer(command));
                }
                self.flush_all();
            }
        }
        let Some(Kind::Consumer(group)) = self.groups.groups.get(GROUP).map(|group| &group.kind)
        else {
            panic!("not a consumer group\n{}", self.tail());
        };
        assert_eq!(group.state(), "Stable", "{}", self.tail());
        assert_eq!(group.members.len(), self.clients.len(), "{}", self.tail());
        for topic in self.image.topics.values() {
            for partition in 0..i32::try_from(topic.partitions.len()).unwrap() {
                let holder = group.holder(topic.id, partition);
                let client = self
                    .clients
                    .iter()
                    .find(|client| Some(&client.id) == holder);
                let owned = client.and_then(|client| client.owned.get(&topic.id));
                assert!(
                    owned.is_some_and(|owned| owned.contains(&partition)),
                    "nobody works on {} {partition}\n{}",
                    topic.name,
                    self.tail()
                );
            }
        }
    }

    /// Lets every call come to its end; one leads to others.
    fn flush_all(&mut self) {
        while self.pending.iter().any(|(_, answers)| !answers.is_empty()) {
            self.flush(false);
        }
    }

    fn tail(&self) -> String {
        let from = self.trace.len().saturating_sub(60);
        self.trace[from..].join("\n")
    }
}

fn run(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..400 {
        world.step();
        if world.chance(5) {
            world.check_reload();
        }
    }
    world.settle();
    world.trace
}

#[test]
fn no_partition_has_two_owners() {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let seeds = match number("TRESTLE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRESTLE_SIM_SEEDS").unwrap_or(200),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = outcome {
            eprintln!(
                "to see it again: TRESTLE_SIM_SEED={seed} cargo test -p trestle --lib no_partition_has"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    assert_eq!(run(7), run(7));
}
