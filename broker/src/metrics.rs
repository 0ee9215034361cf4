//! The metrics registry of one broker; no globals, so two brokers in a test do not share counters.

/// Instruments of every room.
#[derive(Debug, Default)]
pub struct Metrics {}
