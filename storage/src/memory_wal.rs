//! A write-ahead log that keeps nothing, for stores that live in memory: what it would protect from
//! takes the store with it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use slatedb::RowEntry;
use slatedb::wal::{
    WalError, WalEvent, WalFileRange, WalFlushResult, WalGc, WalIterator, WalObserver, WalRows,
    WalStatus, WalStatusListener, WalWriter, WriterInit, WriterInitResult, WriterManifest,
};

/// The log; every append counts as one file that is durable at once.
#[derive(Debug)]
pub(crate) struct MemoryWal;

#[derive(Default)]
struct State {
    last_id: u64,
    last_sequence: Option<u64>,
    closed: bool,
    listeners: Vec<WalStatusListener>,
}

#[derive(Clone, Default)]
struct Writer(Arc<Mutex<State>>);

impl Writer {
    fn current(&self) -> WalStatus {
        let state = self.0.lock();
        WalStatus {
            closed_reason: state.closed.then_some(WalError::Closed),
            estimated_bytes: 0,
            last_flushed_wal_id: state.last_id,
            last_flushed_seq: state.last_sequence,
            buffered_wal_entries_count: 0,
        }
    }

    fn checked(&self) -> Result<WalStatus, WalStatus> {
        let status = self.current();
        if status.closed_reason.is_some() {
            Err(status)
        } else {
            Ok(status)
        }
    }

    fn tell(&self, event: &WalEvent) {
        let listeners = self.0.lock().listeners.clone();
        for listener in listeners {
            listener(event.clone());
        }
    }
}

#[async_trait]
impl WriterInit for MemoryWal {
    async fn fence_and_init(
        &self,
        manifest: &mut WriterManifest,
    ) -> Result<WriterInitResult, WalError> {
        let writer = Writer::default();
        writer.0.lock().last_id = manifest.replay_after_wal_id();
        Ok(WriterInitResult {
            replay_iterator: Box::new(Nothing),
            wal_writer: Box::new(writer),
        })
    }
}

#[async_trait]
impl WalWriter for Writer {
    async fn append(&mut self, rows: &[RowEntry]) -> Result<(), WalError> {
        {
            let mut state = self.0.lock();
            if state.closed {
                return Err(WalError::Closed);
            }
            state.last_id += 1;
            state.last_sequence = rows.last().map(|row| row.seq).or(state.last_sequence);
        }
        self.tell(&WalEvent::WalFlushed(self.current()));
        Ok(())
    }

    async fn flush(&mut self) -> Result<WalFlushResult, WalError> {
        let status = self.checked()?;
        let completion = async { Ok(()) }.boxed();
        Ok(WalFlushResult {
            wal_id: status.last_flushed_wal_id,
            completion,
        })
    }

    fn observer(&self) -> Box<dyn WalObserver> {
        Box::new(self.clone())
    }

    fn status(&self) -> Result<WalStatus, WalStatus> {
        self.checked()
    }

    async fn close(&mut self) -> Result<(), WalError> {
        self.0.lock().closed = true;
        self.tell(&WalEvent::WalClosed(self.current()));
        self.0.lock().listeners.clear();
        Ok(())
    }
}

impl WalObserver for Writer {
    fn status(&self) -> Result<WalStatus, WalStatus> {
        self.checked()
    }

    fn subscribe(&self, listener: WalStatusListener) -> Result<(), WalError> {
        self.0.lock().listeners.push(listener);
        Ok(())
    }
}

#[async_trait]
impl WalGc for MemoryWal {
    async fn collect(&self, _: Vec<WalFileRange>, _: Duration, _: bool) -> Result<(), WalError> {
        Ok(())
    }
}

/// There is never anything to replay.
struct Nothing;

#[async_trait]
impl WalIterator for Nothing {
    async fn next(&mut self) -> Result<Option<WalRows>, WalError> {
        Ok(None)
    }
}
