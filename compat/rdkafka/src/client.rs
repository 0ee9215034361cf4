//! A producer that remembers every delivery report, and a consumer that reads to the end.

use std::error::Error;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::harness::bootstrap;

/// How long anything may take before the scenario fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Delivery reports: how many succeeded, and the errors of those that did not.
#[derive(Default)]
pub struct Deliveries {
    seen: Mutex<(usize, Vec<RDKafkaErrorCode>)>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut seen = self.seen.lock().expect("no panic under this lock");
        match result {
            Ok(_) => seen.0 += 1,
            Err((error, _)) => seen.1.push(
                error
                    .rdkafka_error_code()
                    .unwrap_or(RDKafkaErrorCode::Unknown),
            ),
        }
    }
}

/// A client configuration with the broker's address and these settings.
pub fn config(settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// A producer; see [`send`] and [`finish`].
pub fn producer(settings: &[(&str, &str)]) -> Result<BaseProducer<Deliveries>, KafkaError> {
    config(settings).create_with_context(Deliveries::default())
}

/// Queues one record, waiting while the queue is full.
pub fn send(
    producer: &BaseProducer<Deliveries>,
    mut record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                if Instant::now() < deadline =>
            {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Waits for every report; answers how many records arrived and the errors of the others.
pub fn finish(
    producer: &BaseProducer<Deliveries>,
) -> Result<(usize, Vec<RDKafkaErrorCode>), Box<dyn Error>> {
    producer.flush(DEADLINE)?;
    Ok(producer
        .context()
        .seen
        .lock()
        .expect("no panic under this lock")
        .clone())
}

/// Sends all values to one partition and insists that each arrives.
pub fn produce(
    topic: &str,
    partition: i32,
    values: &[Vec<u8>],
    settings: &[(&str, &str)],
) -> Result<(), Box<dyn Error>> {
    let producer = producer(settings)?;
    for value in values {
        send(
            &producer,
            BaseRecord::to(topic).partition(partition).payload(value),
        )?;
    }
    let (arrived, errors) = finish(&producer)?;
    if arrived != values.len() {
        return Err(format!("{arrived} of {} arrived, errors: {errors:?}", values.len()).into());
    }
    Ok(())
}

/// One consumed record.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Received {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        }
    }
}

/// A consumer assigned to all given partitions at one offset. The group is never joined: librdkafka
/// only wants a name.
pub fn consumer(
    topic: &str,
    partitions: i32,
    from: Offset,
) -> Result<BaseConsumer, Box<dyn Error>> {
    let settings = [
        ("group.id", "compat"),
        ("enable.auto.commit", "false"),
        ("enable.partition.eof", "true"),
    ];
    let consumer: BaseConsumer = config(&settings).create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, from)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// Everything from an offset to the end of each partition, in the order in which it came.
pub fn consume(
    topic: &str,
    partitions: i32,
    from: Offset,
) -> Result<Vec<Received>, Box<dyn Error>> {
    let consumer = consumer(topic, partitions, from)?;
    let deadline = Instant::now() + DEADLINE;
    let (mut received, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => received.push(Received::of(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
            None if Instant::now() > deadline => {
                return Err(format!("{ended} of {partitions} partitions ended").into());
            }
            None => {}
        }
    }
    Ok(received)
}

/// The values of partition 0, all of which must be there.
pub fn values(topic: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    Ok(consume(topic, 1, Offset::Beginning)?
        .into_iter()
        .map(|record| record.value.unwrap_or_default())
        .collect())
}
