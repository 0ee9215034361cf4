//! SyncGroup (14).

use kafka_protocol::messages::SyncGroupRequest;
use protocol_tests::calls::text;
use protocol_tests::groups::{Member, SYNC, form, sync_request};
use protocol_tests::{Broker, codes};

/// Test 70. The leader's word is waited for; whom it does not name gets nothing; a follower's word is
/// not heeded; what was assigned can be asked for again.
#[test]
fn assignments_are_the_leaders() {
    let broker = Broker::shared();
    let group = broker.group("sync");
    let mut members: Vec<Member> = (0..3).map(|_| Member::new(&broker, &group)).collect();
    form(&mut members);
    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    members.swap(0, leader);
    protocol_tests::groups::join_all(&mut members);
    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    members.swap(0, leader);
    let ids: Vec<String> = members.iter().map(Member::id).collect();
    let early = members[1].send_sync(&[(&ids[1], "a follower's"), (&ids[2], "word")]);
    let synced = members[0].sync(&[(&ids[1], "yours"), ("nobody", "lost")]);
    assert_eq!(
        (synced.error_code, &*synced.assignment),
        (codes::NONE, &b""[..])
    );
    assert_eq!(synced.protocol_type, Some(text("consumer")));
    assert_eq!(synced.protocol_name, Some(text("range")));
    let synced = members[1].client.receive(early);
    assert_eq!(&*synced.assignment, b"yours");
    assert_eq!(&*members[2].sync(&[]).assignment, b"");
    assert_eq!(&*members[1].sync(&[]).assignment, b"yours", "again");
    for version in 0..=4 {
        let request = sync_request(&group, members[1].generation, &ids[1]);
        let synced = members[1].client.call(version, &request);
        assert_eq!(&*synced.assignment, b"yours", "v{version}");
    }
}

/// Who may not sync, and when.
#[test]
fn bad_requests_are_refused() {
    let broker = Broker::shared();
    let group = broker.group("sync-bad");
    let mut members = vec![
        Member::of_instance(&broker, &group, "one"),
        Member::new(&broker, &group),
    ];
    form(&mut members);
    let (one, two) = (members[0].id(), members[1].id());
    let generation = members[0].generation;
    let mut client = broker.connect();
    let mut check = |request: SyncGroupRequest, expected: i16, what: &str| {
        let refused = client.call(SYNC, &request);
        assert_eq!(refused.error_code, expected, "{what}");
        assert_eq!(refused.assignment.is_empty(), expected != codes::NONE);
    };
    let good = sync_request(&group, generation, &two);
    check(
        sync_request("", 1, ""),
        codes::INVALID_GROUP_ID,
        "no group id",
    );
    check(
        sync_request("none", 1, "x"),
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
        good.clone().with_generation_id(generation - 1),
        codes::ILLEGAL_GENERATION,
        "behind",
    );
    let typed = good.clone().with_protocol_type(Some(text("connect")));
    check(typed, codes::INCONSISTENT_GROUP_PROTOCOL, "another type");
    let named = good.clone().with_protocol_name(Some(text("other")));
    check(
        named,
        codes::INCONSISTENT_GROUP_PROTOCOL,
        "another protocol",
    );
    let unnamed = good.clone().with_protocol_name(None);
    check(unnamed, codes::INCONSISTENT_GROUP_PROTOCOL, "no protocol");
    let untyped = good.clone().with_protocol_type(None);
    check(
        untyped,
        codes::INCONSISTENT_GROUP_PROTOCOL,
        "no protocol type",
    );
    let instance = good.clone().with_group_instance_id(Some(text("one")));
    check(instance, codes::FENCED_INSTANCE_ID, "another's instance");
    let instance = good.clone().with_group_instance_id(Some(text("three")));
    check(instance, codes::UNKNOWN_MEMBER_ID, "no instance");
    check(good.clone(), codes::NONE, "good");
    check_rebalancing(&mut members, &one);
}

/// A SyncGroup that waits is told when there is a new rebalance, and one in the middle of it.
fn check_rebalancing(members: &mut [Member], _one: &str) {
    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    let again = members[leader].send_join();
    let follower = 1 - leader;
    members[follower].wait_for_rebalance();
    let early = members[follower].sync(&[]);
    assert_eq!(early.error_code, codes::REBALANCE_IN_PROGRESS);
    members[follower].join();
    members[leader].receive_join(again);
    // The follower waits for its assignment, and the leader joins again with something new.
    let waits = members[follower].send_sync(&[]);
    members[leader].request.protocols[0].metadata = "new".into();
    let again = members[leader].send_join();
    let told = members[follower].client.receive(waits);
    assert_eq!(told.error_code, codes::REBALANCE_IN_PROGRESS);
    members[follower].join();
    members[leader].receive_join(again);
}
