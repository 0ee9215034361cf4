//! The bridge: a second Trestle copies the broker under test, which with `KAFKA_BOOTSTRAP` is Apache
//! Kafka. What is compared is bytes, offsets and what clients see; that `verify` says the same is a test
//! of `verify`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kafka_protocol::messages::CreatePartitionsRequest;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol_tests::calls::{fetch_partition, fetch_request, topic_name};
use protocol_tests::groups::commit_request;
use protocol_tests::transactions::Transactional;
use protocol_tests::{Batch, Broker, Client, Codec, Record, codes, unique, wait_for, wait_until};
use serde_json::{Value, json};

const HTTP: &[&str] = &["--http", "127.0.0.1:0"];

pub(super) fn copy() -> Broker {
    Broker::trestle_on_disk(HTTP)
}

/// Has `copy` copy what matches `pattern` of `source`.
fn run(copy: &Broker, source: &Broker, pattern: &str) {
    let body = json!({ "from": source.address(), "topics": [pattern] });
    copy.http().post("/api/v1/bridge/run", &body).ok();
}

pub(super) fn status(copy: &Broker) -> Value {
    copy.http().get("/api/v1/bridge/status").ok()["jobs"][0].clone()
}

pub(super) fn topic_status(copy: &Broker, topic: &str) -> Option<Value> {
    let status = status(copy);
    let topics = status["topics"].as_array()?;
    topics.iter().find(|one| one["topic"] == topic).cloned()
}

/// Waits until each of `topics` is where its source is.
fn wait_for_copies(copy: &Broker, source: &Broker, topics: &[(&str, i32)]) {
    let mut there = source.connect();
    let mut here = copy.connect();
    for (topic, partitions) in topics {
        wait_until(&format!("the copy of {topic}"), || {
            let status = topic_status(copy, topic);
            let follows = status.is_some_and(|status| {
                let known = status["partitions"].as_array().map_or(0, Vec::len);
                status["state"] == "FOLLOWING" && known == *partitions as usize
            });
            follows
                && (0..*partitions).all(|partition| {
                    here.end_offset(topic, partition) == there.end_offset(topic, partition)
                })
        });
    }
}

pub(super) fn verify(copy: &Broker, topics: &[&str]) -> Value {
    let body = json!({ "topics": topics });
    copy.http().post("/api/v1/bridge/verify", &body).ok()
}

pub(super) fn assert_verified(copy: &Broker, topics: &[&str]) -> Value {
    let report = verify(copy, topics);
    assert_eq!(report["equal"], true, "{report:#}");
    report
}

fn promote(copy: &Broker, topic: &str, more: &[(&str, Value)]) -> protocol_tests::http::Response {
    let mut body = json!({ "topics": [topic], "quiet_ms": 300, "wait_ms": 2000 });
    for (name, value) in more {
        body[*name] = value.clone();
    }
    copy.http().post("/api/v1/bridge/promote", &body)
}

/// Every byte of a partition's batches.
fn raw(client: &mut Client, topic: &str, partition: i32, from: i64) -> Vec<u8> {
    let end = client.end_offset(topic, partition);
    let mut bytes = Vec::new();
    let mut next = from;
    while next < end {
        let request = fetch_request(topic, vec![fetch_partition(partition, next)]);
        let fetched = client.fetch_one(12, &request);
        assert_eq!(fetched.error_code, codes::NONE);
        let records = fetched.records.expect("records");
        let records = protocol_tests::records::without_cut_batch(records);
        let batches = protocol_tests::records::batches(records);
        for batch in &batches {
            next = batch.base_offset + i64::from(batch.last_offset_delta) + 1;
            bytes.extend_from_slice(&batch.bytes);
        }
        assert!(!batches.is_empty(), "no batch at {next} of {end}");
    }
    bytes
}

fn commit_with(
    client: &mut Client,
    group: &str,
    (topic, offset, epoch): (&str, i64, i32),
    note: &str,
) {
    let mut request = commit_request(group, -1, "", (topic, 0, offset));
    let partition = &mut request.topics[0].partitions[0];
    partition.committed_leader_epoch = epoch;
    partition.committed_metadata = Some(protocol_tests::calls::text(note));
    let response = client.call(8, &request);
    assert_eq!(response.topics[0].partitions[0].error_code, codes::NONE);
}

