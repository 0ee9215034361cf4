//! ElectLeaders (43), versions 0-2.
//!
//! Every partition has one replica, which leads it: no election is ever needed. Partitions that are
//! named are told so; when none is named, there is nothing to tell.
//!
//! v1 an error of its own, and unclean elections (KIP-460); v2 flexible.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;

const KINDS: std::ops::RangeInclusive<i8> = 0..=1;

/// Answers an ElectLeaders request.
pub async fn handle(ctx: &Context, request: ElectLeadersRequest) -> ElectLeadersResponse {
    if ctx.version >= 1 && !KINDS.contains(&request.election_type) {
        return ElectLeadersResponse::default()
            .with_error_code(ResponseError::InvalidRequest.code());
    }
    let named = request.topic_partitions.unwrap_or_default();
    let results = named.into_iter().map(|asked| {
        let count = ctx
            .image
            .topic(&asked.topic)
            .map_or(0, |topic| topic.partitions.len());
        let partitions = asked.partitions.into_iter().map(|index| {
            let exists = usize::try_from(index).is_ok_and(|index| index < count);
            let topic = asked.topic.as_str();
            let (error, message) = if exists {
                let message = "The leader is the only replica.".to_owned();
                (ResponseError::ElectionNotNeeded, message)
            } else if count == 0 {
                let message = format!("No such topic as {topic}");
                (ResponseError::UnknownTopicOrPartition, message)
            } else {
                let message = format!("No such partition as {topic}-{index}");
                (ResponseError::UnknownTopicOrPartition, message)
            };
            PartitionResult::default()
                .with_partition_id(index)
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(message)))
        });
        let partitions = partitions.collect();
        ReplicaElectionResult::default()
            .with_topic(asked.topic)
            .with_partition_result(partitions)
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}
