//! The scenarios of `compat/` through the Rust crate rskafka, which has producers and consumers of
//! one partition each, and no groups.

#[path = "../../rdkafka/src/harness.rs"]
#[allow(dead_code, reason = "what only rdkafka's scenarios need")]
mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rskafka::BackoffConfig;
use rskafka::client::error::Error as ClientError;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use serde_json::Value;
use tokio::runtime::Runtime;

use harness::{
    Outcome, Scenario, bootstrap, control, expect, fresh_name, new_topic, none, said, wait_for,
};

const ALL: &[Scenario] = &[
    ("metadata.all", metadata),
    ("metadata.by-name", metadata),
    ("codec.none", || codec("none", Compression::NoCompression)),
    ("codec.gzip", || codec("gzip", Compression::Gzip)),
    ("codec.snappy", || codec("snappy", Compression::Snappy)),
    ("codec.lz4", || codec("lz4", Compression::Lz4)),
    ("codec.zstd", || codec("zstd", Compression::Zstd)),
    ("records.shapes", shapes),
    ("keys.partitions", || {
        none("a record goes where its producer is")
    }),
    ("acks.0", || none("it waits for all acknowledgements")),
    ("acks.1", || none("it waits for all acknowledgements")),
    ("acks.all", acks),
    ("idempotent", || none("it has no idempotent producer")),
    ("time.lookup", times),
    ("time.start", times),
    ("records.1mb", one_megabyte),
    ("records.too-large", too_large),
    ("partitions.many", many_partitions),
    ("consume.tail", tail),
    ("auto-create.on", auto_create_on),
    ("auto-create.off", auto_create_off),
    ("restart.clean", || none("it has no idempotent producer")),
    ("restart.crash", || none("it has no idempotent producer")),
    ("seek.offset", seek_offset),
    ("seek.time", times),
    ("pause.resume", || none("it fetches when it is asked to")),
    ("topic.recreated", recreated),
    ("metadata.by-id", || none("metadata is asked for by name")),
    ("admin.topics", topics),
    ("admin.configs", || none("it has no configs")),
    ("admin.partitions", || none("it adds no partitions")),
    ("admin.delete-records", delete_records),
    ("admin.groups", || none("it has no groups")),
    ("admin.offsets", offsets),
    ("admin.cluster", || none("it does not show the cluster")),
    ("errors.names", wrong_names),
    ("errors.topics", wrong_topics),
    ("errors.configs", || none("it has no configs")),
    ("errors.port", port),
    ("errors.advertised", advertised),
];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
/// The time of the first record, in ms: an hour ago, which retention leaves alone.
static ORIGIN_MS: LazyLock<i64> = LazyLock::new(|| {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    now.as_millis() as i64 - 3_600_000
});
const DEADLINE: Duration = Duration::from_secs(60);

fn main() {
    harness::run("rskafka", "0.6.0", ALL.iter());
}

type Fallible<T> = Result<T, Box<dyn Error>>;

fn client() -> Fallible<Client> {
    client_of(bootstrap(), DEADLINE)
}

/// One that gives up after some time.
fn client_of(broker: String, patience: Duration) -> Fallible<Client> {
    let backoff = BackoffConfig {
        deadline: Some(patience),
        ..BackoffConfig::default()
    };
    let builder = ClientBuilder::new(vec![broker]).backoff_config(backoff);
    Ok(RUNTIME.block_on(builder.build())?)
}

fn partition(client: &Client, topic: &str, partition: i32) -> Fallible<PartitionClient> {
    let made = client.partition_client(topic, partition, UnknownTopicHandling::Error);
    Ok(RUNTIME.block_on(made)?)
}

fn record(value: &[u8], at_ms: i64) -> Record {
    Record {
        key: None,
        value: Some(value.to_vec()),
        headers: BTreeMap::new(),
        timestamp: DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or_default(),
    }
}

fn numbered(count: usize, width: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|i| format!("record {i:08} {}", "x".repeat(width)).into_bytes())
        .collect()
}

fn produce(at: &PartitionClient, values: &[Vec<u8>], codec: Compression) -> Fallible<()> {
    for chunk in values.chunks(2000) {
        let records = chunk
            .iter()
            .map(|value| record(value, *ORIGIN_MS))
            .collect();
        RUNTIME.block_on(at.produce(records, codec))?;
    }
    Ok(())
}

