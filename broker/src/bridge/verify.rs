//! Proves a copy: reads both sides from start to end and compares them, and the settings and group
//! offsets with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{
    Client, Connection, Fetcher, Limits, Place, SourceConfig, SourceError, Wanted, by_leader,
};
use super::compare::{Comparison, Side};
use super::groups::{self, client_of};
use super::track::{Phase, Track};
use super::{BridgeError, Running};
use crate::coordinator::group::commands::{Caller, Command, Fetch, Fetched, Reply};
use crate::partition::check_mirrored;
use crate::types::Offset;

/// Bytes read at a time, of either side.
const READ_BYTES: usize = 8 << 20;
/// How long the copy may take to come to where the source was.
const CATCH_UP: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const OFFSET_OUT_OF_RANGE: i16 = 1;

/// The recipes of the hashes, as they stand in a report.
const BATCH_RECIPE: &str = "sha256 over, for each batch in the order of offsets: base offset (8 bytes, big-endian), \
     last offset (8), CRC-32C of the batch (4); last offset is base offset + lastOffsetDelta";
const RECORD_RECIPE: &str = "sha256 over, for each record that the source still has, in the order of offsets: \
     offset (8 bytes, big-endian), timestamp (8), key, value, number of headers (4), and for each header its \
     key and value; a key or value is its length (4, -1 for null) and its bytes";

/// Compares `topics`, or all that the job copies, and returns the report.
pub(crate) async fn verify(
    running: &Arc<Running>,
    topics: &[String],
) -> Result<Value, BridgeError> {
    let known = running.tracked_topics();
    let wanted: Vec<String> = match topics.is_empty() {
        true => known,
        false => {
            if let Some(unknown) = topics.iter().find(|topic| !known.contains(topic)) {
                return Err(BridgeError::Invalid(format!(
                    "topic {unknown} is not copied by this job"
                )));
            }
            topics.to_vec()
        }
    };
    let env = &running.ground.env;
    let began = env.now();
    let mut client = client_of(running);
    let cluster = client.cluster(&wanted).await?;
    let places = cluster
        .topics
        .iter()
        .filter(|(name, _)| wanted.contains(name));
    let leaders = by_leader(places);
    let starts = client.starts(&leaders).await?;
    let ends = client.ends(&leaders).await?;
    let configs = client.configs(&wanted).await?;
    let mut work = Vec::new();
    for (leader, places) in &leaders {
        let connection = client.dial(*leader).await?;
        work.push(verify_from(
            running,
            (*leader, connection),
            places,
            &starts,
            &ends,
            &configs,
        ));
    }
    let mut partitions: BTreeMap<Place, Value> = BTreeMap::new();
    for found in futures::future::join_all(work).await {
        partitions.extend(found?);
    }
    for topic in &wanted {
        for track in running.tracks_of(topic) {
            partitions.entry(track.place.clone()).or_insert_with(|| {
                json!({ "partition": track.index(), "equal": false,
                    "difference": "the source does not have it, or nobody leads it there" })
            });
        }
    }
    let (groups, groups_equal) = verify_groups(running, &mut client, &wanted).await?;
    let mut report = Vec::new();
    let mut equal = groups_equal;
    let (mut records, mut bytes) = (0, 0);
    for topic in &wanted {
        let own: Vec<&Value> = partitions
            .iter()
            .filter(|((name, _), _)| name == topic)
            .map(|(_, value)| value)
            .collect();
        let complete = !own.is_empty() && own.iter().all(|one| one["equal"] == true);
        let settings = verify_settings(running, topic, configs.get(topic));
        equal &= complete && settings["equal"] == true;
        records += own
            .iter()
            .filter_map(|one| one["source"]["records"].as_u64())
            .sum::<u64>();
        bytes += own
            .iter()
            .filter_map(|one| one["source"]["bytes"].as_u64())
            .sum::<u64>();
        report.push(json!({
            "topic": topic, "equal": complete && settings["equal"] == true,
            "partitions": own, "configs": settings,
        }));
    }
    Ok(json!({
        "format": 1,
        "job": &*running.name,
        "source": running.job.lock().source,
        "source_cluster_id": cluster.id,
        "cluster_id": &*running.image().cluster_id,
        "at_ms": began,
        "took_ms": env.now() - began,
        "equal": equal,
        "records": records,
        "bytes": bytes,
        "hash_of_batches": BATCH_RECIPE,
        "hash_of_records": RECORD_RECIPE,
        "topics": report,
        "groups": groups,
    }))
}

