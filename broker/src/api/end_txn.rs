//! EndTxn (26), versions 0-5.
//!
//! Commits or aborts a transaction. The decision is durable first; the answer comes when every partition
//! and group has been told, or after a few seconds if that takes long. A retry gets the same answer.
//!
//! v2 PRODUCER_FENCED; v4 TRANSACTION_ABORTABLE may be answered; v5 the epoch rises with every end, and
//! the answer has the producer id and epoch to go on with (KIP-890).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId as WireProducerId};

use super::context::Context;
use super::errors;
use crate::coordinator::txn::Owner;
use crate::types::{ProducerEpoch, ProducerId};

/// PRODUCER_FENCED came with this version, and rising epochs with that.
const FENCED_SINCE: i16 = 2;
const RAISED_SINCE: i16 = 5;

/// Answers an EndTxn request.
pub async fn handle(ctx: &Context, request: EndTxnRequest) -> EndTxnResponse {
    let owner = Owner {
        id: &request.transactional_id,
        producer: ProducerId(request.producer_id.0),
        epoch: ProducerEpoch(request.producer_epoch),
    };
    let answer = EndTxnResponse::default()
        .with_producer_id(WireProducerId(-1))
        .with_producer_epoch(-1);
    if owner.id.is_empty() {
        return answer.with_error_code(ResponseError::InvalidRequest.code());
    }
    let raise = ctx.version >= RAISED_SINCE;
    match ctx
        .rooms
        .transactions
        .end(owner, request.committed, raise)
        .await
    {
        Ok((producer, epoch)) if raise => answer
            .with_producer_id(WireProducerId(producer.0))
            .with_producer_epoch(epoch.0),
        Ok(_) => answer,
        Err(error) => {
            let fenced = match ctx.version >= FENCED_SINCE {
                true => ResponseError::ProducerFenced,
                false => ResponseError::InvalidProducerEpoch,
            };
            answer.with_error_code(errors::transaction(&error, fenced).code())
        }
    }
}
