//! Produce (0): acknowledgements, sizes, several partitions in a request, what comes back.

use std::time::Duration;

use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol_tests::calls::{PRODUCE, produce_request, topic_name};
use protocol_tests::{Batch, Broker, Codec, Record, codes, now_ms, records, unique, wait_until};

/// Each codec's batch comes back byte for byte but for what the broker stamps on it.
#[test]
fn every_codec_is_stored_untouched() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-codecs");
    client.create_topic(&topic, 5);
    for (partition, codec) in Codec::ALL.into_iter().enumerate() {
        let batch = Batch::counted(100).codec(codec).encode();
        assert_eq!(client.produce(&topic, partition as i32, batch.clone()), 0);
        let stored = client
            .try_fetch(&topic, partition as i32, 0)
            .records
            .expect("records");
        assert_eq!(stored.len(), batch.len(), "{codec:?}");
        // Base offset and leader epoch are the broker's; all from the magic byte on is the client's.
        assert_eq!(stored[16..], batch[16..], "{codec:?}");
        let read = client.read_text(&topic, partition as i32);
        assert_eq!(
            read,
            (0..100).map(|value| value.to_string()).collect::<Vec<_>>()
        );
    }
}

/// Keys, tombstones, repeated headers, empty values and odd timestamps survive.
#[test]
fn all_parts_of_a_record_are_kept() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-parts");
    client.create_topic(&topic, 1);
    let mut tombstone = Record::new("").key("gone");
    tombstone.value = None;
    let sent = vec![
        Record::new("plain"),
        Record::new("")
            .key("")
            .header("a", Some("1"))
            .header("a", Some("2"))
            .header("b", None),
        tombstone,
    ];
    for codec in Codec::ALL {
        let base = client.produce(&topic, 0, Batch::records(sent.clone()).codec(codec));
        let read = client.read(&topic, 0, base);
        assert_eq!(read.len(), 3);
        for (index, (sent, read)) in sent.iter().zip(&read).enumerate() {
            assert_eq!(read.offset, base + index as i64);
            assert_eq!(
                Record {
                    offset: 0,
                    ..read.clone()
                },
                *sent
            );
        }
    }
}

/// A megabyte of one byte is a legal batch, however small it packs.
#[test]
fn any_compression_ratio_is_accepted() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-ratio");
    client.create_topic(&topic, 1);
    for (index, codec) in Codec::ALL.into_iter().skip(1).enumerate() {
        let batch = Batch::of(&[vec![b'x'; 1 << 20]]).codec(codec);
        assert_eq!(client.produce(&topic, 0, batch), index as i64);
    }
    assert_eq!(
        client.read(&topic, 0, 0)[3]
            .value
            .as_ref()
            .map(|value| value.len()),
        Some(1 << 20)
    );
}

/// Every version from 3 on takes a batch and says where it went.
#[test]
fn every_version_appends() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-versions");
    client.create_topic(&topic, 1);
    for version in 3..=11 {
        let answer = client.call(version, &produce_request(&topic, 0, Batch::counted(2)));
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, codes::NONE, "v{version}");
        assert_eq!(
            partition.base_offset,
            i64::from(version - 3) * 2,
            "v{version}"
        );
        assert_eq!(partition.log_append_time_ms, -1, "v{version}");
        if version >= 5 {
            assert_eq!(partition.log_start_offset, 0, "v{version}");
        }
        assert_eq!(answer.throttle_time_ms, 0);
    }
}

/// 25. acks=0 is answered by nothing at all, and appends.
#[test]
fn acks_0_appends_without_an_answer() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-acks-0");
    client.create_topic(&topic, 1);
    let mut sender = broker.connect();
    let _unanswered = sender.send(
        PRODUCE,
        &produce_request(&topic, 0, Batch::of(&["quiet"])).with_acks(0),
    );
    sender.assert_silent(Duration::from_secs(1));
    wait_until("the record", || client.end_offset(&topic, 0) == 1);
    assert_eq!(sender.metadata(&[]).brokers.len(), 1);
}

/// 25. When acks=0 goes wrong, the close of the connection is all that can tell.
#[test]
fn acks_0_to_an_unknown_topic_closes_the_connection() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let request = produce_request(&unique("produce-missing"), 0, Batch::of(&["lost"])).with_acks(0);
    let _unanswered = client.send(PRODUCE, &request);
    client.assert_closed();
}

