//! DescribeGroups (15), versions 0-6.
//!
//! State and members of classic groups. Metadata and assignments are shown while the group is stable.
//!
//! v3 authorised operations; v4 instance ids; v6 GROUP_ID_NOT_FOUND for a group that is none, which below
//! is shown as dead (KIP-1043).

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::context::Context;
use super::group::{ask, mismatched, owned, text};
use super::{errors, operations};
use crate::coordinator::group::commands::{Command, Described, GroupError, Reply};

/// Answers a DescribeGroups request.
pub async fn handle(ctx: &Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for id in request.groups {
        let described = match ask(ctx, Command::Describe(owned(&id))).await {
            Ok(Reply::Described(Ok(described))) => describe(ctx, described),
            Ok(Reply::Described(Err(error))) => missing(ctx, &error),
            Ok(other) => DescribedGroup::default().with_error_code(mismatched(&other).code()),
            Err(error) => DescribedGroup::default().with_error_code(error.code()),
        };
        let allowed = described.error_code == errors::NONE && request.include_authorized_operations;
        groups.push(match allowed {
            true => described.with_authorized_operations(operations::GROUP),
            false => described,
        });
        if let Some(last) = groups.last_mut() {
            last.group_id = id;
        }
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

fn missing(ctx: &Context, error: &GroupError) -> DescribedGroup {
    let dead = DescribedGroup::default().with_group_state(text("Dead"));
    match (ctx.version, error) {
        (..6, GroupError::UnknownGroup(_)) => dead,
        _ => dead
            .with_error_code(errors::group(error).code())
            .with_error_message(Some(text(&error.to_string()))),
    }
}

fn describe(ctx: &Context, described: Described) -> DescribedGroup {
    let members = described.members.into_iter().map(|member| {
        let response = DescribedGroupMember::default()
            .with_member_id(text(&member.member))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment);
        match ctx.version {
            ..4 => response,
            4.. => response.with_group_instance_id(member.instance.as_deref().map(text)),
        }
    });
    DescribedGroup::default()
        .with_group_state(text(described.state))
        .with_protocol_type(text(&described.protocol_type))
        .with_protocol_data(text(&described.protocol))
        .with_members(members.collect())
}
