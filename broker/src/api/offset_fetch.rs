//! OffsetFetch (9), versions 1-9.
//!
//! What groups have committed. A group that is none, or has committed nothing for a partition, has -1
//! there, which is no error.
//!
//! v2 all partitions at once; v3 an error for the group as a whole; v5 leader epochs; v7 `require_stable`,
//! which refuses what an open transaction may change (KIP-447); v8 many groups (KIP-709); v9 members of
//! the consumer protocol (KIP-848).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use super::group::{ask, mismatched, owned, text};
use crate::coordinator::group::commands::{ByTopic, Caller, Command, Fetch, Fetched, Reply};
use crate::types::PartitionIndex;

/// Answers an OffsetFetch request.
pub async fn handle(ctx: &Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if ctx.version >= 8 {
        return many(ctx, request).await;
    }
    let named = request.topics.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|topic| (topic.name, topic.partition_indexes))
            .collect()
    });
    // Version 1 cannot say "all", and an empty list there is nothing.
    let fetch = Fetch {
        caller: Caller {
            group: owned(&request.group_id),
            generation: -1,
            ..Caller::default()
        },
        topics: wanted(&named),
        require_stable: request.require_stable,
    };
    let (fetched, error) = fetch_from(ctx, fetch).await;
    let before_group_errors = error.filter(|_| ctx.version < 2);
    let fetched = match before_group_errors {
        Some(_) => every(&named),
        None => fetched,
    };
    let topics = fetched.into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(index, fetched)| {
            let (offset, epoch, metadata, own) = fields(fetched);
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(metadata))
                .with_error_code(before_group_errors.map_or(own, |error| error.code()))
        });
        OffsetFetchResponseTopic::default()
            .with_name(TopicName(text(&topic)))
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default()
        .with_topics(topics.collect())
        .with_error_code(error.map_or(errors::NONE, |error| error.code()))
}

async fn many(ctx: &Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let named = group.topics.map(|topics| {
            let topics = topics.into_iter();
            topics
                .map(|topic| (topic.name, topic.partition_indexes))
                .collect()
        });
        let fetch = Fetch {
            caller: Caller {
                group: owned(&group.group_id),
                member: group.member_id.as_ref().map(owned).unwrap_or_default(),
                instance: None,
                generation: group.member_epoch,
            },
            topics: wanted(&named),
            require_stable: request.require_stable,
        };
        let (fetched, error) = fetch_from(ctx, fetch).await;
        let topics = fetched.into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|(index, fetched)| {
                let (offset, epoch, metadata, error_code) = fields(fetched);
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset)
                    .with_committed_leader_epoch(epoch)
                    .with_metadata(Some(metadata))
                    .with_error_code(error_code)
            });
            OffsetFetchResponseTopics::default()
                .with_name(TopicName(text(&topic)))
                .with_partitions(partitions.collect())
        });
        let response = OffsetFetchResponseGroup::default()
            .with_topics(topics.collect())
            .with_error_code(error.map_or(errors::NONE, |error| error.code()));
        groups.push(response.with_group_id(group.group_id));
    }
    OffsetFetchResponse::default().with_groups(groups)
}

type Named = Option<Vec<(TopicName, Vec<PartitionIndex>)>>;

fn wanted(named: &Named) -> Option<Vec<(std::sync::Arc<str>, Vec<PartitionIndex>)>> {
    let topics = named.as_ref()?.iter();
    Some(
        topics
            .map(|(name, indexes)| (owned(name), indexes.clone()))
            .collect(),
    )
}

/// Nothing for each partition named.
fn every(named: &Named) -> ByTopic<Fetched> {
    let topics = named.iter().flatten().map(|(name, indexes)| {
        let indexes = indexes.iter().map(|index| (*index, Fetched::Nothing));
        (owned(name), indexes.collect())
    });
    topics.collect()
}

async fn fetch_from(ctx: &Context, fetch: Fetch) -> (ByTopic<Fetched>, Option<ResponseError>) {
    match ask(ctx, Command::Fetch(fetch)).await {
        Ok(Reply::Fetched(Ok(fetched))) => (fetched, None),
        Ok(Reply::Fetched(Err(error))) => (Vec::new(), Some(errors::group(&error))),
        Ok(other) => (Vec::new(), Some(mismatched(&other))),
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// Offset, leader epoch, metadata and error.
fn fields(fetched: Fetched) -> (i64, i32, StrBytes, i16) {
    match fetched {
        Fetched::Nothing => (-1, -1, StrBytes::default(), errors::NONE),
        Fetched::Unstable => {
            let error = ResponseError::UnstableOffsetCommit;
            (-1, -1, StrBytes::default(), error.code())
        }
        Fetched::Offset(found) => (
            found.offset,
            found.leader_epoch,
            text(&found.metadata),
            errors::NONE,
        ),
    }
}
