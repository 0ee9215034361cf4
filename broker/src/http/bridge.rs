//! The bridge over HTTP: what `trestle bridge` asks for. docs/bridge.md describes the routes.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Door;
use super::log::{ApiError, read_body};
use crate::bridge::{BridgeError, DEFAULT_NAME, Job, Promotion, parse_rate};
use crate::broker::Rooms;

/// The routes.
pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/api/v1/bridge/run", post(run))
        .route("/api/v1/bridge/pause", post(pause))
        .route("/api/v1/bridge/status", get(status))
        .route("/api/v1/bridge/verify", post(verify))
        .route("/api/v1/bridge/promote", post(promote))
}

impl From<BridgeError> for ApiError {
    fn from(error: BridgeError) -> Self {
        let status = match &error {
            BridgeError::UnknownJob(_) => StatusCode::NOT_FOUND,
            BridgeError::Invalid(_) | BridgeError::Selection(_) | BridgeError::Properties(_) => {
                StatusCode::BAD_REQUEST
            }
            BridgeError::Refused(_) => StatusCode::CONFLICT,
            BridgeError::Source(_) => StatusCode::BAD_GATEWAY,
            BridgeError::Storage(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

fn default_name() -> String {
    DEFAULT_NAME.into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    #[serde(default = "default_name")]
    job: String,
    #[serde(default)]
    from: String,
    config: Option<String>,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    limit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default = "default_name")]
    job: String,
    #[serde(default)]
    topics: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promote {
    #[serde(default = "default_name")]
    job: String,
    topics: Vec<String>,
    quiet_ms: Option<u64>,
    wait_ms: Option<u64>,
    #[serde(default)]
    abort_open: bool,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    dry_run: bool,
}

async fn parsed<T: DeserializeOwned>(door: &Door, body: Body) -> Result<T, ApiError> {
    let body = read_body(door, body).await?;
    let body = if body.is_empty() { &b"{}"[..] } else { &body };
    serde_json::from_slice(body).map_err(|error| ApiError::invalid(format!("the body: {error}")))
}

fn rooms(door: &Door) -> Result<Arc<Rooms>, ApiError> {
    let rooms = door.rooms.borrow().clone();
    rooms.ok_or_else(|| ApiError::later("the store is being opened"))
}

fn plain(json: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        json.to_string(),
    )
        .into_response()
}

async fn run(State(door): State<Door>, body: Body) -> Result<Response, ApiError> {
    let asked: Run = parsed(&door, body).await?;
    let limit =
        match &asked.limit {
            None => None,
            Some(text) => Some(parse_rate(text).ok_or_else(|| {
                ApiError::invalid(format!("limit: {text:?} is no rate; as 50MB/s"))
            })?),
        };
    let job = Job {
        source: asked.from,
        properties: asked.config,
        topics: asked.topics,
        exclude: asked.exclude,
        limit,
        ..Job::default()
    };
    rooms(&door)?.bridge.run(&asked.job, job).await?;
    Ok(plain(&json!({ "job": asked.job, "state": "RUNNING" })))
}

async fn pause(State(door): State<Door>, body: Body) -> Result<Response, ApiError> {
    let asked: Named = parsed(&door, body).await?;
    rooms(&door)?.bridge.pause(&asked.job).await?;
    Ok(plain(&json!({ "job": asked.job, "state": "PAUSED" })))
}

async fn status(State(door): State<Door>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let rooms = rooms(&door)?;
    let query = query.unwrap_or_default();
    let named = query.split('&').find_map(|pair| pair.strip_prefix("job="));
    let jobs = match named {
        Some(name) => vec![rooms.bridge.job(name)?],
        None => rooms.bridge.all(),
    };
    let jobs: Vec<_> = jobs.iter().map(|job| job.status()).collect();
    Ok(plain(&json!({ "jobs": jobs })))
}

async fn verify(State(door): State<Door>, body: Body) -> Result<Response, ApiError> {
    let asked: Named = parsed(&door, body).await?;
    let rooms = rooms(&door)?;
    let report = rooms.bridge.verify(&asked.job, &asked.topics).await?;
    Ok(plain(&report))
}

async fn promote(State(door): State<Door>, body: Body) -> Result<Response, ApiError> {
    let asked: Promote = parsed(&door, body).await?;
    let promotion = Promotion {
        topics: asked.topics,
        quiet: Duration::from_millis(asked.quiet_ms.unwrap_or(10_000)),
        wait: Duration::from_millis(asked.wait_ms.unwrap_or(60_000)),
        abort_open: asked.abort_open,
        force: asked.force,
        dry_run: asked.dry_run,
    };
    let rooms = rooms(&door)?;
    let done = rooms.bridge.promote(&asked.job, &promotion).await?;
    Ok(plain(&done))
}

/// The bridge's part of the metrics page.
pub(super) fn text(rooms: &Rooms) -> String {
    let jobs: Vec<_> = rooms.bridge.all().iter().map(|job| job.status()).collect();
    let mut text = String::new();
    if jobs.is_empty() {
        return text;
    }
    let mut family = |name: &str, kind: &str, help: &str, values: Vec<(String, u64)>| {
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} {kind}");
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{suffix}{{{labels}}} {value}");
        }
    };
    let each = |value: &dyn Fn(&crate::bridge::JobStatus) -> u64| {
        jobs.iter()
            .map(|job| (format!("job=\"{}\"", job.job), value(job)))
            .collect::<Vec<_>>()
    };
    family(
        "trestle_bridge_copied_bytes",
        "counter",
        "Bytes of batches copied from the source",
        each(&|job| job.bytes),
    );
    family(
        "trestle_bridge_copied_records",
        "counter",
        "Records copied from the source",
        each(&|job| job.records),
    );
    family(
        "trestle_bridge_lag_records",
        "gauge",
        "Offsets that the source has and the copy has not",
        each(&|job| u64::try_from(job.lag).unwrap_or(0)),
    );
    family(
        "trestle_bridge_source_unreachable",
        "gauge",
        "1 while the source cannot be looked at",
        each(&|job| u64::from(job.trouble.is_some())),
    );
    let states = jobs.iter().flat_map(|job| {
        job.partitions.iter().map(|(state, count)| {
            (
                format!("job=\"{}\",state=\"{state}\"", job.job),
                *count as u64,
            )
        })
    });
    family(
        "trestle_bridge_partitions",
        "gauge",
        "Partitions by state",
        states.collect(),
    );
    family(
        "trestle_bridge_groups_not_synced",
        "gauge",
        "Groups of the source whose offsets are not taken over",
        each(&|job| job.groups_not_synced.len() as u64),
    );
    text
}
