//! Fetch (1): where it starts, how much it returns, what it refuses.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_response::PartitionData;
use protocol_tests::calls::{FETCH, fetch_partition, fetch_request};
use protocol_tests::records::{StoredBatch, batches, records, without_cut_batch};
use protocol_tests::{Batch, Broker, Codec, Frame, codes, unique};

fn bytes_of(fetched: &PartitionData) -> usize {
    fetched
        .records
        .as_ref()
        .expect("records are never null")
        .len()
}

/// The batches of an answer. Kafka may cut the last one short; Trestle does not.
fn whole(broker: &Broker, mut records: Bytes) -> Vec<StoredBatch> {
    if broker.is_kafka() {
        records = without_cut_batch(records);
    }
    batches(records)
}

/// Every version returns the same bytes.
#[test]
fn every_version_returns_the_records() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-versions");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(3));
    let expected = client.try_fetch(&topic, 0, 0).records;
    let request = fetch_request(&topic, vec![fetch_partition(0, 0)]);
    for version in 4..=12 {
        let fetched = client.fetch_one(version, &request);
        assert_eq!(fetched.error_code, codes::NONE, "v{version}");
        assert_eq!(fetched.records, expected, "v{version}");
        assert_eq!(
            (fetched.high_watermark, fetched.last_stable_offset),
            (3, 3),
            "v{version}"
        );
        if version >= 5 {
            assert_eq!(fetched.log_start_offset, 0, "v{version}");
        }
        if version >= 11 {
            assert_eq!(fetched.preferred_read_replica.0, -1, "v{version}");
        }
    }
}

/// 49. Beyond either end of the log there is an error at once, however long the fetch may wait.
#[test]
fn an_offset_out_of_range_is_an_error_at_once() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-range");
    client.create_topic(&topic, 1);
    for _ in 0..3 {
        client.produce(&topic, 0, Batch::counted(2));
    }
    assert_eq!(client.delete_records(&topic, 0, 2).error_code, codes::NONE);
    for offset in [7, 1, 0, -1, i64::MAX, i64::MIN] {
        let request =
            fetch_request(&topic, vec![fetch_partition(0, offset)]).with_max_wait_ms(15_000);
        let start = Instant::now();
        let fetched = client.fetch_one(FETCH, &request);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{offset}: {:?}",
            start.elapsed()
        );
        assert_eq!(fetched.error_code, codes::OFFSET_OUT_OF_RANGE, "{offset}");
        let ends = (
            fetched.high_watermark,
            fetched.last_stable_offset,
            fetched.log_start_offset,
        );
        assert_eq!(ends, (-1, -1, -1), "{offset}");
        assert_eq!(bytes_of(&fetched), 0, "{offset}");
    }
    assert_eq!(client.try_fetch(&topic, 0, 2).error_code, codes::NONE);
}

/// 50. The first batch comes whole, whatever the limits; no fetch can get stuck on it.
#[test]
fn the_first_batch_comes_whole_whatever_the_limits() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-whole");
    client.create_topic_with(&topic, 1, &[("max.message.bytes", "6000000")]);
    let batch = Batch::sized(5 << 20);
    client.produce(&topic, 0, &batch);
    client.produce(&topic, 0, Batch::counted(1));
    for limit in [1024, 1, 0] {
        let partition = fetch_partition(0, 0).with_partition_max_bytes(limit);
        let request = fetch_request(&topic, vec![partition]).with_max_bytes(limit.max(1));
        let fetched = client.fetch_one(FETCH, &request);
        assert_eq!(bytes_of(&fetched), 5 << 20, "limit {limit}");
    }
}

