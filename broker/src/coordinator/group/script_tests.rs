//! Scripts: text in; replies, rows and deadlines out. Each paragraph of a file in `scripts/` is some
//! commands, a line of dashes, and what they lead to; `UPDATE_EXPECT=1` writes the latter anew, and the
//! diff is the review.
//!
//! Commands, where `-` stands for an empty id and `c-1` for the id that the first new member of a client called `c` is given:
//!
//! - `limits NAME=NUMBER...`, `topics NAME:PARTITIONS...`, `at MS` (moves the clock, and does what is due),
//!   `restart` (a crash: the machine is built from its rows)
//! - `settings GROUP NAME=VALUE...`, of that group alone
//! - `join GROUP MEMBER|- [instance= session= rebalance= type= protocols=NAME:METADATA,... v=]`
//! - `sync GROUP MEMBER GENERATION [MEMBER=ASSIGNMENT...] [instance= type= protocol=]`
//! - `heartbeat GROUP MEMBER GENERATION [instance=]`, `leave GROUP MEMBER|-[/INSTANCE]...`
//! - `beat GROUP MEMBER EPOCH [topics=T,T regex= owns=TOPIC/PARTITION,... timeout= assignor= instance= rack= v=]`,
//!   where `none` says nothing of a thing; `show GROUP`, for consumer groups
//! - `commit GROUP MEMBER|- GENERATION TOPIC/PARTITION=OFFSET[:METADATA]... [instance=]`
//! - `txn PRODUCER EPOCH` before the words of a commit; `end commit|abort PRODUCER EPOCH GROUP...`
//! - `fetch GROUP all|TOPIC/PARTITION... [stable] [member= epoch=]`, `list [states=] [types=]`, `describe GROUP`,
//!   `delete GROUP`, `delete-offsets GROUP TOPIC/PARTITION...`

#![expect(
    clippy::disallowed_methods,
    reason = "these tests read and write the scripts"
)]

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rand::TryRng;

use super::commands::*;
use super::consumer::{self, script_words};
use super::rows::Row;
use super::{Groups, Limits};
use crate::config::{Config, Resource, TopicConfig};
use crate::coordinator::machine::{Decision, Machine, Ticket};
use crate::metadata::{Image, PartitionMeta, Topic};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

/// What every UUID drawn in a script starts with.
const UUID: &str = "00000000-0000-4000-8000-00000000000";

/// Randomness whose UUIDs count up from 1.
#[derive(Default)]
struct Counting(u8);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0 += 1;
        bytes.fill(0);
        bytes[15] = self.0;
        Ok(())
    }
}

struct Stage {
    limits: Limits,
    groups: Groups,
    image: Arc<Image>,
    /// The one before it.
    older: Arc<Image>,
    now: Timestamp,
    tickets: u64,
    luck: Counting,
    /// What a store would hold.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    due: String,
    out: String,
}

impl Stage {
    fn new() -> Self {
        let limits = Limits::new(&Config::default());
        Self {
            groups: Groups::new(limits.clone()),
            limits,
            image: Arc::default(),
            older: Arc::default(),
            now: 0,
            tickets: 0,
            luck: Counting::default(),
            rows: BTreeMap::new(),
            due: String::new(),
            out: String::new(),
        }
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let verb = words.next().expect("a command");
        let words = Words::new(words);
        match verb {
            "limits" => self.set_limits(&words),
            // The same, but nobody is told yet.
            "topics" | "unheard" => {
                let topics: Vec<(&str, usize)> = words
                    .plain
                    .iter()
                    .map(|word| {
                        let (name, count) = word.split_once(':').expect("NAME:PARTITIONS");
                        (name, count.parse().expect("a number"))
                    })
                    .collect();
                let image = Arc::new(image(&self.image, &topics));
                self.older = std::mem::replace(&mut self.image, image);
                if verb == "topics" {
                    self.command(Command::Follow(self.image.clone()));
                }
            }
            "late" => self.command(Command::Follow(self.older.clone())),
            "at" => {
                self.now = words.number(0);
                while self.groups.next_deadline().is_some_and(|at| at <= self.now) {
                    let decision = self.groups.expire(self.now, &mut self.luck);
                    self.show(decision);
                }
            }
            "settings" => {
                let mut image = (*self.image).clone();
                image.version += 1;
                let group = Resource::Group(words.word(0).to_owned());
                let own = words.named.iter().cloned().collect();
                image.settings = Arc::new(BTreeMap::from([(group, own)]));
                self.image = Arc::new(image);
                self.command(Command::Follow(self.image.clone()));
            }
            "restart" => self.restart(),
            _ => {
                let command = words.command(verb, &self.image);
                self.command(command);
            }
        }
    }

