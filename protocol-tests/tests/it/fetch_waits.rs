//! Fetch (1): how long it waits, and what wakes it.

use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_response::PartitionData;
use protocol_tests::calls::{FETCH, fetch_partition, fetch_request};
use protocol_tests::{Batch, Broker, Client, codes, unique};

fn bytes_of(fetched: &PartitionData) -> usize {
    let records = fetched.records.as_ref();
    records.expect("records are never null").len()
}

/// 47. At the end of the log the fetch waits for its time and comes back empty, not null.
#[test]
fn a_fetch_at_the_end_waits_and_returns_nothing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-end");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(3));
    let request = fetch_request(&topic, vec![fetch_partition(0, 3)]).with_max_wait_ms(300);
    for version in [4, 11, 12] {
        let start = Instant::now();
        let fetched = client.fetch_one(version, &request);
        let waited = start.elapsed();
        assert_eq!(fetched.error_code, codes::NONE);
        assert_eq!(bytes_of(&fetched), 0);
        assert_eq!(fetched.high_watermark, 3);
        assert!(waited >= Duration::from_millis(290), "only {waited:?}");
        assert!(waited < Duration::from_secs(3), "{waited:?}");
    }
}

/// 47. A fetch that may not wait does not.
#[test]
fn a_fetch_without_a_wait_returns_at_once() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-now");
    client.create_topic(&topic, 1);
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(bytes_of(&client.try_fetch(&topic, 0, 0)), 0);
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

/// 48. A parked fetch is woken by an append, long before its time is up.
#[test]
fn an_append_wakes_a_parked_fetch() {
    let broker = Broker::shared();
    let (mut consumer, mut producer) = (broker.connect(), broker.connect());
    let topic = unique("fetch-wake");
    producer.create_topic(&topic, 2);
    for (partition, from) in [(1, [0, 0]), (0, [0, 1])] {
        let partitions = vec![fetch_partition(0, from[0]), fetch_partition(1, from[1])];
        let request = fetch_request(&topic, partitions).with_max_wait_ms(15_000);
        let start = Instant::now();
        let parked = consumer.send(FETCH, &request);
        consumer.assert_silent(Duration::from_millis(100));
        producer.produce(&topic, partition, Batch::of(&["wake up"]));
        let answer = consumer.receive(parked);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        let found: usize = answer.responses[0].partitions.iter().map(bytes_of).sum();
        assert!(found > 0);
    }
}

/// 48. min_bytes is waited for: one small batch is not enough.
#[test]
fn a_fetch_waits_for_min_bytes() {
    let broker = Broker::shared();
    let (mut consumer, mut producer) = (broker.connect(), broker.connect());
    let topic = unique("fetch-min");
    producer.create_topic(&topic, 1);
    let request = fetch_request(&topic, vec![fetch_partition(0, 0)])
        .with_max_wait_ms(15_000)
        .with_min_bytes(10_000);
    let start = Instant::now();
    let parked = consumer.send(FETCH, &request);
    producer.produce(&topic, 0, Batch::sized(1_000));
    consumer.assert_silent(Duration::from_millis(300));
    producer.produce(&topic, 0, Batch::sized(9_000));
    let answer = consumer.receive(parked);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(bytes_of(&answer.responses[0].partitions[0]), 10_000);
}

/// 48. Waiting costs no CPU, however many wait.
#[test]
fn parked_fetches_use_no_cpu() {
    let Some(broker) = Broker::in_memory(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("parked", 10);
    let partitions = (0..10)
        .map(|partition| fetch_partition(partition, 0))
        .collect();
    let request = fetch_request("parked", partitions).with_max_wait_ms(2_000);
    let mut waiting: Vec<Client> = (0..50).map(|_| broker.connect()).collect();
    let parked: Vec<_> = waiting
        .iter_mut()
        .map(|client| client.send(FETCH, &request))
        .collect();
    // All of them have been read once this later one is answered.
    client.metadata(&[]);
    let before = broker.cpu_ticks();
    for (client, parked) in waiting.iter_mut().zip(parked) {
        client.receive(parked);
    }
    let used = broker.cpu_ticks() - before;
    assert!(
        used < 40,
        "50 waits of 2 s took {used} hundredths of a second of CPU"
    );
}

/// 58. When a topic goes, those who wait for it are told at once.
#[test]
fn deleting_a_topic_wakes_its_fetches() {
    let broker = Broker::shared();
    let (mut consumer, mut admin) = (broker.connect(), broker.connect());
    let topic = unique("fetch-deleted");
    admin.create_topic(&topic, 1);
    let request = fetch_request(&topic, vec![fetch_partition(0, 0)]).with_max_wait_ms(15_000);
    let start = Instant::now();
    let parked = consumer.send(FETCH, &request);
    consumer.assert_silent(Duration::from_millis(100));
    admin.delete_topic(&topic);
    let answer = consumer.receive(parked);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(code, codes::UNKNOWN_TOPIC_OR_PARTITION);
}

/// A fetch of no partitions is answered at once.
#[test]
fn a_fetch_of_nothing_is_answered_at_once() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let start = Instant::now();
    let request = FetchRequest::default()
        .with_max_wait_ms(15_000)
        .with_min_bytes(1)
        .with_session_epoch(-1);
    let answer = client.call(FETCH, &request);
    assert_eq!(answer.error_code, codes::NONE);
    assert!(answer.responses.is_empty());
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// A client that goes away while it waits leaves nothing behind that harms.
#[test]
fn a_client_may_leave_while_it_waits() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-leave");
    client.create_topic(&topic, 1);
    let request = fetch_request(&topic, vec![fetch_partition(0, 0)]).with_max_wait_ms(15_000);
    for _ in 0..50 {
        let _never_read = broker.connect().send(FETCH, &request);
    }
    assert_eq!(client.produce(&topic, 0, Batch::counted(1)), 0);
    assert_eq!(client.read_text(&topic, 0), ["0"]);
}
