//! Settings, under Kafka's own names.

mod broker;
mod topic;

pub use broker::Config;
pub use topic::{TimestampType, TopicConfig};
