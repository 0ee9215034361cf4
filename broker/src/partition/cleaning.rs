//! Compaction: finds the logs that are due, plans a pass over each, and has the store rewrite the
//! segments in which something changes. What becomes of a batch is for `cleaner`.
//!
//! A pass notes the last offset of each key in the dirty part of a log, as much of it as fits into
//! `log.cleaner.dedupe.buffer.size`, and then goes over the whole log up to there. All logs of a round
//! share the rewriting of a segment. Segments are rewritten from the oldest on, one after the other is
//! durable: a tombstone never goes before what it deletes, whenever the broker dies. The open segment is
//! never touched, nor anything from the first undecided transaction on.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use trestle_storage::{
    Entry, EntryFormat, Error, Log, ReadLimit, Result, Rewriter, Rewritten, Store, Window, WriteSet,
};

use super::Partitions;
use super::batch::Header;
use super::cleaner::{Cleaned, Markers, Plan};
use super::key_map::KeyMap;
use super::leader::{Partition, from_offset, to_offset};
use crate::config::TopicConfig;
use crate::env::Env;
use crate::metadata::{Image, Topic, log_rows};
use crate::metrics::CleanerMetrics;
use crate::types::{PartitionIndex, Timestamp, TopicId};

/// Bytes read at a time.
const SCAN_BYTES: usize = 1 << 20;

/// Format of the row that says how far a log is clean.
const ROW_FORMAT: u8 = 1;

/// Limits of compaction.
#[derive(Clone, Copy, Debug)]
pub struct CleanerLimits {
    /// `log.cleaner.dedupe.buffer.size`.
    pub dedupe_bytes: usize,
    /// Largest size that a batch may unpack to.
    pub batch_max_bytes: usize,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
}

/// What is known of the compacted partitions since they were last looked at.
#[derive(Debug)]
pub struct Cleaner {
    env: Env,
    store: Store,
    known: HashMap<(TopicId, PartitionIndex), Known>,
}

/// Nothing is due before the log grows, its last window is sealed, or this time.
#[derive(Clone, Copy, Debug)]
struct Known {
    end_offset: u64,
    sealed: bool,
    until: Timestamp,
}

/// A log that is due, and what of it.
struct Due {
    partition: Arc<Partition>,
    windows: Vec<Window>,
    dirty_from: u64,
    /// Nothing from here on is touched.
    limit: u64,
    ratio: f64,
    config: Arc<TopicConfig>,
    name: String,
}

/// A log with the plan of its pass.
struct Planned {
    log: Log,
    windows: Vec<Window>,
    plan: Arc<Plan>,
    name: String,
}

impl Cleaner {
    /// Nothing is known yet.
    pub fn new(env: Env, store: Store) -> Self {
        Self {
            env,
            store,
            known: HashMap::new(),
        }
    }

