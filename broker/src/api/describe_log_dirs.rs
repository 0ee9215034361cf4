//! DescribeLogDirs (35), versions 1-4.
//!
//! One directory, the place of the data, and in it the bytes that each partition holds: those between
//! its start and its end, as they were appended, to within a way mark of the index.
//!
//! v2 flexible; v3 an error of its own; v4 the size of the disk, which is not told (-1).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use crate::broker::Rooms;
use crate::metadata::Topic;
use crate::types::PartitionIndex;

/// Partitions that are looked at together.
const AT_ONCE: usize = 64;

/// Answers a DescribeLogDirs request.
pub async fn handle(ctx: &Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let mut asked: Vec<(Arc<Topic>, PartitionIndex)> = Vec::new();
    match &request.topics {
        None => {
            for topic in ctx.image.topics.values() {
                asked.extend(
                    (0..)
                        .take(topic.partitions.len())
                        .map(|index| (topic.clone(), index)),
                );
            }
        }
        // What does not exist is left out.
        Some(topics) => {
            let mut wanted: BTreeMap<&str, Vec<PartitionIndex>> = BTreeMap::new();
            for topic in topics {
                wanted
                    .entry(&topic.topic)
                    .or_default()
                    .extend(&topic.partitions);
            }
            for (name, mut indexes) in wanted {
                let Some(topic) = ctx.image.topic(name) else {
                    continue;
                };
                indexes.sort_unstable();
                indexes.dedup();
                asked.extend(indexes.into_iter().map(|index| (topic.clone(), index)));
            }
        }
    }
    let sizes: Vec<_> = futures::stream::iter(asked)
        .map(|(topic, index)| {
            let rooms = ctx.rooms.clone();
            async move {
                let size = size(&rooms, &topic, index).await;
                (topic, index, size)
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for (topic, index, size) in sizes {
        let Some(size) = size else { continue };
        let partition = DescribeLogDirsPartition::default()
            .with_partition_index(index)
            .with_partition_size(size);
        match topics.last_mut() {
            Some(last) if **last.name == *topic.name => last.partitions.push(partition),
            _ => topics.push(
                DescribeLogDirsTopic::default()
                    .with_name(TopicName(StrBytes::from_string(topic.name.to_string())))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    let place = ctx.rooms.config.value_of("log.dirs").unwrap_or_default();
    let result = DescribeLogDirsResult::default()
        .with_error_code(errors::NONE)
        .with_log_dir(StrBytes::from_string(place))
        .with_topics(topics);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

/// Bytes of a partition; `None` if there is no such one, or it cannot be read now.
async fn size(rooms: &Rooms, topic: &Topic, index: PartitionIndex) -> Option<i64> {
    let partition = rooms.partitions.get(topic, index).await.ok()??;
    let size = partition.size_bytes().await.ok()?;
    Some(i64::try_from(size).unwrap_or(i64::MAX))
}
