//! ElectLeaders (43), AlterPartitionReassignments (45), ListPartitionReassignments (46): what there is
//! to say of them on one node.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
};
use protocol_tests::calls::topic_name;
use protocol_tests::{Broker, codes, unique};

/// The one replica leads, so no election is needed.
#[test]
fn no_election_is_needed() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("elect");
    client.create_topic(&topic, 1);
    for version in 0..=2 {
        let named = TopicPartitions::default()
            .with_topic(topic_name(&topic))
            .with_partitions(vec![0, 5]);
        let request = ElectLeadersRequest::default()
            .with_timeout_ms(10_000)
            .with_topic_partitions(Some(vec![named]));
        let answer = client.call(version, &request);
        assert_eq!(answer.error_code, codes::NONE);
        let mut found: Vec<(i32, i16)> = answer.replica_election_results[0]
            .partition_result
            .iter()
            .map(|one| (one.partition_id, one.error_code))
            .collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                (0, codes::ELECTION_NOT_NEEDED),
                (5, codes::UNKNOWN_TOPIC_OR_PARTITION)
            ],
            "v{version}"
        );
    }
    let nowhere = unique("elect-nowhere");
    for (topic, message) in [
        (&topic, format!("No such partition as {topic}-5")),
        (&nowhere, format!("No such topic as {nowhere}")),
    ] {
        let named = TopicPartitions::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![5]);
        let request = ElectLeadersRequest::default()
            .with_timeout_ms(10_000)
            .with_topic_partitions(Some(vec![named]));
        let mut answer = client.call(2, &request);
        let one = answer.replica_election_results.remove(0);
        let said = one.partition_result[0].error_message.as_deref();
        assert_eq!(said, Some(message.as_str()));
    }
    let all = ElectLeadersRequest::default()
        .with_timeout_ms(10_000)
        .with_topic_partitions(None);
    assert_eq!(client.call(2, &all).error_code, codes::NONE);
}

/// Where a partition is, it may stay; it can go nowhere else, and nothing is on its way.
#[test]
fn nothing_is_reassigned() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("reassign");
    client.create_topic(&topic, 3);
    let me = client.metadata(&[]).brokers[0].node_id;
    let partition = |index, replicas: Option<Vec<BrokerId>>| {
        ReassignablePartition::default()
            .with_partition_index(index)
            .with_replicas(replicas)
    };
    let asked = ReassignableTopic::default()
        .with_name(topic_name(&topic))
        .with_partitions(vec![
            partition(0, Some(vec![me])),
            partition(1, Some(vec![BrokerId(me.0 + 77)])),
            partition(2, None),
        ]);
    let request = AlterPartitionReassignmentsRequest::default()
        .with_timeout_ms(10_000)
        .with_topics(vec![asked]);
    let answer = client.call(0, &request);
    assert_eq!(answer.error_code, codes::NONE);
    let mut found: Vec<(i32, i16)> = answer.responses[0]
        .partitions
        .iter()
        .map(|one| (one.partition_index, one.error_code))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            (0, codes::NONE),
            (1, codes::INVALID_REPLICA_ASSIGNMENT),
            (2, codes::NO_REASSIGNMENT_IN_PROGRESS),
        ]
    );
    let request = ListPartitionReassignmentsRequest::default()
        .with_timeout_ms(10_000)
        .with_topics(None);
    let listed = client.call(0, &request);
    assert_eq!((listed.error_code, listed.topics.len()), (codes::NONE, 0));
}
