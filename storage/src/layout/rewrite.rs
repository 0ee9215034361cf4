//! The filter of compactions: what is left out of the files of a segment, or changed, when they are
//! rewritten.
//!
//! Entries of logs that were removed, or that lie below the start of their log, are dropped; those of
//! logs for which a [`Rewriter`] was given become what it says. Index rows stay while their log has
//! anything in the segment, for they hold its totals; listing rows stay, so that what is rewritten
//! is never empty. Nothing is dropped that is not durably dead.
//!
//! A row has one version, for nothing is written twice into a segment, and all sources of a segment
//! are rewritten together: what is dropped uncovers nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use slatedb::compactor::SourceId;
use slatedb::{
    CompactionFilter, CompactionFilterDecision, CompactionFilterError, CompactionFilterSupplier,
    CompactionJobContext, RowEntry, ValueDeletable,
};
use tokio::sync::oneshot;

use crate::key::{
    DataRow, EntryKey, LogKey, PackedValue, Packer, SYSTEM_SEGMENT, SegmentMeta, segment_prefix,
};
use crate::log::Entry;
use crate::lookup;
use crate::rewrite::{Rewriter, Rewritten};
use crate::store::Core;

/// Bytes after which a filter lets others run.
const BREATH: usize = 1 << 20;

/// Who rewrites the entries of a log, by its key.
pub(crate) type Rewriters = HashMap<Bytes, Arc<dyn Rewriter>>;

/// What the rewriting of one segment found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Payload bytes that are left of logs that were rewritten, by key.
    pub(crate) left: HashMap<Bytes, u64>,
}

/// The rewriting of one segment.
#[derive(Debug)]
struct Job {
    rewriters: Arc<Rewriters>,
    /// What it consisted of when it was asked for: the compactor may not have seen all of that yet.
    sources: Vec<SourceId>,
    /// The sorted run it is written to, once that is known.
    destination: Option<u32>,
    outcome: Outcome,
    done: oneshot::Sender<Outcome>,
}

/// The segments that are to be rewritten, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewrites {
    jobs: Arc<Mutex<BTreeMap<u32, Job>>>,
    /// The segments that were being compacted when the scheduler last looked.
    busy: Arc<Mutex<Option<HashSet<Bytes>>>>,
    core: Arc<OnceLock<Weak<Core>>>,
}

impl Rewrites {
    /// The store whose logs are asked what is dead; until then nothing is.
    pub(crate) fn belong_to(&self, core: &Arc<Core>) {
        let _ = self.core.set(Arc::downgrade(core));
    }

    /// Has `segment`, which consists of `sources`, rewritten at the next occasion.
    pub(crate) fn ask(
        &self,
        segment: u32,
        sources: Vec<SourceId>,
        rewriters: Rewriters,
    ) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        let job = Job {
            rewriters: Arc::new(rewriters),
            sources,
            destination: None,
            outcome: Outcome::default(),
            done,
        };
        self.jobs.lock().insert(segment, job);
        outcome
    }

    /// The segment consists of `sources` by now, and may wait for others that are gone.
    pub(crate) fn waits_for(&self, segment: u32, sources: Vec<SourceId>) {
        if let Some(job) = self.jobs.lock().get_mut(&segment) {
            job.sources = sources;
        }
    }

    pub(super) fn set_busy(&self, busy: HashSet<Bytes>) {
        *self.busy.lock() = Some(busy);
    }

    /// Whether none of these is being compacted, as one may be that a process of before began.
    pub(crate) fn at_rest(&self, segments: &[u32]) -> bool {
        let busy = self.busy.lock();
        let is_busy = |id: &u32| match &*busy {
            Some(busy) => busy.contains(&segment_prefix(*id)[..]),
            None => true,
        };
        !segments.iter().any(is_busy)
    }

    /// The segments that are to be rewritten.
    pub(super) fn asked(&self) -> Vec<u32> {
        self.jobs.lock().keys().copied().collect()
    }

    /// Whether `segment`, of which no compaction is under way, has been rewritten. `run` is its only
    /// sorted run, if it consists of nothing else; `there` says whether it has any file.
    pub(super) fn is_done(&self, segment: u32, run: Option<u32>, there: bool) -> bool {
        let mut jobs = self.jobs.lock();
        let Some(job) = jobs.get(&segment) else {
            return true;
        };
        if there && (job.destination.is_none() || job.destination != run) {
            return false;
        }
        if let Some(job) = jobs.remove(&segment) {
            // Nobody may wait any more.
            let _ = job.done.send(job.outcome);
        }
        true
    }

    /// `segment` is to be rewritten from `sources` to a sorted run; false if it does not wait for that.
    pub(super) fn begin(&self, segment: u32, sources: &[SourceId], destination: u32) -> bool {
        let mut jobs = self.jobs.lock();
        let Some(job) = jobs.get_mut(&segment) else {
            return false;
        };
        let first = job.destination.is_none();
        if first && !job.sources.iter().all(|source| sources.contains(source)) {
            return false;
        }
        job.destination = Some(destination);
        job.outcome = Outcome::default();
        true
    }

    fn rewriters(&self, segment: u32) -> Arc<Rewriters> {
        let jobs = self.jobs.lock();
        let job = jobs.get(&segment);
        job.map(|job| Arc::clone(&job.rewriters))
            .unwrap_or_default()
    }

    fn came_to(&self, segment: u32, outcome: Outcome) {
        if let Some(job) = self.jobs.lock().get_mut(&segment) {
            job.outcome = outcome;
        }
    }
}

