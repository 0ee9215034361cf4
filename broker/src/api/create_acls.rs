//! CreateAcls (30), versions 1-3.
//!
//! There is no authorizer: SECURITY_DISABLED for each entry.
//!
//! v1 pattern types; v2 flexible; v3 user resources.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::describe_acls::NO_AUTHORIZER;

/// Answers a CreateAcls request.
pub async fn handle(_ctx: &Context, request: CreateAclsRequest) -> CreateAclsResponse {
    let results = request.creations.iter().map(|_| {
        AclCreationResult::default()
            .with_error_code(ResponseError::SecurityDisabled.code())
            .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)))
    });
    CreateAclsResponse::default().with_results(results.collect())
}
