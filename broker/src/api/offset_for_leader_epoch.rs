//! OffsetForLeaderEpoch (23), versions 2-4 (KIP-101, KIP-320).
//!
//! librdkafka sends exactly version 2. A log here never loses an acknowledged record, so the answer
//! is never below what was served.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::context::Context;
use super::errors;
use crate::types::{LeaderEpoch, Offset};

pub(super) async fn handle(
    ctx: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer = EpochEndOffset::default().with_partition(asked.partition);
            partitions.push(match look_up(ctx, &topic.topic, asked).await {
                Ok(Some((epoch, end))) => answer.with_leader_epoch(epoch.0).with_end_offset(end),
                Ok(None) => answer.with_leader_epoch(-1).with_end_offset(-1),
                Err(error) => answer
                    .with_error_code(error.code())
                    .with_leader_epoch(-1)
                    .with_end_offset(-1),
            });
        }
        topics.push(
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions),
        );
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

async fn look_up(
    ctx: &Context,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ResponseError> {
    let believed = asked.current_leader_epoch;
    let partition = ctx.led_partition(topic, asked.partition, believed).await?;
    partition
        .end_of_epoch(LeaderEpoch(asked.leader_epoch), ctx.rooms.env.now())
        .await
        .map_err(|error| errors::append(&error))
}
