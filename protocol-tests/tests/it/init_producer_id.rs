//! InitProducerId (22), for producers without a transactional id and for those with one.

use std::collections::HashSet;

use kafka_protocol::messages::InitProducerIdRequest;
use protocol_tests::transactions::{Transactional, init, init_request};
use protocol_tests::{Broker, codes, unique, wait_until};

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
    for version in 0..=5 {
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

/// A transactional id has one producer; who asks again gets the next epoch.
#[test]
fn each_start_with_a_transactional_id_is_a_new_epoch() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let id = unique("init");
    let first = Transactional::with_id(&mut client, &id, 60_000);
    assert_eq!(first.epoch, 0);
    for version in 0..=5 {
        let answer = init(&mut client, version, &init_request(&id, 60_000, None));
        assert_eq!(answer.error_code, codes::NONE, "v{version}");
        assert_eq!(answer.producer_id.0, first.producer_id, "v{version}");
        assert_eq!(answer.producer_epoch, version + 1, "v{version}");
    }
}

/// 97. A producer that names itself goes on; a repeated request changes nothing; a stale one is fenced.
#[test]
fn a_producer_may_raise_its_own_epoch_once() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let producer = Transactional::new(&mut client);
    let own = |epoch| init_request(&producer.id, 60_000, Some((producer.producer_id, epoch)));
    for _ in 0..2 {
        let answer = init(&mut client, 4, &own(0));
        assert_eq!(answer.error_code, codes::NONE);
        assert_eq!(
            (answer.producer_id.0, answer.producer_epoch),
            (producer.producer_id, 1)
        );
    }
    assert_eq!(init(&mut client, 4, &own(1)).producer_epoch, 2);
    assert_eq!(
        init(&mut client, 4, &own(0)).error_code,
        codes::PRODUCER_FENCED
    );
    assert_eq!(
        init(&mut client, 3, &own(0)).error_code,
        codes::INVALID_PRODUCER_EPOCH
    );
    let other = init_request(&producer.id, 60_000, Some((producer.producer_id + 1, 2)));
    assert_eq!(
        init(&mut client, 4, &other).error_code,
        codes::PRODUCER_FENCED
    );
    // A newer start without a name: what the last one was called is worth nothing now.
    Transactional::with_id(&mut client, &producer.id, 60_000);
    assert_eq!(
        init(&mut client, 4, &own(2)).error_code,
        codes::PRODUCER_FENCED
    );
}

/// 97. Timeouts are positive, and not longer than the broker allows.
#[test]
fn impossible_timeouts_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let id = unique("init-timeout");
    for timeout_ms in [0, -1, 900_001] {
        let answer = init(&mut client, 4, &init_request(&id, timeout_ms, None));
        assert_eq!(answer.error_code, codes::INVALID_TRANSACTION_TIMEOUT);
    }
    let answer = init(&mut client, 4, &init_request(&id, 900_000, None));
    assert_eq!(answer.error_code, codes::NONE);
}

/// 90. A second producer with the same transactional id fences the first and aborts its transaction.
#[test]
fn a_new_producer_takes_over() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("init-takeover");
    client.create_topic(&topic, 1);
    let mut first = Transactional::new(&mut client);
    first.add(&mut client, &topic, 0);
    first.write(&mut client, &topic, 0, &["lost"]);
    let mut second = Transactional::with_id(&mut client, &first.id, 60_000);
    assert_eq!(second.producer_id, first.producer_id);
    assert!(second.epoch > first.epoch);
    assert_eq!(
        first.try_add(&mut client, &topic, &[0]),
        [codes::PRODUCER_FENCED]
    );
    assert_eq!(first.try_end(&mut client, 4, true), codes::PRODUCER_FENCED);
    assert_eq!(
        first.try_end(&mut client, 1, true),
        codes::INVALID_PRODUCER_EPOCH
    );
    let late = first.batch(&topic, 0, &["late"]);
    let (code, _) = first.send(&mut client, 11, &topic, 0, &late);
    assert_eq!(code, codes::INVALID_PRODUCER_EPOCH);
    second.add(&mut client, &topic, 0);
    second.write(&mut client, &topic, 0, &["kept"]);
    second.end(&mut client, true);
    wait_until("the end to be seen", || {
        client.read_committed_text(&topic, 0) == ["kept"]
    });
    assert_eq!(
        client.read(&topic, 0, 0).len(),
        4,
        "two records and two markers"
    );
}

/// 98. Also a transactional id's producer survives a kill, and so does its fence.
#[test]
fn a_transactional_id_survives_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut first = Transactional::with_id(&mut broker.connect(), "t", 60_000);
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    let second = Transactional::with_id(&mut client, "t", 60_000);
    assert_eq!(second.producer_id, first.producer_id);
    assert_eq!(second.epoch, first.epoch + 1);
    assert_eq!(first.try_end(&mut client, 4, false), codes::PRODUCER_FENCED);
}
