//! Clearing up after trims and removals: finds the segments that hold nothing of a log any more and
//! takes them out of its directory. A segment that no directory names is dropped.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::key::Directory;
use crate::log::Inner;
use crate::queue::Queued;
use crate::write_set::Change;
use crate::{Log, Result, lookup};

/// Clears up after the logs it is told of, one at a time, until the publisher has ended.
pub(crate) async fn run(mut logs: mpsc::UnboundedReceiver<Log>) {
    while let Some(log) = logs.recv().await {
        let cleared = clear(log.inner()).await;
        if let Err(error) = cleared {
            // Found again when the store opens, or with the next trim.
            tracing::debug!(log = ?log.key(), %error, "not cleared");
        }
    }
}

async fn clear(log: &Arc<Inner>) -> Result<()> {
    let directories = dead(log).await?;
    let change = Change::Clear {
        log: Log::new(Arc::clone(log)),
        directories,
    };
    let (done, committed) = oneshot::channel();
    let done = Box::new(move |result| {
        let _ = done.send(result);
    });
    log.core.queue.push(Queued::new(vec![change], done));
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
