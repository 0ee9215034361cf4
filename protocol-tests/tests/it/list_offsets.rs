//! ListOffsets (2): the ends of a log, and what lies at a time.

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use protocol_tests::calls::{EARLIEST, LATEST, LIST_OFFSETS, MAX_TIMESTAMP, list_offsets_request};
use protocol_tests::{Batch, Broker, Client, Codec, codes, unique};

/// Offset and timestamp found.
fn look_up(client: &mut Client, topic: &str, timestamp: i64) -> (i64, i64) {
    let found = client.list_offset(topic, 0, timestamp);
    assert_eq!(found.error_code, codes::NONE, "timestamp {timestamp}");
    (found.offset, found.timestamp)
}

/// 61. An empty log has both ends at 0 and nothing at any time.
#[test]
fn an_empty_log_starts_and_ends_at_zero() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-empty");
    client.create_topic(&topic, 1);
    assert_eq!(look_up(&mut client, &topic, LATEST), (0, -1));
    assert_eq!(look_up(&mut client, &topic, EARLIEST), (0, -1));
    assert_eq!(look_up(&mut client, &topic, MAX_TIMESTAMP), (-1, -1));
    for time in [0, 1, i64::MAX] {
        assert_eq!(look_up(&mut client, &topic, time), (-1, -1));
    }
}

/// 62. The first record in offset order whose time is at or after the target, in any order of times.
#[test]
fn a_time_finds_the_first_record_at_or_after_it() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let expected = [
        (0, 0, 10),
        (10, 0, 10),
        (11, 1, 30),
        (15, 1, 30),
        (25, 1, 30),
        (30, 1, 30),
    ];
    for codec in Codec::ALL {
        let apart = unique("offsets-times-apart");
        client.create_topic(&apart, 1);
        for time in [10, 30, 20] {
            client.produce(
                &apart,
                0,
                Batch::counted(1).timestamps(&[time]).codec(codec),
            );
        }
        let together = unique("offsets-times-together");
        client.create_topic(&together, 1);
        client.produce(
            &together,
            0,
            Batch::counted(3).timestamps(&[10, 30, 20]).codec(codec),
        );
        for topic in [&apart, &together] {
            for (time, offset, found) in expected {
                assert_eq!(
                    look_up(&mut client, topic, time),
                    (offset, found),
                    "{codec:?} at {time}"
                );
            }
            assert_eq!(look_up(&mut client, topic, 31), (-1, -1));
            assert_eq!(look_up(&mut client, topic, MAX_TIMESTAMP), (1, 30));
        }
    }
}

/// 63. The answer is the record's offset, not that of its batch.
#[test]
fn a_time_inside_a_batch_finds_the_exact_record() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for codec in Codec::ALL {
        let topic = unique("offsets-inside");
        client.create_topic(&topic, 1);
        for base in [1_000, 2_000, 3_000] {
            let times: Vec<i64> = (0..100).map(|index| base + index * 10).collect();
            client.produce(
                &topic,
                0,
                Batch::counted(100).timestamps(&times).codec(codec),
            );
        }
        assert_eq!(
            look_up(&mut client, &topic, 2_570),
            (157, 2_570),
            "{codec:?}"
        );
        assert_eq!(
            look_up(&mut client, &topic, 2_571),
            (158, 2_580),
            "{codec:?}"
        );
        assert_eq!(
            look_up(&mut client, &topic, 1_991),
            (100, 2_000),
            "{codec:?}"
        );
        assert_eq!(
            look_up(&mut client, &topic, 3_990),
            (299, 3_990),
            "{codec:?}"
        );
        assert_eq!(look_up(&mut client, &topic, 3_991), (-1, -1), "{codec:?}");
    }
}

/// 63. Over many batches, more than any index between them is fine.
#[test]
fn a_time_is_found_among_many_batches() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-many");
    client.create_topic(&topic, 1);
    let pending: Vec<_> = (0..500)
        .map(|index| client.send_produce(&topic, 0, Batch::sized(1_000).timestamps(&[index * 10])))
        .collect();
    for pending in pending {
        assert_eq!(client.receive_produce(pending).error_code, codes::NONE);
    }
    for index in (0..500).step_by(37) {
        assert_eq!(
            look_up(&mut client, &topic, index * 10),
            (index, index * 10)
        );
        let between = (index * 10 - 5).max(0);
        assert_eq!(look_up(&mut client, &topic, between).0, index);
    }
}

