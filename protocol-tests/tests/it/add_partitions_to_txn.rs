//! AddPartitionsToTxn (24).

use kafka_protocol::messages::AddPartitionsToTxnRequest;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use protocol_tests::calls::{text, topic_name};
use protocol_tests::transactions::Transactional;
use protocol_tests::{Broker, codes, unique};

/// Every version that clients send adds partitions, also ones that are there already.
#[test]
fn every_version_adds_partitions() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("add-versions");
    client.create_topic(&topic, 3);
    let mut producer = Transactional::new(&mut client);
    for version in 0..=3 {
        let codes = producer.add_once(&mut client, version, &topic, &[0, 1, 2]);
        assert_eq!(codes, [codes::NONE; 3], "v{version}");
    }
    for partition in 0..3 {
        producer.write(&mut client, &topic, partition, &["a"]);
    }
    producer.end(&mut client, true);
}

/// 93. One partition that does not exist: its error, 55 for the others, and none is added.
#[test]
fn one_missing_partition_adds_none() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("add-missing");
    client.create_topic(&topic, 2);
    let mut producer = Transactional::new(&mut client);
    assert_eq!(
        producer.try_add(&mut client, &topic, &[0, 9, 1]),
        [
            codes::OPERATION_NOT_ATTEMPTED,
            codes::UNKNOWN_TOPIC_OR_PARTITION,
            codes::OPERATION_NOT_ATTEMPTED
        ]
    );
    assert_eq!(
        producer.try_add(&mut client, &unique("add-nothing"), &[0]),
        [codes::UNKNOWN_TOPIC_OR_PARTITION]
    );
    let batch = producer.batch(&topic, 0, &["a"]);
    let (code, _) = producer.send(&mut client, 9, &topic, 0, &batch);
    assert_eq!(code, codes::INVALID_TXN_STATE);
}

/// Only the producer of the transactional id, in its epoch.
#[test]
fn others_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("add-others");
    client.create_topic(&topic, 1);
    let producer = Transactional::new(&mut client);
    let mut other = producer.clone();
    other.producer_id += 1;
    assert_eq!(
        other.try_add(&mut client, &topic, &[0]),
        [codes::INVALID_PRODUCER_ID_MAPPING]
    );
    other = producer.clone();
    other.id = unique("add-nobody");
    assert_eq!(
        other.try_add(&mut client, &topic, &[0]),
        [codes::INVALID_PRODUCER_ID_MAPPING]
    );
    other.id = String::new();
    assert_eq!(
        other.try_add(&mut client, &topic, &[0]),
        [codes::INVALID_REQUEST]
    );
    for epoch in [-1, 1] {
        other = producer.clone();
        other.epoch += epoch;
        assert_eq!(
            other.try_add(&mut client, &topic, &[0]),
            [codes::PRODUCER_FENCED]
        );
        let codes = other.add_once(&mut client, 1, &topic, &[0]);
        assert_eq!(codes, [codes::INVALID_PRODUCER_EPOCH]);
    }
}

/// From version 4 on: many transactions, and asking without adding.
#[test]
fn many_transactions_and_only_asking() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("add-batched");
    client.create_topic(&topic, 2);
    let producers = [
        Transactional::new(&mut client),
        Transactional::new(&mut client),
    ];
    producers[0].add(&mut client, &topic, 0);
    producers[1].add(&mut client, &topic, 0);
    for (version, missing) in [
        (4, [codes::INVALID_TXN_STATE, codes::TRANSACTION_ABORTABLE]),
        (5, [codes::TRANSACTION_ABORTABLE; 2]),
    ] {
        let transactions = producers.iter().map(|producer| {
            let topic = AddPartitionsToTxnTopic::default()
                .with_name(topic_name(&topic))
                .with_partitions(vec![0, 1]);
            AddPartitionsToTxnTransaction::default()
                .with_transactional_id(text(&producer.id).into())
                .with_producer_id(producer.producer_id.into())
                .with_producer_epoch(producer.epoch)
                .with_verify_only(true)
                .with_topics(vec![topic])
        });
        let request =
            AddPartitionsToTxnRequest::default().with_transactions(transactions.collect());
        let answer = client.call(version, &request);
        assert_eq!(answer.error_code, codes::NONE);
        assert_eq!(answer.results_by_transaction.len(), 2);
        for result in answer.results_by_transaction {
            let mut partitions = result.topic_results[0].results_by_partition.clone();
            partitions.sort_by_key(|partition| partition.partition_index);
            assert_eq!(partitions[0].partition_error_code, codes::NONE);
            let code = partitions[1].partition_error_code;
            assert!(missing.contains(&code), "v{version}: {code}");
        }
    }
}
