//! The commit task: takes all that waits, has it built into one batch, and hands the engine one batch
//! at a time. What it wrote goes to the publisher, which waits for durability.

use std::sync::Arc;

use slatedb::Db;
use slatedb::config::{FlushOptions, FlushType};
use tokio::sync::mpsc;

use crate::batch::{Assigned, BatchBuilder};
use crate::publish::Flight;
use crate::queue::{Done, Queued};
use crate::store::Core;
use crate::{Error, ErrorKind};

/// Most write sets and bytes that share a batch.
const MAX_SETS: usize = 4096;
const MAX_BYTES: usize = 4 << 20;

/// Writes batches until the store is dropped.
pub(crate) struct Committer {
    core: Arc<Core>,
    db: Db,
    assigned: Assigned,
    flights: mpsc::UnboundedSender<Flight>,
    /// Told of every write, if somebody has to ask for durability.
    written: Option<mpsc::Sender<()>>,
    /// Why nothing more is written.
    failed: Option<Error>,
    last_seqnum: u64,
}

impl Committer {
    pub(crate) fn new(
        core: Arc<Core>,
        db: Db,
        assigned: Assigned,
        flights: mpsc::UnboundedSender<Flight>,
        written: Option<mpsc::Sender<()>>,
    ) -> Self {
        Self {
            core,
            db,
            assigned,
            flights,
            written,
            failed: None,
            last_seqnum: 0,
        }
    }

    pub(crate) async fn run(mut self) {
        while let Some(queued) = self.core.queue.take(MAX_SETS, MAX_BYTES).await {
            let flight = match &self.failed {
                Some(error) => Flight::failed(error.clone(), queued),
                None => self.commit(queued).await,
            };
            if self.flights.send(flight).is_err() {
                return;
            }
        }
    }

    async fn commit(&mut self, queued: Vec<Queued>) -> Flight {
        let now_ms = self.core.clock.now().timestamp_millis();
        let mut builder = BatchBuilder::new(&self.core, &mut self.assigned, now_ms);
        for set in queued {
            builder.add(set);
        }
        let built = builder.finish();
        let mut flight = built.flight;
        flight.seqnum = self.last_seqnum;
        if built.batch.is_empty() {
            tell_written(built.written, &flight);
            return flight;
        }
        match self.db.write(built.batch).await {
            Ok(handle) => {
                self.core.pace.wrote(now_ms);
                self.last_seqnum = handle.seqnum();
                flight.seqnum = handle.seqnum();
                if let Some(written) = &self.written {
                    // Full: a flush that will cover this write is due already.
                    let _ = written.try_send(());
                }
                if built.sealed {
                    self.freeze_memtable();
                }
            }
            Err(error) => {
                let error = Error::engine("committing".into(), error);
                // What a batch was built from cannot be taken back: nothing may follow it.
                let error = match error.kind() {
                    ErrorKind::Fenced => error,
                    _ => error.into_kind(ErrorKind::Closed),
                };
                self.failed = Some(error.clone());
                flight.result = Err(error);
            }
        }
        tell_written(built.written, &flight);
        flight
    }

    /// Writes out what is in memory, so that the segment just sealed is whole on disk and can be
    /// dropped as a whole one day.
    fn freeze_memtable(&self) {
        let db = self.db.clone();
        tokio::spawn(async move {
            let options = FlushOptions {
                flush_type: FlushType::MemTable,
            };
            if let Err(error) = db.flush_with_options(options).await {
                tracing::debug!(%error, "a sealed segment was not written out");
            }
        });
    }
}

/// Tells those that do not wait for durability what became of their sets.
fn tell_written(written: Vec<(Done, usize)>, flight: &Flight) {
    for (written, set) in written {
        let committed = flight.done[set].1.clone();
        written(flight.result.clone().and(committed));
    }
}
