//! Idempotent producers: what was sent twice is stored once.

use protocol_tests::calls::PRODUCE;
use protocol_tests::{Batch, Broker, Client, codes, encode, records, unique};

/// A producer of its own on a topic of its own.
struct Producer {
    client: Client,
    topic: String,
    id: i64,
    epoch: i16,
}

impl Producer {
    fn new(broker: &Broker, name: &str) -> Self {
        let mut client = broker.connect();
        let topic = unique(name);
        client.create_topic(&topic, 1);
        let (id, epoch) = client.init_producer();
        Self {
            client,
            topic,
            id,
            epoch,
        }
    }

    fn batch(&self, sequence: i32, count: usize) -> Batch {
        Batch::counted(count).producer(self.id, self.epoch, sequence)
    }

    /// Error code and base offset.
    fn send(&mut self, batch: &Batch) -> (i16, i64) {
        let answer = self.client.try_produce(&self.topic, 0, batch);
        (answer.error_code, answer.base_offset)
    }

    fn end(&mut self) -> i64 {
        self.client.end_offset(&self.topic, 0)
    }
}

const GAP: (i16, i64) = (codes::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);

/// 36. A batch sent again is answered as the first time and stored once.
#[test]
fn a_retry_is_answered_with_the_first_offset() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-retry");
    let batch = producer.batch(0, 5);
    assert_eq!(producer.send(&batch), (codes::NONE, 0));
    assert_eq!(producer.send(&batch), (codes::NONE, 0));
    assert_eq!(producer.end(), 5);
    let stored = producer
        .client
        .try_fetch(&producer.topic, 0, 0)
        .records
        .expect("records");
    let stored = records::batches(stored);
    assert_eq!(stored.len(), 1);
    assert_eq!(
        (stored[0].producer_id, stored[0].producer_epoch),
        (producer.id, producer.epoch)
    );
    assert_eq!(stored[0].base_sequence, 0);
}

/// 36. Also when the answer was lost with its connection, on a new one.
#[test]
fn a_retry_on_another_connection_is_recognised() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-lost-answer");
    let batch = producer.batch(0, 5);
    let mut lost = broker.connect();
    let pending = lost.send_produce(&producer.topic, 0, &batch);
    lost.receive_produce(pending);
    drop(lost);
    assert_eq!(producer.send(&batch), (codes::NONE, 0));
    assert_eq!(producer.end(), 5);
}

/// 36. On a LogAppendTime topic the retry is answered with the first append's time.
#[test]
fn a_retry_is_answered_with_the_first_append_time() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("idempotence-time");
    client.create_topic_with(&topic, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let (id, epoch) = client.init_producer();
    let batch = Batch::counted(2).producer(id, epoch, 0);
    let first = client.try_produce(&topic, 0, &batch);
    let again = client.try_produce(&topic, 0, &batch);
    assert_eq!(again.base_offset, first.base_offset);
    assert_eq!(again.log_append_time_ms, first.log_append_time_ms);
}

/// 37. The last five batches are remembered, no more.
#[test]
fn five_batches_are_remembered() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-five");
    let batches: Vec<Batch> = (0..6).map(|index| producer.batch(index * 2, 2)).collect();
    for (index, batch) in batches[..5].iter().enumerate() {
        assert_eq!(producer.send(batch), (codes::NONE, index as i64 * 2));
    }
    for (index, batch) in batches[..5].iter().enumerate() {
        assert_eq!(
            producer.send(batch),
            (codes::NONE, index as i64 * 2),
            "batch {index} again"
        );
    }
    assert_eq!(producer.send(&batches[5]), (codes::NONE, 10));
    assert_eq!(producer.send(&batches[0]), GAP);
    assert_eq!(producer.send(&batches[1]), (codes::NONE, 2));
    assert_eq!(producer.end(), 12);
}

/// 38. A gap, and a range that overlaps without being equal, are out of order.
#[test]
fn sequences_must_follow_each_other() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-gap");
    assert_eq!(producer.send(&producer.batch(0, 3)), (codes::NONE, 0));
    for (sequence, count) in [(4, 1), (100, 1), (1, 2), (0, 2), (2, 3), (0, 4)] {
        assert_eq!(
            producer.send(&producer.batch(sequence, count)),
            GAP,
            "{count} from {sequence}"
        );
    }
    assert_eq!(producer.send(&producer.batch(3, 1)), (codes::NONE, 3));
    assert_eq!(producer.end(), 4);
}

