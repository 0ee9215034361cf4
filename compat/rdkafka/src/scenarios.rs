//! Every scenario of `scenarios.txt`, in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::client::{
    DEADLINE, Received, config, consume, consumer, finish, produce, producer, send, values,
};
use crate::harness::{Outcome, Scenario, bootstrap, control, expect, fresh_name, new_topic};

pub const ALL: &[Scenario] = &[
    ("metadata.all", metadata_all),
    ("metadata.by-name", metadata_by_name),
    ("codec.none", || codec("none")),
    ("codec.gzip", || codec("gzip")),
    ("codec.snappy", || codec("snappy")),
    ("codec.lz4", || codec("lz4")),
    ("codec.zstd", || codec("zstd")),
    ("records.shapes", shapes),
    ("keys.partitions", keys),
    ("acks.0", || acks("0")),
    ("acks.1", || acks("1")),
    ("acks.all", || acks("all")),
    ("idempotent", idempotent),
    ("time.lookup", time_lookup),
    ("time.start", time_start),
    ("records.1mb", one_megabyte),
    ("records.too-large", too_large),
    ("partitions.many", many_partitions),
    ("consume.tail", tail),
    ("auto-create.on", auto_create_on),
    ("auto-create.off", auto_create_off),
    ("restart.clean", || restart("restart")),
    ("restart.crash", || restart("crash")),
];

fn numbered(count: usize, width: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|i| format!("record {i:08} {}", "x".repeat(width)).into_bytes())
        .collect()
}

fn text(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}

/// One batch of partition 0 as it is stored: (codec, producer id).
fn stored(topic: &str) -> Result<Vec<(String, i64)>, Box<dyn std::error::Error>> {
    let Value::Array(batches) = control(&format!("batches {topic} 0"))? else {
        return Err("no list of batches".into());
    };
    let read = |batch: &Value| {
        (
            batch["codec"].as_str().unwrap_or_default().to_owned(),
            batch["producer_id"].as_i64().unwrap_or(-1),
        )
    };
    Ok(batches.iter().map(read).collect())
}

fn metadata_all() -> Outcome {
    let topic = new_topic(3)?;
    let client: BaseConsumer = config(&[]).create()?;
    let seen = client.fetch_metadata(None, DEADLINE)?;
    let brokers: Vec<String> = seen
        .brokers()
        .iter()
        .map(|b| format!("{}:{}", b.host(), b.port()))
        .collect();
    expect("brokers", brokers, vec![bootstrap()])?;
    let found = seen
        .topics()
        .iter()
        .find(|t| t.name() == topic)
        .map(|t| t.partitions().len());
    expect("partitions", found, Some(3))?;
    Ok(String::new())
}

fn metadata_by_name() -> Outcome {
    let (topic, _other) = (new_topic(3)?, new_topic(1)?);
    let client: BaseConsumer = config(&[]).create()?;
    let seen = client.fetch_metadata(Some(&topic), DEADLINE)?;
    expect(
        "topics",
        seen.topics().iter().map(|t| t.name()).collect(),
        vec![topic.as_str()],
    )?;
    let broker = seen.brokers()[0].id();
    let leaders: Vec<i32> = seen.topics()[0]
        .partitions()
        .iter()
        .map(|p| p.leader())
        .collect();
    expect("leaders", leaders, vec![broker; 3])?;
    Ok(String::new())
}

fn codec(name: &str) -> Outcome {
    let (topic, sent) = (new_topic(1)?, numbered(10_000, 100));
    produce(
        &topic,
        0,
        &sent,
        &[("compression.type", name), ("linger.ms", "50")],
    )?;
    expect("values", values(&topic)? == sent, true)?;
    let stored = stored(&topic)?;
    let codecs: BTreeSet<&str> = stored.iter().map(|(codec, _)| codec.as_str()).collect();
    expect("codecs stored", codecs, BTreeSet::from([name]))?;
    Ok(format!("{} batches", stored.len()))
}