#[test]
fn bytes_offsets_transactions_and_groups_arrive_as_they_are() {
    let source = Broker::shared();
    let copy = copy();
    let mut there = source.connect();
    let prefix = unique("bridged");
    let plain = format!("{prefix}-plain");
    let id = there.create_topic_with(&plain, 2, &[("retention.ms", "86400000000")]);
    for codec in [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        let records = (0..20).map(|n| Record::new(format!("{codec:?} {n}")).key(format!("{n}")));
        there.produce(&plain, 0, Batch::records(records.collect()).codec(codec));
    }
    // The log start lies within a batch, and the other partition is empty with a moved start.
    there.delete_records(&plain, 0, 7);
    there.produce(&plain, 1, Batch::of(&["a", "b", "c"]));
    there.delete_records(&plain, 1, 3);
    let txn = format!("{prefix}-txn");
    there.create_topic(&txn, 1);
    let mut producer = Transactional::new(&mut there);
    for commit in [true, false, true] {
        producer.add(&mut there, &txn, 0);
        producer.write(&mut there, &txn, 0, &["x", "y"]);
        producer.end(&mut there, commit);
    }
    let group = source.group("bridge-group");
    commit_with(&mut there, &group, (&plain, 42, 0), "a note");

    run(&copy, &source, &format!("{prefix}.*"));
    wait_for_copies(&copy, &source, &[(&plain, 2), (&txn, 1)]);
    let mut here = copy.connect();
    let described = here.describe_topic(&plain);
    assert_eq!((described.topic_id, described.partitions.len()), (id, 2));
    for (topic, partition) in [(&plain, 0), (&plain, 1), (&txn, 0)] {
        for time in [-2, -1] {
            let offsets = [&mut there, &mut here]
                .map(|client| client.list_offset(topic, partition, time).offset);
            assert_eq!(offsets[0], offsets[1], "{topic}/{partition} at {time}");
        }
        let from = there.list_offset(topic, partition, -2).offset;
        let (theirs, ours) = (
            raw(&mut there, topic, partition, from),
            raw(&mut here, topic, partition, from),
        );
        assert!(theirs == ours, "{topic}/{partition} differs");
        assert!(here.leader_epoch(topic, partition) > there.leader_epoch(topic, partition));
    }
    assert_eq!(
        here.read_committed_text(&txn, 0),
        there.read_committed_text(&txn, 0)
    );
    assert_eq!(
        here.fetch_committed(&txn, 0, 0).aborted,
        there.fetch_committed(&txn, 0, 0).aborted
    );
    wait_until("the group's offset", || {
        here.committed(&group, &plain, 0) == 42
    });
    let committed = here.try_fetch_offset(&group, &plain, 0).expect("an answer");
    assert_eq!(committed.metadata.as_deref(), Some("a note"));
    assert_eq!(committed.committed_leader_epoch, 0);

    // Nobody else writes a copy.
    let refused = here.try_produce(&plain, 0, Batch::of(&["no"]));
    assert_eq!(refused.error_code, codes::NOT_ENOUGH_REPLICAS);
    let message = refused.error_message.expect("a message").to_string();
    assert!(message.contains("mirrored"), "{message}");

    let report = assert_verified(&copy, &[&plain, &txn]);
    let partition = &report["topics"][0]["partitions"][0];
    assert_eq!(partition["source"]["sha256"], partition["copy"]["sha256"]);
    assert_eq!(partition["source"]["records"], 100);
}

