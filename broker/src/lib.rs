//! A Kafka-compatible broker in front of the log database of `trestle-storage`.
//!
//! [`Broker::start`] composes the rooms and opens the doors; `docs/architecture.md` is the map.

pub mod api;
pub mod bridge;
pub mod broker;
pub mod config;
pub mod coordinator;
pub mod env;
pub mod http;
pub mod metadata;
pub mod metrics;
pub mod net;
pub mod partition;
pub mod placement;
pub mod types;

pub use broker::{Broker, BrokerBuilder};
pub use config::Config;