/// 26. Another number of acks is refused for every partition.
#[test]
fn other_acks_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-acks");
    client.create_topic(&topic, 2);
    for acks in [2, -2, i16::MAX] {
        let request =
            spread(&topic, &[(0, Batch::of(&["a"])), (1, Batch::of(&["b"]))]).with_acks(acks);
        let answer = client.call(PRODUCE, &request);
        let found: Vec<i16> = partitions(&answer)
            .map(|partition| partition.error_code)
            .collect();
        assert_eq!(found, [codes::INVALID_REQUIRED_ACKS; 2]);
    }
    assert_eq!(client.end_offset(&topic, 0), 0);
    for acks in [1, -1] {
        let answer = client.call(
            PRODUCE,
            &produce_request(&topic, 0, Batch::of(&["a"])).with_acks(acks),
        );
        assert!(partitions(&answer).all(|partition| partition.error_code == codes::NONE));
    }
}

fn spread(topic: &str, batches: &[(i32, Batch)]) -> ProduceRequest {
    let partitions = batches.iter().map(|(partition, batch)| {
        PartitionProduceData::default()
            .with_index(*partition)
            .with_records(Some(batch.encode()))
    });
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(partitions.collect());
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

type PartitionAnswer = kafka_protocol::messages::produce_response::PartitionProduceResponse;

fn partitions(
    answer: &kafka_protocol::messages::ProduceResponse,
) -> impl Iterator<Item = &PartitionAnswer> {
    answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
}

/// 29. A batch of exactly max.message.bytes goes in, one of a byte more does not.
#[test]
fn the_largest_batch_is_max_message_bytes() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-size");
    client.create_topic_with(&topic, 1, &[("max.message.bytes", "10000")]);
    assert_eq!(client.produce(&topic, 0, Batch::sized(10_000)), 0);
    let answer = client.try_produce(&topic, 0, Batch::sized(10_001));
    assert_eq!(answer.error_code, codes::MESSAGE_TOO_LARGE);
    assert_eq!(
        (
            answer.base_offset,
            answer.log_append_time_ms,
            answer.log_start_offset
        ),
        (-1, -1, -1)
    );
    assert_eq!(client.end_offset(&topic, 0), 1);
}

/// 29. Without a setting of its own a topic takes 1,048,588 bytes.
#[test]
fn the_default_largest_batch_is_kafkas() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-default-size");
    client.create_topic(&topic, 1);
    assert_eq!(client.produce(&topic, 0, Batch::sized(1_048_588)), 0);
    let answer = client.try_produce(&topic, 0, Batch::sized(1_048_589));
    assert_eq!(answer.error_code, codes::MESSAGE_TOO_LARGE);
}

/// 35. LogAppendTime: the broker's clock is in the answer and on every record, under a right CRC.
#[test]
fn log_append_time_is_stamped_on_every_record() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-append-time");
    client.create_topic_with(&topic, 1, &[("message.timestamp.type", "LogAppendTime")]);
    for codec in Codec::ALL {
        let before = now_ms();
        let batch = Batch::counted(3).timestamps(&[10, 30, 20]).codec(codec);
        let answer = client.try_produce(&topic, 0, batch);
        let after = now_ms();
        assert_eq!(answer.error_code, codes::NONE);
        let stamped = answer.log_append_time_ms;
        assert!(
            (before..=after).contains(&stamped),
            "{before} {stamped} {after}"
        );
        let read = client.read(&topic, 0, answer.base_offset);
        assert!(
            read.iter().all(|record| record.timestamp == stamped),
            "{codec:?}"
        );
        assert_eq!(read[2].text(), "2");
    }
}

/// 44. A bad partition does not take a good one with it.
#[test]
fn a_bad_partition_does_not_spoil_a_good_one() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-mixed");
    client.create_topic(&topic, 2);
    let request = spread(
        &topic,
        &[
            (0, Batch::of(&["good"])),
            (1, Batch::of(&["bad"]).base_offset(5)),
            (2, Batch::of(&["nowhere"])),
        ],
    );
    let answer = client.call(PRODUCE, &request);
    let mut found: Vec<_> = partitions(&answer)
        .map(|partition| (partition.index, partition.error_code, partition.base_offset))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            (0, codes::NONE, 0),
            (1, codes::INVALID_RECORD, -1),
            (2, codes::UNKNOWN_TOPIC_OR_PARTITION, -1)
        ]
    );
    assert_eq!(client.read_text(&topic, 0), ["good"]);
    assert_eq!(client.end_offset(&topic, 1), 0);
}

