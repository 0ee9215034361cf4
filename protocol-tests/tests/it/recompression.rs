//! Produce (0) to topics that keep a codec of their own: `compression.type`.

use protocol_tests::batch::LOG_APPEND_TIME;
use protocol_tests::records::{self, StoredBatch};
use protocol_tests::{Batch, Broker, Client, Codec, Record, codes, now_ms, unique};

use crate::incremental_alter_configs::set_topic;

/// Values of the setting, and the codec that batches then have.
const TYPES: [(&str, Codec); 5] = [
    ("uncompressed", Codec::None),
    ("gzip", Codec::Gzip),
    ("snappy", Codec::Snappy),
    ("lz4", Codec::Lz4),
    ("zstd", Codec::Zstd),
];

fn stored(client: &mut Client, topic: &str, offset: i64) -> Vec<StoredBatch> {
    let fetched = client.try_fetch(topic, 0, offset);
    assert_eq!(fetched.error_code, codes::NONE);
    records::batches(fetched.records.expect("records"))
}

fn sent() -> Vec<Record> {
    let now = now_ms();
    let mut tombstone = Record::new("").key("gone").timestamp(now - 7);
    tombstone.value = None;
    vec![
        Record::new("x".repeat(100_000)).key("long").timestamp(now),
        tombstone,
        Record::new("")
            .key("")
            .header("a", Some("1"))
            .header("b", None)
            .timestamp(now + 5),
    ]
}

/// Whatever codec a batch comes in, it is kept in the topic's, and its records are what they were.
#[test]
fn batches_are_kept_in_the_codec_of_their_topic() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for (name, kept) in TYPES {
        let topic = unique("recompress");
        client.create_topic_with(&topic, 1, &[("compression.type", name)]);
        for (round, codec) in Codec::ALL.into_iter().enumerate() {
            let sent = sent();
            let base = client.produce(&topic, 0, Batch::records(sent.clone()).codec(codec));
            assert_eq!(base, 3 * round as i64, "{codec:?} to {name}");
            let batches = stored(&mut client, &topic, base);
            assert_eq!(batches.len(), 1);
            assert_eq!(
                Codec::of(batches[0].attributes),
                kept,
                "{codec:?} to {name}"
            );
            assert_eq!(batches[0].last_offset_delta, 2);
            let newest = sent.iter().map(|record| record.timestamp).max();
            assert_eq!(Some(batches[0].max_timestamp), newest);
            for (index, (sent, read)) in sent.iter().zip(&batches[0].records).enumerate() {
                let offset = base + index as i64;
                let sent = Record {
                    offset,
                    ..sent.clone()
                };
                assert_eq!(*read, sent, "{codec:?} to {name}");
            }
        }
    }
}

/// A batch that has the topic's codec already is not touched, whatever the level.
#[test]
fn a_batch_of_the_right_codec_is_kept_byte_for_byte() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for (name, codec) in TYPES {
        let topic = unique("recompress-same");
        let level = ("compression.gzip.level", "9");
        client.create_topic_with(&topic, 1, &[("compression.type", name), level]);
        let batch = Batch::counted(100).codec(codec).encode();
        client.produce(&topic, 0, batch.clone());
        let found = client.try_fetch(&topic, 0, 0).records.expect("records");
        assert_eq!(found[16..], batch[16..], "{name}");
    }
}

/// Levels take effect.
#[test]
fn a_higher_level_packs_tighter() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    // Text of a few words, which a level can be seen in.
    let mut seed = 1_u32;
    let words: Vec<&str> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ["pier ", "span ", "deck ", "brace ", "girder ", "truss "][(seed >> 16) as usize % 6]
    })
    .take(20_000)
    .collect();
    for (name, levels) in [("gzip", ["1", "9"]), ("zstd", ["-100", "19"])] {
        let mut sizes = Vec::new();
        for level in levels {
            let topic = unique("recompress-level");
            let setting = format!("compression.{name}.level");
            let settings = [("compression.type", name), (setting.as_str(), level)];
            client.create_topic_with(&topic, 1, &settings);
            client.produce(&topic, 0, Batch::of(&[words.concat()]));
            sizes.push(stored(&mut client, &topic, 0)[0].bytes.len());
        }
        assert!(sizes[0] > sizes[1], "{name}: {sizes:?}");
    }
}

