//! SaslAuthenticate (36), versions 0-2.
//!
//! No listener asks for authentication: ILLEGAL_SASL_STATE, as from a plaintext listener of Kafka.
//!
//! v1 the session's lifetime; v2 flexible.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;

/// Answers a SaslAuthenticate request.
pub async fn handle(_ctx: &Context, _request: SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    let why = "This listener asks nobody to authenticate.";
    SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::IllegalSaslState.code())
        .with_error_message(Some(StrBytes::from_static_str(why)))
}
