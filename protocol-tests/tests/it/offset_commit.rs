//! OffsetCommit (8).

use bytes::BufMut;
use kafka_protocol::messages::OffsetCommitRequest;
use protocol_tests::calls::{text, topic_name};
use protocol_tests::groups::{COMMIT, Member, commit_request, form, group_id};
use protocol_tests::{Broker, Frame, codes, unique};

/// Test 79, and what comes back: each partition is judged alone.
#[test]
fn offsets_are_kept() {
    let broker = Broker::shared();
    let group = broker.group("commit");
    let mut client = broker.connect();
    let topic = unique("commit");
    client.create_topic(&topic, 3);
    let mut request = commit_request(&group, -1, "", (&topic, 0, 42));
    let good = request.topics[0].partitions[0].clone();
    request.topics[0].partitions = vec![
        good.clone()
            .with_committed_leader_epoch(3)
            .with_committed_metadata(Some(text("note"))),
        good.clone()
            .with_partition_index(1)
            .with_committed_metadata(None),
        good.clone()
            .with_partition_index(2)
            .with_committed_metadata(Some(text(&"x".repeat(4097)))),
        good.clone().with_partition_index(3),
        good.clone().with_partition_index(-1),
    ];
    let mut missing = request.topics[0].clone();
    missing.name = topic_name("missing");
    missing.partitions.truncate(1);
    request.topics.push(missing);
    let answer = client.call(COMMIT, &request);
    let codes_of = |at: usize| {
        let partitions = &answer.topics[at].partitions;
        let all = partitions
            .iter()
            .map(|one| (one.partition_index, one.error_code));
        all.collect::<Vec<_>>()
    };
    // Kafka answers the topics that it refuses first.
    let (own, other) = match *answer.topics[0].name == *topic {
        true => (0, 1),
        false => (1, 0),
    };
    let mut own = codes_of(own);
    own.sort_unstable();
    assert_eq!(
        own,
        [
            (-1, codes::UNKNOWN_TOPIC_OR_PARTITION),
            (0, codes::NONE),
            (1, codes::NONE),
            (2, codes::OFFSET_METADATA_TOO_LARGE),
            (3, codes::UNKNOWN_TOPIC_OR_PARTITION),
        ]
    );
    assert_eq!(codes_of(other), [(0, codes::UNKNOWN_TOPIC_OR_PARTITION)]);
    let kept = client.try_fetch_offset(&group, &topic, 0).expect("kept");
    assert_eq!(
        (kept.committed_offset, kept.committed_leader_epoch),
        (42, 3)
    );
    assert_eq!(kept.metadata, Some(text("note")));
    let kept = client.try_fetch_offset(&group, &topic, 1).expect("kept");
    assert_eq!(
        (kept.committed_offset, kept.committed_leader_epoch),
        (42, -1)
    );
    assert_eq!(kept.metadata, Some(text("")));
    assert_eq!(client.committed(&group, &topic, 2), -1);
    // Beyond the end, and back: no offset is out of range.
    for offset in [1_000_000, 0, 7] {
        assert_eq!(client.commit(&group, &topic, 0, offset), codes::NONE);
        assert_eq!(client.committed(&group, &topic, 0), offset);
    }
    let long = request.topics[0].partitions[2]
        .clone()
        .with_committed_metadata(Some(text(&"x".repeat(4096))));
    request.topics[0].partitions = vec![long];
    request.topics.truncate(1);
    let answer = client.call(COMMIT, &request);
    assert_eq!(answer.topics[0].partitions[0].error_code, codes::NONE);
}

