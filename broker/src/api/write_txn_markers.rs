//! WriteTxnMarkers (27), version 1.
//!
//! Ends transactions in single partitions. Between brokers it is how Kafka's coordinator tells a
//! partition's leader; here it serves `kafka-transactions abort`, for a transaction that its coordinator
//! no longer knows. A partition takes the markers of a producer's epoch or a later one.

use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use super::context::Context;
use super::errors;
use crate::partition::{AppendError, Marker};
use crate::types::{ProducerEpoch, ProducerId};

/// Answers a WriteTxnMarkers request.
pub async fn handle(ctx: &Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let markers = request.markers.iter().map(|marker| write(ctx, marker));
    WriteTxnMarkersResponse::default().with_markers(join_all(markers).await)
}

async fn write(ctx: &Context, asked: &WritableTxnMarker) -> WritableTxnMarkerResult {
    let marker = Marker {
        producer_id: ProducerId(asked.producer_id.0),
        producer_epoch: ProducerEpoch(asked.producer_epoch),
        committed: asked.transaction_result,
        coordinator_epoch: asked.coordinator_epoch,
    };
    let topics = asked.topics.iter().map(async |topic| {
        let indexes = topic.partition_indexes.iter();
        let partitions = indexes.map(async |index| {
            let written = write_one(ctx, &topic.name, *index, marker).await;
            WritableTxnMarkerPartitionResult::default()
                .with_partition_index(*index)
                .with_error_code(written.err().map_or(errors::NONE, |error| error.code()))
        });
        WritableTxnMarkerTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(join_all(partitions).await)
    });
    WritableTxnMarkerResult::default()
        .with_producer_id(asked.producer_id)
        .with_topics(join_all(topics).await)
}

async fn write_one(
    ctx: &Context,
    topic: &str,
    index: i32,
    marker: Marker,
) -> Result<(), ResponseError> {
    let partition = ctx.partition(ctx.topic(topic)?, index).await?;
    let now = ctx.rooms.env.now();
    let expiration_ms = ctx.rooms.config.producer_id_expiration_ms;
    let written = async {
        partition.prepare(now).await?;
        match partition.append_marker(marker, now, expiration_ms)? {
            Some(receipt) => receipt.durable().await,
            None => Ok(()),
        }
    };
    written
        .await
        .map_err(|error: AppendError| errors::append(&error))
}
