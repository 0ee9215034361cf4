//! Listing keys.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use slatedb::DbIterator;

use super::record::SegmentId;
use crate::key::{Directory, LogKey as StoredKey};
use crate::{Error, Result, Store};

/// A key that has entries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey {
    /// The key.
    pub key: Bytes,
}

/// Which keys to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOptions {
    /// Only keys that start with this.
    pub prefix: Bytes,
    /// From where on. To go on after a page, the last key of that page, excluded.
    pub from: Bound<Bytes>,
    /// Up to where.
    pub to: Bound<Bytes>,
    /// Keys at the most.
    pub limit: Option<usize>,
}

impl Default for KeyOptions {
    /// All keys.
    fn default() -> Self {
        Self {
            prefix: Bytes::new(),
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            limit: None,
        }
    }
}

/// Keys in order, each once.
pub struct LogKeyIterator {
    store: Store,
    rows: DbIterator,
    segments: (Bound<SegmentId>, Bound<SegmentId>),
    options: KeyOptions,
    left: usize,
    /// The key whose rows come now, and whether it was returned or refused.
    last: Option<Bytes>,
}

impl std::fmt::Debug for LogKeyIterator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogKeyIterator")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl LogKeyIterator {
    pub(super) async fn new(
        store: &Store,
        segments: (Bound<SegmentId>, Bound<SegmentId>),
        options: KeyOptions,
    ) -> Result<Self> {
        let mut rows = store.scan(Directory::scan_start(&options.prefix)).await?;
        if let Bound::Included(from) | Bound::Excluded(from) = &options.from
            && *from > options.prefix
        {
            rows.seek(Directory::scan_start(from))
                .await
                .map_err(failed)?;
        }
        Ok(Self {
            store: store.clone(),
            rows,
            segments,
            left: options.limit.unwrap_or(usize::MAX),
            options,
            last: None,
        })
    }

    /// The next key.
    ///
    /// # Errors
    /// As [`crate::Log::read`].
    pub async fn next(&mut self) -> Result<Option<LogKey>> {
        while self.left > 0
            && let Some(row) = self.rows.next().await.map_err(failed)?
        {
            let Some((key, is_directory)) = Directory::owner(&row.key)? else {
                // Rows of the store stand before those of all logs.
                self.rows
                    .seek(Directory::first_log())
                    .await
                    .map_err(failed)?;
                continue;
            };
            if !is_directory || self.last.as_ref() == Some(&key) {
                continue;
            }
            let keys = (self.options.from.as_ref(), self.options.to.as_ref());
            let excluded = matches!(&self.options.from, Bound::Excluded(from) if *from == key);
            if !excluded && !RangeBounds::<Bytes>::contains(&keys, &key) {
                if matches!(&self.options.from, Bound::Included(from) | Bound::Excluded(from) if key < *from)
                {
                    continue;
                }
                self.left = 0;
                return Ok(None);
            }
            let directory = Directory::decode(&row.key, &row.value)?;
            if !excluded && !self.segments.contains(&directory.segment) {
                continue;
            }
            let log = StoredKey::new(key.clone())?;
            self.last = Some(key.clone());
            // A key with entries in very many segments has a row for each.
            self.rows
                .seek(Directory::scan_end(&log))
                .await
                .map_err(failed)?;
            if excluded || self.store.is_removed(&log).await? {
                continue;
            }
            self.left -= 1;
            return Ok(Some(LogKey { key }));
        }
        Ok(None)
    }
}

fn failed(error: slatedb::Error) -> Error {
    Error::engine("listing keys".into(), error)
}
