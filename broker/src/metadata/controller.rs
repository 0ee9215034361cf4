//! The one owner of the [`Image`]: creates and deletes topics, adds partitions, and changes settings,
//! quotas and credentials (`settings.rs`); makes and frees the topics of the bridge (`mirror.rs`).
//!
//! One task takes the changes that wait, judges each against the image as the ones before it leave
//! it, and commits them all at once; when the commit is durable it publishes the next image and then
//! answers. So a change that was answered is durable and seen by every reader, an image never shows
//! what a crash could take back, and many changes that come together share one flush.
//!
//! A deleted topic's row and the contents of its logs go in one write set, which also marks its name
//! as used: a crash leaves all of the topic or nothing of it, and a topic made later under the same
//! name gets log keys of its own (`T/p`, a zero byte, the topic id), under which nothing was ever
//! stored. An append that was on its way when its topic was deleted is behind the removal in the
//! store's queue, where the store refuses it.
//!
//! What this does not do: it keeps no partitions. The partition room sees a topic go from the image
//! and closes what it holds of it.

mod mirror;
mod settings;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use trestle_storage::{Error as StorageError, ErrorKind, Log, Store, WriteSet};

use super::quota::{QuotaChanges, QuotaEntity};
use super::rules::{check_new_partitions, check_new_topic};
use super::scram::{ScramCredential, ScramMechanism};
use super::{Image, LoadError, MetadataError, PartitionMeta, Topic, log_rows, rows};
use crate::config::{Config, Operations, Resource, TopicConfig, check_topic_overrides};
use crate::env::Env;
use crate::types::TopicId;

pub use mirror::{MirrorChange, NewMirror};

/// Requests for change that may wait; more than connections usually send at once, and each is small.
const QUEUE: usize = 256;

/// Bytes of rows past which a commit takes no further change, so that a huge request neither fills
/// the store's queue nor holds up everything else.
const COMMIT_BYTES: usize = 1 << 20;

/// How often a broker that only reads looks for new topics.
const FOLLOW: Duration = Duration::from_secs(1);

/// Logs of one topic that are opened at the same time when it is deleted.
const OPEN_AT_ONCE: usize = 32;

/// A topic to create.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Partitions; `None` for the broker's default.
    pub partitions: Option<i32>,
    /// Replication factor; `None` for the broker's default.
    pub replication_factor: Option<i16>,
    /// Replicas assigned by hand, as pairs of partition index and brokers; empty for none.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Settings of this topic. A setting without a value is refused.
    pub overrides: BTreeMap<String, Option<String>>,
}

/// Partitions to add to a topic.
#[derive(Clone, Debug)]
pub struct NewPartitions {
    /// Name of the topic.
    pub topic: String,
    /// How many it is to have in all.
    pub count: i32,
    /// Replicas of the added ones, assigned by hand.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// The topic as a change left it, or why there was no change.
pub type Changed = Result<Arc<Topic>, MetadataError>;

/// Nothing, or why a change of something else than a topic was refused.
pub type Settled = Result<(), MetadataError>;

#[derive(Clone, Debug)]
enum Change {
    Create(NewTopic),
    Delete(TopicId),
    AddPartitions(NewPartitions),
    Mirror(MirrorChange),
    Configure(Resource, Operations),
    Quota(QuotaEntity, QuotaChanges),
    Credential(String, ScramMechanism, Option<ScramCredential>),
}

/// What a change comes to: the topic as it left it, or nothing to tell.
type Done = Result<Option<Arc<Topic>>, MetadataError>;

#[derive(Debug)]
struct Request {
    changes: Vec<Change>,
    validate_only: bool,
    reply: oneshot::Sender<Vec<Done>>,
}

/// Handle on the metadata room.
#[derive(Debug)]
pub struct Controller {
    requests: mpsc::Sender<Request>,
    image: watch::Receiver<Arc<Image>>,
}

impl Controller {
    /// Loads all metadata from the store, or makes the cluster's id in an empty one, and starts the
    /// task that changes it.
    pub async fn load(env: Env, config: Arc<Config>, store: Store) -> Result<Self, LoadError> {
        let cluster_id = cluster_id(&env, &config, &store).await?;
        let topics = store.rows(rows::topic_prefix()).await?;
        let image = stored_image(cluster_id, &config, &store, &topics).await?;
        let (publish, published) = watch::channel(Arc::new(image));
        if store.is_read_only() {
            let publish = publish.clone();
            let follow = follow(env.clone(), config.clone(), store.clone(), publish, topics);
            env.spawn("metadata follower", follow);
        }
        let (requests, queue) = mpsc::channel(QUEUE);
        let task = Task {
            env: env.clone(),
            config,
            store,
            publish,
        };
        env.spawn("metadata", task.run(queue));
        Ok(Self {
            requests,
            image: published,
        })
    }