/// 51. Once the limit is spent, a later partition returns nothing rather than part of a batch.
#[test]
fn a_spent_limit_leaves_later_partitions_empty() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-spent");
    client.create_topic_with(&topic, 2, &[("max.message.bytes", "6000000")]);
    client.produce(&topic, 0, Batch::sized(1_000));
    client.produce(&topic, 1, Batch::sized(5 << 20));
    let partitions = vec![fetch_partition(0, 0), fetch_partition(1, 0)];
    let request = fetch_request(&topic, partitions).with_max_bytes(2_000);
    let answer = client.call(FETCH, &request);
    let sizes: Vec<usize> = answer.responses[0]
        .partitions
        .iter()
        .map(bytes_of)
        .collect();
    assert_eq!(sizes, [1_000, 0]);
    assert_eq!(answer.responses[0].partitions[1].high_watermark, 1);
}

/// Limits are kept to whole batches: as many as fit.
#[test]
fn only_whole_batches_are_returned() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-fit");
    client.create_topic(&topic, 1);
    for _ in 0..10 {
        client.produce(&topic, 0, Batch::sized(1_000));
    }
    for (limit, at_least, at_most) in [
        (1_000, 1, 1),
        (2_500, 1, 2),
        (3_000, 3, 3),
        (100_000, 10, 10),
    ] {
        let partition = fetch_partition(0, 0).with_partition_max_bytes(limit);
        let fetched = client.fetch_one(FETCH, &fetch_request(&topic, vec![partition]));
        let found = whole(&broker, fetched.records.expect("records"));
        assert!(
            (at_least..=at_most).contains(&found.len()),
            "{} batches under {limit}",
            found.len()
        );
    }
}

/// 52. An offset inside a batch returns the whole batch, from its base.
#[test]
fn an_offset_inside_a_batch_returns_the_whole_batch() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-inside");
    client.create_topic(&topic, 5);
    for (partition, codec) in (0..).zip(Codec::ALL) {
        client.produce(&topic, partition, Batch::counted(100).codec(codec));
        client.produce(&topic, partition, Batch::counted(100).codec(codec));
        for (offset, base, count) in [
            (0, 0, 2),
            (57, 0, 2),
            (99, 0, 2),
            (100, 100, 1),
            (157, 100, 1),
        ] {
            let fetched = client.try_fetch(&topic, partition, offset);
            let found = batches(fetched.records.expect("records"));
            assert_eq!(found[0].base_offset, base, "{codec:?} from {offset}");
            assert_eq!(found.len(), count, "{codec:?} from {offset}");
        }
        let read = client.read(&topic, partition, 57);
        assert_eq!((read[0].offset, read[0].text()), (57, "57"));
        assert_eq!(read.len(), 143);
    }
}

/// 54. A client with an old idea of the leader is told so; one that knows more than we do waits.
#[test]
fn leader_epochs_are_checked() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-epoch");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(1));
    let epoch = client.leader_epoch(&topic, 0);
    let mut cases = vec![
        (-1, codes::NONE),
        (epoch, codes::NONE),
        (epoch + 1, codes::UNKNOWN_LEADER_EPOCH),
        (i32::MAX, codes::UNKNOWN_LEADER_EPOCH),
    ];
    if epoch > 0 {
        cases.push((epoch - 1, codes::FENCED_LEADER_EPOCH));
    }
    for (claimed, code) in cases {
        let partition = fetch_partition(0, 0).with_current_leader_epoch(claimed);
        let request = fetch_request(&topic, vec![partition]).with_max_wait_ms(10_000);
        assert_eq!(
            client.fetch_one(FETCH, &request).error_code,
            code,
            "epoch {claimed}, ours {epoch}"
        );
    }
}

/// 54. After a restart the leader epoch has moved on, and the old one is fenced.
#[test]
fn an_epoch_from_before_a_restart_is_fenced() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("fenced", 1);
    client.produce("fenced", 0, Batch::counted(1));
    let before = client.leader_epoch("fenced", 0);
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    let after = client.leader_epoch("fenced", 0);
    assert!(after > before, "{after} after {before}");
    let partition = fetch_partition(0, 0).with_current_leader_epoch(before);
    let fetched = client.fetch_one(FETCH, &fetch_request("fenced", vec![partition]));
    assert_eq!(fetched.error_code, codes::FENCED_LEADER_EPOCH);
}

