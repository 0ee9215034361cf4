//! JoinGroup (11).

use std::time::Duration;

use kafka_protocol::messages::JoinGroupRequest;
use protocol_tests::calls::text;
use protocol_tests::groups::{
    JOIN, Member, SESSION_MS, form, group_id, join_all, join_request, protocol, share_out,
    subscription,
};
use protocol_tests::{Broker, codes, unique, wait_until};

/// Test 68. From v4 on a new member is told its id and asks again; before, and with an instance id, it
/// is let in at once.
#[test]
fn a_new_member_is_told_its_id() {
    let broker = Broker::shared();
    let group = broker.group("join-id");
    let mut client = broker.connect();
    for version in 4..=9 {
        let told = client.call(version, &join_request(&group, ""));
        assert_eq!(told.error_code, codes::MEMBER_ID_REQUIRED, "v{version}");
        assert!(told.member_id.starts_with("protocol-tests-"), "{told:?}");
        assert_eq!((told.generation_id, &*told.leader), (-1, ""));
        assert!(told.members.is_empty());
    }
    for version in 0..=3 {
        let group = broker.group("join-at-once");
        let joined = client.call(version, &join_request(&group, ""));
        assert_eq!(joined.error_code, codes::NONE, "v{version}");
        assert_eq!(joined.generation_id, 1);
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members.len(), 1);
    }
    let mut fixed = Member::of_instance(&broker, &broker.group("join-fixed"), "i-1");
    fixed.join();
    assert!(fixed.id().starts_with("i-1-"), "{}", fixed.id());
    assert_eq!(fixed.joined.members[0].group_instance_id, Some(text("i-1")));
}

/// What is checked, and in which order.
#[test]
fn bad_requests_are_refused() {
    let broker = Broker::shared();
    let group = broker.group("join-bad");
    let mut client = broker.connect();
    let good = join_request(&group, "");
    let mut check = |request: JoinGroupRequest, expected: i16, what: &str| {
        let refused = client.call(JOIN, &request);
        assert_eq!(refused.error_code, expected, "{what}");
        assert_eq!(refused.generation_id, -1, "{what}");
        assert_eq!(
            (&refused.protocol_type, &refused.protocol_name),
            (&None, &None)
        );
    };
    check(
        good.clone()
            .with_group_id(group_id(""))
            .with_session_timeout_ms(1),
        codes::INVALID_GROUP_ID,
        "no group",
    );
    for timeout in [99, 1_800_001, -1] {
        check(
            good.clone().with_session_timeout_ms(timeout),
            codes::INVALID_SESSION_TIMEOUT,
            "session",
        );
    }
    check(
        good.clone().with_member_id(text("nobody")),
        codes::UNKNOWN_MEMBER_ID,
        "no such group",
    );
    check(
        good.clone().with_protocols(vec![]),
        codes::INCONSISTENT_GROUP_PROTOCOL,
        "no protocols",
    );
    check(
        good.clone().with_protocol_type(text("")),
        codes::INCONSISTENT_GROUP_PROTOCOL,
        "no protocol type",
    );
    let mut member = Member::new(&broker, &group);
    member.join_alone("all");
    check(
        good.clone().with_member_id(text("nobody")),
        codes::UNKNOWN_MEMBER_ID,
        "no such member",
    );
    check(
        good.clone().with_protocol_type(text("connect")),
        codes::INCONSISTENT_GROUP_PROTOCOL,
        "another type",
    );
    check(
        good.clone().with_protocols(vec![protocol("other", "")]),
        codes::INCONSISTENT_GROUP_PROTOCOL,
        "another protocol",
    );
    check(
        good.with_member_id(text(&member.id()))
            .with_group_instance_id(Some(text("i"))),
        codes::UNKNOWN_MEMBER_ID,
        "no such instance",
    );
    // Below v7 a name cannot be null.
    let refused = client.call(6, &join_request("", ""));
    assert_eq!(refused.protocol_name, Some(text("")));
    assert_eq!(
        member.heartbeat(),
        codes::NONE,
        "nothing of this disturbed the group"
    );
}

