//! SaslHandshake (17), versions 0-1.
//!
//! No listener asks for authentication: ILLEGAL_SASL_STATE, as from a plaintext listener of Kafka.
//!
//! v1 the tokens that follow travel in SaslAuthenticate.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::context::Context;

/// Answers a SaslHandshake request.
pub async fn handle(_ctx: &Context, _request: SaslHandshakeRequest) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(ResponseError::IllegalSaslState.code())
}
