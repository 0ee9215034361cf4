//! What a caller may do with entries that are stored: keep them, drop them, or put something in their
//! place. Offsets and sequences do not change.

use bytes::Bytes;

use crate::Entry;

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// It stays as it is.
    Keep,
    /// It goes; its offsets become a gap.
    Drop,
    /// It stays with this payload.
    Replace(Bytes),
}

/// Says what becomes of the entries of one log.
///
/// It is asked about each entry at most once in order, but some may be left out or asked about again
/// when the work is interrupted: its answer must depend on nothing but the entry. It runs among the
/// store's tasks, so it must not block.
pub trait Rewriter: Send + Sync {
    /// What becomes of `entry`.
    fn rewrite(&self, entry: &Entry) -> Rewritten;
}

impl std::fmt::Debug for dyn Rewriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewriter").finish_non_exhaustive()
    }
}
