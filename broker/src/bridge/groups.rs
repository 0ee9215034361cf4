//! Takes over what groups have committed at the source, as long as nobody uses them here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Running;
use super::client::{Client, SourceError, SourceGroup};
use super::plan::NOT_ALL_GROUPS;
use crate::coordinator::group::commands::{ByTopic, Command, GroupError, Import, NewOffset, Reply};

/// Pause between rounds over all groups.
const ROUND: Duration = Duration::from_secs(5);

/// What is known of a group of the source.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupState {
    /// How many of its offsets are here as they are there.
    pub(super) synced: usize,
    /// Why some or all are not.
    pub(super) reason: Option<String>,
}

/// Goes over the groups until the job stops.
pub(super) async fn follow(running: Arc<Running>) {
    let env = running.ground.env.clone();
    let stop = running.stop.clone();
    let work = async {
        let mut client = client_of(&running);
        loop {
            env.sleep(ROUND).await;
            let trouble = match round(&running, &mut client).await {
                Ok(true) => None,
                Ok(false) => Some(NOT_ALL_GROUPS.to_owned()),
                Err(error) => {
                    tracing::debug!(%error, "groups were not taken over");
                    client.forget();
                    Some(error.to_string())
                }
            };
            *running.groups_trouble.lock() = trouble;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// A client of one's own.
pub(super) fn client_of(running: &Running) -> Client {
    let source = running.job.lock().source.clone();
    let mut client = Client::new(
        running.ground.env.clone(),
        &source,
        running.properties.clone(),
    );
    client.learn(running.brokers.lock().clone());
    client
}

/// One round over all groups; false if the source does not show all of them.
pub(super) async fn round(running: &Running, client: &mut Client) -> Result<bool, SourceError> {
    client.learn(running.brokers.lock().clone());
    if client.brokers().is_empty() {
        return Ok(true);
    }
    let all = client.sees_all_groups().await?;
    let listed = client.groups().await?;
    let known: Vec<String> = running.groups.lock().keys().cloned().collect();
    for gone in known
        .iter()
        .filter(|id| !listed.iter().any(|group| group.id == **id))
    {
        running.groups.lock().remove(gone);
    }
    for group in listed {
        let is_consumer = ["consumer", ""].contains(&group.protocol_type.as_str());
        let mut state = running
            .groups
            .lock()
            .get(&group.id)
            .cloned()
            .unwrap_or_default();
        if running.job.lock().active.contains(&group.id) {
            state.reason = Some(ACTIVE.into());
        } else if !is_consumer {
            state.reason = Some(format!("its protocol is {:?}", group.protocol_type));
        } else {
            match one(running, client, &group, &mut state).await {
                Ok(()) => {}
                Err(error @ SourceError::Code { .. }) => state.reason = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        running.groups.lock().insert(group.id, state);
    }
    if let Err(error) = running.save().await {
        tracing::debug!(error, "a bridge job was not saved");
    }
    Ok(all)
}

const ACTIVE: &str = "it is active here";

async fn one(
    running: &Running,
    client: &mut Client,
    group: &SourceGroup,
    state: &mut GroupState,
) -> Result<(), SourceError> {
    let committed = client.committed(group).await?;
    let mut offsets: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
    let mut taken = 0;
    let (mut ahead, mut elsewhere) = (0, 0);
    for committed in committed {
        let track = running.tracks.read().get(&committed.place).cloned();
        let Some(track) = track else {
            elsewhere += 1;
            continue;
        };
        // An offset that is not here yet would send its consumer astray.
        if committed.offset > track.partition.offsets().high_watermark {
            ahead += 1;
            continue;
        }
        let offset = NewOffset {
            offset: committed.offset,
            leader_epoch: committed.epoch,
            metadata: committed.metadata.as_str().into(),
        };
        let (topic, index) = committed.place;
        offsets
            .entry(topic.into())
            .or_default()
            .push((index, offset));
        taken += 1;
    }
    if taken == 0 {
        state.synced = 0;
        state.reason = Some(match (ahead, elsewhere) {
            (0, 0) => "it has no committed offsets".into(),
            (0, _) => "its offsets are of topics that are not copied".into(),
            _ => "its records are not copied yet".into(),
        });
        return Ok(());
    }
    let import = Import {
        group: group.id.as_str().into(),
        image: running.image(),
        offsets: offsets.into_iter().collect::<ByTopic<_>>(),
    };
    let reply = running.ground.groups.submit(Command::Import(import)).await;
    match reply {
        Ok(Reply::Imported(Ok(imported))) => {
            state.synced = taken - imported.higher;
            state.reason = match (ahead, imported.higher) {
                (0, 0) => None,
                (0, higher) => Some(format!(
                    "{higher} offsets are higher here, and are not lowered"
                )),
                (ahead, _) => Some(format!("the records of {ahead} offsets are not copied yet")),
            };
        }
        Ok(Reply::Imported(Err(GroupError::NotEmpty))) => {
            state.reason = Some(ACTIVE.into());
            running.change_job(|job| {
                job.active.insert(group.id.clone());
            });
        }
        Ok(other) => state.reason = Some(format!("the coordinator says {other:?}")),
        Err(error) => state.reason = Some(error.to_string()),
    }
    Ok(())
}
