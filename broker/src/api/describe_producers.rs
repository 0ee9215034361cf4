//! DescribeProducers (61), version 0.
//!
//! The idempotent and transactional producers that partitions remember (KIP-664), with the start of each
//! open transaction: how a transaction is found that holds consumers up.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerId as WireProducerId,
};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use crate::partition::ActiveProducer;

/// Answers a DescribeProducers request.
pub async fn handle(ctx: &Context, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in &topic.partition_indexes {
            let answer = PartitionResponse::default().with_partition_index(*index);
            partitions.push(match producers(ctx, &topic.name, *index).await {
                Ok(producers) => answer
                    .with_error_message(None)
                    .with_active_producers(producers.iter().map(describe).collect()),
                Err(error) => answer
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_string(error.to_string()))),
            });
        }
        topics.push(
            TopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions),
        );
    }
    DescribeProducersResponse::default().with_topics(topics)
}

async fn producers(
    ctx: &Context,
    topic: &str,
    index: i32,
) -> Result<Vec<ActiveProducer>, ResponseError> {
    let partition = ctx.partition(ctx.topic(topic)?, index).await?;
    let producers = partition.active_producers(ctx.rooms.env.now()).await;
    producers.map_err(|error| errors::storage(&error))
}

fn describe(producer: &ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(WireProducerId(producer.id.0))
        .with_producer_epoch(i32::from(producer.epoch.0))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_append)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.open_since.unwrap_or(-1))
}
