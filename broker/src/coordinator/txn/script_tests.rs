//! Scripts: text in; replies, rows, endings and deadlines out. Each paragraph of a file in `scripts/` is
//! some commands, a line of dashes, and what they lead to; `UPDATE_EXPECT=1` writes the latter anew, and
//! the diff is the review.
//!
//! Commands, where `P/E` is a producer id and an epoch, and new producer ids count from 1:
//!
//! - `init ID [P/E] [timeout=MS]`, `add ID P/E PARTITION... [group=G] [at_once]`
//! - `end ID P/E commit|abort [raise]`, `markers ID P/E`, `describe ID`
//! - `list [STATE...] [producer=P] [open=MS]`, `verify ID P/E PARTITION`, `verify-group ID P/E GROUP`
//! - `at MS` (moves the clock, and does what is due), `restart` (a crash: the machine is built from its rows)
//! - `epoch ID E` (as if the producer had come to that epoch)

#![expect(
    clippy::disallowed_methods,
    reason = "these tests read and write the scripts"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::coordinator::machine::{Answer, Decision, Machine, Ticket};
use crate::types::{Timestamp, TopicId};

struct Stage {
    brain: Brain,
    now: Timestamp,
    tickets: u64,
    next_id: i64,
    /// What a store would hold.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    due: Option<Timestamp>,
    out: String,
}

/// Days of idleness until an id is forgotten.
const EXPIRATION_MS: i64 = 7 * 86_400_000;

fn owner(word: &str) -> (ProducerId, ProducerEpoch) {
    let (producer, epoch) = word.split_once('/').expect("P/E");
    (
        ProducerId(producer.parse().expect("a producer id")),
        ProducerEpoch(epoch.parse().expect("an epoch")),
    )
}

fn partition(word: &str) -> TopicPartition {
    (TopicId::nil(), word.parse().expect("a partition"))
}

impl Stage {
    fn new() -> Self {
        Self {
            brain: Brain::new(EXPIRATION_MS, 9),
            now: 0,
            tickets: 0,
            next_id: 0,
            rows: BTreeMap::new(),
            due: None,
            out: String::new(),
        }
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let named = |name: &str| {
            let mut words = words.iter().filter_map(|word| word.split_once('='));
            words.find(|(own, _)| *own == name).map(|(_, value)| value)
        };
        let plain: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| !word.contains('='))
            .collect();
        let number = |text: &str| -> i64 { text.parse().expect("a number") };
        match plain[0] {
            "at" => {
                self.now = number(plain[1]);
                while self.brain.next_deadline().is_some_and(|at| at <= self.now) {
                    let decision = self.brain.expire(self.now, &mut StdRng::seed_from_u64(0));
                    self.show(decision);
                }
            }
            "restart" => {
                self.brain = Brain::new(EXPIRATION_MS, 9);
                for (key, value) in &self.rows {
                    let row = Brain::decode(key, value).expect("a good row");
                    self.brain.apply(&row);
                }
                let decision = self.brain.resume(self.now, &mut StdRng::seed_from_u64(0));
                self.show(decision);
            }
            "epoch" => {
                let mut transaction = self.brain.transaction(plain[1]).expect("known").clone();
                transaction.epoch = ProducerEpoch(plain[2].parse().expect("an epoch"));
                let mut decision = Decision::default();
                decision.rows.push(Row {
                    id: plain[1].to_owned(),
                    transaction: Some(transaction),
                });
                self.show(decision);
            }
            "verify" | "verify-group" => {
                let (producer, epoch) = owner(plain[2]);
                let verdict = match plain[0] {
                    "verify" => {
                        let partition = partition(plain[3]);
                        self.brain.verify(plain[1], producer, epoch, &partition)
                    }
                    _ => self.brain.verify_group(plain[1], producer, epoch, plain[3]),
                };
                writeln!(self.out, "{verdict:?}").expect("text");
            }
            "init" => {
                let command = |fresh| Command::Init {
                    id: plain[1].to_owned(),
                    timeout_ms: named("timeout").map_or(60_000, number) as i32,
                    expected: plain.get(2).map(|word| owner(word)),
                    fresh,
                };
                self.ask(command);
            }
            "add" => {
                let (producer, epoch) = owner(plain[2]);
                let at_once = plain.contains(&"at_once");
                let partitions = plain[3..].iter().filter(|word| **word != "at_once");
                let partitions: Vec<_> = partitions.map(|word| partition(word)).collect();
                self.ask(|_| Command::Add {
                    id: plain[1].to_owned(),
                    producer,
                    epoch,
                    partitions: partitions.clone(),
                    group: named("group").map(str::to_owned),
                    at_once,
                });
            }
            "end" => {
                let (producer, epoch) = owner(plain[2]);
                self.ask(|fresh| Command::End {
                    id: plain[1].to_owned(),
                    producer,
                    epoch,
                    commit: plain[3] == "commit",
                    raise: plain.contains(&"raise"),
                    fresh,
                });
            }
            "markers" => {
                let (producer, epoch) = owner(plain[2]);
                self.ask(|_| Command::MarkersWritten {
                    id: plain[1].to_owned(),
                    producer,
                    epoch,
                });
            }
            "describe" => self.ask(|_| Command::Describe {
                id: plain[1].to_owned(),
            }),
            "list" => {
                let standings = plain[1..].iter().map(|name| {
                    let mut all = STANDINGS.into_iter();
                    all.find(|standing| standing.name() == *name)
                        .expect("a state")
                });
                let standings: Vec<_> = standings.collect();
                self.ask(|_| Command::List {
                    standings: standings.clone(),
                    producers: named("producer")
                        .map(|id| ProducerId(number(id)))
                        .into_iter()
                        .collect(),
                    open_ms: named("open").map_or(-1, number),
                });
            }
            other => panic!("no command is called {other}"),
        }
    }

    /// Asks, and asks again with a new producer id if one is needed.
    fn ask(&mut self, command: impl Fn(Option<ProducerId>) -> Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut luck = StdRng::seed_from_u64(0);
        let mut decision = self
            .brain
            .decide(self.now, &mut luck, ticket, command(None));
        let own = |one: &Answer<Reply>| one.ticket == ticket && one.reply == Reply::NeedsId;
        if decision.answers.iter().any(own) {
            self.next_id += 1;
            let fresh = Some(ProducerId(self.next_id));
            decision = self
                .brain
                .decide(self.now, &mut luck, ticket, command(fresh));
        }
        self.show(decision);
    }

    fn show(&mut self, decision: Decision<Brain>) {
        for row in &decision.rows {
            self.brain.apply(row);
            let (key, value) = Brain::encode(row);
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
            let text = match &row.transaction {
                Some(transaction) => describe(transaction),
                None => "is forgotten".to_owned(),
            };
            writeln!(self.out, "row {} {text}", row.id).expect("text");
        }
        for ending in &decision.effects {
            let kind = if ending.committed { "commit" } else { "abort" };
            let partitions: Vec<_> = ending.partitions.iter().map(|(_, index)| index).collect();
            writeln!(
                self.out,
                "tell {} {kind} {}/{} of {} to {partitions:?} {:?}",
                ending.id, ending.producer, ending.epoch, ending.coordinator_epoch, ending.groups
            )
            .expect("text");
        }
        for answer in &decision.answers {
            let text = match &answer.reply {
                Reply::Producer(producer, epoch) => format!("{producer}/{epoch}"),
                Reply::NeedsId => "needs an id".to_owned(),
                Reply::Described(None) => "unknown".to_owned(),
                Reply::Described(Some(transaction)) => describe(transaction),
                Reply::Listed(listed) => {
                    let listed = listed.iter();
                    let words = listed.map(|(id, _, standing)| format!("{id} {}", standing.name()));
                    words.collect::<Vec<_>>().join(", ")
                }
                Reply::Refused(error) => format!("{error:?}"),
            };
            let at_once = if answer.entity.as_deref() == Some("") {
                " at once"
            } else {
                ""
            };
            writeln!(self.out, "#{}{at_once} {text}", answer.ticket.0).expect("text");
        }
    }

    /// What has come out since last asked.
    fn take(&mut self) -> String {
        let due = self.brain.next_deadline();
        if due != self.due {
            let text = due.map_or("nothing".to_owned(), |at| at.to_string());
            writeln!(self.out, "due {text}").expect("text");
            self.due = due;
        }
        std::mem::take(&mut self.out)
    }
}