type Ends = BTreeMap<Place, Result<Offset, i16>>;
type Configs = BTreeMap<String, Result<Vec<SourceConfig>, i16>>;

/// Compares the partitions that one broker leads, one after the other.
async fn verify_from(
    running: &Arc<Running>,
    (leader, connection): (i32, Connection),
    places: &[Place],
    starts: &Ends,
    ends: &Ends,
    configs: &Configs,
) -> Result<Vec<(Place, Value)>, SourceError> {
    let mut fetcher = Fetcher::new(connection);
    let mut client = client_of(running);
    let mut found = Vec::new();
    for place in places {
        let track = running.tracks.read().get(place).cloned();
        let Some(track) = track else {
            let missing =
                json!({ "partition": place.1, "equal": false, "difference": "it is not copied" });
            found.push((place.clone(), missing));
            continue;
        };
        let (start, end) = match (starts.get(place), ends.get(place)) {
            (Some(Ok(start)), Some(Ok(end))) => (*start, (*end).max(*start)),
            _ => {
                let why = "the source does not say where it starts and ends";
                let silent = json!({ "partition": place.1, "equal": false, "difference": why });
                found.push((place.clone(), silent));
                continue;
            }
        };
        let compacts = configs.get(&place.0).is_some_and(|configs| {
            let policy = |config: &&SourceConfig| config.name == "cleanup.policy";
            let configs = configs.as_ref().ok();
            let policy = configs.and_then(|configs| configs.iter().find(policy));
            policy
                .and_then(|policy| policy.value.as_deref())
                .is_some_and(|v| v.contains("compact"))
        });
        let mut reader = Reader {
            client: &mut client,
            leader,
            fetcher: &mut fetcher,
        };
        let value = verify_one(running, &mut reader, &track, (start, end), compacts).await?;
        found.push((place.clone(), value));
    }
    Ok(found)
}

/// Reads the source.
struct Reader<'a> {
    client: &'a mut Client,
    leader: i32,
    fetcher: &'a mut Fetcher,
}

