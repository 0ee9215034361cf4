//! ConsumerGroupDescribe (69), and what the other group APIs say of a consumer group.

use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetDeleteRequest, OffsetFetchRequest,
};
use protocol_tests::calls::{text, topic_name};
use protocol_tests::consumers::{Consumer, settle, steady};
use protocol_tests::groups::{FETCH_OFFSETS, Member, commit_request, group_id};
use protocol_tests::{Broker, codes, unique};

#[test]
fn a_group_and_its_members() {
    let broker = Broker::shared();
    let group = broker.group("described");
    let mut client = broker.connect();
    let topic = unique("topic");
    let id = client.create_topic(&topic, 2);
    let mut members = vec![
        Consumer::of_instance(&broker, &group, "instance", &[&topic]),
        Consumer::new(&broker, &group, &[&topic]),
    ];
    for member in &mut members {
        member.request.rack_id = Some(text("rack"));
        member.join();
    }
    settle(&mut members, &[1, 1]);
    for version in 0..=1 {
        let request = ConsumerGroupDescribeRequest::default()
            .with_group_ids(vec![group_id(&group)])
            .with_include_authorized_operations(true);
        let described = client.call(version, &request).groups.remove(0);
        assert_eq!(described.error_code, codes::NONE);
        assert_eq!(described.group_id, group_id(&group));
        assert_eq!(&*described.group_state, "Stable");
        assert_eq!(&*described.assignor_name, "uniform");
        assert_eq!(described.group_epoch, described.assignment_epoch);
        assert_eq!(described.authorized_operations, 3400);
        assert_eq!(described.members.len(), 2);
        for member in &members {
            let shown = described.members.iter();
            let mut shown = shown.filter(|shown| *shown.member_id == *member.id());
            let shown = shown.next().expect("the member is shown");
            assert_eq!(shown.instance_id, member.request.instance_id);
            assert_eq!(shown.rack_id.as_deref(), Some("rack"));
            assert_eq!(shown.member_epoch, member.epoch);
            assert_eq!(shown.subscribed_topic_names, [topic_name(&topic)]);
            assert!(shown.client_host.starts_with('/'), "{}", shown.client_host);
            assert_eq!(shown.member_type, if version == 0 { -1 } else { 1 });
            for assignment in [&shown.assignment, &shown.target_assignment] {
                let topics = &assignment.topic_partitions;
                assert_eq!(topics.len(), 1);
                assert_eq!(
                    (topics[0].topic_id, &topics[0].topic_name),
                    (id, &topic_name(&topic))
                );
                assert_eq!(topics[0].partitions, member.assigned[&id]);
            }
        }
    }
    for member in &mut members {
        assert_eq!(member.leave(-1), codes::NONE);
    }
    let empty = client.describe_consumer_group(&group);
    assert_eq!((&*empty.group_state, empty.members.len()), ("Empty", 0));
    assert_eq!(empty.authorized_operations, i32::MIN);
}

#[test]
fn groups_that_are_none_or_classic() {
    let broker = Broker::shared();
    let group = broker.group("classic");
    let mut client = broker.connect();
    let unknown = client.describe_consumer_group(&unique("unknown"));
    assert_eq!(unknown.error_code, codes::GROUP_ID_NOT_FOUND);
    assert!(unknown.error_message.is_some());
    Member::new(&broker, &group).join_alone("");
    let classic = client.describe_consumer_group(&group);
    assert_eq!(classic.error_code, codes::GROUP_ID_NOT_FOUND);
    let nameless = client.describe_consumer_group("");
    assert_eq!(nameless.error_code, codes::INVALID_GROUP_ID);
}

