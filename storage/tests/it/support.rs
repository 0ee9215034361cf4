//! What the tests share.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use slatedb_common::clock::{DefaultSystemClock, SystemClock};
use tokio::sync::oneshot;
use trestle_storage::{
    Committed, DataUrl, Entry, EntryFormat, Log, LogRead, LogView, NewEntry, Options, ReadLimit,
    ReadVisibility, Store, WriteSet,
};

pub(crate) fn clock() -> Arc<dyn SystemClock> {
    Arc::new(DefaultSystemClock::new())
}

pub(crate) fn in_memory() -> Options {
    Options::new(DataUrl::Memory)
}

pub(crate) fn in_directory(directory: &tempfile::TempDir) -> Options {
    let mut options = Options::new(DataUrl::File(directory.path().join("store")));
    options.fsync = false;
    options
}

/// What a store consists of.
pub(crate) struct View(LogView);

impl View {
    pub(crate) fn of(store: &Store) -> Self {
        Self(LogView::new(store.clone(), ReadVisibility::Remote))
    }
}

impl LogRead for View {
    fn view(&self) -> &LogView {
        &self.0
    }
}

/// Commits and waits until it is durable.
pub(crate) async fn commit(
    store: &Store,
    write_set: WriteSet,
) -> Result<Committed, trestle_storage::Error> {
    let (done, committed) = oneshot::channel();
    store.commit(write_set, move |result| {
        let _ = done.send(result);
    });
    committed.await.expect("every commit is answered")
}

/// An entry of one record that says where it belongs.
pub(crate) fn entry(log: &str, offset: u64, len: usize) -> NewEntry {
    let mut payload = format!("{log}@{offset}:").into_bytes();
    payload.resize(len.max(payload.len()), b'.');
    NewEntry {
        first_offset: offset,
        count: 1,
        max_timestamp: offset as i64,
        format: EntryFormat::Batch,
        payload: Bytes::from(payload),
    }
}

/// Commits one entry to one log and waits until it is durable.
pub(crate) async fn append(
    store: &Store,
    log: &Log,
    entry: NewEntry,
) -> Result<Committed, trestle_storage::Error> {
    let mut write_set = WriteSet::new();
    write_set.append(log, entry);
    commit(store, write_set).await
}

pub(crate) const NO_LIMIT: ReadLimit = ReadLimit {
    end_offset: u64::MAX,
    max_bytes: usize::MAX,
    max_entries: usize::MAX,
};

/// All entries from `offset` on, read `max_bytes` at a time.
pub(crate) async fn read_all(log: &Log, mut offset: u64, max_bytes: usize) -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    loop {
        let entries = log
            .read(
                offset,
                ReadLimit {
                    max_bytes,
                    ..NO_LIMIT
                },
            )
            .await?;
        let Some(last) = entries.last() else {
            return Ok(all);
        };
        offset = last.end_offset();
        all.extend(entries);
    }
}