async fn verify_one(
    running: &Arc<Running>,
    reader: &mut Reader<'_>,
    track: &Arc<Track>,
    (start, end): (Offset, Offset),
    compacts: bool,
) -> Result<Value, SourceError> {
    let fetcher = &mut *reader.fetcher;
    let index = track.index();
    let partition = &track.partition;
    let differs = |why: String| json!({ "partition": index, "equal": false, "difference": why });
    if let Err(why) = caught_up(running, track, end).await {
        return Ok(differs(why));
    }
    // What is here beyond where the source was must have come to it since.
    let here = partition.offsets().high_watermark;
    if here > end && track.progress.lock().phase != Phase::Promoted {
        let place = BTreeMap::from([(reader.leader, vec![track.place.clone()])]);
        let ends = reader.client.ends(&place).await?;
        if let Some(Ok(now)) = ends.get(&track.place)
            && *now < here
        {
            return Ok(differs(format!(
                "the copy ends at {here}, the source at {now}: it was cut back or lost"
            )));
        }
    }
    let own_start = partition.offsets().log_start;
    let mut comparison = match compacts {
        false => Comparison::of_batches(start),
        true => Comparison::of_records(start, running.ground.config.decompressed_batch_max_bytes),
    };
    if own_start > start && start < end {
        return Ok(differs(format!(
            "the copy starts at {own_start}, the source at {start}"
        )));
    }
    let limits = Limits {
        max_bytes: READ_BYTES as i32,
        partition_max_bytes: READ_BYTES as i32,
        wait: Duration::from_millis(100),
    };
    let mut source_start = start;
    loop {
        let (there, here) = comparison.read_to();
        if there >= end && here >= end {
            break;
        }
        let fetch = async {
            if there >= end || there > here {
                return Ok(Vec::new());
            }
            fetcher.want(
                track.place.clone(),
                Wanted {
                    offset: there,
                    last_epoch: -1,
                },
            );
            fetcher.fetch(limits).await
        };
        let read = async {
            match here < end && here <= there {
                true => partition.read(here, end, READ_BYTES).await,
                false => Ok(Vec::new()),
            }
        };
        let (fetched, read) = futures::future::join(fetch, read).await;
        let mut empty = true;
        for fetched in fetched?
            .into_iter()
            .filter(|fetched| fetched.place == track.place)
        {
            if fetched.error == OFFSET_OUT_OF_RANGE || fetched.log_start > there {
                // Retention has run at the source since.
                let place = BTreeMap::from([(reader.leader, vec![track.place.clone()])]);
                let starts = reader.client.starts(&place).await?;
                let from = match starts.get(&track.place) {
                    Some(Ok(from)) if *from > there => *from,
                    _ => return Ok(differs(format!("the source does not give offset {there}"))),
                };
                source_start = source_start.max(from);
                comparison.source_starts_at(from.min(end));
                empty = false;
                continue;
            }
            if fetched.error != 0 {
                let code = super::client::code_text(fetched.error);
                return Ok(differs(format!("the source says {code}")));
            }
            match check_mirrored(fetched.records) {
                Ok((mut batches, _)) => {
                    batches.retain(|batch| batch.header.base_offset < end);
                    empty &= batches.is_empty();
                    comparison.source(&batches);
                    // Compaction may have taken all that was at the end.
                    if batches.is_empty() && compacts && fetched.high_watermark >= end {
                        comparison.source_starts_at(there);
                    }
                }
                Err(error) => return Ok(differs(format!("the source sent {error}"))),
            }
        }
        match read {
            Ok(entries) => {
                let mut batches = Vec::with_capacity(entries.len());
                for entry in entries {
                    match check_mirrored(entry.payload) {
                        Ok((checked, None)) => batches.extend(checked),
                        Ok((_, Some(_))) => return Ok(differs("a stored batch is cut off".into())),
                        Err(error) => return Ok(differs(format!("the copy holds {error}"))),
                    }
                }
                empty &= batches.is_empty();
                comparison.copy(&batches);
            }
            Err(error) => return Ok(differs(format!("the copy cannot be read: {error}"))),
        }
        if empty && comparison.read_to() == (there, here) {
            // Nothing more on the side that is behind: a gap up to the end.
            break;
        }
    }
    comparison.finish();
    fetcher.drop(&track.place);
    let own = partition.offsets();
    let lost = track.progress.lock().lost;
    let mut notes = Vec::new();
    if own_start < start {
        notes.push(format!(
            "the source starts at {start}, the copy still has offsets from {own_start} on"
        ));
    }
    if source_start > start {
        notes.push(format!(
            "retention moved the source's start from {start} to {source_start} meanwhile"
        ));
    }
    if lost > 0 {
        notes.push(format!(
            "{lost} offsets went by retention at the source before they were copied"
        ));
    }
    if comparison.compacted > 0 {
        let more = comparison.compacted;
        notes.push(format!(
            "{more} records are here and were compacted away at the source"
        ));
    }
    Ok(json!({
        "partition": index,
        "equal": comparison.difference.is_none(),
        "difference": comparison.difference,
        "compared": if compacts { "records" } else { "batches" },
        "from": source_start,
        "to": end,
        "log_start": { "source": source_start, "copy": own.log_start },
        "source": side(&comparison.source),
        "copy": side(&comparison.copy),
        "explained": notes,
    }))
}

fn side(side: &Side) -> Value {
    json!({
        "first": side.first, "last": side.last, "batches": side.batches, "records": side.records,
        "gaps": side.gaps, "bytes": side.bytes, "sha256": side.hash(),
    })
}

