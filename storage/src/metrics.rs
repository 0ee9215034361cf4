//! What a store counts, and with what. The engine counts with the same recorder.

use std::fmt;
use std::sync::Arc;

use slatedb_common::metrics::{CounterFn, GaugeFn, MetricsRecorder, NoopMetricsRecorder};

/// The instruments of a store; by default they count nothing.
#[derive(Clone)]
pub struct Metrics {
    pub(crate) recorder: Arc<dyn MetricsRecorder>,
    /// Reads answered from memory.
    pub(crate) tail_reads: Arc<dyn CounterFn>,
    /// Reads that went to the engine.
    pub(crate) engine_reads: Arc<dyn CounterFn>,
    /// Batches of write sets that became durable.
    pub(crate) commits: Arc<dyn CounterFn>,
    /// Their bytes, as write sets count them.
    pub(crate) committed_bytes: Arc<dyn CounterFn>,
    /// Segments that hold something.
    pub(crate) segments: Arc<dyn GaugeFn>,
    /// Bytes of their files and of those that are about to go.
    pub(crate) segment_bytes: Arc<dyn GaugeFn>,
    /// Bytes of them that are dead.
    pub(crate) dead_bytes: Arc<dyn GaugeFn>,
    /// Bytes of the files of the write-ahead log.
    pub(crate) wal_bytes: Arc<dyn GaugeFn>,
    /// Segments that were rewritten.
    pub(crate) rewritten_segments: Arc<dyn CounterFn>,
    /// Segments whose entries moved to the one before.
    pub(crate) merged_segments: Arc<dyn CounterFn>,
    /// Bytes that rewriting took out of them.
    pub(crate) reclaimed_bytes: Arc<dyn CounterFn>,
}

impl Metrics {
    /// Instruments registered with `recorder`, which the engine gets too.
    pub fn new(recorder: Arc<dyn MetricsRecorder>) -> Self {
        let reads = |from| {
            recorder.register_counter(
                "trestle.storage.reads",
                "Reads of a log, by where the entries came from: memory (tail) or the engine.",
                &[("from", from)],
            )
        };
        Self {
            tail_reads: reads("tail"),
            engine_reads: reads("engine"),
            commits: recorder.register_counter(
                "trestle.storage.commits",
                "Batches of write sets that became durable.",
                &[],
            ),
            committed_bytes: recorder.register_counter(
                "trestle.storage.committed.bytes",
                "Bytes of write sets that became durable.",
                &[],
            ),
            segments: recorder.register_gauge(
                "trestle.storage.segments",
                "Segments that hold something, the open one among them.",
                &[],
            ),
            segment_bytes: recorder.register_gauge(
                "trestle.storage.segment.bytes",
                "Bytes of the files of all segments, as the manifest has them.",
                &[],
            ),
            dead_bytes: recorder.register_gauge(
                "trestle.storage.dead.bytes",
                "Bytes of trimmed and removed entries that wait to be reclaimed.",
                &[],
            ),
            wal_bytes: recorder.register_gauge(
                "trestle.storage.wal.bytes",
                "Bytes of the files of the write-ahead log on a local disk.",
                &[],
            ),
            rewritten_segments: recorder.register_counter(
                "trestle.storage.rewritten.segments",
                "Segments that were rewritten to reclaim space or to compact logs.",
                &[],
            ),
            merged_segments: recorder.register_counter(
                "trestle.storage.merged.segments",
                "Segments that went because what lived in them was moved to the one before.",
                &[],
            ),
            reclaimed_bytes: recorder.register_counter(
                "trestle.storage.reclaimed.bytes",
                "Bytes by which rewriting made segments smaller.",
                &[],
            ),
            recorder,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Arc::new(NoopMetricsRecorder::new()))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