#[async_trait]
impl CompactionFilterSupplier for Rewrites {
    async fn create_compaction_filter(
        &self,
        _: &CompactionJobContext,
    ) -> Result<Box<dyn CompactionFilter>, CompactionFilterError> {
        Ok(Box::new(Filter {
            rewrites: self.clone(),
            core: self.core.get().cloned().unwrap_or_default(),
            segment: None,
            rewriters: Arc::default(),
            log: None,
            outcome: Outcome::default(),
            since_breath: 0,
        }))
    }
}

/// What becomes of the rows of one log in the segment.
struct OfLog {
    key: LogKey,
    fate: Fate,
    rewriter: Option<Arc<dyn Rewriter>>,
    left_bytes: u64,
}

enum Fate {
    /// It has nothing here any more.
    Dead,
    /// It has what ends above this offset.
    From(u64),
}

/// Goes over the rows of one segment, which come sorted.
struct Filter {
    rewrites: Rewrites,
    core: Weak<Core>,
    segment: Option<SegmentMeta>,
    rewriters: Arc<Rewriters>,
    log: Option<OfLog>,
    outcome: Outcome,
    since_breath: usize,
}

impl Filter {
    /// Gets to know the segment and the log that a row belongs to; false if nothing is known of them.
    async fn enter(&mut self, row: &DataRow<'_>, key: &[u8]) -> bool {
        if row.segment == SYSTEM_SEGMENT {
            return false;
        }
        let Some(core) = self.core.upgrade() else {
            return false;
        };
        if self.segment.is_none_or(|segment| segment.id != row.segment) {
            self.segment = core.segments.get(row.segment);
            self.rewriters = self.rewrites.rewriters(row.segment);
        }
        let Some(segment) = self.segment else {
            return false;
        };
        if self
            .log
            .as_ref()
            .is_some_and(|log| log.key.stored() == row.stored_key)
        {
            return true;
        }
        self.leave();
        let offset = match row.index_offset {
            Some(offset) => Ok(offset),
            None => EntryKey::decode(key, &segment).map(|entry| entry.first_offset),
        };
        let (Some(key), Ok(offset)) = (LogKey::of_stored(row.stored_key), offset) else {
            return false;
        };
        let fate = match lookup::durable_start(&core, &key, segment.id, offset).await {
            Ok(Some(start_offset)) => Fate::From(start_offset),
            Ok(None) => Fate::Dead,
            Err(error) => {
                tracing::debug!(%error, "what is dead of a log is not known, so all of it is kept");
                Fate::From(0)
            }
        };
        let rewriter = self.rewriters.get(key.plain()).cloned();
        self.log = Some(OfLog {
            key,
            fate,
            rewriter,
            left_bytes: 0,
        });
        true
    }