/// Everything from an offset to the end.
fn read(at: &PartitionClient, from: i64) -> Fallible<Vec<(i64, Record)>> {
    let end = RUNTIME.block_on(at.get_offset(OffsetAt::Latest))?;
    let (mut found, mut next, began) = (Vec::new(), from, Instant::now());
    while next < end {
        if began.elapsed() > DEADLINE {
            return Err(
                format!("{} records came up to offset {next} of {end}", found.len()).into(),
            );
        }
        let (records, _) = RUNTIME.block_on(at.fetch_records(next, 1..4_000_000, 200))?;
        for one in records {
            next = one.offset + 1;
            found.push((one.offset, one.record));
        }
    }
    Ok(found)
}

fn values(at: &PartitionClient) -> Fallible<Vec<Vec<u8>>> {
    let start = RUNTIME.block_on(at.get_offset(OffsetAt::Earliest))?;
    let records = read(at, start)?.into_iter();
    Ok(records
        .map(|(_, one)| one.value.unwrap_or_default())
        .collect())
}

fn metadata() -> Outcome {
    let topic = new_topic(3)?;
    let listed = RUNTIME.block_on(client()?.list_topics())?;
    let found = listed.into_iter().find(|one| one.name == topic);
    expect(
        "partitions",
        found.map(|one| one.partitions),
        Some(BTreeSet::from([0, 1, 2])),
    )?;
    Ok("it lists all topics with their partitions, and shows no brokers".to_owned())
}

fn codec(name: &str, codec: Compression) -> Outcome {
    let (topic, sent) = (new_topic(1)?, numbered(10_000, 100));
    let at = partition(&client()?, &topic, 0)?;
    produce(&at, &sent, codec)?;
    expect("values", values(&at)? == sent, true)?;
    let Value::Array(stored) = control(&format!("batches {topic} 0"))? else {
        return Err("no list of batches".into());
    };
    let codecs: BTreeSet<&str> = stored
        .iter()
        .filter_map(|one| one["codec"].as_str())
        .collect();
    expect("codecs stored", codecs, BTreeSet::from([name]))?;
    Ok(format!("{} batches", stored.len()))
}

fn shapes() -> Outcome {
    let at = partition(&client()?, &new_topic(1)?, 0)?;
    let mut sent = Vec::new();
    for key in [None, Some(""), Some("text")] {
        for value in [None, Some(""), Some("text")] {
            let bytes = |side: Option<&str>| side.map(|text| text.as_bytes().to_vec());
            let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
            sent.push(Record {
                key: bytes(key),
                value: bytes(value),
                headers: BTreeMap::from([header("a", "1"), header("empty", "")]),
                ..record(b"", *ORIGIN_MS)
            });
        }
    }
    RUNTIME.block_on(at.produce(sent.clone(), Compression::NoCompression))?;
    let got: Vec<Record> = read(&at, 0)?.into_iter().map(|(_, one)| one).collect();
    expect("records", got == sent, true)?;
    Ok("a header has one value, and is never null".to_owned())
}

fn acks() -> Outcome {
    let (at, sent) = (partition(&client()?, &new_topic(1)?, 0)?, numbered(1000, 0));
    produce(&at, &sent, Compression::NoCompression)?;
    expect("values", values(&at)? == sent, true)?;
    Ok(String::new())
}

fn times() -> Outcome {
    let at = partition(&client()?, &new_topic(1)?, 0)?;
    for batch in 0..4 {
        let two = [2 * batch, 2 * batch + 1];
        let records = two.map(|i| record(format!("at {i}").as_bytes(), *ORIGIN_MS + 1000 * i));
        RUNTIME.block_on(at.produce(records.to_vec(), Compression::NoCompression))?;
    }
    let lookup = |ms| {
        let when = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default();
        RUNTIME.block_on(at.get_offset(OffsetAt::Timestamp(when)))
    };
    for i in 0..8 {
        expect("the first at its time", lookup(*ORIGIN_MS + 1000 * i)?, i)?;
        expect(
            "the first just before",
            lookup(*ORIGIN_MS + 1000 * i - 1)?,
            i,
        )?;
    }
    let got: Vec<i64> = read(&at, lookup(*ORIGIN_MS + 4500)?)?
        .iter()
        .map(|(offset, _)| *offset)
        .collect();
    expect("offsets from a time", got, vec![5, 6, 7])?;
    Ok(String::new())
}

fn one_megabyte() -> Outcome {
    let at = partition(&client()?, &new_topic(1)?, 0)?;
    let bodies: Vec<Vec<u8>> = (0..5_u8).map(|i| vec![b'a' + i; 1_000_000]).collect();
    for body in &bodies {
        produce(&at, std::slice::from_ref(body), Compression::NoCompression)?;
    }
    expect("bodies", values(&at)? == bodies, true)?;
    Ok(String::new())
}

