//! LeaveGroup (13), versions 0-5.
//!
//! Members go: one of its own accord, or by an admin's word any that has an instance id, for whom the
//! member id is left empty.
//!
//! v3 many at once, each with an answer of its own; v5 a reason, which goes to the log.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::context::Context;
use super::group::{ask, code, maybe, mismatched, owned};
use crate::coordinator::group::commands::{Command, GroupError, Leave, Reply};

/// Answers a LeaveGroup request.
pub async fn handle(ctx: &Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let refused = |error_code| LeaveGroupResponse::default().with_error_code(error_code);
    if request.group_id.is_empty() {
        return refused(code(&Err(GroupError::InvalidGroupId)));
    }
    let going = match ctx.version {
        ..3 => vec![MemberIdentity::default().with_member_id(request.member_id)],
        3.. => request.members,
    };
    for member in &going {
        if let Some(reason) = &member.reason {
            tracing::debug!(
                group = request.group_id.as_str(),
                reason = reason.as_str(),
                "a member leaves"
            );
        }
    }
    let leave = Leave {
        group: owned(&request.group_id),
        members: going
            .iter()
            .map(|member| {
                let instance = maybe(member.group_instance_id.as_ref());
                (owned(&member.member_id), instance)
            })
            .collect(),
    };
    let outcomes = match ask(ctx, Command::Leave(leave)).await {
        Ok(Reply::Left(outcomes)) => outcomes,
        Ok(other) => return refused(mismatched(&other).code()),
        Err(error) => return refused(error.code()),
    };
    if ctx.version < 3 {
        return refused(outcomes.first().map_or(0, code));
    }
    let members = going.into_iter().zip(&outcomes).map(|(member, outcome)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code(outcome))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
