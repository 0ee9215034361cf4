//! The bridge: copies topics of another cluster with their offsets, follows it, and proves the copy.
//!
//! Owns the jobs: their rows, their tasks, and what is known of their progress. It reads the source and
//! writes nothing there. What it writes here goes through the rooms: topics through the metadata,
//! batches through the partitions, committed offsets through the groups. Until a topic is promoted
//! nobody else writes it.

pub mod client;
mod compare;
mod copy;
mod groups;
mod job;
pub mod plan;
mod promote;
pub mod select;
mod status;
mod supervise;
mod track;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use trestle_storage::{Store, WriteSet};

pub use job::{DEFAULT_NAME, Job, parse_rate};
pub use promote::Promotion;
pub use status::{JobStatus, TopicStatus};
pub use track::Phase;

use crate::config::Config;
use crate::coordinator::group::Groups;
use crate::coordinator::runtime::Coordinator;
use crate::env::Env;
use crate::metadata::{Controller, Image, MirrorChange, Topic};
use crate::partition::{AppendError, Partitions};
use crate::placement::Placement;
use client::{Place, Properties, PropertiesError, SourceTopic};
use groups::GroupState;
use job::Bucket;
use select::{Selection, SelectionError};
use supervise::Stuck;
use track::Track;

/// No properties of a client are longer.
const PROPERTIES_MAX_BYTES: u64 = 1 << 20;

/// The rooms that the bridge works with.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// Settings.
    pub config: Arc<Config>,
    /// For the rows of jobs.
    pub store: Store,
    /// Topics.
    pub metadata: Arc<Controller>,
    /// Where leader epochs come from.
    pub placement: Placement,
    /// Logs.
    pub partitions: Arc<Partitions>,
    /// Committed offsets.
    pub groups: Coordinator<Groups>,
}

/// Why a job is not begun, or cannot do what it is asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BridgeError {
    /// No such job.
    #[error("there is no bridge job {0:?}; trestle bridge run makes one")]
    UnknownJob(String),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be done now.
    #[error("{0}")]
    Refused(String),
    /// An expression that does not parse.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The file of properties.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// The source.
    #[error("the source: {0}")]
    Source(#[from] client::SourceError),
    /// The store.
    #[error("storage: {0}")]
    Storage(String),
}

/// All jobs.
#[derive(Debug)]
pub struct Bridge {
    ground: Ground,
    jobs: Mutex<BTreeMap<String, Arc<Running>>>,
}

