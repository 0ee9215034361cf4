//! Compaction (`cleanup.policy=compact`): the last record of each key stays, where it was.

use std::collections::BTreeMap;

use protocol_tests::calls::EARLIEST;
use protocol_tests::records::batches;
use protocol_tests::{Batch, Broker, Client, Codec, Record, codes, unique, wait_until};

use crate::incremental_alter_configs::set_cluster;
use crate::retention::table_bytes;

const SOON: &[&str] = &[
    "--set",
    "log.cleaner.backoff.ms=100",
    "--set",
    "log.initial.task.delay.ms=0",
    "--set",
    "trestle.upkeep.interval.ms=50",
    "--set",
    "trestle.tail.bytes=1",
];

/// Compacts whenever there is anything to compact.
const EAGER: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "500"),
    ("min.cleanable.dirty.ratio", "0"),
];

fn record(key: &str, value: &str) -> Record {
    Record::new(value).key(key)
}

fn tombstone(key: &str) -> Record {
    Record {
        value: None,
        ..record(key, "")
    }
}

/// Offsets and keys of what is left.
fn left(client: &mut Client, topic: &str) -> Vec<(i64, String)> {
    let records = client.read(topic, 0, 0).into_iter();
    let text = |key: Option<bytes::Bytes>| String::from_utf8_lossy(&key.expect("a key")).into();
    records
        .map(|record| (record.offset, text(record.key)))
        .collect()
}

/// Every codec: what is left is where it was, in batches that span what they did, of the same codec.
#[test]
fn the_last_record_of_each_key_stays_where_it_was() {
    let Some(broker) = Broker::in_memory(SOON) else {
        return;
    };
    let mut client = broker.connect();
    for codec in [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        let topic = unique("compact");
        client.create_topic_with(&topic, 1, EAGER);
        let (id, epoch) = client.init_producer();
        for round in 0..3 {
            let records = ["a", "b", "c"].map(|key| record(key, &format!("{key}{round}")));
            let records = Batch::records(records.into()).codec(codec);
            client.produce(&topic, 0, records.producer(id, epoch, 3 * round));
        }
        client.produce(
            &topic,
            0,
            Batch::records(vec![record("b", "last")]).codec(codec),
        );
        let expected = [(6, "a"), (8, "c"), (9, "b")].map(|(at, key)| (at, key.to_owned()));
        wait_until("the last of each key", || {
            left(&mut client, &topic) == expected
        });

        // A fetch in the gap gives the next batch; a client drops what lies before its position.
        let fetched = client.try_fetch(&topic, 0, 2);
        assert_eq!(fetched.error_code, codes::NONE);
        let stored = batches(fetched.records.expect("records"));
        assert_eq!((stored[0].base_offset, stored[0].last_offset_delta), (6, 2));
        assert_eq!(stored[0].base_sequence, 6);
        assert_eq!(i32::from(stored[0].attributes & 7), codec as i32);
        assert_eq!(client.end_offset(&topic, 0), 10);
    }
}

/// The cleaner's pause can change while it lasts.
#[test]
fn a_shorter_pause_holds_at_once() {
    let settings = [&["--set", "log.cleaner.backoff.ms=3600000"], &SOON[2..]].concat();
    let Some(broker) = Broker::in_memory(&settings) else {
        return;
    };
    let mut client = broker.connect();
    let topic = unique("pause");
    client.create_topic_with(&topic, 1, EAGER);
    for value in ["1", "2"] {
        client.produce(&topic, 0, Batch::records(vec![record("a", value)]));
    }
    set_cluster(&mut client, "log.cleaner.backoff.ms", "100");
    wait_until("the last of each key", || {
        left(&mut client, &topic) == [(1, "a".to_owned())]
    });
}

/// A tombstone hides its key at once, and goes itself once its time is over.
#[test]
fn tombstones_go_after_their_time() {
    let Some(broker) = Broker::in_memory(SOON) else {
        return;
    };
    let mut client = broker.connect();
    let topic = unique("tombstones");
    let configs = [EAGER, &[("delete.retention.ms", "1")]].concat();
    client.create_topic_with(&topic, 1, &configs);
    client.produce(
        &topic,
        0,
        Batch::records(vec![record("a", "1"), record("b", "1")]),
    );
    client.produce(&topic, 0, Batch::records(vec![tombstone("a")]));
    wait_until("the value is gone", || {
        left(&mut client, &topic) == [(1, "b".to_owned()), (2, "a".to_owned())]
    });
    // Another record makes the log dirty again.
    let mut at = 3;
    wait_until("the tombstone is gone", || {
        assert_eq!(
            client.produce(&topic, 0, Batch::records(vec![record("c", "1")])),
            at
        );
        at += 1;
        left(&mut client, &topic).iter().all(|(_, key)| key != "a")
    });
}

