//! Clones: a store of its own that begins with what another one holds, without a copy of its data.
//!
//! The engine's clone is a list of files of which the first belong to the parent; a checkpoint there,
//! which the engine makes, keeps them. All files of a store lie in one object store, so a clone lies
//! in its parent's bucket; a directory holds a link to the directory of each parent. What lies only in
//! the write-ahead log is not part of a clone, so everything is put into files first.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use slatedb::VersionedManifest;
use slatedb::admin::{Admin, CloneSourceSpec};
use slatedb::config::{FlushOptions, FlushType};
use slatedb::object_store::ObjectStore;
use slatedb::object_store::path::Path as ObjectPath;
use slatedb::wal::{WalAdmin, WalError, WalGc};
use uuid::Uuid;

use crate::memory_wal::MemoryWal;
use crate::object_store::{self, LocalDirectory};
use crate::open::Home;
use crate::{DataUrl, Error, ErrorKind, Options, Result, Store};

/// In the directory of a clone: links to the databases that share files with it.
const ORIGINS_DIR: &str = "origins";

impl Store {
    /// Whether `target` lies beside this store: in the same directory, or under the same prefix of the
    /// same bucket.
    pub fn lies_beside(&self, target: &DataUrl) -> bool {
        lies_beside(&self.core().options.data, target)
    }

    /// Makes a store at `target` that holds what this one does: everything committed so far, or what
    /// was there at a `checkpoint`. It is one of its own from then on; nothing that happens to either
    /// shows in the other. No data are copied: a checkpoint without a name keeps the files that both
    /// share, and goes when it is deleted, which makes the clone unreadable.
    ///
    /// # Errors
    /// `Invalid` for a target that is not of the same kind and bucket, or holds something; for a
    /// checkpoint that does not exist; for a store in memory or opened for reading. Else as for a
    /// commit.
    pub async fn clone_to(&self, target: &DataUrl, checkpoint: Option<Uuid>) -> Result<()> {
        let invalid = |problem: String| Err(Error::new(ErrorKind::Invalid, problem));
        let core = self.core();
        let Some(db) = core.db.writer() else {
            return invalid("clones are made by who writes the store".into());
        };
        if let Some(id) = checkpoint {
            let known = self.checkpoints().await?;
            if !known.iter().any(|checkpoint| checkpoint.id == id) {
                return invalid(format!("there is no checkpoint {id}"));
            }
        }
        let place = place(&core.options, &core.home, target).await?;
        if checkpoint.is_none() {
            self.flush().await?;
            let options = FlushOptions {
                flush_type: FlushType::MemTable,
            };
            let flushed = db.flush_with_options(options).await;
            flushed.map_err(|error| Error::engine("flushing the store".into(), error))?;
        }
        let source = match checkpoint {
            Some(id) => CloneSourceSpec::with_checkpoint(place.origin.clone(), id),
            None => CloneSourceSpec::new(place.origin.clone()),
        };
        let admin = Admin::builder(place.db_path.clone(), Arc::clone(&place.object_store)).build();
        let mut clone = admin.create_clone_builder_from_source(source);
        if place.has_own_wal() {
            clone = clone.with_wal_admin(Arc::new(NothingInWal));
        }
        let made = clone
            .with_system_clock(Arc::clone(&core.clock))
            .build()
            .await
            .map_err(|error| Error::engine(format!("making a clone at {target}"), error));
        match made {
            Ok(()) => Ok(()),
            Err(error) => {
                place.clear();
                Err(error)
            }
        }
    }
}

/// Whether the store at `target` lies, or would lie, beside the one at `parent`: in the same directory, or
/// under the same prefix of the same bucket. A target that has no directory to lie in does not.
fn lies_beside(parent: &DataUrl, target: &DataUrl) -> bool {
    match (parent, target) {
        (DataUrl::File(parent), DataUrl::File(target)) => {
            // As the links among their paths lead.
            let real = |path: &Path| match (path.canonicalize(), path.parent(), path.file_name()) {
                (Ok(path), ..) => Some(path),
                (Err(_), Some(directory), Some(name)) => {
                    directory.canonicalize().ok().map(|real| real.join(name))
                }
                (Err(_), ..) => None,
            };
            let (parent, target) = (real(parent), real(target));
            let directory = target.as_deref().and_then(Path::parent);
            directory.is_some() && directory == parent.as_deref().and_then(Path::parent)
        }
        (
            DataUrl::S3 { bucket, prefix },
            DataUrl::S3 {
                bucket: to,
                prefix: target,
            },
        ) => {
            let above = |prefix: &str| match prefix.rsplit_once('/') {
                Some((above, _)) => above.to_owned(),
                None => String::new(),
            };
            let named = !prefix.is_empty() && !target.is_empty();
            bucket == to && named && above(prefix) == above(target)
        }
        _ => false,
    }
}

/// Where a clone is made.
struct Place {
    object_store: Arc<dyn ObjectStore>,
    db_path: ObjectPath,
    /// The parent's database, as the clone's object store names it.
    origin: ObjectPath,
    directory: Option<LocalDirectory>,
}

impl Place {
    /// Whether the write-ahead log lies outside of the object store.
    fn has_own_wal(&self) -> bool {
        self.directory.is_some()
    }

    /// Removes what was made for a clone that did not come to be.
    fn clear(self) {
        if let Some(directory) = self.directory {
            // It was empty; links are not followed.
            let _ = std::fs::remove_dir_all(&directory.root);
        }
    }
}