fn too_large() -> Outcome {
    let at = partition(&client()?, &new_topic(1)?, 0)?;
    let sent = RUNTIME.block_on(at.produce(
        vec![record(&vec![b'x'; 2_000_000], 0)],
        Compression::NoCompression,
    ));
    let Err(ClientError::ServerError { protocol_error, .. }) = sent else {
        return Err(format!("got {sent:?}").into());
    };
    produce(&at, &[b"small".to_vec()], Compression::NoCompression)?;
    expect("values", values(&at)?, vec![b"small".to_vec()])?;
    Ok(protocol_error.to_string())
}

fn many_partitions() -> Outcome {
    let (topic, client) = (new_topic(200)?, client()?);
    for p in 0..200 {
        let at = partition(&client, &topic, p)?;
        produce(
            &at,
            &[p.to_string().into_bytes()],
            Compression::NoCompression,
        )?;
        expect("values", values(&at)?, vec![p.to_string().into_bytes()])?;
    }
    Ok(String::new())
}

fn tail() -> Outcome {
    let at = partition(&client()?, &new_topic(1)?, 0)?;
    let mut slowest = Duration::ZERO;
    for i in 0..20_i64 {
        let value = i.to_string().into_bytes();
        produce(
            &at,
            std::slice::from_ref(&value),
            Compression::NoCompression,
        )?;
        let acknowledged = Instant::now();
        let (got, _) = RUNTIME.block_on(at.fetch_records(i, 1..1_000_000, 10_000))?;
        expect(
            "value",
            got.first().and_then(|one| one.record.value.clone()),
            Some(value),
        )?;
        slowest = slowest.max(acknowledged.elapsed());
    }
    expect(
        "the slowest within five seconds of its acknowledgement",
        slowest < Duration::from_secs(5),
        true,
    )?;
    Ok(format!(
        "slowest of 20: {} ms after its acknowledgement",
        slowest.as_millis()
    ))
}

fn auto_create_on() -> Outcome {
    let (client, topic) = (client()?, fresh_name());
    let made = client.partition_client(&topic, 0, UnknownTopicHandling::Retry);
    let at = RUNTIME.block_on(made)?;
    produce(&at, &[b"made by use".to_vec()], Compression::NoCompression)?;
    expect("values", values(&at)?, vec![b"made by use".to_vec()])?;
    Ok(String::new())
}

fn auto_create_off() -> Outcome {
    control("settings auto.create.topics.enable=false")?;
    let made = client().and_then(|client| partition(&client, &fresh_name(), 0));
    control("settings")?;
    match made {
        Ok(_) => Err("a topic that nobody has made was found".into()),
        Err(error) => Ok(error.to_string().chars().take(60).collect()),
    }
}

fn topics() -> Outcome {
    let (client, topic) = (client()?, fresh_name());
    let listed = || -> Fallible<bool> {
        let all = RUNTIME.block_on(client.list_topics())?;
        Ok(all.iter().any(|one| one.name == topic))
    };
    let soon = |wanted: bool| -> Fallible<()> {
        let began = Instant::now();
        while listed()? != wanted {
            expect("in time", began.elapsed() < DEADLINE, true)?;
        }
        Ok(())
    };
    let controller = client.controller_client()?;
    RUNTIME.block_on(controller.create_topic(&topic, 3, 1, 30_000))?;
    soon(true)?;
    produce(
        &partition(&client, &topic, 2)?,
        &[b"one".to_vec()],
        Compression::NoCompression,
    )?;
    RUNTIME.block_on(controller.delete_topic(&topic, 30_000))?;
    soon(false)?;
    Ok(String::new())
}

fn delete_records() -> Outcome {
    let (at, sent) = (partition(&client()?, &new_topic(1)?, 0)?, numbered(10, 0));
    produce(&at, &sent, Compression::NoCompression)?;
    RUNTIME.block_on(at.delete_records(6, 30_000))?;
    expect(
        "the start",
        RUNTIME.block_on(at.get_offset(OffsetAt::Earliest))?,
        6,
    )?;
    expect("values", values(&at)?, sent[6..].to_vec())?;
    Ok(String::new())
}

fn offsets() -> Outcome {
    let at = partition(&client()?, &new_topic(1)?, 0)?;
    produce(&at, &numbered(3, 0), Compression::NoCompression)?;
    expect(
        "the start",
        RUNTIME.block_on(at.get_offset(OffsetAt::Earliest))?,
        0,
    )?;
    expect(
        "the end",
        RUNTIME.block_on(at.get_offset(OffsetAt::Latest))?,
        3,
    )?;
    Ok(String::new())
}