/// 38. An older epoch is fenced; a newer one starts at sequence 0.
#[test]
fn epochs_fence() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-epoch");
    producer.epoch += 1;
    assert_eq!(producer.send(&producer.batch(0, 3)), (codes::NONE, 0));
    producer.epoch -= 1;
    assert_eq!(
        producer.send(&producer.batch(3, 1)),
        (codes::INVALID_PRODUCER_EPOCH, -1)
    );
    producer.epoch += 2;
    assert_eq!(producer.send(&producer.batch(7, 1)), GAP);
    assert_eq!(producer.send(&producer.batch(0, 1)), (codes::NONE, 3));
    assert_eq!(producer.end(), 4);
}

/// 39. After 2,147,483,647 comes 0.
#[test]
fn sequences_wrap_around() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-wrap");
    assert_eq!(
        producer.send(&producer.batch(i32::MAX - 1, 2)),
        (codes::NONE, 0)
    );
    assert_eq!(producer.send(&producer.batch(0, 2)), (codes::NONE, 2));
    let mut crossing = Producer::new(&broker, "idempotence-wrap-inside");
    let batch = crossing.batch(i32::MAX - 1, 5);
    assert_eq!(crossing.send(&batch), (codes::NONE, 0));
    assert_eq!(crossing.send(&batch), (codes::NONE, 0));
    assert_eq!(crossing.send(&crossing.batch(3, 1)), (codes::NONE, 5));
    assert_eq!(crossing.end(), 6);
}

/// A partition that has never heard of a producer takes whatever sequence it begins with.
#[test]
fn an_unknown_producer_may_begin_anywhere() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-unknown");
    assert_eq!(producer.send(&producer.batch(1000, 2)), (codes::NONE, 0));
    assert_eq!(producer.send(&producer.batch(1002, 1)), (codes::NONE, 2));
    assert_eq!(producer.send(&producer.batch(0, 1)), GAP);
}

/// Producers do not get in each other's way, nor do partitions.
#[test]
fn each_producer_and_partition_counts_for_itself() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("idempotence-apart");
    client.create_topic(&topic, 2);
    let producers = [client.init_producer(), client.init_producer()];
    assert_ne!(producers[0].0, producers[1].0);
    for round in 0..3 {
        for partition in 0..2 {
            for (id, epoch) in producers {
                client.produce(
                    &topic,
                    partition,
                    Batch::counted(1).producer(id, epoch, round),
                );
            }
        }
    }
    assert_eq!(client.end_offset(&topic, 0), 6);
    assert_eq!(client.end_offset(&topic, 1), 6);
}

/// A batch that is refused for another reason leaves the sequence where it was.
#[test]
fn a_refused_batch_does_not_count() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-refused");
    assert_eq!(producer.send(&producer.batch(0, 1)), (codes::NONE, 0));
    let broken = producer.batch(1, 1).last_offset_delta(7);
    assert_eq!(producer.send(&broken), (codes::INVALID_RECORD, -1));
    assert_eq!(producer.send(&producer.batch(1, 1)), (codes::NONE, 1));
}

/// 41. Five batches in flight at once are stored in order, and so are their five retries.
#[test]
fn five_batches_in_flight_are_stored_in_order() {
    let broker = Broker::shared();
    let mut producer = Producer::new(&broker, "idempotence-flight");
    let batches: Vec<Batch> = (0..5).map(|sequence| producer.batch(sequence, 1)).collect();
    for _ in 0..2 {
        let request = |batch| protocol_tests::calls::produce_request(&producer.topic, 0, batch);
        let burst: Vec<u8> = (0..)
            .zip(&batches)
            .flat_map(|(id, batch)| encode(PRODUCE, id, &request(batch)))
            .collect();
        producer.client.send_bytes(&burst);
        for offset in 0..5 {
            let frame = producer.client.next_frame().expect("an answer");
            let (_, answer) =
                protocol_tests::decode::<kafka_protocol::messages::ProduceRequest>(PRODUCE, frame);
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(
                (partition.error_code, partition.base_offset),
                (codes::NONE, offset)
            );
        }
    }
    assert_eq!(producer.end(), 5);
}

/// 40. A retry after kill -9 is still a retry, and the sequence goes on where it was.
#[test]
fn a_retry_after_a_kill_is_recognised() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut producer = Producer::new(&broker, "idempotence-kill");
    for round in 0..5 {
        let batch = producer.batch(round * 3, 3);
        let offset = i64::from(round) * 3;
        assert_eq!(producer.send(&batch), (codes::NONE, offset));
        if round == 3 {
            assert!(broker.terminate().success());
        } else {
            broker.kill();
        }
        broker.restart();
        producer.client = broker.connect();
        assert_eq!(
            producer.send(&batch),
            (codes::NONE, offset),
            "round {round}"
        );
        assert_eq!(producer.end(), offset + 3);
        assert_eq!(producer.send(&producer.batch(round * 3 + 4, 1)), GAP);
    }
}
