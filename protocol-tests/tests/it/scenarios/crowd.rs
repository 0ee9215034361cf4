//! Many clients at once.

use std::collections::HashSet;

use protocol_tests::{Batch, Broker, unique};

/// Offsets have no hole and no double, and each client's records stay in its order.
#[test]
fn many_producers_share_partitions_without_a_hole() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("crowd");
    client.create_topic(&topic, 3);
    const CLIENTS: usize = 24;
    const BATCHES: usize = 60;
    let threads: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (mut client, topic) = (broker.connect(), topic.clone());
            std::thread::spawn(move || {
                let partition = (number % 3) as i32;
                let pending: Vec<_> = (0..BATCHES)
                    .map(|index| {
                        let values = [format!("{number} {index} a"), format!("{number} {index} b")];
                        client.send_produce(&topic, partition, Batch::of(&values))
                    })
                    .collect();
                let answers = pending
                    .into_iter()
                    .map(|pending| client.receive_produce(pending));
                answers
                    .map(|answer| (partition, answer.base_offset))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let offsets: Vec<(i32, i64)> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("a client"))
        .collect();
    let distinct: HashSet<_> = offsets.iter().collect();
    assert_eq!(distinct.len(), CLIENTS * BATCHES);
    for partition in 0..3 {
        let read = client.read(&topic, partition, 0);
        assert_eq!(read.len(), CLIENTS * BATCHES * 2 / 3);
        assert!(
            (0..)
                .zip(&read)
                .all(|(offset, record)| record.offset == offset)
        );
        let mut next = [0; CLIENTS];
        for pair in read.chunks(2) {
            let words: Vec<&str> = pair[0].text().split(' ').collect();
            let number: usize = words[0].parse().expect("a client's number");
            assert_eq!(pair[0].text(), format!("{number} {} a", next[number]));
            assert_eq!(pair[1].text(), format!("{number} {} b", next[number]));
            next[number] += 1;
        }
    }
}

/// A consumer that follows sees every record once, in order, while producers write.
#[test]
fn a_following_consumer_sees_each_record_once() {
    let broker = Broker::shared();
    let mut consumer = broker.connect();
    let topic = unique("crowd-follow");
    consumer.create_topic(&topic, 1);
    let writer = {
        let (mut client, topic) = (broker.connect(), topic.clone());
        std::thread::spawn(move || {
            for index in 0..300 {
                client.produce(&topic, 0, Batch::of(&[index.to_string()]));
            }
        })
    };
    let mut seen = Vec::new();
    while seen.len() < 300 {
        let partition = protocol_tests::calls::fetch_partition(0, seen.len() as i64);
        let request =
            protocol_tests::calls::fetch_request(&topic, vec![partition]).with_max_wait_ms(5_000);
        let fetched = consumer.fetch_one(protocol_tests::calls::FETCH, &request);
        let from = seen.len() as i64;
        let records = protocol_tests::records::records(fetched.records.expect("records"));
        seen.extend(records.into_iter().filter(|record| record.offset >= from));
    }
    writer.join().expect("the producer");
    for (index, record) in seen.iter().enumerate() {
        assert_eq!(
            (record.offset, record.text()),
            (index as i64, &*index.to_string())
        );
    }
}
