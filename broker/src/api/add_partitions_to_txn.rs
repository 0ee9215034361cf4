//! AddPartitionsToTxn (24), versions 0-5.
//!
//! Makes partitions part of a producer's transaction, durably, before it writes to them: all of them, or
//! none if one does not exist.
//!
//! v2 PRODUCER_FENCED; v4 many transactions at once, and `verify_only`, which asks whether partitions are
//! part of a transaction and adds nothing: for brokers, and clients never send it; v5
//! TRANSACTION_ABORTABLE may be answered.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::context::Context;
use super::errors;
use crate::coordinator::txn::{Owner, TopicPartition, TxnError};
use crate::types::{ProducerEpoch, ProducerId};

/// PRODUCER_FENCED came with this version, and many transactions at once with that.
const FENCED_SINCE: i16 = 2;
const BATCHED_SINCE: i16 = 4;
const ABORTABLE_SINCE: i16 = 5;

/// Answers an AddPartitionsToTxn request.
pub async fn handle(
    ctx: &Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if ctx.version < BATCHED_SINCE {
        let id = &request.v3_and_below_transactional_id;
        let owner = Owner {
            id,
            producer: ProducerId(request.v3_and_below_producer_id.0),
            epoch: ProducerEpoch(request.v3_and_below_producer_epoch),
        };
        let results = add(ctx, owner, &request.v3_and_below_topics, false).await;
        return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for transaction in &request.transactions {
        let owner = Owner {
            id: &transaction.transactional_id,
            producer: ProducerId(transaction.producer_id.0),
            epoch: ProducerEpoch(transaction.producer_epoch),
        };
        let verify_only = transaction.verify_only;
        results.push(
            AddPartitionsToTxnResult::default()
                .with_transactional_id(transaction.transactional_id.clone())
                .with_topic_results(add(ctx, owner, &transaction.topics, verify_only).await),
        );
    }
    AddPartitionsToTxnResponse::default().with_results_by_transaction(results)
}

/// One transaction.
async fn add(
    ctx: &Context,
    owner: Owner<'_>,
    topics: &[AddPartitionsToTxnTopic],
    verify_only: bool,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let found: Vec<Vec<Option<TopicPartition>>> = topics
        .iter()
        .map(|topic| {
            let indexes = topic.partitions.iter();
            indexes
                .map(|index| find(ctx, &topic.name, *index))
                .collect()
        })
        .collect();
    let all: Option<Vec<_>> = found.iter().flatten().copied().collect();
    let transactions = &ctx.rooms.transactions;
    let fenced = match ctx.version >= FENCED_SINCE {
        true => ResponseError::ProducerFenced,
        false => ResponseError::InvalidProducerEpoch,
    };
    let code = |error: &TxnError| match errors::transaction(error, fenced) {
        ResponseError::TransactionAbortable if ctx.version < ABORTABLE_SINCE => {
            ResponseError::InvalidTxnState
        }
        code => code,
    };
    let outcome = match all {
        // An id that is empty names no transaction.
        _ if owner.id.is_empty() => Some(ResponseError::InvalidRequest),
        None => Some(ResponseError::OperationNotAttempted),
        Some(_) if verify_only => None,
        Some(all) => match transactions.add(owner, all, None, false).await {
            Ok(()) => None,
            Err(error) => Some(code(&error)),
        },
    };
    let result = |partition: &Option<TopicPartition>| match (partition, outcome) {
        (None, _) => Some(ResponseError::UnknownTopicOrPartition),
        (Some(_), Some(error)) => Some(error),
        (Some(partition), None) if verify_only => transactions
            .verify(owner, partition)
            .err()
            .map(|error| code(&error.into())),
        (Some(_), None) => None,
    };
    topics
        .iter()
        .zip(found)
        .map(|(topic, found)| {
            let results = topic.partitions.iter().zip(&found).map(|(index, found)| {
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(*index)
                    .with_partition_error_code(result(found).map_or(errors::NONE, |e| e.code()))
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(results.collect())
        })
        .collect()
}

fn find(ctx: &Context, topic: &str, index: i32) -> Option<TopicPartition> {
    let topic = ctx.image.topic(topic)?;
    let exists = usize::try_from(index).is_ok_and(|index| index < topic.partitions.len());
    exists.then_some((topic.id, index))
}
