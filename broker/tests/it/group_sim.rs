//! Groups under simulation: [`crate::sim`] with members that come, go, fall silent and crash.
//!
//! What must hold: in a generation no partition has two owners, and generations do not go back; a static member
//! that another has taken the place of is not served; an offset
//! that was acknowledged is what is read, until something later is committed; one of a transaction that is
//! open or was aborted is never read; what a restart would begin from
//! is what the machine holds; whoever waits is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use trestle::config::{Config, TopicConfig};
use trestle::coordinator::group::commands::*;
use trestle::coordinator::group::{Groups, Limits, Row};
use trestle::coordinator::machine::{Machine, Ticket};
use trestle::metadata::{Image, PartitionMeta, Topic};
use trestle::types::{ProducerEpoch, ProducerId};

use crate::sim::{Rows, World, play, play_all};

const GROUPS: [&str; 2] = ["one", "two"];
const PARTITIONS: i32 = 4;

#[test]
fn group_sim() {
    play_all("group_sim", GroupWorld::new);
    // And they did get somewhere.
    let traces: String = (0..30).map(|seed| play(GroupWorld::new(), seed)).collect();
    for seen in [
        "Synced(Ok",
        "Rebalancing",
        "FencedInstance",
        "skip_assignment: true",
        "ProducerFenced",
        "crash",
    ] {
        assert!(traces.contains(seen), "{seen} never happened");
    }
}

/// A client that is, was or wants to be a member.
#[derive(Clone, Debug, Default)]
struct Client {
    group: Arc<str>,
    member: Arc<str>,
    instance: Option<Arc<str>>,
    generation: i32,
    /// Everybody, while it is the leader that is to assign.
    roll: Vec<Arc<str>>,
}

/// What a ticket was for.
#[derive(Clone, Debug)]
enum Asked {
    Join(usize),
    /// By whom it was said to be.
    Sync(usize, Caller),
    Commit(Vec<(Place, i64)>),
    Heartbeat,
    Leave,
    /// The end of a producer's transaction, with the producer's epoch and the offsets in it.
    Complete(ProducerId, i16, Vec<(Place, i64)>),
    Other,
}

type Place = (Arc<str>, Arc<str>, i32);

struct GroupWorld {
    limits: Limits,
    image: Arc<Image>,
    /// The images since the last crash, all but the newest.
    older: Vec<Arc<Image>>,
    /// The newest that the machine was given.
    heard: Arc<Image>,
    /// Offsets are being deleted on request.
    deleting: bool,
    clients: Vec<Client>,
    asked: BTreeMap<Ticket, Asked>,
    /// Who was told, in which generation of a group, that a partition is its own.
    owners: BTreeMap<(Arc<str>, i32, i32), Arc<str>>,
    /// The highest generation in which somebody was given an assignment.
    generations: BTreeMap<Arc<str>, i32>,
    /// The values that a place may have: the last acknowledged, and all that were sent after it.
    offsets: BTreeMap<Place, Vec<Option<i64>>>,
    next_offset: i64,
    /// The epoch of each producer.
    producers: BTreeMap<ProducerId, i16>,
    /// Static members by group and instance id, as their last join was answered.
    statics: BTreeMap<(Arc<str>, Arc<str>), Arc<str>>,
    /// Member ids that others have taken the place of.
    replaced: BTreeSet<Arc<str>>,
    /// Calls of those, which must not succeed.
    late: BTreeSet<Ticket>,
    /// The epoch of each producer's last transaction that has ended: what comes with an older one is
    /// never read.
    ended: BTreeMap<ProducerId, i16>,
    /// What each producer has sent in a transaction that has not ended: nobody may read it.
    open: BTreeMap<ProducerId, Vec<(Place, i64)>>,
}

