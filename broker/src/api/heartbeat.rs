//! Heartbeat (12), versions 0-4.
//!
//! A member of a classic group is alive, and hears whether a rebalance wants it.
//!
//! v3 static members.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::context::Context;
use super::group::{ask, code, maybe, mismatched, owned};
use crate::coordinator::group::commands::{Caller, Command, GroupError, Reply};

/// Answers a Heartbeat request.
pub async fn handle(ctx: &Context, request: HeartbeatRequest) -> HeartbeatResponse {
    if request.group_id.is_empty() {
        let error_code = code(&Err(GroupError::InvalidGroupId));
        return HeartbeatResponse::default().with_error_code(error_code);
    }
    let caller = Caller {
        group: owned(&request.group_id),
        member: owned(&request.member_id),
        instance: maybe(request.group_instance_id.as_ref()),
        generation: request.generation_id,
    };
    let error_code = match ask(ctx, Command::Heartbeat(caller)).await {
        Ok(Reply::Done(outcome)) => code(&outcome),
        Ok(other) => mismatched(&other).code(),
        Err(error) => error.code(),
    };
    HeartbeatResponse::default().with_error_code(error_code)
}
