//! InitProducerId (22), versions 0-5.
//!
//! A producer id that was never given before, with epoch 0, for a producer without a transactional id
//! (KIP-98). With one: the id's own producer in its next epoch, so that whoever had it before is fenced;
//! a transaction that is still open is aborted first, and the answer waits for that.
//!
//! v3 the producer's own id and epoch, so that it is not fenced by itself (KIP-360); v4 PRODUCER_FENCED;
//! v5 TRANSACTION_ABORTABLE may be answered.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId,
};

use super::context::Context;
use super::errors;
use crate::types::{ProducerEpoch, ProducerId};

/// PRODUCER_FENCED came with this version.
const FENCED_SINCE: i16 = 4;

/// Answers an InitProducerId request.
pub async fn handle(ctx: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let given_id = request.producer_id.0 != -1;
    let given_epoch = request.producer_epoch != -1;
    if given_id != given_epoch {
        return refused(ResponseError::InvalidRequest);
    }
    let Some(id) = request.transactional_id else {
        return match ctx.rooms.producer_ids.next().await {
            Ok(id) => answer(id, ProducerEpoch(0)),
            Err(error) => {
                tracing::warn!(%error, "no producer id could be reserved");
                refused(errors::storage(&error))
            }
        };
    };
    if id.is_empty() {
        return refused(ResponseError::InvalidRequest);
    }
    let timeout_ms = request.transaction_timeout_ms;
    if timeout_ms <= 0 || timeout_ms > ctx.rooms.config.transaction_max_timeout_ms {
        return refused(ResponseError::InvalidTransactionTimeout);
    }
    let expected = given_id.then_some((
        ProducerId(request.producer_id.0),
        ProducerEpoch(request.producer_epoch),
    ));
    match ctx.rooms.transactions.init(&id, timeout_ms, expected).await {
        Ok((producer, epoch)) => answer(producer, epoch),
        Err(error) => {
            let fenced = match ctx.version >= FENCED_SINCE {
                true => ResponseError::ProducerFenced,
                false => ResponseError::InvalidProducerEpoch,
            };
            refused(errors::transaction(&error, fenced))
        }
    }
}

fn answer(producer: ProducerId, epoch: ProducerEpoch) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_producer_id(WireProducerId(producer.0))
        .with_producer_epoch(epoch.0)
}

fn refused(error: ResponseError) -> InitProducerIdResponse {
    answer(ProducerId(-1), ProducerEpoch(-1)).with_error_code(error.code())
}