fn describe(transaction: &Transaction) -> String {
    let mut text = format!(
        "{}/{} {}",
        transaction.producer,
        transaction.epoch,
        transaction.standing.name()
    );
    if let Some((producer, epoch)) = transaction.previous {
        write!(text, " was {producer}/{epoch}").expect("text");
    }
    if let Some(successor) = transaction.successor {
        write!(text, " then {successor}").expect("text");
    }
    if transaction.raised {
        text.push_str(" raised");
    }
    let partitions: Vec<_> = transaction.partitions.iter().map(|(_, i)| i).collect();
    if !partitions.is_empty() {
        write!(text, " {partitions:?}").expect("text");
    }
    if !transaction.groups.is_empty() {
        write!(text, " {:?}", transaction.groups).expect("text");
    }
    text
}

/// The script with what it leads to.
fn play(script: &str) -> String {
    let mut stage = Stage::new();
    let paragraphs = script.trim_end().split("\n\n").map(|paragraph| {
        let commands: Vec<&str> = paragraph
            .lines()
            .take_while(|line| !line.starts_with("----"))
            .collect();
        for line in &commands {
            if !line.starts_with('#') {
                stage.line(line);
            }
        }
        let remarks = commands.iter().all(|line| line.starts_with('#'));
        match remarks {
            true => commands.join("\n"),
            false => format!("{}\n----\n{}", commands.join("\n"), stage.take().trim_end()),
        }
    });
    let mut played = paragraphs.collect::<Vec<_>>().join("\n\n");
    played.push('\n');
    played
}

#[test]
fn scripts_lead_to_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coordinator/txn/scripts");
    let files = std::fs::read_dir(folder).expect("the scripts");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() >= 5, "the scripts are there");
    for file in files {
        let script = std::fs::read_to_string(&file).expect("a script");
        let played = play(&script);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, played).expect("written");
        } else {
            assert_eq!(played, script, "{}", file.display());
        }
    }
}
