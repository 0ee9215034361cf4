//! An immutable picture of cluster metadata. A change makes a new one; readers keep theirs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::quota::{QuotaEntity, Quotas};
use super::scram::{ScramCredential, ScramMechanism};
use crate::config::{Config, Resource, TopicConfig};
use crate::types::TopicId;

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMeta {
    /// The key of its log in the store: `T/p` for the first life of a name, `T/p`, a zero byte and
    /// the topic id for later ones.
    pub log_key: Bytes,
    /// The store it lives in; always 0 on one node.
    pub shard: u32,
    /// Added to the store's fence epoch to give the leader epoch: 0 for native topics, above the
    /// source's highest for mirrored ones.
    pub epoch_base: i32,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its identity; a topic deleted and created again has another.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionMeta>,
    /// What was asked for; there is one copy, in the store.
    pub replication_factor: i16,
    /// The settings given to this topic, by name, as they were given.
    pub overrides: BTreeMap<String, String>,
    /// What holds for it: `overrides` over the broker's defaults.
    pub config: Arc<TopicConfig>,
    /// The job of the bridge that writes it; nobody else may until it is promoted.
    pub mirror: Option<Arc<str>>,
}

/// All topics, at one version.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Rises with each change.
    pub version: u64,
    /// Made once and kept: 22 characters of URL-safe base64.
    pub cluster_id: Arc<str>,
    /// Topics by name, in order.
    pub topics: BTreeMap<Arc<str>, Arc<Topic>>,
    /// The same topics by id.
    pub topics_by_id: HashMap<TopicId, Arc<Topic>>,
    /// The broker's settings as they hold now: those it was started with, and over them those that
    /// were given to it since.
    pub config: Arc<Config>,
    /// What holds for a topic that has no settings of its own.
    pub topic_defaults: Arc<TopicConfig>,
    /// Settings given at run time to what is not a topic; topics keep their own.
    pub settings: Arc<BTreeMap<Resource, BTreeMap<String, String>>>,
    /// Quotas of clients.
    pub quotas: Arc<BTreeMap<QuotaEntity, Quotas>>,
    /// SCRAM credentials, by user.
    pub scram: Arc<BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>>,
}

impl Image {
    /// The topic called `name`.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: &TopicId) -> Option<&Arc<Topic>> {
        self.topics_by_id.get(id)
    }

    /// The settings given to `resource`; `None` for a topic that does not exist.
    pub fn settings_of(&self, resource: &Resource) -> Option<&BTreeMap<String, String>> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match resource {
            Resource::Topic(name) => self.topic(name).map(|topic| &topic.overrides),
            other => Some(self.settings.get(other).unwrap_or(&NONE)),
        }
    }

    /// What holds for a topic with these settings of its own.
    pub(super) fn topic_config(&self, overrides: &BTreeMap<String, String>) -> Arc<TopicConfig> {
        match overrides.is_empty() {
            true => self.topic_defaults.clone(),
            false => Arc::new(TopicConfig::effective(overrides, &self.config)),
        }
    }

    /// Adds `topic`, or puts it in the place of the one with its id.
    pub(crate) fn insert(&mut self, topic: Arc<Topic>) {
        self.topics_by_id.insert(topic.id, topic.clone());
        self.topics.insert(topic.name.clone(), topic);
    }

    /// Takes out the topic with this id.
    pub(super) fn remove(&mut self, id: &TopicId) -> Option<Arc<Topic>> {
        let topic = self.topics_by_id.remove(id)?;
        self.topics.remove(&topic.name);
        Some(topic)
    }

    /// Partitions of all topics.
    pub(super) fn partition_count(&self) -> usize {
        self.topics.values().map(|t| t.partitions.len()).sum()
    }
}
