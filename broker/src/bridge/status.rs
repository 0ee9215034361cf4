//! What is known of a job, as values that are shown as text, JSON or metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::Running;
use super::supervise::Stuck;
use super::track::{Phase, Track};
use crate::types::{Offset, PartitionIndex};

/// A job.
#[derive(Clone, Debug, Serialize)]
pub struct JobStatus {
    /// Its name.
    pub job: String,
    /// Addresses of the source.
    pub source: String,
    /// RUNNING or PAUSED.
    pub state: &'static str,
    /// Why the source cannot be reached.
    pub trouble: Option<String>,
    /// Most bytes a second.
    pub limit: Option<u64>,
    /// Bytes a second now.
    pub bytes_per_second: u64,
    /// Bytes copied since the broker started.
    pub bytes: u64,
    /// Records, likewise.
    pub records: u64,
    /// Offsets that are not here yet.
    pub lag: Offset,
    /// Partitions by state.
    pub partitions: BTreeMap<&'static str, usize>,
    /// The topics.
    pub topics: Vec<TopicStatus>,
    /// Groups whose offsets are here.
    pub groups_synced: usize,
    /// Why groups are not taken over, or not all.
    pub groups_trouble: Option<String>,
    /// Groups whose offsets are not, and why.
    pub groups_not_synced: BTreeMap<String, String>,
}

/// A topic.
#[derive(Clone, Debug, Serialize)]
pub struct TopicStatus {
    /// Its name.
    pub topic: String,
    /// The worst state among its partitions.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// What is worth knowing.
    pub note: Option<String>,
    /// Offsets that are not here yet.
    pub lag: Offset,
    /// How old the last record here is, while there is something to copy.
    pub lag_seconds: f64,
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// Seconds until the copy has caught up, at this rate.
    pub seconds_left: Option<u64>,
    /// How much of what the source has is here, in percent of the offsets.
    pub percent: f64,
    /// Its partitions.
    pub partitions: Vec<PartitionStatus>,
}

/// A partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionStatus {
    /// Its index.
    pub partition: PartitionIndex,
    /// Its state.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// Where the copy starts.
    pub start: Offset,
    /// Where it ends.
    pub end: Offset,
    /// Where the source starts.
    pub source_start: Option<Offset>,
    /// Where it ends.
    pub source_end: Option<Offset>,
    /// Offsets that are not here yet.
    pub lag: Option<Offset>,
    /// How old the last record here is, while there is something to copy.
    pub lag_seconds: f64,
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// Offsets that went at the source before they were copied.
    pub lost_to_retention: Offset,
}

/// The states from the worst to the best.
const WORST_FIRST: [&str; 5] = ["FAILED", "WAITING", "COPYING", "FOLLOWING", "PROMOTED"];

impl Running {
    /// How the job stands.
    pub(crate) fn status(&self) -> JobStatus {
        let now = self.ground.env.now();
        let mut by_topic: BTreeMap<String, Vec<Arc<Track>>> = BTreeMap::new();
        for track in self.tracks() {
            by_topic
                .entry(track.place.0.clone())
                .or_default()
                .push(track);
        }
        let troubles = self.troubles.lock().clone();
        for topic in troubles.keys() {
            by_topic.entry(topic.clone()).or_default();
        }
        let (mut bytes, mut records, mut rate) = (0, 0, 0.0);
        let mut states = BTreeMap::new();
        let mut topics = Vec::with_capacity(by_topic.len());
        for (name, tracks) in by_topic {
            let mut partitions = Vec::with_capacity(tracks.len());
            let (mut byte_rate, mut record_rate, mut have, mut want) = (0.0, 0.0, 0, 0);
            for track in &tracks {
                bytes += track.bytes.load(Ordering::Relaxed);
                records += track.records.load(Ordering::Relaxed);
                let (of_bytes, of_records) = track.rate(now);
                byte_rate += of_bytes;
                record_rate += of_records;
                let partition = partition_status(track, of_bytes, now);
                *states.entry(partition.state).or_insert(0) += 1;
                if let (Some(start), Some(end)) = (partition.source_start, partition.source_end) {
                    want += end - start;
                    have += (partition.end.min(end) - start).max(0);
                }
                partitions.push(partition);
            }
            rate += byte_rate;
            let rank = |state: &str| WORST_FIRST.iter().position(|known| *known == state);
            let worst = partitions
                .iter()
                .min_by_key(|partition| rank(partition.state));
            let (otherwise, trouble) = match troubles.get(&name) {
                Some(Stuck::Waits(why)) => ("WAITING", Some(why.clone())),
                Some(Stuck::Fails(why)) => ("FAILED", Some(why.clone())),
                None => ("WAITING", None),
            };
            let lag = partitions
                .iter()
                .filter_map(|partition| partition.lag)
                .sum();
            let left = (record_rate >= 1.0 && lag > 0).then(|| (lag as f64 / record_rate) as u64);
            topics.push(TopicStatus {
                state: worst.map_or(otherwise, |partition| partition.state),
                reason: trouble.or_else(|| worst.and_then(|worst| worst.reason.clone())),
                note: self.notes.lock().get(&name).cloned(),
                topic: name,
                lag,
                lag_seconds: partitions
                    .iter()
                    .map(|one| one.lag_seconds)
                    .fold(0.0, f64::max),
                bytes_per_second: byte_rate as u64,
                seconds_left: left,
                percent: match want {
                    0 => 100.0,
                    want => have as f64 * 100.0 / want as f64,
                },
                partitions,
            });
        }
        let groups = self.groups.lock().clone();
        let not_synced: BTreeMap<String, String> = groups
            .iter()
            .filter_map(|(id, state)| Some((id.clone(), state.reason.clone()?)))
            .collect();
        let job = self.job.lock();
        JobStatus {
            job: self.name.to_string(),
            source: job.source.clone(),
            state: if job.paused { "PAUSED" } else { "RUNNING" },
            trouble: self.trouble.lock().clone(),
            limit: job.limit,
            bytes_per_second: rate as u64,
            bytes,
            records,
            lag: topics.iter().map(|topic: &TopicStatus| topic.lag).sum(),
            partitions: states,
            topics,
            groups_synced: groups.len() - not_synced.len(),
            groups_trouble: self.groups_trouble.lock().clone(),
            groups_not_synced: not_synced,
        }
    }
}

fn partition_status(track: &Track, byte_rate: f64, now: i64) -> PartitionStatus {
    let offsets = track.partition.offsets();
    let lag = track.lag();
    let progress = track.progress.lock();
    let promoted = progress.phase == Phase::Promoted;
    let lag = lag.filter(|_| !promoted);
    let behind = lag.is_some_and(|lag| lag > 0) && progress.last_timestamp >= 0;
    PartitionStatus {
        partition: track.index(),
        state: progress.phase.name(),
        reason: progress.phase.reason().map(str::to_owned),
        start: offsets.log_start,
        end: offsets.high_watermark,
        source_start: progress.source.map(|(start, _)| start),
        source_end: progress.source.map(|(_, end)| end),
        lag,
        lag_seconds: match behind {
            // Clocks differ; nothing is behind by less than nothing.
            true => (now - progress.last_timestamp).max(0) as f64 / 1000.0,
            false => 0.0,
        },
        bytes_per_second: byte_rate as u64,
        lost_to_retention: progress.lost,
    }
}
