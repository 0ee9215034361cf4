//! Settings, under Kafka's own names.
//!
//! [`definitions`] has the table of all of them. [`Settings`] holds what was given, [`Config`] what
//! that means for the broker, [`TopicConfig`] what it means for a topic. Nothing here reads the
//! command line: that is `cli`.

mod alter;
mod broker;
mod definition;
pub mod definitions;
mod describe;
mod error;
mod group;
mod kafka_names;
mod listeners;
mod properties;
mod reference;
mod settings;
mod topic;

pub use alter::{Operation, Operations, Resource, altered};
pub use broker::Config;
pub use definition::{Definition, Support, Synonym, Type, Valid};
pub use definitions::topic as topic_definition;
pub use describe::{
    Described, Source, SynonymValue, describe_broker, describe_client_metrics, describe_cluster,
    describe_group, describe_topic,
};
pub use error::ConfigError;
pub use group::GroupConfig;
pub use listeners::ListenerConfig;
pub use reference::reference;
pub use settings::{Origin, Runtime, Settings};
pub use topic::{CompressionType, TimestampType, TopicConfig, check_topic_overrides};

#[cfg(test)]
mod tests;
