//! The TCP door: listeners, connections, frames.