/// A job, at work or at rest.
pub(crate) struct Running {
    name: Arc<str>,
    ground: Ground,
    job: Mutex<Job>,
    unsaved: AtomicBool,
    properties: Properties,
    selection: Selection,
    bucket: Mutex<Option<Bucket>>,
    brokers: Mutex<HashMap<i32, String>>,
    tracks: RwLock<BTreeMap<Place, Arc<Track>>>,
    /// Why the source cannot be looked at.
    trouble: Mutex<Option<String>>,
    /// Why a topic is not copied.
    troubles: Mutex<BTreeMap<String, Stuck>>,
    /// What is worth knowing of a topic.
    notes: Mutex<BTreeMap<String, String>>,
    groups: Mutex<BTreeMap<String, GroupState>>,
    /// Why groups are not taken over, or not all.
    groups_trouble: Mutex<Option<String>>,
    /// Wakes the supervisor.
    nudge: Notify,
    stop: CancellationToken,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({})", self.name)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a Kafka client's settings are a file, as in every client"
)]
fn read_properties(path: Option<&str>) -> Result<Properties, BridgeError> {
    let Some(path) = path else {
        return Ok(Properties::default());
    };
    let refused =
        |why: String| BridgeError::Invalid(format!("{path}, on the broker's machine: {why}"));
    // A pipe or a device may have no end.
    let known = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if !known.is_file() || known.len() > PROPERTIES_MAX_BYTES {
        return Err(refused("it is not a file of properties".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    Ok(Properties::parse(&text)?)
}

impl Bridge {
    /// The jobs that are stored, at work again.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub async fn load(ground: Ground) -> anyhow::Result<Self> {
        let mut jobs = BTreeMap::new();
        for (key, value) in ground.store.rows(job::ROWS).await? {
            let (name, job) = Job::decode(&key, &value)?;
            match Running::new(ground.clone(), &name, job) {
                Ok(running) => {
                    let running = Arc::new(running);
                    running.begin();
                    jobs.insert(name, running);
                }
                Err(error) => tracing::error!(job = name, %error, "a bridge job is not begun"),
            }
        }
        let jobs = Mutex::new(jobs);
        Ok(Self { ground, jobs })
    }

    /// The job called `name`.
    pub(crate) fn job(&self, name: &str) -> Result<Arc<Running>, BridgeError> {
        let found = self.jobs.lock().get(name).cloned();
        found.ok_or_else(|| BridgeError::UnknownJob(name.into()))
    }

    /// All jobs.
    pub(crate) fn all(&self) -> Vec<Arc<Running>> {
        self.jobs.lock().values().cloned().collect()
    }

    /// Begins a job, or begins it again with other topics or another limit: what had failed is tried
    /// again, what was deleted here is copied anew.
    ///
    /// # Errors
    /// What it asks for and cannot be done.
    pub async fn run(&self, name: &str, wanted: Job) -> Result<(), BridgeError> {
        if self.ground.store.is_read_only() {
            return Err(BridgeError::Refused("this broker only reads".into()));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 100 || !name.chars().all(legal) {
            return Err(BridgeError::Invalid(format!(
                "{name:?} is no name for a job; letters, digits, '.', '_' and '-' are"
            )));
        }
        let before = self.jobs.lock().get(name).cloned();
        let mut job = Job {
            paused: false,
            ..wanted
        };
        if let Some(before) = &before {
            let before = before.job.lock();
            let image = self.ground.metadata.image();
            let there = |topic: &&String| image.topic(topic).is_some();
            job.made = before.made.iter().filter(there).cloned().collect();
            job.without_ids = before.without_ids.iter().filter(there).cloned().collect();
            job.active.clone_from(&before.active);
            if job.source.is_empty() {
                job.source.clone_from(&before.source);
                job.properties = job.properties.or_else(|| before.properties.clone());
                if job.topics.is_empty() && job.exclude.is_empty() {
                    job.topics.clone_from(&before.topics);
                    job.exclude.clone_from(&before.exclude);
                }
            }
        }
        let running = Arc::new(Running::new(self.ground.clone(), name, job)?);
        if running.job.lock().source.is_empty() {
            return Err(BridgeError::Invalid(
                "the source is missing: give --from HOST:PORT".into(),
            ));
        }
        if let Some(before) = before {
            before.stop.cancel();
        }
        running.unsaved.store(true, Ordering::Release);
        running.save().await.map_err(BridgeError::Storage)?;
        running.begin();
        self.jobs.lock().insert(name.into(), running);
        Ok(())
    }

    /// Compares copies with their sources: a report.
    ///
    /// # Errors
    /// What cannot be compared.
    pub async fn verify(
        &self,
        name: &str,
        topics: &[String],
    ) -> Result<serde_json::Value, BridgeError> {
        verify::verify(&self.job(name)?, topics).await
    }

    /// Makes copies topics that clients write: what was done.
    ///
    /// # Errors
    /// A source that is not quiet, or anything else in the way.
    pub async fn promote(
        &self,
        name: &str,
        promotion: &Promotion,
    ) -> Result<serde_json::Value, BridgeError> {
        promote::promote(&self.job(name)?, promotion).await
    }

    /// Has a job rest; `run` goes on.
    ///
    /// # Errors
    /// No such job, or a store that does not take writes.
    pub async fn pause(&self, name: &str) -> Result<(), BridgeError> {
        let running = self.job(name)?;
        running.stop.cancel();
        running.change_job(|job| job.paused = true);
        running.save().await.map_err(BridgeError::Storage)
    }
}

impl Running {
    fn new(ground: Ground, name: &str, job: Job) -> Result<Self, BridgeError> {
        let mut properties = read_properties(job.properties.as_deref())?;
        if properties.client_id.is_empty() {
            properties.client_id = "trestle-bridge".into();
        }
        let mut job = job;
        if job.source.is_empty()
            && let Some(bootstrap) = &properties.bootstrap
        {
            job.source.clone_from(bootstrap);
        }
        Ok(Self {
            name: name.into(),
            selection: Selection::new(&job.topics, &job.exclude)?,
            bucket: Mutex::new(job.limit.map(Bucket::new)),
            stop: ground.env.stopping().child_token(),
            ground,
            job: Mutex::new(job),
            unsaved: AtomicBool::new(false),
            properties,
            brokers: Mutex::default(),
            tracks: RwLock::default(),
            trouble: Mutex::default(),
            troubles: Mutex::default(),
            notes: Mutex::default(),
            groups: Mutex::default(),
            groups_trouble: Mutex::default(),
            nudge: Notify::new(),
        })
    }

    /// Starts the tasks, unless it rests or the store is another's.
    fn begin(self: &Arc<Self>) {
        if self.job.lock().paused || self.ground.store.is_read_only() {
            return;
        }
        let env = &self.ground.env;
        env.spawn("bridge", supervise::supervise(self.clone()));
        env.spawn("bridge groups", groups::follow(self.clone()));
    }

    fn image(&self) -> Arc<Image> {
        self.ground.metadata.image()
    }

    fn tracks(&self) -> Vec<Arc<Track>> {
        self.tracks.read().values().cloned().collect()
    }

    fn tracked_topics(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .tracks
            .read()
            .keys()
            .map(|(topic, _)| topic.clone())
            .collect();
        names.dedup();
        names
    }

    fn tracks_of(&self, topic: &str) -> Vec<Arc<Track>> {
        let tracks = self.tracks.read();
        let from = (topic.to_owned(), 0);
        let own = tracks
            .range(from..)
            .take_while(|((name, _), _)| name == topic);
        own.map(|(_, track)| track.clone()).collect()
    }

    /// Opens the partitions of `topic` that are not followed yet.
    async fn track_topic(&self, topic: &Topic) -> Result<(), String> {
        for index in (0..).take(topic.partitions.len()) {
            let place = (topic.name.to_string(), index);
            if self.tracks.read().contains_key(&place) {
                continue;
            }
            let opened = self.ground.partitions.get(topic, index).await;
            let opened = opened.map_err(|error| error.to_string())?;
            let partition = opened.ok_or("the topic has no such partition")?;
            let track = Track::new(place.clone(), topic.id, partition);
            let failed = self.job.lock().failed.get(&key_of(&place)).cloned();
            if let Some(why) = failed {
                track.progress.lock().phase = Phase::Failed(why);
            }
            self.tracks.write().insert(place, Arc::new(track));
        }
        Ok(())
    }

    /// Takes in the leader epochs of the source.
    fn epochs(&self, topic: &str, source: &SourceTopic) {
        for track in self.tracks_of(topic) {
            let index = usize::try_from(track.index()).unwrap_or(usize::MAX);
            if let Some(partition) = source.partitions.get(index) {
                track.progress.lock().source_epoch = partition.epoch;
            }
        }
    }

    /// Keeps the epoch that clients are told of above `epoch`.
    async fn raise_epoch(&self, track: &Track, epoch: i32) -> Result<(), AppendError> {
        let index = usize::try_from(track.index()).unwrap_or(0);
        let mut bases = vec![i32::MIN; index];
        bases.push(epoch);
        let change = MirrorChange::RaiseEpochs(track.topic_id, bases);
        let raised = self.ground.metadata.mirror(change).await;
        raised.map_err(|error| AppendError::Storage(error.to_string().into()))?;
        let latest = || self.image();
        self.ground.partitions.follow(&self.image(), latest);
        Ok(())
    }

    /// A partition cannot be copied on.
    fn fail(&self, track: &Track, why: &str) {
        {
            let mut progress = track.progress.lock();
            if matches!(progress.phase, Phase::Failed(_) | Phase::Promoted) {
                return;
            }
            progress.phase = Phase::Failed(why.into());
        }
        tracing::error!(job = &*self.name, place = ?track.place, why, "a partition is not copied on");
        self.change_job(|job| {
            job.failed.insert(key_of(&track.place), why.into());
        });
    }

    fn fail_topic(&self, topic: &str, why: &str) {
        for track in self.tracks_of(topic) {
            self.fail(&track, why);
        }
    }

    /// The topic is written by clients.
    fn promoted(&self, topic: &str) {
        for track in self.tracks_of(topic) {
            track.progress.lock().phase = Phase::Promoted;
        }
        self.troubles.lock().remove(topic);
    }

    fn trouble_of(&self, topic: &str, why: Option<Stuck>) {
        let mut troubles = self.troubles.lock();
        match why {
            Some(why) => troubles.insert(topic.into(), why),
            None => troubles.remove(topic),
        };
    }

    fn note(&self, topic: &str, note: Option<String>) {
        let mut notes = self.notes.lock();
        match note {
            Some(note) => notes.insert(topic.into(), note),
            None => notes.remove(topic),
        };
    }

    /// The settings of the source's topic that can be had here; notes those that cannot.
    fn taken_over(
        &self,
        topic: &str,
        configs: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let image = self.image();
        let (taken, left) = supervise::settings_taken_over(configs, &image.config);
        let note =
            (!left.is_empty()).then(|| format!("settings not taken over: {}", left.join(", ")));
        self.note(topic, note);
        taken
    }

    fn change_job(&self, change: impl FnOnce(&mut Job)) {
        change(&mut self.job.lock());
        self.unsaved.store(true, Ordering::Release);
    }

    /// Stores the job, if it has changed.
    async fn save(&self) -> Result<(), String> {
        if !self.unsaved.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let value = self.job.lock().encode();
        let mut write_set = WriteSet::new();
        write_set.put_row(Job::key(&self.name), value);
        let (send, done) = oneshot::channel();
        self.ground.store.commit(write_set, move |result| {
            // Who waits may have gone.
            let _ = send.send(result.map(drop));
        });
        let saved = match done.await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the store closed".into()),
        };
        if saved.is_err() {
            self.unsaved.store(true, Ordering::Release);
        }
        saved
    }
}

fn key_of((topic, index): &Place) -> String {
    format!("{topic}/{index}")
}
