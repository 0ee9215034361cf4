//! OffsetDelete (47).

use kafka_protocol::messages::OffsetDeleteRequest;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol_tests::calls::{text, topic_name};
use protocol_tests::groups::{Member, group_id, protocol, subscription};
use protocol_tests::{Broker, codes, unique};

fn delete(group: &str, topics: &[&str]) -> OffsetDeleteRequest {
    let topics = topics.iter().map(|topic| {
        OffsetDeleteRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![OffsetDeleteRequestPartition::default()])
    });
    OffsetDeleteRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics.collect())
}

/// Test 84: what members read stays, the rest goes.
#[test]
fn offsets_that_nobody_reads_are_deleted() {
    let broker = Broker::shared();
    let group = broker.group("delete-offsets");
    let (read, unread) = (unique("read"), unique("unread"));
    let mut client = broker.connect();
    client.create_topic(&read, 1);
    client.create_topic(&unread, 1);
    assert_eq!(
        client.call(0, &delete(&group, &[])).error_code,
        codes::GROUP_ID_NOT_FOUND
    );
    let mut member = Member::new(&broker, &group);
    member.request.protocols = vec![protocol("range", subscription(&[&read]))];
    member.join_alone("all");
    for topic in [&read, &unread] {
        assert_eq!(member.commit(topic, 0, 5), codes::NONE);
    }
    let answer = client.call(0, &delete(&group, &[&read, &unread, "missing"]));
    assert_eq!(answer.error_code, codes::NONE);
    for topic in &answer.topics {
        let expected = match &*topic.name {
            name if *name == *read => codes::GROUP_SUBSCRIBED_TO_TOPIC,
            name if *name == *unread => codes::NONE,
            _ => codes::UNKNOWN_TOPIC_OR_PARTITION,
        };
        assert_eq!(topic.partitions[0].error_code, expected, "{:?}", topic.name);
    }
    assert_eq!(client.committed(&group, &read, 0), 5);
    assert_eq!(client.committed(&group, &unread, 0), -1);
    member.leave();
    let answer = client.call(0, &delete(&group, &[&read]));
    assert_eq!(answer.topics[0].partitions[0].error_code, codes::NONE);
    assert_eq!(client.committed(&group, &read, 0), -1);
}

/// Of a live group that is not of consumers nobody knows what it reads.
#[test]
fn other_kinds_of_groups_must_be_empty() {
    let broker = Broker::shared();
    let group = broker.group("delete-foreign");
    let topic = unique("delete-foreign");
    let mut client = broker.connect();
    client.create_topic(&topic, 1);
    let mut member = Member::new(&broker, &group);
    member.request.protocol_type = text("connect");
    member.join_alone("all");
    let refused = client.call(0, &delete(&group, &[&topic]));
    assert_eq!(refused.error_code, codes::NON_EMPTY_GROUP);
}