/// Nothing younger than `min.compaction.lag.ms` is touched.
#[test]
fn young_records_are_left_alone() {
    let Some(broker) = Broker::in_memory(SOON) else {
        return;
    };
    let mut client = broker.connect();
    let (lagging, other) = (unique("lagging"), unique("other"));
    let configs = [EAGER, &[("min.compaction.lag.ms", "3600000")]].concat();
    client.create_topic_with(&lagging, 1, &configs);
    client.create_topic_with(&other, 1, EAGER);
    for topic in [&lagging, &other] {
        for value in ["1", "2"] {
            client.produce(topic, 0, Batch::records(vec![record("a", value)]));
        }
    }
    wait_until("the other is compacted", || {
        left(&mut client, &other).len() == 1
    });
    assert_eq!(left(&mut client, &lagging).len(), 2);
}

/// The keys do not fit into the buffer: several passes get there too.
#[test]
fn more_keys_than_memory_take_several_passes() {
    let settings = [SOON, &["--set", "log.cleaner.dedupe.buffer.size=4096"]].concat();
    let Some(broker) = Broker::in_memory(&settings) else {
        return;
    };
    let mut client = broker.connect();
    let topic = unique("many-keys");
    client.create_topic_with(&topic, 1, EAGER);
    for _ in 0..2 {
        for first in 0..30 {
            let keys = (0..10).map(|key| record(&format!("key {}", first * 10 + key), "v"));
            client.produce(&topic, 0, Batch::records(keys.collect()));
        }
    }
    wait_until("one record a key", || {
        left(&mut client, &topic).len() == 300
    });
    assert!(
        left(&mut client, &topic)
            .iter()
            .all(|(offset, _)| *offset >= 300)
    );
}

/// What a table made of the topic holds.
fn table(client: &mut Client, topic: &str) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for record in client.read(topic, 0, 0) {
        let key = String::from_utf8_lossy(record.key.as_deref().expect("a key")).into_owned();
        match record.value {
            Some(value) => table.insert(key, String::from_utf8_lossy(&value).into_owned()),
            None => table.remove(&key),
        };
    }
    table
}

/// kill -9 in the middle of compaction, retention, deletion and the merging of segments: nothing that
/// lives is lost, nothing that was deleted comes back.
#[test]
fn a_kill_loses_nothing_and_brings_nothing_back() {
    let settings = [
        SOON,
        &[
            "--set",
            "log.retention.check.interval.ms=100",
            "--set",
            "trestle.segment.bytes=200000",
            "--set",
            "trestle.memtable.bytes=100000",
            "--set",
            "trestle.segments.max=6",
            "--set",
            "trestle.reclaim.delay.ms=100",
            "--fsync",
            "false",
        ],
    ]
    .concat();
    let Some(mut broker) = Broker::on_disk(&settings) else {
        return;
    };
    let topic = unique("killed");
    let configs = [EAGER, &[("delete.retention.ms", "1")]].concat();
    let mut client = broker.connect();
    client.create_topic_with(&topic, 1, &configs);
    let short = unique("short");
    client.create_topic_with(&short, 1, &[("retention.ms", "300")]);
    let rounds: usize = std::env::var("TRESTLE_CRASH_ROUNDS")
        .map_or(6, |rounds| rounds.parse().expect("a number of rounds"));
    let mut expected = BTreeMap::new();
    let mut next = 0;
    let mut deleted = Vec::new();
    for _ in 0..rounds {
        let doomed = unique("doomed");
        client.create_topic(&doomed, 1);
        for _ in 0..rand::random_range(20..150) {
            let key = format!("key {}", rand::random_range(0..40));
            next += 1;
            let value = format!("{next} {}", "x".repeat(rand::random_range(0..3_000)));
            let written = match rand::random_range(0..4) {
                0 => {
                    expected.remove(&key);
                    tombstone(&key)
                }
                _ => {
                    expected.insert(key.clone(), value.clone());
                    record(&key, &value)
                }
            };
            client.produce(&topic, 0, Batch::records(vec![written]));
            client.produce(&short, 0, Batch::noise(2_000));
            client.produce(&doomed, 0, Batch::noise(2_000));
        }
        client.delete_topic(&doomed);
        deleted.push(doomed);
        let end = client.end_offset(&topic, 0);
        let short_start = client.list_offset(&short, 0, EARLIEST).offset;
        let short_end = client.end_offset(&short, 0);
        broker.kill();
        broker.restart();
        client = broker.connect();
        assert_eq!(client.end_offset(&topic, 0), end, "the end stays");
        assert_eq!(table(&mut client, &topic), expected);
        let start = client.list_offset(&short, 0, EARLIEST).offset;
        assert!(start >= short_start, "what was too old is back: {start}");
        assert_eq!(client.end_offset(&short, 0), short_end);
        for name in &deleted {
            let described = client.describe_topic(name).error_code;
            assert_eq!(described, codes::UNKNOWN_TOPIC_OR_PARTITION);
        }
    }
    // What expired, was deleted or replaced, or was half done at a kill, does not stay on disk.
    let directory = broker.data_directory();
    wait_until("the space to come back", || {
        table_bytes(&directory) < 1_000_000
    });
    // In the end one record a key is left, and perhaps the last tombstones.
    wait_until("all is compacted", || {
        assert_eq!(table(&mut client, &topic), expected);
        let records = left(&mut client, &topic);
        let keys: std::collections::BTreeSet<_> = records.iter().map(|(_, key)| key).collect();
        records.len() == keys.len()
    });
}
