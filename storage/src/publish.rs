//! The publisher: the one task that watches what is durable. It shows durable commits to readers and
//! tells whoever waits for them, in order.

use std::sync::Arc;

use slatedb::DbStatus;
use tokio::sync::{mpsc, watch};

use crate::log::{Bounds, Entry};
use crate::queue::{Done, Queued};
use crate::store::{Core, StoreState};
use crate::tail::TailBudget;
use crate::{Committed, Error, ErrorKind, Log, Result};

/// What a durable commit changes in one log.
pub(crate) struct LogUpdate {
    pub(crate) log: Log,
    pub(crate) bounds: Bounds,
    pub(crate) entries: Vec<Entry>,
    /// End offset and bytes of each row that the entries lie in.
    pub(crate) rows: Vec<(u64, usize)>,
}

impl LogUpdate {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            bounds: Bounds::default(),
            entries: Vec::new(),
            rows: Vec::new(),
        }
    }
}

/// A batch that was written and waits to be durable.
pub(crate) struct Flight {
    /// The engine's number of the batch, or of the one before if this one wrote nothing.
    pub(crate) seqnum: u64,
    /// Whether it was written.
    pub(crate) result: Result<()>,
    /// One past the last sequence given out.
    pub(crate) next_sequence: u64,
    pub(crate) updates: Vec<LogUpdate>,
    pub(crate) done: Vec<(Done, Result<Committed>)>,
    /// What it counts as in flight.
    pub(crate) bytes: usize,
    /// Segments that are no longer there.
    pub(crate) dropped: Vec<u32>,
    /// Logs that were trimmed or removed.
    pub(crate) cleared: Vec<Log>,
}

impl Flight {
    /// Write sets that came after the store had failed.
    pub(crate) fn failed(error: Error, queued: Vec<Queued>) -> Self {
        let bytes = queued.iter().map(|set| set.bytes).sum();
        let mut done = Vec::with_capacity(queued.len());
        for set in queued {
            if let Some(written) = set.written {
                written(Err(error.clone()));
            }
            done.push((set.done, Err(error.clone())));
        }
        Self {
            seqnum: 0,
            result: Err(error),
            next_sequence: 0,
            updates: Vec::new(),
            done,
            bytes,
            dropped: Vec::new(),
            cleared: Vec::new(),
        }
    }

    fn fail(self, error: &Error) {
        for (done, result) in self.done {
            done(result.and(Err(error.clone())));
        }
    }
}

/// Publishes flights, until the commit task has ended and all are done.
pub(crate) struct Publisher {
    core: Arc<Core>,
    flights: mpsc::UnboundedReceiver<Flight>,
    status: watch::Receiver<DbStatus>,
    budget: TailBudget,
    /// Logs to clear up after.
    clearing: mpsc::UnboundedSender<Log>,
    /// Why nothing more is acknowledged.
    failed: Option<Error>,
}

impl Publisher {
    pub(crate) fn new(
        core: Arc<Core>,
        status: watch::Receiver<DbStatus>,
        flights: mpsc::UnboundedReceiver<Flight>,
        clearing: mpsc::UnboundedSender<Log>,
    ) -> Self {
        let budget = TailBudget::new(core.options.tail_bytes);
        Self {
            core,
            flights,
            status,
            budget,
            clearing,
            failed: None,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                flight = self.flights.recv() => match flight {
                    Some(flight) => self.land(flight).await,
                    None => return,
                },
                // An idle store can be fenced too.
                changed = self.status.changed(), if self.failed.is_none() => {
                    if changed.is_err() {
                        self.fail(Error::new(ErrorKind::Closed, "the engine has stopped"));
                    } else if let Some(error) = self.closed() {
                        self.fail(error);
                    }
                }
            }
        }
    }

    /// Waits until a flight is durable and publishes it, or fails it.
    async fn land(&mut self, flight: Flight) {
        if let Err(error) = &flight.result {
            self.fail(error.clone());
        }
        if self.failed.is_none() {
            let landed = self.status.wait_for(|status| {
                status.durable_seq >= flight.seqnum || status.close_reason.is_some()
            });
            let durable = landed
                .await
                .is_ok_and(|status| status.durable_seq >= flight.seqnum);
            if !durable {
                let error = self.closed();
                self.fail(
                    error
                        .unwrap_or_else(|| Error::new(ErrorKind::Closed, "the engine has stopped")),
                );
            }
        }
        let bytes = flight.bytes;
        match &self.failed {
            Some(error) => flight.fail(error),
            None => self.publish(flight),
        }
        // Last, so that what is committed in answer to this shares the next batch.
        self.core.queue.landed(bytes);
    }

    fn publish(&mut self, flight: Flight) {
        let metrics = &self.core.options.metrics;
        metrics.commits.increment(1);
        metrics.committed_bytes.increment(flight.bytes as u64);
        for update in flight.updates {
            for (end_offset, bytes) in update.rows {
                self.budget.add(update.log.downgrade(), end_offset, bytes);
            }
            update.log.inner().publish(update.bounds, update.entries);
        }
        self.budget.enforce();
        for segment in flight.dropped {
            self.core.segments.remove(segment);
        }
        self.core.durable.send_if_modified(|durable| {
            let moved = flight.next_sequence > *durable;
            *durable = flight.next_sequence.max(*durable);
            moved
        });
        for (done, result) in flight.done {
            done(result);
        }
        for log in flight.cleared {
            // Fails only while the store is dropped.
            let _ = self.clearing.send(log);
        }
    }

    fn closed(&self) -> Option<Error> {
        let status = self.status.borrow();
        status.close_reason.map(Error::closed)
    }

    fn fail(&mut self, error: Error) {
        if self.failed.is_some() {
            return;
        }
        if error.kind() == ErrorKind::Fenced {
            tracing::error!(%error, "another writer has taken the store over; nothing more is served");
        }
        self.core
            .state
            .send_replace(StoreState::Closed(error.clone()));
        self.failed = Some(error);
    }
}
