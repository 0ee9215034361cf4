//! DeleteRecords (21).

use protocol_tests::calls::{EARLIEST, LATEST};
use protocol_tests::records::batches;
use protocol_tests::{Batch, Broker, codes, unique};

/// Records below the offset are gone; the rest stays where it was.
#[test]
fn the_log_starts_where_it_is_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("records-start");
    client.create_topic(&topic, 1);
    for _ in 0..4 {
        client.produce(&topic, 0, Batch::counted(3));
    }
    let done = client.delete_records(&topic, 0, 6);
    assert_eq!((done.error_code, done.low_watermark), (codes::NONE, 6));
    assert_eq!(client.list_offset(&topic, 0, EARLIEST).offset, 6);
    assert_eq!(client.list_offset(&topic, 0, LATEST).offset, 12);
    assert_eq!(
        client.try_fetch(&topic, 0, 5).error_code,
        codes::OFFSET_OUT_OF_RANGE
    );
    let fetched = client.try_fetch(&topic, 0, 6);
    assert_eq!(
        (fetched.error_code, fetched.log_start_offset),
        (codes::NONE, 6)
    );
    assert_eq!(batches(fetched.records.expect("records"))[0].base_offset, 6);
    assert_eq!(
        client
            .try_produce(&topic, 0, Batch::counted(1))
            .log_start_offset,
        6
    );
}

/// A start inside a batch keeps the batch and reports the start.
#[test]
fn a_start_inside_a_batch_keeps_the_batch() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("records-inside");
    client.create_topic(&topic, 1);
    client.produce(
        &topic,
        0,
        Batch::counted(10).timestamps(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    );
    let done = client.delete_records(&topic, 0, 7);
    assert_eq!((done.error_code, done.low_watermark), (codes::NONE, 7));
    let fetched = client.try_fetch(&topic, 0, 7);
    assert_eq!(batches(fetched.records.expect("records"))[0].base_offset, 0);
    assert_eq!(
        client.try_fetch(&topic, 0, 6).error_code,
        codes::OFFSET_OUT_OF_RANGE
    );
    // A time that points below the start is answered at or after it.
    let found = client.list_offset(&topic, 0, 3);
    assert_eq!((found.error_code, found.offset), (codes::NONE, 7));
}

/// -1 stands for the high watermark: everything goes.
#[test]
fn minus_one_deletes_everything() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("records-all");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(5));
    let done = client.delete_records(&topic, 0, -1);
    assert_eq!((done.error_code, done.low_watermark), (codes::NONE, 5));
    assert_eq!(client.list_offset(&topic, 0, EARLIEST).offset, 5);
    assert_eq!(client.read(&topic, 0, 5).len(), 0);
    assert_eq!(client.produce(&topic, 0, Batch::counted(1)), 5);
}

/// Below the start there is nothing to do; beyond the end there is nothing to keep.
#[test]
fn offsets_are_checked() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("records-range");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(5));
    client.delete_records(&topic, 0, 3);
    let earlier = client.delete_records(&topic, 0, 1);
    assert_eq!(
        (earlier.error_code, earlier.low_watermark),
        (codes::NONE, 3)
    );
    for offset in [6, i64::MAX, -2] {
        let refused = client.delete_records(&topic, 0, offset);
        assert_eq!(
            (refused.error_code, refused.low_watermark),
            (codes::OFFSET_OUT_OF_RANGE, -1),
            "{offset}"
        );
    }
    let missing = client.delete_records(&topic, 4, 0);
    assert_eq!(
        (missing.error_code, missing.low_watermark),
        (codes::UNKNOWN_TOPIC_OR_PARTITION, -1)
    );
}

/// A topic that is only compacted keeps its records.
#[test]
fn a_compacted_topic_keeps_its_records() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("records-compacted");
    client.create_topic_with(&topic, 1, &[("cleanup.policy", "compact")]);
    assert_eq!(
        client.delete_records(&topic, 0, 0).error_code,
        codes::POLICY_VIOLATION
    );
}

/// 64. The start survives a kill, also when all is gone.
#[test]
fn the_start_survives_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("start", 2);
    for partition in 0..2 {
        for _ in 0..3 {
            client.produce("start", partition, Batch::counted(4));
        }
    }
    assert_eq!(client.delete_records("start", 0, 7).low_watermark, 7);
    assert_eq!(client.delete_records("start", 1, -1).low_watermark, 12);
    for _ in 0..2 {
        broker.kill();
        broker.restart();
        let mut client = broker.connect();
        assert_eq!(client.list_offset("start", 0, EARLIEST).offset, 7);
        assert_eq!(client.list_offset("start", 1, EARLIEST).offset, 12);
        assert_eq!(client.end_offset("start", 1), 12);
        assert_eq!(
            client.try_fetch("start", 0, 6).error_code,
            codes::OFFSET_OUT_OF_RANGE
        );
        assert_eq!(client.read("start", 0, 7).len(), 5);
    }
    assert_eq!(broker.connect().produce("start", 1, Batch::counted(1)), 12);
}
