//! AlterPartitionReassignments (45), versions 0-1.
//!
//! Every partition is on this broker and nowhere else. To ask for just that succeeds; any other
//! replicas are refused, and there is never a reassignment to cancel.
//!
//! v1 `allow_replication_factor_change`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use crate::metadata::Topic;

/// Answers an AlterPartitionReassignments request.
pub async fn handle(
    ctx: &Context,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = ctx.image.topic(&asked.name);
        let partitions = asked.partitions.iter().map(|partition| {
            let answer = ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_message(None);
            match judge(ctx, topic.map(|topic| &**topic), partition) {
                Ok(()) => answer,
                Err((error, message)) => answer
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_static_str(message))),
            }
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default()
            .with_name(asked.name)
            .with_partitions(partitions)
    });
    let response = AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_responses(topics.collect());
    match ctx.version {
        0 => response,
        _ => response.with_allow_replication_factor_change(request.allow_replication_factor_change),
    }
}

fn judge(
    ctx: &Context,
    topic: Option<&Topic>,
    partition: &ReassignablePartition,
) -> Result<(), (ResponseError, &'static str)> {
    let exists = topic.is_some_and(|topic| {
        usize::try_from(partition.partition_index).is_ok_and(|index| index < topic.partitions.len())
    });
    if !exists {
        return Err((
            ResponseError::UnknownTopicOrPartition,
            "The topic or partition does not exist.",
        ));
    }
    match &partition.replicas {
        None => Err((
            ResponseError::NoReassignmentInProgress,
            "No partition reassignment is in progress.",
        )),
        Some(replicas) if replicas.len() == 1 && replicas[0].0 == ctx.rooms.config.node_id => {
            Ok(())
        }
        Some(_) => Err((
            ResponseError::InvalidReplicaAssignment,
            "Each partition has one replica, on this broker.",
        )),
    }
}
