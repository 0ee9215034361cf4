//! The engine under a store, as far as reading goes: one that writes, or one that only looks on.

use std::ops::Range;

use bytes::Bytes;
use slatedb::config::{ReadOptions, ScanOptions};
use slatedb::{Db, DbIterator, DbReader, VersionedManifest};

/// Where rows are read from.
#[expect(clippy::large_enum_variant, reason = "there is one in a store")]
pub(crate) enum Rows {
    /// The engine that writes them.
    Written(Db),
    /// One that follows what another process writes.
    Followed(DbReader),
}

impl Rows {
    pub(crate) async fn get(
        &self,
        key: impl AsRef<[u8]> + Send,
    ) -> Result<Option<Bytes>, slatedb::Error> {
        self.get_with_options(key, &ReadOptions::default()).await
    }

    pub(crate) async fn get_with_options(
        &self,
        key: impl AsRef<[u8]> + Send,
        options: &ReadOptions,
    ) -> Result<Option<Bytes>, slatedb::Error> {
        match self {
            Self::Written(db) => db.get_with_options(key, options).await,
            Self::Followed(reader) => reader.get_with_options(key, options).await,
        }
    }

    pub(crate) async fn scan_with_options(
        &self,
        range: Range<Bytes>,
        options: &ScanOptions,
    ) -> Result<DbIterator, slatedb::Error> {
        match self {
            Self::Written(db) => db.scan_with_options(range, options).await,
            Self::Followed(reader) => reader.scan_with_options(range, options).await,
        }
    }

    pub(crate) async fn scan_prefix_with_options(
        &self,
        prefix: Bytes,
        options: &ScanOptions,
    ) -> Result<DbIterator, slatedb::Error> {
        match self {
            Self::Written(db) => db.scan_prefix_with_options(prefix, .., options).await,
            Self::Followed(reader) => reader.scan_prefix_with_options(prefix, .., options).await,
        }
    }

    /// The files that make up the tree.
    pub(crate) fn manifest(&self) -> VersionedManifest {
        match self {
            Self::Written(db) => db.manifest(),
            Self::Followed(reader) => reader.manifest(),
        }
    }

    /// The version of the files that are read now.
    pub(crate) fn version(&self) -> u64 {
        let status = match self {
            Self::Written(db) => db.subscribe(),
            Self::Followed(reader) => reader.subscribe(),
        };
        status.borrow().current_manifest.id()
    }

    /// The engine that writes, if this is it.
    pub(crate) fn writer(&self) -> Option<&Db> {
        match self {
            Self::Written(db) => Some(db),
            Self::Followed(_) => None,
        }
    }

    pub(crate) async fn close(&self) -> Result<(), slatedb::Error> {
        match self {
            Self::Written(db) => db.close().await,
            Self::Followed(reader) => reader.close().await,
        }
    }
}
