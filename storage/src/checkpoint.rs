//! Checkpoints: what a store holds at a moment, kept for readers whatever becomes of the store after.

use std::time::Duration;

use slatedb::admin::Admin;
use slatedb::config::{CheckpointOptions, CheckpointScope};
use uuid::Uuid;

use crate::{Error, ErrorKind, Result, Store};

/// A checkpoint of a store. The files that it needs are kept while it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its identity.
    pub id: Uuid,
    /// What it was called, if it was given a name.
    pub name: Option<String>,
    /// When it was made, in milliseconds since the epoch.
    pub create_time_ms: i64,
    /// When it goes by itself, if it does.
    pub expire_time_ms: Option<i64>,
}

impl Store {
    /// Makes a checkpoint of everything committed so far. Without a `lifetime` it stays until it is
    /// deleted.
    ///
    /// # Errors
    /// `Invalid` on a store opened for reading, else as for a commit.
    pub async fn create_checkpoint(
        &self,
        name: Option<String>,
        lifetime: Option<Duration>,
    ) -> Result<Checkpoint> {
        let Some(db) = self.core().db.writer() else {
            let problem = "checkpoints are made by who writes the store";
            return Err(Error::new(ErrorKind::Invalid, problem));
        };
        self.flush().await?;
        let options = CheckpointOptions {
            lifetime,
            source: None,
            name,
        };
        let failed = |error| Error::engine("making a checkpoint".into(), error);
        let made = db
            .create_checkpoint(CheckpointScope::All, &options)
            .await
            .map_err(failed)?;
        let found = self.checkpoints().await?;
        let made = found.into_iter().find(|known| known.id == made.id);
        made.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the checkpoint has gone already"))
    }

    /// The checkpoints that users have made, and the engine's own, oldest first.
    ///
    /// # Errors
    /// `Unavailable` if they cannot be read.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        let found = self.admin().list_checkpoints(None).await;
        let found = found.map_err(|error| Error::engine("listing checkpoints".into(), error))?;
        let mut found: Vec<Checkpoint> = found
            .into_iter()
            .map(|found| Checkpoint {
                id: found.id,
                name: found.name,
                create_time_ms: found.create_time.timestamp_millis(),
                expire_time_ms: found.expire_time.map(|time| time.timestamp_millis()),
            })
            .collect();
        found.sort_by_key(|checkpoint| checkpoint.create_time_ms);
        Ok(found)
    }

    /// Deletes a checkpoint; its files go with the next upkeep, unless the store still needs them.
    ///
    /// # Errors
    /// `Invalid` if there is none with this id, or the store was opened for reading.
    pub async fn delete_checkpoint(&self, id: Uuid) -> Result<()> {
        if self.is_read_only() {
            let problem = "checkpoints are deleted by who writes the store";
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        let known = self.checkpoints().await?;
        if !known.iter().any(|checkpoint| checkpoint.id == id) {
            let problem = format!("there is no checkpoint {id}");
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        let deleted = self.admin().delete_checkpoint(id).await;
        deleted.map_err(|error| Error::engine("deleting a checkpoint".into(), error))
    }

    fn admin(&self) -> Admin {
        let home = &self.core().home;
        Admin::builder(home.db_path.clone(), home.object_store.clone()).build()
    }
}