/// Test 69, and the vote: one generation, one leader that has everybody's word, the protocol that most
/// like best among those that all know.
#[test]
fn members_agree_on_a_leader_and_a_protocol() {
    let broker = Broker::shared();
    let group = broker.group("join-vote");
    let protocols = [["a", "b", "x"], ["b", "a", "y"], ["b", "a", "z"]];
    let mut members: Vec<Member> = protocols
        .iter()
        .map(|names| {
            let mut member = Member::new(&broker, &group);
            let own = names
                .iter()
                .map(|name| protocol(name, format!("{name} of {names:?}")));
            member.request.protocols = own.collect();
            member
        })
        .collect();
    form(&mut members);
    for member in &mut members {
        member.heartbeat();
    }
    // All of them once more; the leader's join is what begins it.
    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    members.swap(0, leader);
    let leader = join_all(&mut members);
    for (at, member) in members.iter().enumerate() {
        let joined = &member.joined;
        assert_eq!(joined.protocol_name, Some(text("b")));
        assert_eq!(joined.protocol_type, Some(text("consumer")));
        assert!(!joined.skip_assignment);
        assert_eq!(joined.members.len(), if at == leader { 3 } else { 0 });
    }
    for told in &members[leader].joined.members {
        let own = members.iter().find(|member| member.id() == *told.member_id);
        let own = &own.expect("a member").request.protocols;
        let own = own
            .iter()
            .find(|protocol| *protocol.name == *"b")
            .expect("b");
        assert_eq!(told.metadata, own.metadata);
    }
}

/// Test 71. A leader that joins again wants a rebalance; a follower only with something new to say.
#[test]
fn who_joins_again_and_why() {
    let broker = Broker::shared();
    let group = broker.group("join-again");
    let mut members = vec![Member::new(&broker, &group), Member::new(&broker, &group)];
    form(&mut members);
    let generation = members[0].generation;
    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    let follower = 1 - leader;
    members[follower].join();
    assert_eq!(members[follower].generation, generation, "nothing new");
    assert!(members[follower].joined.members.is_empty());
    assert_eq!(members[leader].heartbeat(), codes::NONE);

    let again = members[leader].send_join();
    members[follower].wait_for_rebalance();
    let rejoin = members[follower].send_join();
    members[leader].receive_join(again);
    members[follower].receive_join(rejoin);
    assert_eq!(
        members[follower].generation,
        generation + 1,
        "the leader's wish"
    );
    share_out(&mut members);

    members[follower].request.protocols = vec![protocol("range", subscription(&["new"]))];
    let again = members[follower].send_join();
    members[leader].wait_for_rebalance();
    members[leader].join();
    members[follower].receive_join(again);
    assert_eq!(members[leader].generation, generation + 2, "something new");
    // While the leader assigns: a lost answer is repeated, something new begins anew.
    members[follower].join();
    assert_eq!(members[follower].generation, generation + 2);
    members[follower].request.protocols = vec![protocol("range", subscription(&["newer"]))];
    let again = members[follower].send_join();
    members[leader].wait_for_rebalance();
    members[leader].join();
    members[follower].receive_join(again);
    assert_eq!(members[leader].generation, generation + 3);
}

/// Tests 73 and 75. Who falls silent is left behind when its session ends, and who does not join in time
/// when the rebalance does.
#[test]
fn silent_members_are_left_behind() {
    let broker = Broker::shared();
    let group = broker.group("join-silent");
    let mut members: Vec<Member> = (0..3).map(|_| Member::new(&broker, &group)).collect();
    for member in &mut members {
        // Its rebalance is shorter than its session, so that the test is not all waiting.
        member.request.rebalance_timeout_ms = 1_000;
        member.request.session_timeout_ms = 60_000;
    }
    form(&mut members);
    let mut silent = members.pop().expect("three");
    let generation = silent.generation;
    let mut stays: Vec<Member> = members;
    let leader = stays.iter().position(Member::is_leader);
    // Whoever asks for a rebalance goes first.
    let first = leader.unwrap_or(0);
    stays.swap(0, first);
    stays[0].request.protocols = vec![protocol("range", subscription(&["changed"]))];
    join_all(&mut stays);
    assert_eq!(stays[0].generation, generation + 1);
    let roll: usize = stays.iter().map(|member| member.joined.members.len()).sum();
    assert_eq!(roll, 2, "one is lost");
    assert_eq!(silent.heartbeat(), codes::UNKNOWN_MEMBER_ID);
    share_out(&mut stays);

    // One whose session ends.
    let mut short = Member::new(&broker, &group);
    short.request.session_timeout_ms = SESSION_MS;
    let pending = short.send_join();
    stays[0].wait_for_rebalance();
    let pending_stays: Vec<_> = stays.iter_mut().map(Member::send_join).collect();
    for (member, pending) in stays.iter_mut().zip(pending_stays) {
        member.receive_join(pending);
    }
    short.receive_join(pending);
    stays.push(short);
    share_out(&mut stays);
    let mut short = stays.pop().expect("three");
    wait_until("the session to end", || {
        stays[0].heartbeat() == codes::REBALANCE_IN_PROGRESS
    });
    let generation = stays[0].generation;
    join_all(&mut stays);
    assert_eq!(stays[0].generation, generation + 1);
    assert_eq!(short.heartbeat(), codes::UNKNOWN_MEMBER_ID);
}

