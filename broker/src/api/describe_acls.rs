//! DescribeAcls (29), versions 1-3.
//!
//! There is no authorizer: SECURITY_DISABLED, which clients such as MirrorMaker 2 take for what it is.
//!
//! v1 pattern types; v2 flexible; v3 user resources.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;

/// Why there are no access control lists.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured on the broker";

/// Answers a DescribeAcls request.
pub async fn handle(_ctx: &Context, _request: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)))
}
