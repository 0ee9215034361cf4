//! The one owner of the [`Image`]: creates and deletes topics and adds partitions.
//!
//! A change is committed as rows, and published when it is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use trestle_storage::Store;

use super::Image;
use crate::config::Config;
use crate::env::Env;
use crate::types::TopicId;

/// A topic to create.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Partitions; `None` for the broker's default.
    pub partitions: Option<i32>,
    /// Replication factor; `None` for the broker's default.
    pub replication_factor: Option<i16>,
    /// Settings of this topic.
    pub overrides: BTreeMap<String, String>,
}

/// Why a change of metadata was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetadataError {
    /// A topic of that name exists.
    #[error("topic {0:?} already exists")]
    TopicExists(String),
}

/// Handle on the metadata room.
#[derive(Debug)]
pub struct Controller {}

impl Controller {
    /// Loads all metadata from the store.
    pub async fn load(_env: Env, _config: Arc<Config>, _store: Store) -> anyhow::Result<Self> {
        unimplemented!()
    }

    /// The image of now.
    pub fn image(&self) -> Arc<Image> {
        unimplemented!()
    }

    /// The image as a value that can be watched.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Image>> {
        unimplemented!()
    }

    /// Creates a topic; durable, and visible to every reader of [`Controller::image`], on return.
    pub async fn create_topic(&self, _topic: NewTopic) -> Result<Arc<super::Topic>, MetadataError> {
        unimplemented!()
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, _id: TopicId) -> Result<(), MetadataError> {
        unimplemented!()
    }
}
