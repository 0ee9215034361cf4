//! How far the copy of one partition has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::client::Place;
use crate::partition::Partition;
use crate::types::{Offset, PartitionIndex, Timestamp, TopicId};

/// What is being done about a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing can be done for now.
    Waiting(String),
    /// It is behind the source.
    Copying,
    /// It is where the source is.
    Following,
    /// It cannot be copied on.
    Failed(String),
    /// Clients write it.
    Promoted,
}

impl Phase {
    /// One word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting(_) => "WAITING",
            Self::Copying => "COPYING",
            Self::Following => "FOLLOWING",
            Self::Failed(_) => "FAILED",
            Self::Promoted => "PROMOTED",
        }
    }

    /// Why, where there is something to say.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Waiting(why) | Self::Failed(why) => Some(why),
            Self::Copying | Self::Following | Self::Promoted => None,
        }
    }
}

/// What is known of a partition and its source.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Where the source starts and ends, once it has said so.
    pub source: Option<(Offset, Offset)>,
    /// The leader's epoch at the source.
    pub source_epoch: i32,
    /// Offset to fetch from, where that is not the end of the log here.
    pub next: Option<Offset>,
    /// Whether the source is told the epoch of what comes before.
    pub tells_epoch: bool,
    /// Set by a fetch that was out of range: nothing is fetched until the supervisor has looked.
    pub held: bool,
    /// Set when its fetcher has let go of it.
    pub left: bool,
    /// How often in a row the source seemed to end before the copy.
    pub strikes: u32,
    /// Offsets that the source's retention took before they were copied.
    pub lost: Offset,
    /// Timestamp of the last batch that was copied.
    pub last_timestamp: Timestamp,
}

/// The copy of one partition.
#[derive(Debug)]
pub(crate) struct Track {
    /// Topic and partition.
    pub place: Place,
    /// The topic.
    pub topic_id: TopicId,
    /// The copy.
    pub partition: Arc<Partition>,
    /// How far it is.
    pub progress: Mutex<Progress>,
    /// Bytes copied since the job was started here.
    pub bytes: AtomicU64,
    /// Records, likewise.
    pub records: AtomicU64,
    meter: Mutex<Meter>,
}

/// How fast something goes: counts over windows of some seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    since: Timestamp,
    bytes: u64,
    records: u64,
    rate: (f64, f64),
}

impl Meter {
    fn note(&mut self, bytes: u64, records: u64, now: Timestamp) {
        self.turn(now);
        self.bytes += bytes;
        self.records += records;
    }

    fn turn(&mut self, now: Timestamp) {
        let took = now - self.since;
        if took < WINDOW_MS {
            return;
        }
        let per_second = |count: u64| match took < 3 * WINDOW_MS {
            true => count as f64 * 1000.0 / took as f64,
            false => 0.0,
        };
        self.rate = (per_second(self.bytes), per_second(self.records));
        self.since = now;
        self.bytes = 0;
        self.records = 0;
    }
}

/// Over how long rates are taken.
const WINDOW_MS: Timestamp = 2000;

impl Track {
    pub(super) fn new(place: Place, topic_id: TopicId, partition: Arc<Partition>) -> Self {
        Self {
            place,
            topic_id,
            partition,
            progress: Mutex::new(Progress {
                phase: Phase::Waiting("not asked for yet".into()),
                source: None,
                source_epoch: -1,
                next: None,
                tells_epoch: true,
                held: false,
                left: false,
                strikes: 0,
                lost: 0,
                last_timestamp: -1,
            }),
            bytes: AtomicU64::new(0),
            records: AtomicU64::new(0),
            meter: Mutex::default(),
        }
    }

    /// Index in the topic.
    pub(crate) fn index(&self) -> PartitionIndex {
        self.place.1
    }

    /// Counts what was copied.
    pub(super) fn copied(&self, bytes: usize, records: u64, now: Timestamp) {
        self.meter.lock().note(bytes as u64, records, now);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    /// Bytes and records a second.
    pub(crate) fn rate(&self, now: Timestamp) -> (f64, f64) {
        let mut meter = self.meter.lock();
        meter.turn(now);
        meter.rate
    }

    /// Whether fetching makes sense.
    pub(super) fn is_wanted(&self) -> bool {
        let progress = self.progress.lock();
        !progress.held && !matches!(progress.phase, Phase::Failed(_) | Phase::Promoted)
    }

    /// Puts it aside, unless it is aside already.
    pub(super) fn wait(&self, why: &str) {
        let mut progress = self.progress.lock();
        if !matches!(progress.phase, Phase::Failed(_) | Phase::Promoted) {
            progress.phase = Phase::Waiting(why.into());
        }
    }

    /// Offsets that are at the source and not here.
    pub(crate) fn lag(&self) -> Option<Offset> {
        let (_, end) = self.progress.lock().source?;
        Some((end - self.partition.offsets().high_watermark).max(0))
    }
}
