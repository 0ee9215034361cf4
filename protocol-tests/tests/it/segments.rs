//! What many topics share, segments, stays bounded: merging (`trestle.segments.max`).

use std::collections::BTreeMap;
use std::path::Path;

use protocol_tests::{Batch, Broker, Record, codes, wait_until};

use crate::retention::table_bytes;

/// At this size there are a hundred segments without merging.
const SEGMENTS_MAX: f64 = 20.0;
/// Records of the topic that is kept, and of the one that is compacted.
const ROUNDS: usize = 100;
const KEYS: usize = 10;

fn sample(broker: &Broker, name: &str) -> f64 {
    let page = broker.http().get("/metrics");
    let page = String::from_utf8(page.body).expect("text");
    let name = format!("{name}{{}}");
    let mut lines = page.lines().filter_map(|line| line.strip_prefix(&name));
    let value = lines.find_map(|rest| rest.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("{name} is not in {page}"));
    value.parse().expect("a number")
}

/// Bytes of the largest list of files of a store.
fn manifest_bytes(directory: &Path) -> u64 {
    let lists = std::fs::read_dir(directory.join("db/manifest")).expect("a store");
    // One may go while it is looked at.
    let sizes = lists.filter_map(|list| Some(list.ok()?.metadata().ok()?.len()));
    sizes.max().unwrap_or(0)
}

/// One topic that never expires and one that is compacted, beside a hundred that live for a short time:
/// few segments are left, the list of files is small, and so is what is stored beyond what lives.
#[test]
fn little_that_lives_for_ever_takes_little_space() {
    let settings = [
        ("log.cleaner.backoff.ms", "100"),
        ("log.initial.task.delay.ms", "0"),
        ("log.retention.check.interval.ms", "100"),
        ("trestle.segment.bytes", "200000"),
        ("trestle.segments.max", "20"),
        ("trestle.memtable.bytes", "100000"),
        ("trestle.upkeep.interval.ms", "50"),
        ("trestle.reclaim.delay.ms", "200"),
        ("trestle.tail.bytes", "1"),
    ];
    let settings = settings.map(|(name, value)| format!("{name}={value}"));
    let mut arguments = vec!["--http", "127.0.0.1:0", "--fsync", "false"];
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    let Some(mut broker) = Broker::on_disk(&arguments) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic_with("kept", 1, &[("retention.ms", "-1")]);
    let compact = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "500"),
        ("min.cleanable.dirty.ratio", "0"),
    ];
    client.create_topic_with("compacted", 1, &compact);
    let mut table = BTreeMap::new();
    for round in 0..ROUNDS {
        let short = format!("short-{round}");
        client.create_topic_with(&short, 1, &[("retention.ms", "200")]);
        client.produce("kept", 0, Batch::noise(10_000));
        let (key, value) = (format!("key {}", round % KEYS), format!("{round:2000}"));
        client.produce(
            "compacted",
            0,
            Batch::records(vec![Record::new(&value).key(&key)]),
        );
        table.insert(key, value);
        for _ in 0..5 {
            client.produce(&short, 0, Batch::noise(40_000));
        }
        // Half of them are deleted, the others expire.
        if round % 2 == 0 {
            client.delete_topic(&short);
        }
    }
    let directory = broker.data_directory();
    let live = (ROUNDS * 10_000 + KEYS * 2_000) as u64;
    wait_until("few segments and little beside what lives", || {
        let files = table_bytes(&directory);
        // Rows of the store's own, and what the open segment holds until it is closed.
        sample(&broker, "trestle_storage_segments") <= SEGMENTS_MAX
            && files <= live * 13 / 10 + 300_000
    });
    assert!(sample(&broker, "trestle_storage_merged_segments_total") > 0.0);
    let largest = manifest_bytes(&directory);
    assert!((1..50_000).contains(&largest), "{largest}");

    // Before and after a kill all is where it was.
    for _ in 0..2 {
        let kept = client.read("kept", 0, 0);
        let offsets: Vec<i64> = kept.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (0..ROUNDS as i64).collect::<Vec<_>>());
        let mut found = BTreeMap::new();
        for record in client.read("compacted", 0, 0) {
            let text = |bytes: Option<bytes::Bytes>| {
                String::from_utf8(bytes.expect("there").to_vec()).expect("text")
            };
            found.insert(text(record.key), text(record.value));
        }
        assert_eq!(found, table);
        let gone = client.describe_topic("short-0").error_code;
        assert_eq!(gone, codes::UNKNOWN_TOPIC_OR_PARTITION);
        broker.kill();
        broker.restart();
        client = broker.connect();
    }
}
