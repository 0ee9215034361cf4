//! Errors as JSON, with the status that says whose they are.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use trestle_storage::ErrorKind;

use crate::metadata::MetadataError;
use crate::partition::AppendError;
use crate::partition::batch::BatchError;

/// What a client is told when to try again, in seconds.
const RETRY_AFTER: &str = "1";

/// Why a request was not done.
#[derive(Debug)]
pub(in crate::http) struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub(in crate::http) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request is wrong.
    pub(in crate::http) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What it names is not there.
    pub(in crate::http) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// It may work later.
    pub(in crate::http) fn later(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "status": "error", "message": self.message });
        let json = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, json, body.to_string()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

impl From<trestle_storage::Error> for ApiError {
    fn from(error: trestle_storage::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unavailable | ErrorKind::Closed | ErrorKind::Fenced => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Gone => Self::missing("the topic was deleted"),
            AppendError::ReadOnly => Self::missing("this broker only reads: there is no append"),
            AppendError::Mirrored => Self::new(StatusCode::CONFLICT, error.to_string()),
            other => Self::later(other.to_string()),
        }
    }
}

impl From<BatchError> for ApiError {
    fn from(error: BatchError) -> Self {
        let status = match &error {
            BatchError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BatchError::Invalid { .. }
            | BatchError::Timestamp { .. }
            | BatchError::Corrupt(_)
            | BatchError::UnsupportedCompression => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<MetadataError> for ApiError {
    fn from(error: MetadataError) -> Self {
        let status = match &error {
            MetadataError::Stopping | MetadataError::Storage(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}