    /// Compacts the logs of `image` that are due, as far as one round goes; true if there may be more.
    pub async fn round(
        &mut self,
        partitions: &Partitions,
        image: &Image,
        limits: CleanerLimits,
        metrics: &CleanerMetrics,
    ) -> bool {
        self.known
            .retain(|(topic, _), _| image.topic_by_id(topic).is_some());
        // Until what is planned for a segment is done there.
        let _held = self.store.hold_windows().await;
        let now = self.env.now();
        let (mut due, mut seal, mut dirty_bytes) = (Vec::new(), false, 0);
        for topic in image.topics.values() {
            if !topic.config.cleanup_compact || topic.mirror.is_some() {
                continue;
            }
            for index in 0..topic.partitions.len() {
                let index = PartitionIndex::try_from(index).unwrap_or(PartitionIndex::MAX);
                match self.look(partitions, topic, index, now).await {
                    Ok(Look::Nothing) => {}
                    Ok(Look::Seal) => seal = true,
                    Ok(Look::Due(found)) => {
                        dirty_bytes += found.dirty_bytes();
                        due.push(*found);
                    }
                    Err(error) => {
                        tracing::debug!(topic = %topic.name, index, %error, "a log was not looked at");
                    }
                }
            }
        }
        metrics.dirty_bytes.set(dirty_bytes as i64);
        if seal && let Err(error) = self.store.seal().await {
            tracing::debug!(%error, "the open segment was not sealed");
        }
        if due.is_empty() {
            return seal;
        }
        // The dirtiest first, as far as the buffer goes.
        due.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
        match self.clean(due, now, limits, metrics).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "a round of compaction was cut short");
                false
            }
        }
    }

    async fn look(
        &mut self,
        partitions: &Partitions,
        topic: &Topic,
        index: PartitionIndex,
        now: Timestamp,
    ) -> Result<Look> {
        let key = (topic.id, index);
        let open = partitions.peek(topic.id, index);
        let open_segment = self.store.open_segment();
        if let Some(known) = self.known.get(&key)
            && now < known.until
        {
            let end = open.as_ref().map(|open| open.log().bounds().end_offset);
            let grew = end.is_some_and(|end| end != known.end_offset);
            if !grew && known.sealed {
                return Ok(Look::Nothing);
            }
        }
        let Some(partition) = partitions.get(topic, index).await? else {
            return Ok(Look::Nothing);
        };
        // What is undecided is known only then.
        partition.load_state(now).await?;
        let log = partition.log();
        let bounds = log.bounds();
        let windows = log.windows().await?;
        let config = &topic.config;
        let last_stable = from_offset(partition.offsets().last_stable);
        let youngest = now.saturating_sub(config.min_compaction_lag_ms);
        let is_open = |window: &Window| Some(window.segment) == open_segment || !window.sealed;
        let cleanable: Vec<Window> = windows
            .iter()
            .copied()
            .take_while(|window| {
                let lags = config.min_compaction_lag_ms > 0 && window.max_timestamp > youngest;
                !is_open(window) && !lags && window.first_offset < last_stable
            })
            .collect();
        let limit = cleanable.last().map_or(0, |window| window.end_offset);
        let limit = limit.min(last_stable);
        let dirty_from = self.clean_to(log).await?.max(bounds.start_offset);

        // What is dirty and in the open segment waits for `segment.ms`.
        let mut until = Timestamp::MAX;
        let mut seal = false;
        if let Some(last) = windows.last().filter(|last| is_open(last)) {
            let age = config.segment_ms.min(config.max_compaction_lag_ms);
            let due = last.opened_ms.saturating_add(age);
            seal = due <= now;
            until = until.min(due);
        }
        if config.min_compaction_lag_ms > 0 {
            let waiting = windows
                .get(cleanable.len())
                .filter(|window| !is_open(window));
            let due = waiting.map(|w| w.max_timestamp.saturating_add(config.min_compaction_lag_ms));
            until = until.min(due.unwrap_or(Timestamp::MAX));
        }
        let known = Known {
            end_offset: bounds.end_offset,
            sealed: windows.last().is_none_or(|last| !is_open(last)),
            until,
        };
        let sized = |dirty: bool| {
            let windows = cleanable.iter();
            let wanted = windows.filter(|window| (window.end_offset > dirty_from) == dirty);
            wanted.map(|window| window.bytes).sum::<u64>() as f64
        };
        let (clean_bytes, dirty_bytes) = (sized(false), sized(true));
        let ratio = dirty_bytes / (clean_bytes + dirty_bytes).max(1.0);
        let lags = cleanable
            .iter()
            .find(|window| window.end_offset > dirty_from)
            .is_some_and(|window| {
                now.saturating_sub(window.opened_ms) > config.max_compaction_lag_ms
            });
        let due = limit > dirty_from
            && dirty_bytes > 0.0
            && (lags || ratio >= config.min_cleanable_dirty_ratio);
        if !due {
            if limit > dirty_from && config.max_compaction_lag_ms < Timestamp::MAX {
                // It may become due by its age alone.
                self.known.remove(&key);
            } else {
                self.known.insert(key, known);
            }
            return Ok(if seal { Look::Seal } else { Look::Nothing });
        }
        self.known.remove(&key);
        Ok(Look::Due(Box::new(Due {
            windows: cleanable,
            dirty_from,
            limit,
            ratio,
            config: Arc::clone(config),
            name: format!("{}/{index}", topic.name),
            partition,
        })))
    }

    /// One pass over each of these logs, as far as their keys fit into the buffer.
    async fn clean(
        &mut self,
        due: Vec<Due>,
        now: Timestamp,
        limits: CleanerLimits,
        metrics: &CleanerMetrics,
    ) -> Result<bool> {
        let (mut planned, mut more, mut left) = (Vec::new(), false, limits.dedupe_bytes);
        for due in due {
            if left == 0 {
                more = true;
                break;
            }
            let limits = CleanerLimits {
                dedupe_bytes: left,
                ..limits
            };
            let plan = self.plan(&due, now, limits).await?;
            let expiration_ms = limits.producer_expiration_ms;
            let put_down = due.partition.checkpoint(None, now, expiration_ms);
            if let Err(error) = put_down.await {
                // It was deleted, or the store will say more by itself.
                tracing::debug!(log = due.name, %error, "a log was not compacted");
                continue;
            }
            left = left.saturating_sub(plan.keys.bytes());
            more |= from_offset(plan.end) < due.limit;
            planned.push(Planned {
                log: due.partition.log().clone(),
                windows: due.windows,
                plan: Arc::new(plan),
                name: due.name,
            });
        }
        let mut segments: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (at, planned) in planned.iter().enumerate() {
            let end = from_offset(planned.plan.end);
            for window in planned.windows.iter().filter(|w| w.first_offset < end) {
                segments.entry(window.segment).or_default().push(at);
            }
        }
        for (segment, logs) in segments {
            let mut rewriters: Vec<(Log, Arc<dyn Rewriter>)> = Vec::new();
            for at in logs {
                let planned = &planned[at];
                let window = planned.windows.iter().find(|w| w.segment == segment);
                if let Some(window) = window
                    && self.changes(planned, window, metrics).await?
                {
                    let rewriter = Arc::new(ByPlan(Arc::clone(&planned.plan)));
                    rewriters.push((planned.log.clone(), rewriter));
                }
            }
            if !rewriters.is_empty() {
                self.store.rewrite(segment, rewriters).await?;
            }
        }
        let mut write_set = WriteSet::new();
        for planned in &planned {
            tracing::debug!(log = planned.name, end = planned.plan.end, "compacted");
            metrics.compacted.inc();
            write_set.put_row(log_rows::clean(planned.log.key()), encode(planned.plan.end));
        }
        let (done, committed) = tokio::sync::oneshot::channel();
        self.store.commit(write_set, move |result| {
            let _ = done.send(result);
        });
        match committed.await {
            Ok(result) => result.map(|_| more),
            Err(_) => Ok(false),
        }
    }

    async fn plan(&self, due: &Due, now: Timestamp, limits: CleanerLimits) -> Result<Plan> {
        let log = due.partition.log();
        let bounds = log.bounds();
        let seed = self.env.with_rng(|rng| {
            let mut bytes = [0; 8];
            rng.fill_bytes(&mut bytes);
            u64::from_le_bytes(bytes)
        });
        let mut plan = Plan {
            keys: KeyMap::new(limits.dedupe_bytes, seed),
            end: to_offset(due.limit),
            now,
            delete_retention_ms: due.config.delete_retention_ms,
            markers: Markers::default(),
            last_batches: due.partition.last_batches(now).await?,
            log_end: to_offset(bounds.end_offset),
            max_bytes: limits.batch_max_bytes,
        };
        let markers = &mut plan.markers;
        self.each_batch(log, bounds.start_offset, due.limit, |entry| {
            if let Some(header) = Header::parse(&entry.payload) {
                let seen = markers.see(&entry.payload, &header);
                seen.map_err(|error| corrupt(log, entry, error))?;
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        self.each_batch(log, due.dirty_from, due.limit, |entry| {
            let Some(header) = Header::parse(&entry.payload) else {
                return Ok(ControlFlow::Continue(()));
            };
            let noted = plan.note(&entry.payload, &header);
            if noted.map_err(|error| corrupt(log, entry, error))? {
                return Ok(ControlFlow::Continue(()));
            }
            plan.end = header.base_offset;
            Ok(ControlFlow::Break(()))
        })
        .await?;
        Ok(plan)
    }

    /// Whether anything of a log changes in this window.
    async fn changes(
        &self,
        planned: &Planned,
        window: &Window,
        metrics: &CleanerMetrics,
    ) -> Result<bool> {
        let end = window.end_offset.min(from_offset(planned.plan.end));
        let log = &planned.log;
        let mut changes = false;
        self.each_batch(log, window.first_offset, end, |entry| {
            metrics.read_bytes.inc_by(entry.payload.len() as u64);
            let cleaned = planned.plan.clean(&entry.payload);
            let cleaned = cleaned.map_err(|error| corrupt(log, entry, error))?;
            changes = cleaned != Cleaned::Keep;
            Ok(match changes {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })
        .await?;
        Ok(changes)
    }

    /// Shows the batches of a log from one offset to another to `see`, until it has seen enough; others
    /// run in between.
    async fn each_batch(
        &self,
        log: &Log,
        from: u64,
        end: u64,
        mut see: impl FnMut(&Entry) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut next = from;
        while next < end {
            let entries = read(log, next, end).await?;
            let Some(last) = entries.last() else { break };
            next = last.end_offset();
            for entry in batches(&entries) {
                if see(entry)?.is_break() {
                    return Ok(());
                }
            }
            self.breathe().await;
        }
        Ok(())
    }

    /// Lets others run.
    async fn breathe(&self) {
        tokio::task::yield_now().await;
    }

    /// Up to where a log is clean.
    async fn clean_to(&self, log: &Log) -> Result<u64> {
        let row = self.store.row(&log_rows::clean(log.key())).await?;
        Ok(row.and_then(|row| decode(&row)).unwrap_or(0))
    }
}

enum Look {
    Nothing,
    /// Something of it waits for the open segment to be sealed.
    Seal,
    Due(Box<Due>),
}

impl Due {
    fn dirty_bytes(&self) -> u64 {
        let windows = self.windows.iter();
        let dirty = windows.filter(|window| window.end_offset > self.dirty_from);
        dirty.map(|window| window.bytes).sum()
    }
}

/// Has a plan say what becomes of entries.
struct ByPlan(Arc<Plan>);

impl Rewriter for ByPlan {
    fn rewrite(&self, entry: &Entry) -> Rewritten {
        if entry.format != EntryFormat::Batch {
            return Rewritten::Keep;
        }
        match self.0.clean(&entry.payload) {
            Ok(Cleaned::Keep) => Rewritten::Keep,
            Ok(Cleaned::Drop) => Rewritten::Drop,
            Ok(Cleaned::Replace(bytes)) => Rewritten::Replace(bytes),
            Err(error) => {
                tracing::warn!(offset = entry.first_offset, %error, "a batch was left uncompacted");
                Rewritten::Keep
            }
        }
    }
}

/// The batches among entries.
fn batches(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    let entries = entries.iter();
    entries.filter(|entry| entry.format == EntryFormat::Batch)
}

async fn read(log: &Log, from: u64, end: u64) -> Result<Vec<Entry>> {
    let limit = ReadLimit {
        end_offset: end,
        max_bytes: SCAN_BYTES,
        max_entries: usize::MAX,
    };
    log.read(from, limit).await
}

fn corrupt(log: &Log, entry: &Entry, error: std::io::Error) -> Error {
    let what = format!(
        "the batch of {:?} at offset {}",
        log.key(),
        entry.first_offset
    );
    Error::new(trestle_storage::ErrorKind::Corrupt, what).with_source(error)
}

fn encode(clean_to: i64) -> Bytes {
    let mut out = Vec::with_capacity(9);
    out.put_u8(ROW_FORMAT);
    out.put_i64(clean_to);
    out.into()
}

fn decode(mut row: &[u8]) -> Option<u64> {
    (row.try_get_u8().ok()? == ROW_FORMAT).then_some(())?;
    row.try_get_i64().ok().map(from_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_clean_log() {
        assert_eq!(encode(258)[..], [1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(decode(&encode(258)), Some(258));
        assert_eq!(decode(&[2, 0]), None);
    }
}
