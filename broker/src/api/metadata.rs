//! Metadata (3), versions 0-13.
//!
//! Topics, their partitions and who leads them, and the address of every broker as this client can
//! reach it. A missing topic is created if the broker and the request allow it, and is in this very
//! response with a live leader (Kafka answers 3 and lets the client ask again); all that are missing
//! are created in one commit.
//!
//! v0 an empty list asks for all topics; v1 null does; v4 `allow_auto_topic_creation`; v8 authorised
//! operations; v10 topic ids in the response; v12 topics by id; v13 an error
//! for the whole answer, which is never sent.
//! Not supported: racks and offline replicas, there are none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use super::operations;
use crate::metadata::{Image, MetadataError, NewTopic, Topic, check_name, is_internal};
use crate::types::TopicId;

/// The longest that a client waits for topics that its request creates. When the store does not
/// answer in this time the client is told to ask again.
const CREATE_WAIT: Duration = Duration::from_secs(5);

/// Answers a Metadata request.
pub async fn handle(ctx: &Context, request: MetadataRequest) -> MetadataResponse {
    let mut response = MetadataResponse::default()
        .with_brokers(vec![this_broker(ctx)])
        .with_cluster_id(Some(StrBytes::from_string(
            ctx.image.cluster_id.to_string(),
        )))
        .with_controller_id(BrokerId(ctx.rooms.config.node_id));
    if request.include_cluster_authorized_operations && (8..=10).contains(&ctx.version) {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    let operations = match request.include_topic_authorized_operations && ctx.version >= 8 {
        true => operations::TOPIC,
        false => operations::NOT_ASKED,
    };
    response.topics = match request.topics {
        None => all(ctx, operations),
        Some(wanted) if wanted.is_empty() && ctx.version == 0 => all(ctx, operations),
        Some(wanted) => {
            let mut names = BTreeSet::new();
            let mut ids = BTreeSet::new();
            let mut invalid = Vec::new();
            for topic in wanted {
                let by_id = !topic.topic_id.is_nil() || topic.name.is_none();
                if by_id && ctx.version < 12 {
                    let name = topic.name.unwrap_or_default();
                    invalid.push(refused(
                        Some(name),
                        topic.topic_id,
                        ResponseError::InvalidRequest,
                    ));
                } else if by_id {
                    ids.insert(topic.topic_id);
                } else {
                    names.extend(topic.name);
                }
            }
            if invalid.is_empty() {
                let mut topics =
                    by_name(ctx, names, request.allow_auto_topic_creation, operations).await;
                topics.extend(ids.into_iter().map(|id| by_id(ctx, id, operations)));
                topics
            } else {
                invalid
            }
        }
    };
    response
}

fn this_broker(ctx: &Context) -> MetadataResponseBroker {
    let (host, port) = &*ctx.advertised;
    MetadataResponseBroker::default()
        .with_node_id(BrokerId(ctx.rooms.config.node_id))
        .with_host(StrBytes::from_string(host.clone()))
        .with_port(i32::from(*port))
}

fn all(ctx: &Context, operations: i32) -> Vec<MetadataResponseTopic> {
    let topics = ctx.image.topics.values();
    topics
        .map(|topic| described(ctx, topic, operations))
        .collect()
}

fn by_id(ctx: &Context, id: TopicId, operations: i32) -> MetadataResponseTopic {
    match ctx.image.topic_by_id(&id) {
        Some(topic) => described(ctx, topic, operations),
        None => refused(None, id, ResponseError::UnknownTopicId),
    }
}

async fn by_name(
    ctx: &Context,
    names: BTreeSet<TopicName>,
    may_create: bool,
    operations: i32,
) -> Vec<MetadataResponseTopic> {
    let creates = may_create && ctx.image.config.auto_create_topics;
    let missing: Vec<&TopicName> = names
        .iter()
        .filter(|name| ctx.image.topic(name).is_none())
        .filter(|name| creates && !is_internal(name) && check_name(name).is_ok())
        .collect();
    let (image, mut failed) = match missing.is_empty() {
        true => (ctx.image.clone(), BTreeMap::new()),
        false => create(ctx, &missing).await,
    };
    names
        .into_iter()
        .map(|name| match (image.topic(&name), failed.remove(&name)) {
            (Some(topic), _) => described(ctx, topic, operations),
            (None, Some(error)) => refused(Some(name), TopicId::nil(), error),
            (None, None) => {
                let error = match check_name(&name) {
                    Ok(()) => ResponseError::UnknownTopicOrPartition,
                    Err(error) => errors::metadata(&error),
                };
                refused(Some(name), TopicId::nil(), error)
            }
        })
        .collect()
}

/// Creates the `missing` topics, and answers the image that has them and what became of the others.
async fn create(
    ctx: &Context,
    missing: &[&TopicName],
) -> (Arc<Image>, BTreeMap<TopicName, ResponseError>) {
    let new = missing
        .iter()
        .map(|name| NewTopic {
            name: name.to_string(),
            ..NewTopic::default()
        })
        .collect();
    let creating = ctx.rooms.metadata.create_topics(new, false);
    let failed = match ctx.rooms.env.timeout(CREATE_WAIT, creating).await {
        Some(created) => missing
            .iter()
            .zip(created)
            .filter_map(|(name, created)| match created {
                // Somebody else made it meanwhile: it is in the image.
                Ok(_) | Err(MetadataError::TopicExists(_)) => None,
                Err(error) => {
                    tracing::info!(topic = %***name, %error, "a topic was not created on demand");
                    Some(((*name).clone(), errors::metadata(&error)))
                }
            })
            .collect(),
        None => missing
            .iter()
            .map(|name| ((*name).clone(), ResponseError::LeaderNotAvailable))
            .collect(),
    };
    (ctx.rooms.metadata.image(), failed)
}

fn described(ctx: &Context, topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().zip(0..).map(|(partition, index)| {
        let leader = BrokerId(ctx.rooms.placement.leader(partition));
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(leader)
            .with_leader_epoch(ctx.rooms.placement.leader_epoch(partition).0)
            .with_replica_nodes(vec![leader])
            .with_isr_nodes(vec![leader])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(
            topic.name.to_string(),
        ))))
        .with_topic_id(topic.id)
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations)
}

fn refused(name: Option<TopicName>, id: TopicId, error: ResponseError) -> MetadataResponseTopic {
    let internal = name.as_deref().is_some_and(|name| is_internal(name));
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(name)
        .with_topic_id(id)
        .with_is_internal(internal)
}
