//! Scenarios of administration, and of what a user reads when something is wrong.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::client::{DEADLINE, config, finish, produce, producer, send, values};
use crate::harness::{
    Outcome, Scenario, bootstrap, control, expect, fresh_name, new_topic, none, said, wait_for,
};
use crate::member::Member;

pub const ALL: &[Scenario] = &[
    ("metadata.by-id", || none("metadata is asked for by name")),
    ("admin.topics", topics),
    ("admin.configs", configs),
    ("admin.partitions", partitions),
    ("admin.delete-records", delete_records),
    ("admin.groups", groups),
    ("admin.offsets", offsets),
    ("admin.cluster", cluster),
    ("errors.names", wrong_names),
    ("errors.topics", wrong_topics),
    ("errors.configs", wrong_configs),
    ("errors.port", port),
    ("errors.advertised", advertised),
];

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;
type Settings<'a> = &'a [(&'a str, &'a str)];

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The crate's admin client answers with futures; nothing else here does.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park_timeout(Duration::from_millis(100)),
        }
    }
}

fn client() -> Fallible<AdminClient<DefaultClientContext>> {
    Ok(config(&[]).create()?)
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(DEADLINE))
        .operation_timeout(Some(DEADLINE))
}

/// The error of the one thing that was asked for.
fn one<T, E: std::fmt::Display>(answer: Result<Vec<Result<T, E>>, KafkaError>) -> Fallible<T> {
    let first = answer?.into_iter().next().ok_or("an empty answer")?;
    first.map_err(|error| error.to_string().into())
}

fn named<T>(answer: Result<T, (String, RDKafkaErrorCode)>) -> Result<T, RDKafkaErrorCode> {
    answer.map_err(|(_, code)| code)
}

pub fn create(topic: &str, partitions: i32, replicas: i32, configs: Settings<'_>) -> Fallible<()> {
    let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
    for (name, value) in configs {
        wanted = wanted.set(name, value);
    }
    let answer = wait(client()?.create_topics([&wanted], &options()));
    one(answer.map(|all| all.into_iter().map(named).collect())).map(drop)
}

pub fn remove(topic: &str) -> Fallible<()> {
    let answer = wait(client()?.delete_topics(&[topic], &options()));
    one(answer.map(|all| all.into_iter().map(named).collect())).map(drop)
}

fn grow(topic: &str, count: usize) -> Fallible<()> {
    let answer = wait(client()?.create_partitions([&NewPartitions::new(topic, count)], &options()));
    one(answer.map(|all| all.into_iter().map(named).collect())).map(drop)
}

fn config_of(topic: &str, name: &str) -> Fallible<String> {
    let resource = ResourceSpecifier::Topic(topic);
    let found = one(wait(client()?.describe_configs([&resource], &options())))?;
    let entry = found.get(name).ok_or("no such setting")?;
    Ok(entry.value.clone().unwrap_or_default())
}

fn alter(topic: &str, configs: Settings<'_>) -> Fallible<()> {
    let mut wanted = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for (name, value) in configs {
        wanted = wanted.set(name, value);
    }
    let answer = wait(client()?.alter_configs([&wanted], &options()));
    one(answer.map(|all| {
        all.into_iter()
            .map(|r| r.map_err(|(_, code)| code))
            .collect()
    }))
    .map(drop)
}

fn delete_group(group: &str) -> Fallible<()> {
    let answer = wait(client()?.delete_groups(&[group], &options()));
    one(answer.map(|all| all.into_iter().map(named).collect())).map(drop)
}

fn listed(topic: &str) -> Fallible<Option<usize>> {
    let seen: BaseConsumer = config(&[]).create()?;
    let found = seen.fetch_metadata(None, DEADLINE)?;
    let one = found.topics().iter().find(|t| t.name() == topic);
    Ok(one.map(|t| t.partitions().len()))
}

