//! DeleteTopics (20), versions 0-6.
//!
//! Topics go with all their records, by name or by id, each alone. When the response leaves they are
//! gone from Metadata, and a topic of the same name can be created: it starts empty, at offset 0.
//!
//! v0 has no throttle time; v3 TOPIC_DELETION_DISABLED; v5 error messages; v6 topic ids.

use std::collections::HashMap;

use bytes::{Buf, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::timeout::within;
use super::{Outcome, decode, errors, reply};
use crate::metadata::MetadataError;
use crate::types::TopicId;

/// Serves a DeleteTopics request from its bytes, for the codec does not know version 0: it is
/// version 1, and its response lacks the throttle time.
pub(crate) async fn serve(mut ctx: Context, body: BytesMut) -> Outcome {
    let version = ctx.version;
    ctx.version = version.max(1);
    let request: DeleteTopicsRequest = match decode(&ctx, body) {
        Ok(request) => request,
        Err(close) => return close,
    };
    match reply(&ctx, &handle(&ctx, request).await) {
        Outcome::Reply(mut pieces) if version == 0 => {
            if let Some(first) = pieces.first_mut() {
                first.advance(size_of::<i32>());
            }
            Outcome::Reply(pieces)
        }
        other => other,
    }
}

/// Answers a DeleteTopics request.
pub async fn handle(ctx: &Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut named = request.topics;
    named.extend(
        request
            .topic_names
            .into_iter()
            .map(|name| DeleteTopicState::default().with_name(Some(name))),
    );
    let mut copies: HashMap<(Option<TopicName>, TopicId), u32> = HashMap::new();
    // A name and an id of one topic count as the same topic twice.
    let mut topics: HashMap<TopicId, u32> = HashMap::new();
    for state in &named {
        let copies = copies
            .entry((state.name.clone(), state.topic_id))
            .or_default();
        *copies += 1;
        if *copies == 1
            && let Ok(id) = resolve(ctx, state)
        {
            *topics.entry(id).or_default() += 1;
        }
    }
    let mut results = Vec::with_capacity(copies.len());
    let mut states = Vec::with_capacity(copies.len());
    let mut ids = Vec::with_capacity(copies.len());
    for state in named {
        // One answer for all copies.
        let Some(copies) = copies.remove(&(state.name.clone(), state.topic_id)) else {
            continue;
        };
        match resolve(ctx, &state) {
            Err((error, message)) if copies == 1 || !ctx.rooms.config.delete_topics => {
                results.push(refused(state, error, message.into()));
            }
            Ok(id) if copies == 1 && topics.get(&id) == Some(&1) => {
                states.push(state);
                ids.push(id);
            }
            Ok(_) | Err(_) => results.push(refused(
                state,
                ResponseError::InvalidRequest,
                "The request names this topic more than once.".into(),
            )),
        }
    }
    let deleting = ctx.rooms.metadata.delete_topics(ids);
    match within(ctx, request.timeout_ms, deleting).await {
        Some(deleted) => {
            for (state, deleted) in states.into_iter().zip(deleted) {
                results.push(match deleted {
                    Ok(topic) => DeletableTopicResult::default()
                        .with_name(Some(TopicName(StrBytes::from_string(
                            topic.name.to_string(),
                        ))))
                        .with_topic_id(topic.id)
                        .with_error_message(None),
                    // Somebody else was faster.
                    Err(MetadataError::UnknownTopicId(_)) if state.name.is_some() => refused(
                        state,
                        ResponseError::UnknownTopicOrPartition,
                        UNKNOWN_NAME.into(),
                    ),
                    Err(error) => refused(state, errors::metadata(&error), error.to_string()),
                });
            }
        }
        None => results.extend(states.into_iter().map(|state| {
            refused(
                state,
                ResponseError::RequestTimedOut,
                "The topic was not deleted in the time given; it may be later.".into(),
            )
        })),
    }
    DeleteTopicsResponse::default().with_responses(results)
}

const UNKNOWN_NAME: &str = "No topic has this name.";

/// The id of the topic that `state` names, or why it names none.
fn resolve(
    ctx: &Context,
    state: &DeleteTopicState,
) -> Result<TopicId, (ResponseError, &'static str)> {
    if !ctx.rooms.config.delete_topics {
        let error = match ctx.version {
            ..3 => ResponseError::InvalidRequest,
            3.. => ResponseError::TopicDeletionDisabled,
        };
        return Err((
            error,
            "Deleting topics is turned off: delete.topic.enable is false.",
        ));
    }
    match &state.name {
        Some(_) if !state.topic_id.is_nil() => Err((
            ResponseError::InvalidRequest,
            "Give the topic's name or its id, not both.",
        )),
        None if state.topic_id.is_nil() => Err((
            ResponseError::InvalidRequest,
            "Give the topic's name or its id.",
        )),
        Some(name) => match ctx.image.topic(name) {
            Some(topic) => Ok(topic.id),
            None => Err((ResponseError::UnknownTopicOrPartition, UNKNOWN_NAME)),
        },
        None => match ctx.image.topic_by_id(&state.topic_id) {
            Some(topic) => Ok(topic.id),
            None => Err((ResponseError::UnknownTopicId, "No topic has this id.")),
        },
    }
}

fn refused(state: DeleteTopicState, error: ResponseError, message: String) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(state.name)
        .with_topic_id(state.topic_id)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
