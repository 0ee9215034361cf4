//! OffsetDelete (47), version 0.
//!
//! Some of a group's offsets are forgotten: those of topics that no member reads (KIP-496).

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse, TopicName};

use super::context::Context;
use super::errors;
use super::group::{ask, code, mismatched, owned, text};
use crate::coordinator::group::commands::{Command, DeleteOffsets, Reply};

/// Answers an OffsetDelete request.
pub async fn handle(ctx: &Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let refused = |error_code| OffsetDeleteResponse::default().with_error_code(error_code);
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| one.partition_index);
        (owned(&topic.name), partitions.collect())
    });
    let delete = DeleteOffsets {
        group: owned(&request.group_id),
        image: ctx.image.clone(),
        topics: topics.collect(),
    };
    let outcomes = match ask(ctx, Command::DeleteOffsets(delete)).await {
        Ok(Reply::Partitions(Ok(outcomes))) => outcomes,
        Ok(Reply::Partitions(Err(error))) => return refused(errors::group(&error).code()),
        Ok(other) => return refused(mismatched(&other).code()),
        Err(error) => return refused(error.code()),
    };
    let topics = outcomes.into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(index, outcome)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code(&outcome))
        });
        OffsetDeleteResponseTopic::default()
            .with_name(TopicName(text(&topic)))
            .with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
