//! Promotion: a mirrored topic becomes one that clients write, at the exact offset where the source
//! ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Place, by_leader};
use super::groups::{self, client_of};
use super::track::{Phase, Track};
use super::{BridgeError, Running};
use crate::metadata::MirrorChange;
use crate::partition::{AppendError, Marker, MirrorError};
use crate::types::{Offset, ProducerEpoch};

/// Between looks at the source.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The topics.
    pub topics: Vec<String>,
    /// How long the source's ends must not have moved.
    pub quiet: Duration,
    /// How long to wait for that.
    pub wait: Duration,
    /// Whether open transactions are aborted here.
    pub abort_open: bool,
    /// Promotes although the source takes writes, or cannot be reached: what is not here yet stays there.
    pub force: bool,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// A transaction that is open in the copy.
struct Open {
    place: Place,
    producer: i64,
    epoch: i16,
    coordinator_epoch: i32,
    since: Offset,
}

/// Promotes topics, and says what came of it.
pub(crate) async fn promote(
    running: &Arc<Running>,
    promotion: &Promotion,
) -> Result<Value, BridgeError> {
    if promotion.topics.is_empty() {
        return Err(BridgeError::Invalid("name the topics to promote".into()));
    }
    let mut tracks = Vec::new();
    for topic in &promotion.topics {
        let own = running.tracks_of(topic);
        let image = running.image();
        let mirrored = image
            .topic(topic)
            .is_some_and(|topic| topic.mirror.is_some());
        if own.is_empty() || !mirrored {
            let why = format!("topic {topic} is not a copy of this job, or is promoted already");
            return Err(BridgeError::Invalid(why));
        }
        tracks.extend(own);
    }
    for track in &tracks {
        let phase = track.progress.lock().phase.clone();
        if let Phase::Failed(why) = phase
            && !promotion.force
        {
            let (topic, index) = &track.place;
            let why = format!(
                "partition {topic}/{index} has failed: {why}; --force promotes what is here"
            );
            return Err(BridgeError::Refused(why));
        }
    }
    let quiet = until_quiet(running, &tracks, promotion).await;
    let mut exactly = true;
    let ends = match quiet {
        Ok(ends) => ends,
        Err(_) if promotion.force => {
            exactly = false;
            own_ends(running, &tracks).await?
        }
        Err(why) => return Err(BridgeError::Refused(why)),
    };
    let open = open_transactions(running, &tracks).await?;
    if !open.is_empty() && !promotion.abort_open {
        let named: Vec<String> = open
            .iter()
            .map(|open| {
                let (topic, index) = &open.place;
                let (producer, since) = (open.producer, open.since);
                format!("producer {producer} in {topic}/{index} since offset {since}")
            })
            .collect();
        return Err(BridgeError::Refused(format!(
            "transactions are open: {}; end them at the source, or give --abort-open to abort them here",
            named.join(", ")
        )));
    }
    let mut done = Vec::new();
    for topic in &promotion.topics {
        let own: Vec<&Arc<Track>> = tracks
            .iter()
            .filter(|track| track.place.0 == *topic)
            .collect();
        if !promotion.dry_run {
            promote_one(running, topic, &own, &ends, exactly).await?;
            abort(running, &own, &open).await?;
        }
        let partitions: Vec<Value> = own
            .iter()
            .map(|track| {
                let next = ends.get(&track.place).copied();
                let here = match promotion.dry_run {
                    true => track.partition.offsets().high_watermark,
                    false => track.partition.mirror_end().0,
                };
                let there = next.filter(|_| exactly);
                json!({ "partition": track.index(), "source_end": there, "next_offset": here })
            })
            .collect();
        done.push(json!({ "topic": topic, "partitions": partitions }));
    }
    if !promotion.dry_run {
        // Where groups stand now is where their members go on.
        let mut client = client_of(running);
        if let Err(error) = groups::round(running, &mut client).await {
            tracing::warn!(%error, "groups were not taken over once more");
        }
    }
    let aborted: Vec<Value> = open
        .iter()
        .map(|open| {
            json!({ "topic": open.place.0, "partition": open.place.1, "producer_id": open.producer,
                "since": open.since })
        })
        .collect();
    Ok(json!({
        "dry_run": promotion.dry_run,
        "promoted": done,
        "aborted": aborted,
    }))
}

/// Where the copies end.
async fn own_ends(
    running: &Running,
    tracks: &[Arc<Track>],
) -> Result<BTreeMap<Place, Offset>, BridgeError> {
    let mut ends = BTreeMap::new();
    for track in tracks {
        let prepared = track.partition.prepare(running.ground.env.now()).await;
        prepared.map_err(|error| BridgeError::Storage(error.to_string()))?;
        ends.insert(track.place.clone(), track.partition.mirror_end().0);
    }
    Ok(ends)
}

