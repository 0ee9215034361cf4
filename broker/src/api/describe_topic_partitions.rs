//! DescribeTopicPartitions (75), version 0.
//!
//! Topics and their partitions, page by page (KIP-966): in the order of names, at most as many
//! partitions as the request and `max.request.partition.size.limit` allow, and a cursor from which the
//! next request goes on. No topic named means all of them.
//! Not supported: eligible leader replicas, for there is one replica.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::{errors, operations};
use crate::metadata::{Topic, check_name, is_internal};
use crate::types::PartitionIndex;

/// Answers a DescribeTopicPartitions request.
pub async fn handle(
    ctx: &Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let limit = request
        .response_partition_limit
        .min(ctx.image.config.page_partitions);
    let mut left = usize::try_from(limit).unwrap_or(0).max(1);
    let mut names: BTreeSet<String> = match request.topics.is_empty() {
        true => ctx.image.topics.keys().map(ToString::to_string).collect(),
        false => request
            .topics
            .iter()
            .map(|topic| topic.name.to_string())
            .collect(),
    };
    let mut first: PartitionIndex = 0;
    if let Some(cursor) = &request.cursor {
        names = names.split_off(&cursor.topic_name.to_string());
        if names
            .first()
            .is_some_and(|name| **name == **cursor.topic_name)
        {
            first = cursor.partition_index.max(0);
        }
    }
    let mut topics = Vec::new();
    let mut next = None;
    for name in names {
        let from = std::mem::take(&mut first);
        if left == 0 {
            next = Some(cursor(&name, 0));
            break;
        }
        let Some(topic) = ctx.image.topic(&name) else {
            topics.push(missing(name));
            continue;
        };
        let count = PartitionIndex::try_from(topic.partitions.len()).unwrap_or(PartitionIndex::MAX);
        let to = from.saturating_add(PartitionIndex::try_from(left).unwrap_or(PartitionIndex::MAX));
        topics.push(described(ctx, topic, from..to.min(count)));
        left -= usize::try_from(to.min(count).saturating_sub(from)).unwrap_or(0);
        if to < count {
            next = Some(cursor(&name, to));
            break;
        }
    }
    DescribeTopicPartitionsResponse::default()
        .with_topics(topics)
        .with_next_cursor(next)
}

fn cursor(topic: &str, partition: PartitionIndex) -> Cursor {
    Cursor::default()
        .with_topic_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_index(partition)
}

fn missing(name: String) -> DescribeTopicPartitionsResponseTopic {
    let error = match check_name(&name) {
        Ok(()) => ResponseError::UnknownTopicOrPartition,
        Err(error) => errors::metadata(&error),
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_is_internal(is_internal(&name))
        .with_name(Some(TopicName(StrBytes::from_string(name))))
        .with_topic_authorized_operations(operations::NOT_ASKED)
}

fn described(
    ctx: &Context,
    topic: &Topic,
    indexes: std::ops::Range<PartitionIndex>,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = indexes.filter_map(|index| {
        let partition = topic.partitions.get(usize::try_from(index).ok()?)?;
        let leader = BrokerId(ctx.rooms.placement.leader(partition));
        Some(
            DescribeTopicPartitionsResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(leader)
                .with_leader_epoch(ctx.rooms.placement.leader_epoch(partition).0)
                .with_replica_nodes(vec![leader])
                .with_isr_nodes(vec![leader])
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new())),
        )
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(
            topic.name.to_string(),
        ))))
        .with_topic_id(topic.id)
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations::TOPIC)
}
