//! What is compacted: the rows of the store (segment 0), by size; segments in which everything is dead,
//! which go as a whole without being read; and those that are to be rewritten, with all their sources.
//! Nothing else.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use slatedb::compactor::{
    CompactionScheduler, CompactionSchedulerSupplier, CompactionSpec, CompactorStateView, SourceId,
};
use slatedb::config::CompactorOptions;
use slatedb::manifest::Segment;

use super::rewrite::Rewrites;
use crate::key::{SYSTEM_SEGMENT, segment_prefix};

/// L0 files of segment 0 that make a compaction worth while.
const SYSTEM_L0S: usize = 4;
/// A sorted run joins a compaction if it is at most this many times as large as what is newer.
const SIZE_RATIO: u64 = 4;
/// Segments drained at a time.
const DRAINS: usize = 16;

/// The segments that hold something. Unknown until the store has been read; nothing is drained before.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveSegments(Arc<RwLock<Option<BTreeSet<u32>>>>);

impl LiveSegments {
    pub(crate) fn set(&self, live: BTreeSet<u32>) {
        *self.0.write() = Some(live);
    }

    pub(crate) fn insert(&self, segment: u32) {
        if let Some(live) = &mut *self.0.write() {
            live.insert(segment);
        }
    }

    pub(crate) fn remove(&self, segment: u32) {
        if let Some(live) = &mut *self.0.write() {
            live.remove(&segment);
        }
    }

    fn snapshot(&self) -> Option<BTreeSet<u32>> {
        self.0.read().clone()
    }
}

/// Makes the scheduler.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) live: LiveSegments,
    pub(crate) rewrites: Rewrites,
}

impl CompactionSchedulerSupplier for Schedule {
    fn compaction_scheduler(
        &self,
        _: &CompactorOptions,
    ) -> Box<dyn CompactionScheduler + Send + Sync> {
        Box::new(Scheduler {
            live: self.live.clone(),
            rewrites: self.rewrites.clone(),
        })
    }
}

struct Scheduler {
    live: LiveSegments,
    rewrites: Rewrites,
}

impl CompactionScheduler for Scheduler {
    fn propose(&self, state: &CompactorStateView) -> Vec<CompactionSpec> {
        let active: Vec<_> = state
            .compactions()
            .into_iter()
            .flat_map(|compactions| compactions.recent_compactions())
            .filter(|compaction| compaction.active())
            .collect();
        let busy: HashSet<&Bytes> = active.iter().map(|c| c.spec().segment()).collect();
        self.rewrites
            .set_busy(busy.iter().copied().cloned().collect());
        let segments: HashMap<u32, &Segment> = state
            .manifest()
            .segments()
            .iter()
            .filter(|segment| !busy.contains(segment.prefix()))
            .filter_map(|segment| Some((segment_id(segment.prefix())?, segment)))
            .collect();
        let Some(live) = self.live.snapshot() else {
            return Vec::new();
        };
        // Ids of sorted runs are unique over all segments.
        let mut next_run = {
            let runs = state
                .manifest()
                .segments()
                .iter()
                .flat_map(|s| s.compacted());
            let used = runs
                .map(|run| run.id)
                .chain(state.manifest().compacted().iter().map(|r| r.id));
            let reserved = active.iter().filter_map(|c| c.spec().destination());
            used.chain(reserved).max().map_or(0, |id| id + 1)
        };

        let mut specs = Vec::new();
        if let Some(system) = segments.get(&SYSTEM_SEGMENT)
            && system.l0().len() >= SYSTEM_L0S
        {
            specs.push(compact_system(system, &mut next_run));
        }
        for (&id, segment) in &segments {
            if id == SYSTEM_SEGMENT || live.contains(&id) || specs.len() >= DRAINS {
                continue;
            }
            let sources = all_sources(segment);
            if !sources.is_empty() {
                tracing::info!(segment = id, "dropping a segment: all in it is dead");
                let prefix = segment.prefix().clone();
                specs.push(CompactionSpec::drain_segment(prefix, sources));
            }
        }
        for id in self.rewrites.asked() {
            let segment = segments.get(&id);
            if busy.contains(&Bytes::copy_from_slice(&segment_prefix(id))) {
                continue;
            }
            let run = segment.and_then(|segment| match &segment.compacted()[..] {
                [run] if segment.l0().is_empty() => Some(run.id),
                _ => None,
            });
            if self.rewrites.is_done(id, run, segment.is_some()) {
                continue;
            }
            if let Some(segment) = segment {
                let sources = all_sources(segment);
                if sources.is_empty() || !self.rewrites.begin(id, &sources, next_run) {
                    continue;
                }
                let prefix = segment.prefix().clone();
                specs.push(CompactionSpec::for_segment(prefix, sources, next_run));
                next_run += 1;
            }
        }
        specs
    }
}

/// Everything in a segment, newest first.
pub(crate) fn all_sources(segment: &Segment) -> Vec<SourceId> {
    let l0s = segment.l0().iter().map(|view| SourceId::SstView(view.id));
    let runs = segment.compacted().iter();
    l0s.chain(runs.map(|run| SourceId::SortedRun(run.id)))
        .collect()
}

/// Newest first; a run is taken along while it is not much larger than what is above it.
fn compact_system(segment: &Segment, next_run: &mut u32) -> CompactionSpec {
    let l0s = segment.l0().iter().map(|view| SourceId::SstView(view.id));
    let mut sources: Vec<_> = l0s.collect();
    let mut size: u64 = segment.l0().iter().map(|view| view.estimate_size()).sum();
    let mut destination = None;
    for run in segment.compacted() {
        if run.estimate_size() > size.saturating_mul(SIZE_RATIO) {
            break;
        }
        size += run.estimate_size();
        sources.push(SourceId::SortedRun(run.id));
        destination = Some(run.id);
    }
    let destination = destination.unwrap_or_else(|| {
        *next_run += 1;
        *next_run - 1
    });
    CompactionSpec::for_segment(segment.prefix().clone(), sources, destination)
}

fn segment_id(prefix: &[u8]) -> Option<u32> {
    let id = u32::from_be_bytes(*prefix.last_chunk()?);
    (prefix == segment_prefix(id)).then_some(id)
}
