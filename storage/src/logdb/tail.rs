//! Following a log: what it holds, then what is appended to it, as soon as that is durable.

use futures::Stream;

use super::record::{LogEntry, Sequence};
use super::scan::Cursor;
use crate::{Error, Log, Result, Store, StoreState};

/// Read at a time.
const PAGE_BYTES: usize = 256 << 10;
const PAGE_ENTRIES: usize = 1024;

/// A log that is followed. Between commits to that log it costs nothing: no timer, no read.
#[derive(Debug)]
pub struct LogTail {
    store: Store,
    log: Log,
    cursor: Cursor,
    next_sequence: Sequence,
}

impl LogTail {
    pub(super) async fn new(store: Store, log: Log, from: Sequence) -> Result<Self> {
        Ok(Self {
            cursor: Cursor::new(log.clone(), from, PAGE_ENTRIES, PAGE_BYTES).await?,
            next_sequence: from,
            store,
            log,
        })
    }

    /// The next entry, waiting for it if need be; `None` once the log was closed in order.
    ///
    /// Dropping the wait loses nothing.
    ///
    /// # Errors
    /// As [`Log::read`]; `Fenced` or `Closed` if the store has failed.
    pub async fn next(&mut self) -> Result<Option<LogEntry>> {
        let mut state = self.store.state();
        loop {
            let log = self.log.clone();
            let changed = log.changed();
            if self.cursor.peek().await?.is_some() {
                let entry = self.cursor.pop();
                if let Some(entry) = &entry {
                    self.next_sequence = entry.next_sequence();
                }
                return Ok(entry);
            }
            tokio::select! {
                () = changed => {}
                closed = state.wait_for(|state| matches!(state, StoreState::Closed(_))) => {
                    return match closed.as_deref() {
                        Ok(StoreState::Closed(error)) if !was_closed(error) => Err(error.clone()),
                        _ => Ok(None),
                    };
                }
            }
        }
    }

    /// Where a later tail or scan goes on without loss: after the last entry returned; and beyond what
    /// other keys have taken since, if nothing was appended to this one.
    pub fn next_sequence(&self) -> Sequence {
        // Before the look at the log: what is below and not there then is not there.
        let frontier = self.store.durable_sequence();
        match self.cursor.is_at_end() {
            true => self.next_sequence.max(frontier),
            false => self.next_sequence,
        }
    }

    /// The same as a stream; it ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<LogEntry>> + Send {
        futures::stream::try_unfold(self, async |mut tail| {
            let entry = tail.next().await?;
            Ok(entry.map(|entry| (entry, tail)))
        })
    }
}

fn was_closed(error: &Error) -> bool {
    error.kind() == crate::ErrorKind::Closed
}
