//! Giving space back: rewrites segments of which much is dead, and those whose logs are to be
//! compacted. One at a time; what is rewritten is read and written as a whole, by the engine's
//! compaction, through the filter in `layout`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use slatedb::compactor::SourceId;
use tokio::sync::Mutex;

use crate::key::{Directory, SegmentMeta, segment_prefix};
use crate::layout::{self, Outcome, Rewriters, Rewrites};
use crate::store::{Core, StoreState};
use crate::write_set::{Change, Rewrote};
use crate::{Error, ErrorKind, Log, Options, Result, Rewriter, Store, lookup};

/// How many times as long as after a write upkeep goes on after files were replaced.
const RESTLESS: i64 = 2;

/// So many times the delay is the longest that a segment waits to be rewritten.
const PATIENCE: i64 = 3;

/// Less than this share of a segment's size is not worth a rewriting, however small the segment is.
const MIN_SHARE: u64 = 1024;

/// What the rewriting of segments needs in a store.
#[derive(Debug, Default)]
pub(crate) struct Reclaiming {
    /// Held by whoever goes by the directory rows of a log to change them.
    pub(crate) directories: Arc<Mutex<()>>,
    /// What is asked of the engine.
    pub(crate) rewrites: Rewrites,
    /// Held while a segment is rewritten, or segments are merged.
    pub(crate) rewriting: Mutex<()>,
    /// All segments below this are in files.
    pub(crate) written_out: parking_lot::Mutex<u32>,
}

impl Reclaiming {
    pub(crate) fn new(rewrites: Rewrites) -> Self {
        Self {
            rewrites,
            ..Self::default()
        }
    }
}

impl Store {
    /// The segment that takes appends, if there is one.
    pub fn open_segment(&self) -> Option<u32> {
        self.core().segments.last().map(|open| open.id)
    }

    /// Seals the open segment, so that what is in it can be rewritten; the next append opens another.
    /// Without one, or if nothing lies in it, nothing happens.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn seal(&self) -> Result<()> {
        let Some(open) = self.core().segments.last() else {
            return Ok(());
        };
        let segment = open.id;
        self.core().commit_own(vec![Change::Seal { segment }]).await
    }

    /// Rewrites a sealed segment: without what is dead in it, and with the entries of `logs` as their
    /// rewriters say. Returns when that is durable. Offsets, sequences and the ends of the logs stay;
    /// readers may see the entries of before for a moment longer, in memory even for as long as they
    /// are kept there. A crash may leave a part of the entries rewritten, in the order of the log.
    ///
    /// # Errors
    /// `Invalid` for the open segment; else as [`Log::read`].
    pub async fn rewrite(&self, segment: u32, logs: Vec<(Log, Arc<dyn Rewriter>)>) -> Result<()> {
        self.core().rewrite(segment, logs).await
    }
}

/// Looks for what to reclaim once an upkeep interval, until the store is dropped.
pub(crate) async fn run(core: Weak<Core>) {
    let mut seen = Seen::default();
    loop {
        let Some(core) = core.upgrade() else { return };
        let (clock, pause) = (
            Arc::clone(&core.clock),
            layout::upkeep_interval(&core.options),
        );
        if matches!(&*core.state.borrow(), StoreState::Closed(_)) {
            return;
        }
        // First: what is left of many segments is moved at once, without reading what is dead.
        match core.merge_one().await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "segments were not merged"),
        }
        match core.reclaim_one(&mut seen).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "a segment was not reclaimed"),
        }
        drop(core);
        clock.sleep(pause).await;
    }
}

/// What the gauges showed, and when.
#[derive(Debug, Default)]
struct Seen {
    manifest: u64,
    sequence: u64,
    dead_bytes: u64,
    /// Files of segments that are no longer there waited to go.
    waiting: bool,
    /// The files that readers see.
    sources: HashSet<SourceId>,
    /// When files were last seen to be replaced by others, or by nothing.
    replaced_ms: i64,
    /// Segments of which something is dead.
    dying: HashMap<u32, Dying>,
}

