//! EndTxn (26).

use kafka_protocol::messages::CreatePartitionsRequest;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol_tests::calls::topic_name;
use protocol_tests::transactions::{END_TXN_RAISING, Transactional, init, init_request};
use protocol_tests::{Broker, Client, codes, unique, wait_until};

fn open(client: &mut Client, topic: &str) -> Transactional {
    client.create_topic(topic, 1);
    let mut producer = Transactional::new(client);
    producer.add(client, topic, 0);
    producer.write(client, topic, 0, &["a"]);
    producer
}

/// 92. An end may be asked for twice, the other end may not.
#[test]
fn an_end_can_be_repeated_and_not_changed() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for commit in [true, false] {
        let mut producer = open(&mut client, &unique("end-twice"));
        for version in 0..=4 {
            let code = producer.try_end(&mut client, version, commit);
            assert_eq!(code, codes::NONE, "v{version}");
        }
        assert_eq!(
            producer.try_end(&mut client, 4, !commit),
            codes::INVALID_TXN_STATE
        );
    }
}

/// 92. Only the producer of the transactional id, in its epoch.
#[test]
fn others_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let producer = open(&mut client, &unique("end-others"));
    let mut other = producer.clone();
    other.epoch += 1;
    for (version, code) in [
        (1, codes::INVALID_PRODUCER_EPOCH),
        (2, codes::PRODUCER_FENCED),
        (4, codes::PRODUCER_FENCED),
    ] {
        assert_eq!(other.end_once(&mut client, version, false), code);
    }
    other = producer.clone();
    other.producer_id += 1;
    assert_eq!(
        other.end_once(&mut client, 4, false),
        codes::INVALID_PRODUCER_ID_MAPPING
    );
    other.id = String::new();
    assert_eq!(
        other.end_once(&mut client, 4, false),
        codes::INVALID_REQUEST
    );
}

/// Where nothing was begun nothing can end.
#[test]
fn an_empty_transaction_has_no_end() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let mut producer = Transactional::new(&mut client);
    for commit in [true, false] {
        let code = producer.try_end(&mut client, 4, commit);
        assert_eq!(code, codes::INVALID_TXN_STATE);
    }
    let code = producer.try_end(&mut client, END_TXN_RAISING, true);
    assert_eq!(code, codes::INVALID_TXN_STATE);
}

/// Version 5: the epoch rises with every end, and the old one gets the same answer again.
#[test]
fn every_end_raises_the_epoch_at_version_5() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("end-raise");
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    for (commit, value) in [(true, "a"), (false, "b"), (true, "c")] {
        producer.add(&mut client, &topic, 0);
        producer.write(&mut client, &topic, 0, &[value]);
        let mut retry = producer.clone();
        let before = producer.epoch;
        let code = producer.try_end(&mut client, END_TXN_RAISING, commit);
        assert_eq!(code, codes::NONE);
        assert_eq!(producer.epoch, before + 1);
        let mut other = retry.clone();
        let code = other.try_end(&mut client, END_TXN_RAISING, !commit);
        assert_eq!(code, codes::INVALID_TXN_STATE);
        let code = retry.try_end(&mut client, END_TXN_RAISING, commit);
        assert_eq!(code, codes::NONE);
        assert_eq!(
            (retry.producer_id, retry.epoch),
            (producer.producer_id, producer.epoch)
        );
    }
    assert_eq!(client.read_committed_text(&topic, 0), ["a", "c"]);
}

/// Version 5: an abort of nothing raises the epoch, a commit of nothing is refused.
#[test]
fn an_abort_of_nothing_raises_the_epoch_at_version_5() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let mut producer = Transactional::new(&mut client);
    let mut old = producer.clone();
    let code = producer.try_end(&mut client, END_TXN_RAISING, false);
    assert_eq!(code, codes::NONE);
    assert_eq!(producer.epoch, old.epoch + 1);
    let code = old.try_end(&mut client, END_TXN_RAISING, false);
    assert_eq!(code, codes::NONE, "a retry");
    assert_eq!(producer.epoch, old.epoch);
    let code = producer.try_end(&mut client, END_TXN_RAISING, true);
    assert_eq!(code, codes::INVALID_TXN_STATE);
}

