//! ListTransactions (66), versions 0-2.
//!
//! The transactional ids that this node coordinates, by state and producer (KIP-664). Names of states
//! that mean nothing are given back.
//!
//! v1 those open for longer than a time (KIP-994); v2 those whose id matches a regular expression
//! (KIP-1152).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId as WireProducerId,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use crate::coordinator::pattern::Pattern;
use crate::coordinator::txn::{STANDINGS, Standing};
use crate::types::ProducerId;

/// A state of Kafka's that no transaction here is ever seen in.
const NEVER: [&str; 2] = ["Dead", "PrepareEpochFence"];

/// Answers a ListTransactions request.
pub async fn handle(ctx: &Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let mut standings = Vec::new();
    let mut unknown = Vec::new();
    for name in &request.state_filters {
        match standing(name) {
            Some(standing) => standings.push(standing),
            None if NEVER.contains(&name.as_str()) => {}
            None => unknown.push(name.clone()),
        }
    }
    let response = ListTransactionsResponse::default().with_unknown_state_filters(unknown);
    if standings.is_empty() && !request.state_filters.is_empty() {
        return response;
    }
    let producers = request.producer_id_filters.iter();
    let producers = producers.map(|id| ProducerId(id.0)).collect();
    let open_ms = match ctx.version {
        0 => -1,
        _ => request.duration_filter,
    };
    let pattern = request.transactional_id_pattern.as_deref().unwrap_or("");
    let pattern = match pattern {
        "" => None,
        pattern => match Pattern::new(pattern) {
            Ok(pattern) => Some(pattern),
            Err(_) => {
                return response.with_error_code(ResponseError::InvalidRegularExpression.code());
            }
        },
    };
    let wanted = |(id, ..): &(String, ProducerId, Standing)| {
        let matches = pattern.as_ref().map(|pattern| pattern.matches(id));
        matches.unwrap_or(true)
    };
    match ctx
        .rooms
        .transactions
        .list(standings, producers, open_ms)
        .await
    {
        Ok(listed) => {
            let listed = listed.into_iter().filter(wanted);
            response.with_transaction_states(listed.map(describe).collect())
        }
        Err(error) => {
            let code = errors::transaction(&error, ResponseError::ProducerFenced);
            response.with_error_code(code.code())
        }
    }
}

fn standing(name: &str) -> Option<Standing> {
    let mut all = STANDINGS.into_iter();
    all.find(|standing| standing.name() == name)
}

fn describe((id, producer, standing): (String, ProducerId, Standing)) -> TransactionState {
    TransactionState::default()
        .with_transactional_id(TransactionalId(StrBytes::from_string(id)))
        .with_producer_id(WireProducerId(producer.0))
        .with_transaction_state(StrBytes::from_static_str(standing.name()))
}
