//! Cluster metadata: an immutable [`Image`], and the one task that changes it.
//!
//! Owns what topics exist, under which ids, with which partitions and settings; the settings given to
//! the running broker, to groups and others; quotas and credentials; and the cluster id.
//! Everybody else reads the image; whoever holds something of a topic compares the image he knew with
//! the next one and acts. This room does not know the partitions' contents, nor who leads them.

mod controller;
mod error;
mod image;
pub mod log_rows;
mod quota;
mod rows;
mod rules;
mod scram;
mod setting_rows;

pub use controller::{
    Changed, Controller, MirrorChange, NewMirror, NewPartitions, NewTopic, Settled,
};
pub use error::{LoadError, MetadataError};
pub use image::{Image, PartitionMeta, Topic};
pub use quota::{EntityType, QuotaEntity, QuotaError, Quotas, check_quota};
pub use rows::RowError;
pub use rules::{check_name, is_internal};
pub use scram::{ScramCredential, ScramMechanism};