/// DescribeGroups, ListGroups and DeleteGroups.
#[test]
fn the_older_apis() {
    let broker = Broker::shared();
    let group = broker.group("older-apis");
    let mut client = broker.connect();
    let mut consumer = Consumer::new(&broker, &group, &[]);
    consumer.join();

    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]);
    for (version, code) in [(5, codes::NONE), (6, codes::GROUP_ID_NOT_FOUND)] {
        let described = client.call(version, &request).groups.remove(0);
        assert_eq!(described.error_code, code, "v{version}");
        assert_eq!(&*described.group_state, "Dead", "v{version}");
    }
    for (kind, listed) in [("consumer", true), ("Consumer", true), ("classic", false)] {
        let request = ListGroupsRequest::default().with_types_filter(vec![text(kind)]);
        let groups = client.call(5, &request).groups;
        let found = groups
            .iter()
            .find(|found| found.group_id == group_id(&group));
        assert_eq!(found.is_some(), listed, "{kind}");
        if let Some(found) = found {
            assert_eq!(&*found.group_type, "consumer");
            assert_eq!(&*found.protocol_type, "consumer");
            assert_eq!(&*found.group_state, "Stable");
        }
    }
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group)]);
    let results = client.call(2, &request).results;
    assert_eq!(results[0].error_code, codes::NON_EMPTY_GROUP);
    assert_eq!(consumer.leave(-1), codes::NONE);
    let results = client.call(2, &request).results;
    assert_eq!(results[0].error_code, codes::NONE);
    let described = client.describe_consumer_group(&group);
    assert_eq!(described.error_code, codes::GROUP_ID_NOT_FOUND);
}

/// Offsets carry the member epoch.
#[test]
fn offsets_and_member_epochs() {
    let broker = Broker::shared();
    let group = broker.group("offsets");
    let mut client = broker.connect();
    let (one, two) = (unique("one"), unique("two"));
    client.create_topic(&one, 1);
    client.create_topic(&two, 1);
    // Before there are members anybody may.
    assert_eq!(client.commit(&group, &one, 0, 3), codes::NONE);
    let mut consumer = Consumer::new(&broker, &group, &[&one]);
    consumer.join();
    consumer.beat_until("its partition", |consumer| consumer.count() == 1);
    assert_eq!(
        client.committed(&group, &one, 0),
        3,
        "offsets stay when the group changes kind"
    );
    let (first, id) = (consumer.epoch, consumer.id());
    let mut commit = |version: i16, member: &str, epoch: i32, topic: &str| {
        let request = commit_request(&group, epoch, member, (topic, 0, 5));
        let response = client.call(version, &request);
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(commit(9, &id, first, &one), codes::NONE);
    assert_eq!(commit(9, &id, first + 1, &one), codes::STALE_MEMBER_EPOCH);
    assert_eq!(commit(9, "somebody", first, &one), codes::UNKNOWN_MEMBER_ID);
    assert_eq!(commit(9, "", -1, &one), codes::UNKNOWN_MEMBER_ID);
    assert_eq!(commit(8, &id, first, &one), codes::UNSUPPORTED_VERSION);

    let more = steady(&group, &id, first)
        .with_subscribed_topic_names(Some(vec![topic_name(&one), topic_name(&two)]));
    consumer.call(&more);
    consumer.beat_until("both", |consumer| consumer.count() == 2);
    // Its commit was on the way when it moved on: good for what it has had all along (KIP-1251).
    assert_eq!(commit(9, &id, first, &one), codes::NONE);
    assert_eq!(commit(9, &id, first, &two), codes::STALE_MEMBER_EPOCH);

    let mut fetch = |member: Option<&str>, epoch: i32| {
        let request = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(&group))
            .with_member_id(member.map(text))
            .with_member_epoch(epoch)
            .with_topics(None);
        let request = OffsetFetchRequest::default().with_groups(vec![request]);
        client.call(FETCH_OFFSETS, &request).groups[0].error_code
    };
    assert_eq!(fetch(Some(&id), consumer.epoch), codes::NONE);
    assert_eq!(fetch(None, -1), codes::NONE);
    assert_eq!(
        fetch(Some(&id), consumer.epoch + 1),
        codes::STALE_MEMBER_EPOCH
    );
    assert_eq!(fetch(Some(&id), first), codes::STALE_MEMBER_EPOCH);
    assert_eq!(fetch(Some("somebody"), first), codes::UNKNOWN_MEMBER_ID);

    // Test 84: offsets of what a member reads are not deleted.
    let mut delete = |topic: &str| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = OffsetDeleteRequest::default()
            .with_group_id(group_id(&group))
            .with_topics(vec![topic]);
        let response = client.call(0, &request);
        assert_eq!(response.error_code, codes::NONE);
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(delete(&one), codes::GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(consumer.leave(-1), codes::NONE);
    assert_eq!(delete(&one), codes::NONE);
}
