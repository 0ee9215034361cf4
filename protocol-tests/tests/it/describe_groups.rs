//! DescribeGroups (15).

use kafka_protocol::messages::DescribeGroupsRequest;
use protocol_tests::groups::{Member, form, group_id};
use protocol_tests::{Broker, codes, unique};

/// What a stable group shows, in every version.
#[test]
fn a_stable_group_shows_all() {
    let broker = Broker::shared();
    let group = broker.group("describe");
    let mut members = vec![
        Member::of_instance(&broker, &group, "one"),
        Member::new(&broker, &group),
    ];
    form(&mut members);
    let mut client = broker.connect();
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]);
    for version in 0..=6 {
        let asked = request
            .clone()
            .with_include_authorized_operations(version >= 3);
        let found = client.call(version, &asked).groups.remove(0);
        assert_eq!(found.error_code, codes::NONE, "v{version}");
        assert_eq!(**found.group_id, *group);
        assert_eq!(&*found.group_state, "Stable");
        assert_eq!(
            (&*found.protocol_type, &*found.protocol_data),
            ("consumer", "range")
        );
        let operations = if version >= 3 { 3400 } else { i32::MIN };
        assert_eq!(found.authorized_operations, operations, "v{version}");
        assert_eq!(found.members.len(), 2);
        for (at, member) in members.iter().enumerate() {
            let shown = found
                .members
                .iter()
                .find(|shown| *shown.member_id == *member.id());
            let shown = shown.expect("every member");
            assert_eq!(&*shown.client_id, "protocol-tests");
            assert!(shown.client_host.starts_with('/'), "{}", shown.client_host);
            assert_eq!(shown.member_metadata, member.request.protocols[0].metadata);
            assert_eq!(shown.member_assignment, at.to_string().as_bytes());
            if version >= 4 {
                assert_eq!(shown.group_instance_id, member.request.group_instance_id);
            }
        }
    }
}

/// Test 83, and the other states: what is not settled is not shown.
#[test]
fn other_states() {
    let broker = Broker::shared();
    let group = broker.group("describe-states");
    let mut client = broker.connect();
    let request = DescribeGroupsRequest::default()
        .with_groups(vec![group_id(&unique("none")), group_id(&group)]);
    for version in 0..=6 {
        for found in client.call(version, &request).groups {
            let expected = match version {
                6 => codes::GROUP_ID_NOT_FOUND,
                _ => codes::NONE,
            };
            assert_eq!(found.error_code, expected, "v{version}");
            assert_eq!(found.error_message.is_some(), version == 6);
            assert_eq!(&*found.group_state, "Dead");
            assert!(found.members.is_empty());
        }
    }
    let mut member = Member::new(&broker, &group);
    member.join();
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]);
    let found = client.call(6, &request).groups.remove(0);
    assert_eq!(&*found.group_state, "CompletingRebalance");
    assert_eq!(
        (&*found.protocol_type, &*found.protocol_data),
        ("consumer", "")
    );
    assert_eq!(found.members.len(), 1);
    assert!(found.members[0].member_metadata.is_empty());
    member.sync(&[]);
    member.leave();
    let found = client.call(6, &request).groups.remove(0);
    assert_eq!(
        (found.error_code, &*found.group_state),
        (codes::NONE, "Empty")
    );
    assert_eq!(&*found.protocol_type, "consumer");
}
