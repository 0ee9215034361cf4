//! JoinGroup (11), versions 0-9.
//!
//! To become a member of a classic group, or to take part in its rebalance: the answer comes when the
//! rebalance is complete, and gives the leader everybody's metadata.
//!
//! v1 rebalance timeout; v4 MEMBER_ID_REQUIRED (KIP-394); v5 static members (KIP-345); v7 protocol type;
//! v8 a reason, which goes to the log; v9 a static leader that returns need not assign (KIP-814).

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::group::{ask, copied, maybe, mismatched, owned, text};
use super::{errors, group};
use crate::coordinator::group::commands::{Caller, Command, GroupError, Join, Joined, Reply};

/// Answers a JoinGroup request.
pub async fn handle(ctx: &Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    if let Some(reason) = &request.reason {
        tracing::debug!(
            group = request.group_id.as_str(),
            reason = reason.as_str(),
            "a member joins"
        );
    }
    let join = Join {
        caller: Caller {
            group: owned(&request.group_id),
            member: owned(&request.member_id),
            instance: maybe(request.group_instance_id.as_ref()),
            generation: -1,
        },
        client_id: ctx.client_id.clone(),
        client_host: format!("/{}", ctx.peer.ip()).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            // Version 0 has none.
            ..0 => request.session_timeout_ms,
            given => given,
        },
        protocol_type: owned(&request.protocol_type),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| (owned(&protocol.name), copied(&protocol.metadata)))
            .collect(),
        id_required: ctx.version >= 4,
        skips_assignment: ctx.version >= 9,
    };
    // Not to be held while others are waited for.
    drop(request);
    match ask(ctx, Command::Join(join)).await {
        Ok(Reply::Joined(Ok(joined))) => respond(ctx, joined),
        Ok(Reply::Joined(Err(GroupError::MemberIdRequired(id)))) => {
            let error = errors::group(&GroupError::MemberIdRequired(id.clone()));
            refused(ctx, error.code(), text(&id))
        }
        Ok(Reply::Joined(Err(error))) => refused(ctx, errors::group(&error).code(), member_id),
        Ok(other) => refused(ctx, mismatched(&other).code(), member_id),
        Err(error) => refused(ctx, error.code(), member_id),
    }
}

fn respond(ctx: &Context, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        let response = JoinGroupResponseMember::default()
            .with_member_id(text(&member.member))
            .with_metadata(member.metadata);
        match ctx.version {
            ..5 => response,
            5.. => response.with_group_instance_id(member.instance.as_deref().map(group::text)),
        }
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(&joined.protocol_type)))
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(&joined.member))
        .with_members(members.collect())
}

fn refused(ctx: &Context, error_code: i16, member_id: StrBytes) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error_code)
        .with_generation_id(-1)
        .with_protocol_type(None)
        // Before version 7 it cannot be null.
        .with_protocol_name((ctx.version < 7).then(StrBytes::default))
        .with_member_id(member_id)
}