    fn set_limits(&mut self, words: &Words) {
        for (name, value) in &words.named {
            let value: i64 = value.parse().expect("a number");
            match &**name {
                "delay" => self.limits.initial_rebalance_delay_ms = value,
                "max_size" => self.limits.max_size = value as usize,
                "retention" => self.limits.offsets_retention_ms = value,
                "consumers" => self.limits.consumer.max_size = value as usize,
                "upkeep" => self.limits.upkeep_interval_ms = value,
                "metadata" => self.limits.offset_metadata_max_bytes = value as usize,
                other => panic!("no limit is called {other}"),
            }
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.groups = Groups::new(self.limits.clone());
        for (key, value) in &self.rows {
            let row = Groups::decode(key, value).expect("a good row");
            self.groups.apply(&row);
        }
        let decision = self.groups.resume(self.now, &mut self.luck);
        self.show(decision);
    }

    fn command(&mut self, command: Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let decision = self
            .groups
            .decide(self.now, &mut self.luck, ticket, command);
        self.show(decision);
    }

    fn show(&mut self, decision: Decision<Groups>) {
        for row in &decision.rows {
            self.groups.apply(row);
            let (key, value) = Groups::encode(row);
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
            writeln!(self.out, "row {}", show_row(row, &self.image)).expect("text");
        }
        for answer in &decision.answers {
            let reply = show_reply(&answer.reply, &self.image);
            writeln!(self.out, "#{} {reply}", answer.ticket.0).expect("text");
        }
    }

    /// What has come out since last asked.
    fn take(&mut self) -> String {
        let timers: Vec<String> = self
            .groups
            .timers()
            .iter()
            .map(|(at, key)| format!("{at} {} {:?}", key.group, key.timer))
            .collect();
        let due = timers.join("; ");
        if due != self.due {
            writeln!(
                self.out,
                "due {}",
                if due.is_empty() { "nothing" } else { &due }
            )
            .expect("text");
            self.due = due;
        }
        std::mem::take(&mut self.out).replace(UUID, "")
    }
}

/// The picture after `before` that has these topics; those that were there keep their ids.
fn image(before: &Image, topics: &[(&str, usize)]) -> Image {
    let mut image = Image {
        version: before.version + 1,
        cluster_id: "cluster".into(),
        settings: before.settings.clone(),
        config: Arc::new(Config::default()),
        ..Image::default()
    };
    for (number, (name, partitions)) in (1..).zip(topics) {
        let id = match before.topic(name) {
            Some(topic) => topic.id,
            None => uuid::Uuid::from_u128(u128::from(image.version) << 32 | number),
        };
        let partition = PartitionMeta {
            log_key: Bytes::from_static(b"log"),
            shard: 0,
            epoch_base: 0,
        };
        let topic = Arc::new(Topic {
            id,
            name: (*name).into(),
            partitions: vec![partition; *partitions],
            replication_factor: 1,
            overrides: BTreeMap::new(),
            config: Arc::new(TopicConfig::effective(&BTreeMap::new(), &Config::default())),
            mirror: None,
        });
        image.topics_by_id.insert(id, topic.clone());
        image.topics.insert(topic.name.clone(), topic);
    }
    image
}

/// The words of a command: those with `=` by name, the others in order.
struct Words {
    plain: Vec<String>,
    named: Vec<(String, String)>,
}

impl Words {
    fn new<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let (mut plain, mut named) = (Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => named.push((name.to_owned(), value.to_owned())),
                None => plain.push(word.to_owned()),
            }
        }
        Self { plain, named }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.named.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| &**value)
    }

    fn word(&self, at: usize) -> &str {
        self.plain.get(at).expect("a word more")
    }

    fn number<T: std::str::FromStr>(&self, at: usize) -> T {
        let word = self.word(at);
        word.parse()
            .unwrap_or_else(|_| panic!("{word} is no number"))
    }

    fn caller(&self, from: usize, generation: i32) -> Caller {
        Caller {
            group: match self.word(from) {
                "-" => "".into(),
                group => group.into(),
            },
            member: member(self.word(from + 1)),
            instance: self.get("instance").map(Into::into),
            generation,
        }
    }

    /// The offsets of a commit.
    fn offsets(&self) -> ByTopic<NewOffset> {
        let places = self.named.iter().filter_map(|(name, value)| {
            let (topic, partition) = name.split_once('/')?;
            let (offset, metadata) = value.split_once(':').unwrap_or((value, ""));
            let offset = NewOffset {
                offset: offset.parse().expect("an offset"),
                leader_epoch: -1,
                metadata: metadata.into(),
            };
            let partition = partition.parse().expect("a partition");
            Some((topic.into(), vec![(partition, offset)]))
        });
        places.collect()
    }

    fn places(&self, from: usize) -> Vec<(Arc<str>, Vec<i32>)> {
        let words = self.plain.iter().skip(from);
        let places = words.filter_map(|word| word.split_once('/'));
        places
            .map(|(topic, index)| (topic.into(), vec![index.parse().expect("a partition")]))
            .collect()
    }

    fn commit(&self, from: usize, image: &Arc<Image>) -> Commit {
        Commit {
            caller: self.caller(from, self.number(from + 2)),
            knows_epochs: self.get("v") != Some("8"),
            image: image.clone(),
            offsets: self.offsets(),
        }
    }

    fn command(&self, verb: &str, image: &Arc<Image>) -> Command {
        let milliseconds = |name: &str, default: i32| {
            let given = self.get(name).map(|value| value.parse().expect("a number"));
            given.unwrap_or(default)
        };
        match verb {
            "join" => {
                let version = milliseconds("v", 9);
                let session = milliseconds("session", 10_000);
                Command::Join(Join {
                    caller: self.caller(0, -1),
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    session_timeout_ms: session,
                    rebalance_timeout_ms: milliseconds("rebalance", 30_000),
                    protocol_type: self.get("type").unwrap_or("consumer").into(),
                    protocols: self
                        .get("protocols")
                        .unwrap_or("range:x")
                        .split(',')
                        .filter_map(|protocol| protocol.split_once(':'))
                        .map(|(name, metadata)| (name.into(), subscription(metadata)))
                        .collect(),
                    id_required: version >= 4,
                    skips_assignment: version >= 9,
                })
            }
            "sync" => Command::Sync(Sync {
                caller: self.caller(0, self.number(2)),
                protocol_type: self.get("type").map(Into::into),
                protocol: self.get("protocol").map(Into::into),
                assignments: self
                    .named
                    .iter()
                    .filter(|(name, _)| !["type", "protocol", "instance"].contains(&&**name))
                    .map(|(id, assignment)| (member(id), Bytes::from(assignment.clone())))
                    .collect(),
            }),
            "heartbeat" => Command::Heartbeat(self.caller(0, self.number(2))),
            "leave" => Command::Leave(Leave {
                group: self.word(0).into(),
                members: self.plain[1..]
                    .iter()
                    .map(|word| match word.split_once('/') {
                        Some((id, instance)) => (member(id), Some(instance.into())),
                        None => (member(word), None),
                    })
                    .collect(),
            }),
            "commit" => Command::Commit(self.commit(0, image)),
            "txn" => Command::TxnCommit(TxnCommit {
                commit: self.commit(2, image),
                producer: ProducerId(self.number(0)),
                epoch: ProducerEpoch(self.number(1)),
            }),
            "end" => Command::CompleteTxn(CompleteTxn {
                producer: ProducerId(self.number(1)),
                epoch: ProducerEpoch(self.number(2)),
                committed: self.word(0) == "commit",
                groups: self.plain[3..].iter().map(|id| (&**id).into()).collect(),
            }),
            "fetch" => Command::Fetch(Fetch {
                caller: Caller {
                    group: self.word(0).into(),
                    member: self.get("member").unwrap_or("").into(),
                    instance: None,
                    generation: milliseconds("epoch", -1),
                },
                topics: (self.word(1) != "all").then(|| self.places(1)),
                require_stable: self.plain.iter().any(|word| word == "stable"),
            }),
            "list" => {
                let names = |name: &str| match self.get(name) {
                    Some(names) => names.split(',').map(str::to_owned).collect(),
                    None => Vec::new(),
                };
                Command::List(List {
                    states: names("states"),
                    types: names("types"),
                })
            }
            "beat" => {
                let caller = self.caller(0, self.number(2));
                let get = |name: &str| self.get(name);
                Command::Consumer(script_words::beat(caller, get, image))
            }
            "show" => Command::Consumer(consumer::Command::Describe(self.word(0).into())),
            "describe" => Command::Describe(self.word(0).into()),
            "delete" => Command::Delete(self.word(0).into()),
            "delete-offsets" => Command::DeleteOffsets(DeleteOffsets {
                group: self.word(0).into(),
                image: image.clone(),
                topics: self.places(1),
            }),
            other => panic!("no command is called {other}"),
        }
    }
}

