//! Copies the partitions that one broker of the source leads: fetches raw batches and appends them as
//! they are. The end of the log here says what to fetch next, so whatever ends in between, nothing is
//! left out and nothing comes twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Running;
use super::client::{Client, Fetched, Fetcher, Limits, Place, SourceError, Wanted};
use super::job::Bucket;
use super::track::{Phase, Track};
use crate::partition::{AppendError, MirrorError, check_mirrored};
use crate::types::LeaderEpoch;

/// Most bytes of a response, and of one partition in it.
const FETCH_BYTES: i32 = 8 << 20;
const PARTITION_BYTES: i32 = 2 << 20;
/// How long the source may wait for something to come.
const WAIT: Duration = Duration::from_millis(500);
/// A response with less in it is followed by a rest, so that what trickles in comes in larger pieces.
const TRICKLE_BYTES: usize = 128 << 10;
const REST: Duration = Duration::from_millis(25);
/// Pause between attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Kafka's codes that say something about the partition.
const OFFSET_OUT_OF_RANGE: i16 = 1;
const CORRUPT: i16 = 2;
const TOPIC_DENIED: i16 = 29;
const UNSUPPORTED_COMPRESSION: i16 = 76;

/// What a fetcher works on.
pub(super) type Feed = watch::Receiver<Arc<Vec<Arc<Track>>>>;

/// What is to be done about a partition after a response.
enum Next {
    /// Fetch on.
    Fetch,
    /// Nothing, before the supervisor has looked at it, soon.
    Look,
    /// The same, when it comes to it.
    Rest,
}