    /// The image of now.
    pub fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    /// The image as a value that can be watched.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Image>> {
        self.image.clone()
    }

    /// Creates topics, each alone: one that is refused does not stop the others. On return they are
    /// durable and visible to every reader of [`Controller::image`]. With `validate_only` all checks
    /// are made and nothing changes; the topics answered then have a nil id.
    pub async fn create_topics(&self, topics: Vec<NewTopic>, validate_only: bool) -> Vec<Changed> {
        let changes = topics.into_iter().map(Change::Create).collect();
        self.change_topics(changes, validate_only).await
    }

    /// Creates one topic.
    pub async fn create_topic(&self, topic: NewTopic) -> Changed {
        self.change_one(Change::Create(topic)).await
    }

    /// Deletes topics with all their records, each alone, and answers what they were.
    pub async fn delete_topics(&self, ids: Vec<TopicId>) -> Vec<Changed> {
        let changes = ids.into_iter().map(Change::Delete).collect();
        self.change_topics(changes, false).await
    }

    /// Deletes one topic.
    pub async fn delete_topic(&self, id: TopicId) -> Result<(), MetadataError> {
        self.change_one(Change::Delete(id)).await.map(|_| ())
    }

    /// Adds partitions, each topic alone.
    pub async fn add_partitions(
        &self,
        partitions: Vec<NewPartitions>,
        validate_only: bool,
    ) -> Vec<Changed> {
        let changes = partitions.into_iter().map(Change::AddPartitions).collect();
        self.change_topics(changes, validate_only).await
    }

    /// Changes settings, each resource alone.
    pub async fn configure(
        &self,
        changes: Vec<(Resource, Operations)>,
        validate_only: bool,
    ) -> Vec<Settled> {
        let changes = changes
            .into_iter()
            .map(|(resource, operations)| Change::Configure(resource, operations))
            .collect();
        self.change_others(changes, validate_only).await
    }

    /// Changes quotas, each entity alone: `None` removes one.
    pub async fn alter_quotas(
        &self,
        changes: Vec<(QuotaEntity, QuotaChanges)>,
        validate_only: bool,
    ) -> Vec<Settled> {
        let changes = changes
            .into_iter()
            .map(|(entity, quotas)| Change::Quota(entity, quotas))
            .collect();
        self.change_others(changes, validate_only).await
    }

    /// Gives users credentials, or takes them away.
    pub async fn alter_credentials(
        &self,
        changes: Vec<(String, ScramMechanism, Option<ScramCredential>)>,
    ) -> Vec<Settled> {
        let changes = changes
            .into_iter()
            .map(|(user, mechanism, credential)| Change::Credential(user, mechanism, credential))
            .collect();
        self.change_others(changes, false).await
    }

    async fn change_one(&self, change: Change) -> Changed {
        let mut changed = self.change_topics(vec![change], false).await;
        changed.pop().unwrap_or(Err(MetadataError::Stopping))
    }

    async fn change_topics(&self, changes: Vec<Change>, validate_only: bool) -> Vec<Changed> {
        let done = self.change(changes, validate_only).await.into_iter();
        // A change of a topic that succeeds has one to show.
        done.map(|done| done?.ok_or(MetadataError::Stopping))
            .collect()
    }

