//! Changes of settings, quotas and credentials.

use std::collections::BTreeMap;
use std::sync::Arc;

use trestle_storage::Store;

use super::{Change, Done, Draft, Task};
use crate::config::{Config, Operations, Resource, Runtime, TopicConfig, altered};
use crate::metadata::scram::{ScramCredential, ScramMechanism};
use crate::metadata::{Image, LoadError, MetadataError, Topic, setting_rows as rows};

/// An image without topics, with the settings, quotas and credentials that are stored.
pub(super) async fn load(store: &Store, config: &Config) -> Result<Image, LoadError> {
    let mut image = Image::default();
    let mut settings = BTreeMap::new();
    for (key, value) in store.rows(rows::settings_prefix()).await? {
        let (resource, given) = rows::decode_settings(&key, &value)?;
        settings.insert(resource, given);
    }
    image.settings = Arc::new(settings);
    let mut quotas = BTreeMap::new();
    for (key, value) in store.rows(rows::quota_prefix()).await? {
        let (entity, given) = rows::decode_quotas(&key, &value)?;
        quotas.insert(entity, given);
    }
    image.quotas = Arc::new(quotas);
    let mut scram: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (key, value) in store.rows(rows::scram_prefix()).await? {
        let (user, mechanism, credential) = rows::decode_scram(&key, &value)?;
        scram.entry(user).or_default().insert(mechanism, credential);
    }
    image.scram = Arc::new(scram);
    take_runtime(&mut image, config);
    Ok(image)
}

/// Puts the settings given to the running broker over those that it was started with, and tells
/// every topic.
fn take_runtime(image: &mut Image, started_with: &Config) {
    let given = |resource| image.settings.get(&resource).cloned().unwrap_or_default();
    let runtime = Runtime {
        node: given(Resource::Broker(started_with.node_id)),
        cluster: given(Resource::Cluster),
    };
    image.config = Arc::new(started_with.with_runtime(&runtime));
    image.topic_defaults = Arc::new(TopicConfig::effective(&BTreeMap::new(), &image.config));
    let topics: Vec<Arc<Topic>> = image.topics.values().cloned().collect();
    for topic in topics {
        let config = image.topic_config(&topic.overrides);
        if config != topic.config {
            let topic = Topic {
                config,
                ..Topic::clone(&topic)
            };
            image.insert(Arc::new(topic));
        }
    }
}

/// The settings of `resource` after `operations`.
pub(super) fn altered_in(
    image: &Image,
    resource: &Resource,
    operations: &Operations,
) -> Result<BTreeMap<String, String>, MetadataError> {
    let current = image.settings_of(resource).ok_or_else(|| match resource {
        Resource::Topic(name) => MetadataError::UnknownTopic(name.clone()),
        other => MetadataError::UnknownTopic(described(other)),
    })?;
    altered(resource, current, operations, &image.config).map_err(|error| {
        MetadataError::InvalidConfig {
            of: described(resource),
            why: error.to_string(),
        }
    })
}

/// `resource`, in a sentence.
fn described(resource: &Resource) -> String {
    match resource {
        Resource::Topic(name) => format!("Topic '{name}'"),
        Resource::Broker(node) => format!("Broker {node}"),
        Resource::Cluster => "All brokers".into(),
        Resource::ClientMetrics(name) => format!("Client metrics subscription '{name}'"),
        Resource::Group(name) => format!("Group '{name}'"),
    }
}

/// Whether a credential can be given, or taken away: it is there to be taken.
pub(super) fn check_credential(
    image: &Image,
    user: &str,
    mechanism: ScramMechanism,
    credential: Option<&ScramCredential>,
) -> Result<(), MetadataError> {
    let has = image
        .scram
        .get(user)
        .is_some_and(|of| of.contains_key(&mechanism));
    match credential.is_some() || has {
        true => Ok(()),
        false => Err(MetadataError::UnknownCredential(user.to_owned())),
    }
}

impl Task {
    /// Carries out a change that was judged right.
    pub(super) fn apply_setting(&self, draft: &mut Draft, change: &Change) -> Done {
        match change {
            Change::Configure(resource, operations) => {
                let next = altered_in(&draft.image, resource, operations)?;
                self.configure(draft, resource, next);
            }
            Change::Quota(entity, changes) => {
                let mut all = BTreeMap::clone(&draft.image.quotas);
                let mut quotas = all.remove(entity).unwrap_or_default();
                for (key, value) in changes {
                    match value {
                        Some(value) => quotas.insert(key.clone(), *value),
                        None => quotas.remove(key),
                    };
                }
                let key = rows::quota_key(entity);
                if quotas.is_empty() {
                    draft.delete_row(key);
                } else {
                    draft.put_row(key, rows::encode_quotas(&quotas));
                    all.insert(entity.clone(), quotas);
                }
                draft.image.quotas = Arc::new(all);
            }
            Change::Credential(user, mechanism, credential) => {
                let mut all = BTreeMap::clone(&draft.image.scram);
                let mut of_user = all.remove(user).unwrap_or_default();
                let key = rows::scram_key(*mechanism, user);
                match credential {
                    Some(credential) => {
                        draft.put_row(key, rows::encode_scram(credential));
                        of_user.insert(*mechanism, credential.clone());
                    }
                    None => {
                        draft.delete_row(key);
                        of_user.remove(mechanism);
                    }
                }
                if !of_user.is_empty() {
                    all.insert(user.clone(), of_user);
                }
                draft.image.scram = Arc::new(all);
            }
            Change::Create(_)
            | Change::Delete(_)
            | Change::AddPartitions(_)
            | Change::Mirror(_) => {}
        }
        Ok(None)
    }

    fn configure(&self, draft: &mut Draft, resource: &Resource, next: BTreeMap<String, String>) {
        if draft.image.settings_of(resource) == Some(&next) {
            return;
        }
        if let Resource::Topic(name) = resource {
            if let Some(topic) = draft.image.topic(name) {
                let topic = Topic {
                    config: draft.image.topic_config(&next),
                    overrides: next,
                    ..Topic::clone(topic)
                };
                draft.put_topic(&Arc::new(topic));
            }
            return;
        }
        let Some(key) = rows::settings_key(resource) else {
            return;
        };
        let mut all = BTreeMap::clone(&draft.image.settings);
        if next.is_empty() {
            draft.delete_row(key);
            all.remove(resource);
        } else {
            draft.put_row(key, rows::encode_settings(&next));
            all.insert(resource.clone(), next);
        }
        draft.image.settings = Arc::new(all);
        if matches!(resource, Resource::Broker(_) | Resource::Cluster) {
            take_runtime(&mut draft.image, &self.config);
        }
    }
}