fn shapes() -> Outcome {
    let topic = new_topic(1)?;
    let headers = || {
        let value = |key, value: Option<&'static str>| Header { key, value };
        OwnedHeaders::new()
            .insert(value("a", Some("1")))
            .insert(value("a", Some("2")))
            .insert(value("empty", Some("")))
            .insert(value("null", None))
    };
    let producer = producer(&[])?;
    let sides: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"text")];
    for key in sides {
        for value in sides {
            let mut record = BaseRecord::<[u8], [u8]>::to(&topic)
                .partition(0)
                .headers(headers())
                .timestamp(*ORIGIN_MS);
            record.key = key;
            record.payload = value;
            send(&producer, record)?;
        }
    }
    expect("delivered", finish(&producer)?, (9, Vec::new()))?;
    let mut wanted = Vec::new();
    for key in sides {
        for value in sides {
            wanted.push(Received {
                partition: 0,
                offset: wanted.len() as i64,
                timestamp_ms: *ORIGIN_MS,
                key: key.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
                headers: vec![
                    ("a".to_owned(), text(b"1")),
                    ("a".to_owned(), text(b"2")),
                    ("empty".to_owned(), text(b"")),
                    ("null".to_owned(), None),
                ],
            });
        }
    }
    for (got, wanted) in consume(&topic, 1, Offset::Beginning)?
        .into_iter()
        .zip(&wanted)
    {
        expect("record", &got, wanted)?;
    }
    expect("records", consume(&topic, 1, Offset::Beginning)?.len(), 9)?;
    Ok(String::new())
}

fn keys() -> Outcome {
    let topic = new_topic(8)?;
    let producer = producer(&[])?;
    for i in 0..1000 {
        let (key, value) = (format!("key-{}", i % 100), format!("{i:04}"));
        send(
            &producer,
            BaseRecord::to(&topic)
                .key(key.as_bytes())
                .payload(value.as_bytes()),
        )?;
    }
    expect("delivered", finish(&producer)?, (1000, Vec::new()))?;
    let received = consume(&topic, 8, Offset::Beginning)?;
    let mut seen: Vec<_> = received
        .iter()
        .filter_map(|record| record.value.clone())
        .collect();
    seen.sort();
    expect(
        "values",
        seen,
        (0..1000).map(|i| format!("{i:04}").into_bytes()).collect(),
    )?;
    let mut homes: BTreeMap<_, BTreeSet<i32>> = BTreeMap::new();
    for record in &received {
        homes
            .entry(record.key.clone())
            .or_default()
            .insert(record.partition);
    }
    expect(
        "keys in more than one partition",
        homes.values().filter(|at| at.len() > 1).count(),
        0,
    )?;
    expect(
        "partitions used",
        homes.values().flatten().collect::<BTreeSet<_>>().len(),
        8,
    )?;
    Ok(String::new())
}

fn acks(level: &str) -> Outcome {
    let (topic, sent) = (new_topic(1)?, numbered(1000, 0));
    produce(&topic, 0, &sent, &[("acks", level)])?;
    // Nobody told the producer with acks=0 when its records were there.
    let deadline = Instant::now() + Duration::from_secs(10);
    while values(&topic)? != sent {
        if Instant::now() > deadline {
            return Err(format!("{} of 1000 records after 10 s", values(&topic)?.len()).into());
        }
    }
    Ok(String::new())
}

fn idempotent() -> Outcome {
    let (topic, sent) = (new_topic(1)?, numbered(5000, 0));
    produce(
        &topic,
        0,
        &sent,
        &[
            ("enable.idempotence", "true"),
            ("batch.num.messages", "100"),
        ],
    )?;
    expect("values", values(&topic)? == sent, true)?;
    let stored = stored(&topic)?;
    let ids: BTreeSet<i64> = stored.iter().map(|(_, id)| *id).collect();
    expect(
        "one producer id in all batches",
        ids.len() == 1 && ids.iter().all(|id| *id >= 0),
        true,
    )?;
    Ok(format!("{} batches", stored.len()))
}

/// The time of the first of the spaced records, in ms: an hour ago, which retention leaves alone.
pub static ORIGIN_MS: LazyLock<i64> = LazyLock::new(|| {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    now.as_millis() as i64 - 3_600_000
});

/// Eight records, a second apart, in batches of two.
fn spaced() -> Result<String, Box<dyn std::error::Error>> {
    let topic = new_topic(1)?;
    for batch in 0..4 {
        let producer = producer(&[("linger.ms", "50")])?;
        for i in [batch * 2, batch * 2 + 1] {
            let value = format!("at {i}");
            send(
                &producer,
                BaseRecord::to(&topic)
                    .partition(0)
                    .payload(value.as_bytes())
                    .timestamp(*ORIGIN_MS + i * 1000),
            )?;
        }
        expect("delivered", finish(&producer)?, (2, Vec::new()))?;
    }
    Ok(topic)
}

