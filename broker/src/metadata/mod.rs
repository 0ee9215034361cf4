//! Cluster metadata: an immutable [`Image`], and the one task that changes it.
//!
//! Owns what topics exist, under which ids, with which partitions and settings, and the cluster id.
//! Everybody else reads the image; whoever holds something of a topic compares the image he knew with
//! the next one and acts. This room does not know the partitions' contents, nor who leads them.

mod controller;
mod error;
mod image;
mod rows;
mod rules;

pub use controller::{Changed, Controller, NewPartitions, NewTopic};
pub use error::{LoadError, MetadataError};
pub use image::{Image, PartitionMeta, Topic};
pub use rows::RowError;
pub use rules::{check_name, is_internal};