/// A member id as scripts write it.
fn member(word: &str) -> Arc<str> {
    match word {
        "-" => "".into(),
        word => match word.rsplit_once('-') {
            Some((client, number)) if number.parse::<u8>().is_ok() => {
                format!("{client}-{UUID}{number}").into()
            }
            _ => word.into(),
        },
    }
}

/// What a consumer says that reads the topics in `text`, which has `+` between them; with `!` in front, the
/// bare text.
fn subscription(text: &str) -> Bytes {
    if let Some(opaque) = text.strip_prefix('!') {
        return Bytes::copy_from_slice(opaque.as_bytes());
    }
    let topics: Vec<&str> = text.split('+').collect();
    let mut out = vec![0, 0];
    out.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        out.extend((topic.len() as i16).to_be_bytes());
        out.extend(topic.as_bytes());
    }
    // No user data.
    out.extend((-1_i32).to_be_bytes());
    out.into()
}

fn show_bytes(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing".to_owned(),
        [0, 0, _, _, _, _, topics @ ..] => {
            let mut names = Vec::new();
            let mut rest = topics;
            while let [0, len, more @ ..] = rest {
                let (name, left) = more.split_at(usize::from(*len));
                names.push(String::from_utf8_lossy(name).into_owned());
                rest = left;
            }
            names.join("+").escape_debug().to_string()
        }
        other => other.escape_ascii().to_string(),
    }
}

