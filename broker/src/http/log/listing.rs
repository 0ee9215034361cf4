//! `GET /api/v1/log/keys`, `/segments` and `/count`.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use trestle_storage::{KeyOptions, LogRead};

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
