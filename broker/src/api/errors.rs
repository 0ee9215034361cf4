//! From what went wrong to the Kafka error code that says so: the only place where one is chosen.
//!
//! One function per room and one match per enum, without a wildcard arm, so that a new variant does
//! not compile until somebody has chosen its code. A code is chosen for what it makes clients do:
//! retriable ones are sent again after fresh metadata, others fail the application.

#![deny(clippy::wildcard_enum_match_arm)]

use kafka_protocol::ResponseError;
use trestle_storage::ErrorKind;

use crate::coordinator::group::commands::GroupError;
use crate::coordinator::runtime::Unavailable;
use crate::coordinator::txn::{TransactionError, TxnError};
use crate::metadata::MetadataError;
use crate::partition::batch::BatchError;
use crate::partition::fetch::FetchError;
use crate::partition::{AppendError, ProducerError};

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
///
/// Connect, Streams and others take TOPIC_ALREADY_EXISTS as success. Admin clients that see
/// NOT_CONTROLLER fetch metadata and try again.
pub fn metadata(error: &MetadataError) -> ResponseError {
    match error {
        MetadataError::TopicExists(_) => ResponseError::TopicAlreadyExists,
        MetadataError::UnknownTopic(_) => ResponseError::UnknownTopicOrPartition,
        MetadataError::UnknownTopicId(_) => ResponseError::UnknownTopicId,
        MetadataError::InvalidName { .. } | MetadataError::NameCollides { .. } => {
            ResponseError::InvalidTopicException
        }
        MetadataError::InvalidPartitions { .. } => ResponseError::InvalidPartitions,
        MetadataError::InvalidReplicationFactor { .. } => ResponseError::InvalidReplicationFactor,
        MetadataError::AssignmentBesideCounts(_) => ResponseError::InvalidRequest,
        MetadataError::InvalidAssignment { .. } => ResponseError::InvalidReplicaAssignment,
        MetadataError::InvalidConfig { .. } => ResponseError::InvalidConfig,
        MetadataError::InvalidQuota(_) => ResponseError::InvalidRequest,
        MetadataError::UnknownCredential(_) => ResponseError::ResourceNotFound,
        MetadataError::TooManyPartitions { .. } => ResponseError::PolicyViolation,
        MetadataError::Storage(error) => match error.kind() {
            ErrorKind::Fenced | ErrorKind::Closed => ResponseError::NotController,
            ErrorKind::Unavailable | ErrorKind::Corrupt => ResponseError::KafkaStorageError,
            ErrorKind::Invalid => ResponseError::UnknownServerError,
        },
        MetadataError::Mirrored(_) => ResponseError::PolicyViolation,
        MetadataError::Stopping => ResponseError::NotController,
    }
}

/// What a batch that breaks a rule tells its producer.
pub fn batch(error: &BatchError) -> ResponseError {
    match error {
        BatchError::Invalid { .. } => ResponseError::InvalidRecord,
        BatchError::Timestamp { .. } => ResponseError::InvalidTimestamp,
        BatchError::Corrupt(_) => ResponseError::CorruptMessage,
        BatchError::TooLarge { .. } => ResponseError::MessageTooLarge,
        BatchError::UnsupportedCompression => ResponseError::UnsupportedCompressionType,
    }
}

/// What an append that was refused or failed tells its producer.
///
/// A producer's repetition is never DUPLICATE_SEQUENCE_NUMBER: it succeeds with the first offset.
pub fn append(error: &AppendError) -> ResponseError {
    match error {
        AppendError::Producer(ProducerError::FencedEpoch { .. }) => {
            ResponseError::InvalidProducerEpoch
        }
        AppendError::Producer(ProducerError::OutOfOrder { .. }) => {
            ResponseError::OutOfOrderSequenceNumber
        }
        AppendError::Producer(ProducerError::OutsideTransaction { .. }) => {
            ResponseError::InvalidTxnState
        }
        AppendError::Producer(ProducerError::FencedCoordinator { .. }) => {
            ResponseError::TransactionCoordinatorFenced
        }
        AppendError::Gone => ResponseError::UnknownTopicOrPartition,
        // What a client does not try again.
        AppendError::ReadOnly => ResponseError::TopicAuthorizationFailed,
        // What every client tries again: the topic may be promoted meanwhile.
        AppendError::Mirrored => ResponseError::NotEnoughReplicas,
        AppendError::Storage(_) => ResponseError::KafkaStorageError,
    }
}

/// What a partition that was not read tells its consumer.
pub fn fetch(error: &FetchError) -> ResponseError {
    match error {
        FetchError::Gone => ResponseError::UnknownTopicOrPartition,
        FetchError::UnknownTopicId => ResponseError::UnknownTopicId,
        FetchError::FencedLeaderEpoch => ResponseError::FencedLeaderEpoch,
        FetchError::UnknownLeaderEpoch => ResponseError::UnknownLeaderEpoch,
        FetchError::OffsetOutOfRange(_) => ResponseError::OffsetOutOfRange,
        FetchError::Storage(error) => storage(error),
    }
}

/// What a coordinator that does not answer tells a client.
///
/// Clients look for the coordinator again, and ask again.
pub fn unavailable(error: &Unavailable) -> ResponseError {
    match error {
        Unavailable::Stalled(_) => ResponseError::CoordinatorNotAvailable,
        Unavailable::Gone => ResponseError::NotCoordinator,
    }
}