/// Makes room at `target` for a clone of the store of `options`, whose files lie at `home`.
///
/// # Errors
/// `Invalid` if `target` is of another kind or bucket, or holds something.
async fn place(options: &Options, home: &Home, target: &DataUrl) -> Result<Place> {
    let invalid = |problem: String| Err(Error::new(ErrorKind::Invalid, problem));
    match (&options.data, target) {
        (DataUrl::Memory, _) => invalid("a store in memory cannot be cloned".into()),
        (DataUrl::File(parent), DataUrl::File(root)) => {
            let found = std::fs::read_dir(root).map(|mut entries| entries.next().is_some());
            if found.is_ok_and(|holds_something| holds_something) {
                return invalid(format!(
                    "{target} is not empty; name a directory that does not exist yet"
                ));
            }
            let parent = parent.canonicalize();
            let parent =
                parent.map_err(|source| object_store::directory_error("find", root, source))?;
            let opened = object_store::open_directory(root, options.fsync)?;
            let failed = |source| object_store::directory_error("prepare", root, source);
            let Some(directory) = opened.local else {
                return invalid("a directory was expected".into());
            };
            let name = uuid::Uuid::new_v4().to_string();
            link_origins(&parent, &directory.root, &name).map_err(failed)?;
            if options.fsync {
                for dir in [directory.root.join(ORIGINS_DIR), directory.root.clone()] {
                    let synced = File::open(dir).and_then(|dir| dir.sync_all());
                    synced.map_err(failed)?;
                }
            }
            Ok(Place {
                object_store: opened.object_store,
                db_path: opened.db_path,
                origin: ObjectPath::from(ORIGINS_DIR).join(name),
                directory: Some(directory),
            })
        }
        (DataUrl::S3 { bucket, .. }, DataUrl::S3 { bucket: to, prefix }) if bucket == to => {
            let db_path = object_store::parse_prefix(target, prefix)?.join(object_store::DB_PATH);
            let mut found = home.object_store.list(Some(&db_path));
            if let Some(found) = found.next().await {
                found.map_err(|source| {
                    let context = format!("cannot look into {target}");
                    Error::new(ErrorKind::Unavailable, context).with_source(source)
                })?;
                return invalid(format!(
                    "{target} holds a store already; name another prefix"
                ));
            }
            Ok(Place {
                object_store: Arc::clone(&home.object_store),
                db_path,
                origin: home.db_path.clone(),
                directory: None,
            })
        }
        (parent, _) => invalid(format!(
            "{target} cannot share files with {parent}: a clone lies in a directory if its parent \
             does, else in its parent's bucket"
        )),
    }
}

/// Links the database in `parent`, under `name`, and those that it shares files with.
fn link_origins(parent: &Path, clone: &Path, name: &str) -> std::io::Result<()> {
    let origins = clone.join(ORIGINS_DIR);
    std::fs::create_dir(&origins)?;
    std::os::unix::fs::symlink(object_store::database_dir(parent), origins.join(name))?;
    let inherited = match std::fs::read_dir(parent.join(ORIGINS_DIR)) {
        Ok(inherited) => inherited,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in inherited {
        let entry = entry?;
        let database = std::fs::read_link(entry.path())?;
        std::os::unix::fs::symlink(database, origins.join(entry.file_name()))?;
    }
    Ok(())
}

/// A write-ahead log of which nothing is taken along.
struct NothingInWal;

#[async_trait]
impl WalAdmin for NothingInWal {
    fn garbage_collector(&self, _path: &ObjectPath) -> Arc<dyn WalGc> {
        Arc::new(MemoryWal)
    }

    async fn delete_wal(
        &self,
        _path: &ObjectPath,
        _dry_run: bool,
    ) -> Result<Vec<String>, WalError> {
        Ok(Vec::new())
    }

    async fn is_empty(
        &self,
        _path: &ObjectPath,
        _replay_after_wal_id: u64,
        _wal_id_last_seen: u64,
    ) -> Result<bool, WalError> {
        Ok(true)
    }

    async fn clone_wal(
        &self,
        _from_path: &ObjectPath,
        from_manifest: VersionedManifest,
        _to_path: &ObjectPath,
    ) -> Result<(u64, u64), WalError> {
        // The clone's own log goes on above the ids that its files know.
        let last = from_manifest.next_wal_sst_id().saturating_sub(1);
        let last = last.max(from_manifest.replay_after_wal_id());
        Ok((last, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_store() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let at = |path: &str| DataUrl::File(directory.path().join(path));
        for made in ["data", "elsewhere", "there"] {
            std::fs::create_dir(directory.path().join(made))?;
        }
        std::os::unix::fs::symlink(
            directory.path().join("elsewhere"),
            directory.path().join("link"),
        )?;
        let own = at("data");
        assert!(lies_beside(&own, &at("copy")));
        assert!(
            lies_beside(&own, &at("there")),
            "an empty one that is there"
        );
        assert!(lies_beside(&own, &at("elsewhere/../copy")));
        for target in [
            "data/copy",
            "elsewhere/copy",
            "missing/copy",
            "..",
            "link/copy",
        ] {
            assert!(!lies_beside(&own, &at(target)), "{target}");
        }
        assert!(!lies_beside(&own, &DataUrl::File("/".into())));

        let at = |bucket: &str, prefix: &str| DataUrl::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        let own = at("b", "team/data");
        assert!(lies_beside(&own, &at("b", "team/copy")));
        for target in ["copy", "team/data/copy", "other/copy", ""] {
            assert!(!lies_beside(&own, &at("b", target)), "{target}");
        }
        assert!(!lies_beside(&own, &at("c", "team/copy")));
        assert!(lies_beside(&at("b", "data"), &at("b", "copy")));
        assert!(!lies_beside(&at("b", ""), &at("b", "copy")), "within it");
        assert!(!lies_beside(&DataUrl::Memory, &own));
        Ok(())
    }
}
