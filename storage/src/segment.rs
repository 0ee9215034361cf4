//! The segments of a store: contiguous windows of the global sequence.
//!
//! The commit task opens, seals and empties them; readers look up where one starts. A segment is live
//! while a directory row names it, and dropped as a whole after that.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::key::{SYSTEM_SEGMENT, SegmentMeta};
use crate::layout::LiveSegments;

/// The live segments, by id.
#[derive(Debug)]
pub(crate) struct Segments {
    by_id: RwLock<BTreeMap<u32, SegmentMeta>>,
    live: LiveSegments,
    changes: AtomicU64,
}

impl Segments {
    /// The segments found in a store; from now on all others may be dropped.
    pub(crate) fn new(found: Vec<SegmentMeta>, live: LiveSegments) -> Self {
        live.set(found.iter().map(|s| s.id).chain([SYSTEM_SEGMENT]).collect());
        Self {
            by_id: RwLock::new(found.into_iter().map(|s| (s.id, s)).collect()),
            live,
            changes: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<SegmentMeta> {
        self.by_id.read().get(&id).copied()
    }

    pub(crate) fn last(&self) -> Option<SegmentMeta> {
        self.by_id
            .read()
            .last_key_value()
            .map(|(_, segment)| *segment)
    }

    pub(crate) fn put(&self, segment: SegmentMeta) {
        self.live.insert(segment.id);
        self.by_id.write().insert(segment.id, segment);
    }

    /// What another process has made of them.
    pub(crate) fn replace(&self, found: Vec<SegmentMeta>) {
        let found: BTreeMap<_, _> = found.into_iter().map(|s| (s.id, s)).collect();
        let mut known = self.by_id.write();
        if known.keys().any(|id| !found.contains_key(id)) {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
        *known = found;
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<SegmentMeta> {
        self.by_id.read().values().copied().collect()
    }

    /// How often one was removed or rewritten. What was in one may have been moved to another before:
    /// whoever found this changed during a lookup may have looked where nothing is any more.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// One was rewritten, or may be though entries of it were moved.
    pub(crate) fn rewritten(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets a segment whose removal is durable: its files may go.
    pub(crate) fn remove(&self, id: u32) {
        // First: until then, those who look find what is in it.
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.by_id.write().remove(&id);
        self.live.remove(id);
    }
}