/// 91. A transaction that is open for longer than its timeout is aborted, and its producer fenced.
#[test]
fn a_transaction_times_out() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("end-timeout");
    client.create_topic(&topic, 1);
    let mut producer = Transactional::with_id(&mut client, &unique("txn"), 500);
    producer.add(&mut client, &topic, 0);
    producer.write(&mut client, &topic, 0, &["a"]);
    assert_eq!(client.fetch_committed(&topic, 0, 0).last_stable, 0);
    wait_until("the transaction to be aborted", || {
        client.fetch_committed(&topic, 0, 0).last_stable == 2
    });
    assert_eq!(client.read_committed_text(&topic, 0), [""; 0]);
    assert_eq!(
        producer.try_end(&mut client, 4, true),
        codes::PRODUCER_FENCED
    );
    let late = producer.batch(&topic, 0, &["late"]);
    let (code, _) = producer.send(&mut client, 11, &topic, 0, &late);
    assert_eq!(code, codes::INVALID_PRODUCER_EPOCH);
}

/// 91. Also when the broker was killed in between.
#[test]
fn a_transaction_times_out_after_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("t", 1);
    let mut producer = Transactional::with_id(&mut client, "id", 500);
    producer.add(&mut client, "t", 0);
    producer.write(&mut client, "t", 0, &["a"]);
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    wait_until("the transaction to be aborted", || {
        client.fetch_committed("t", 0, 0).last_stable == 2
    });
    assert_eq!(
        producer.try_end(&mut client, 4, true),
        codes::PRODUCER_FENCED
    );
}

/// A topic that is deleted while a transaction writes to it holds up nobody, and the next topic of the
/// name gets no marker.
#[test]
fn a_deleted_topic_does_not_hold_the_end_up() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (gone, kept) = (unique("end-deleted"), unique("end-kept"));
    let mut producer = open(&mut client, &gone);
    client.create_topic(&kept, 1);
    producer.add(&mut client, &kept, 0);
    producer.write(&mut client, &kept, 0, &["b"]);
    client.delete_topic(&gone);
    if !broker.is_kafka() {
        client.create_topic(&gone, 1);
    }
    producer.end(&mut client, true);
    wait_until("the commit to be seen", || {
        client.read_committed_text(&kept, 0) == ["b"]
    });
    if !broker.is_kafka() {
        assert_eq!(client.end_offset(&gone, 0), 0);
    }
    let again = init(&mut client, 4, &init_request(&producer.id, 60_000, None));
    assert_eq!(again.error_code, codes::NONE);
}

/// Partitions that a topic gets while a transaction is open can be part of it, and end with it.
#[test]
fn partitions_that_come_during_a_transaction_end_with_it() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for commit in [true, false] {
        let topic = unique("txn-grows");
        client.create_topic(&topic, 1);
        let mut own = Transactional::new(&mut client);
        own.add(&mut client, &topic, 0);
        own.write(&mut client, &topic, 0, &["old"]);
        assert_eq!(
            own.try_add(&mut client, &topic, &[1]),
            [codes::UNKNOWN_TOPIC_OR_PARTITION]
        );
        let grown = CreatePartitionsTopic::default()
            .with_name(topic_name(&topic))
            .with_count(3)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_timeout_ms(10_000)
            .with_topics(vec![grown]);
        assert_eq!(client.call(3, &request).results[0].error_code, codes::NONE);
        client.wait_for_leaders(&topic, 3);
        own.add(&mut client, &topic, 2);
        own.write(&mut client, &topic, 2, &["new"]);
        // Nobody sees any of it before the end.
        for partition in [0, 2] {
            assert_eq!(client.read_committed_text(&topic, partition), [""; 0]);
        }
        own.end(&mut client, commit);
        // Kafka answers before the markers are written.
        wait_until("a record and a marker in each", || {
            [0, 2].map(|partition| client.end_offset(&topic, partition)) == [2, 2]
        });
        for (partition, value) in [(0, "old"), (2, "new")] {
            let seen = client.read_committed_text(&topic, partition);
            let expected: &[&str] = if commit { &[value] } else { &[] };
            assert_eq!(seen, expected, "partition {partition}, commit: {commit}");
        }
        assert_eq!(
            client.end_offset(&topic, 1),
            0,
            "no marker where nothing was written"
        );
    }
}
