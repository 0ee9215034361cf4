//! InitProducerId (22), versions 0-4.
//!
//! A new producer id with epoch 0 for an idempotent producer, unique for ever (KIP-98).
//!
//! v3 the producer's own id and epoch (KIP-360); v4 PRODUCER_FENCED.
//! Not supported: transactional ids. They are refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
//! the one code at which both the Java client and librdkafka give up at once, see ADR 0005.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId,
};

use super::context::Context;
use super::errors;

/// Answers an InitProducerId request.
pub async fn handle(ctx: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let given_id = request.producer_id.0 != -1;
    let given_epoch = request.producer_epoch != -1;
    if given_id != given_epoch {
        return refused(ResponseError::InvalidRequest);
    }
    match request.transactional_id {
        None => match ctx.rooms.producer_ids.next().await {
            Ok(id) => InitProducerIdResponse::default()
                .with_producer_id(WireProducerId(id.0))
                .with_producer_epoch(0),
            Err(error) => {
                tracing::warn!(%error, "no producer id could be reserved");
                refused(errors::storage(&error))
            }
        },
        Some(id) if id.is_empty() => refused(ResponseError::InvalidRequest),
        Some(_) if !timeout_allowed(ctx, request.transaction_timeout_ms) => {
            refused(ResponseError::InvalidTransactionTimeout)
        }
        Some(id) => {
            tracing::warn!(
                transactional_id = id.as_str(),
                client_id = %ctx.client_id,
                "a transactional producer was refused: transactions are not supported yet; \
                 leave transactional.id out for an idempotent producer"
            );
            refused(ResponseError::TransactionalIdAuthorizationFailed)
        }
    }
}

fn timeout_allowed(ctx: &Context, timeout_ms: i32) -> bool {
    timeout_ms > 0 && timeout_ms <= ctx.rooms.config.transaction_max_timeout_ms
}

fn refused(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(WireProducerId(-1))
        .with_producer_epoch(-1)
}
