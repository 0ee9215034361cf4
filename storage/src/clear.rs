//! Clearing up after trims and removals: finds the segments that hold nothing of a log any more and
//! takes them out of its directory. A segment that no directory names is dropped.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::key::Directory;
use crate::log::Inner;
use crate::queue::Queued;
use crate::write_set::Change;
use crate::{Log, Result, lookup};

/// Most logs that are cleared up after in one commit.
const MAX_LOGS: usize = 256;

/// Clears up after the logs it is told of, until the publisher has ended.
pub(crate) async fn run(mut logs: mpsc::UnboundedReceiver<Log>) {
    let mut told = Vec::new();
    while logs.recv_many(&mut told, MAX_LOGS).await > 0 {
        if let Err(error) = clear(told.drain(..)).await {
            // Done when the store opens again, or with the next trim.
            tracing::debug!(%error, "not cleared up");
        }
    }
}

async fn clear(logs: impl Iterator<Item = Log>) -> Result<()> {
    let mut changes = Vec::new();
    let mut core = None;
    let mut seen = HashSet::new();
    // A directory row must not be taken out twice.
    for log in logs.filter(|log| seen.insert(Arc::as_ptr(log.inner()) as usize)) {
        let directories = dead(log.inner()).await?;
        core = Some(Arc::clone(&log.inner().core));
        changes.push(Change::Clear { log, directories });
    }
    let Some(core) = core else { return Ok(()) };
    let (done, committed) = oneshot::channel();
    let done = Box::new(move |result| {
        let _ = done.send(result);
    });
    core.queue.push(Queued::new(changes, done));
    // Not answered only when the tasks of the store have gone.
    committed.await.map_or(Ok(()), |result| result.map(|_| ()))
}

/// The directory rows of segments in which everything of the log is dead.
async fn dead(log: &Arc<Inner>) -> Result<Vec<Directory>> {
    let (removed, bounds) = {
        let writer = log.writer();
        (writer.removed, writer.bounds)
    };
    let mut dead: Vec<Directory> = Vec::new();
    let mut rest_lives = false;
    lookup::directories(&log.core, &log.key, |directory| {
        if !removed && directory.first_offset > bounds.start_offset {
            // The segment before reaches up to here at the most; it lives if the start lies in it.
            rest_lives = true;
            dead.pop();
            return false;
        }
        dead.push(directory);
        true
    })
    .await?;
    // The last one, if the start lies in it.
    if !removed && !rest_lives && bounds.start_offset < bounds.end_offset {
        dead.pop();
    }
    Ok(dead)
}
