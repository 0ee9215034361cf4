//! ListGroups (16), versions 0-5.
//!
//! All groups, those that have nothing but offsets too.
//!
//! v4 states and a filter by them (KIP-518); v5 types and a filter by them (KIP-848). Names in filters may
//! have any case; a name that no group can have lets none pass.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use super::context::Context;
use super::group::{ask, group_id, mismatched, text};
use crate::coordinator::group::commands::{Command, List, Reply};

/// Answers a ListGroups request.
pub async fn handle(ctx: &Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let names = |filter: &[kafka_protocol::protocol::StrBytes]| {
        filter.iter().map(|name| name.to_string()).collect()
    };
    let list = List {
        states: names(&request.states_filter),
        types: names(&request.types_filter),
    };
    let listed = match ask(ctx, Command::List(list)).await {
        Ok(Reply::Listed(listed)) => listed,
        Ok(other) => return refused(mismatched(&other).code()),
        Err(error) => return refused(error.code()),
    };
    let groups = listed.into_iter().map(|group| {
        let response = ListedGroup::default()
            .with_group_id(group_id(&group.group))
            .with_protocol_type(text(&group.protocol_type));
        let response = match ctx.version {
            ..4 => response,
            4.. => response.with_group_state(text(group.state)),
        };
        match ctx.version {
            ..5 => response,
            5.. => response.with_group_type(text(group.kind)),
        }
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

fn refused(error_code: i16) -> ListGroupsResponse {
    ListGroupsResponse::default().with_error_code(error_code)
}