/// What a group that does not do what it is asked tells a client.
///
/// Members that see UNKNOWN_MEMBER_ID or ILLEGAL_GENERATION join again; FENCED_INSTANCE_ID ends them.
pub fn group(error: &GroupError) -> ResponseError {
    match error {
        GroupError::InvalidGroupId => ResponseError::InvalidGroupId,
        GroupError::UnknownGroup(_) => ResponseError::GroupIdNotFound,
        GroupError::UnknownMember => ResponseError::UnknownMemberId,
        GroupError::FencedInstance => ResponseError::FencedInstanceId,
        GroupError::MemberIdRequired(_) => ResponseError::MemberIdRequired,
        GroupError::IllegalGeneration => ResponseError::IllegalGeneration,
        GroupError::Rebalancing => ResponseError::RebalanceInProgress,
        GroupError::InconsistentProtocol => ResponseError::InconsistentGroupProtocol,
        GroupError::InvalidSessionTimeout => ResponseError::InvalidSessionTimeout,
        GroupError::Full => ResponseError::GroupMaxSizeReached,
        GroupError::NotEmpty => ResponseError::NonEmptyGroup,
        GroupError::Subscribed => ResponseError::GroupSubscribedToTopic,
        GroupError::UnknownTopic => ResponseError::UnknownTopicOrPartition,
        GroupError::MetadataTooLarge => ResponseError::OffsetMetadataTooLarge,
        GroupError::UnstableOffset => ResponseError::UnstableOffsetCommit,
        GroupError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        GroupError::TooOldForEpochs => ResponseError::UnsupportedVersion,
        GroupError::StaleMemberEpoch => ResponseError::StaleMemberEpoch,
        GroupError::FencedMemberEpoch(_) => ResponseError::FencedMemberEpoch,
        GroupError::UnreleasedInstance => ResponseError::UnreleasedInstanceId,
        GroupError::UnsupportedAssignor(_) => ResponseError::UnsupportedAssignor,
        GroupError::InvalidRegex(_) => ResponseError::InvalidRegularExpression,
        GroupError::InvalidRequest(_) => ResponseError::InvalidRequest,
    }
}

/// What a refused step of a transaction tells its producer. `fenced` is the code for a producer that
/// another one has replaced: requests that came before PRODUCER_FENCED say INVALID_PRODUCER_EPOCH.
pub fn transaction(error: &TxnError, fenced: ResponseError) -> ResponseError {
    match error {
        TxnError::Refused(refused) => match refused {
            TransactionError::UnknownProducer => ResponseError::InvalidProducerIdMapping,
            TransactionError::Fenced => fenced,
            TransactionError::Concurrent => ResponseError::ConcurrentTransactions,
            TransactionError::InvalidState => ResponseError::InvalidTxnState,
            TransactionError::NotAdded => ResponseError::TransactionAbortable,
        },
        TxnError::Unavailable(error) => unavailable(error),
        TxnError::Storage(error) => match error.kind() {
            ErrorKind::Fenced | ErrorKind::Closed => ResponseError::NotCoordinator,
            ErrorKind::Unavailable | ErrorKind::Corrupt => ResponseError::CoordinatorNotAvailable,
            ErrorKind::Invalid => ResponseError::UnknownServerError,
        },
    }
}

/// What a batch that may not join a transaction tells its producer: what passes is
/// NOT_ENOUGH_REPLICAS, at which every client sends the batch again.
pub fn joining(error: &TxnError, version: i16) -> ResponseError {
    let TxnError::Refused(refused) = error else {
        return ResponseError::NotEnoughReplicas;
    };
    match refused {
        TransactionError::UnknownProducer => ResponseError::InvalidProducerIdMapping,
        TransactionError::Fenced => ResponseError::InvalidProducerEpoch,
        TransactionError::Concurrent if version >= TRANSACTIONS_V2_SINCE => {
            ResponseError::ConcurrentTransactions
        }
        TransactionError::Concurrent => ResponseError::NotEnoughReplicas,
        TransactionError::NotAdded if version >= ABORTABLE_SINCE => {
            ResponseError::TransactionAbortable
        }
        TransactionError::NotAdded | TransactionError::InvalidState => {
            ResponseError::InvalidTxnState
        }
    }
}

/// What offsets that may not join a transaction tell its producer: what passes is
/// COORDINATOR_LOAD_IN_PROGRESS, at which every client commits again. Below version 2 clients do not know
/// that one.
pub fn committing(error: &TxnError, version: i16) -> ResponseError {
    let code = joining(error, version + PRODUCE_AHEAD);
    let passes = [
        ResponseError::NotEnoughReplicas,
        ResponseError::ConcurrentTransactions,
    ];
    if !passes.contains(&code) {
        code
    } else if version < 2 {
        ResponseError::CoordinatorNotAvailable
    } else {
        ResponseError::CoordinatorLoadInProgress
    }
}

/// By so much Produce's version is ahead of the one of TxnOffsetCommit that does the same.
const PRODUCE_AHEAD: i16 = 7;
/// Produce: KIP-890's second part came with this version, and TRANSACTION_ABORTABLE with that.
const TRANSACTIONS_V2_SINCE: i16 = 12;
const ABORTABLE_SINCE: i16 = 11;
