//! DeleteAcls (31), versions 1-3.
//!
//! There is no authorizer: SECURITY_DISABLED for each filter.
//!
//! v1 pattern types; v2 flexible; v3 user resources.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;

/// What Kafka says here, where a controller answers.
const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// Answers a DeleteAcls request.
pub async fn handle(_ctx: &Context, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let results = request.filters.iter().map(|_| {
        DeleteAclsFilterResult::default()
            .with_error_code(ResponseError::SecurityDisabled.code())
            .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)))
    });
    DeleteAclsResponse::default().with_filter_results(results.collect())
}
