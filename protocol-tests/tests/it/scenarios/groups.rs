//! Groups on a broker that is killed, and offsets that nobody wants any more.

use protocol_tests::groups::{Member, form};
use protocol_tests::{Broker, codes, unique, wait_until};

/// Test 82. After a kill members go on where they were: same ids, same generation, same assignments, and
/// what they had committed is there.
#[test]
fn members_go_on_after_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("kept", 2);
    let group = unique("kept");
    let mut members = vec![
        Member::new(&broker, &group),
        Member::of_instance(&broker, &group, "fixed"),
    ];
    form(&mut members);
    for round in 0..4_i64 {
        for (at, member) in members.iter_mut().enumerate() {
            let offset = 10 * round + at as i64;
            assert_eq!(member.commit("kept", at as i32, offset), codes::NONE);
        }
        if round % 2 == 0 {
            broker.kill();
        } else {
            assert!(broker.terminate().success());
        }
        broker.restart();
        let mut client = broker.connect();
        for (at, member) in members.iter_mut().enumerate() {
            member.client = broker.connect();
            assert_eq!(member.heartbeat(), codes::NONE, "round {round}");
            let synced = member.sync(&[]);
            assert_eq!(synced.error_code, codes::NONE);
            assert_eq!(synced.assignment, at.to_string().as_bytes());
            let committed = client.committed(&group, "kept", at as i32);
            assert_eq!(committed, 10 * round + at as i64);
        }
        assert_eq!(client.group_state(&group), "Stable");
    }
    // Who does not come back is missed after a session, as ever.
    let mut gone = members.pop().expect("two");
    wait_until("the session to end", || {
        members[0].heartbeat() == codes::REBALANCE_IN_PROGRESS
    });
    members[0].join_alone("all");
    assert_eq!(gone.heartbeat(), codes::UNKNOWN_MEMBER_ID);
}

/// `offsets.retention.minutes` and `offsets.retention.check.interval.ms`: a group whose offsets are young
/// stays, and an empty one without offsets goes at the next look.
#[test]
fn what_nobody_uses_goes() {
    let interval = ["--set", "offsets.retention.check.interval.ms=200"];
    let Some(broker) = Broker::in_memory(&interval) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("young", 1);
    let (young, empty) = (unique("young"), unique("empty"));
    assert_eq!(client.commit(&young, "young", 0, 5), codes::NONE);
    let mut member = Member::new(&broker, &empty);
    member.join_alone("all");
    assert_eq!(member.leave(), codes::NONE);
    wait_until("the empty group to go", || {
        client.group_state(&empty) == "Dead"
    });
    assert_eq!(client.committed(&young, "young", 0), 5);
}
