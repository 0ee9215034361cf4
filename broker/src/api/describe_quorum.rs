//! DescribeQuorum (55), versions 0-2.
//!
//! Who decides on metadata: this broker alone. It is shown as the one voter and the leader; the epoch
//! is that of its store, and the high watermark counts the changes of metadata since it opened.
//!
//! v1 times of the replicas; v2 nodes and their listeners (KIP-853).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::context::Context;

/// The topic and partition in which Kafka's controllers keep their decisions.
const METADATA: (&str, i32) = ("__cluster_metadata", 0);

/// Answers a DescribeQuorum request.
pub async fn handle(ctx: &Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            match (&*topic.topic_name as &str, partition.partition_index) == METADATA {
                true => quorum(ctx),
                false => PartitionData::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                    .with_error_message(None),
            }
        });
        let partitions = partitions.collect();
        TopicData::default()
            .with_topic_name(topic.topic_name)
            .with_partitions(partitions)
    });
    let response = DescribeQuorumResponse::default()
        .with_error_message(None)
        .with_topics(topics.collect());
    match ctx.version {
        ..2 => response,
        2.. => response.with_nodes(vec![this_node(ctx)]),
    }
}

fn quorum(ctx: &Context) -> PartitionData {
    let node_id = BrokerId(ctx.rooms.config.node_id);
    let version = i64::try_from(ctx.image.version).unwrap_or(i64::MAX);
    let mut voter = ReplicaState::default()
        .with_replica_id(node_id)
        .with_log_end_offset(version);
    if ctx.version >= 1 {
        let now = ctx.rooms.env.now();
        voter.last_fetch_timestamp = now;
        voter.last_caught_up_timestamp = now;
    }
    if ctx.version >= 2 {
        // The same for as long as the node is: made of its number.
        voter.replica_directory_id = Uuid::from_u128(u128::from(node_id.0.unsigned_abs()) + 1);
    }
    PartitionData::default()
        .with_partition_index(METADATA.1)
        .with_error_message(None)
        .with_leader_id(node_id)
        .with_leader_epoch(ctx.rooms.placement.epoch())
        .with_high_watermark(version)
        .with_current_voters(vec![voter])
}

fn this_node(ctx: &Context) -> Node {
    let (host, port) = &*ctx.advertised;
    let listener = Listener::default()
        .with_name(StrBytes::from_static_str("CONTROLLER"))
        .with_host(StrBytes::from_string(host.clone()))
        .with_port(*port);
    Node::default()
        .with_node_id(BrokerId(ctx.rooms.config.node_id))
        .with_listeners(vec![listener])
}
