//! The database that only looks on.

use std::sync::Arc;

use slatedb_common::clock::DefaultSystemClock;
use uuid::Uuid;

use super::config::{ReadVisibility, ReaderConfig};
use super::view::{LogRead, LogView};
use crate::{Result, Store};

/// Reads what another process writes, as far as it is durable. It writes nothing to the store and takes
/// no lock: there may be any number.
#[derive(Clone, Debug)]
pub struct LogDbReader {
    view: LogView,
}

impl LogDbReader {
    /// Opens a reader. It shows what is new within [`ReaderConfig::refresh_interval`], and keeps serving
    /// when the writer has gone.
    ///
    /// # Errors
    /// `Invalid` if there is no such store, or it is in memory.
    pub async fn open(config: impl Into<ReaderConfig>) -> Result<Self> {
        Self::follow(config.into(), None).await
    }

    /// Opens a reader of what the store held at a checkpoint.
    ///
    /// # Errors
    /// As [`LogDbReader::open`], and if there is no such checkpoint.
    pub async fn open_at(config: impl Into<ReaderConfig>, checkpoint: Uuid) -> Result<Self> {
        Self::follow(config.into(), Some(checkpoint)).await
    }

    async fn follow(config: ReaderConfig, checkpoint: Option<Uuid>) -> Result<Self> {
        let clock = Arc::new(DefaultSystemClock::new());
        let refresh = config.refresh_interval;
        let store = Store::open_followed(config.options(), clock, refresh, checkpoint).await?;
        Ok(Self {
            view: LogView::new(store, ReadVisibility::Remote),
        })
    }

    /// Stops following.
    ///
    /// # Errors
    /// As [`Store::close`].
    pub async fn close(self) -> Result<()> {
        self.view.store.close().await
    }
}

impl LogRead for LogDbReader {
    fn view(&self) -> &LogView {
        &self.view
    }
}
