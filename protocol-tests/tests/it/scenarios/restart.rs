//! A broker that is stopped, and what is there when it comes back.

use std::time::{Duration, Instant};

use protocol_tests::calls::{FETCH, fetch_partition, fetch_request};
use protocol_tests::{Batch, Broker, Codec, Record, codes, now_ms};

/// All that was acknowledged is there after a kill and after a clean stop, at its offset, bytes untouched.
#[test]
fn records_survive_kills_and_stops() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("kept", 5);
    for round in 0..4_i64 {
        let mut client = broker.connect();
        for (partition, codec) in (0..).zip(Codec::ALL) {
            let record = |index| {
                Record::new(format!("{round}/{index}"))
                    .key("k")
                    .header("round", Some("header"))
            };
            let batch = Batch::records((0..20).map(record).collect()).codec(codec);
            assert_eq!(client.produce("kept", partition, batch), round * 20);
        }
        let before: Vec<Vec<Record>> = (0..5)
            .map(|partition| client.read("kept", partition, 0))
            .collect();
        if round % 2 == 0 {
            broker.kill();
        } else {
            assert!(broker.terminate().success());
        }
        broker.restart();
        let mut client = broker.connect();
        for (partition, before) in (0..).zip(&before) {
            assert_eq!(
                &client.read("kept", partition, 0),
                before,
                "partition {partition}, round {round}"
            );
            assert_eq!(client.end_offset("kept", partition), (round + 1) * 20);
            let found = client.list_offset("kept", partition, now_ms() + 1_000);
            assert_eq!((found.error_code, found.offset), (codes::NONE, -1));
        }
    }
}

/// A clean stop does not wait for fetches that wait.
#[test]
fn a_stop_does_not_wait_for_parked_fetches() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("parked", 1);
    let request = fetch_request("parked", vec![fetch_partition(0, 0)]).with_max_wait_ms(60_000);
    let mut waiting: Vec<_> = (0..10).map(|_| broker.connect()).collect();
    let parked: Vec<_> = waiting
        .iter_mut()
        .map(|client| client.send(FETCH, &request))
        .collect();
    let start = Instant::now();
    assert!(broker.terminate().success());
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    for (client, parked) in waiting.iter_mut().zip(parked) {
        // An early answer and a close are both good; hanging is not.
        client.try_receive(parked);
    }
}
