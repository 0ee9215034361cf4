//! A full disk (41, 42): producers get a retriable error, consumers are served, nothing acknowledged is
//! lost, and when there is room again the broker goes on without a restart.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use protocol_tests::{Batch, Broker, Client, Pending, codes, wait_for};

use kafka_protocol::messages::ProduceRequest;

const TOPIC: &str = "full";

fn value(offset: i64) -> Vec<u8> {
    format!("{offset} ")
        .into_bytes()
        .into_iter()
        .cycle()
        .take(100_000)
        .collect()
}

/// The record that an idempotent producer sends as its n-th, at offset n.
fn send(client: &mut Client, (id, epoch): (i64, i16), n: i64) -> Pending<ProduceRequest> {
    client.send_produce(
        TOPIC,
        0,
        Batch::of(&[value(n)]).producer(id, epoch, n as i32),
    )
}

fn receive(client: &mut Client, pending: Pending<ProduceRequest>) -> (i16, i64) {
    let answer = client.receive_produce(pending);
    (answer.error_code, answer.base_offset)
}

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut ballast = File::create(path).expect("a file on the broker's disk");
    let block = [0; 4096];
    loop {
        match ballast.write(&block) {
            Ok(written) if written > 0 => {}
            Ok(_) => return,
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("filling the disk: {error}"),
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    let Some(broker) = Broker::on_small_disk(64, &[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic(TOPIC, 1);
    let producer = client.init_producer();
    for n in 0..20 {
        let pending = send(&mut client, producer, n);
        assert_eq!(receive(&mut client, pending), (codes::NONE, n));
    }

    let ballast = broker.small_disk().join("ballast");
    fill(&ballast);
    // The write-ahead log may have some room left in its file.
    let mut next = 20;
    let stalled = wait_for("the disk to be full for the broker", || {
        let pending = send(&mut client, producer, next);
        match receive(&mut client, pending) {
            (codes::NONE, offset) => {
                assert_eq!(offset, next);
                next += 1;
                None
            }
            (code, _) => Some(code),
        }
    });
    assert_eq!(stalled, codes::KAFKA_STORAGE_ERROR);
    // Refused at once, as long as it lasts, and what is durable can be read.
    for _ in 0..3 {
        let pending = send(&mut client, producer, next);
        assert_eq!(receive(&mut client, pending).0, codes::KAFKA_STORAGE_ERROR);
    }
    assert_eq!(client.end_offset(TOPIC, 0), next);
    assert_eq!(client.read(TOPIC, 0, 0).len() as i64, next);
    assert!(
        broker.log().contains("No space left on device"),
        "{}",
        broker.log()
    );

    std::fs::remove_file(&ballast).expect("the ballast can go");
    // The record that was refused may have been queued before the refusal: the retry is recognised.
    let resumed = wait_for("the broker to take records again", || {
        let pending = send(&mut client, producer, next);
        let answer = receive(&mut client, pending);
        (answer.0 != codes::KAFKA_STORAGE_ERROR).then_some(answer)
    });
    assert_eq!(resumed, (codes::NONE, next));
    for n in next + 1..next + 20 {
        let pending = send(&mut client, producer, n);
        assert_eq!(receive(&mut client, pending), (codes::NONE, n));
    }
    let read = client.read(TOPIC, 0, 0);
    assert_eq!(read.len() as i64, next + 20);
    for (offset, record) in (0..).zip(read) {
        assert_eq!(record.offset, offset);
        assert!(
            record.value.as_deref() == Some(&value(offset)[..]),
            "other bytes at {offset}"
        );
    }
}