impl GroupWorld {
    fn new() -> Self {
        let mut limits = Limits::new(&Config::default());
        // What expires is another test's business.
        limits.offsets_retention_ms = i64::MAX / 2;
        let instances = [
            None,
            None,
            None,
            Some("static"),
            Some("fixed"),
            None,
            None,
            Some("static"),
        ];
        let clients = instances
            .iter()
            .enumerate()
            .map(|(number, instance)| Client {
                group: GROUPS[number % 2].into(),
                instance: instance.map(Into::into),
                ..Client::default()
            });
        let first = Arc::new(image(1, &["t", "u"]));
        Self {
            limits,
            image: first.clone(),
            older: Vec::new(),
            heard: first,
            deleting: false,
            clients: clients.collect(),
            asked: BTreeMap::new(),
            owners: BTreeMap::new(),
            generations: BTreeMap::new(),
            offsets: BTreeMap::new(),
            next_offset: 0,
            producers: BTreeMap::from([(ProducerId(1), 0), (ProducerId(2), 0)]),
            statics: BTreeMap::new(),
            replaced: BTreeSet::new(),
            late: BTreeSet::new(),
            ended: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    fn caller(&self, client: usize) -> Caller {
        let client = &self.clients[client];
        Caller {
            group: client.group.clone(),
            member: client.member.clone(),
            instance: client.instance.clone(),
            generation: client.generation,
        }
    }

    fn commit(&mut self, rng: &mut StdRng, caller: Caller) -> (Commit, Vec<(Place, i64)>) {
        let topic: Arc<str> = if rng.random() { "t" } else { "u" }.into();
        let partition = rng.random_range(0..PARTITIONS);
        self.next_offset += 1;
        let place = (caller.group.clone(), topic.clone(), partition);
        let offset = NewOffset {
            offset: self.next_offset,
            leader_epoch: -1,
            metadata: "".into(),
        };
        let commit = Commit {
            caller,
            knows_epochs: true,
            image: self.image.clone(),
            offsets: vec![(topic, vec![(partition, offset)])],
        };
        (commit, vec![(place, self.next_offset)])
    }

    /// A value that `place` may have from now on.
    fn may_be(&mut self, place: &Place, value: Option<i64>) {
        let values = self
            .offsets
            .entry(place.clone())
            .or_insert_with(|| vec![None]);
        values.push(value);
    }

    fn assigned(&mut self, caller: Caller, assignment: &[u8]) {
        let Caller {
            group,
            generation,
            member,
            instance,
        } = caller;
        let before = self.generations.entry(group.clone()).or_default();
        assert!(
            generation >= *before,
            "{group}: generation {generation} after {before}"
        );
        *before = generation;
        // Two lives of a static member are one.
        let own = instance.unwrap_or(member);
        for partition in assignment {
            let place = (group.clone(), generation, i32::from(*partition));
            let owner = self
                .owners
                .entry(place.clone())
                .or_insert_with(|| own.clone());
            assert_eq!(*owner, own, "{place:?} has two owners");
        }
    }
}

impl World for GroupWorld {
    type Machine = Groups;

    fn machine(&self) -> Groups {
        Groups::new(self.limits.clone())
    }

    fn ask(&mut self, rng: &mut StdRng, ticket: Ticket) -> Command {
        let client = rng.random_range(0..self.clients.len());
        let mut caller = self.caller(client);
        // Now and then somebody is confused.
        if rng.random_ratio(1, 30) {
            caller.generation += rng.random_range(-2..=2);
        }
        if self.replaced.contains(&caller.member) {
            self.late.insert(ticket);
        }
        let (command, asked) = match rng.random_range(0..100) {
            0..30 => {
                if rng.random_ratio(1, 5) {
                    caller.member = "".into();
                    self.late.remove(&ticket);
                }
                let known = ["range", "sticky", "both"];
                let known = match rng.random_ratio(1, 10) {
                    true => known[rng.random_range(0..3)],
                    false => known[client % 3],
                };
                let news = if rng.random_ratio(1, 6) { "y" } else { "x" };
                let protocols = [(known, "x"), ("common", news)];
                let join = Join {
                    caller,
                    client_id: format!("client{client}").into(),
                    client_host: "/host".into(),
                    session_timeout_ms: 10_000,
                    rebalance_timeout_ms: rng.random_range(5_000..60_000),
                    protocol_type: "consumer".into(),
                    protocols: protocols
                        .iter()
                        .map(|(name, text)| ((*name).into(), Bytes::from_static(text.as_bytes())))
                        .collect(),
                    id_required: rng.random(),
                    skips_assignment: rng.random(),
                };
                (Command::Join(join), Asked::Join(client))
            }
            30..55 => {
                // A leader gives each partition to one member, whoever that is.
                let roll = self.clients[client].roll.clone();
                let mut shares: BTreeMap<Arc<str>, Vec<u8>> = BTreeMap::new();
                for partition in 0..PARTITIONS {
                    if !roll.is_empty() {
                        let owner = roll[rng.random_range(0..roll.len())].clone();
                        shares.entry(owner).or_default().push(partition as u8);
                    }
                }
                let asked = Asked::Sync(client, caller.clone());
                let sync = Sync {
                    caller,
                    protocol_type: None,
                    protocol: None,
                    assignments: shares
                        .into_iter()
                        .map(|(id, share)| (id, share.into()))
                        .collect(),
                };
                (Command::Sync(sync), asked)
            }
            55..70 => (Command::Heartbeat(caller), Asked::Heartbeat),
            70..74 => {
                let leave = Leave {
                    group: caller.group,
                    members: vec![(caller.member, caller.instance)],
                };
                (Command::Leave(leave), Asked::Leave)
            }
            74..86 => {
                let (commit, values) = self.commit(rng, caller);
                for (place, value) in &values {
                    self.may_be(place, Some(*value));
                }
                (Command::Commit(commit), Asked::Commit(values))
            }
            86..91 => {
                self.late.remove(&ticket);
                caller.generation = -1;
                caller.member = "".into();
                caller.instance = None;
                let (commit, values) = self.commit(rng, caller);
                let producer = ProducerId(rng.random_range(1..=2));
                let epoch =
                    ProducerEpoch(self.producers[&producer] - i16::from(rng.random_ratio(1, 9)));
                if self
                    .ended
                    .get(&producer)
                    .is_none_or(|ended| epoch.0 >= *ended)
                {
                    self.open.entry(producer).or_default().extend(values);
                }
                let commit = TxnCommit {
                    commit,
                    producer,
                    epoch,
                };
                (Command::TxnCommit(commit), Asked::Other)
            }
            91..95 => {
                let producer = ProducerId(rng.random_range(1..=2));
                let epoch = self.producers.get_mut(&producer).expect("a producer");
                *epoch += i16::from(rng.random_ratio(1, 4));
                let (epoch, committed) = (ProducerEpoch(*epoch), rng.random());
                // From now on it may be read; or it never is.
                let values = self.open.remove(&producer).unwrap_or_default();
                for (place, value) in values.iter().filter(|_| committed) {
                    self.may_be(place, Some(*value));
                }
                let complete = CompleteTxn {
                    producer,
                    epoch,
                    committed,
                    groups: GROUPS.map(Into::into).to_vec(),
                };
                let asked = Asked::Complete(producer, epoch.0, values);
                (Command::CompleteTxn(complete), asked)
            }
            95..97 => {
                let fetch = Fetch {
                    caller,
                    topics: None,
                    require_stable: rng.random(),
                };
                (Command::Fetch(fetch), Asked::Other)
            }
            97 => (Command::Delete(caller.group), Asked::Other),
            98 => {
                let delete = DeleteOffsets {
                    group: caller.group,
                    image: self.image.clone(),
                    topics: vec![("t".into(), vec![0])],
                };
                (Command::DeleteOffsets(delete), Asked::Other)
            }
            // The news of an image may come after requests that bring a newer one.
            _ if rng.random_ratio(1, 3) && !self.older.is_empty() => {
                let late = self.older[rng.random_range(0..self.older.len())].clone();
                (Command::Follow(late), Asked::Other)
            }
            _ => {
                let topics: &[&str] = if rng.random() { &["t", "u"] } else { &["t"] };
                let image = Arc::new(image(self.image.version + 1, topics));
                self.older.push(std::mem::replace(&mut self.image, image));
                (Command::Follow(self.image.clone()), Asked::Other)
            }
        };
        let brought = match &command {
            Command::Commit(commit) => Some(&commit.image),
            Command::TxnCommit(commit) => Some(&commit.commit.image),
            Command::DeleteOffsets(delete) => Some(&delete.image),
            Command::Follow(image) => Some(image),
            _ => None,
        };
        if let Some(brought) = brought.filter(|brought| brought.version > self.heard.version) {
            self.heard = brought.clone();
        }
        self.deleting = matches!(command, Command::Delete(_) | Command::DeleteOffsets(_));
        self.asked.insert(ticket, asked);
        command
    }

    fn hear(&mut self, ticket: Ticket, reply: &Reply) {
        if self.late.remove(&ticket) {
            let done = match reply {
                Reply::Joined(outcome) => outcome.is_ok(),
                Reply::Synced(outcome) => outcome.is_ok(),
                Reply::Done(outcome) => outcome.is_ok(),
                Reply::Left(outcomes) => outcomes.iter().all(Result::is_ok),
                Reply::Partitions(Ok(outcomes)) => outcomes[0].1[0].1.is_ok(),
                _ => false,
            };
            let asked = self.asked.get(&ticket);
            let about_it = !matches!(asked, Some(Asked::Other | Asked::Complete(..)));
            assert!(
                !done || !about_it,
                "a replaced member was served: {reply:?}"
            );
        }
        let Some(asked) = self.asked.remove(&ticket) else {
            return;
        };
        match (asked, reply) {
            (Asked::Join(client), Reply::Joined(Ok(joined))) => {
                let client = &mut self.clients[client];
                if let Some(instance) = &client.instance {
                    let key = (client.group.clone(), instance.clone());
                    let before = self.statics.insert(key, joined.member.clone());
                    self.replaced
                        .extend(before.filter(|before| *before != joined.member));
                }
                client.member = joined.member.clone();
                client.generation = joined.generation;
                let all = joined.members.iter().map(|member| member.member.clone());
                client.roll = all.collect();
                let distinct: BTreeSet<_> = client.roll.iter().collect();
                assert_eq!(distinct.len(), client.roll.len());
                assert_eq!(client.roll.is_empty(), joined.leader != joined.member);
                if joined.skip_assignment {
                    client.roll.clear();
                }
            }
            (Asked::Join(client), Reply::Joined(Err(GroupError::MemberIdRequired(id)))) => {
                self.clients[client].member = id.clone();
            }
            (
                Asked::Join(client) | Asked::Sync(client, _),
                Reply::Joined(Err(GroupError::UnknownMember | GroupError::FencedInstance))
                | Reply::Synced(Err(GroupError::UnknownMember | GroupError::FencedInstance)),
            ) => {
                self.clients[client].member = "".into();
                self.clients[client].roll.clear();
            }
            (Asked::Sync(client, caller), Reply::Synced(Ok(synced))) => {
                self.clients[client].roll.clear();
                self.assigned(caller, &synced.assignment);
            }
            (Asked::Commit(values), Reply::Partitions(Ok(outcomes))) => {
                let kept = outcomes[0].1[0].1.is_ok();
                for (place, value) in values {
                    let own = self.offsets.get_mut(&place).expect("what was sent");
                    match own.iter().position(|one| *one == Some(value)) {
                        // What came before is not read any more.
                        Some(at) if kept => drop(own.drain(..at)),
                        Some(at) => drop(own.remove(at)),
                        None => {}
                    }
                }
            }
            (Asked::Complete(producer, epoch, values), Reply::Done(outcome)) => match outcome {
                Ok(()) => drop(self.ended.insert(producer, epoch)),
                Err(_) => self.open.entry(producer).or_default().extend(values),
            },
            _ => {}
        }
    }

    fn see(&mut self, row: &Row) {
        match row {
            // Forgotten: a group of this name begins anew.
            Row::Classic { group, state: None } => {
                self.generations.remove(group);
                for asked in self.asked.values_mut() {
                    if matches!(asked, Asked::Sync(_, caller) if caller.group == *group) {
                        *asked = Asked::Other;
                    }
                }
                self.owners.retain(|(of, ..), _| of != group);
            }
            Row::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                let place = (group.clone(), topic.clone(), *partition);
                let value = value.as_ref().map(|value| value.offset.offset);
                assert!(
                    value.is_some() || self.deleting || self.heard.topic(topic).is_none(),
                    "{place:?} is forgotten, and nobody asked for it"
                );
                let values = self.offsets.get(&place);
                assert!(
                    value.is_none() || values.is_some_and(|values| values.contains(&value)),
                    "{place:?}: {value:?} was superseded, or never committed: {values:?}"
                );
                // A deletion, or the end of a transaction.
                self.may_be(&place, value);
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, effect: std::convert::Infallible) -> Option<Command> {
        match effect {}
    }

    fn crash(&mut self, waiting: &BTreeSet<Ticket>) {
        // A rebalance that was under way is forgotten, and who was replaced in it is back.
        self.statics.clear();
        self.replaced.clear();
        self.late.clear();
        // A start begins with what is stored.
        self.older.clear();
        self.heard = self.image.clone();
        for ticket in waiting {
            // The transaction may be open still, and end otherwise.
            if let Some(Asked::Complete(producer, _, values)) = self.asked.remove(ticket) {
                self.open.entry(producer).or_default().extend(values);
            }
        }
    }

    fn check(&self, machine: &Groups, rows: &Rows) {
        let settled: Rows = machine
            .settled()
            .iter()
            .map(|row| {
                let (key, value) = Groups::encode(row);
                (key, value.expect("what is there"))
            })
            .collect();
        for (key, value) in &settled {
            assert_eq!(rows.get(key), Some(value), "{}", key.escape_ascii());
        }
        for key in rows.keys().filter(|key| !key.starts_with(b"classic/")) {
            assert!(
                settled.contains_key(key),
                "{} is not known",
                key.escape_ascii()
            );
        }
        for position in machine.positions() {
            let place = (position.group, position.topic, position.partition);
            let may = &self.offsets[&place];
            assert!(
                may.contains(&Some(position.offset)),
                "{place:?}: {} of {may:?}",
                position.offset
            );
        }
        for (id, state, members) in machine.members() {
            // The last may have left while somebody who was promised a place was waited for.
            let fits = match state {
                "Empty" => members == 0,
                "PreparingRebalance" => true,
                _ => members > 0,
            };
            assert!(fits, "{id} is {state} with {members} members");
        }
    }
}

/// A picture of these topics.
fn image(version: u64, topics: &[&str]) -> Image {
    let mut image = Image {
        version,
        cluster_id: "cluster".into(),
        ..Image::default()
    };
    let config = Arc::new(TopicConfig::effective(&BTreeMap::new(), &Config::default()));
    for name in topics {
        let id = uuid::Uuid::from_u128(u128::from(name.as_bytes()[0]));
        let partition = PartitionMeta {
            log_key: Bytes::from_static(b"log"),
            shard: 0,
            epoch_base: 0,
        };
        let topic = Arc::new(Topic {
            id,
            name: (*name).into(),
            partitions: vec![partition; PARTITIONS as usize],
            replication_factor: 1,
            overrides: BTreeMap::new(),
            config: config.clone(),
            mirror: None,
        });
        image.topics_by_id.insert(id, topic.clone());
        image.topics.insert(topic.name.clone(), topic);
    }
    image
}
