//! The log database over HTTP: records by key, the same records that Kafka clients see.
//!
//! Bodies are JSON or protocol buffers, as the client asks. docs/http-api.md describes the routes.

mod append;
mod error;
mod listing;
mod message;
mod names;
mod params;
mod read;
mod scan;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::{self, Body};
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;

use super::Door;
use crate::broker::Rooms;
pub(super) use error::ApiError;
use message::{AppendRequest, Message};
use params::Params;

/// The routes of the log database.
pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/api/v1/log/append", post(append_route))
        .route("/api/v1/log/scan", get(scan_route))
        .route("/api/v1/log/keys", get(keys_route))
        .route("/api/v1/log/segments", get(segments_route))
        .route("/api/v1/log/count", get(count_route))
        .route("/api/v1/log/inspect", get(inspect_route))
        .route("/api/v1/log/tree", get(tree_route))
        .route(
            "/api/v1/checkpoints",
            get(checkpoints_route)
                .post(create_checkpoint_route)
                .delete(delete_checkpoint_route),
        )
        .route("/api/v1/clones", post(clone_route))
}

/// The rooms, while the store is open.
fn rooms(door: &Door) -> Result<Arc<Rooms>, ApiError> {
    let rooms = door.rooms.borrow().clone();
    rooms.ok_or_else(|| ApiError::later("the store is being opened"))
}

const PROTOBUF: &str = "application/protobuf";

/// Whether a content type means binary protocol buffers, and not their JSON form.
fn is_protobuf(content_type: Option<&axum::http::HeaderValue>) -> bool {
    let content_type = content_type.and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| {
        value.contains(PROTOBUF) && !value.contains("application/protobuf+json")
    })
}

/// A message in the form that the client accepts.
fn respond(headers: &HeaderMap, message: &impl Message) -> Response {
    if is_protobuf(headers.get(header::ACCEPT)) {
        ([(header::CONTENT_TYPE, PROTOBUF)], message.protobuf()).into_response()
    } else {
        let body = message.json().to_string();
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

pub(super) async fn read_body(door: &Door, body: Body) -> Result<Bytes, ApiError> {
    let limit = door.max_body_bytes;
    body::to_bytes(body, limit).await.map_err(|error| {
        use std::error::Error;
        let too_long = error
            .source()
            .is_some_and(|source| source.to_string().contains("length limit"));
        match too_long {
            true => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is longer than {limit} bytes (trestle.http.request.max.bytes)"),
            ),
            false => ApiError::invalid(format!("the body was not received: {error}")),
        }
    })
}

async fn append_route(State(door): State<Door>, request: Request) -> Result<Response, ApiError> {
    let rooms = rooms(&door)?;
    let (head, body) = request.into_parts();
    let body = read_body(&door, body).await?;
    let request = match is_protobuf(head.headers.get(header::CONTENT_TYPE)) {
        true => AppendRequest::from_protobuf(body)?,
        false => AppendRequest::from_json(&body)?,
    };
    let records = request.records.len();
    let bytes: usize = request
        .records
        .iter()
        .map(|record| record.value.len())
        .sum();
    let response = append::append(&rooms, request).await?;
    door.metrics.http.appended(records, bytes);
    Ok(respond(&head.headers, &response))
}

fn params(RawQuery(query): RawQuery) -> Result<Params, ApiError> {
    Params::parse(query.as_deref().unwrap_or_default())
}

async fn scan_route(
    State(door): State<Door>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    scan::scan(rooms(&door)?, &params(query)?, &headers).await
}

async fn keys_route(
    State(door): State<Door>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let keys = listing::keys(&rooms(&door)?, &params(query)?).await?;
    Ok(respond(&headers, &keys))
}

async fn segments_route(
    State(door): State<Door>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let segments = listing::segments(&rooms(&door)?, &params(query)?).await?;
    Ok(respond(&headers, &segments))
}

async fn count_route(
    State(door): State<Door>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let count = listing::count(&rooms(&door)?, &params(query)?).await?;
    Ok(respond(&headers, &count))
}

fn plain(json: &serde_json::Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, json.to_string()).into_response()
}

async fn inspect_route(State(door): State<Door>, query: RawQuery) -> Result<Response, ApiError> {
    let inspection = listing::inspect(&rooms(&door)?, &params(query)?).await?;
    Ok(plain(&inspection))
}

async fn tree_route(State(door): State<Door>) -> Result<Response, ApiError> {
    Ok(plain(&listing::tree(&rooms(&door)?)))
}

async fn checkpoints_route(State(door): State<Door>) -> Result<Response, ApiError> {
    Ok(plain(&listing::checkpoints(&rooms(&door)?).await?))
}

async fn create_checkpoint_route(
    State(door): State<Door>,
    query: RawQuery,
) -> Result<Response, ApiError> {
    let made = listing::create_checkpoint(&rooms(&door)?, &params(query)?).await?;
    Ok(plain(&made))
}

async fn delete_checkpoint_route(
    State(door): State<Door>,
    query: RawQuery,
) -> Result<Response, ApiError> {
    let deleted = listing::delete_checkpoint(&rooms(&door)?, &params(query)?).await?;
    Ok(plain(&deleted))
}

async fn clone_route(State(door): State<Door>, query: RawQuery) -> Result<Response, ApiError> {
    let made = listing::clone(&rooms(&door)?, &params(query)?).await?;
    Ok(plain(&made))
}