/// Copies what `feed` gives from broker `leader`, until `stop`.
pub(super) async fn copy(
    running: Arc<Running>,
    leader: i32,
    mut feed: Feed,
    stop: CancellationToken,
) {
    let work = async {
        loop {
            if feed.borrow().is_empty() {
                if feed.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let error = match copy_from(&running, leader, &mut feed).await {
                Ok(()) => return,
                Err(error) => error,
            };
            tracing::debug!(leader, %error, "the source was lost");
            for track in feed.borrow().iter() {
                track.wait(&error.to_string());
            }
            // The leader may be another one by now.
            running.nudge.notify_one();
            running.ground.env.sleep(RETRY).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// One connection's life. Returns without an error when nobody feeds it any more.
async fn copy_from(
    running: &Arc<Running>,
    leader: i32,
    feed: &mut Feed,
) -> Result<(), SourceError> {
    let env = &running.ground.env;
    let mut client = Client::new(env.clone(), "", running.properties.clone());
    client.learn(running.brokers.lock().clone());
    let mut fetcher = Fetcher::new(client.dial(leader).await?);
    let mut tracks: BTreeMap<Place, Arc<Track>> = BTreeMap::new();
    feed.mark_changed();
    loop {
        if feed.has_changed().unwrap_or(false) {
            let given = feed.borrow_and_update().clone();
            tracks = given
                .iter()
                .map(|track| (track.place.clone(), track.clone()))
                .collect();
            let left: Vec<Place> = fetcher
                .wanted()
                .filter(|place| !tracks.contains_key(*place))
                .cloned()
                .collect();
            left.iter().for_each(|place| fetcher.drop(place));
            for (place, track) in &tracks {
                want(running, &mut fetcher, place, track).await;
            }
        }
        if fetcher.wanted().next().is_none() {
            if feed.changed().await.is_err() {
                return Ok(());
            }
            feed.mark_changed();
            continue;
        }
        let at_once = running
            .bucket
            .lock()
            .as_ref()
            .map_or(FETCH_BYTES, Bucket::at_once);
        let limits = Limits {
            max_bytes: at_once.min(FETCH_BYTES),
            partition_max_bytes: at_once.min(PARTITION_BYTES),
            wait: WAIT,
        };
        let fetched = fetcher.fetch(limits).await?;
        let bytes: usize = fetched.iter().map(|one| one.records.len()).sum();
        for one in fetched {
            let Some(track) = tracks.get(&one.place).cloned() else {
                continue;
            };
            let place = one.place.clone();
            match take(running, &track, one).await {
                Next::Fetch => want(running, &mut fetcher, &place, &track).await,
                Next::Look => {
                    leave(&mut fetcher, &place, &track);
                    running.nudge.notify_one();
                }
                Next::Rest => leave(&mut fetcher, &place, &track),
            }
        }
        let wait = {
            let mut bucket = running.bucket.lock();
            let now = env.now();
            bucket
                .as_mut()
                .map_or(0, |bucket| bucket.take(bytes as u64, now))
        };
        if wait > 0 {
            env.sleep(Duration::from_millis(wait)).await;
        } else if bytes < TRICKLE_BYTES {
            env.sleep(REST).await;
        }
    }
}

/// Fetches a partition no more, until the supervisor hands it out again.
fn leave(fetcher: &mut Fetcher, place: &Place, track: &Track) {
    fetcher.drop(place);
    track.progress.lock().left = true;
}

/// Says from where `track` is to be fetched, or that it is not.
async fn want(running: &Running, fetcher: &mut Fetcher, place: &Place, track: &Track) {
    if !track.is_wanted() {
        fetcher.drop(place);
        return;
    }
    if let Err(error) = track.partition.prepare(running.ground.env.now()).await {
        track.wait(&error.to_string());
        leave(fetcher, place, track);
        return;
    }
    let (end, epoch) = track.partition.mirror_end();
    let progress = track.progress.lock();
    let wanted = Wanted {
        offset: progress.next.unwrap_or(end).max(end),
        last_epoch: match epoch {
            Some(LeaderEpoch(epoch)) if progress.tells_epoch => epoch,
            _ => -1,
        },
    };
    drop(progress);
    fetcher.want(place.clone(), wanted);
}

/// Takes in what came of a partition.
async fn take(running: &Running, track: &Arc<Track>, fetched: Fetched) -> Next {
    match fetched.error {
        0 => {}
        OFFSET_OUT_OF_RANGE => {
            track.progress.lock().held = true;
            return Next::Look;
        }
        UNSUPPORTED_COMPRESSION => {
            running.fail(
                track,
                "the source does not give zstd batches to the Fetch version that it serves; \
                 it has to be Apache Kafka 2.1 or newer",
            );
            return Next::Rest;
        }
        TOPIC_DENIED => {
            let topic = &track.place.0;
            track.wait(&format!(
                "the source denies it: the ACL Read on topic {topic} is missing"
            ));
            return Next::Rest;
        }
        CORRUPT => {
            track.wait("the source says that its own log is damaged (CORRUPT_MESSAGE)");
            return Next::Rest;
        }
        code => {
            track.wait(&format!(
                "the source says {}",
                super::client::code_text(code)
            ));
            return Next::Look;
        }
    }
    if let Some((epoch, end)) = fetched.diverging {
        running.fail(
            track,
            &format!(
                "the source's log was cut back: its epoch {epoch} ends at {end}, and more was copied"
            ),
        );
        return Next::Rest;
    }
    match append(running, track, &fetched).await {
        Ok(()) => {}
        Err(MirrorError::Promoted) => {
            return Next::Rest;
        }
        Err(MirrorError::Append(AppendError::Gone)) => {
            running.fail(track, "the topic was deleted here");
            return Next::Rest;
        }
        Err(MirrorError::Append(error)) => {
            track.wait(&error.to_string());
            return Next::Rest;
        }
        Err(MirrorError::OldFormat { magic, offset }) => {
            running.fail(
                track,
                &format!(
                    "message format {magic} at offset {offset}: records from before Kafka 0.11 \
                     cannot be kept byte for byte; let the source rewrite or expire them"
                ),
            );
            return Next::Rest;
        }
        Err(error @ (MirrorError::Invalid(_) | MirrorError::Overlap { .. })) => {
            let strikes = {
                let mut progress = track.progress.lock();
                progress.strikes += 1;
                progress.strikes
            };
            if strikes >= 3 {
                running.fail(track, &format!("the source sent {error}"));
            } else {
                track.wait(&format!("the source sent {error}"));
            }
            return Next::Rest;
        }
    }
    Next::Fetch
}

async fn append(
    running: &Running,
    track: &Arc<Track>,
    fetched: &Fetched,
) -> Result<(), MirrorError> {
    let ground = &running.ground;
    let expiration_ms = ground.config.producer_id_expiration_ms;
    let partition = &track.partition;
    let (batches, cut) = check_mirrored(fetched.records.clone())?;
    if let Some(size) = cut
        && batches.is_empty()
        && size > FETCH_BYTES as usize
    {
        tracing::debug!(place = ?track.place, size, "a large batch comes on its own");
    }
    let (mut records, mut highest_epoch) = (0, -1);
    let mut last_timestamp = -1;
    for batch in &batches {
        records += u64::from(batch.header.record_count.unsigned_abs());
        highest_epoch = highest_epoch.max(batch.header.leader_epoch.0);
        if !batch.header.is_control() {
            last_timestamp = batch.header.max_timestamp;
        }
    }
    // What clients are told stays above what the batches say.
    if highest_epoch >= partition.leader_epoch().0 {
        running.raise_epoch(track, highest_epoch).await?;
    }
    let now = ground.env.now();
    partition.prepare(now).await?;
    let taken = !batches.is_empty();
    let end = partition.mirror(batches, now, expiration_ms)?;
    if taken {
        track.copied(fetched.records.len(), records, now);
    }
    let own_start = partition.offsets().log_start;
    let source_is_empty = fetched.log_start == fetched.high_watermark;
    if fetched.log_start > own_start && (fetched.log_start <= end || source_is_empty) {
        partition
            .mirror_start(fetched.log_start, now, expiration_ms)
            .await?;
    }
    let mut progress = track.progress.lock();
    progress.strikes = 0;
    if taken {
        progress.next = None;
        progress.last_timestamp = last_timestamp;
    }
    if fetched.high_watermark >= 0 {
        let start = fetched.log_start.max(0);
        progress.source = Some((start, fetched.high_watermark));
        let follows = end.max(start) >= fetched.high_watermark;
        progress.phase = match follows {
            true => Phase::Following,
            false => Phase::Copying,
        };
        if follows && progress.source_epoch >= 0 {
            partition.mirror_epoch(LeaderEpoch(progress.source_epoch));
        }
    }
    Ok(())
}
