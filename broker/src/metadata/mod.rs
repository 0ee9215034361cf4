//! Cluster metadata: an immutable [`Image`], and the one task that changes it.

mod controller;
mod image;

pub use controller::{Controller, MetadataError, NewTopic};
pub use image::{Image, PartitionMeta, Topic};