/// Waits until the copy has come to `end`.
async fn caught_up(running: &Running, track: &Track, end: Offset) -> Result<(), String> {
    let env = &running.ground.env;
    let until = env.now() + CATCH_UP.as_millis() as i64;
    loop {
        let here = track.partition.offsets().high_watermark;
        if here >= end {
            return Ok(());
        }
        let phase = track.progress.lock().phase.clone();
        let why = match &phase {
            Phase::Failed(why) => Some(format!("it has failed: {why}")),
            _ if running.stop.is_cancelled() => Some("the job rests".into()),
            _ if env.now() >= until => Some("it does not catch up".into()),
            _ => None,
        };
        if let Some(why) = why {
            return Err(format!(
                "the copy ends at {here}, the source at {end}: {why}"
            ));
        }
        env.sleep(LOOK_AGAIN).await;
    }
}

fn verify_settings(
    running: &Running,
    topic: &str,
    configs: Option<&Result<Vec<SourceConfig>, i16>>,
) -> Value {
    let Some(Ok(configs)) = configs else {
        return json!({ "equal": false, "difference": "the source does not show its settings" });
    };
    let own: BTreeMap<String, String> = configs
        .iter()
        .filter(|config| config.own)
        .filter_map(|config| Some((config.name.clone(), config.value.clone()?)))
        .collect();
    let image = running.image();
    let Some(here) = image.topic(topic) else {
        return json!({ "equal": false, "difference": "the topic is not here" });
    };
    let (taken, left) = super::supervise::settings_taken_over(&own, &image.config);
    // A promoted topic is its owner's to change.
    let equal = taken == here.overrides || here.mirror.is_none();
    json!({ "equal": equal, "source": taken, "copy": here.overrides, "not_taken_over": left })
}

/// Takes the groups over once more, and compares.
async fn verify_groups(
    running: &Arc<Running>,
    client: &mut Client,
    topics: &[String],
) -> Result<(Value, bool), SourceError> {
    if !running.stop.is_cancelled() {
        groups::round(running, client).await?;
    }
    let (mut compared, mut all_equal) = (Vec::new(), true);
    for group in client.groups().await? {
        let committed = client.committed(&group).await?;
        let committed: Vec<_> = committed
            .into_iter()
            .filter(|offset| topics.contains(&offset.place.0))
            .collect();
        if committed.is_empty() {
            continue;
        }
        let state = running
            .groups
            .lock()
            .get(&group.id)
            .cloned()
            .unwrap_or_default();
        let fetch = Fetch {
            caller: Caller {
                group: group.id.as_str().into(),
                generation: -1,
                ..Caller::default()
            },
            topics: None,
            require_stable: false,
        };
        let here = match running.ground.groups.submit(Command::Fetch(fetch)).await {
            Ok(Reply::Fetched(Ok(here))) => here,
            _ => Vec::new(),
        };
        let own = |place: &Place| {
            let topic = here.iter().find(|(topic, _)| **topic == *place.0)?;
            let partition = topic.1.iter().find(|(index, _)| *index == place.1)?;
            match &partition.1 {
                Fetched::Offset(offset) => Some(offset),
                Fetched::Nothing | Fetched::Unstable => None,
            }
        };
        let mut differences = Vec::new();
        for there in &committed {
            let same = own(&there.place).is_some_and(|here| {
                // One that moved on between two looks is compared by the next run.
                here.offset == there.offset
                    && here.leader_epoch == there.epoch
                    && *here.metadata == *there.metadata
            });
            if !same {
                let (topic, index) = &there.place;
                let here = own(&there.place).map(|here| here.offset);
                differences.push(json!({ "topic": topic, "partition": index,
                    "source": there.offset, "copy": here }));
            }
        }
        let explained = state.reason.clone();
        let moving = !["Empty", "Dead", ""].contains(&group.state.as_str());
        let equal = differences.is_empty() || explained.is_some() || moving;
        all_equal &= equal;
        compared.push(json!({
            "group": group.id, "state_at_source": group.state, "offsets": committed.len(),
            "equal": equal, "differences": differences,
            "explained": explained.or_else(|| (moving && !differences.is_empty())
                .then(|| "it commits at the source while it is compared".into())),
        }));
    }
    Ok((Value::Array(compared), all_equal))
}
