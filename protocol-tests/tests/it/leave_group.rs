//! LeaveGroup (13).

use kafka_protocol::messages::LeaveGroupRequest;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use protocol_tests::calls::text;
use protocol_tests::groups::{JOIN, LEAVE, Member, form, group_id, join_request};
use protocol_tests::{Broker, codes};

fn leaving(member: &str, instance: Option<&str>) -> MemberIdentity {
    MemberIdentity::default()
        .with_member_id(text(member))
        .with_group_instance_id(instance.map(text))
        .with_reason(None)
}

fn leave(group: &str, members: Vec<MemberIdentity>) -> LeaveGroupRequest {
    LeaveGroupRequest::default()
        .with_group_id(group_id(group))
        .with_members(members)
}

/// Who leaves is missed at once; the last one leaves an empty group behind.
#[test]
fn members_leave() {
    let broker = Broker::shared();
    let group = broker.group("leave");
    let mut members = vec![Member::new(&broker, &group), Member::new(&broker, &group)];
    form(&mut members);
    let mut gone = members.pop().expect("two");
    assert_eq!(gone.leave(), codes::NONE);
    assert_eq!(gone.leave(), codes::UNKNOWN_MEMBER_ID, "again");
    assert_eq!(gone.heartbeat(), codes::UNKNOWN_MEMBER_ID);
    assert_eq!(members[0].heartbeat(), codes::REBALANCE_IN_PROGRESS);
    members[0].join_alone("all");
    assert_eq!(members[0].joined.members.len(), 1);
    assert_eq!(members[0].leave(), codes::NONE);
    assert_eq!(gone.client.group_state(&group), "Empty");
}

/// Test 85, and the answers for each of several: an admin needs the instance alone.
#[test]
fn an_admin_has_members_leave() {
    let broker = Broker::shared();
    let group = broker.group("leave-admin");
    let mut members = vec![
        Member::of_instance(&broker, &group, "one"),
        Member::of_instance(&broker, &group, "two"),
        Member::new(&broker, &group),
    ];
    form(&mut members);
    let mut client = broker.connect();
    let named = vec![
        leaving("", Some("one")),
        leaving("", Some("none")),
        leaving("nobody", None),
        leaving(&members[1].id(), Some("one")),
        leaving("nobody", Some("two")),
        leaving("", None),
    ];
    let answer = client.call(LEAVE, &leave(&group, named.clone()));
    assert_eq!(answer.error_code, codes::NONE);
    let codes: Vec<i16> = answer
        .members
        .iter()
        .map(|member| member.error_code)
        .collect();
    let expected = [
        codes::NONE,
        codes::UNKNOWN_MEMBER_ID,
        codes::UNKNOWN_MEMBER_ID,
        codes::UNKNOWN_MEMBER_ID,
        codes::FENCED_INSTANCE_ID,
        codes::UNKNOWN_MEMBER_ID,
    ];
    assert_eq!(codes, expected);
    for (told, asked) in answer.members.iter().zip(&named) {
        assert_eq!(told.group_instance_id, asked.group_instance_id);
    }
    assert_eq!(members[0].heartbeat(), codes::UNKNOWN_MEMBER_ID);
    assert_eq!(members[2].heartbeat(), codes::REBALANCE_IN_PROGRESS);
}

/// Groups that are none, the old form, and an id that was given and not used.
#[test]
fn the_other_ways_to_leave() {
    let broker = Broker::shared();
    let group = broker.group("leave-other");
    let mut client = broker.connect();
    let empty = client.call(LEAVE, &leave("", vec![leaving("x", None)]));
    assert_eq!(empty.error_code, codes::INVALID_GROUP_ID);
    let none = client.call(LEAVE, &leave("none", vec![leaving("x", None)]));
    assert_eq!(none.error_code, codes::NONE);
    assert_eq!(none.members[0].error_code, codes::UNKNOWN_MEMBER_ID);
    let old = |member: &str| {
        LeaveGroupRequest::default()
            .with_group_id(group_id(&group))
            .with_member_id(text(member))
    };
    for version in 0..=2 {
        let refused = client.call(version, &old("nobody"));
        assert_eq!(refused.error_code, codes::UNKNOWN_MEMBER_ID, "v{version}");
        let mut member = Member::new(&broker, &group);
        member.join_alone("all");
        let left = client.call(version, &old(&member.id()));
        assert_eq!(left.error_code, codes::NONE, "v{version}");
    }
    let told = client.call(JOIN, &join_request(&group, ""));
    let left = client.call(LEAVE, &leave(&group, vec![leaving(&told.member_id, None)]));
    assert_eq!(left.members[0].error_code, codes::NONE);
    let late = client.call(JOIN, &join_request(&group, &told.member_id));
    assert_eq!(late.error_code, codes::UNKNOWN_MEMBER_ID);
}
