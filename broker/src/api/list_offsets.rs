//! ListOffsets (2), versions 1-10.
//!
//! Times are answered to the record and not to the batch: the first record in offset order whose
//! timestamp is at or above the one asked for. v7 greatest timestamp (KIP-734); v8 earliest local
//! offset, the log start here; v9 latest tiered offset (KIP-1005), for which there is none; v10 a
//! timeout, which is not applied. There is no tiered storage. The epoch of the first and last offset is
//! the leader's: no log here is ever cut back, so it serves for validation as well as the record's.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::context::Context;
use super::errors;
use crate::partition::TimedOffset;
use crate::partition::fetch::FetchError;
use crate::types::{LeaderEpoch, Offset, Timestamp};

const LATEST: Timestamp = -1;
const EARLIEST: Timestamp = -2;
const MAX_TIMESTAMP: Timestamp = -3;
const EARLIEST_LOCAL: Timestamp = -4;
const LATEST_TIERED: Timestamp = -5;

pub(super) async fn handle(ctx: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == 1;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut seen = HashSet::new();
        let mut repeated = HashSet::new();
        for partition in &topic.partitions {
            if !seen.insert(partition.partition_index) {
                repeated.insert(partition.partition_index);
            }
        }
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let found = if repeated.contains(&asked.partition_index) {
                Err(ResponseError::InvalidRequest)
            } else {
                look_up(ctx, &topic.name, asked, read_committed).await
            };
            partitions.push(answer(ctx.version, asked.partition_index, found));
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// Offset and timestamp of what was asked for; `None` if no record is like that.
type Found = Option<(Offset, Timestamp, LeaderEpoch)>;

async fn look_up(
    ctx: &Context,
    topic: &str,
    asked: &ListOffsetsPartition,
    read_committed: bool,
) -> Result<Found, ResponseError> {
    let believed = asked.current_leader_epoch;
    let partition = ctx
        .led_partition(topic, asked.partition_index, believed)
        .await?;
    if read_committed {
        let settled = partition.settle(ctx.rooms.env.now()).await;
        settled.map_err(|error| errors::storage(&error))?;
    }
    let offsets = partition.offsets();
    let end = if read_committed {
        offsets.last_stable
    } else {
        offsets.high_watermark
    };
    let epoch = partition.leader_epoch();
    let unpacked_max = ctx.rooms.config.decompressed_batch_max_bytes;
    let timed = match asked.timestamp {
        LATEST => return Ok(Some((end, -1, epoch))),
        EARLIEST => return Ok(Some((offsets.log_start, -1, epoch))),
        EARLIEST_LOCAL if ctx.version >= 8 => return Ok(Some((offsets.log_start, -1, epoch))),
        LATEST_TIERED if ctx.version >= 9 => return Ok(None),
        MAX_TIMESTAMP if ctx.version >= 7 => partition.offset_of_max_timestamp(unpacked_max).await,
        time if time >= 0 => partition.offset_for_timestamp(time, unpacked_max).await,
        _ => return Err(ResponseError::UnsupportedVersion),
    };
    let timed = timed.map_err(|error| errors::fetch(&FetchError::Storage(error)))?;
    Ok(timed
        .filter(|t| t.offset < end)
        .map(|t: TimedOffset| (t.offset, t.timestamp, t.leader_epoch)))
}

fn answer(
    version: i16,
    index: i32,
    found: Result<Found, ResponseError>,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok(Some((offset, timestamp, epoch))) => {
            let answer = answer.with_offset(offset).with_timestamp(timestamp);
            if version >= 4 {
                answer.with_leader_epoch(epoch.0)
            } else {
                answer
            }
        }
        Ok(None) => answer.with_offset(-1).with_timestamp(-1),
        Err(error) => answer
            .with_error_code(error.code())
            .with_offset(-1)
            .with_timestamp(-1),
    }
}
