//! ListPartitionReassignments (46), version 0.
//!
//! There is one broker, so no partition is ever on its way from one to another.

use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::context::Context;

/// Answers a ListPartitionReassignments request.
pub async fn handle(
    _ctx: &Context,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