/// Waits until the source's ends have not moved for a while and everything is here; the ends.
async fn until_quiet(
    running: &Arc<Running>,
    tracks: &[Arc<Track>],
    promotion: &Promotion,
) -> Result<BTreeMap<Place, Offset>, String> {
    let env = &running.ground.env;
    let mut client = client_of(running);
    let until = env.now() + millis(promotion.wait) + millis(promotion.quiet);
    let mut known: Option<(BTreeMap<Place, Offset>, i64)> = None;
    loop {
        let ends = source_ends(&mut client, tracks).await?;
        let now = env.now();
        match &known {
            Some((before, _)) if *before == ends => {}
            _ => known = Some((ends.clone(), now)),
        }
        let since = known.as_ref().map_or(now, |(_, since)| *since);
        let behind = tracks.iter().find(|track| {
            let end = ends.get(&track.place).copied().unwrap_or(Offset::MAX);
            track.partition.offsets().high_watermark != end
        });
        if now - since >= millis(promotion.quiet) && behind.is_none() {
            return Ok(ends);
        }
        if now >= until {
            return Err(match behind {
                Some(track) => {
                    let (topic, index) = &track.place;
                    let here = track.partition.offsets().high_watermark;
                    let there = ends.get(&track.place).copied().unwrap_or(-1);
                    format!(
                        "partition {topic}/{index} ends at {here} here and at {there} at the source: it is \
                         not drained; see trestle bridge status"
                    )
                }
                None => "the source still takes writes; stop its producers, or give --force".into(),
            });
        }
        env.sleep(LOOK_AGAIN).await;
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

async fn source_ends(
    client: &mut Client,
    tracks: &[Arc<Track>],
) -> Result<BTreeMap<Place, Offset>, String> {
    let asked = async {
        let cluster = client.cluster(&[]).await?;
        let topics = cluster
            .topics
            .iter()
            .filter(|(name, _)| tracks.iter().any(|track| track.place.0 == **name));
        client.ends(&by_leader(topics)).await
    };
    let ends = asked
        .await
        .map_err(|error| format!("the source: {error}"))?;
    let mut own = BTreeMap::new();
    for track in tracks {
        let (topic, index) = &track.place;
        match ends.get(&track.place) {
            Some(Ok(end)) => own.insert(track.place.clone(), *end),
            Some(Err(code)) => {
                let code = super::client::code_text(*code);
                return Err(format!("the source says {code} of {topic}/{index}"));
            }
            None => return Err(format!("nobody leads {topic}/{index} at the source")),
        };
    }
    Ok(own)
}

async fn open_transactions(
    running: &Running,
    tracks: &[Arc<Track>],
) -> Result<Vec<Open>, BridgeError> {
    let mut open = Vec::new();
    for track in tracks {
        let producers = track
            .partition
            .active_producers(running.ground.env.now())
            .await;
        for producer in producers.map_err(|error| BridgeError::Storage(error.to_string()))? {
            if let Some(since) = producer.open_since {
                open.push(Open {
                    place: track.place.clone(),
                    producer: producer.id.0,
                    epoch: producer.epoch.0,
                    coordinator_epoch: producer.coordinator_epoch,
                    since,
                });
            }
        }
    }
    Ok(open)
}

/// Seals all partitions at their ends, and only then says that clients write the topic. Not `exactly` there is
/// where they are when it comes to it.
async fn promote_one(
    running: &Arc<Running>,
    topic: &str,
    tracks: &[&Arc<Track>],
    ends: &BTreeMap<Place, Offset>,
    exactly: bool,
) -> Result<(), BridgeError> {
    let now = running.ground.env.now();
    let mut sealed = Vec::new();
    let mut refused = None;
    for track in tracks {
        let end = ends.get(&track.place).copied().unwrap_or(-1);
        let mut seal = track.partition.seal(end, now).await;
        while let (false, Err(MirrorError::Overlap { end, .. })) = (exactly, &seal) {
            seal = track.partition.seal(*end, now).await;
        }
        match seal {
            Ok(()) => sealed.push(*track),
            Err(MirrorError::Overlap { end: here, .. }) => {
                let (name, index) = &track.place;
                refused = Some(format!(
                    "partition {name}/{index} moved on to {here} while it was promoted at {end}"
                ));
                break;
            }
            Err(error) => {
                refused = Some(error.to_string());
                break;
            }
        }
    }
    if refused.is_none() {
        let change = MirrorChange::Promote(tracks[0].topic_id);
        match running.ground.metadata.mirror(change).await {
            Ok(_) => {
                let latest = || running.image();
                running.ground.partitions.follow(&running.image(), latest);
                running.promoted(topic);
                running.nudge.notify_one();
                tracing::info!(topic, "the topic is promoted");
                return Ok(());
            }
            Err(error) => refused = Some(error.to_string()),
        }
    }
    sealed.iter().for_each(|track| track.partition.unseal());
    Err(BridgeError::Refused(refused.unwrap_or_default()))
}

/// Ends the transactions that are open, here only.
async fn abort(
    running: &Running,
    tracks: &[&Arc<Track>],
    open: &[Open],
) -> Result<(), BridgeError> {
    let expiration_ms = running.ground.config.producer_id_expiration_ms;
    for open in open {
        let Some(track) = tracks.iter().find(|track| track.place == open.place) else {
            continue;
        };
        let marker = Marker {
            producer_id: crate::types::ProducerId(open.producer),
            producer_epoch: ProducerEpoch(open.epoch),
            committed: false,
            coordinator_epoch: open.coordinator_epoch.max(0),
        };
        let now = running.ground.env.now();
        let marked = async {
            track.partition.prepare(now).await?;
            match track.partition.append_marker(marker, now, expiration_ms)? {
                Some(receipt) => receipt.durable().await,
                None => Ok(()),
            }
        };
        marked
            .await
            .map_err(|error: AppendError| BridgeError::Storage(error.to_string()))?;
    }
    Ok(())
}