/// LogAppendTime: lookups go by the broker's clock, not by the producer's.
#[test]
fn append_times_are_looked_up() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-append-time");
    client.create_topic_with(&topic, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let stamped = client
        .try_produce(&topic, 0, Batch::counted(3).timestamps(&[1, 2, 3]))
        .log_append_time_ms;
    assert_eq!(look_up(&mut client, &topic, 3), (0, stamped));
    assert_eq!(look_up(&mut client, &topic, stamped), (0, stamped));
    assert_eq!(look_up(&mut client, &topic, stamped + 1), (-1, -1));
}

/// The end moves with each batch, by its records.
#[test]
fn the_end_counts_records() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-end");
    client.create_topic(&topic, 1);
    for (count, end) in [(1, 1), (10, 11), (100, 111)] {
        client.produce(&topic, 0, Batch::counted(count));
        for version in 1..=8 {
            let answer = client.call(version, &list_offsets_request(&topic, 0, LATEST));
            let found = &answer.topics[0].partitions[0];
            assert_eq!(
                (found.error_code, found.offset, found.timestamp),
                (codes::NONE, end, -1),
                "v{version}"
            );
            if version >= 4 {
                assert!(found.leader_epoch >= 0, "v{version}");
            }
        }
        assert_eq!(look_up(&mut client, &topic, EARLIEST), (0, -1));
    }
}

/// The special times that came later: without tiers the earliest local offset is the earliest.
#[test]
fn the_earliest_local_offset_is_the_earliest() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-local");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(10));
    client.delete_records(&topic, 0, 4);
    assert_eq!(look_up(&mut client, &topic, -4), (4, -1));
}

/// 65. Without an open transaction read_committed ends where read_uncommitted does.
#[test]
fn read_committed_ends_where_the_log_ends() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-committed");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(5));
    let request = list_offsets_request(&topic, 0, LATEST).with_isolation_level(1);
    assert_eq!(
        client.call(LIST_OFFSETS, &request).topics[0].partitions[0].offset,
        5
    );
}

/// 66. The same partition twice is refused.
#[test]
fn the_same_partition_twice_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-twice");
    client.create_topic(&topic, 2);
    let mut request = list_offsets_request(&topic, 0, LATEST);
    let again = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.push(again);
    request.topics[0].partitions.push(
        ListOffsetsPartition::default()
            .with_partition_index(1)
            .with_current_leader_epoch(-1)
            .with_timestamp(LATEST),
    );
    let answer = client.call(LIST_OFFSETS, &request);
    for found in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        let expected = if found.partition_index == 0 {
            codes::INVALID_REQUEST
        } else {
            codes::NONE
        };
        assert_eq!(
            found.error_code, expected,
            "partition {}",
            found.partition_index
        );
    }
}

/// 66. Negative times without a meaning, or with one that came later, are an unsupported version.
#[test]
fn unknown_special_times_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-special");
    client.create_topic(&topic, 1);
    for (version, time) in [(8, -9), (1, -9), (8, i64::MIN), (6, MAX_TIMESTAMP), (7, -4)] {
        let answer = client.call(version, &list_offsets_request(&topic, 0, time));
        let found = &answer.topics[0].partitions[0];
        assert_eq!(
            found.error_code,
            codes::UNSUPPORTED_VERSION,
            "v{version}, time {time}"
        );
        assert_eq!(found.offset, -1);
    }
}

/// Unknown partitions and wrong leader epochs are told, as in Fetch.
#[test]
fn unknown_partitions_and_epochs_are_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("offsets-errors");
    client.create_topic(&topic, 1);
    let missing = client.list_offset(&topic, 1, LATEST);
    assert_eq!(
        (missing.error_code, missing.offset),
        (codes::UNKNOWN_TOPIC_OR_PARTITION, -1)
    );
    let missing = client.list_offset(&unique("offsets-missing"), 0, EARLIEST);
    assert_eq!(missing.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    let epoch = client.leader_epoch(&topic, 0);
    let mut request = list_offsets_request(&topic, 0, LATEST);
    request.topics[0].partitions[0].current_leader_epoch = epoch + 1;
    let answer = client.call(LIST_OFFSETS, &request);
    assert_eq!(
        answer.topics[0].partitions[0].error_code,
        codes::UNKNOWN_LEADER_EPOCH
    );
    request.topics[0].partitions[0].current_leader_epoch = epoch;
    let answer = client.call(LIST_OFFSETS, &request);
    assert_eq!(answer.topics[0].partitions[0].error_code, codes::NONE);
    assert_eq!(answer.topics[0].partitions[0].leader_epoch, epoch);
}
