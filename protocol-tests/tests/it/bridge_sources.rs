//! The bridge before sources that a test writes line by line: several brokers whose leaders move, logs that
//! are cut back, formats and versions of long ago, rights that are missing, retention that was faster.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;
use protocol_tests::source::{Source, Topic};
use protocol_tests::{Batch, Broker, codes, wait_for, wait_until};
use serde_json::{Value, json};

use super::bridge::{assert_verified, copy, status, topic_status, verify};

fn run(copy: &Broker, source: &Source, more: &[(&str, Value)]) {
    let mut body = json!({ "from": source.address() });
    for (name, value) in more {
        body[*name] = value.clone();
    }
    copy.http().post("/api/v1/bridge/run", &body).ok();
}

fn wait_for_end(copy: &Broker, topic: &str, partition: usize, end: i64) {
    wait_until(&format!("offset {end} of {topic}/{partition}"), || {
        topic_status(copy, topic).is_some_and(|topic| topic["partitions"][partition]["end"] == end)
    });
}

/// Waits until the partition is in `state`, and returns the reason.
fn wait_for_state(copy: &Broker, topic: &str, partition: usize, state: &str) -> String {
    wait_for(&format!("{topic}/{partition} in {state}"), || {
        let topic = topic_status(copy, topic)?;
        let partition = topic["partitions"].get(partition)?;
        (partition["state"] == state)
            .then(|| partition["reason"].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
fn each_broker_is_asked_for_what_it_leads_and_leaders_are_followed() {
    let source = Source::new(3);
    source.create("spread", 3);
    for partition in 0..3 {
        source.with("spread", partition, |log| {
            log.leader = partition as i32;
            log.write(&["a", "b"]);
        });
    }
    let copy = copy();
    run(&copy, &source, &[]);
    (0..3).for_each(|partition| wait_for_end(&copy, "spread", partition, 2));
    for (node, _, partition) in &source.state().fetched {
        assert_eq!(node, partition, "only leaders are asked");
    }
    assert_verified(&copy, &["spread"]);
    // One moves, twice.
    for (leader, end) in [(2, 3), (1, 4)] {
        source.with("spread", 0, |log| {
            log.leader = leader;
            log.epoch += 1;
            log.write(&["more"]);
        });
        wait_for_end(&copy, "spread", 0, end);
    }
    source.with("spread", 1, |log| log.write(&["more"]));
    wait_for_end(&copy, "spread", 1, 3);
    assert_verified(&copy, &["spread"]);
    // Each batch keeps its epoch, and what clients are told is above all of them.
    let mut here = copy.connect();
    let fetched = here.try_fetch("spread", 0, 0);
    let batches = protocol_tests::records::batches(fetched.records.expect("records"));
    let epochs: Vec<i32> = batches.iter().map(|batch| batch.leader_epoch).collect();
    assert_eq!(epochs, [0, 1, 2]);
    assert!(here.leader_epoch("spread", 0) > 2);
}

#[test]
fn a_log_that_was_cut_back_or_is_another_one_fails_alone() {
    let source = Source::new(1);
    source.create("changes", 3);
    for partition in 0..3 {
        source.with("changes", partition, |log| log.write(&["a", "b", "c"]));
    }
    let copy = copy();
    run(&copy, &source, &[]);
    (0..3).for_each(|partition| wait_for_end(&copy, "changes", partition, 3));
    source.with("changes", 0, |log| log.truncate(0));
    let reason = wait_for_state(&copy, "changes", 0, "FAILED");
    assert!(
        reason.contains("ends at 0") && reason.contains("3 was copied"),
        "{reason}"
    );
    source.with("changes", 1, |log| {
        log.diverging = Some((0, 1));
        log.write(&["d"]);
    });
    let reason = wait_for_state(&copy, "changes", 1, "FAILED");
    assert!(reason.contains("cut back"), "{reason}");
    source.with("changes", 2, |log| log.write(&["d"]));
    wait_for_end(&copy, "changes", 2, 4);
    assert_eq!(wait_for_state(&copy, "changes", 2, "FOLLOWING"), "");
    let report = verify(&copy, &["changes"]);
    assert_eq!(report["equal"], false);
    let equal = |partition: usize| report["topics"][0]["partitions"][partition]["equal"].clone();
    assert_eq!(
        [equal(0), equal(1), equal(2)],
        [false, false, true],
        "{report:#}"
    );
    // It stays failed over a restart, and what is here can be promoted if that is what one wants.
    let promote = |more: Value| {
        let mut body = json!({ "topics": ["changes"], "quiet_ms": 100, "wait_ms": 100 });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        copy.http().post("/api/v1/bridge/promote", &body)
    };
    let error = promote(json!({})).error(409);
    assert!(
        error.contains("has failed") && error.contains("--force"),
        "{error}"
    );
    let done = promote(json!({ "force": true })).ok();
    assert_eq!(done["promoted"][0]["partitions"][0]["next_offset"], 3);
    assert_eq!(copy.connect().produce("changes", 0, Batch::of(&["on"])), 3);
}

#[test]
fn a_failure_stays_over_a_restart_until_it_is_tried_again() {
    let source = Source::new(1);
    source.create("shrinks", 1);
    source.with("shrinks", 0, |log| log.write(&["a", "b", "c"]));
    let mut copy = copy();
    run(&copy, &source, &[]);
    wait_for_end(&copy, "shrinks", 0, 3);
    let whole = source.with("shrinks", 0, |log| log.clone());
    source.with("shrinks", 0, |log| log.truncate(0));
    let reason = wait_for_state(&copy, "shrinks", 0, "FAILED");
    copy.kill();
    copy.restart();
    assert_eq!(wait_for_state(&copy, "shrinks", 0, "FAILED"), reason);
    source.with("shrinks", 0, |log| *log = whole);
    run(&copy, &source, &[]);
    assert_eq!(wait_for_state(&copy, "shrinks", 0, "FOLLOWING"), "");
    assert_verified(&copy, &["shrinks"]);
}

/// A message of the formats 0 and 1, as far as anybody looks: offset, size, checksum, magic.
fn old_message(offset: i64, magic: u8) -> Vec<u8> {
    let mut message = offset.to_be_bytes().to_vec();
    message.extend(22_u32.to_be_bytes());
    message.extend([0; 4]);
    message.push(magic);
    message.extend([0; 17]);
    message
}

#[test]
fn old_formats_fail_with_their_offset_and_the_others_go_on() {
    let source = Source::new(1);
    source.create("old", 3);
    for magic in [0, 1] {
        source.with("old", usize::from(magic), |log| {
            log.write(&["new"]);
            log.push(1, old_message(1, magic));
        });
    }
    source.with("old", 2, |log| log.write(&["new"]));
    let copy = copy();
    run(&copy, &source, &[]);
    for magic in [0, 1] {
        let reason = wait_for_state(&copy, "old", magic, "FAILED");
        let expected = format!("message format {magic} at offset 1");
        assert!(reason.contains(&expected), "{reason}");
        // What came before it is here.
        wait_for_end(&copy, "old", magic, 1);
    }
    wait_for_end(&copy, "old", 2, 1);
}

#[test]
fn damaged_batches_are_asked_for_again_and_then_fail() {
    let source = Source::new(1);
    source.create("damaged", 2);
    let whole = source.with("damaged", 0, |log| {
        log.write(&["a", "b"]);
        log.batches[0].2.clone()
    });
    let flip = |log: &mut protocol_tests::source::Log| {
        let mut bytes = log.batches[0].2.to_vec();
        *bytes.last_mut().expect("a byte") ^= 1;
        log.batches[0].2 = bytes.into();
    };
    source.with("damaged", 0, flip);
    source.with("damaged", 1, |log| log.write(&["c"]));
    let copy = copy();
    run(&copy, &source, &[]);
    wait_for_end(&copy, "damaged", 1, 1);
    let reason = wait_for("a reason", || {
        let topic = topic_status(&copy, "damaged")?;
        topic["partitions"][0]["reason"].as_str().map(str::to_owned)
    });
    assert!(reason.contains("checksum at offset 0"), "{reason}");
    source.with("damaged", 0, |log| log.batches[0].2 = whole);
    run(&copy, &source, &[]);
    wait_for_end(&copy, "damaged", 0, 2);
    assert_verified(&copy, &["damaged"]);
    // Damage that comes later is found by the proof.
    source.with("damaged", 0, |log| {
        log.batches.clear();
        log.end = 0;
        log.write(&["a", "x"]);
    });
    let report = verify(&copy, &["damaged"]);
    assert_eq!(report["equal"], false);
    let difference = report["topics"][0]["partitions"][0]["difference"].to_string();
    assert!(difference.contains("CRC"), "{difference}");
}

#[test]
fn versions_of_long_ago_are_named() {
    let source = Source::new(1);
    source.create("old", 1);
    source.state().versions = Some(vec![
        (ApiKey::Fetch, 0, 3),
        (ApiKey::ListOffsets, 0, 1),
        (ApiKey::Metadata, 0, 2),
        (ApiKey::ApiVersions, 0, 0),
    ]);
    let copy = copy();
    run(&copy, &source, &[]);
    let trouble = wait_for("the trouble", || {
        status(&copy)["trouble"].as_str().map(str::to_owned)
    });
    assert!(trouble.contains("Metadata in versions 0 to 2"), "{trouble}");
    assert!(trouble.contains("Apache Kafka 0.11"), "{trouble}");
}

#[test]
fn zstd_that_an_old_fetch_cannot_carry_fails_with_the_version_that_can() {
    let source = Source::new(1);
    source.create("packed", 2);
    source.with("packed", 0, |log| {
        log.write(&["a"]);
        log.fetch_error = codes::UNSUPPORTED_COMPRESSION_TYPE;
    });
    source.with("packed", 1, |log| log.write(&["a"]));
    let copy = copy();
    run(&copy, &source, &[]);
    let reason = wait_for_state(&copy, "packed", 0, "FAILED");
    assert!(reason.contains("Kafka 2.1"), "{reason}");
    wait_for_end(&copy, "packed", 1, 1);
}

#[test]
fn missing_rights_are_named_and_copying_goes_on_when_they_come() {
    let source = Source::new(1);
    for name in ["unseen", "unread", "unset", "free"] {
        source.create(name, 1);
        source.with(name, 0, |log| log.write(&["a"]));
    }
    let denied = codes::TOPIC_AUTHORIZATION_FAILED;
    let change = |name: &str, change: &dyn Fn(&mut Topic)| {
        change(source.state().topics.get_mut(name).expect("a topic"));
    };
    change("unseen", &|topic| topic.error = denied);
    change("unset", &|topic| topic.configs_error = denied);
    source.with("unread", 0, |log| log.fetch_error = denied);
    let group = ("a-group".to_owned(), vec![("free".to_owned(), 0, 1)]);
    source.state().groups.extend([group]);
    source.state().offsets_error = 30;
    let copy = copy();
    run(&copy, &source, &[]);
    wait_for_end(&copy, "free", 0, 1);
    for (topic, right) in [
        ("unseen", "Describe"),
        ("unread", "Read"),
        ("unset", "DescribeConfigs"),
    ] {
        let expected = format!("the ACL {right} on topic {topic} is missing");
        wait_until(&expected, || {
            topic_status(&copy, topic).is_some_and(|status| {
                let reason = status["reason"].as_str().unwrap_or_default();
                reason.contains(&expected) && status["state"] == "WAITING"
            })
        });
    }
    wait_until("the group's right", || {
        let why = status(&copy)["groups_not_synced"]["a-group"].clone();
        why.as_str()
            .is_some_and(|why| why.contains("Describe") && why.contains("a-group"))
    });
    change("unseen", &|topic| topic.error = 0);
    change("unset", &|topic| topic.configs_error = 0);
    source.with("unread", 0, |log| log.fetch_error = 0);
    source.state().offsets_error = 0;
    for topic in ["unseen", "unread", "unset"] {
        wait_for_end(&copy, topic, 0, 1);
    }
    wait_until("the group", || {
        copy.connect().committed("a-group", "free", 0) == 1
    });
    assert_verified(&copy, &[]);
}

#[test]
fn what_retention_took_is_counted_and_is_no_difference() {
    let source = Source::new(1);
    source.create("expires", 1);
    source.with("expires", 0, |log| {
        (0..4).for_each(|_| log.write(&["a", "b"]))
    });
    let copy = copy();
    run(&copy, &source, &[]);
    wait_for_end(&copy, "expires", 0, 8);
    copy.http().post("/api/v1/bridge/pause", &json!({})).ok();
    source.with("expires", 0, |log| {
        (0..10).for_each(|_| log.write(&["a", "b"]));
        log.start = 20;
        log.batches.retain(|(_, last, _)| *last >= 20);
    });
    copy.http().post("/api/v1/bridge/run", &json!({})).ok();
    wait_for_end(&copy, "expires", 0, 28);
    let status = topic_status(&copy, "expires").expect("a status");
    assert_eq!(status["partitions"][0]["lost_to_retention"], 12);
    wait_until("the start", || {
        let status = topic_status(&copy, "expires").expect("a status");
        status["partitions"][0]["start"] == 20
    });
    let report = assert_verified(&copy, &["expires"]);
    let explained = report["topics"][0]["partitions"][0]["explained"].to_string();
    assert!(
        explained.contains("12 offsets went by retention"),
        "{explained}"
    );
}

#[test]
fn a_limit_is_kept() {
    let source = Source::new(1);
    source.create("much", 2);
    for partition in 0..2 {
        source.with("much", partition, |log| {
            (0..15).for_each(|_| log.write(&[vec![7; 100_000]]));
        });
    }
    let copy = copy();
    let began = Instant::now();
    run(&copy, &source, &[("limit", "1MB/s".into())]);
    (0..2).for_each(|partition| wait_for_end(&copy, "much", partition, 15));
    // Three megabytes; what comes at once at the end is not waited for.
    assert!(
        began.elapsed() > Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(status(&copy)["limit"], 1_000_000);
    assert_verified(&copy, &["much"]);
}

#[test]
fn settings_follow_and_a_batch_may_be_larger_than_what_is_asked_for() {
    let source = Source::new(1);
    source.create("set", 1);
    // More than the bytes of a fetch.
    source.with("set", 0, |log| {
        log.write(&["small"]);
        log.write(&[vec![7; 9 << 20]]);
        log.write(&["small"]);
    });
    let copy = copy();
    run(&copy, &source, &[]);
    wait_for_end(&copy, "set", 0, 3);
    assert_verified(&copy, &["set"]);
    let change = |value: &str| {
        let mut state = source.state();
        let topic = state.topics.get_mut("set").expect("a topic");
        topic.configs = vec![
            ("retention.ms".to_owned(), value.to_owned()),
            ("vendor.setting".to_owned(), "1".to_owned()),
        ];
    };
    change("86400000");
    assert_eq!(
        verify(&copy, &["set"])["topics"][0]["configs"]["equal"],
        false
    );
    // Within half a minute.
    wait_until("the setting", || {
        verify(&copy, &["set"])["topics"][0]["configs"]["equal"] == true
    });
    let report = verify(&copy, &["set"]);
    assert_eq!(
        report["topics"][0]["configs"]["copy"]["retention.ms"],
        "86400000"
    );
    assert_eq!(
        report["topics"][0]["configs"]["not_taken_over"][0],
        "vendor.setting"
    );
    let note = topic_status(&copy, "set").expect("a status")["note"].to_string();
    assert!(note.contains("vendor.setting"), "{note}");
}

#[test]
fn force_promotes_what_is_here_while_the_source_is_written() {
    let source = Source::new(1);
    source.create("busy", 1);
    source.with("busy", 0, |log| log.grows = true);
    let copy = copy();
    run(&copy, &source, &[]);
    wait_until("some records", || {
        topic_status(&copy, "busy")
            .is_some_and(|topic| topic["partitions"][0]["end"].as_i64() > Some(50))
    });
    let body = |more: &str| {
        let mut body = json!({ "topics": ["busy"], "quiet_ms": 300, "wait_ms": 100 });
        body[more] = true.into();
        body
    };
    let path = "/api/v1/bridge/promote";
    let error = copy.http().post(path, &body("abort_open")).error(409);
    assert!(
        error.contains("writes") || error.contains("drained"),
        "{error}"
    );
    let done = copy.http().post(path, &body("force")).ok();
    let next = done["promoted"][0]["partitions"][0]["next_offset"].as_i64();
    let mut here = copy.connect();
    assert_eq!(Some(here.produce("busy", 0, Batch::of(&["here"]))), next);
    let text = here.read_text("busy", 0);
    let expected = (0..next.expect("an offset")).map(|n| n.to_string());
    assert!(text.iter().cloned().eq(expected.chain(["here".to_owned()])));
}
