//! Reclaiming: files whose records SlateDB has flushed and no checkpoint needs are written again or
//! removed, also while the store runs.

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use slatedb::wal::{WalError, WalFileRange, WalGc};
use slatedb_common::clock::SystemClock;

use super::files::{list, unavailable};
use super::spares::Spares;
use super::wal_error;
use crate::Result;

#[derive(Debug)]
pub(crate) struct FileWalGc {
    pub(crate) dir: PathBuf,
    pub(crate) spares: Arc<Spares>,
    pub(crate) clock: Arc<dyn SystemClock>,
}

impl FileWalGc {
    fn reclaim(&self, referenced: &[WalFileRange], min_age: Duration, dry_run: bool) -> Result<()> {
        let (files, _) = list(&self.dir)?;
        // The last file is being written, or was.
        for pair in files.windows(2) {
            let (file, next) = (&pair[0], &pair[1]);
            let ids = (file.header.first_wal_id, next.header.first_wal_id);
            if referenced.iter().any(|range| overlaps(range, ids)) {
                continue;
            }
            let failed = |source| unavailable("cannot reclaim", &file.path, source);
            let modified = file
                .path
                .metadata()
                .and_then(|metadata| metadata.modified())
                .map_err(failed)?;
            let age = self
                .clock
                .now()
                .signed_duration_since(DateTime::<Utc>::from(modified));
            if age.to_std().unwrap_or_default() < min_age {
                continue;
            }
            if dry_run {
                tracing::info!(path = %file.path.display(), "would reclaim");
                continue;
            }
            self.spares.keep_or_remove(&file.path).map_err(failed)?;
            tracing::debug!(path = %file.path.display(), "reclaimed a file of the write-ahead log");
        }
        Ok(())
    }
}

/// Whether `range` holds one of the ids from `ids.0` to before `ids.1`.
fn overlaps(range: &WalFileRange, ids: (u64, u64)) -> bool {
    let starts_before_end = match range.0 {
        Bound::Included(start) => start < ids.1,
        Bound::Excluded(start) => start.saturating_add(1) < ids.1,
        Bound::Unbounded => true,
    };
    let ends_after_start = match range.1 {
        Bound::Included(end) => end >= ids.0,
        Bound::Excluded(end) => end > ids.0,
        Bound::Unbounded => true,
    };
    ids.0 < ids.1 && starts_before_end && ends_after_start
}

#[async_trait]
impl WalGc for FileWalGc {
    async fn collect(
        &self,
        referenced_ranges: Vec<WalFileRange>,
        min_age: Duration,
        dry_run: bool,
    ) -> Result<(), WalError> {
        self.reclaim(&referenced_ranges, min_age, dry_run)
            .map_err(wal_error)
    }
}
