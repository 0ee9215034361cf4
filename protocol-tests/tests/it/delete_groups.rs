//! DeleteGroups (42).

use kafka_protocol::messages::DeleteGroupsRequest;
use protocol_tests::groups::{Member, group_id};
use protocol_tests::{Broker, codes, unique};

/// Test 84: an empty group goes with its offsets, a live one stays, in every version.
#[test]
fn groups_without_members_are_deleted() {
    let broker = Broker::shared();
    let topic = unique("delete-groups");
    let mut client = broker.connect();
    client.create_topic(&topic, 1);
    for version in 0..=2 {
        let live = broker.group("delete-live");
        let (simple, left) = (broker.group("delete-simple"), broker.group("delete-left"));
        let mut member = Member::new(&broker, &live);
        member.join_alone("all");
        let mut other = Member::new(&broker, &left);
        other.join_alone("all");
        assert_eq!(other.commit(&topic, 0, 3), codes::NONE);
        other.leave();
        assert_eq!(client.commit(&simple, &topic, 0, 4), codes::NONE);
        let named = [&*live, &*simple, "none", &*left].map(group_id).to_vec();
        let request = DeleteGroupsRequest::default().with_groups_names(named);
        let mut found: Vec<(String, i16)> = client
            .call(version, &request)
            .results
            .into_iter()
            .map(|one| (one.group_id.to_string(), one.error_code))
            .collect();
        let mut expected = vec![
            (live, codes::NON_EMPTY_GROUP),
            (simple.clone(), codes::NONE),
            ("none".to_owned(), codes::GROUP_ID_NOT_FOUND),
            (left.clone(), codes::NONE),
        ];
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "v{version}");
        for gone in [simple, left] {
            assert_eq!(client.committed(&gone, &topic, 0), -1);
            assert_eq!(client.group_state(&gone), "Dead");
        }
        assert_eq!(member.heartbeat(), codes::NONE);
    }
}