fn seek_offset() -> Outcome {
    let (at, sent) = (partition(&client()?, &new_topic(1)?, 0)?, numbered(100, 0));
    produce(&at, &sent, Compression::NoCompression)?;
    let from = |offset| -> Fallible<Vec<Vec<u8>>> {
        let found = read(&at, offset)?.into_iter();
        Ok(found
            .map(|(_, one)| one.value.unwrap_or_default())
            .collect())
    };
    expect("from 40", from(40)?, sent[40..].to_vec())?;
    let start = RUNTIME.block_on(at.get_offset(OffsetAt::Earliest))?;
    expect("from the beginning", from(start)?, sent.clone())?;
    let end = RUNTIME.block_on(at.get_offset(OffsetAt::Latest))?;
    produce(&at, &[b"new".to_vec()], Compression::NoCompression)?;
    expect("from the end", from(end)?, vec![b"new".to_vec()])?;
    Ok(String::new())
}

/// One client of a partition goes on when its topic is deleted and made again.
fn recreated() -> Outcome {
    let (client, topic) = (
        client_of(bootstrap(), Duration::from_secs(2))?,
        new_topic(1)?,
    );
    let at = partition(&client, &topic, 0)?;
    produce(&at, &[b"old".to_vec()], Compression::NoCompression)?;
    expect("values", values(&at)?, vec![b"old".to_vec()])?;
    let controller = client.controller_client()?;
    RUNTIME.block_on(controller.delete_topic(&topic, 30_000))?;
    wait_for("the topic's return", || {
        let made = RUNTIME.block_on(controller.create_topic(&topic, 1, 1, 30_000));
        Ok(made.is_ok())
    })?;
    wait_for("a new record", || {
        Ok(produce(&at, &[b"new".to_vec()], Compression::NoCompression).is_ok())
    })?;
    wait_for("the new record alone", || {
        Ok(values(&at).is_ok_and(|found| found.first() == Some(&b"new".to_vec())))
    })?;
    Ok(String::new())
}

/// What a user reads: the name of the protocol's error where the broker answered with one.
fn text<T>(answer: Result<T, ClientError>) -> String {
    match answer {
        Ok(_) => "no error".to_owned(),
        Err(ClientError::ServerError { protocol_error, .. }) => format!("{protocol_error:?}"),
        Err(error) => error.to_string(),
    }
}

fn wrong_names() -> Outcome {
    let controller = client()?.controller_client()?;
    let long = "n".repeat(250);
    let names = [
        ("a space", "a name"),
        ("one dot", "."),
        ("empty", ""),
        ("250 letters", long.as_str()),
        ("not ASCII", "größe"),
    ];
    let create = |name| text(RUNTIME.block_on(controller.create_topic(name, 1, 1, 30_000)));
    said(&names.map(|(case, name)| (case, create(name))))
}

fn wrong_topics() -> Outcome {
    let (client, taken) = (client()?, new_topic(1)?);
    let controller = client.controller_client()?;
    let create = |name: String, partitions| {
        text(RUNTIME.block_on(controller.create_topic(name, partitions, 1, 30_000)))
    };
    said(&[
        ("create: taken", create(taken, 1)),
        ("create: no partitions", create(fresh_name(), 0)),
        (
            "delete: unknown",
            text(RUNTIME.block_on(controller.delete_topic("nowhere", 30_000))),
        ),
    ])
}

/// Without the moment of the last try.
fn briefly(error: impl std::fmt::Display) -> String {
    error.to_string().chars().take(60).collect()
}

fn port() -> Outcome {
    let answer = client_of("127.0.0.1:1".to_owned(), Duration::from_secs(2));
    said(&[(
        "nobody listens",
        answer.map_or_else(briefly, |_| "no error".to_owned()),
    )])
}

fn advertised() -> Outcome {
    let topic = new_topic(1)?;
    control("settings advertised.listeners=PLAINTEXT://127.0.0.1:1")?;
    let answer = client_of(bootstrap(), Duration::from_secs(2)).and_then(|client| {
        let at = partition(&client, &topic, 0)?;
        produce(&at, &[b"nowhere".to_vec()], Compression::NoCompression)
    });
    control("settings")?;
    said(&[(
        "produce",
        answer.map_or_else(briefly, |()| "no error".to_owned()),
    )])
}