    async fn change_others(&self, changes: Vec<Change>, validate_only: bool) -> Vec<Settled> {
        let done = self.change(changes, validate_only).await.into_iter();
        done.map(|done| done.map(drop)).collect()
    }

    async fn change(&self, changes: Vec<Change>, validate_only: bool) -> Vec<Done> {
        let count = changes.len();
        let (reply, replied) = oneshot::channel();
        let request = Request {
            changes,
            validate_only,
            reply,
        };
        // Both ends fail only when the task has ended, which it does when the broker stops.
        let answer = match self.requests.send(request).await {
            Ok(()) => replied.await.ok(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| vec![Err(MetadataError::Stopping); count])
    }
}

/// The image that the rows of `topics` and of the settings make.
async fn stored_image(
    cluster_id: Arc<str>,
    config: &Arc<Config>,
    store: &Store,
    topics: &[(Bytes, Bytes)],
) -> Result<Image, LoadError> {
    let mut image = Image {
        cluster_id,
        ..settings::load(store, config).await?
    };
    for (key, value) in topics {
        let row = rows::decode_topic(key, value)?;
        let topic_config = image.topic_config(&row.overrides);
        image.insert(Arc::new(Topic {
            id: row.id,
            name: row.name,
            partitions: row.partitions,
            replication_factor: row.replication_factor,
            overrides: row.overrides,
            config: topic_config,
            mirror: row.mirror,
        }));
    }
    Ok(image)
}

/// Publishes what another broker makes of the topics.
async fn follow(
    env: Env,
    config: Arc<Config>,
    store: Store,
    publish: watch::Sender<Arc<Image>>,
    mut known: Vec<(Bytes, Bytes)>,
) {
    loop {
        tokio::select! {
            () = env.sleep(FOLLOW) => {}
            () = env.stopping().cancelled() => return,
        }
        let looked = async {
            let topics = store.rows(rows::topic_prefix()).await?;
            if topics == known {
                return Ok(None);
            }
            let old = publish.borrow().clone();
            let image = stored_image(old.cluster_id.clone(), &config, &store, &topics).await?;
            let version = old.version + 1;
            Ok::<_, LoadError>(Some((Image { version, ..image }, topics)))
        };
        match looked.await {
            Ok(Some((image, topics))) => {
                known = topics;
                publish.send_replace(Arc::new(image));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "could not look at what has become of the topics"),
        }
    }
}

/// The cluster's id: the stored one, or on the first start the given or a new one.
async fn cluster_id(env: &Env, config: &Config, store: &Store) -> Result<Arc<str>, LoadError> {
    let given = config.cluster_id.as_deref();
    if let Some(stored) = store.row(&rows::cluster_key()).await? {
        let stored = rows::decode_cluster(&stored)?;
        return match given {
            Some(given) if given != &*stored => Err(LoadError::OtherCluster {
                given: given.into(),
                stored: stored.to_string(),
            }),
            _ => Ok(stored),
        };
    }
    let id = match given {
        Some(given) => {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if given.is_empty() || given.len() > 128 || !given.bytes().all(legal) {
                return Err(LoadError::InvalidClusterId(given.into()));
            }
            given.to_owned()
        }
        None => base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(env.uuid()),
    };
    let mut write_set = WriteSet::new();
    write_set.put_row(rows::cluster_key(), rows::encode_cluster(&id));
    commit(store, write_set).await?;
    Ok(id.into())
}

async fn commit(store: &Store, write_set: WriteSet) -> Result<(), StorageError> {
    let (done, committed) = oneshot::channel();
    store.commit(write_set, move |result| {
        // Nobody waits any more: then nobody wants to know.
        let _ = done.send(result.map(|_| ()));
    });
    committed.await.unwrap_or_else(|_| {
        Err(StorageError::new(
            ErrorKind::Closed,
            "the store closed before it answered a commit",
        ))
    })
}

/// The task behind a [`Controller`].
struct Task {
    env: Env,
    /// What the broker was started with.
    config: Arc<Config>,
    store: Store,
    publish: watch::Sender<Arc<Image>>,
}

/// Changes that were judged and are not committed yet.
struct Draft {
    image: Image,
    write_set: WriteSet,
    /// About how many bytes of rows the set holds.
    bytes: usize,
    /// Names that lost their topic in this very set.
    past_names: HashSet<Arc<str>>,
    partition_count: usize,
    /// The changes that were judged by this draft: request, and change within it.
    judged: Vec<(usize, usize)>,
}

impl Draft {
    fn new(image: &Image) -> Self {
        Self {
            image: image.clone(),
            write_set: WriteSet::new(),
            bytes: 0,
            past_names: HashSet::new(),
            partition_count: image.partition_count(),
            judged: Vec::new(),
        }
    }

