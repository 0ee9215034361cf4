//! OffsetFetch (9).

use kafka_protocol::messages::OffsetFetchRequest;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol_tests::calls::topic_name;
use protocol_tests::groups::group_id;
use protocol_tests::{Broker, codes, unique};

/// Test 81, the old form: nothing committed is no error, all partitions at once, and the fields that
/// came with the versions.
#[test]
fn one_group_in_every_version() {
    let broker = Broker::shared();
    let group = broker.group("fetch-offsets");
    let topic = unique("fetch-offsets");
    let mut client = broker.connect();
    client.create_topic(&topic, 3);
    assert_eq!(client.commit(&group, &topic, 1, 11), codes::NONE);
    for version in 1..=7 {
        let wanted = OffsetFetchRequestTopic::default()
            .with_name(topic_name(&topic))
            .with_partition_indexes(vec![0, 1, 9]);
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(&group))
            .with_topics(Some(vec![wanted]));
        let answer = client.call(version, &request);
        assert_eq!(answer.error_code, codes::NONE, "v{version}");
        let found: Vec<_> = answer.topics[0]
            .partitions
            .iter()
            .map(|one| (one.partition_index, one.committed_offset, one.error_code))
            .collect();
        assert_eq!(found, [(0, -1, 0), (1, 11, 0), (9, -1, 0)], "v{version}");
        let metadata = answer.topics[0].partitions[0].metadata.as_deref();
        assert_eq!(metadata, Some(""));
        let none = client.call(version, &request.clone().with_topics(Some(vec![])));
        assert!(none.topics.is_empty(), "v{version}");
        let unknown = client.call(version, &request.clone().with_group_id(group_id("none")));
        assert_eq!(unknown.error_code, codes::NONE);
        assert_eq!(unknown.topics[0].partitions[1].committed_offset, -1);
        if version >= 2 {
            let all = client.call(version, &request.with_topics(None));
            assert_eq!(all.topics.len(), 1, "v{version}");
            assert_eq!(all.topics[0].partitions.len(), 1);
            assert_eq!(all.topics[0].partitions[0].committed_offset, 11);
        }
    }
}

/// Test 81: several groups at once, each with its own answer, in order.
#[test]
fn several_groups_at_once() {
    let broker = Broker::shared();
    let groups = [broker.group("fetch-one"), broker.group("fetch-two")];
    let topic = unique("fetch-several");
    let mut client = broker.connect();
    client.create_topic(&topic, 1);
    assert_eq!(client.commit(&groups[0], &topic, 0, 5), codes::NONE);
    let ask = |group: &str, named: bool| {
        let topics = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&topic))
            .with_partition_indexes(vec![0]);
        OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_member_id(None)
            .with_member_epoch(-1)
            .with_topics(named.then(|| vec![topics]))
    };
    for version in [8, 9] {
        let request = OffsetFetchRequest::default()
            .with_require_stable(true)
            .with_groups(vec![
                ask(&groups[0], true),
                ask(&groups[1], true),
                ask(&groups[0], false),
                ask("none", false),
            ]);
        let answer = client.call(version, &request);
        let ids: Vec<&str> = answer.groups.iter().map(|one| &**one.group_id).collect();
        assert_eq!(ids, [&*groups[0], &*groups[1], &*groups[0], "none"]);
        let offsets: Vec<Vec<i64>> = answer
            .groups
            .iter()
            .map(|group| {
                assert_eq!(group.error_code, codes::NONE);
                let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.map(|one| one.committed_offset).collect()
            })
            .collect();
        assert_eq!(offsets, [vec![5], vec![-1], vec![5], vec![]], "v{version}");
    }
}
