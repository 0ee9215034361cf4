//! ListGroups (16).

use kafka_protocol::messages::ListGroupsRequest;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use protocol_tests::calls::text;
use protocol_tests::groups::Member;
use protocol_tests::{Broker, Client, codes, unique};

fn list(client: &mut Client, version: i16, request: &ListGroupsRequest) -> Vec<ListedGroup> {
    let answer = client.call(version, request);
    assert_eq!(answer.error_code, codes::NONE);
    answer.groups
}

/// Test 83: live groups, empty ones, and those of simple consumers; filters in any case.
#[test]
fn groups_are_listed() {
    let broker = Broker::shared();
    let (live, simple) = (broker.group("list-live"), broker.group("list-simple"));
    let mut client = broker.connect();
    let topic = unique("list");
    client.create_topic(&topic, 1);
    assert_eq!(client.commit(&simple, &topic, 0, 1), codes::NONE);
    let mut member = Member::new(&broker, &live);
    member.join_alone("all");
    let all = ListGroupsRequest::default();
    for version in 0..=5 {
        let listed = list(&mut client, version, &all);
        let found = |id: &str| {
            let found = listed.iter().find(|group| **group.group_id == *id);
            found.unwrap_or_else(|| panic!("{id} in v{version}"))
        };
        assert_eq!(&*found(&live).protocol_type, "consumer");
        assert_eq!(&*found(&simple).protocol_type, "");
        if version >= 4 {
            assert_eq!(&*found(&live).group_state, "Stable");
            assert_eq!(&*found(&simple).group_state, "Empty");
        }
        if version >= 5 {
            assert_eq!(&*found(&live).group_type, "classic");
            assert_eq!(&*found(&simple).group_type, "classic");
        }
    }
    let mut check = |states: &[&str], types: &[&str], expected: [bool; 2]| {
        let texts = |names: &[&str]| names.iter().map(|name| text(name)).collect::<Vec<_>>();
        let request = ListGroupsRequest::default()
            .with_states_filter(texts(states))
            .with_types_filter(texts(types));
        let listed = list(&mut client, 5, &request);
        let found = [&live, &simple].map(|id| listed.iter().any(|group| **group.group_id == **id));
        assert_eq!(found, expected, "{states:?} {types:?}");
    };
    check(&["stable"], &[], [true, false]);
    check(&["EMPTY", "Dead"], &[], [false, true]);
    check(&["nonsense"], &[], [false, false]);
    check(&[], &["Classic"], [true, true]);
    check(&["Stable"], &["classic"], [true, false]);
    check(&[], &["consumer"], [false, false]);
}