    fn put_row(&mut self, key: Bytes, value: Bytes) {
        self.bytes += key.len() + value.len();
        self.write_set.put_row(key, value);
    }

    fn delete_row(&mut self, key: Bytes) {
        self.bytes += key.len();
        self.write_set.delete_row(key);
    }

    fn put_topic(&mut self, topic: &Arc<Topic>) {
        let value = rows::encode_topic(
            &topic.name,
            topic.replication_factor,
            &topic.partitions,
            &topic.overrides,
            topic.mirror.as_deref(),
        );
        self.put_row(rows::topic_key(&topic.id), value);
        self.image.insert(topic.clone());
    }
}

impl Task {
    async fn run(self, mut queue: mpsc::Receiver<Request>) {
        let stopping = self.env.stopping().clone();
        loop {
            let first = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                request = queue.recv() => request,
            };
            let Some(first) = first else { return };
            let mut requests = vec![first];
            while let Ok(request) = queue.try_recv() {
                requests.push(request);
            }
            self.carry_out(requests).await;
        }
    }

    /// Carries out all changes of `requests`, in order, in as few commits as they fit.
    async fn carry_out(&self, requests: Vec<Request>) {
        let mut answers: Vec<Vec<Done>> = Vec::with_capacity(requests.len());
        let mut draft = Draft::new(&self.publish.borrow());
        for (number, request) in requests.iter().enumerate() {
            answers.push(Vec::with_capacity(request.changes.len()));
            for change in &request.changes {
                let changed = match request.validate_only {
                    true => self.judge(&draft, change),
                    false => self.apply(&mut draft, change).await,
                };
                draft.judged.push((number, answers[number].len()));
                answers[number].push(changed);
                if draft.bytes >= COMMIT_BYTES {
                    self.settle(draft, &mut answers).await;
                    draft = Draft::new(&self.publish.borrow());
                }
            }
        }
        self.settle(draft, &mut answers).await;
        for (request, answer) in requests.into_iter().zip(answers) {
            // A client that has gone does not wait for it.
            let _ = request.reply.send(answer);
        }
    }

    /// Commits `draft` and publishes it. If that fails, so do all changes that were judged by it,
    /// for what they saw did not come to be.
    async fn settle(&self, mut draft: Draft, answers: &mut [Vec<Done>]) {
        if draft.write_set.is_empty() {
            return;
        }
        match commit(&self.store, draft.write_set).await {
            Ok(()) => {
                draft.image.version += 1;
                self.publish.send_replace(Arc::new(draft.image));
            }
            Err(error) => {
                tracing::error!(%error, "a change of metadata could not be stored");
                for (request, change) in draft.judged {
                    answers[request][change] = Err(error.clone().into());
                }
            }
        }
    }

    /// What `change` would make of its topic.
    fn judge(&self, draft: &Draft, change: &Change) -> Done {
        match change {
            Change::Create(new) => self.plan(draft, new).map(Arc::new).map(Some),
            Change::AddPartitions(new) => self.extend(draft, new).map(Arc::new).map(Some),
            Change::Delete(id) => Self::doomed(draft, id).map(Some),
            Change::Mirror(change) => self.mirrored(draft, change).map(Arc::new).map(Some),
            Change::Configure(resource, operations) => {
                settings::altered_in(&draft.image, resource, operations).map(|_| None)
            }
            Change::Quota(entity, quotas) => {
                super::check_quota(entity, quotas)?;
                Ok(None)
            }
            Change::Credential(user, mechanism, credential) => {
                settings::check_credential(&draft.image, user, *mechanism, credential.as_ref())
                    .map(|()| None)
            }
        }
    }

