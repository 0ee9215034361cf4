//! DeleteRecords (21), versions 0-2 (KIP-107).
//!
//! Raises the log start, which may then lie within a batch; that batch is kept whole. An offset below
//! the log start changes nothing and succeeds. -1 is the high watermark.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::context::Context;
use super::errors;
use crate::types::Offset;

/// Stands for the high watermark.
const HIGH_WATERMARK: Offset = -1;

pub(super) async fn handle(ctx: &Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer =
                DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            partitions.push(match delete(ctx, &topic.name, asked).await {
                Ok(log_start) => answer.with_low_watermark(log_start),
                Err(error) => answer.with_error_code(error.code()).with_low_watermark(-1),
            });
        }
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(
    ctx: &Context,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, ResponseError> {
    let topic = ctx.topic(topic)?;
    if !topic.config.cleanup_delete {
        return Err(ResponseError::PolicyViolation);
    }
    let partition = ctx.partition(topic, asked.partition_index).await?;
    let offsets = partition.offsets();
    let offset = if asked.offset == HIGH_WATERMARK {
        offsets.high_watermark
    } else {
        asked.offset
    };
    if offset < 0 || offset > offsets.high_watermark {
        return Err(ResponseError::OffsetOutOfRange);
    }
    if offset <= offsets.log_start {
        return Ok(offsets.log_start);
    }
    partition
        .delete_records(offset)
        .await
        .map_err(|error| errors::append(&error))
}