fn show_offset(offset: &NewOffset) -> String {
    match &*offset.metadata {
        "" => offset.offset.to_string(),
        metadata => format!("{}:{metadata}", offset.offset),
    }
}

fn show_row(row: &Row, image: &Image) -> String {
    let or_gone = |value: Option<String>| value.unwrap_or_else(|| "gone".to_owned());
    match row {
        Row::Classic { group, state } => {
            let state = state.as_ref().map(|state| {
                let members = state.members.iter().map(|member| {
                    let instance = member.instance.as_deref();
                    let instance = instance.map(|name| format!("/{name}")).unwrap_or_default();
                    format!(
                        " {}{instance}={}",
                        member.id,
                        show_bytes(&member.assignment)
                    )
                });
                let members: String = members.collect();
                format!(
                    "generation {} since {} {} {} led by {}:{members}",
                    state.generation,
                    state.since,
                    state.protocol_type,
                    state.protocol.as_deref().unwrap_or("-"),
                    state.leader.as_deref().unwrap_or("-"),
                )
            });
            format!("classic {group}: {}", or_gone(state))
        }
        Row::Offset {
            group,
            topic,
            partition,
            value,
        } => {
            let value = value.as_ref().map(|value| show_offset(&value.offset));
            format!("offset {group} {topic}/{partition}: {}", or_gone(value))
        }
        Row::Pending {
            group,
            producer,
            topic,
            partition,
            value,
        } => {
            let value = value.as_ref().map(|value| {
                let superseded = if value.superseded { " superseded" } else { "" };
                format!(
                    "{} epoch {} order {}{superseded}",
                    show_offset(&value.committed.offset),
                    value.epoch,
                    value.order
                )
            });
            format!(
                "pending {group} {topic}/{partition} of {producer}: {}",
                or_gone(value)
            )
        }
        Row::Fence {
            group,
            producer,
            value,
        } => {
            let value = value.as_ref().map(|value| format!("epoch {}", value.epoch));
            format!("fence {group} of {producer}: {}", or_gone(value))
        }
        Row::Consumer { group, row } => {
            format!("consumer {group}: {}", script_words::show_row(row, image))
        }
    }
}

