//! AddOffsetsToTxn (25), versions 0-4.
//!
//! Makes the offsets of a group part of a producer's transaction, durably, before it commits any.
//!
//! v2 PRODUCER_FENCED; v4 TRANSACTION_ABORTABLE may be answered.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::context::Context;
use super::errors;
use crate::coordinator::txn::Owner;
use crate::types::{ProducerEpoch, ProducerId};

/// PRODUCER_FENCED came with this version.
const FENCED_SINCE: i16 = 2;

/// Answers an AddOffsetsToTxn request.
pub async fn handle(ctx: &Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let owner = Owner {
        id: &request.transactional_id,
        producer: ProducerId(request.producer_id.0),
        epoch: ProducerEpoch(request.producer_epoch),
    };
    if owner.id.is_empty() {
        return refused(ResponseError::InvalidRequest);
    }
    let group = request.group_id.to_string();
    match ctx
        .rooms
        .transactions
        .add(owner, Vec::new(), Some(group), false)
        .await
    {
        Ok(()) => AddOffsetsToTxnResponse::default(),
        Err(error) => {
            let fenced = match ctx.version >= FENCED_SINCE {
                true => ResponseError::ProducerFenced,
                false => ResponseError::InvalidProducerEpoch,
            };
            refused(errors::transaction(&error, fenced))
        }
    }
}

fn refused(error: ResponseError) -> AddOffsetsToTxnResponse {
    AddOffsetsToTxnResponse::default().with_error_code(error.code())
}