pub fn lookup(topic: &str, timestamp_ms: i64) -> Result<Offset, Box<dyn std::error::Error>> {
    let client: BaseConsumer = config(&[("group.id", "compat")]).create()?;
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(topic, 0, Offset::Offset(timestamp_ms))?;
    let found = client.offsets_for_times(times, DEADLINE)?;
    let partition = found
        .find_partition(topic, 0)
        .ok_or("the partition is not in the answer")?;
    partition.error()?;
    Ok(partition.offset())
}

fn time_lookup() -> Outcome {
    let topic = spaced()?;
    for i in 0..8 {
        let at = *ORIGIN_MS + i * 1000;
        expect("at a timestamp", lookup(&topic, at)?, Offset::Offset(i))?;
        expect(
            "just before a timestamp",
            lookup(&topic, at - 1)?,
            Offset::Offset(i),
        )?;
    }
    expect(
        "after the last",
        lookup(&topic, *ORIGIN_MS + 7001)?,
        Offset::End,
    )?;
    let client: BaseConsumer = config(&[]).create()?;
    expect(
        "watermarks",
        client.fetch_watermarks(&topic, 0, DEADLINE)?,
        (0, 8),
    )?;
    Ok(String::new())
}

fn time_start() -> Outcome {
    let topic = spaced()?;
    let Offset::Offset(from) = lookup(&topic, *ORIGIN_MS + 5000)? else {
        return Err("no offset for the sixth record's time".into());
    };
    let seen: Vec<_> = consume(&topic, 1, Offset::Offset(from))?
        .into_iter()
        .map(|r| (r.offset, r.timestamp_ms - *ORIGIN_MS))
        .collect();
    expect("records", seen, vec![(5, 5000), (6, 6000), (7, 7000)])?;
    Ok(String::new())
}

fn one_megabyte() -> Outcome {
    let topic = new_topic(1)?;
    let sent: Vec<Vec<u8>> = (0..5u8)
        .map(|i| {
            (0..1_000_000u32)
                .map(|at| (at as u8).wrapping_mul(31) ^ i)
                .collect()
        })
        .collect();
    produce(&topic, 0, &sent, &[("message.max.bytes", "1048576")])?;
    expect("bodies", values(&topic)? == sent, true)?;
    Ok(String::new())
}

fn too_large() -> Outcome {
    let topic = new_topic(1)?;
    let producer = producer(&[("message.max.bytes", "4000000")])?;
    send(
        &producer,
        BaseRecord::to(&topic)
            .partition(0)
            .payload(&vec![b'x'; 2_000_000]),
    )?;
    expect(
        "refused",
        finish(&producer)?,
        (0, vec![RDKafkaErrorCode::MessageSizeTooLarge]),
    )?;
    send(
        &producer,
        BaseRecord::to(&topic).partition(0).payload(b"small"),
    )?;
    expect("accepted after it", finish(&producer)?.0, 1)?;
    expect("values", values(&topic)?, vec![b"small".to_vec()])?;
    Ok("MessageSizeTooLarge".to_owned())
}

fn many_partitions() -> Outcome {
    let topic = new_topic(200)?;
    // Idempotent, because a plain producer's retry may overtake: the order is compared below.
    let producer = producer(&[("enable.idempotence", "true")])?;
    let sent = numbered(20_000, 0);
    for (i, value) in sent.iter().enumerate() {
        send(
            &producer,
            BaseRecord::to(&topic)
                .partition((i % 200) as i32)
                .payload(value),
        )?;
    }
    expect("delivered", finish(&producer)?, (20_000, Vec::new()))?;
    let received = consume(&topic, 200, Offset::Beginning)?;
    let mut per_partition: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
    for record in received {
        per_partition
            .entry(record.partition)
            .or_default()
            .push(record.value.unwrap_or_default());
    }
    expect("partitions", per_partition.len(), 200)?;
    for (partition, got) in per_partition {
        let wanted: Vec<_> = sent
            .iter()
            .skip(partition as usize)
            .step_by(200)
            .cloned()
            .collect();
        expect(&format!("partition {partition}"), got, wanted)?;
    }
    Ok(String::new())
}

