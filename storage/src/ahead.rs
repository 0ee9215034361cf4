//! Entries read ahead of sequential readers, so that a reader of small pieces does not pay for a scan
//! of the engine with each.
//!
//! The entries lie with the place where their log was left off ([`crate::read`]). Here is who has some:
//! so many at a time as the budget has room for. A reader that gave up makes room after a while; until
//! then further readers do without, for what would be thrown away unread had better not be read.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::log::Inner;

/// Payload bytes read ahead of one reader, about.
pub(crate) const AHEAD_BYTES: usize = 2 << 20;
/// After so long a reader counts as gone.
const PATIENCE_MS: i64 = 5_000;

/// Who has entries waiting.
#[derive(Debug)]
pub(crate) struct Ahead {
    slots: usize,
    holders: Mutex<VecDeque<Holder>>,
}

#[derive(Debug)]
struct Holder {
    log: Weak<Inner>,
    /// Offset of the first entry that waits.
    offset: u64,
    since_ms: i64,
}

impl Ahead {
    /// Room for `budget_bytes`.
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self {
            slots: budget_bytes / AHEAD_BYTES,
            holders: Mutex::default(),
        }
    }

    /// Whether another reader may have entries waiting; takes them from one that has not come back.
    pub(crate) fn has_room(&self, now_ms: i64) -> bool {
        let gone = {
            let mut holders = self.holders.lock();
            if holders.len() < self.slots {
                return true;
            }
            match holders.front() {
                Some(oldest) if oldest.since_ms + PATIENCE_MS <= now_ms => holders.pop_front(),
                _ => return false,
            }
        };
        if let Some(gone) = gone
            && let Some(log) = gone.log.upgrade()
        {
            log.cursors().forget_ahead(gone.offset);
        }
        true
    }

    /// Entries from `offset` on wait for the next read of `log`.
    pub(crate) fn put(&self, log: &Arc<Inner>, offset: u64, now_ms: i64) {
        self.holders.lock().push_back(Holder {
            log: Arc::downgrade(log),
            offset,
            since_ms: now_ms,
        });
    }

    /// They were read, or let go.
    pub(crate) fn remove(&self, log: &Arc<Inner>, offset: u64) {
        let is_it = |holder: &Holder| {
            holder.offset == offset && std::ptr::eq(holder.log.as_ptr(), Arc::as_ptr(log))
        };
        let mut holders = self.holders.lock();
        if let Some(at) = holders.iter().position(is_it) {
            holders.remove(at);
        }
    }
}
