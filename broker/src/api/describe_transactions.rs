//! DescribeTransactions (65), version 0.
//!
//! How transactional ids stand, and which partitions are part of their transactions (KIP-664). Groups are
//! not listed: they have no topic here.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId as WireProducerId,
    TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use crate::coordinator::txn::Transaction;

/// Answers a DescribeTransactions request.
pub async fn handle(
    ctx: &Context,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut states = Vec::with_capacity(request.transactional_ids.len());
    for id in request.transactional_ids {
        states.push(describe(ctx, id).await);
    }
    DescribeTransactionsResponse::default().with_transaction_states(states)
}

async fn describe(ctx: &Context, id: TransactionalId) -> TransactionState {
    let found = match ctx.rooms.transactions.describe(&id).await {
        Ok(Some(transaction)) => Ok(transaction),
        Ok(None) => Err(ResponseError::TransactionalIdNotFound),
        Err(error) => Err(errors::transaction(&error, ResponseError::ProducerFenced)),
    };
    let state = TransactionState::default().with_transactional_id(id);
    match found {
        Ok(transaction) => state
            .with_transaction_state(StrBytes::from_static_str(transaction.standing.name()))
            .with_transaction_timeout_ms(transaction.timeout_ms)
            .with_transaction_start_time_ms(transaction.started.unwrap_or(-1))
            .with_producer_id(WireProducerId(transaction.producer.0))
            .with_producer_epoch(transaction.epoch.0)
            .with_topics(topics(ctx, &transaction)),
        Err(error) => state.with_error_code(error.code()),
    }
}

/// The partitions by the names of their topics; those of deleted topics are left out.
fn topics(ctx: &Context, transaction: &Transaction) -> Vec<TopicData> {
    let mut by_name: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic_id, index) in &transaction.partitions {
        if let Some(topic) = ctx.image.topic_by_id(topic_id) {
            by_name.entry(&topic.name).or_default().push(*index);
        }
    }
    let topics = by_name.into_iter().map(|(name, partitions)| {
        TopicData::default()
            .with_topic(TopicName(StrBytes::from_string(name.to_owned())))
            .with_partitions(partitions)
    });
    topics.collect()
}