/// Test 74. A member that is made to wait for others is not given up on meanwhile.
#[test]
fn waiting_is_not_silence() {
    let broker = Broker::shared();
    let group = broker.group("join-waits");
    let mut members = vec![Member::new(&broker, &group), Member::new(&broker, &group)];
    for member in &mut members {
        member.request.rebalance_timeout_ms = 60_000;
    }
    form(&mut members);
    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    members.swap(0, leader);
    let waits = members[0].send_join();
    // The other beats on for longer than a session, and only then joins.
    let until = std::time::Instant::now() + Duration::from_millis(SESSION_MS as u64 + 1_500);
    members[1].wait_for_rebalance();
    wait_until("more than a session to pass", || {
        assert_eq!(members[1].heartbeat(), codes::REBALANCE_IN_PROGRESS);
        std::time::Instant::now() > until
    });
    members[1].join();
    members[0].receive_join(waits);
    share_out(&mut members);
}

/// Test 76. A static member that comes back goes on where it was, and its former life is fenced.
#[test]
fn a_static_member_comes_back() {
    let broker = Broker::shared();
    let group = broker.group("join-static");
    let mut members = vec![
        Member::of_instance(&broker, &group, "one"),
        Member::of_instance(&broker, &group, "two"),
    ];
    form(&mut members);
    let generation = members[0].generation;
    let leader = members
        .iter()
        .position(Member::is_leader)
        .expect("a leader");
    for version in [9, 8] {
        for at in [1 - leader, leader] {
            let instance = members[at]
                .request
                .group_instance_id
                .clone()
                .expect("static");
            let old = members[at].id();
            let mut back = Member::of_instance(&broker, &group, &instance);
            let pending = back.client.send(version, &back.request);
            back.receive_join(pending);
            assert_ne!(back.id(), old);
            assert_eq!(back.generation, generation, "no rebalance");
            if at == leader && version == 9 {
                assert!(back.joined.skip_assignment);
                assert!(back.is_leader());
                assert_eq!(back.joined.members.len(), 2);
            } else {
                assert!(!back.joined.skip_assignment);
                assert!(!back.is_leader(), "it must not assign");
                assert!(back.joined.members.is_empty());
            }
            assert_eq!(members[at].heartbeat(), codes::FENCED_INSTANCE_ID);
            assert_eq!(back.heartbeat(), codes::NONE);
            let synced = back.sync(&[]);
            assert_eq!(synced.error_code, codes::NONE);
            assert_eq!(synced.assignment, at.to_string().as_bytes());
            members[at] = back;
        }
    }
    assert!(
        members
            .iter_mut()
            .all(|member| member.heartbeat() == codes::NONE)
    );
}

/// Test 77. What members say is theirs: Connect and Schema Registry speak other languages.
#[test]
fn foreign_protocols_are_not_looked_into() {
    let broker = Broker::shared();
    for (kind, metadata) in [
        ("connect", &b"\xff\xfe\0\x01"[..]),
        ("sr", b"{\"version\":1}"),
    ] {
        let group = broker.group("join-foreign");
        let mut member = Member::new(&broker, &group);
        member.request.protocol_type = text(kind);
        member.request.protocols = vec![protocol("v0", metadata.to_vec())];
        member.join_alone("opaque");
        assert_eq!(member.joined.members[0].metadata, metadata);
        assert_eq!(member.client.group_state(&group), "Stable");
        assert_eq!(member.leave(), codes::NONE);
    }
}