    fn doomed(draft: &Draft, id: &TopicId) -> Changed {
        match draft.image.topic_by_id(id) {
            Some(topic) => Ok(topic.clone()),
            None => Err(MetadataError::UnknownTopicId(*id)),
        }
    }

    /// Carries `change` out in `draft`. A change that is refused leaves the draft as it was.
    async fn apply(&self, draft: &mut Draft, change: &Change) -> Done {
        match change {
            Change::Configure(..) | Change::Quota(..) | Change::Credential(..) => {
                self.judge(draft, change)?;
                self.apply_setting(draft, change)
            }
            Change::Create(new) => {
                let mut topic = self.plan(draft, new)?;
                topic.id = self.env.uuid();
                let life = topic.id;
                self.create(draft, topic, life).await
            }
            Change::Mirror(change) => {
                let topic = self.mirrored(draft, change)?;
                match change {
                    // The source's id may have been here before, and its logs' keys with it.
                    MirrorChange::Create(_) => self.create(draft, topic, self.env.uuid()).await,
                    _ => Ok(Some(Self::put_changed(draft, topic))),
                }
            }
            Change::AddPartitions(new) => {
                let topic = self.extend(draft, new)?;
                Ok(Some(Self::put_changed(draft, topic)))
            }
            Change::Delete(id) => {
                let topic = Self::doomed(draft, id)?;
                let keys: Vec<Bytes> = topic.partitions.iter().map(|p| p.log_key.clone()).collect();
                let found: Vec<(Log, Vec<Bytes>)> = futures::stream::iter(keys)
                    .map(|key| {
                        let store = self.store.clone();
                        async move {
                            let mut left = store.row_keys(&log_rows::aborted(&key)).await?;
                            left.push(log_rows::checkpoint(&key));
                            left.push(log_rows::clean(&key));
                            Ok::<_, StorageError>((store.log(&key).await?, left))
                        }
                    })
                    .buffer_unordered(OPEN_AT_ONCE)
                    .try_collect()
                    .await?;
                for (log, left) in found {
                    draft.write_set.remove(&log);
                    draft.bytes += log.key().len();
                    left.into_iter().for_each(|key| draft.delete_row(key));
                }
                draft.delete_row(rows::topic_key(id));
                draft.put_row(rows::past_name_key(&topic.name), rows::encode_past_name());
                draft.past_names.insert(topic.name.clone());
                draft.partition_count -= topic.partitions.len();
                draft.image.remove(id);
                Ok(Some(topic))
            }
        }
    }

    /// Puts down a topic that is new; `life` tells its logs from those of its name's earlier lives.
    async fn create(&self, draft: &mut Draft, mut topic: Topic, life: TopicId) -> Done {
        let past = draft.past_names.contains(&topic.name)
            || self
                .store
                .row(&rows::past_name_key(&topic.name))
                .await?
                .is_some();
        if past {
            for (index, partition) in topic.partitions.iter_mut().enumerate() {
                partition.log_key = later_log_key(&topic.name, index, &life);
            }
        }
        let topic = Arc::new(topic);
        draft.partition_count += topic.partitions.len();
        draft.put_topic(&topic);
        Ok(Some(topic))
    }

    /// Puts down a topic that was there, with as many partitions or more.
    fn put_changed(draft: &mut Draft, topic: Topic) -> Arc<Topic> {
        if let Some(before) = draft.image.topic_by_id(&topic.id) {
            draft.partition_count += topic.partitions.len() - before.partitions.len();
        }
        let topic = Arc::new(topic);
        draft.put_topic(&topic);
        topic
    }

