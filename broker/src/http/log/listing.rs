//! `GET /api/v1/log/keys`, `/segments`, `/count`, `/inspect` and `/tree`; `/api/v1/checkpoints` and
//! `/api/v1/clones`.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value as Json, json};
use trestle_storage::{Checkpoint, DataUrl, Inspection, KeyOptions, LogRead, Uuid};

use super::error::ApiError;
use super::message::{CountResponse, KeysResponse, SegmentsResponse};
use super::names::{Name, name_of};
use super::params::Params;
use super::read::view;
use crate::broker::Rooms;

/// Keys of a page by default, and the most.
const PAGE_KEYS: usize = 32;
const MOST_KEYS: usize = 10_000;

/// Keys that have records, in order, page by page.
pub(super) async fn keys(rooms: &Arc<Rooms>, params: &Params) -> Result<KeysResponse, ApiError> {
    let (start, end) = params.range("start_segment", "end_segment", (0u32, u32::MAX))?;
    let limit = params.positive("limit")?.unwrap_or(PAGE_KEYS);
    let limit = limit.min(MOST_KEYS);
    let prefix = params.encoded("prefix")?.unwrap_or_default();
    let from = match params.bytes("continuation") {
        None => Bound::Unbounded,
        Some(token) => {
            let last = URL_SAFE_NO_PAD.decode(token).map_err(|_| {
                ApiError::invalid("parameter continuation: this is no token of a listing")
            })?;
            Bound::Excluded(Bytes::from(last))
        }
    };
    let image = rooms.metadata.image();
    let options = KeyOptions {
        prefix: prefix.clone(),
        from,
        ..KeyOptions::default()
    };
    // The last number means that there is no end.
    let end = match end {
        u32::MAX => Bound::Unbounded,
        end => Bound::Excluded(end),
    };
    let segments = (Bound::Included(start), end);
    let mut found = view(rooms)
        .list_keys_with_options(segments, options)
        .await?;
    let mut keys = Vec::new();
    let mut last: Option<Bytes> = None;
    while let Some(physical) = found.next().await? {
        let name = name_of(&image, &physical.key).filter(|name| name.starts_with(&prefix));
        let Some(name) = name else { continue };
        if keys.len() == limit {
            let token = last.map(|last| URL_SAFE_NO_PAD.encode(last));
            keys.sort();
            return Ok(KeysResponse {
                keys,
                continuation: token,
            });
        }
        keys.push(name);
        last = Some(physical.key);
    }
    keys.sort();
    Ok(KeysResponse {
        keys,
        continuation: None,
    })
}

/// Segments that can hold records of a range.
pub(super) async fn segments(
    rooms: &Arc<Rooms>,
    params: &Params,
) -> Result<SegmentsResponse, ApiError> {
    let (start, end) = params.range("start_seq", "end_seq", (0, u64::MAX))?;
    let segments = view(rooms).list_segments(start..end).await?;
    Ok(SegmentsResponse(segments))
}

/// How many records a key has in a range.
pub(super) async fn count(rooms: &Arc<Rooms>, params: &Params) -> Result<CountResponse, ApiError> {
    let name = Name::parse(&params.key()?)?;
    let (start, end) = params.range("start_seq", "end_seq", (0, u64::MAX))?;
    let Some(opened) = name.open(rooms).await? else {
        return Ok(CountResponse(0));
    };
    opened.log().settled().await?;
    Ok(CountResponse(opened.log().count(start, end).await?))
}

/// What each segment holds of a key, as JSON.
pub(super) async fn inspect(rooms: &Arc<Rooms>, params: &Params) -> Result<Json, ApiError> {
    let name = Name::parse(&params.key()?)?;
    let (start, end) = params.range("start_seq", "end_seq", (0, u64::MAX))?;
    let inspection = match name.open(rooms).await? {
        Some(opened) => {
            let physical = opened.log().key().clone();
            view(rooms).inspect(physical, start..end).await?
        }
        None => Inspection::default(),
    };
    let segments = inspection.segments.iter().map(|segment| {
        json!({
            "segmentId": segment.segment_id,
            "firstSequence": segment.first_sequence,
            "firstOffset": segment.first_offset,
            "count": segment.count,
            "bytes": segment.bytes,
        })
    });
    let segments: Vec<Json> = segments.collect();
    Ok(json!({ "status": "success", "total": inspection.total, "segments": segments }))
}

