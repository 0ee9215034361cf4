//! Produce (0): what is refused, with which code, and that nothing of it is appended.

use bytes::{BufMut, Bytes, BytesMut};
use protocol_tests::batch::{self, at};
use protocol_tests::calls::{PRODUCE, produce_request};
use protocol_tests::{Batch, Broker, Client, Codec, Record, codes, now_ms, unique};

/// A topic of one partition, and a batch in it.
fn topic_with_a_record(client: &mut Client, name: &str, configs: &[(&str, &str)]) -> String {
    let topic = unique(name);
    client.create_topic_with(&topic, 1, configs);
    let first = Batch::records(vec![Record::new("first").key("key")]);
    assert_eq!(client.produce(&topic, 0, first), 0);
    topic
}

/// Each is refused with the code, and the log still holds one record.
fn assert_refused(client: &mut Client, topic: &str, code: i16, batches: Vec<(&str, Bytes)>) {
    for (what, batch) in batches {
        let answer = client.try_produce(topic, 0, batch);
        assert_eq!(answer.error_code, code, "{what}");
        assert_eq!(answer.base_offset, -1, "{what}");
        assert_eq!(client.end_offset(topic, 0), 1, "{what}");
    }
    // And the partition is none the worse for it.
    assert_eq!(
        client.produce(
            topic,
            0,
            Batch::records(vec![Record::new("after").key("key")])
        ),
        1
    );
}

fn joined(batches: &[Bytes]) -> Bytes {
    let mut all = BytesMut::new();
    for batch in batches {
        all.put_slice(batch);
    }
    all.freeze()
}

/// 27. One flipped bit in what the CRC covers is found.
#[test]
fn a_flipped_bit_is_found() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-crc", &[]);
    let whole = Batch::counted(3).encode();
    let flipped = |position: usize| {
        let mut bytes = whole.to_vec();
        bytes[position] ^= 1;
        Bytes::from(bytes)
    };
    let batches = vec![
        ("the CRC", flipped(at::CRC)),
        ("the attributes", flipped(at::ATTRIBUTES + 1)),
        ("a record", flipped(at::RECORDS + 3)),
        ("the last byte", flipped(whole.len() - 1)),
    ];
    assert_refused(&mut client, &topic, codes::CORRUPT_MESSAGE, batches);
}

/// 27. The leader epoch lies outside the CRC and is the broker's to write.
#[test]
fn the_leader_epoch_of_a_client_does_not_matter() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-epoch", &[]);
    let mut bytes = Batch::counted(3).encode().to_vec();
    bytes[at::LEADER_EPOCH..at::MAGIC].copy_from_slice(&12345_i32.to_be_bytes());
    assert_eq!(client.produce(&topic, 0, bytes), 1);
    let epoch = client.leader_epoch(&topic, 0);
    let stored =
        protocol_tests::records::batches(client.try_fetch(&topic, 0, 1).records.expect("records"));
    assert_eq!(stored[0].leader_epoch, epoch);
}

/// 28. Exactly one batch of magic 2 at base offset 0.
#[test]
fn anything_but_one_fresh_batch_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-one", &[]);
    let one = Batch::counted(2).encode();
    let batches = vec![
        ("two batches", joined(&[one.clone(), one.clone()])),
        ("base offset 5", Batch::counted(2).base_offset(5).encode()),
        ("magic 1", Batch::counted(2).magic(1).encode()),
        ("magic 0", Batch::counted(2).magic(0).encode()),
    ];
    assert_refused(&mut client, &topic, codes::INVALID_RECORD, batches);
}

/// 28. A partition without a batch is refused.
#[test]
fn no_batch_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-none", &[]);
    assert_refused(
        &mut client,
        &topic,
        codes::INVALID_RECORD,
        vec![("zero bytes", Bytes::new())],
    );
    // It trips over a null, and never answers.
    if broker.skip_on_kafka("ends before null records") {
        return;
    }
    let mut null = produce_request(&topic, 0, Bytes::new());
    null.topic_data[0].partition_data[0].records = None;
    let answer = client.call(PRODUCE, &null);
    assert_eq!(
        answer.responses[0].partition_responses[0].error_code,
        codes::INVALID_RECORD
    );
}

/// 30. Counts and deltas must be those of the records.
#[test]
fn counts_that_lie_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-counts", &[]);
    let two = || Batch::counted(2);
    let mut batches = vec![
        (
            "last offset delta 5 for 2 records",
            two().last_offset_delta(5),
        ),
        (
            "last offset delta 0 for 2 records",
            two().last_offset_delta(0),
        ),
        ("count 0", two().record_count(0).last_offset_delta(-1)),
        ("count -1", two().record_count(-1).last_offset_delta(-2)),
        (
            "count above what is there",
            two().record_count(3).last_offset_delta(2),
        ),
        (
            "count far above what is there",
            two().record_count(i32::MAX).last_offset_delta(i32::MAX - 1),
        ),
        (
            "count below what is there",
            two().record_count(1).last_offset_delta(0),
        ),
        (
            "bytes behind the last record",
            two().trailing(b"\x02\x01\x00"),
        ),
    ];
    batches.extend(Codec::ALL[1..].iter().map(|codec| {
        (
            "bytes behind the last record, compressed",
            two().trailing(b"\x02").codec(*codec),
        )
    }));
    let batches = batches
        .into_iter()
        .map(|(what, batch)| (what, batch.encode()));
    assert_refused(
        &mut client,
        &topic,
        codes::INVALID_RECORD,
        batches.collect(),
    );
}