/// 55. A session that the broker does not know is an error of the whole fetch.
#[test]
fn an_unknown_session_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-session");
    client.create_topic(&topic, 1);
    for version in 7..=12 {
        let request = fetch_request(&topic, vec![fetch_partition(0, 0)]);
        let answer = client.call(
            version,
            &request
                .clone()
                .with_session_id(12_345)
                .with_session_epoch(1),
        );
        assert_eq!(
            answer.error_code,
            codes::FETCH_SESSION_ID_NOT_FOUND,
            "v{version}"
        );
        assert!(answer.responses.is_empty(), "v{version}");
        let answer = client.call(version, &request);
        assert_eq!(
            (answer.error_code, answer.session_id),
            (codes::NONE, 0),
            "v{version}"
        );
    }
}

/// 55. A client that asks for a session is served, whether or not it gets one.
#[test]
fn a_session_is_granted_or_declined() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-new-session");
    client.create_topic(&topic, 2);
    client.produce(&topic, 0, Batch::counted(1));
    let partitions = vec![fetch_partition(0, 0), fetch_partition(1, 0)];
    let request = fetch_request(&topic, partitions).with_session_epoch(0);
    let answer = client.call(FETCH, &request);
    assert_eq!(answer.error_code, codes::NONE);
    assert_eq!(answer.responses[0].partitions.len(), 2);
    if answer.session_id == 0 {
        return;
    }
    // A session: the next fetch names only what changes, and hears only of what is new.
    let incremental = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_id(answer.session_id)
        .with_session_epoch(1);
    let answer = client.call(FETCH, &incremental);
    assert_eq!(answer.error_code, codes::NONE);
    let heard: Vec<i32> = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|p| p.partition_index)
        .collect();
    assert_eq!(heard, [0]);
    let skipped = incremental.with_session_epoch(7);
    assert_eq!(
        client.call(FETCH, &skipped).error_code,
        codes::INVALID_FETCH_SESSION_EPOCH
    );
}

/// 57. zstd came with v10, but clients that can read it ask with older versions too (aiokafka 0.8 with v4).
#[test]
fn zstd_is_returned_at_every_version() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-zstd");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(3).codec(Codec::Zstd));
    let request = fetch_request(&topic, vec![fetch_partition(0, 0)]);
    let new = client.fetch_one(10, &request);
    assert_eq!(new.error_code, codes::NONE);
    for version in [4, 9] {
        let old = client.fetch_one(version, &request);
        assert_eq!(old.error_code, codes::NONE, "v{version}");
        assert_eq!(bytes_of(&old), bytes_of(&new), "v{version}");
    }
}

/// 59. A busy partition does not starve the others, also under a small limit.
#[test]
fn every_partition_makes_progress() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-fair");
    client.create_topic(&topic, 20);
    for _ in 0..150 {
        client.produce(&topic, 0, Batch::sized(2_000));
    }
    for partition in 1..20 {
        client.produce(&topic, partition, Batch::sized(500));
    }
    // As real consumers do: a session if there is one to have, else the list rotated by each answer.
    let mut positions = [0_i64; 20];
    let mut order: Vec<i32> = (0..20).collect();
    for _ in 0..100 {
        let partitions = order
            .iter()
            .map(|partition| fetch_partition(*partition, positions[*partition as usize]));
        let request = fetch_request(&topic, partitions.collect()).with_max_bytes(4_000);
        let answer = client.call(FETCH, &request);
        for fetched in &answer.responses[0].partitions {
            assert_eq!(fetched.error_code, codes::NONE);
            if let Some(last) = whole(&broker, fetched.records.clone().expect("records")).last() {
                positions[fetched.partition_index as usize] =
                    last.base_offset + i64::from(last.last_offset_delta) + 1;
                order.retain(|partition| *partition != fetched.partition_index);
                order.push(fetched.partition_index);
            }
        }
    }
    assert!(
        positions[1..].iter().all(|position| *position == 1),
        "{positions:?}"
    );
    assert!(positions[0] > 20, "{positions:?}");
}

