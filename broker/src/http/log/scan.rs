//! `GET /api/v1/log/scan`: a page of records, at once or when there is one, or a stream of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde_json::json;

use super::error::ApiError;
use super::message::{ScanResponse, Value};
use super::names::{Name, Opened};
use super::params::Params;
use super::read::{self, From, Limits, Page};
use super::respond;
use crate::broker::Rooms;

/// Records of a page by default, and the most.
const PAGE_RECORDS: usize = 32;
const MOST_RECORDS: usize = 10_000;
/// Bytes of values in a page by default, and the most.
const PAGE_BYTES: usize = 4 << 20;
const MOST_BYTES: usize = 32 << 20;
/// How long `follow` waits by default, and the longest: a connection on which nothing moves for a
/// minute is closed.
const WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(50);
/// A stream says at least this often that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A transaction that is open is looked at again after this: its end is known a moment after it is
/// durable.
const UNDECIDED: Duration = Duration::from_millis(50);
/// Records of a stream that are read at a time.
const STREAM_RECORDS: usize = 256;

/// What is scanned.
#[derive(Clone, Debug)]
enum Source {
    Key(Bytes, Name),
    Prefix(Bytes),
}

/// A request.
#[derive(Clone, Debug)]
struct Scan {
    source: Source,
    from: From,
    limits: Limits,
    /// As it was given.
    limit: Option<usize>,
    follow: bool,
    wait: Duration,
}

impl Scan {
    fn parse(params: &Params, headers: &HeaderMap) -> Result<Self, ApiError> {
        let source = match params.encoded("prefix")? {
            Some(prefix) if params.encoded("key")?.is_none() => Source::Prefix(prefix),
            Some(_) => {
                return Err(ApiError::invalid(
                    "parameters key and prefix are both given",
                ));
            }
            None => {
                let key = params.key()?;
                let name = Name::parse(&key)?;
                Source::Key(key, name)
            }
        };
        let (start, end_sequence) = params.range("start_seq", "end_seq", (0, u64::MAX))?;
        let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        let resumed = resumed.and_then(|id| id.parse().ok());
        let from = match params.number("offset")? {
            _ if resumed.is_some() => From::Sequence(resumed.unwrap_or(start)),
            None => From::Sequence(start),
            Some(_) if params.bytes("start_seq").is_some() => {
                return Err(ApiError::invalid(
                    "parameters offset and start_seq are both given",
                ));
            }
            Some(_) if matches!(source, Source::Prefix(_)) => {
                return Err(ApiError::invalid(
                    "parameter offset: records of several keys are read by start_seq",
                ));
            }
            Some(offset) => From::Offset(offset),
        };
        let limit = params.positive("limit")?;
        let bytes = params.positive("max_bytes")?.unwrap_or(PAGE_BYTES);
        let wait_ms = params.number("timeout_ms")?;
        Ok(Self {
            source,
            from,
            limits: Limits {
                end_sequence,
                records: limit.unwrap_or(PAGE_RECORDS).min(MOST_RECORDS),
                bytes: bytes.min(MOST_BYTES),
            },
            limit,
            follow: params.flag("follow")?,
            wait: wait_ms
                .map_or(WAIT, Duration::from_millis)
                .min(LONGEST_WAIT),
        })
    }

    async fn page(&self, rooms: &Rooms) -> Result<(Page, Option<Opened>), ApiError> {
        match &self.source {
            Source::Prefix(prefix) => {
                let From::Sequence(from) = self.from else {
                    return Err(ApiError::invalid("parameter offset"));
                };
                let page = read::many(rooms, prefix, from, &self.limits).await?;
                Ok((page, None))
            }
            Source::Key(_, name) => {
                let frontier = rooms.store.durable_sequence();
                match name.open(rooms).await? {
                    Some(opened) => {
                        let page = read::one(rooms, &opened, self.from, &self.limits).await?;
                        Ok((page, Some(opened)))
                    }
                    None => {
                        // A topic that is made later has later sequences.
                        let (from, offset) = match self.from {
                            From::Sequence(from) => (from, 0),
                            From::Offset(offset) => (0, offset),
                        };
                        let page = Page {
                            values: Vec::new(),
                            next_sequence: from.max(frontier.min(self.limits.end_sequence)),
                            next_offset: offset,
                        };
                        Ok((page, None))
                    }
                }
            }
        }
    }