/// The files that the store consists of, as JSON.
pub(super) fn tree(rooms: &Arc<Rooms>) -> Json {
    let tree = view(rooms).tree();
    let segments = tree.segments.iter().map(|segment| {
        json!({
            "segmentId": segment.segment_id,
            "l0Files": segment.l0_files,
            "l0Bytes": segment.l0_bytes,
            "runs": segment.runs,
            "runBytes": segment.run_bytes,
        })
    });
    json!({
        "status": "success",
        "manifestId": tree.manifest_id,
        "writerEpoch": tree.writer_epoch,
        "compactorEpoch": tree.compactor_epoch,
        "extractor": tree.extractor,
        "segments": segments.collect::<Vec<_>>(),
    })
}

fn checkpoint(checkpoint: &Checkpoint) -> Json {
    json!({
        "id": checkpoint.id.to_string(),
        "name": checkpoint.name,
        "createTimeMs": checkpoint.create_time_ms,
        "expireTimeMs": checkpoint.expire_time_ms,
    })
}

/// Makes a checkpoint.
pub(super) async fn create_checkpoint(
    rooms: &Arc<Rooms>,
    params: &Params,
) -> Result<Json, ApiError> {
    let name = params.bytes("name");
    let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
    let lifetime = params.positive("lifetime_ms")?;
    let lifetime = lifetime.map(|ms| Duration::from_millis(ms as u64));
    let made = rooms.store.create_checkpoint(name, lifetime).await?;
    Ok(json!({ "status": "success", "checkpoint": checkpoint(&made) }))
}

/// Lists checkpoints.
pub(super) async fn checkpoints(rooms: &Arc<Rooms>) -> Result<Json, ApiError> {
    let found = rooms.store.checkpoints().await?;
    let found: Vec<Json> = found.iter().map(checkpoint).collect();
    Ok(json!({ "status": "success", "checkpoints": found }))
}

/// Deletes a checkpoint.
pub(super) async fn delete_checkpoint(
    rooms: &Arc<Rooms>,
    params: &Params,
) -> Result<Json, ApiError> {
    let id: Option<Uuid> = params.number("id")?;
    let id = id.ok_or_else(|| ApiError::invalid("parameter id is missing"))?;
    rooms.store.delete_checkpoint(id).await?;
    Ok(json!({ "status": "success" }))
}

/// Makes a clone of the store.
pub(super) async fn clone(rooms: &Arc<Rooms>, params: &Params) -> Result<Json, ApiError> {
    let target = params.bytes("target").ok_or_else(|| {
        ApiError::invalid("parameter target is missing; give file:PATH or s3://BUCKET/PREFIX")
    })?;
    let target: DataUrl = String::from_utf8_lossy(target)
        .parse()
        .map_err(|error| ApiError::invalid(format!("parameter target: {error}")))?;
    if let DataUrl::File(path) = &target
        && !path.is_absolute()
    {
        return Err(ApiError::invalid(
            "parameter target: the path of the directory must be absolute",
        ));
    }
    let checkpoint: Option<Uuid> = params.number("checkpoint")?;
    if !rooms.config.clones_anywhere && !rooms.store.lies_beside(&target) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "parameter target: clones are made beside the broker's own data, in the same directory or \
             under the same prefix; start the broker with trestle.clones.anywhere=true for other places",
        ));
    }
    rooms.store.clone_to(&target, checkpoint).await?;
    Ok(json!({ "status": "success", "target": target.to_string() }))
}