/// How a segment came to hold what is dead.
#[derive(Clone, Copy, Debug)]
struct Dying {
    dead_bytes: u64,
    since_ms: i64,
    changed_ms: i64,
}

impl Dying {
    /// Whether a segment of which `share` percent are dead is rewritten now: once so much is dead and
    /// nothing more has died for a while, or for long enough; in the end a smaller share will do, if
    /// nothing more dies. What dies bit by bit is not rewritten at every bit.
    fn is_due(&self, share: u64, now_ms: i64, options: &Options) -> bool {
        let delay_ms = i64::try_from(options.reclaim_delay.as_millis()).unwrap_or(i64::MAX);
        let long_ms = delay_ms.saturating_mul(PATIENCE);
        let percent = u64::from(options.reclaim_percent);
        let quiet_ms = now_ms.saturating_sub(self.changed_ms);
        let waited_ms = now_ms.saturating_sub(self.since_ms);
        share >= percent && (quiet_ms >= delay_ms || waited_ms >= long_ms)
            || share >= percent.div_ceil(4) && quiet_ms >= long_ms
    }
}

impl Core {
    /// Rewrites the segment of which most is dead, or seals the open one if it is that; false if none
    /// is worth it.
    async fn reclaim_one(self: &Arc<Self>, seen: &mut Seen) -> Result<bool> {
        let segments = self.segments.all();
        let Some((open, sealed)) = segments.split_last() else {
            return Ok(false);
        };
        self.show(&segments, seen);
        let least = self.options.segment_bytes / MIN_SHARE;
        let now_ms = self.clock.now().timestamp_millis();
        let known = std::mem::take(&mut seen.dying);
        let dying = segments.iter().filter(|s| s.dead_bytes > least);
        seen.dying = dying
            .map(|segment| {
                let mut dying = known.get(&segment.id).copied().unwrap_or(Dying {
                    dead_bytes: segment.dead_bytes,
                    since_ms: now_ms,
                    changed_ms: now_ms,
                });
                if dying.dead_bytes != segment.dead_bytes {
                    (dying.dead_bytes, dying.changed_ms) = (segment.dead_bytes, now_ms);
                }
                (segment.id, dying)
            })
            .collect();
        if seen.dying.is_empty() {
            return Ok(false);
        }
        let sizes = self.sizes();
        let share = |segment: &SegmentMeta| {
            let size = sizes.get(&segment.id).copied().unwrap_or_default();
            segment.dead_bytes.saturating_mul(100) / size.max(1)
        };
        let worth = |segment: &SegmentMeta| {
            let dying = seen.dying.get(&segment.id);
            dying.is_some_and(|dying| dying.is_due(share(segment), now_ms, &self.options))
        };
        let most = sealed
            .iter()
            .filter(|segment| worth(segment))
            .max_by_key(|segment| share(segment));
        if let Some(segment) = most {
            self.rewrite(segment.id, Vec::new()).await?;
            return Ok(true);
        }
        let old = self
            .options
            .segment_interval
            .min(self.options.reclaim_delay);
        let age_ms = now_ms.saturating_sub(open.start_time_ms);
        if age_ms >= old.as_millis() as i64 && worth(open) {
            // No append may come to roll it.
            self.commit_own(vec![Change::Seal { segment: open.id }])
                .await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Bytes of the files of each segment.
    pub(crate) fn sizes(&self) -> HashMap<u32, u64> {
        let manifest = self.db.manifest();
        let segments = manifest.segments().iter().filter_map(|segment| {
            let prefix = segment.prefix();
            let id = u32::from_be_bytes(*prefix.last_chunk()?);
            let l0s = segment.l0().iter().map(|view| view.estimate_size());
            let runs = segment.compacted().iter().map(|run| run.estimate_size());
            (prefix[..] == segment_prefix(id)).then(|| (id, l0s.chain(runs).sum()))
        });
        segments.collect()
    }

    fn show(&self, segments: &[SegmentMeta], seen: &mut Seen) {
        let dead_bytes: u64 = segments.iter().map(|segment| segment.dead_bytes).sum();
        let now_ms = self.clock.now().timestamp_millis();
        let same_files = self.db.version() == seen.manifest;
        if !same_files {
            let manifest = self.db.manifest();
            let all = manifest.segments().iter().flat_map(layout::all_sources);
            let sources: HashSet<SourceId> = all.collect();
            if !seen.sources.is_subset(&sources) {
                seen.replaced_ms = now_ms;
            }
            seen.sources = sources;
            seen.manifest = manifest.id();
        }
        let restless_ms = layout::restless(&self.options).as_millis() as i64;
        if seen.waiting || now_ms - seen.replaced_ms < RESTLESS * restless_ms {
            // Upkeep may not rest before what was replaced is removed.
            self.pace.wrote(now_ms);
        }
        let sequence = *self.durable.borrow();
        if same_files && !seen.waiting && (sequence, dead_bytes) == (seen.sequence, seen.dead_bytes)
        {
            return;
        }
        (seen.sequence, seen.dead_bytes) = (sequence, dead_bytes);
        let metrics = &self.options.metrics;
        let sizes = self.sizes();
        // Files of segments that are gone already wait too.
        let gone = sizes.iter().filter(|(id, _)| {
            **id != crate::key::SYSTEM_SEGMENT && self.segments.get(**id).is_none()
        });
        let gone: u64 = gone.map(|(_, size)| *size).sum();
        seen.waiting = gone > 0;
        metrics.segments.set(segments.len() as i64);
        metrics
            .segment_bytes
            .set(sizes.values().sum::<u64>() as i64);
        metrics.dead_bytes.set((dead_bytes + gone) as i64);
        if let Some(wal) = self.wal_bytes() {
            metrics.wal_bytes.set(wal as i64);
        }
    }

    /// Rewrites a sealed segment without what is dead in it, and with the entries of `logs` as their
    /// rewriters say.
    pub(crate) async fn rewrite(
        self: &Arc<Self>,
        segment: u32,
        logs: Vec<(Log, Arc<dyn Rewriter>)>,
    ) -> Result<()> {
        let _alone = self.reclaiming.rewriting.lock().await;
        let before = match self.segments.get(segment) {
            Some(before) if self.segments.last().is_none_or(|open| open.id != segment) => before,
            // Dropped meanwhile: nothing is left to rewrite.
            None => return Ok(()),
            Some(_) => {
                let problem = format!("segment {segment} is open; it cannot be rewritten");
                return Err(Error::new(ErrorKind::Invalid, problem));
            }
        };
        self.write_out(segment).await?;
        // Log states say what the last entries would; those may go.
        let keep_ends = logs
            .iter()
            .map(|(log, _)| Change::KeepEnd { log: log.clone() });
        self.commit_own(keep_ends.collect()).await?;

        let size = self.sizes().get(&segment).copied().unwrap_or_default();
        let sources = self.sources(segment);
        if sources.is_empty() {
            return Ok(());
        }
        let rewriters: Rewriters = logs
            .iter()
            .map(|(log, rewriter)| (log.key().clone(), Arc::clone(rewriter)))
            .collect();
        let rewrites = &self.reclaiming.rewrites;
        let mut outcome = rewrites.ask(segment, sources.clone(), rewriters);
        let outcome = loop {
            tokio::select! {
                done = &mut outcome => match done {
                    Ok(outcome) => break outcome,
                    // Asked for again by somebody else.
                    Err(_) => return Ok(()),
                },
                paused = self.pause(10) => paused?,
            }
            rewrites.waits_for(segment, self.sources(segment));
        };
        // Until readers see it too.
        while self
            .sources(segment)
            .iter()
            .any(|now| sources.contains(now))
        {
            self.pause(1).await?;
        }
        // The engine tells of it an instant before it shows it.
        self.pause(1).await?;
        self.segments.rewritten();
        let left = self.sizes().get(&segment).copied().unwrap_or_default();
        let reclaimed = size.saturating_sub(left);
        tracing::debug!(segment, size, left, "rewrote a segment");
        self.options.metrics.rewritten_segments.increment(1);
        self.options.metrics.reclaimed_bytes.increment(reclaimed);

        let _directories = self.reclaiming.directories.lock().await;
        let mut rewrote = Rewrote {
            dead_bytes: before.dead_bytes,
            directories: Vec::new(),
        };
        for (log, _) in &logs {
            if let Some(directory) = smaller(self, log, segment, &outcome).await? {
                rewrote.directories.push((log.clone(), directory));
            }
        }
        self.commit_own(vec![Change::Rewrote { segment, rewrote }])
            .await
    }

    /// Makes sure that all of a sealed segment is in files.
    async fn write_out(&self, segment: u32) -> Result<()> {
        let known = *self.reclaiming.written_out.lock();
        if segment < known {
            return Ok(());
        }
        let open = self.segments.last().map_or(0, |open| open.id);
        self.write_memtable().await?;
        let mut known = self.reclaiming.written_out.lock();
        *known = open.max(*known);
        Ok(())
    }

    /// The files of a segment, as readers see it.
    fn sources(&self, segment: u32) -> Vec<SourceId> {
        let manifest = self.db.manifest();
        let files = manifest.segment(&segment_prefix(segment));
        files.map(layout::all_sources).unwrap_or_default()
    }

    /// Lets some upkeep intervals pass, and keeps the engine's upkeep awake; fails when the store
    /// closes.
    async fn pause(&self, intervals: u32) -> Result<()> {
        self.pace.wrote(self.clock.now().timestamp_millis());
        let mut state = self.state.subscribe();
        let closed = state.wait_for(|state| matches!(state, StoreState::Closed(_)));
        tokio::select! {
            _ = closed => Err(Error::new(ErrorKind::Closed, "the store is closed")),
            () = self.clock.sleep(layout::upkeep_interval(&self.options) * intervals) => Ok(()),
        }
    }
}

/// The directory row of a log in a segment, with what rewriting took out of it; `None` if it is gone or
/// says so already.
async fn smaller(
    core: &Core,
    log: &Log,
    segment: u32,
    outcome: &Outcome,
) -> Result<Option<Directory>> {
    let left: u64 = outcome
        .left
        .get(log.key() as &Bytes)
        .copied()
        .unwrap_or_default();
    let writer = *log.inner().writer();
    let mut found = None;
    let mut end_bytes = writer.bounds.appended_bytes;
    lookup::directories(core, &log.inner().key, |directory| {
        if found.is_some() {
            end_bytes = directory.bytes_before;
            return false;
        }
        if directory.segment == segment {
            found = Some(directory);
        }
        true
    })
    .await?;
    Ok(found.and_then(|directory| {
        let from = directory
            .bytes_before
            .max(writer.dead_through.min(end_bytes));
        let rewritten_bytes = (end_bytes - from).saturating_sub(left);
        (rewritten_bytes != directory.rewritten_bytes).then_some(Directory {
            rewritten_bytes,
            ..directory
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataUrl;

    #[test]
    fn a_segment_is_rewritten_when_no_more_of_it_dies() {
        let mut options = Options::new(DataUrl::Memory);
        options.reclaim_percent = 20;
        options.reclaim_delay = std::time::Duration::from_millis(100);
        let due = |share, since_ms, changed_ms| {
            let dying = Dying {
                dead_bytes: 1,
                since_ms,
                changed_ms,
            };
            dying.is_due(share, 1_000, &options)
        };
        assert!(due(20, 900, 900));
        assert!(!due(20, 900, 901), "more has just died");
        assert!(!due(99, 701, 950), "and goes on dying");
        assert!(due(20, 700, 950), "it has waited for long");
        assert!(!due(19, 0, 900), "too little");
        assert!(due(5, 0, 700), "but it will not be more");
        assert!(!due(4, 0, 0));
    }
}
