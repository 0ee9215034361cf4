//! DescribeQuorum (55).

use kafka_protocol::messages::DescribeQuorumRequest;
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol_tests::calls::topic_name;
use protocol_tests::{Broker, codes};

fn request(topic: &str) -> DescribeQuorumRequest {
    let topic = TopicData::default()
        .with_topic_name(topic_name(topic))
        .with_partitions(vec![PartitionData::default()]);
    DescribeQuorumRequest::default().with_topics(vec![topic])
}

/// One node: it votes, it leads.
#[test]
fn the_one_node_leads() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let me = client.metadata(&[]).brokers[0].node_id;
    for version in 0..=2 {
        let answer = client.call(version, &request("__cluster_metadata"));
        assert_eq!(answer.error_code, codes::NONE);
        let quorum = &answer.topics[0].partitions[0];
        assert_eq!((quorum.error_code, quorum.leader_id), (codes::NONE, me));
        let voters: Vec<_> = quorum
            .current_voters
            .iter()
            .map(|one| one.replica_id)
            .collect();
        assert_eq!(voters, [me]);
        assert!(quorum.observers.is_empty() && quorum.leader_epoch >= 0);
        if version >= 2 {
            assert_eq!(answer.nodes.len(), 1);
            assert_eq!(answer.nodes[0].node_id, me);
        }
    }
    let other = client.call(2, &request("other"));
    let refused = [other.error_code, other.topics[0].partitions[0].error_code];
    assert!(
        refused.contains(&codes::UNKNOWN_TOPIC_OR_PARTITION),
        "{refused:?}"
    );
}
