//! What is compacted: the rows of the store (segment 0), by size; and segments in which everything is
//! dead, which go as a whole without being read. Nothing else.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use slatedb::compactor::{
    CompactionScheduler, CompactionSchedulerSupplier, CompactionSpec, CompactorStateView, SourceId,
};
use slatedb::config::CompactorOptions;

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
}

impl CompactionSchedulerSupplier for Schedule {
    fn compaction_scheduler(
        &self,
        _: &CompactorOptions,
    ) -> Box<dyn CompactionScheduler + Send + Sync> {
        Box::new(Scheduler {
            live: self.live.clone(),
        })
    }
}

struct Scheduler {
    live: LiveSegments,
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
        let segments = state
            .manifest()
            .segments()
            .iter()
            .filter(|s| !busy.contains(s.prefix()));

        let Some(live) = self.live.snapshot() else {
            return Vec::new();
        };
        let mut specs = Vec::new();
        for segment in segments {
            let l0s = segment.l0().iter().map(|view| SourceId::SstView(view.id));
            let Some(id) = segment_id(segment.prefix()) else {
                continue;
            };
            if id != SYSTEM_SEGMENT {
                if !live.contains(&id) && specs.len() < DRAINS {
                    let runs = segment
                        .compacted()
                        .iter()
                        .map(|run| SourceId::SortedRun(run.id));
                    let sources: Vec<_> = l0s.chain(runs).collect();
                    if !sources.is_empty() {
                        tracing::info!(segment = id, "dropping a segment: all in it is dead");
                        specs.push(CompactionSpec::drain_segment(
                            segment.prefix().clone(),
                            sources,
                        ));
                    }
                }
                continue;
            }
            if segment.l0().len() < SYSTEM_L0S {
                continue;
            }
            // Newest first; a run is taken along while it is not much larger than what is above it.
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
            // Ids of sorted runs are unique over all segments.
            let destination = destination.unwrap_or_else(|| {
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
            });
            let system = Bytes::copy_from_slice(&segment_prefix(SYSTEM_SEGMENT));
            specs.push(CompactionSpec::for_segment(system, sources, destination));
        }
        specs
    }
}

fn segment_id(prefix: &[u8]) -> Option<u32> {
    let id = u32::from_be_bytes(*prefix.last_chunk()?);
    (prefix == segment_prefix(id)).then_some(id)
}
