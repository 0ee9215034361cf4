//! ConsumerGroupHeartbeat (68), versions 0-1.
//!
//! The one call of the consumer protocol: a member joins, says what it wants and has, learns what it is
//! to have, and leaves (KIP-848).
//!
//! v1 regular expressions, and the member makes its own id (KIP-1082).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::context::Context;
use super::errors;
use super::group::{ask, maybe, mismatched, owned, text};
use crate::coordinator::group::commands::{Caller, Command, Reply};
use crate::coordinator::group::consumer::member::Partitions;
use crate::coordinator::group::consumer::{self, Beat, Heartbeat};

/// Answers a ConsumerGroupHeartbeat request.
pub async fn handle(
    ctx: &Context,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let rebalance_timeout = request.rebalance_timeout_ms;
    let heartbeat = Heartbeat {
        caller: Caller {
            group: owned(&request.group_id),
            member: owned(&request.member_id),
            instance: maybe(request.instance_id.as_ref()),
            generation: request.member_epoch,
        },
        makes_id: ctx.version == 0,
        client_id: ctx.client_id.clone(),
        client_host: format!("/{}", ctx.peer.ip()).into(),
        rack: maybe(request.rack_id.as_ref()),
        rebalance_timeout: (rebalance_timeout != -1).then_some(rebalance_timeout),
        topics: request
            .subscribed_topic_names
            .map(|names| names.iter().map(|name| owned(name)).collect()),
        regex: maybe(request.subscribed_topic_regex.as_ref()),
        assignor: maybe(request.server_assignor.as_ref()),
        owned: request.topic_partitions.map(partitions),
    };
    let command = consumer::Command::Heartbeat(Box::new(heartbeat), ctx.image.clone());
    match ask(ctx, Command::Consumer(command)).await {
        Ok(Reply::Consumer(consumer::Reply::Beat(Ok(beat)))) => answer(beat),
        Ok(Reply::Consumer(consumer::Reply::Beat(Err(error)))) => {
            refused(errors::group(&error), Some(error.to_string()))
        }
        Ok(other) => refused(mismatched(&other), None),
        Err(error) => refused(error, None),
    }
}

fn refused(error: ResponseError, message: Option<String>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(error.code())
        .with_error_message(message.as_deref().map(text))
}

fn answer(beat: Beat) -> ConsumerGroupHeartbeatResponse {
    let assignment = beat.assignment.map(|partitions| {
        let topics = partitions.into_iter().map(|(topic, partitions)| {
            TopicPartitions::default()
                .with_topic_id(topic)
                .with_partitions(partitions)
        });
        Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(text(&beat.member)))
        .with_member_epoch(beat.epoch)
        .with_heartbeat_interval_ms(beat.interval)
        .with_assignment(assignment)
}

fn partitions(owned: Vec<Owned>) -> Partitions {
    let mut by_topic = Partitions::new();
    for topic in owned {
        let of_topic = by_topic.entry(topic.topic_id).or_default();
        of_topic.extend(topic.partitions);
        of_topic.sort_unstable();
        of_topic.dedup();
    }
    by_topic
}
