//! InitProducerId (22), for producers without a transactional id.

use std::collections::HashSet;

use kafka_protocol::messages::InitProducerIdRequest;
use protocol_tests::{Broker, codes};

fn idempotent() -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1)
}

/// Every version hands out an id with epoch 0.
#[test]
fn every_version_hands_out_an_id() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    client.init_producer();
    let mut seen = HashSet::new();
    for version in 0..=4 {
        let answer = client.call(version, &idempotent());
        assert_eq!(answer.error_code, codes::NONE, "v{version}");
        assert_eq!(answer.producer_epoch, 0, "v{version}");
        assert!(answer.producer_id.0 >= 0, "v{version}");
        assert!(seen.insert(answer.producer_id.0), "v{version}");
    }
}

/// 98. Ids are handed out once, whoever asks.
#[test]
fn ids_are_handed_out_once() {
    let broker = Broker::shared();
    broker.connect().init_producer();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = broker.connect();
            std::thread::spawn(move || {
                let pending: Vec<_> = (0..500).map(|_| client.send(4, &idempotent())).collect();
                let answers = pending.into_iter().map(|pending| client.receive(pending));
                answers
                    .filter(|answer| answer.error_code == codes::NONE)
                    .map(|answer| answer.producer_id.0)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let ids: Vec<i64> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("a client"))
        .collect();
    let distinct: HashSet<i64> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len());
    // Kafka turns some away while it asks its controller for the next block of ids.
    assert!(
        ids.len() == 2_000 || broker.is_kafka(),
        "{} answered",
        ids.len()
    );
}

/// 98. Nor again after a kill.
#[test]
fn ids_are_not_handed_out_again_after_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut seen = HashSet::new();
    for _ in 0..4 {
        let mut client = broker.connect();
        for _ in 0..50 {
            assert!(seen.insert(client.init_producer().0));
        }
        broker.kill();
        broker.restart();
    }
}

/// An empty transactional id is no id at all.
#[test]
fn an_empty_transactional_id_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let request = idempotent().with_transactional_id(Some(protocol_tests::calls::text("").into()));
    assert_eq!(client.call(4, &request).error_code, codes::INVALID_REQUEST);
}

/// Only one of id and epoch makes no sense.
#[test]
fn half_of_id_and_epoch_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    client.init_producer();
    for version in [3, 4] {
        let answer = client.call(version, &idempotent().with_producer_id(5.into()));
        assert_eq!(answer.error_code, codes::INVALID_REQUEST, "v{version}");
        let answer = client.call(version, &idempotent().with_producer_epoch(5));
        assert_eq!(answer.error_code, codes::INVALID_REQUEST, "v{version}");
    }
}