    /// The topic that `new` asks for, with the log keys of a name's first life and a nil id.
    fn plan(&self, draft: &Draft, new: &NewTopic) -> Result<Topic, MetadataError> {
        let shape = check_new_topic(&draft.image, &draft.image.config, new)?;
        let (overrides, config) = Self::settings(&draft.image, new)?;
        self.check_room(draft, &new.name, shape.partitions)?;
        Ok(Topic {
            id: TopicId::nil(),
            name: new.name.as_str().into(),
            partitions: (0..shape.partitions)
                .map(|index| partition(first_log_key(&new.name, index)))
                .collect(),
            replication_factor: shape.replication_factor,
            overrides,
            config,
            mirror: None,
        })
    }

    /// The topic with the partitions that `new` adds.
    fn extend(&self, draft: &Draft, new: &NewPartitions) -> Result<Topic, MetadataError> {
        let Some(topic) = draft.image.topic(&new.topic) else {
            return Err(MetadataError::UnknownTopic(new.topic.clone()));
        };
        match topic.mirror {
            Some(_) => Err(MetadataError::Mirrored(new.topic.clone())),
            None => self.extended(draft, topic, new),
        }
    }

    fn extended(
        &self,
        draft: &Draft,
        topic: &Topic,
        new: &NewPartitions,
    ) -> Result<Topic, MetadataError> {
        let current = topic.partitions.len();
        let count = check_new_partitions(&draft.image.config, current, new)?;
        self.check_room(draft, &new.topic, count - current)?;
        let mut topic = Topic::clone(topic);
        // All partitions of a topic are of one life of its name.
        let first = topic.partitions.first();
        let life = first.and_then(|partition| life_of(&topic.name, 0, &partition.log_key));
        topic.partitions.reserve_exact(count - current);
        for index in current..count {
            let key = match &life {
                None => first_log_key(&topic.name, index),
                Some(life) => later_log_key(&topic.name, index, life),
            };
            topic.partitions.push(partition(key));
        }
        Ok(topic)
    }

    /// The settings that `new` gives its topic, as they are stored, and what then holds for it.
    fn settings(
        image: &Image,
        new: &NewTopic,
    ) -> Result<(BTreeMap<String, String>, Arc<TopicConfig>), MetadataError> {
        let invalid = |why| MetadataError::InvalidConfig {
            of: format!("Topic '{}'", new.name),
            why,
        };
        let mut given = BTreeMap::new();
        for (name, value) in &new.overrides {
            let Some(value) = value else {
                return Err(invalid(format!(
                    "setting {name} has no value; give one or leave it out"
                )));
            };
            given.insert(name.clone(), value.clone());
        }
        let overrides = check_topic_overrides(&given, &image.config)
            .map_err(|error| invalid(error.to_string()))?;
        let config = image.topic_config(&overrides);
        Ok((overrides, config))
    }

    fn check_room(&self, draft: &Draft, topic: &str, more: usize) -> Result<(), MetadataError> {
        let would_be = draft.partition_count.saturating_add(more);
        let limit = draft.image.config.max_partitions;
        if would_be > limit {
            return Err(MetadataError::TooManyPartitions {
                topic: topic.into(),
                would_be,
                limit,
            });
        }
        Ok(())
    }
}

fn partition(log_key: Bytes) -> PartitionMeta {
    PartitionMeta {
        log_key,
        shard: 0,
        epoch_base: 0,
    }
}

/// The log key of a partition in the first life of the name `topic`.
fn first_log_key(topic: &str, index: usize) -> Bytes {
    format!("{topic}/{index}").into()
}

/// The log key of a partition in a later life of the name `topic`.
fn later_log_key(topic: &str, index: usize, id: &TopicId) -> Bytes {
    [format!("{topic}/{index}\0").as_bytes(), id.as_bytes()]
        .concat()
        .into()
}

/// Which later life of the name `topic` a log key is of; `None` in the first.
fn life_of(topic: &str, index: usize, key: &[u8]) -> Option<TopicId> {
    let rest = key.strip_prefix(format!("{topic}/{index}\0").as_bytes())?;
    TopicId::from_slice(rest).ok()
}

#[cfg(test)]
mod tests;
