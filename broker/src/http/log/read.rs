//! Reading a log by record: stored batches are taken apart.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use trestle_storage::{
    Entry, EntryFormat, LogRead, LogView, ReadLimit, ReadVisibility, ScanOptions,
};

use super::error::ApiError;
use super::message::Value;
use super::names::{Name, Opened, name_of};
use crate::broker::Rooms;
use crate::partition::batch::Header;
use crate::partition::{AbortedTransaction, records};

/// Stored entries read at a time.
const READ_BYTES: usize = 256 << 10;

/// Where to read from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Sequence(u64),
    Offset(u64),
}

/// How much to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Up to here, and not with it.
    pub(super) end_sequence: u64,
    pub(super) records: usize,
    /// Of values; one is returned whatever its size.
    pub(super) bytes: usize,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) values: Vec<Value>,
    /// Where to go on, by sequence.
    pub(super) next_sequence: u64,
    /// And by offset.
    pub(super) next_offset: u64,
}

impl Page {
    /// Takes a record; false if it does not fit.
    fn take(&mut self, value: Value, limits: &Limits, bytes: &mut usize) -> bool {
        let full = self.values.len() >= limits.records
            || !self.values.is_empty() && *bytes + value.size() > limits.bytes
            || value.sequence >= limits.end_sequence;
        if full {
            return false;
        }
        *bytes += value.size();
        self.next_sequence = value.sequence + 1;
        self.next_offset = value.offset + 1;
        self.values.push(value);
        true
    }
}

/// The records of one log.
pub(super) async fn one(
    rooms: &Rooms,
    opened: &Opened,
    from: From,
    limits: &Limits,
) -> Result<Page, ApiError> {
    let log = opened.log();
    // What this client has appended and not waited for.
    log.settled().await?;
    // Before the read: what lies below and is not found then is not there.
    let frontier = rooms.store.durable_sequence();
    let start = log.bounds().start_offset;
    let mut offset = match from {
        From::Sequence(sequence) => log.offset_at(sequence).await?,
        From::Offset(offset) => offset.max(start),
    };
    let mut page = Page {
        values: Vec::new(),
        next_sequence: match from {
            From::Sequence(sequence) => sequence,
            From::Offset(_) => 0,
        },
        next_offset: offset,
    };
    let mut bytes = 0;
    loop {
        let limit = ReadLimit {
            end_offset: opened.readable_end(),
            max_bytes: READ_BYTES.min(limits.bytes.max(1)),
            max_entries: limits.records,
        };
        let entries = log.read(offset, limit).await?;
        let Some(last) = entries.last() else {
            // The end, as far as it may be shown.
            let known = match offset < log.bounds().end_offset {
                true => page.next_sequence,
                false => frontier.min(limits.end_sequence),
            };
            page.next_sequence = page.next_sequence.max(known);
            return Ok(page);
        };
        let next = last.end_offset();
        let aborted = opened.aborted(offset, next);
        for entry in entries {
            for value in values(rooms, entry, &aborted)? {
                let wanted = value.offset >= offset;
                if wanted && !page.take(value, limits, &mut bytes) {
                    let ended = page.values.len() < limits.records && page.values.is_empty();
                    if ended {
                        page.next_sequence = page.next_sequence.max(limits.end_sequence);
                    }
                    return Ok(page);
                }
            }
        }
        offset = next;
        page.next_offset = next;
    }
}

/// The records of all logs whose name starts with `prefix`, in the order of sequences.
pub(super) async fn many(
    rooms: &Rooms,
    prefix: &Bytes,
    from: u64,
    limits: &Limits,
) -> Result<Page, ApiError> {
    let image = rooms.metadata.image();
    let view = View(LogView::new(rooms.store.clone(), ReadVisibility::Memory));
    let range = (Bound::Included(from), Bound::Excluded(limits.end_sequence));
    let mut page = Page {
        values: Vec::new(),
        next_sequence: from,
        next_offset: 0,
    };
    let mut bytes = 0;
    let options = ScanOptions::default();
    let mut scan = view.scan_prefix(prefix.clone(), range, options).await?;
    let mut logs: HashMap<Bytes, Option<(Bytes, Opened)>> = HashMap::new();
    while let Some(entry) = scan.next().await? {
        if !logs.contains_key(&entry.key) {
            let name = name_of(&image, &entry.key).filter(|name| name.starts_with(prefix));
            let opened = match name {
                Some(name) => {
                    let opened = Name::parse(&name)?.open(rooms).await?;
                    opened.map(|opened| (name, opened))
                }
                None => None,
            };
            logs.insert(entry.key.clone(), opened);
        }
        let Some(Some((name, opened))) = logs.get(&entry.key) else {
            continue;
        };
        if entry.offset >= opened.readable_end() {
            // What others have after it waits, so that the order holds.
            return Ok(page);
        }
        let end = entry.offset + u64::from(entry.records);
        let aborted = opened.aborted(entry.offset, end);
        let stored = Entry {
            first_sequence: entry.sequence,
            first_offset: entry.offset,
            count: entry.records,
            format: entry.format,
            payload: entry.value,
        };
        for mut value in values(rooms, stored, &aborted)? {
            value.key = Some(name.clone());
            if value.sequence >= from && !page.take(value, limits, &mut bytes) {
                return Ok(page);
            }
        }
    }
    page.next_sequence = page.next_sequence.max(scan.next_sequence());
    Ok(page)
}

/// The records of an entry, but for those of aborted transactions.
fn values(
    rooms: &Rooms,
    entry: Entry,
    aborted: &[AbortedTransaction],
) -> Result<Vec<Value>, ApiError> {
    match entry.format {
        EntryFormat::Raw => Ok(vec![Value {
            sequence: entry.first_sequence,
            value: Some(entry.payload),
            offset: entry.first_offset,
            timestamp: None,
            record_key: None,
            headers: Vec::new(),
            key: None,
        }]),
        EntryFormat::Batch if is_aborted(&entry, aborted) => Ok(Vec::new()),
        EntryFormat::Batch => {
            let max_bytes = rooms.config.decompressed_batch_max_bytes;
            let found = records::unpack(&entry.payload, max_bytes).map_err(|error| {
                let problem = format!("the batch at offset {}: {error}", entry.first_offset);
                ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, problem)
            })?;
            let first = entry.first_offset;
            let values = found.into_iter().map(|(offset, record)| {
                let offset = u64::try_from(offset).unwrap_or(first);
                Value {
                    sequence: entry.first_sequence + offset.saturating_sub(first),
                    value: record.value,
                    offset,
                    timestamp: Some(record.timestamp),
                    record_key: record.key,
                    headers: record.headers,
                    key: None,
                }
            });
            Ok(values.collect())
        }
    }
}

fn is_aborted(entry: &Entry, aborted: &[AbortedTransaction]) -> bool {
    let Some(header) = Header::parse(&entry.payload) else {
        return false;
    };
    header.is_transactional()
        && aborted.iter().any(|transaction| {
            transaction.producer_id == header.producer_id
                && (transaction.first_offset..=transaction.last_offset)
                    .contains(&header.base_offset)
        })
}

/// Reads of the store under the broker.
pub(super) struct View(pub(super) LogView);

impl LogRead for View {
    fn view(&self) -> &LogView {
        &self.0
    }
}

/// The view of `rooms`.
pub(super) fn view(rooms: &Arc<Rooms>) -> View {
    View(LogView::new(rooms.store.clone(), ReadVisibility::Memory))
}