#[test]
fn what_is_written_during_the_copy_follows_and_clients_go_on_after_promotion() {
    let source = Broker::shared();
    let mut copy = copy();
    let mut there = source.connect();
    let topic = unique("promoted");
    there.create_topic(&topic, 1);
    let (id, epoch) = there.init_producer();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, topic, mut client) = (stop.clone(), topic.clone(), source.connect());
        std::thread::spawn(move || {
            let mut sequence = 0;
            while !stop.load(Ordering::Relaxed) {
                let batch = Batch::of(&[format!("{sequence}")]).producer(id, epoch, sequence);
                client.produce(&topic, 0, batch);
                sequence += 1;
            }
            sequence
        })
    };
    let group = source.group("switching");
    commit_with(&mut there, &group, (&topic, 1, 0), "");
    run(&copy, &source, &topic);
    let mut here = copy.connect();
    wait_until("some records", || {
        topic_status(&copy, &topic).is_some_and(|status| status["state"] != "WAITING")
            && here.end_offset(&topic, 0) > 100
    });
    assert_verified(&copy, &[&topic]);
    let error = promote(&copy, &topic, &[]).error(409);
    assert!(
        error.contains("writes") || error.contains("drained"),
        "{error}"
    );
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().expect("the writer");
    let epoch_before = here.leader_epoch(&topic, 0);
    let dry = promote(&copy, &topic, &[("dry_run", true.into())]).ok();
    assert_eq!(dry["promoted"][0]["partitions"][0]["next_offset"], written);
    wait_until("the group's offset", || {
        here.committed(&group, &topic, 0) == 1
    });
    let done = promote(&copy, &topic, &[]).ok();
    assert_eq!(done["promoted"][0]["partitions"][0]["next_offset"], written);

    // A late retry is recognised, the next batch goes on, and another producer's ids are others.
    let retry = Batch::of(&[format!("{}", written - 1)]).producer(id, epoch, written - 1);
    assert_eq!(here.produce(&topic, 0, retry), i64::from(written) - 1);
    let next = Batch::of(&[format!("{written}")]).producer(id, epoch, written);
    assert_eq!(here.produce(&topic, 0, next), i64::from(written));
    let (other, other_epoch) = here.init_producer();
    let first = Batch::of(&["other"]).producer(other, other_epoch, 0);
    assert_eq!(here.produce(&topic, 0, first), i64::from(written) + 1);
    assert!(here.leader_epoch(&topic, 0) >= epoch_before);
    let text = here.read_text(&topic, 0);
    let expected = (0..=written)
        .map(|n| n.to_string())
        .chain(["other".to_owned()]);
    assert!(text.iter().cloned().eq(expected));
    assert_eq!(here.committed(&group, &topic, 0), 1);

    // It stays so over a restart.
    copy.kill();
    copy.restart();
    let mut here = copy.connect();
    assert_eq!(here.read_text(&topic, 0).len(), text.len());
    here.produce(&topic, 0, Batch::of(&["after"]));
    let state = || topic_status(&copy, &topic).map(|status| status["state"].clone());
    wait_until("the job to see it", || {
        state().is_none_or(|state| state == "PROMOTED")
    });
}

#[test]
fn an_open_transaction_holds_promotion_back_until_it_is_aborted_here() {
    let source = Broker::shared();
    let copy = copy();
    let mut there = source.connect();
    let topic = unique("open");
    there.create_topic(&topic, 1);
    there.produce(&topic, 0, Batch::of(&["plain"]));
    let mut producer = Transactional::new(&mut there);
    producer.add(&mut there, &topic, 0);
    producer.write(&mut there, &topic, 0, &["open"]);
    run(&copy, &source, &topic);
    let mut here = copy.connect();
    wait_until("the copy", || {
        topic_status(&copy, &topic).is_some_and(|status| status["state"] == "FOLLOWING")
            && here.end_offset(&topic, 0) == 2
    });
    assert_eq!(here.fetch_committed(&topic, 0, 0).last_stable, 1);
    let error = promote(&copy, &topic, &[]).error(409);
    assert!(error.contains(&producer.producer_id.to_string()), "{error}");
    promote(&copy, &topic, &[("abort_open", true.into())]).ok();
    wait_until("the end", || {
        here.fetch_committed(&topic, 0, 0).last_stable == 3
    });
    assert_eq!(here.read_committed_text(&topic, 0), ["plain"]);
    producer.end(&mut there, true);
}

