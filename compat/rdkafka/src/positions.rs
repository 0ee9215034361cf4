//! Scenarios of where a consumer is: seeking, pausing, and topics that change under it.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::admin;
use crate::client::{DEADLINE, consumer, finish, produce, producer, send};
use crate::harness::{Outcome, Scenario, expect, fresh_name, new_topic, wait_for};
use crate::member::Member;
use crate::scenarios::{ORIGIN_MS, lookup};

pub const ALL: &[Scenario] = &[
    ("seek.offset", seek_offset),
    ("seek.time", seek_time),
    ("pause.resume", pause_resume),
    ("topic.recreated", recreated),
];

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn numbers(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| i.to_string().into_bytes()).collect()
}

/// The next record, as partition and value.
fn next(reader: &BaseConsumer, within: Duration) -> Fallible<Option<(i32, String)>> {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
                return Ok(Some((message.partition(), text.into_owned())));
            }
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Reads on until all those came, in that order. What was on its way before a seek does not count.
fn until(reader: &BaseConsumer, wanted: &[&str]) -> Fallible<()> {
    for one in wanted {
        while next(reader, DEADLINE)?
            .ok_or(format!("{one} did not come"))?
            .1
            != *one
        {}
    }
    Ok(())
}

fn seek_offset() -> Outcome {
    let topic = new_topic(1)?;
    produce(&topic, 0, &numbers(100), &[])?;
    let reader = consumer(&topic, 1, Offset::Beginning)?;
    until(&reader, &["99"])?;
    reader.seek(&topic, 0, Offset::Offset(40), DEADLINE)?;
    until(&reader, &["40", "99"])?;
    reader.seek(&topic, 0, Offset::Beginning, DEADLINE)?;
    until(&reader, &["0"])?;
    reader.seek(&topic, 0, Offset::End, DEADLINE)?;
    while next(&reader, Duration::from_secs(1))?.is_some() {}
    produce(&topic, 0, &[b"new".to_vec()], &[])?;
    until(&reader, &["new"])?;
    Ok(String::new())
}

fn seek_time() -> Outcome {
    let topic = new_topic(1)?;
    let sender = producer(&[])?;
    for i in 0..10 {
        let value = i.to_string();
        let record = BaseRecord::to(&topic)
            .partition(0)
            .payload(value.as_bytes())
            .timestamp(*ORIGIN_MS + 1000 * i);
        send(&sender, record)?;
    }
    expect("delivered", finish(&sender)?, (10, Vec::new()))?;
    let reader = consumer(&topic, 1, Offset::Beginning)?;
    until(&reader, &["9"])?;
    reader.seek(&topic, 0, lookup(&topic, *ORIGIN_MS + 6500)?, DEADLINE)?;
    let mut got = Vec::new();
    while got.len() < 3 {
        got.push(next(&reader, DEADLINE)?.ok_or("too few records")?.1);
    }
    expect("values", got, ["7", "8", "9"].map(String::from).to_vec())?;
    Ok(String::new())
}

fn pause_resume() -> Outcome {
    let topic = new_topic(2)?;
    let reader = consumer(&topic, 2, Offset::Beginning)?;
    let mut got = [Vec::new(), Vec::new()];
    let more = |got: &mut [Vec<String>; 2]| -> Fallible<()> {
        if let Some((partition, value)) = next(&reader, Duration::from_millis(200))? {
            got[partition as usize].push(value);
        }
        Ok(())
    };
    for partition in [0, 1] {
        produce(&topic, partition, &[b"first".to_vec()], &[])?;
    }
    wait_for("the first records", || {
        more(&mut got)?;
        Ok(got.iter().all(|side| !side.is_empty()))
    })?;
    let mut first = TopicPartitionList::new();
    first.add_partition(&topic, 0);
    reader.pause(&first)?;
    for partition in [0, 1] {
        produce(&topic, partition, &numbers(20), &[])?;
    }
    wait_for("the records of the other partition", || {
        more(&mut got)?;
        Ok(got[1].len() == 21)
    })?;
    expect(
        "of the paused partition",
        got[0].clone(),
        vec!["first".to_owned()],
    )?;
    reader.resume(&first)?;
    wait_for("the records of the resumed partition", || {
        more(&mut got)?;
        Ok(got[0].len() == 21)
    })?;
    expect("each once, in order", got[0].clone(), got[1].clone())?;
    let wanted = std::iter::once("first".to_owned()).chain((0..20).map(|i| i.to_string()));
    expect("values", got[0].clone(), wanted.collect())?;
    Ok(String::new())
}

fn recreated() -> Outcome {
    let topic = new_topic(1)?;
    let settings = [("topic.metadata.refresh.interval.ms", "1000")];
    let member = Member::join(&fresh_name(), &topic, &settings)?;
    let came = |value: &str| member.log().records.iter().any(|(_, one)| one == value);
    produce(&topic, 0, &[b"old".to_vec()], &[])?;
    wait_for("the old record", || Ok(came("old")))?;
    admin::remove(&topic)?;
    // By us, or by the consumer's own question for it.
    wait_for("the topic's return", || {
        Ok(match admin::create(&topic, 1, 1, &[]) {
            Ok(()) => true,
            Err(error) => error.to_string().contains("xist"),
        })
    })?;
    wait_for("a new record", || {
        produce(&topic, 0, &[b"new".to_vec()], &[])?;
        std::thread::sleep(Duration::from_millis(200));
        Ok(came("new"))
    })?;
    Ok(String::new())
}
