//! DeleteGroups (42), versions 0-2.
//!
//! Groups without members are forgotten, with their offsets.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::context::Context;
use super::group::{ask, code, mismatched, owned};
use crate::coordinator::group::commands::{Command, Reply};

/// Answers a DeleteGroups request.
pub async fn handle(ctx: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let error_code = match ask(ctx, Command::Delete(owned(&id))).await {
            Ok(Reply::Done(outcome)) => code(&outcome),
            Ok(other) => mismatched(&other).code(),
            Err(error) => error.code(),
        };
        let result = DeletableGroupResult::default().with_error_code(error_code);
        results.push(result.with_group_id(id));
    }
    DeleteGroupsResponse::default().with_results(results)
}
