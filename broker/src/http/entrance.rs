//! What every request passes: pages of other sites are turned away, and requests are counted.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Door;
use super::log::ApiError;

/// The paths that are counted by their name.
const PATHS: &[&str] = &[
    "/-/healthy",
    "/-/ready",
    "/metrics",
    "/openapi.json",
    "/api/v1/log/append",
    "/api/v1/log/scan",
    "/api/v1/log/keys",
    "/api/v1/log/segments",
    "/api/v1/log/count",
    "/api/v1/log/inspect",
    "/api/v1/log/tree",
    "/api/v1/checkpoints",
    "/api/v1/clones",
    "/api/v1/bridge/run",
    "/api/v1/bridge/pause",
    "/api/v1/bridge/status",
    "/api/v1/bridge/verify",
    "/api/v1/bridge/promote",
];

/// Lets a request in, or not, and counts it.
pub(super) async fn pass(State(door): State<Door>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let known = PATHS.iter().find(|known| **known == path);
    let endpoint = known.copied().unwrap_or("other");
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        _ => "other",
    };
    let began = door.env.clock().now();
    door.metrics.http.in_flight.inc();
    let response = match is_foreign(request.headers()) {
        true => {
            let why = "requests from pages of other origins are not served";
            ApiError::new(StatusCode::FORBIDDEN, why).into_response()
        }
        false => next.run(request).await,
    };
    door.metrics.http.in_flight.dec();
    let took = (door.env.clock().now() - began)
        .to_std()
        .unwrap_or_default();
    let status = response.status().as_u16();
    door.metrics.http.answered(method, endpoint, status, took);
    response
}

/// Whether a browser sends the request for a page that did not come from here.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let own = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| origin.split_once("://"));
    match (origin, own) {
        (Some((_, origin)), Some(own)) => !origin.eq_ignore_ascii_case(own),
        _ => true,
    }
}

/// No such path.
pub(super) async fn unknown() -> ApiError {
    ApiError::missing(
        "there is no such path; docs/http-api.md and /openapi.json list what there is",
    )
}

/// A path that does not take the method.
pub(super) async fn wrong_method() -> ApiError {
    let why = "the path does not take this method";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_from_here_are_let_in() {
        let foreign = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8080".parse().expect("a host"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("an origin"));
            }
            is_foreign(&headers)
        };
        assert!(!foreign(None));
        assert!(!foreign(Some("http://127.0.0.1:8080")));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8081"] {
            assert!(foreign(Some(origin)), "{origin}");
        }
    }
}