fn topics() -> Outcome {
    let topic = fresh_name();
    create(&topic, 3, 1, &[("retention.ms", "3600000")])?;
    wait_for("the topic", || Ok(listed(&topic)? == Some(3)))?;
    produce(&topic, 2, &[b"one".to_vec()], &[])?;
    remove(&topic)?;
    wait_for("its end", || Ok(listed(&topic)?.is_none()))?;
    Ok(String::new())
}

fn configs() -> Outcome {
    let topic = fresh_name();
    create(&topic, 1, 1, &[("retention.ms", "3600000")])?;
    wait_for("the topic", || Ok(listed(&topic)?.is_some()))?;
    expect(
        "as created",
        config_of(&topic, "retention.ms")?.as_str(),
        "3600000",
    )?;
    expect(
        "a default",
        config_of(&topic, "cleanup.policy")?.as_str(),
        "delete",
    )?;
    alter(
        &topic,
        &[
            ("retention.ms", "7200000"),
            ("max.message.bytes", "2000000"),
        ],
    )?;
    wait_for("the change", || {
        Ok(config_of(&topic, "retention.ms")? == "7200000")
    })?;
    expect(
        "the other",
        config_of(&topic, "max.message.bytes")?.as_str(),
        "2000000",
    )?;
    Ok(String::new())
}

fn partitions() -> Outcome {
    let topic = new_topic(2)?;
    produce(&topic, 1, &[b"one".to_vec()], &[])?;
    grow(&topic, 5)?;
    wait_for("five partitions", || Ok(listed(&topic)? == Some(5)))?;
    produce(&topic, 4, &[b"two".to_vec()], &[])?;
    let all = crate::client::consume(&topic, 5, Offset::Beginning)?;
    expect("records", all.len(), 2)?;
    Ok(String::new())
}

fn delete_records() -> Outcome {
    let topic = new_topic(1)?;
    let ten: Vec<Vec<u8>> = (0..10).map(|i: u8| i.to_string().into_bytes()).collect();
    produce(&topic, 0, &ten, &[])?;
    let mut upto = TopicPartitionList::new();
    upto.add_partition_offset(&topic, 0, Offset::Offset(6))?;
    wait(client()?.delete_records(&upto, &options()))?;
    let asking: BaseConsumer = config(&[]).create()?;
    expect(
        "watermarks",
        asking.fetch_watermarks(&topic, 0, DEADLINE)?,
        (6, 10),
    )?;
    expect("values", values(&topic)?, ten[6..].to_vec())?;
    Ok(String::new())
}

/// The state of a group and its number of members.
fn group(name: &str) -> Fallible<Option<(String, usize)>> {
    let asking: BaseConsumer = config(&[]).create()?;
    let found = asking.fetch_group_list(None, DEADLINE)?;
    let one = found.groups().iter().find(|g| g.name() == name);
    Ok(one.map(|g| (g.state().to_owned(), g.members().len())))
}

fn groups() -> Outcome {
    let (topic, name) = (new_topic(1)?, fresh_name());
    produce(&topic, 0, &[b"one".to_vec()], &[])?;
    let member = Member::join(&name, &topic, &[])?;
    wait_for("the record", || Ok(!member.log().records.is_empty()))?;
    expect("described", group(&name)?, Some(("Stable".to_owned(), 1)))?;
    drop(member);
    wait_for("an empty group", || {
        Ok(group(&name)? == Some(("Empty".to_owned(), 0)))
    })?;
    delete_group(&name)?;
    wait_for("its end", || Ok(group(&name)?.is_none()))?;
    Ok(String::new())
}

fn offsets() -> Outcome {
    let topic = new_topic(2)?;
    produce(&topic, 0, &[vec![1], vec![2], vec![3]], &[])?;
    let asking: BaseConsumer = config(&[]).create()?;
    expect(
        "of the first",
        asking.fetch_watermarks(&topic, 0, DEADLINE)?,
        (0, 3),
    )?;
    expect(
        "of the other",
        asking.fetch_watermarks(&topic, 1, DEADLINE)?,
        (0, 0),
    )?;
    Ok(String::new())
}

