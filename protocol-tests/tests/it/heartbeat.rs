//! Heartbeat (12).

use kafka_protocol::messages::HeartbeatRequest;
use protocol_tests::calls::text;
use protocol_tests::groups::{HEARTBEAT, Member, form, heartbeat_request};
use protocol_tests::{Broker, codes};

/// Test 72, and who is not heard.
#[test]
fn heartbeats_say_how_the_group_is() {
    let broker = Broker::shared();
    let group = broker.group("heartbeat");
    let mut members = vec![
        Member::of_instance(&broker, &group, "one"),
        Member::new(&broker, &group),
    ];
    form(&mut members);
    let generation = members[1].generation;
    let two = members[1].id();
    let mut client = broker.connect();
    let mut check = |request: HeartbeatRequest, expected: i16, what: &str| {
        assert_eq!(
            client.call(HEARTBEAT, &request).error_code,
            expected,
            "{what}"
        );
    };
    let good = heartbeat_request(&group, generation, &two);
    check(
        heartbeat_request("", 1, "x"),
        codes::INVALID_GROUP_ID,
        "no group id",
    );
    check(
        heartbeat_request("none", 1, "x"),
        codes::UNKNOWN_MEMBER_ID,
        "no group",
    );
    check(
        good.clone().with_member_id(text("x")),
        codes::UNKNOWN_MEMBER_ID,
        "no member",
    );
    check(
        good.clone().with_generation_id(generation + 1),
        codes::ILLEGAL_GENERATION,
        "ahead",
    );
    check(
        good.clone().with_generation_id(-1),
        codes::ILLEGAL_GENERATION,
        "none",
    );
    let instance = good.clone().with_group_instance_id(Some(text("one")));
    check(instance, codes::FENCED_INSTANCE_ID, "another's instance");
    check(good, codes::NONE, "good");
    for version in 0..=4 {
        let request = heartbeat_request(&group, generation, &two);
        let answer = members[1].client.call(version, &request);
        assert_eq!(answer.error_code, codes::NONE, "v{version}");
    }
    // While members join, and while the leader assigns.
    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    let follower = 1 - leader;
    let again = members[leader].send_join();
    members[follower].wait_for_rebalance();
    assert_eq!(members[follower].heartbeat(), codes::REBALANCE_IN_PROGRESS);
    members[follower].join();
    members[leader].receive_join(again);
    assert_eq!(members[follower].heartbeat(), codes::NONE);
}