fn tail() -> Outcome {
    let topic = new_topic(1)?;
    let consumer = consumer(&topic, 1, Offset::Beginning)?;
    let producer = producer(&[("linger.ms", "0")])?;
    let deadline = Instant::now() + DEADLINE;
    // End of partition: from here on the consumer waits in the broker.
    while !matches!(
        consumer.poll(Duration::from_millis(100)),
        Some(Err(rdkafka::error::KafkaError::PartitionEOF(_)))
    ) {
        if Instant::now() > deadline {
            return Err("the consumer never reached the end".into());
        }
    }
    let mut slowest = Duration::ZERO;
    for i in 0..20 {
        let value = format!("record {i}");
        send(
            &producer,
            BaseRecord::to(&topic)
                .partition(0)
                .payload(value.as_bytes()),
        )?;
        let (_, errors) = finish(&producer)?;
        expect("errors", errors, Vec::new())?;
        let acknowledged = Instant::now();
        loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    expect("value", message.payload(), Some(value.as_bytes()))?;
                    break;
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) | None
                    if Instant::now() < deadline => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err("the record never came".into()),
            }
        }
        slowest = slowest.max(acknowledged.elapsed());
    }
    expect(
        "the slowest of 20 within five seconds of its acknowledgement",
        slowest < Duration::from_secs(5),
        true,
    )?;
    Ok(format!(
        "slowest of 20: {} ms after its acknowledgement",
        slowest.as_millis()
    ))
}

fn auto_create_on() -> Outcome {
    let topic = fresh_name();
    produce(&topic, 0, &[b"made by use".to_vec()], &[])?;
    expect("values", values(&topic)?, vec![b"made by use".to_vec()])?;
    Ok(String::new())
}

fn auto_create_off() -> Outcome {
    control("settings auto.create.topics.enable=false")?;
    let refused = || {
        let topic = fresh_name();
        let producer = producer(&[("topic.metadata.propagation.max.ms", "1000")])?;
        send(&producer, BaseRecord::to(&topic).payload(b"nowhere"))?;
        let (arrived, errors) = finish(&producer)?;
        expect("arrived", arrived, 0)?;
        let known = [
            RDKafkaErrorCode::UnknownTopic,
            RDKafkaErrorCode::UnknownTopicOrPartition,
        ];
        expect(
            &format!("unknown topic ({errors:?})"),
            errors.len() == 1 && known.contains(&errors[0]),
            true,
        )?;
        let client: BaseConsumer = config(&[]).create()?;
        let seen = client.fetch_metadata(None, DEADLINE)?;
        expect(
            "the topic was made",
            seen.topics().iter().any(|t| t.name() == topic),
            false,
        )?;
        Ok(format!("{:?}", errors[0]))
    };
    let outcome = refused();
    control("settings")?;
    outcome
}

/// One long-lived idempotent producer; the broker goes away in the middle of its records.
fn restart(how: &'static str) -> Outcome {
    let (topic, sent) = (new_topic(1)?, numbered(20_000, 0));
    let producer = producer(&[
        ("enable.idempotence", "true"),
        ("linger.ms", "5"),
        ("batch.num.messages", "50"),
        ("reconnect.backoff.max.ms", "200"),
        ("retry.backoff.ms", "50"),
    ])?;
    // The broker goes while records flow, and comes back before it goes again.
    let mut going: Option<JoinHandle<Result<(), String>>> = None;
    for (i, value) in sent.iter().enumerate() {
        if i == 5000 || i == 12_000 {
            come_back(going.take())?;
            going = Some(spawn(move || {
                control(how).map(drop).map_err(|e| e.to_string())
            }));
        }
        send(
            &producer,
            BaseRecord::to(&topic).partition(0).payload(value),
        )?;
        producer.poll(Duration::ZERO);
    }
    come_back(going)?;
    expect("delivered", finish(&producer)?, (sent.len(), Vec::new()))?;
    let got = values(&topic)?;
    let distinct: BTreeSet<&Vec<u8>> = got.iter().collect();
    expect("lost", sent.len() - distinct.len(), 0)?;
    expect("doubled", got.len() - distinct.len(), 0)?;
    expect("in order", got == sent, true)?;
    Ok("two restarts".to_owned())
}

fn come_back(
    going: Option<JoinHandle<Result<(), String>>>,
) -> Result<(), Box<dyn std::error::Error>> {
    match going.map(JoinHandle::join) {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(error))) => Err(error.into()),
        Some(Err(_)) => Err("the thread that restarts the broker panicked".into()),
    }
}