/// 30. Records that are not records are refused, in the clear and compressed.
#[test]
fn records_that_do_not_parse_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-parse", &[]);
    let mut batches = Vec::new();
    for codec in Codec::ALL {
        // A record that claims ten bytes and has three; one of a negative length.
        batches.push(
            Batch::records(vec![])
                .record_count(1)
                .last_offset_delta(0)
                .trailing(b"\x14\x00\x00")
                .codec(codec),
        );
        batches.push(
            Batch::records(vec![])
                .record_count(1)
                .last_offset_delta(0)
                .trailing(b"\x01\x00\x00")
                .codec(codec),
        );
    }
    let batches = batches
        .into_iter()
        .map(|batch| ("no record", batch.encode()));
    assert_refused(
        &mut client,
        &topic,
        codes::INVALID_RECORD,
        batches.collect(),
    );
}

/// Compressed bytes that no decoder takes, and codecs that nobody knows, are refused.
#[test]
fn what_does_not_decompress_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-decompress", &[]);
    for bits in 1..=7_u8 {
        let mut bytes = Batch::counted(3).encode().to_vec();
        bytes[at::ATTRIBUTES + 1] |= bits;
        batch::reseal(&mut bytes);
        let answer = client.try_produce(&topic, 0, bytes);
        let expected: &[i16] = if broker.is_kafka() {
            &[codes::UNKNOWN_SERVER_ERROR]
        } else {
            &[codes::INVALID_RECORD, codes::CORRUPT_MESSAGE]
        };
        assert!(
            expected.contains(&answer.error_code),
            "codec bits {bits}: {}",
            answer.error_code
        );
        assert_eq!(client.end_offset(&topic, 0), 1);
    }
}

/// 31. Only the broker writes control batches.
#[test]
fn a_control_batch_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-control", &[]);
    let batches = vec![("control", Batch::counted(1).flags(batch::CONTROL).encode())];
    assert_refused(&mut client, &topic, codes::INVALID_RECORD, batches);
}

/// A producer id without a sequence is refused.
#[test]
fn a_producer_without_a_sequence_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-sequence", &[]);
    let (id, epoch) = client.init_producer();
    let batches = vec![(
        "sequence -1",
        Batch::counted(1).producer(id, epoch, -1).encode(),
    )];
    assert_refused(&mut client, &topic, codes::INVALID_RECORD, batches);
}

/// 32. zstd came with v7.
#[test]
fn zstd_needs_version_7() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-zstd", &[]);
    let batch = Batch::counted(3).codec(Codec::Zstd);
    for version in 3..=6 {
        let answer = client.call(version, &produce_request(&topic, 0, &batch));
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, codes::UNSUPPORTED_COMPRESSION_TYPE, "v{version}");
    }
    let answer = client.call(7, &produce_request(&topic, 0, &batch));
    assert_eq!(
        answer.responses[0].partition_responses[0].error_code,
        codes::NONE
    );
    assert_eq!(client.read_text(&topic, 0), ["first", "0", "1", "2"]);
}

/// 33. A compacted topic needs keys; the answer names the records that have none.
#[test]
fn a_compacted_topic_refuses_records_without_a_key() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(
        &mut client,
        "checks-compact",
        &[("cleanup.policy", "compact")],
    );
    let mut sent: Vec<Record> = (0..5)
        .map(|index| Record::new("value").key(format!("key {index}")))
        .collect();
    sent[3].key = None;
    for codec in Codec::ALL {
        let answer = client.try_produce(&topic, 0, Batch::records(sent.clone()).codec(codec));
        assert_eq!(answer.error_code, codes::INVALID_RECORD, "{codec:?}");
        let named: Vec<i32> = answer
            .record_errors
            .iter()
            .map(|error| error.batch_index)
            .collect();
        assert_eq!(named, [3], "{codec:?}");
        assert_eq!(client.end_offset(&topic, 0), 1);
    }
    // Before v8 there was no place to name them.
    let request = produce_request(&topic, 0, Batch::records(sent.clone()));
    let answer = client.call(7, &request);
    assert_eq!(
        answer.responses[0].partition_responses[0].error_code,
        codes::INVALID_RECORD
    );
    sent[3] = Record::new("value").key("key 3");
    assert_eq!(client.produce(&topic, 0, Batch::records(sent)), 1);
}

