//! The names of things that must not be confused.

use std::fmt;

/// Milliseconds since the Unix epoch.
pub type Timestamp = i64;

/// Place of a record in its partition; never negative for a stored record.
pub type Offset = i64;

/// Index of a partition in its topic.
pub type PartitionIndex = i32;

/// The identity of one life of a topic name (KIP-516).
pub type TopicId = uuid::Uuid;

/// Rises whenever a partition may have got a new owner (KIP-101, KIP-320).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

/// Identity of a producer for idempotence (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

/// Generation of a producer id; a higher one fences the lower (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ProducerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