/// Partitions are answered in the order they were asked for, unknown ones among them.
#[test]
fn each_partition_is_answered_in_order() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-order");
    client.create_topic(&topic, 3);
    client.produce(&topic, 1, Batch::counted(1));
    let partitions = [2, 7, 1, 0].map(|partition| fetch_partition(partition, 0));
    let request = fetch_request(&topic, partitions.to_vec()).with_max_wait_ms(15_000);
    let start = Instant::now();
    let answer = client.call(FETCH, &request);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "an error is answered at once"
    );
    let mut found: Vec<(i32, i16)> = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| (partition.partition_index, partition.error_code))
        .collect();
    let expected = [
        (2, codes::NONE),
        (7, codes::UNKNOWN_TOPIC_OR_PARTITION),
        (1, codes::NONE),
        (0, codes::NONE),
    ];
    if broker.is_kafka() {
        // Kafka answers what it read first, then what it refuses.
        found.sort_by_key(|(index, _)| expected.iter().position(|(other, _)| index == other));
    }
    assert_eq!(found, expected);
}

/// A topic that is not there is an error of its partitions, not of the fetch.
#[test]
fn an_unknown_topic_is_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let fetched = client.try_fetch(&unique("fetch-missing"), 0, 0);
    assert_eq!(fetched.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(bytes_of(&fetched), 0);
}

/// read_committed without any transaction sees what read_uncommitted sees.
#[test]
fn read_committed_sees_all_when_there_is_no_transaction() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("fetch-committed");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(3));
    let request = fetch_request(&topic, vec![fetch_partition(0, 0)]);
    let fetched = client.fetch_one(FETCH, &request.clone().with_isolation_level(1));
    assert_eq!((fetched.high_watermark, fetched.last_stable_offset), (3, 3));
    assert_eq!(fetched.aborted_transactions, Some(vec![]));
    assert_eq!(records(fetched.records.expect("records")).len(), 3);
    assert_eq!(client.fetch_one(FETCH, &request).aborted_transactions, None);
}

/// 60. Reading a long backlog does not make the broker grow.
#[test]
fn a_backlog_is_read_in_constant_memory() {
    let Some(broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("backlog", 1);
    let batch = Batch::noise(512 << 10).encode();
    for _ in 0..256 {
        client.produce("backlog", 0, batch.clone());
    }
    let mut read_all = || {
        let mut offset = 0;
        while offset < 256 {
            let fetched = client.try_fetch("backlog", 0, offset);
            offset += batches(fetched.records.expect("records")).len() as i64;
        }
    };
    read_all();
    let before = broker.resident_bytes();
    read_all();
    read_all();
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(
        grown < 48 << 20,
        "grown by {} MiB over 256 MiB read",
        grown >> 20
    );
}

/// 56. By topic id, from v13 on, where the broker has it.
#[test]
fn an_unknown_topic_id_is_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let apis = client
        .call(0, &kafka_protocol::messages::ApiVersionsRequest::default())
        .api_keys;
    if apis
        .iter()
        .all(|api| api.api_key != 1 || api.max_version < 13)
    {
        // Then v13 is no version at all.
        client.send_bytes(&Frame::new(1, 13).flexible(&[]).body([0; 40]).encode());
        client.assert_closed();
        return;
    }
    let mut request = fetch_request("", vec![fetch_partition(0, 0)]);
    request.topics[0].topic_id = uuid::Uuid::from_u128(rand::random());
    assert_eq!(
        client.fetch_one(13, &request).error_code,
        codes::UNKNOWN_TOPIC_ID
    );
}