/// 34. A timestamp too far ahead is refused; none at all is not.
#[test]
fn timestamps_out_of_bounds_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let hour = 3_600_000;
    let configs = [
        ("message.timestamp.after.max.ms", "3600000"),
        ("message.timestamp.before.max.ms", "7200000"),
    ];
    let topic = topic_with_a_record(&mut client, "checks-time", &configs);
    let now = now_ms();
    let times = [
        ("2 h ahead", now + 2 * hour),
        ("3 h back", now - 3 * hour),
        ("at 1970", 0),
    ];
    for (what, time) in times {
        let batch = Batch::counted(3).timestamps(&[now, time, now]);
        let answer = client.try_produce(&topic, 0, batch);
        assert_eq!(answer.error_code, codes::INVALID_TIMESTAMP, "{what}");
        let named: Vec<i32> = answer
            .record_errors
            .iter()
            .map(|error| error.batch_index)
            .collect();
        assert_eq!(named, [1], "{what}");
    }
    assert_eq!(client.end_offset(&topic, 0), 1);
    client.produce(&topic, 0, Batch::counted(2).timestamps(&[-1, -1]));
    client.produce(
        &topic,
        0,
        Batch::counted(2).timestamps(&[now + hour / 2, now - hour]),
    );
    assert_eq!(client.end_offset(&topic, 0), 5);
}

/// 34. Unless set otherwise a record may be an hour ahead, and as old as it likes.
#[test]
fn the_default_bounds_are_an_hour_ahead_and_for_ever_back() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-default-time", &[]);
    client.produce(&topic, 0, Batch::counted(1).timestamps(&[0]));
    let ahead = Batch::counted(1).timestamps(&[now_ms() + 2 * 3_600_000]);
    assert_eq!(
        client.try_produce(&topic, 0, ahead).error_code,
        codes::INVALID_TIMESTAMP
    );
}

/// A client may not claim that the broker's clock was at work.
#[test]
fn the_append_time_bit_is_refused_on_a_create_time_topic() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-time-bit", &[]);
    let batch = Batch::counted(1).flags(batch::LOG_APPEND_TIME);
    if broker.is_kafka() {
        // Kafka takes the batch and clears the bit.
        client.produce(&topic, 0, batch);
        let stored = client.try_fetch(&topic, 0, 1).records.expect("records");
        let stored = protocol_tests::records::batches(stored);
        assert_eq!(stored[0].attributes, 0);
        return;
    }
    let batches = vec![("bit 3", batch.encode())];
    assert_refused(&mut client, &topic, codes::INVALID_TIMESTAMP, batches);
}

/// A highest timestamp that is wrong is put right, for lookups by time depend on it.
#[test]
fn a_wrong_highest_timestamp_is_put_right() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("checks-max-time");
    client.create_topic(&topic, 1);
    let batch = Batch::counted(3)
        .timestamps(&[10, 30, 20])
        .max_timestamp(5_000);
    client.produce(&topic, 0, batch);
    let stored =
        protocol_tests::records::batches(client.try_fetch(&topic, 0, 0).records.expect("records"));
    assert_eq!(stored[0].max_timestamp, 30);
    assert_eq!(client.list_offset(&topic, 0, 31).offset, -1);
}

/// 45. A second batch that is cut short is dropped or refused, and never harms.
#[test]
fn a_batch_cut_short_is_dropped_or_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("checks-cut");
    client.create_topic(&topic, 1);
    let one = Batch::counted(2).encode();
    for keep in [1, 11, 12, 17, 60, one.len() - 1] {
        let before = client.end_offset(&topic, 0);
        let answer = client.try_produce(&topic, 0, joined(&[one.clone(), one.slice(..keep)]));
        let appended = match answer.error_code {
            codes::NONE => 2,
            codes::INVALID_RECORD | codes::CORRUPT_MESSAGE => 0,
            other => panic!("code {other} for {keep} bytes of a second batch"),
        };
        assert_eq!(
            client.end_offset(&topic, 0),
            before + appended,
            "{keep} bytes of a second batch"
        );
    }
}

/// 45. Bytes that are not even the head of a batch are refused.
#[test]
fn bytes_that_are_no_batch_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-bytes", &[]);
    let one = Batch::counted(2).encode();
    for keep in [1, 11, 12, 17, 60, one.len() - 1] {
        let answer = client.try_produce(&topic, 0, one.slice(..keep));
        assert_ne!(answer.error_code, codes::NONE, "{keep} bytes of a batch");
    }
    for length in [i32::MIN, -1, 0, 48, i32::MAX] {
        let mut bytes = one.to_vec();
        bytes[at::LENGTH..at::LEADER_EPOCH].copy_from_slice(&length.to_be_bytes());
        let answer = client.try_produce(&topic, 0, bytes);
        assert_ne!(answer.error_code, codes::NONE, "length {length}");
    }
    assert_eq!(client.end_offset(&topic, 0), 1);
}

/// A batch of a transaction in a request without a transactional id is refused.
#[test]
fn a_transactional_batch_needs_a_transactional_id() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = topic_with_a_record(&mut client, "checks-transaction", &[]);
    let (id, epoch) = client.init_producer();
    let batch = Batch::counted(1)
        .producer(id, epoch, 0)
        .flags(batch::TRANSACTIONAL);
    let batches = vec![("transactional", batch.encode())];
    assert_refused(
        &mut client,
        &topic,
        codes::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        batches,
    );
}
