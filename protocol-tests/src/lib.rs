//! Helpers to talk Kafka over TCP, byte by byte, to a broker that is running: Trestle, or with
//! `KAFKA_BOOTSTRAP=HOST:PORT` Apache Kafka or anything else that speaks the protocol.
//!
//! Owns: starting and ending the broker under test ([`Broker`]), a blocking client that shows every
//! byte ([`Client`], [`Frame`]), record batches of our own making ([`Batch`]) and reading them back
//! ([`records`]). Shares no code with the broker, so that the two cannot be wrong together; bodies
//! are encoded and decoded by the kafka-protocol crate, batches by hand.
//!
//! Everything here is for tests: a helper that cannot do its job panics and says why.

pub mod batch;
mod broker;
pub mod calls;
mod client;
pub mod codes;
mod compress;
pub mod consumers;
mod frame;
pub mod groups;
pub mod http;
mod process;
pub mod records;
pub mod source;
pub mod transactions;
mod wait;
mod wire;

pub use batch::{Batch, Record};
pub use broker::Broker;
pub use client::{Client, Pending, decode, encode};
pub use compress::Codec;
pub use frame::Frame;
pub use http::Http;
pub use wait::{DEADLINE, now_ms, wait_for, wait_until};
pub use wire::Wire;

/// A topic or producer name that no other test and no earlier run has used.
pub fn unique(name: &str) -> String {
    format!("{name}-{:08x}", rand::random::<u32>())
}