/// Tests 78 and 80. Who may commit, and when.
#[test]
fn members_commit_and_others_may_not() {
    let broker = Broker::shared();
    let group = broker.group("commit-who");
    let topic = unique("commit-who");
    let mut client = broker.connect();
    client.create_topic(&topic, 1);
    let place = (&*topic, 0, 5);
    let mut check = |request: &OffsetCommitRequest, version, expected, what: &str| {
        let answer = client.call(version, request);
        let code = answer.topics[0].partitions[0].error_code;
        assert_eq!(code, expected, "{what} v{version}");
    };
    let absent = commit_request(&group, 5, "nobody", place);
    check(&absent, 9, codes::GROUP_ID_NOT_FOUND, "no group");
    check(&absent, 8, codes::ILLEGAL_GENERATION, "no group");
    let mut members = vec![
        Member::of_instance(&broker, &group, "one"),
        Member::new(&broker, &group),
    ];
    form(&mut members);
    let (generation, two) = (members[1].generation, members[1].id());
    let good = commit_request(&group, generation, &two, place);
    for version in 2..=9 {
        check(&good, version, codes::NONE, "good");
    }
    let admin = commit_request(&group, -1, "", place);
    check(
        &admin,
        9,
        codes::UNKNOWN_MEMBER_ID,
        "no member of a live group",
    );
    let ahead = commit_request(&group, generation + 1, &two, place);
    check(&ahead, 9, codes::ILLEGAL_GENERATION, "ahead");
    let stranger = commit_request(&group, generation, "nobody", place);
    check(&stranger, 9, codes::UNKNOWN_MEMBER_ID, "a stranger");
    let other = good.clone().with_group_instance_id(Some(text("one")));
    check(&other, 9, codes::FENCED_INSTANCE_ID, "another's instance");

    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    let follower = 1 - leader;
    let again = members[leader].send_join();
    members[follower].wait_for_rebalance();
    assert_eq!(
        members[follower].commit(&topic, 0, 6),
        codes::NONE,
        "while giving up"
    );
    members[follower].join();
    members[leader].receive_join(again);
    let code = members[follower].commit(&topic, 0, 7);
    assert_eq!(code, codes::REBALANCE_IN_PROGRESS, "before it is assigned");
    assert_eq!(client.committed(&group, &topic, 0), 6);
    for member in &mut members {
        let id = member.id();
        let instance = member.request.group_instance_id.clone();
        // An admin's way, which is right for both.
        let _ = match instance {
            Some(_) => member.client.call(2, &leave(&group, &id)).error_code,
            None => member.leave(),
        };
    }
    assert_eq!(client.group_state(&group), "Empty");
    assert_eq!(
        client.commit(&group, &topic, 0, 8),
        codes::NONE,
        "to an empty group"
    );
    assert_eq!(client.committed(&group, &topic, 0), 8);
}

fn leave(group: &str, member: &str) -> kafka_protocol::messages::LeaveGroupRequest {
    kafka_protocol::messages::LeaveGroupRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
}

/// Test 110. Version 1, which sarama sends up to 1.40.
#[test]
fn version_1_is_served() {
    let broker = Broker::shared();
    if broker.skip_on_kafka("has no version 1 any more") {
        return;
    }
    let group = broker.group("commit-old");
    let topic = unique("commit-old");
    let mut client = broker.connect();
    client.create_topic(&topic, 2);
    let string = |body: &mut Vec<u8>, text: &str| {
        body.put_i16(text.len() as i16);
        body.put_slice(text.as_bytes());
    };
    let mut body = Vec::new();
    string(&mut body, &group);
    body.put_i32(-1);
    string(&mut body, "");
    body.put_i32(1);
    string(&mut body, &topic);
    body.put_i32(2);
    for partition in 0..2 {
        body.put_i32(partition);
        body.put_i64(40 + i64::from(partition));
        body.put_i64(1_234);
        string(&mut body, "old");
    }
    client.send_bytes(&Frame::new(8, 1).body(&body).encode());
    let answer = client.next_frame().expect("an answer");
    // Correlation id, one topic, its name, two partitions of an index and an error.
    let mut expected = answer[..4].to_vec();
    expected.put_i32(1);
    string(&mut expected, &topic);
    expected.put_i32(2);
    for partition in 0..2 {
        expected.put_i32(partition);
        expected.put_i16(codes::NONE);
    }
    assert_eq!(answer, expected);
    assert_eq!(client.committed(&group, &topic, 0), 40);
    assert_eq!(client.committed(&group, &topic, 1), 41);
}

/// Test 100's part: a topic that is deleted takes its offsets along, also from one that comes after it.
#[test]
fn offsets_go_with_their_topic() {
    let broker = Broker::shared();
    let group = broker.group("commit-gone");
    let topic = unique("commit-gone");
    let mut client = broker.connect();
    client.create_topic(&topic, 1);
    assert_eq!(client.commit(&group, &topic, 0, 9), codes::NONE);
    assert_eq!(client.committed(&group, &topic, 0), 9);
    client.delete_topic(&topic);
    client.create_topic(&topic, 1);
    protocol_tests::wait_until("the offset to go", || {
        client.committed(&group, &topic, 0) == -1
    });
}
