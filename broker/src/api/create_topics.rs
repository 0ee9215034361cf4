//! CreateTopics (19), versions 0-7.
//!
//! Each topic alone: one that is refused does not stop the others. Those that are created are durable
//! and can be produced to when the response leaves, and share commits.
//!
//! v0 has no error messages and no `validate_only`; v2 throttle time; v4 -1 for the broker's default
//! (taken in every version); v5 what the topic became, with its settings (KIP-525); v7 topic id.
//! Not supported: replicas anywhere but on this broker. The replication factor asked for is kept and
//! reported; `trestle.strict.replication` refuses what Kafka would.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::repeated::{REPEATED, apart};
use super::timeout::within;
use super::{Outcome, decode, errors, reply};
use crate::config::describe_topic;
use crate::metadata::{NewTopic, Topic};

/// Serves a CreateTopics request from its bytes, for the codec does not know versions 0 and 1.
///
/// A request of version 1 has the bytes of version 2, of version 0 all but the last field. The
/// responses lack the throttle time, and at version 0 the error messages.
pub(crate) async fn serve(mut ctx: Context, mut body: BytesMut) -> Outcome {
    let version = ctx.version;
    if version < 2 {
        ctx.version = 2;
        body.put_u8(0);
    }
    let mut request: CreateTopicsRequest = match decode(&ctx, body) {
        Ok(request) => request,
        Err(close) => return close,
    };
    if version == 0 {
        request.validate_only = false;
    }
    let response = handle(&ctx, request).await;
    match version {
        0 => Outcome::Reply(vec![encode_v0(&response)]),
        1 => match reply(&ctx, &response) {
            Outcome::Reply(mut pieces) => {
                if let Some(first) = pieces.first_mut() {
                    first.advance(size_of::<i32>());
                }
                Outcome::Reply(pieces)
            }
            other => other,
        },
        _ => reply(&ctx, &response),
    }
}

/// The bytes of a version 0 response: an array of names and error codes.
fn encode_v0(response: &CreateTopicsResponse) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(i32::try_from(response.topics.len()).expect("as many as one request named"));
    for topic in &response.topics {
        // The name came in a field of this size.
        out.put_i16(i16::try_from(topic.name.len()).expect("a name that came with an i16 length"));
        out.put_slice(topic.name.as_bytes());
        out.put_i16(topic.error_code);
    }
    out.freeze()
}

/// Answers a CreateTopics request.
pub async fn handle(ctx: &Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let (once, repeated) = apart(request.topics, |topic| topic.name.clone());
    let mut results: Vec<CreatableTopicResult> = repeated
        .into_iter()
        .map(|topic| refused(topic.name, ResponseError::InvalidRequest, REPEATED.into()))
        .collect();
    let names: Vec<TopicName> = once.iter().map(|topic| topic.name.clone()).collect();
    let new = once.into_iter().map(new_topic).collect();
    let creating = ctx.rooms.metadata.create_topics(new, request.validate_only);
    match within(ctx, request.timeout_ms, creating).await {
        Some(created) => {
            results.extend(
                names
                    .into_iter()
                    .zip(created)
                    .map(|(name, created)| match created {
                        Ok(topic) => self::created(ctx, name, &topic),
                        Err(error) => refused(name, errors::metadata(&error), error.to_string()),
                    }),
            )
        }
        None => results.extend(names.into_iter().map(|name| {
            refused(
                name,
                ResponseError::RequestTimedOut,
                "The topic was not created in the time given; it may be later.".into(),
            )
        })),
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        partitions: Some(topic.num_partitions).filter(|count| *count != -1),
        replication_factor: Some(topic.replication_factor).filter(|factor| *factor != -1),
        assignments: topic
            .assignments
            .into_iter()
            .map(|partition| {
                let brokers = partition.broker_ids.into_iter().map(|broker| broker.0);
                (partition.partition_index, brokers.collect())
            })
            .collect(),
        overrides: topic
            .configs
            .into_iter()
            .map(|config| {
                (
                    config.name.to_string(),
                    config.value.map(|value| value.to_string()),
                )
            })
            .collect(),
    }
}

fn created(ctx: &Context, name: TopicName, topic: &Topic) -> CreatableTopicResult {
    let result = CreatableTopicResult::default()
        .with_name(name)
        .with_error_message(None);
    if ctx.version < 5 {
        return result;
    }
    let configs = describe_topic(&topic.overrides, &ctx.image.config);
    let configs = configs.into_iter().map(|config| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(config.name))
            .with_value(config.value.map(StrBytes::from_string))
            .with_read_only(config.read_only)
            .with_config_source(config.source as i8)
            .with_is_sensitive(config.sensitive)
    });
    result
        .with_topic_id(topic.id)
        .with_num_partitions(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
        .with_replication_factor(topic.replication_factor)
        .with_configs(Some(configs.collect()))
}

fn refused(name: TopicName, error: ResponseError, message: String) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