/// 46. Produce never creates a topic, however often it is asked.
#[test]
fn produce_never_creates_a_topic() {
    let broker = Broker::shared();
    let topic = unique("produce-storm");
    let mut clients: Vec<_> = (0..100).map(|_| broker.connect()).collect();
    let sent: Vec<_> = clients
        .iter_mut()
        .map(|client| client.send_produce(&topic, 0, Batch::of(&["lost"])))
        .collect();
    for (client, pending) in clients.iter_mut().zip(sent) {
        let answer = client.receive_produce(pending);
        assert_eq!(answer.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(answer.base_offset, -1);
    }
    assert_eq!(
        clients[0].describe_topic(&topic).error_code,
        codes::UNKNOWN_TOPIC_OR_PARTITION
    );
}

/// Offsets follow each other without a hole, and batches of one connection stay in their order.
#[test]
fn pipelined_batches_keep_their_order() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-pipeline");
    client.create_topic(&topic, 1);
    let pending: Vec<_> = (0..200)
        .map(|index| client.send_produce(&topic, 0, Batch::of(&[index.to_string()])))
        .collect();
    for (index, pending) in pending.into_iter().enumerate() {
        assert_eq!(client.receive_produce(pending).base_offset, index as i64);
    }
    let expected: Vec<String> = (0..200).map(|index| index.to_string()).collect();
    assert_eq!(client.read_text(&topic, 0), expected);
}

/// What is acknowledged can be read at once, from any connection.
#[test]
fn an_acknowledged_record_is_visible_at_once() {
    let broker = Broker::shared();
    let (mut producer, mut consumer) = (broker.connect(), broker.connect());
    let topic = unique("produce-visible");
    producer.create_topic(&topic, 1);
    for index in 0..200 {
        assert_eq!(
            producer.produce(&topic, 0, Batch::of(&[index.to_string()])),
            index
        );
        let fetched = consumer.try_fetch(&topic, 0, index);
        assert!(fetched.high_watermark > index);
        let read = records::records(fetched.records.expect("records"));
        assert_eq!(read.last().map(|record| record.offset), Some(index));
    }
}

/// Two partitions of one request and two topics are each answered once.
#[test]
fn every_partition_asked_is_answered() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topics = [unique("produce-many-a"), unique("produce-many-b")];
    let mut request = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_timeout_ms(10_000);
    for topic in &topics {
        client.create_topic(topic, 4);
        let batches: Vec<_> = (0..4)
            .map(|partition| (partition, Batch::counted(3)))
            .collect();
        request
            .topic_data
            .extend(spread(topic, &batches).topic_data);
    }
    let answer = client.call(PRODUCE, &request);
    assert_eq!(answer.responses.len(), 2);
    assert_eq!(partitions(&answer).count(), 8);
    assert!(
        partitions(&answer)
            .all(|partition| partition.error_code == codes::NONE && partition.base_offset == 0)
    );
}

/// Version 13 names topics by their ids, in the request and in the answer.
#[test]
fn topics_are_named_by_id_from_version_13_on() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("produce-ids");
    let id = client.create_topic(&topic, 2);
    let ask = |id, partition| {
        let mut request = produce_request("", partition, Batch::counted(2));
        request.topic_data[0].topic_id = id;
        request
    };
    for base in [0, 2] {
        let answer = client.call(13, &ask(id, 1)).responses.remove(0);
        assert_eq!(answer.topic_id, id);
        assert!(answer.name.is_empty());
        let produced = &answer.partition_responses[0];
        let found = (produced.index, produced.error_code, produced.base_offset);
        assert_eq!(found, (1, codes::NONE, base));
    }
    assert_eq!(client.end_offset(&topic, 1), 4);

    let unknown = uuid::Uuid::from_u128(rand::random());
    for (id, partition, code) in [
        (unknown, 0, codes::UNKNOWN_TOPIC_ID),
        (uuid::Uuid::nil(), 0, codes::UNKNOWN_TOPIC_ID),
        (id, 2, codes::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let answer = client.call(13, &ask(id, partition)).responses.remove(0);
        assert_eq!(answer.topic_id, id);
        let produced = &answer.partition_responses[0];
        assert_eq!((produced.error_code, produced.base_offset), (code, -1));
    }

    // The topic's next life has another id, and the first one's is not known any more.
    client.delete_topic(&topic);
    client.create_topic(&topic, 1);
    let answer = client.call(13, &ask(id, 0)).responses.remove(0);
    let code = answer.partition_responses[0].error_code;
    assert_eq!(code, codes::UNKNOWN_TOPIC_ID);
    assert_eq!(client.end_offset(&topic, 0), 0);
}