fn cluster() -> Outcome {
    let asking: BaseConsumer = config(&[]).create()?;
    let seen = asking.fetch_metadata(None, DEADLINE)?;
    let brokers = seen
        .brokers()
        .iter()
        .map(|b| format!("{}:{}", b.host(), b.port()))
        .collect();
    expect("brokers", brokers, vec![bootstrap()])?;
    let id = asking
        .client()
        .fetch_cluster_id(DEADLINE)
        .unwrap_or_default();
    expect("an id", id.len() > 10, true)?;
    Ok("it does not show the controller".to_owned())
}

fn text(answer: Fallible<()>) -> String {
    answer.map_or_else(|error| error.to_string(), |()| "no error".to_owned())
}

fn wrong_names() -> Outcome {
    let long = "n".repeat(250);
    let cases = [
        ("a space", "a name"),
        ("one dot", "."),
        ("empty", ""),
        ("250 letters", &long),
        ("not ASCII", "größe"),
    ];
    said(&cases.map(|(case, name)| (case, text(create(name, 1, 1, &[])))))
}

fn wrong_topics() -> Outcome {
    let topic = new_topic(2)?;
    said(&[
        ("create: taken", text(create(&topic, 1, 1, &[]))),
        (
            "create: no partitions",
            text(create(&fresh_name(), 0, 1, &[])),
        ),
        ("delete: unknown", text(remove("nowhere"))),
        ("grow: unknown", text(grow("nowhere", 3))),
        ("grow: fewer", text(grow(&topic, 1))),
        ("grow: the same", text(grow(&topic, 2))),
        (
            "configs: unknown",
            text(config_of("nowhere", "retention.ms").map(drop)),
        ),
        ("delete group: unknown", text(delete_group("nobody"))),
    ])
}

fn wrong_configs() -> Outcome {
    let topic = new_topic(1)?;
    let made = |name, value| text(create(&fresh_name(), 1, 1, &[(name, value)]));
    said(&[
        ("create: unknown", made("no.such", "1")),
        ("create: not a number", made("retention.ms", "long")),
        ("create: too small", made("retention.ms", "-2")),
        ("create: not one of a list", made("cleanup.policy", "keep")),
        ("alter: unknown", text(alter(&topic, &[("no.such", "1")]))),
        (
            "alter: not a number",
            text(alter(&topic, &[("max.message.bytes", "many")])),
        ),
        (
            "alter: unknown topic",
            text(alter("nowhere", &[("retention.ms", "1000")])),
        ),
    ])
}

/// Keeps what the client says in the background.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, _reason: &str) {
        self.0
            .lock()
            .expect("no panic under this lock")
            .push(error.to_string());
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}

fn port() -> Outcome {
    let mut nowhere = ClientConfig::new();
    nowhere.set("bootstrap.servers", "127.0.0.1:1");
    let lost: BaseProducer<Listener> = nowhere.create_with_context(Listener::default())?;
    let deadline = Instant::now() + DEADLINE;
    loop {
        lost.poll(Duration::from_millis(100));
        let heard = lost
            .context()
            .0
            .lock()
            .expect("no panic under this lock")
            .first()
            .cloned();
        if let Some(first) = heard {
            return said(&[("nobody listens", first)]);
        }
        expect("in time", Instant::now() < deadline, true)?;
    }
}

fn advertised() -> Outcome {
    let topic = new_topic(1)?;
    control("settings advertised.listeners=PLAINTEXT://127.0.0.1:1")?;
    let stranded = || -> Fallible<String> {
        let sender = producer(&[("message.timeout.ms", "3000")])?;
        send(
            &sender,
            BaseRecord::to(&topic).partition(0).payload(b"nowhere"),
        )?;
        Ok(format!("{:?}", finish(&sender)?.1))
    };
    let heard = stranded();
    control("settings")?;
    said(&[("produce", heard?)])
}
