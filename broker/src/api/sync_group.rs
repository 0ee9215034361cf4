//! SyncGroup (14), versions 0-5.
//!
//! A member's assignment: the answer comes when the leader has brought everybody's, with the call that is
//! its own.
//!
//! v3 static members; v5 protocol type and name, which must be there and must be the group's.

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::context::Context;
use super::errors;
use super::group::{ask, copied, maybe, mismatched, owned, text};
use crate::coordinator::group::commands::{Caller, Command, GroupError, Reply, Sync};

/// Answers a SyncGroup request.
pub async fn handle(ctx: &Context, request: SyncGroupRequest) -> SyncGroupResponse {
    if request.group_id.is_empty() {
        return refused(errors::group(&GroupError::InvalidGroupId).code());
    }
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if ctx.version >= 5 && !named {
        return refused(errors::group(&GroupError::InconsistentProtocol).code());
    }
    let sync = Sync {
        caller: Caller {
            group: owned(&request.group_id),
            member: owned(&request.member_id),
            instance: maybe(request.group_instance_id.as_ref()),
            generation: request.generation_id,
        },
        protocol_type: maybe(request.protocol_type.as_ref()),
        protocol: maybe(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .iter()
            .map(|one| (owned(&one.member_id), copied(&one.assignment)))
            .collect(),
    };
    // Not to be held while others are waited for.
    drop(request);
    match ask(ctx, Command::Sync(sync)).await {
        Ok(Reply::Synced(Ok(synced))) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(&synced.protocol_type)))
            .with_protocol_name(Some(text(&synced.protocol)))
            .with_assignment(synced.assignment),
        Ok(Reply::Synced(Err(error))) => refused(errors::group(&error).code()),
        Ok(other) => refused(mismatched(&other).code()),
        Err(error) => refused(error.code()),
    }
}

fn refused(error_code: i16) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_error_code(error_code)
        .with_protocol_type(None)
        .with_protocol_name(None)
}
