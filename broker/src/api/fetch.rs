//! Fetch (1), versions 4-18.
//!
//! Whole batches as they are stored, from the one that holds the fetch offset on. Waits on the
//! durable end of the partitions; a request that is queued behind on the same connection ends the
//! wait. The response is written as a list of pieces, so that no batch is copied.
//!
//! With isolation level 1 (read_committed) records end at the last stable offset, and the aborted
//! transactions among them are listed; an empty list is not null. Markers are returned always.
//!
//! Session id 0 is answered always, which tells clients to send full requests (KIP-227).
//! zstd (KIP-110, v10) is returned at every version: clients that read it ask with v4 as well.
//! v13 topics by id instead of by name (KIP-516); v15 the replica's state, v17 its directory and v18 its
//! high watermark, which only followers send; v16 the leader's address with NOT_LEADER_OR_FOLLOWER
//! (KIP-951), which one node never sends.
//! Not supported: preferred read replicas; the rack is ignored.

use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;

use super::context::Context;
use super::fetch_response::{FetchResponse, PartitionResponse, TopicKey, TopicResponse};
use super::{Outcome, decode, errors};
use crate::metadata::Topic;
use crate::partition::fetch::{self, Ask, FetchError, Fetched, Limits};
use crate::types::LeaderEpoch;

/// KIP-516: topics are named by their ids from this version on.
const IDS_SINCE: i16 = 13;
/// KIP-227: fetch sessions came with this version.
const SESSIONS_SINCE: i16 = 7;

pub(super) async fn handle(ctx: Context, body: BytesMut) -> Outcome {
    let request: FetchRequest = match decode(&ctx, body) {
        Ok(request) => request,
        Err(close) => return close,
    };
    let version = ctx.version;
    // No session is ever given out, so none can be continued.
    let continues =
        version >= SESSIONS_SINCE && request.session_id != 0 && request.session_epoch > 0;
    if continues {
        let error_code = ResponseError::FetchSessionIdNotFound.code();
        return FetchResponse {
            error_code,
            topics: Vec::new(),
        }
        .into_outcome(version);
    }

    let read_committed = request.isolation_level == 1;
    let mut asks = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in &request.topics {
        let (key, topic) = match version {
            ..IDS_SINCE => {
                let name = asked.topic.to_string();
                let topic = ctx.image.topic(&name);
                (TopicKey::Name(name), topic)
            }
            IDS_SINCE.. => {
                let id = asked.topic_id;
                (TopicKey::Id(id), ctx.image.topic_by_id(&id))
            }
        };
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for partition in &asked.partitions {
            let opened = match topic {
                Some(topic) => ask(&ctx, topic, partition, read_committed).await,
                None if version >= IDS_SINCE => Err(FetchError::UnknownTopicId),
                None => Err(FetchError::Gone),
            };
            partitions.push((partition.partition, opened.map(|ask| asks.push(ask))));
        }
        topics.push((key, partitions));
    }

    let config = &ctx.rooms.config;
    let at_once = topics
        .iter()
        .any(|(_, partitions)| partitions.iter().any(|(_, o)| o.is_err()));
    let limits = Limits {
        min_bytes: to_bytes(request.min_bytes),
        max_bytes: to_bytes(request.max_bytes.min(config.fetch_max_bytes)),
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
    };
    let fetched = fetch::fetch(&ctx.rooms.env, &asks, limits, at_once, ctx.hurry.asked()).await;

    let mut fetched = fetched.into_iter();
    let topics = topics.into_iter().map(|(key, partitions)| TopicResponse {
        key,
        partitions: partitions
            .into_iter()
            .map(|(index, opened)| {
                let result = match opened {
                    Ok(()) => fetched.next().unwrap_or(Err(FetchError::Gone)),
                    Err(error) => Err(error),
                };
                answer(&ctx, index, result, read_committed)
            })
            .collect(),
    });
    FetchResponse {
        error_code: errors::NONE,
        topics: topics.collect(),
    }
    .into_outcome(version)
}

async fn ask(
    ctx: &Context,
    topic: &Topic,
    asked: &FetchPartition,
    read_committed: bool,
) -> Result<Ask, FetchError> {
    let partition = ctx
        .rooms
        .partitions
        .get(topic, asked.partition)
        .await?
        .ok_or(FetchError::Gone)?;
    let believed = asked.current_leader_epoch;
    Ok(Ask {
        partition,
        offset: asked.fetch_offset,
        max_bytes: to_bytes(asked.partition_max_bytes),
        current_leader_epoch: (believed != -1).then_some(LeaderEpoch(believed)),
        read_committed,
    })
}

fn answer(
    ctx: &Context,
    index: i32,
    result: Result<Fetched, FetchError>,
    read_committed: bool,
) -> PartitionResponse {
    let metrics = &ctx.rooms.metrics;
    let failed = |error: ResponseError| {
        metrics.api.error("Fetch", error);
        PartitionResponse {
            index,
            error_code: error.code(),
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            aborted: read_committed.then(Vec::new),
            records: Vec::new(),
        }
    };
    match result {
        Ok(fetched) => {
            let (batches, bytes) = (fetched.batches.len(), fetched.size_bytes());
            let aborted = fetched.aborted.iter();
            let aborted = aborted.map(|one| (one.producer_id, one.first_offset));
            metrics.partition.fetched(batches, bytes);
            PartitionResponse {
                index,
                error_code: errors::NONE,
                high_watermark: fetched.high_watermark,
                last_stable: fetched.last_stable,
                log_start: fetched.log_start,
                aborted: read_committed.then(|| aborted.collect()),
                records: fetched.batches,
            }
        }
        Err(error) => {
            tracing::debug!(partition = index, %error, "fetch");
            failed(errors::fetch(&error))
        }
    }
}

fn to_bytes(wire: i32) -> usize {
    usize::try_from(wire).unwrap_or(0)
}
