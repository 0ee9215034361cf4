//! The task of a job: looks at the source again and again, makes topics and partitions here, decides
//! who copies what, and judges what went wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Cluster, Place, SourceError, SourceTopic, code_text};
use super::track::{Phase, Track};
use super::{Running, copy};
use crate::config::{Operations, Resource, check_topic_overrides};
use crate::metadata::{MetadataError, MirrorChange, NewMirror, NewPartitions, NewTopic, Topic};
use crate::types::{Offset, PartitionIndex};

/// How often the source is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Not more often than this, whatever happens.
const AT_MOST: Duration = Duration::from_millis(500);
/// How often settings of topics are compared.
const CONFIGS_EVERY_MS: i64 = 30_000;
/// Looks in a row at which a source ends before its copy, until that is believed.
const STRIKES: u32 = 2;
const TOPIC_DENIED: i16 = 29;

/// A running fetcher.
struct Copier {
    feed: watch::Sender<Arc<Vec<Arc<Track>>>>,
    stop: CancellationToken,
}

/// Runs the job until it is told to stop.
pub(super) async fn supervise(running: Arc<Running>) {
    let stop = running.stop.clone();
    let mut copiers: HashMap<i32, Copier> = HashMap::new();
    let env = running.ground.env.clone();
    let work = async {
        let mut client = Client::new(
            env.clone(),
            &running.job.lock().source.clone(),
            running.properties.clone(),
        );
        let mut configs_at = i64::MIN;
        loop {
            let with_configs = env.now().saturating_sub(configs_at) >= CONFIGS_EVERY_MS;
            match look(&running, &mut client, with_configs, &mut copiers).await {
                Ok(()) => {
                    if let Err(error) = running.save().await {
                        tracing::debug!(error, "a bridge job was not saved");
                    }
                    *running.trouble.lock() = None;
                    if with_configs {
                        configs_at = env.now();
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the source was not looked at");
                    client.forget();
                    *running.trouble.lock() = Some(error.to_string());
                }
            }
            env.sleep(AT_MOST).await;
            tokio::select! {
                () = env.sleep(LOOK) => {}
                () = running.nudge.notified() => {}
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
    for copier in copiers.values() {
        copier.stop.cancel();
    }
}

/// Why a topic is not copied.
#[derive(Clone, Debug)]
pub(super) enum Stuck {
    /// It goes on by itself when that has changed.
    Waits(String),
    /// It does not.
    Fails(String),
}

impl From<String> for Stuck {
    fn from(why: String) -> Self {
        Self::Waits(why)
    }
}

/// Why the settings of a topic are not shown.
fn unset(topic: &str, code: i16) -> String {
    match code {
        TOPIC_DENIED => format!(
            "the source denies its settings: the ACL DescribeConfigs on topic {topic} is missing"
        ),
        code => format!("the source says {} of its settings", code_text(code)),
    }
}

async fn look(
    running: &Arc<Running>,
    client: &mut Client,
    with_configs: bool,
    copiers: &mut HashMap<i32, Copier>,
) -> Result<(), SourceError> {
    // What is followed and not listed any more is asked for by name, too: it may be the right to see it
    // that has gone.
    let mut names = running.selection.names();
    names.extend(running.tracked_topics());
    let cluster = client.cluster(&names).await?;
    *running.brokers.lock() = client.addresses().clone();
    let wanted: BTreeMap<&String, &SourceTopic> = cluster
        .topics
        .iter()
        .filter(|(name, topic)| running.selection.takes(name, topic.internal))
        .collect();
    let new: Vec<String> = wanted
        .keys()
        .filter(|name| running.image().topic(name).is_none())
        .map(|name| (*name).clone())
        .collect();
    let configs = match with_configs {
        true => {
            client
                .configs(
                    &wanted
                        .keys()
                        .map(|name| (*name).clone())
                        .collect::<Vec<_>>(),
                )
                .await
        }
        false if new.is_empty() => Ok(BTreeMap::new()),
        false => client.configs(&new).await,
    };
    let configs = configs?;
    for (name, topic) in &wanted {
        let own: Option<BTreeMap<String, String>> = match configs.get(*name) {
            Some(Ok(configs)) => Some(
                configs
                    .iter()
                    .filter(|config| config.own)
                    .filter_map(|config| Some((config.name.clone(), config.value.clone()?)))
                    .collect(),
            ),
            Some(Err(code)) => {
                let why = unset(name, *code);
                running.note(name, Some(format!("settings do not follow: {why}")));
                None
            }
            None => None,
        };
        let settled = match (&own, configs.get(*name)) {
            (None, Some(Err(code)))
                if topic.error == 0 && running.image().topic(name).is_none() =>
            {
                Err(Stuck::Waits(unset(name, *code)))
            }
            _ => settle_topic(running, name, topic, own.as_ref()).await,
        };
        running.trouble_of(name, settled.err());
    }
    for name in running.tracked_topics() {
        if !cluster.topics.contains_key(&name) {
            running.fail_topic(&name, "the topic is not at the source any more");
        }
    }
    judge(running, client, &cluster).await?;
    distribute(running, &cluster, copiers);
    Ok(())
}

/// Sees to it that a topic is here as it is at the source.
async fn settle_topic(
    running: &Arc<Running>,
    name: &str,
    source: &SourceTopic,
    configs: Option<&BTreeMap<String, String>>,
) -> Result<(), Stuck> {
    if source.error != 0 {
        let why = match source.error {
            TOPIC_DENIED => {
                format!("the source denies it: the ACL Describe on topic {name} is missing")
            }
            code => format!("the source says {}", code_text(code)),
        };
        running
            .tracks_of(name)
            .iter()
            .for_each(|track| track.wait(&why));
        return Err(Stuck::Waits(why));
    }
    let image = running.image();
    let known = image.topic(name).cloned();
    let made = running.job.lock().made.contains(name);
    let topic = match known {
        Some(topic) if topic.mirror.as_deref() == Some(&*running.name) => {
            if !made {
                running.change_job(|job| {
                    job.made.insert(name.to_owned());
                });
            }
            topic
        }
        Some(topic) if made => {
            running.track_topic(&topic).await?;
            running.promoted(name);
            return Ok(());
        }
        Some(_) => {
            let why = "a topic of this name is here already, and is not a copy";
            return Err(Stuck::Waits(why.into()));
        }
        None if made => {
            running.fail_topic(name, "the topic was deleted here");
            let why = "the topic was deleted here; trestle bridge run copies it anew";
            return Err(Stuck::Fails(why.into()));
        }
        None => create(running, name, source, configs).await?,
    };
    if source.id.is_some_and(|id| id != topic.id) && !running.job.lock().without_ids.contains(name)
    {
        let why = "the topic was deleted and made anew at the source: its id has changed";
        running.track_topic(&topic).await?;
        running.fail_topic(name, why);
        return Err(Stuck::Fails(why.into()));
    }
    let topic = extend(running, topic, source).await?;
    let bases: Vec<i32> = source
        .partitions
        .iter()
        .map(|partition| partition.epoch)
        .collect();
    let behind = topic
        .partitions
        .iter()
        .zip(&bases)
        .any(|(partition, epoch)| running.ground.placement.leader_epoch(partition).0 <= *epoch);
    if behind {
        let change = MirrorChange::RaiseEpochs(topic.id, bases);
        running
            .ground
            .metadata
            .mirror(change)
            .await
            .map_err(|error| error.to_string())?;
    }
    if let Some(configs) = configs {
        configure(running, &topic, configs).await?;
    }
    running.track_topic(&topic).await?;
    running.epochs(name, source);
    Ok(())
}

async fn create(
    running: &Arc<Running>,
    name: &str,
    source: &SourceTopic,
    configs: Option<&BTreeMap<String, String>>,
) -> Result<Arc<Topic>, String> {
    let Some(configs) = configs else {
        return Err("its settings are not known yet".into());
    };
    let count = i32::try_from(source.partitions.len()).unwrap_or(i32::MAX);
    let replicas = source
        .partitions
        .iter()
        .map(|partition| partition.replicas)
        .max();
    let mut new = NewTopic {
        name: name.into(),
        partitions: Some(count),
        replication_factor: replicas.and_then(|replicas| i16::try_from(replicas).ok()),
        assignments: Vec::new(),
        overrides: running
            .taken_over(name, configs)
            .into_iter()
            .map(|(n, v)| (n, Some(v)))
            .collect(),
    };
    // Remembered before it is made: what was made and is gone was deleted.
    let mirror = |topic: &NewTopic| {
        MirrorChange::Create(NewMirror {
            topic: topic.clone(),
            id: source.id,
            job: running.name.clone(),
            epoch_bases: source
                .partitions
                .iter()
                .map(|partition| partition.epoch.max(0))
                .collect(),
        })
    };
    let mut made = running.ground.metadata.mirror(mirror(&new)).await;
    if let Err(MetadataError::InvalidReplicationFactor { .. }) = made {
        new.replication_factor = None;
        made = running.ground.metadata.mirror(mirror(&new)).await;
    }
    let topic = made.map_err(|error| error.to_string())?;
    let without_id = source.id.is_none();
    running.change_job(|job| {
        job.made.insert(name.to_owned());
        if without_id {
            job.without_ids.insert(name.to_owned());
        }
    });
    running.save().await?;
    tracing::info!(
        topic = name,
        partitions = count,
        "the bridge has made a topic"
    );
    Ok(topic)
}

async fn extend(
    running: &Arc<Running>,
    topic: Arc<Topic>,
    source: &SourceTopic,
) -> Result<Arc<Topic>, Stuck> {
    let (here, there) = (topic.partitions.len(), source.partitions.len());
    if there < here {
        let why = "the source has fewer partitions than it had";
        running.fail_topic(&topic.name, why);
        return Err(Stuck::Fails(why.into()));
    }
    if there == here {
        return Ok(topic);
    }
    let new = NewPartitions {
        topic: topic.name.to_string(),
        count: i32::try_from(there).unwrap_or(i32::MAX),
        assignments: None,
    };
    let bases = source.partitions[here..]
        .iter()
        .map(|partition| partition.epoch.max(0));
    let change = MirrorChange::Extend(new, bases.collect());
    running
        .ground
        .metadata
        .mirror(change)
        .await
        .map_err(|error| error.to_string().into())
}

async fn configure(
    running: &Arc<Running>,
    topic: &Topic,
    configs: &BTreeMap<String, String>,
) -> Result<(), String> {
    let wanted = running.taken_over(&topic.name, configs);
    if wanted == topic.overrides {
        return Ok(());
    }
    let change = (
        Resource::Topic(topic.name.to_string()),
        Operations::Replace(wanted),
    );
    let settled = running.ground.metadata.configure(vec![change], false).await;
    settled
        .into_iter()
        .try_for_each(|settled| settled.map_err(|error| error.to_string()))
}

/// The settings that can be taken over, and a word about those that cannot.
pub(super) fn settings_taken_over(
    configs: &BTreeMap<String, String>,
    config: &crate::config::Config,
) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut taken, mut left) = (BTreeMap::new(), Vec::new());
    for (name, value) in configs {
        let one = BTreeMap::from([(name.clone(), value.clone())]);
        match check_topic_overrides(&one, config) {
            Ok(checked) => taken.extend(checked),
            Err(_) => left.push(name.clone()),
        }
    }
    // Together they may contradict each other where one alone does not.
    if check_topic_overrides(&taken, config).is_err() {
        left.extend(taken.keys().cloned());
        taken.clear();
    }
    (taken, left)
}

/// Asks where partitions start and end, and decides about those that went wrong.
async fn judge(
    running: &Arc<Running>,
    client: &mut Client,
    cluster: &Cluster,
) -> Result<(), SourceError> {
    let tracks = running.tracks();
    let mut leaders: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
    for track in &tracks {
        let asks = {
            let progress = track.progress.lock();
            let open = !matches!(progress.phase, Phase::Failed(_) | Phase::Promoted);
            open && (progress.held || progress.source.is_none())
        };
        let topic = cluster.topics.get(&track.place.0);
        // What is wrong with the whole topic has been said.
        if topic.is_some_and(|topic| topic.error != 0) {
            continue;
        }
        let partition = topic.and_then(|topic| topic.partitions.get(at(track.index())));
        match partition.and_then(|partition| partition.leader) {
            Some(leader) if asks => leaders.entry(leader).or_default().push(track.place.clone()),
            Some(_) => {}
            None => track.wait("the source has no leader for it"),
        }
    }
    if leaders.is_empty() {
        return Ok(());
    }
    let starts = client.starts(&leaders).await?;
    let ends = client.ends(&leaders).await?;
    for track in &tracks {
        let (Some(start), Some(end)) = (starts.get(&track.place), ends.get(&track.place)) else {
            continue;
        };
        match (start, end) {
            (Ok(start), Ok(end)) => judge_one(running, track, *start, (*end).max(*start)).await,
            (Err(code), _) | (_, Err(code)) => {
                let topic = &track.place.0;
                track.wait(&match *code {
                    TOPIC_DENIED => {
                        format!(
                            "the source denies it: the ACL Describe on topic {topic} is missing"
                        )
                    }
                    code => format!("the source says {}", code_text(code)),
                });
            }
        }
    }
    Ok(())
}

fn at(index: PartitionIndex) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

async fn judge_one(running: &Arc<Running>, track: &Arc<Track>, start: Offset, end: Offset) {
    let now = running.ground.env.now();
    if let Err(error) = track.partition.prepare(now).await {
        track.wait(&error.to_string());
        return;
    }
    let (own_end, _) = track.partition.mirror_end();
    if own_end > end {
        let strikes = {
            let mut progress = track.progress.lock();
            progress.strikes += 1;
            progress.strikes
        };
        if strikes >= STRIKES {
            let why = format!(
                "the source's log ends at {end}, and {own_end} was copied: it was cut back or lost"
            );
            running.fail(track, &why);
        } else {
            track.wait("the source seems to end before its copy; it is asked again");
            running.nudge.notify_one();
        }
        return;
    }
    if own_end < start {
        let own_start = track.partition.offsets().log_start;
        // What was never begun has lost nothing.
        let lost = if own_end > own_start {
            start - own_end
        } else {
            0
        };
        if start == end {
            let expiration_ms = running.ground.config.producer_id_expiration_ms;
            if let Err(error) = track
                .partition
                .mirror_start(start, now, expiration_ms)
                .await
            {
                track.wait(&error.to_string());
                return;
            }
        }
        if lost > 0 {
            tracing::warn!(
                place = ?track.place, lost,
                "the source's retention took offsets before they were copied"
            );
        }
        track.progress.lock().lost += lost;
    }
    let mut progress = track.progress.lock();
    progress.source = Some((start, end));
    progress.next = (own_end < start).then_some(start);
    if progress.held && own_end >= start {
        // It is in range; what the source does not know is the epoch.
        progress.tells_epoch = false;
    }
    progress.held = false;
    progress.strikes = 0;
    if !matches!(progress.phase, Phase::Failed(_) | Phase::Promoted) {
        progress.phase = match own_end.max(start) >= end {
            true => Phase::Following,
            false => Phase::Copying,
        };
    }
}

/// Gives every partition to the fetcher of its leader.
fn distribute(running: &Arc<Running>, cluster: &Cluster, copiers: &mut HashMap<i32, Copier>) {
    let mut shares: HashMap<i32, Vec<Arc<Track>>> = HashMap::new();
    for track in running.tracks() {
        let topic = cluster.topics.get(&track.place.0);
        let partition = topic.and_then(|topic| topic.partitions.get(at(track.index())));
        if let Some(leader) = partition.and_then(|partition| partition.leader)
            && track.is_wanted()
        {
            shares.entry(leader).or_default().push(track);
        }
    }
    for (leader, copier) in copiers.iter() {
        if !shares.contains_key(leader) {
            copier.feed.send_replace(Arc::default());
        }
    }
    for (leader, share) in shares {
        let copier = copiers.entry(leader).or_insert_with(|| {
            let (feed, fed) = watch::channel(Arc::default());
            let stop = running.stop.child_token();
            let copying = copy::copy(running.clone(), leader, fed, stop.clone());
            running.ground.env.spawn("bridge fetcher", copying);
            Copier { feed, stop }
        });
        let same = {
            let known = copier.feed.borrow();
            known.len() == share.len() && known.iter().zip(&share).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let mut left = false;
        for track in &share {
            left |= std::mem::take(&mut track.progress.lock().left);
        }
        if left || !same {
            copier.feed.send_replace(Arc::new(share));
        }
    }
}
