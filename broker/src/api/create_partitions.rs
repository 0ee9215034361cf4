//! CreatePartitions (37), versions 0-3.
//!
//! Gives topics more partitions, each topic alone; the number asked for is the new total. New
//! partitions start at offset 0. Partitions are never taken away.
//!
//! v2 flexible; v3 has no change of ours.
//! Not supported: replicas anywhere but on this broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use super::repeated::{REPEATED, apart};
use super::timeout::within;
use crate::metadata::NewPartitions;

/// Answers a CreatePartitions request.
pub async fn handle(ctx: &Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let (once, repeated) = apart(request.topics, |topic| topic.name.clone());
    let mut results: Vec<CreatePartitionsTopicResult> = repeated
        .into_iter()
        .map(|topic| {
            let error = Some(ResponseError::InvalidRequest);
            result(topic.name, error, Some(REPEATED.into()))
        })
        .collect();
    let names: Vec<TopicName> = once.iter().map(|topic| topic.name.clone()).collect();
    let new = once.into_iter().map(new_partitions).collect();
    let adding = ctx
        .rooms
        .metadata
        .add_partitions(new, request.validate_only);
    match within(ctx, request.timeout_ms, adding).await {
        Some(added) => results.extend(names.into_iter().zip(added).map(
            |(name, added)| match added {
                Ok(_) => result(name, None, None),
                Err(error) => result(
                    name,
                    Some(errors::metadata(&error)),
                    Some(error.to_string()),
                ),
            },
        )),
        None => results.extend(names.into_iter().map(|name| {
            result(
                name,
                Some(ResponseError::RequestTimedOut),
                Some("No partitions were added in the time given; they may be later.".into()),
            )
        })),
    }
    CreatePartitionsResponse::default().with_results(results)
}

fn new_partitions(topic: CreatePartitionsTopic) -> NewPartitions {
    NewPartitions {
        topic: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.map(|assignments| {
            let brokers = assignments.into_iter().map(|partition| {
                partition
                    .broker_ids
                    .into_iter()
                    .map(|broker| broker.0)
                    .collect()
            });
            brokers.collect()
        }),
    }
}

fn result(
    name: TopicName,
    error: Option<ResponseError>,
    message: Option<String>,
) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(name)
        .with_error_code(error.map_or(errors::NONE, |error| error.code()))
        .with_error_message(message.map(StrBytes::from_string))
}
