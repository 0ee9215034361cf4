//! From what went wrong to the Kafka error code that says so: the only place where one is chosen.
//!
//! One function per room and one match per enum, without a wildcard arm, so that a new variant does
//! not compile until somebody has chosen its code. A code is chosen for what it makes clients do:
//! retriable ones are sent again after fresh metadata, others fail the application.

#![deny(clippy::wildcard_enum_match_arm)]

use kafka_protocol::ResponseError;
use trestle_storage::ErrorKind;

use crate::metadata::MetadataError;

/// The error code of success.
pub const NONE: i16 = 0;

/// What a failed call of the store tells a client that wanted a partition.
///
/// Clients that see NOT_LEADER_OR_FOLLOWER or KAFKA_STORAGE_ERROR fetch metadata and try again.
pub fn storage(error: &trestle_storage::Error) -> ResponseError {
    match error.kind() {
        ErrorKind::Fenced | ErrorKind::Closed => ResponseError::NotLeaderOrFollower,
        ErrorKind::Unavailable | ErrorKind::Corrupt => ResponseError::KafkaStorageError,
        ErrorKind::Invalid => ResponseError::UnknownServerError,
    }
}

/// What a refused change of metadata tells an admin client.
pub fn metadata(error: &MetadataError) -> ResponseError {
    match error {
        MetadataError::TopicExists(_) => ResponseError::TopicAlreadyExists,
    }
}