    fn leave(&mut self) {
        if let Some(log) = self.log.take()
            && log.rewriter.is_some()
        {
            // Entry rows come before index rows: a log may come twice.
            *self
                .outcome
                .left
                .entry(log.key.plain().clone())
                .or_default() += log.left_bytes;
        }
    }

    fn decide(&mut self, row: &DataRow<'_>, entry: &RowEntry) -> CompactionFilterDecision {
        use CompactionFilterDecision::{Drop, Keep};
        let (Some(log), Some(segment)) = (&mut self.log, &self.segment) else {
            return Keep;
        };
        let start_offset = match log.fate {
            Fate::Dead => return Drop,
            Fate::From(start_offset) => start_offset,
        };
        if row.index_offset.is_some() {
            return Keep;
        }
        let (Ok(key), ValueDeletable::Value(value)) =
            (EntryKey::decode(&entry.key, segment), &entry.value)
        else {
            return Keep;
        };
        if key.end_offset() <= start_offset {
            return Drop;
        }
        let Some(rewriter) = &log.rewriter else {
            return Keep;
        };
        let (decision, left_bytes) = rewrite(&key, value, &**rewriter);
        log.left_bytes += left_bytes;
        decision
    }
}

#[async_trait]
impl CompactionFilter for Filter {
    async fn filter(
        &mut self,
        entry: &RowEntry,
    ) -> Result<CompactionFilterDecision, CompactionFilterError> {
        self.since_breath += entry.key.len() + entry.value.len();
        if self.since_breath > BREATH {
            self.since_breath = 0;
            tokio::task::yield_now().await;
        }
        match DataRow::of(&entry.key) {
            Some(row) if self.enter(&row, &entry.key).await => Ok(self.decide(&row, entry)),
            _ => Ok(CompactionFilterDecision::Keep),
        }
    }

    async fn on_compaction_end(&mut self) -> Result<(), CompactionFilterError> {
        self.leave();
        if let Some(segment) = self.segment {
            let outcome = std::mem::take(&mut self.outcome);
            self.rewrites.came_to(segment.id, outcome);
        }
        Ok(())
    }
}

/// What a row becomes, and the payload bytes that are left in it.
fn rewrite(
    key: &EntryKey,
    value: &Bytes,
    rewriter: &dyn Rewriter,
) -> (CompactionFilterDecision, u64) {
    use CompactionFilterDecision::{Drop, Keep, Modify};
    let mut entry = Entry {
        first_sequence: key.first_sequence(),
        first_offset: key.first_offset,
        count: 0,
        format: key.format,
        payload: Bytes::new(),
    };
    if !key.packed {
        let Ok(count) = u32::try_from(key.records) else {
            return (Keep, value.len() as u64);
        };
        entry.count = count;
        entry.payload = value.clone();
        return match rewriter.rewrite(&entry) {
            Rewritten::Keep => (Keep, value.len() as u64),
            Rewritten::Drop => (Drop, 0),
            Rewritten::Replace(payload) => {
                let len = payload.len() as u64;
                (Modify(ValueDeletable::Value(payload)), len)
            }
        };
    }
    let Ok(packed) = PackedValue::decode(key, value) else {
        return (Keep, value.len() as u64);
    };
    let mut packer = Packer::with_capacity(value.len(), packed.entries.len());
    let (mut changed, mut left, mut left_bytes) = (false, 0, 0);
    for (payload, count) in packed.entries {
        entry.count = count;
        let payload = match payload {
            Some(payload) => {
                entry.payload = payload.clone();
                match rewriter.rewrite(&entry) {
                    Rewritten::Keep => Some(payload),
                    Rewritten::Drop => {
                        changed = true;
                        None
                    }
                    Rewritten::Replace(payload) => {
                        changed = true;
                        Some(payload)
                    }
                }
            }
            None => None,
        };
        match payload {
            Some(payload) => {
                left += 1;
                left_bytes += payload.len() as u64;
                packer.push(&payload, count);
            }
            None => packer.push_hole(count),
        }
        entry.first_sequence += u64::from(count);
        entry.first_offset += u64::from(count);
    }
    let decision = match (changed, left) {
        (_, 0) => Drop,
        (false, _) => Keep,
        (true, _) => Modify(ValueDeletable::Value(packer.finish())),
    };
    (decision, left_bytes)
}