/// The broker's clock and another codec at once.
#[test]
fn log_append_time_and_another_codec() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("recompress-time");
    let settings = [
        ("compression.type", "lz4"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    client.create_topic_with(&topic, 1, &settings);
    for codec in Codec::ALL {
        let before = now_ms();
        let batch = Batch::counted(3).timestamps(&[1, 2, 3]).codec(codec);
        let answer = client.try_produce(&topic, 0, batch);
        assert_eq!(answer.error_code, codes::NONE);
        assert!(answer.log_append_time_ms >= before, "{codec:?}");
        let batches = stored(&mut client, &topic, answer.base_offset);
        assert_eq!(Codec::of(batches[0].attributes), Codec::Lz4, "{codec:?}");
        assert_eq!(batches[0].attributes & LOG_APPEND_TIME, LOG_APPEND_TIME);
        assert_eq!(batches[0].max_timestamp, answer.log_append_time_ms);
        let time = answer.log_append_time_ms;
        assert!(
            batches[0]
                .records
                .iter()
                .all(|record| record.timestamp == time)
        );
    }
}

/// `max.message.bytes` holds for the batch as it comes and as it is kept.
#[test]
fn a_batch_that_grows_too_large_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("recompress-large");
    let settings = [
        ("compression.type", "uncompressed"),
        ("max.message.bytes", "50000"),
    ];
    client.create_topic_with(&topic, 1, &settings);
    let batch = |size| Batch::of(&[vec![b'x'; size]]).codec(Codec::Zstd);
    assert!(batch(60_000).encode().len() < 1_000);
    let refused = client.try_produce(&topic, 0, batch(60_000));
    assert_eq!(refused.error_code, codes::MESSAGE_TOO_LARGE);
    assert_eq!(client.produce(&topic, 0, batch(49_000)), 0);
    // The other way round what matters is that it comes too large.
    let topic = unique("recompress-small");
    let settings = [("compression.type", "zstd"), ("max.message.bytes", "50000")];
    client.create_topic_with(&topic, 1, &settings);
    let refused = client.try_produce(&topic, 0, Batch::of(&[vec![b'x'; 60_000]]));
    assert_eq!(refused.error_code, codes::MESSAGE_TOO_LARGE);
}

/// An idempotent producer's retry is recognised though its bytes are not what is stored.
#[test]
fn a_retry_is_recognised_in_another_codec() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("recompress-retry");
    client.create_topic_with(&topic, 1, &[("compression.type", "gzip")]);
    let (id, epoch) = client.init_producer();
    let first = Batch::counted(3).producer(id, epoch, 0);
    assert_eq!(client.produce(&topic, 0, first.clone()), 0);
    let second = Batch::counted(2)
        .producer(id, epoch, 3)
        .codec(Codec::Snappy);
    assert_eq!(client.produce(&topic, 0, second.clone()), 3);
    assert_eq!(client.try_produce(&topic, 0, second).base_offset, 3);
    assert_eq!(client.try_produce(&topic, 0, first).base_offset, 0);
    assert_eq!(client.end_offset(&topic, 0), 5);
    let batches = stored(&mut client, &topic, 0);
    assert_eq!(batches.len(), 2);
    assert_eq!((batches[1].producer_id, batches[1].base_sequence), (id, 3));
}

/// A change of the setting holds for what comes after it.
#[test]
fn the_codec_can_change_while_the_topic_lives() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("recompress-change");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(3).codec(Codec::Gzip));
    set_topic(&mut client, &topic, "compression.type", "snappy");
    client.produce(&topic, 0, Batch::counted(3).codec(Codec::Gzip));
    set_topic(&mut client, &topic, "compression.type", "producer");
    client.produce(&topic, 0, Batch::counted(3).codec(Codec::Gzip));
    let codecs: Vec<Codec> = stored(&mut client, &topic, 0)
        .iter()
        .map(|batch| Codec::of(batch.attributes))
        .collect();
    assert_eq!(codecs, [Codec::Gzip, Codec::Snappy, Codec::Gzip]);
}
