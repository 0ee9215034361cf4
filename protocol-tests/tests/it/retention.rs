//! Retention (`cleanup.policy=delete`): by time, by size, and the space that comes back.

use std::path::Path;

use protocol_tests::calls::EARLIEST;
use protocol_tests::{Batch, Broker, Client, Record, now_ms, unique, wait_until};

use crate::incremental_alter_configs::set_topic;

const SOON: &[&str] = &[
    "--set",
    "log.retention.check.interval.ms=100",
    "--set",
    "log.initial.task.delay.ms=0",
];

fn start(client: &mut Client, topic: &str) -> i64 {
    client.list_offset(topic, 0, EARLIEST).offset
}

/// Records older than `retention.ms` go, an idle topic's too; younger ones stay where they are.
#[test]
fn old_records_go_and_young_ones_stay() {
    let Some(broker) = Broker::in_memory(SOON) else {
        return;
    };
    let mut client = broker.connect();
    let (old, never) = (unique("old"), unique("never"));
    client.create_topic_with(&old, 1, &[("retention.ms", "60000")]);
    client.create_topic_with(&never, 1, &[("retention.ms", "-1")]);
    let hour_ago = now_ms() - 3_600_000;
    for topic in [&old, &never] {
        client.produce(topic, 0, Batch::counted(3).timestamps(&[hour_ago; 3]));
        client.produce(topic, 0, Batch::counted(2).timestamps(&[hour_ago; 2]));
        client.produce(topic, 0, Batch::counted(2));
    }
    wait_until("old records go", || start(&mut client, &old) == 5);
    assert_eq!(client.read(&old, 0, 5).len(), 2);
    assert_eq!(client.end_offset(&old, 0), 7);
    assert_eq!(start(&mut client, &never), 0);

    // A topic that is old as a whole is empty and goes on where it was.
    let idle = unique("idle");
    client.create_topic_with(&idle, 1, &[("retention.ms", "1000")]);
    client.produce(&idle, 0, Batch::counted(4));
    wait_until("an idle topic goes", || start(&mut client, &idle) == 4);
    assert_eq!(client.produce(&idle, 0, Batch::counted(1)), 4);
}

/// The shortest tail of `retention.bytes` or more is kept.
#[test]
fn the_newest_bytes_stay() {
    let Some(broker) = Broker::in_memory(SOON) else {
        return;
    };
    let mut client = broker.connect();
    let topic = unique("bytes");
    client.create_topic_with(&topic, 1, &[("retention.bytes", "20000")]);
    for _ in 0..30 {
        client.produce(&topic, 0, Batch::noise(9_900));
    }
    wait_until("large topics are cut", || start(&mut client, &topic) >= 27);
    assert_eq!(start(&mut client, &topic), 27);
    assert_eq!(client.read(&topic, 0, 27).len(), 3);
}

/// A limit that is lowered holds for a topic that nobody writes to any more.
#[test]
fn a_lower_limit_holds_for_idle_topics() {
    let Some(broker) = Broker::in_memory(SOON) else {
        return;
    };
    let mut client = broker.connect();
    let (topic, looked_at) = (unique("lowered"), unique("looked-at"));
    client.create_topic_with(&topic, 1, &[("retention.bytes", "1000000")]);
    for _ in 0..30 {
        client.produce(&topic, 0, Batch::noise(9_900));
    }
    // Once this one was cut after the other's last record, the other was looked at.
    client.create_topic_with(&looked_at, 1, &[("retention.bytes", "9000")]);
    for cut in 1..=2 {
        client.produce(&looked_at, 0, Batch::noise(9_900));
        client.produce(&looked_at, 0, Batch::noise(9_900));
        wait_until("a look", || start(&mut client, &looked_at) > 2 * cut - 2);
    }
    assert_eq!(start(&mut client, &topic), 0);
    set_topic(&mut client, &topic, "retention.bytes", "20000");
    wait_until("the topic is cut", || start(&mut client, &topic) == 27);
    set_topic(&mut client, &topic, "retention.ms", "1");
    wait_until("the topic is empty", || start(&mut client, &topic) == 30);
}

/// A compacted topic keeps old records, unless `delete` is named too.
#[test]
fn compacted_topics_keep_old_records_unless_they_say_delete() {
    let Some(broker) = Broker::in_memory(SOON) else {
        return;
    };
    let mut client = broker.connect();
    let hour_ago = now_ms() - 3_600_000;
    let mut make = |policy: &str| {
        let topic = unique("policy");
        let configs = [("cleanup.policy", policy), ("retention.ms", "60000")];
        client.create_topic_with(&topic, 1, &configs);
        let record = Record::new("v").key("k").timestamp(hour_ago);
        client.produce(&topic, 0, Batch::records(vec![record]));
        topic
    };
    let (both, compact) = (make("compact,delete"), make("compact"));
    wait_until("old records go", || start(&mut client, &both) == 1);
    assert_eq!(start(&mut client, &compact), 0);
}

/// Bytes of the files of a store, those that wait to be removed too.
pub(crate) fn table_bytes(directory: &Path) -> u64 {
    let Ok(tables) = std::fs::read_dir(directory.join("db/compacted")) else {
        return u64::MAX;
    };
    let sizes = tables.flatten().filter_map(|file| file.metadata().ok());
    sizes.map(|metadata| metadata.len()).sum()
}

/// Space comes back within the deadline, on an idle broker and beside a topic that lives on, by
/// retention, by DeleteRecords and by deletion.
#[test]
fn space_comes_back_beside_what_lives() {
    let settings = [
        SOON,
        &[
            "--set",
            "trestle.segment.bytes=4000000",
            "--set",
            "trestle.segment.interval.ms=2000",
            "--set",
            "trestle.memtable.bytes=1000000",
            "--set",
            "trestle.upkeep.interval.ms=100",
            "--set",
            "trestle.reclaim.delay.ms=1000",
            "--fsync",
            "false",
        ],
    ]
    .concat();
    let Some(broker) = Broker::on_disk(&settings) else {
        return;
    };
    let mut client = broker.connect();
    let (kept, old, gone, cut) = (unique("k"), unique("o"), unique("g"), unique("c"));
    client.create_topic(&kept, 1);
    client.create_topic_with(&old, 1, &[("retention.ms", "3000")]);
    client.create_topic(&gone, 1);
    client.create_topic(&cut, 1);
    for _ in 0..120 {
        client.produce(&kept, 0, Batch::noise(10_000));
        for topic in [&old, &gone, &cut] {
            client.produce(topic, 0, Batch::noise(100_000));
        }
    }
    client.delete_topic(&gone);
    client.delete_records(&cut, 0, -1);
    let directory = broker.data_directory();
    wait_until("36 MB are 1.2 MB", || table_bytes(&directory) < 4_000_000);
    assert_eq!(client.read(&kept, 0, 0).len(), 120);
    assert_eq!(start(&mut client, &old), 120);
}