    /// A page with at least one record, or an empty one after `wait`.
    async fn followed(&self, rooms: &Rooms, wait: Duration) -> Result<Page, ApiError> {
        let deadline = rooms.env.sleep(wait);
        tokio::pin!(deadline);
        let mut state = rooms.store.state();
        let mut durable = rooms.store.subscribe_durable();
        let mut images = rooms.metadata.subscribe();
        loop {
            durable.mark_unchanged();
            images.mark_unchanged();
            // What is watched must be watched before it is looked at.
            let known = match &self.source {
                Source::Key(_, name) => name.open(rooms).await?,
                Source::Prefix(_) => None,
            };
            let changed = known.as_ref().map(|opened| opened.log().changed());
            let (page, _) = self.page(rooms).await?;
            let ended = page.next_sequence >= self.limits.end_sequence;
            if !page.values.is_empty() || ended {
                return Ok(page);
            }
            let undecided = known.as_ref().is_some_and(Opened::is_undecided);
            let stirred = async {
                match (changed, &self.source) {
                    (Some(changed), _) => changed.await,
                    (None, Source::Key(..)) => drop(images.changed().await),
                    (None, Source::Prefix(_)) => drop(durable.changed().await),
                }
            };
            tokio::select! {
                () = stirred => {}
                () = rooms.env.sleep(UNDECIDED), if undecided => {}
                () = &mut deadline => return Ok(page),
                () = rooms.env.stopping().cancelled() => return Ok(page),
                _ = state.wait_for(|s| matches!(s, trestle_storage::StoreState::Closed(_))) => {
                    return Ok(page);
                }
            }
        }
    }
}

/// How the records are to be returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Page,
    /// A line each.
    Lines,
    /// Server-sent events.
    Events,
}

/// Answers a scan.
pub(super) async fn scan(
    rooms: Arc<Rooms>,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let request = Scan::parse(params, headers)?;
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
    let form = match accept.unwrap_or_default() {
        accept if accept.contains("text/event-stream") => Form::Events,
        accept if accept.contains("application/x-ndjson") => Form::Lines,
        _ => Form::Page,
    };
    if form != Form::Page {
        // Errors that are known now are answered as such.
        if let Source::Key(_, name) = &request.source {
            name.open(&rooms).await?;
        }
        return Ok(streamed(rooms, request, form));
    }
    let page = match request.follow {
        true => request.followed(&rooms, request.wait).await?,
        false => request.page(&rooms).await?.0,
    };
    let response = match request.source {
        Source::Key(key, _) => ScanResponse {
            key: Some(key),
            values: page.values,
            next_sequence: page.next_sequence,
            next_offset: Some(page.next_offset),
        },
        Source::Prefix(_) => ScanResponse {
            key: None,
            values: page.values,
            next_sequence: page.next_sequence,
            next_offset: None,
        },
    };
    Ok(respond(headers, &response))
}

/// What is left of a stream.
struct Streaming {
    rooms: Arc<Rooms>,
    scan: Scan,
    form: Form,
    left: usize,
}

/// Records as a stream: to the end, or with `follow` until the client leaves.
fn streamed(rooms: Arc<Rooms>, mut scan: Scan, form: Form) -> Response {
    // Without a limit, all of them.
    let left = scan.limit.unwrap_or(usize::MAX);
    scan.limits.records = STREAM_RECORDS;
    let streaming = Streaming {
        rooms,
        scan,
        form,
        left,
    };
    let body = stream::try_unfold(streaming, async |mut streaming| {
        let text = next_piece(&mut streaming).await;
        text.map(|text| text.map(|text| (Bytes::from(text), streaming)))
    });
    let content_type = match form {
        Form::Events => "text/event-stream",
        Form::Lines | Form::Page => "application/x-ndjson",
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// The next piece of a stream; `None` at its end.
async fn next_piece(streaming: &mut Streaming) -> Result<Option<String>, std::io::Error> {
    let Streaming {
        rooms,
        scan,
        form,
        left,
    } = streaming;
    let stopping = rooms.env.stopping().is_cancelled();
    if *left == 0 || stopping {
        return Ok(None);
    }
    scan.limits.records = STREAM_RECORDS.min(*left);
    let page = match scan.follow {
        true => scan.followed(rooms, KEEP_ALIVE).await,
        false => scan.page(rooms).await.map(|(page, _)| page),
    };
    let page = page.map_err(|error| std::io::Error::other(format!("{error:?}")))?;
    let ended = page.next_sequence >= scan.limits.end_sequence;
    if page.values.is_empty() && (!scan.follow || ended || rooms.env.stopping().is_cancelled()) {
        *left = 0;
        return Ok(None);
    }
    *left = left.saturating_sub(page.values.len());
    scan.from = match scan.from {
        From::Offset(_) => From::Offset(page.next_offset),
        From::Sequence(_) => From::Sequence(page.next_sequence),
    };
    let key = match &scan.source {
        Source::Key(key, _) => Some(key),
        Source::Prefix(_) => None,
    };
    if page.values.is_empty() {
        return Ok(Some(match form {
            // With the place to resume from, though nothing was said.
            Form::Events => format!("id: {}\n: nothing new\n\n", page.next_sequence),
            Form::Lines | Form::Page => "\n".to_owned(),
        }));
    }
    let pieces = page
        .values
        .into_iter()
        .map(|value| piece(value, key, *form));
    Ok(Some(pieces.collect()))
}

fn piece(mut value: Value, key: Option<&Bytes>, form: Form) -> String {
    if let Some(key) = key {
        value.key = Some(key.clone());
    }
    let json = json!(value.json());
    match form {
        Form::Events => format!("id: {}\ndata: {json}\n\n", value.sequence + 1),
        Form::Lines | Form::Page => format!("{json}\n"),
    }
}