#[test]
fn new_topics_partitions_and_settings_are_picked_up_and_a_recreated_topic_fails_alone() {
    let source = Broker::shared();
    let copy = copy();
    let mut there = source.connect();
    let prefix = unique("grows");
    let (first, second) = (format!("{prefix}-a"), format!("{prefix}-b"));
    there.create_topic(&first, 1);
    there.produce(&first, 0, Batch::of(&["one"]));
    run(&copy, &source, &format!("{prefix}.*"));
    wait_for_copies(&copy, &source, &[(&first, 1)]);
    there.create_topic(&second, 1);
    there.produce(&second, 0, Batch::of(&["two"]));
    let more = CreatePartitionsTopic::default()
        .with_name(topic_name(&first))
        .with_count(3)
        .with_assignments(None);
    let more = CreatePartitionsRequest::default()
        .with_topics(vec![more])
        .with_timeout_ms(10_000);
    assert_eq!(there.call(3, &more).results[0].error_code, codes::NONE);
    there.wait_for_leaders(&first, 3);
    there.produce(&first, 2, Batch::of(&["three"]));
    wait_for_copies(&copy, &source, &[(&first, 3), (&second, 1)]);
    assert_eq!(copy.connect().read_text(&first, 2), ["three"]);
    assert_verified(&copy, &[]);

    there.delete_topic(&second);
    wait_for("the topic to be made anew", || {
        let made = there.try_create(protocol_tests::calls::creatable(&second, 1, &[]));
        (made.error_code == codes::NONE).then_some(())
    });
    there.wait_for_leaders(&second, 1);
    there.produce(&second, 0, Batch::of(&["another", "life"]));
    let status = wait_for("the failure", || {
        topic_status(&copy, &second).filter(|status| status["state"] == "FAILED")
    });
    assert!(status["reason"].as_str().is_some_and(|why| !why.is_empty()));
    // What was copied is there, and the others go on.
    assert_eq!(copy.connect().read_text(&second, 0), ["two"]);
    there.produce(&first, 0, Batch::of(&["four"]));
    wait_until("the other topic", || {
        copy.connect().end_offset(&first, 0) == 2
    });
    assert_eq!(verify(&copy, &[&second])["equal"], false);
}

#[test]
fn a_group_that_is_used_here_is_left_alone() {
    let source = Broker::shared();
    let mut copy = copy();
    let mut there = source.connect();
    let topic = unique("groups");
    there.create_topic(&topic, 1);
    there.produce(&topic, 0, Batch::counted(50));
    let (used, other) = (source.group("used"), source.group("other"));
    commit_with(&mut there, &used, (&topic, 10, 0), "");
    commit_with(&mut there, &other, (&topic, 10, 0), "");
    run(&copy, &source, &topic);
    let mut here = copy.connect();
    for group in [&used, &other] {
        wait_until("the offset", || here.committed(group, &topic, 0) == 10);
    }
    // Higher here; never lowered, and a sign that somebody works with it.
    assert_eq!(here.commit(&used, &topic, 0, 30), codes::NONE);
    commit_with(&mut there, &used, (&topic, 40, 0), "");
    commit_with(&mut there, &other, (&topic, 20, 0), "");
    wait_until("the other group", || {
        here.committed(&other, &topic, 0) == 20
    });
    wait_until("the reason", || {
        status(&copy)["groups_not_synced"][&used]
            .as_str()
            .is_some_and(|why| why.contains("active"))
    });
    assert_eq!(here.committed(&used, &topic, 0), 30);

    // Also where the job rested meanwhile, and the broker forgot what it had brought.
    copy.http().post("/api/v1/bridge/pause", &json!({})).ok();
    assert_eq!(here.commit(&other, &topic, 0, 25), codes::NONE);
    commit_with(&mut there, &other, (&topic, 45, 0), "");
    copy.kill();
    copy.restart();
    copy.http().post("/api/v1/bridge/run", &json!({})).ok();
    wait_until("the other reason", || {
        status(&copy)["groups_not_synced"][&other]
            .as_str()
            .is_some_and(|why| why.contains("active"))
    });
    assert_eq!(copy.connect().committed(&other, &topic, 0), 25);
}