fn show_reply(reply: &Reply, image: &Image) -> String {
    match reply {
        Reply::Imported(outcome) => format!("{outcome:?}"),
        Reply::Joined(Ok(joined)) => {
            let members = joined.members.iter().map(|member| {
                let instance = member.instance.as_deref();
                let instance = instance.map(|name| format!("/{name}")).unwrap_or_default();
                format!(
                    " {}{instance}={}",
                    member.member,
                    show_bytes(&member.metadata)
                )
            });
            let members: String = members.collect();
            let skip = if joined.skip_assignment { " skip" } else { "" };
            format!(
                "joined as {} generation {} {} led by {}{skip}:{members}",
                joined.member, joined.generation, joined.protocol, joined.leader
            )
        }
        Reply::Synced(Ok(synced)) => format!("synced {}", show_bytes(&synced.assignment)),
        Reply::Done(Ok(())) => "done".to_owned(),
        Reply::Left(outcomes) => format!("left {}", show_outcomes(outcomes)),
        Reply::Partitions(Ok(outcomes)) => {
            let all = outcomes.iter().flat_map(|(topic, partitions)| {
                partitions.iter().map(move |(partition, outcome)| {
                    let outcome = show_outcomes(std::slice::from_ref(outcome));
                    format!(" {topic}/{partition} {outcome}")
                })
            });
            let all: Vec<String> = all.collect();
            format!("partitions{}", all.join(","))
        }
        Reply::Fetched(Ok(fetched)) => {
            let all = fetched.iter().flat_map(|(topic, partitions)| {
                partitions.iter().map(move |(partition, found)| {
                    let found = match found {
                        Fetched::Nothing => "nothing".to_owned(),
                        Fetched::Unstable => "unstable".to_owned(),
                        Fetched::Offset(offset) => show_offset(offset),
                    };
                    format!(" {topic}/{partition} {found}")
                })
            });
            let all: Vec<String> = all.collect();
            format!("fetched{}", all.join(","))
        }
        Reply::Listed(listed) => {
            let all = listed.iter().map(|group| {
                format!(
                    " {}:{}:{}:{}",
                    group.group, group.protocol_type, group.state, group.kind
                )
            });
            format!("listed{}", all.collect::<String>())
        }
        Reply::Described(Ok(described)) => {
            let members = described.members.iter().map(|member| {
                let (metadata, assignment) = (&member.metadata, &member.assignment);
                let (metadata, assignment) = (show_bytes(metadata), show_bytes(assignment));
                format!(" {}={metadata}={assignment}", member.member)
            });
            format!(
                "{} {} {}:{}",
                described.state,
                described.protocol_type,
                described.protocol,
                members.collect::<String>()
            )
        }
        Reply::Joined(Err(error))
        | Reply::Synced(Err(error))
        | Reply::Done(Err(error))
        | Reply::Partitions(Err(error))
        | Reply::Fetched(Err(error))
        | Reply::Described(Err(error)) => format!("{error:?}"),
        Reply::Consumer(reply) => script_words::show_reply(reply, image),
    }
}

fn show_outcomes(outcomes: &[Result<(), GroupError>]) -> String {
    let all: Vec<String> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("{error:?}"),
        })
        .collect();
    all.join(" ")
}

/// Plays a script; returns it with what came of it.
fn play(script: &str) -> String {
    let mut stage = Stage::new();
    let mut played = String::new();
    for paragraph in script
        .split("\n\n")
        .filter(|paragraph| !paragraph.trim().is_empty())
    {
        let (commands, _) = paragraph.split_once("----").unwrap_or((paragraph, ""));
        let commands = commands.trim();
        writeln!(played, "{commands}").expect("text");
        let lines = commands.lines().filter(|line| !line.starts_with('#'));
        let mut any = false;
        for line in lines {
            any = true;
            stage.line(line);
        }
        if any {
            write!(played, "----\n{}", stage.take()).expect("text");
        }
        played.push('\n');
    }
    played.truncate(played.trim_end().len());
    played.push('\n');
    played
}

#[test]
fn scripts_lead_to_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coordinator/group/scripts");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the scripts")
        .map(|entry| entry.expect("a script").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 8, "{paths:?}");
    let mut wrong: HashMap<PathBuf, String> = HashMap::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).expect("text");
        let played = play(&script);
        if played == script {
            continue;
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &played).expect("written");
            continue;
        }
        let first = script
            .lines()
            .zip(played.lines())
            .position(|(old, new)| old != new);
        let at = first.unwrap_or_else(|| script.lines().count().min(played.lines().count()));
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        let what = format!(
            "line {}:\n  - {}\n  + {}",
            at + 1,
            line(&script),
            line(&played)
        );
        wrong.insert(path, what);
    }
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 rewrites: {wrong:#?}");
}
