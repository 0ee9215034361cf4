//! Produce (0) of batches that are part of transactions.

use protocol_tests::batch::TRANSACTIONAL;
use protocol_tests::transactions::{END_TXN_RAISING, PRODUCE_ADDING, Transactional};
use protocol_tests::{Batch, Broker, codes, unique, wait_until};

/// 94. A partition that was not added takes no transactional batch.
#[test]
fn a_partition_has_to_be_added_first() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("ptx-not-added");
    client.create_topic(&topic, 2);
    let mut producer = Transactional::new(&mut client);
    for (version, code) in [
        (9, codes::INVALID_TXN_STATE),
        (10, codes::INVALID_TXN_STATE),
        (11, codes::TRANSACTION_ABORTABLE),
    ] {
        let batch = producer.clone().batch(&topic, 0, &["a"]);
        let sent = producer.send(&mut client, version, &topic, 0, &batch);
        assert_eq!(sent, (code, -1), "v{version}, nothing open");
    }
    producer.add(&mut client, &topic, 1);
    let batch = producer.clone().batch(&topic, 0, &["a"]);
    let sent = producer.send(&mut client, 11, &topic, 0, &batch);
    assert_eq!(sent, (codes::TRANSACTION_ABORTABLE, -1));
    producer.write(&mut client, &topic, 1, &["a"]);
    producer.end(&mut client, true);
    wait_until("the marker", || client.end_offset(&topic, 1) == 2);
    let batch = producer.batch(&topic, 1, &["late"]);
    let (code, _) = producer.send(&mut client, 11, &topic, 1, &batch);
    let late = [codes::TRANSACTION_ABORTABLE, codes::NOT_ENOUGH_REPLICAS];
    assert!(late.contains(&code), "{code}");
}

/// 94. A producer with an open transaction writes nothing outside of it.
#[test]
fn nothing_is_written_beside_an_open_transaction() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("ptx-beside");
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    producer.add(&mut client, &topic, 0);
    producer.write(&mut client, &topic, 0, &["a"]);
    let beside = Batch::of(&["b"]).producer(producer.producer_id, producer.epoch, 1);
    let answer = client.try_produce(&topic, 0, &beside);
    assert_eq!(answer.error_code, codes::INVALID_TXN_STATE);
    producer.end(&mut client, true);
}

/// A transactional batch sent again is stored once, and sequences go on over transactions.
#[test]
fn retries_are_recognised_within_transactions() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("ptx-retry");
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    for base in [0, 3] {
        producer.add(&mut client, &topic, 0);
        let batch = producer.batch(&topic, 0, &["a", "b"]);
        for _ in 0..2 {
            let sent = producer.send(&mut client, 11, &topic, 0, &batch);
            assert_eq!(sent, (codes::NONE, base));
        }
        let gap = Batch::of(&["x"]).flags(TRANSACTIONAL).producer(
            producer.producer_id,
            producer.epoch,
            9,
        );
        let (code, _) = producer.send(&mut client, 11, &topic, 0, &gap);
        assert_eq!(code, codes::OUT_OF_ORDER_SEQUENCE_NUMBER);
        producer.end(&mut client, true);
    }
    wait_until("the last marker", || client.end_offset(&topic, 0) == 6);
}

/// Two producers cannot share a request.
#[test]
fn a_request_has_one_producer() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("ptx-two");
    client.create_topic(&topic, 2);
    let producer = Transactional::new(&mut client);
    let batch = |id| {
        Batch::of(&["a"])
            .flags(TRANSACTIONAL)
            .producer(id, producer.epoch, 0)
    };
    let mut request =
        protocol_tests::calls::produce_request(&topic, 0, batch(producer.producer_id))
            .with_transactional_id(Some(protocol_tests::calls::text(&producer.id).into()));
    let other = kafka_protocol::messages::produce_request::PartitionProduceData::default()
        .with_index(1)
        .with_records(Some(batch(producer.producer_id + 1).encode()));
    request.topic_data[0].partition_data.push(other);
    let answer = client.call(11, &request);
    for partition in &answer.responses[0].partition_responses {
        assert_eq!(
            partition.error_code,
            codes::INVALID_PRODUCER_ID_MAPPING,
            "{}",
            partition.index
        );
    }
}

/// Version 12: what is written to joins the transaction, and an old epoch is fenced.
#[test]
fn version_12_adds_partitions_by_writing_to_them() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("ptx-implicit");
    client.create_topic(&topic, 3);
    let mut producer = Transactional::new(&mut client);
    for (round, commit) in [true, false, true].into_iter().enumerate() {
        let stray = producer.batch(&topic, 2, &["stray"]);
        let before = producer.clone();
        for partition in 0..2 {
            let batch = producer.batch(&topic, partition, &[&round.to_string()]);
            let sent = producer.send(&mut client, PRODUCE_ADDING, &topic, partition, &batch);
            assert_eq!(sent.0, codes::NONE, "round {round}");
        }
        let code = producer.try_end(&mut client, END_TXN_RAISING, commit);
        assert_eq!(code, codes::NONE, "round {round}");
        // A batch that comes late is of an epoch that is over.
        let (code, _) = before.send(&mut client, PRODUCE_ADDING, &topic, 2, &stray);
        assert_eq!(code, codes::INVALID_PRODUCER_EPOCH);
    }
    for partition in 0..2 {
        assert_eq!(client.read_committed_text(&topic, partition), ["0", "2"]);
    }
    assert_eq!(client.end_offset(&topic, 2), 0);
}