#[test]
fn a_source_that_cannot_be_reached_is_named() {
    let Some(source) = Broker::in_memory(&[]) else {
        return;
    };
    let copy = copy();
    let mut source = source;
    let topic = "there";
    source.connect().create_topic(topic, 1);
    run(&copy, &source, topic);
    wait_for_copies(&copy, &source, &[(topic, 1)]);
    source.kill();
    let trouble = wait_for("the trouble", || {
        status(&copy)["trouble"].as_str().map(str::to_owned)
    });
    assert!(trouble.contains(source.address()), "{trouble}");
    let error = copy
        .http()
        .post("/api/v1/bridge/verify", &json!({}))
        .error(502);
    assert!(error.contains(source.address()), "{error}");
    for (body, status) in [
        (json!({ "from": "", "job": "x" }), 400),
        (json!({ "from": "a:1", "job": "a/b" }), 400),
        (json!({ "from": "a:1", "topics": ["("] }), 400),
        (json!({ "from": "a:1", "limit": "fast" }), 400),
        (json!({ "from": "a:1", "config": "/nowhere" }), 400),
        (json!({ "form": "a:1" }), 400),
    ] {
        copy.http().post("/api/v1/bridge/run", &body).error(status);
    }
    let missing = json!({ "job": "none" });
    copy.http()
        .post("/api/v1/bridge/pause", &missing)
        .error(404);
    copy.http().post("/api/v1/bridge/pause", &json!({})).ok();
    assert_eq!(status(&copy)["state"], "PAUSED");
    let metrics = copy.http().get("/metrics").body;
    let metrics = String::from_utf8(metrics).expect("text");
    assert!(metrics.contains("trestle_bridge_lag_records{job=\"default\"} 0"));
}

/// kill -9 of either side while producers write, `TRESTLE_CRASH_ROUNDS` times, 3 unless set.
#[test]
fn kills_of_either_side_leave_no_gap_and_nothing_twice() {
    let Some(mut source) = Broker::on_disk(&[]) else {
        return;
    };
    let mut copy = copy();
    let rounds = std::env::var("TRESTLE_CRASH_ROUNDS");
    let rounds: usize = rounds.map_or(3, |rounds| rounds.parse().expect("a number of rounds"));
    let topic = "killed";
    source.connect().create_topic(topic, 2);
    for round in 0..rounds {
        // After a restart the source may be elsewhere.
        run(&copy, &source, topic);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..2)
            .map(|partition| {
                let (stop, mut client) = (stop.clone(), source.connect());
                std::thread::spawn(move || {
                    let mut n = 0;
                    while !stop.load(Ordering::Relaxed) && n < 400 {
                        let request = protocol_tests::calls::produce_request(
                            topic,
                            partition,
                            Batch::of(&[format!("{round} {n}")]).encode(),
                        );
                        if client.try_call(9, &request).is_none() {
                            return;
                        }
                        n += 1;
                    }
                })
            })
            .collect();
        let mut here = copy.connect();
        let before: i64 = (0..2)
            .map(|partition| end(&mut here, topic, partition))
            .sum();
        wait_until("some records", || {
            (0..2)
                .map(|partition| end(&mut here, topic, partition))
                .sum::<i64>()
                > before + 50
        });
        if round % 3 == 1 {
            source.kill();
        } else {
            copy.kill();
            copy.restart();
        }
        stop.store(true, Ordering::Relaxed);
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("a writer"));
        if round % 3 == 1 {
            source.restart();
            run(&copy, &source, topic);
        }
        wait_for_copies(&copy, &source, &[(topic, 2)]);
        assert_verified(&copy, &[topic]);
        for partition in 0..2 {
            let (theirs, ours) = (
                raw(&mut source.connect(), topic, partition, 0),
                raw(&mut copy.connect(), topic, partition, 0),
            );
            assert!(theirs == ours, "round {round}, partition {partition}");
        }
    }
}

/// The end of a partition that may not be there yet.
fn end(client: &mut Client, topic: &str, partition: i32) -> i64 {
    let found = client.list_offset(topic, partition, -1);
    if found.error_code == codes::NONE {
        found.offset
    } else {
        0
    }
}
