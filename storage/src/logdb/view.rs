//! Reading: what a database that writes and one that follows have in common.

use std::ops::{Bound, RangeBounds};

use async_trait::async_trait;
use bytes::Bytes;

use super::config::ReadVisibility;
use super::inspect::{Inspection, SegmentInspection, TreeSummary};
use super::keys::{KeyOptions, LogKeyIterator};
use super::record::{Segment, SegmentId, Sequence};
use super::scan::{LogIterator, ScanOptions};
use super::tail::LogTail;
use crate::key::Directory;
use crate::{Log, Result, Store, lookup};

/// Options of a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CountOptions {}

/// What reads go through; see [`LogRead`].
#[derive(Clone, Debug)]
pub struct LogView {
    pub(super) store: Store,
    visibility: ReadVisibility,
}

impl LogView {
    /// Reads of `store`.
    pub fn new(store: Store, visibility: ReadVisibility) -> Self {
        Self { store, visibility }
    }

    /// The log under `key`, with what the visibility promises.
    pub(super) async fn log(&self, key: &[u8]) -> Result<Log> {
        let log = self.store.log(key).await?;
        if self.visibility == ReadVisibility::Memory {
            log.settled().await?;
        }
        Ok(log)
    }
}

/// Reading a log database.
///
/// Sequence ranges may be any range of numbers. A batch that another user of the store appended is one
/// entry, and is returned if any of its records lies in the range.
#[async_trait]
pub trait LogRead: Send + Sync {
    /// What this reads through.
    fn view(&self) -> &LogView;

    /// The entries of the log under `key` with sequences in `range`, in order.
    async fn scan<R>(&self, key: Bytes, range: R) -> Result<LogIterator>
    where
        R: RangeBounds<Sequence> + Send,
    {
        self.scan_with_options(key, range, ScanOptions::default())
            .await
    }

    /// [`LogRead::scan`] with limits.
    async fn scan_with_options<R>(
        &self,
        key: Bytes,
        range: R,
        options: ScanOptions,
    ) -> Result<LogIterator>
    where
        R: RangeBounds<Sequence> + Send,
    {
        let range = bounds(&range);
        LogIterator::of_key(self.view(), key, range, options).await
    }

    /// The entries of all logs whose key starts with `prefix`, merged in the order of sequences.
    async fn scan_prefix<R>(
        &self,
        prefix: Bytes,
        range: R,
        options: ScanOptions,
    ) -> Result<LogIterator>
    where
        R: RangeBounds<Sequence> + Send,
    {
        let keys = KeyOptions {
            prefix,
            ..KeyOptions::default()
        };
        LogIterator::of_keys(self.view(), keys, bounds(&range), options).await
    }

    /// The entries of all logs whose key is in `keys`, merged in the order of sequences.
    async fn scan_keys<K, R>(&self, keys: K, range: R, options: ScanOptions) -> Result<LogIterator>
    where
        K: RangeBounds<Bytes> + Send,
        R: RangeBounds<Sequence> + Send,
    {
        let keys = KeyOptions {
            from: keys.start_bound().cloned(),
            to: keys.end_bound().cloned(),
            ..KeyOptions::default()
        };
        LogIterator::of_keys(self.view(), keys, bounds(&range), options).await
    }

    /// The entries of the log under `key` from sequence `from` on, and those that are yet to come.
    async fn tail(&self, key: Bytes, from: Sequence) -> Result<LogTail> {
        let log = self.view().log(&key).await?;
        LogTail::new(self.view().store.clone(), log, from).await
    }

    /// How many records the log under `key` has in `range`; exact.
    async fn count<R>(&self, key: Bytes, range: R) -> Result<u64>
    where
        R: RangeBounds<Sequence> + Send,
    {
        self.count_with_options(key, range, CountOptions::default())
            .await
    }

    /// [`LogRead::count`] with options, of which there are none yet.
    async fn count_with_options<R>(
        &self,
        key: Bytes,
        range: R,
        _options: CountOptions,
    ) -> Result<u64>
    where
        R: RangeBounds<Sequence> + Send,
    {
        let log = self.view().log(&key).await?;
        let (start, end) = bounds(&range);
        log.count(start, end).await
    }

    /// How many records the log under `key` has in `range`, by segment.
    async fn inspect<R>(&self, key: Bytes, range: R) -> Result<Inspection>
    where
        R: RangeBounds<Sequence> + Send,
    {
        let log = self.view().log(&key).await?;
        let (start, end) = bounds(&range);
        let inner = log.inner();
        let mut rows: Vec<Directory> = Vec::new();
        lookup::directories(&inner.core, &inner.key, |directory| {
            rows.push(directory);
            true
        })
        .await?;
        let mut inspection = Inspection::default();
        for (at, row) in rows.iter().enumerate() {
            let next = rows.get(at + 1);
            let window_end = next.map_or(Sequence::MAX, |next| next.first_sequence);
            let (from, to) = (start.max(row.first_sequence), end.min(window_end));
            if from >= to {
                continue;
            }
            let count = log.count(from, to).await?;
            if count == 0 {
                continue;
            }
            inspection.total += count;
            inspection.segments.push(SegmentInspection {
                segment_id: row.segment,
                first_sequence: row.first_sequence,
                first_offset: row.first_offset,
                count,
                bytes: next
                    .map_or(log.bounds().appended_bytes, |next| next.bytes_before)
                    .saturating_sub(row.bytes_before),
            });
        }
        Ok(inspection)
    }

    /// The keys that have entries in the segments in `segments`, in order.
    async fn list_keys<R>(&self, segments: R) -> Result<LogKeyIterator>
    where
        R: RangeBounds<SegmentId> + Send,
    {
        self.list_keys_with_options(segments, KeyOptions::default())
            .await
    }

    /// [`LogRead::list_keys`] for a part of the keys: by prefix or range, page by page.
    async fn list_keys_with_options<R>(
        &self,
        segments: R,
        options: KeyOptions,
    ) -> Result<LogKeyIterator>
    where
        R: RangeBounds<SegmentId> + Send,
    {
        let segments = (
            segments.start_bound().cloned(),
            segments.end_bound().cloned(),
        );
        LogKeyIterator::new(&self.view().store, segments, options).await
    }

    /// The segments that can hold sequences in `range`, oldest first.
    async fn list_segments<R>(&self, range: R) -> Result<Vec<Segment>>
    where
        R: RangeBounds<Sequence> + Send,
    {
        let (start, end) = bounds(&range);
        let all = self.view().store.core().segments.all();
        let ends = all.iter().skip(1).map(|next| next.start_sequence);
        let ends = ends.chain([Sequence::MAX]);
        Ok(all
            .iter()
            .zip(ends)
            .filter(|(segment, until)| segment.start_sequence < end && start < *until)
            .map(|(segment, _)| Segment {
                id: segment.id,
                start_seq: segment.start_sequence,
                start_time_ms: segment.start_time_ms,
            })
            .collect())
    }

    /// What files the store consists of.
    fn tree(&self) -> TreeSummary {
        TreeSummary::of(&self.view().store)
    }

    /// Every sequence below this is durable and can be read.
    fn durable_sequence(&self) -> Sequence {
        self.view().store.durable_sequence()
    }

    /// [`LogRead::durable_sequence`] as a value that can be watched.
    fn subscribe_durable(&self) -> tokio::sync::watch::Receiver<Sequence> {
        self.view().store.subscribe_durable()
    }
}

/// A range as its first number and the one past its last.
fn bounds(range: &impl RangeBounds<Sequence>) -> (Sequence, Sequence) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => Sequence::MAX,
    };
    (start, end)
}