/// `group.max.size`, `group.initial.rebalance.delay.ms` and `group.min.session.timeout.ms`.
#[test]
fn settings_hold() {
    let Some(broker) = Broker::in_memory(&[
        "--set",
        "group.max.size=2",
        "--set",
        "group.initial.rebalance.delay.ms=300",
    ]) else {
        return;
    };
    let group = unique("join-limits");
    // Test 69: who comes within the delay is in the first generation.
    let mut members = vec![Member::new(&broker, &group), Member::new(&broker, &group)];
    join_all(&mut members);
    assert_eq!(members[0].generation, 1);
    share_out(&mut members);
    let short = members[0]
        .request
        .clone()
        .with_session_timeout_ms(SESSION_MS - 1);
    let refused = members[0].client.call(JOIN, &short);
    assert_eq!(refused.error_code, codes::INVALID_SESSION_TIMEOUT);
    let mut third = Member::new(&broker, &group);
    let refused = third.client.call(JOIN, &third.request);
    assert_eq!(refused.error_code, codes::GROUP_MAX_SIZE_REACHED);
    assert_eq!(members[0].heartbeat(), codes::NONE);
}

/// A client that vanishes while it waits for a rebalance is a member until its session is over; then the
/// others go on without it.
#[test]
fn who_vanishes_while_joining_is_left_behind() {
    let broker = Broker::shared();
    let group = broker.group("join-vanish");
    let mut stays = vec![Member::new(&broker, &group), Member::new(&broker, &group)];
    for member in &mut stays {
        member.request.session_timeout_ms = 60_000;
    }
    form(&mut stays);
    let generation = stays[0].generation;
    let mut vanishes = Member::new(&broker, &group);
    vanishes.request.session_timeout_ms = SESSION_MS;
    // Its connection breaks before the others have come to the rebalance.
    let pending = vanishes.send_join();
    stays[0].wait_for_rebalance();
    drop(pending);
    let gone = vanishes.id();
    drop(vanishes);
    let pending: Vec<_> = stays.iter_mut().map(Member::send_join).collect();
    for (member, pending) in stays.iter_mut().zip(pending) {
        member.receive_join(pending);
    }
    assert_eq!(stays[0].generation, generation + 1);
    let lists_it = |member: &Member| {
        let mut listed = member.joined.members.iter();
        listed.any(|listed| *listed.member_id == *gone)
    };
    assert!(
        stays.iter().any(lists_it),
        "its place is kept for a session"
    );
    share_out(&mut stays);
    wait_until("its session to end", || {
        stays[0].heartbeat() == codes::REBALANCE_IN_PROGRESS
    });
    join_all(&mut stays);
    assert_eq!(stays[0].generation, generation + 2);
    assert!(!stays.iter().any(lists_it));
    share_out(&mut stays);
}

/// 82. Over a kill offsets and members stay: nobody has to join again, and who was waiting in a rebalance does.
#[test]
fn a_group_survives_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    broker.connect().create_topic("topic", 1);
    let mut members = vec![
        Member::new(&broker, "g"),
        Member::of_instance(&broker, "g", "i"),
    ];
    form(&mut members);
    let generation = members[0].generation;
    let shares: Vec<_> = members
        .iter_mut()
        .map(|member| member.sync(&[]).assignment)
        .collect();
    assert_eq!(members[0].commit("topic", 0, 5), codes::NONE);
    broker.kill();
    broker.restart();
    for (member, share) in members.iter_mut().zip(&shares) {
        member.client = broker.connect();
        assert_eq!(member.heartbeat(), codes::NONE);
        assert_eq!(member.sync(&[]).assignment, *share);
    }
    assert_eq!(broker.connect().group_state("g"), "Stable");
    assert_eq!(broker.connect().committed("g", "topic", 0), 5);
    assert_eq!(members[1].commit("topic", 0, 6), codes::NONE);

    let mut third = Member::new(&broker, "g");
    let waits = third.send_join();
    members[0].wait_for_rebalance();
    broker.kill();
    drop(waits);
    broker.restart();
    for member in &mut members {
        member.client = broker.connect();
        assert_eq!(
            member.heartbeat(),
            codes::NONE,
            "that rebalance is forgotten"
        );
    }
    // Before the last of the old ones, so that the rebalance is not over without it.
    members.insert(1, Member::new(&broker, "g"));
    join_all(&mut members);
    share_out(&mut members);
    assert_eq!(members[0].generation, generation + 1);
    assert_eq!(broker.connect().committed("g", "topic", 0), 6);
}
