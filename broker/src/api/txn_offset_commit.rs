//! TxnOffsetCommit (28), versions 0-5.
//!
//! Offsets of a group that become the group's when a transaction is committed, and are dropped when it is
//! aborted. The transaction has to have the group (AddOffsetsToTxn); from v5 on it is added if need be
//! (KIP-890).
//!
//! v2 leader epochs; v3 the member that commits is judged as in OffsetCommit (KIP-447); v4
//! TRANSACTION_ABORTABLE; v5 groups join transactions by committing offsets.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TopicName, TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::context::Context;
use super::errors;
use super::group::{ask, code, maybe, mismatched, owned, text};
use crate::coordinator::group::commands::{
    ByTopic, Caller, Command, Commit, GroupError, NewOffset, Reply, TxnCommit,
};
use crate::coordinator::txn::{Owner, TxnError};
use crate::types::{ProducerEpoch, ProducerId};

/// Members are named from this version on.
const MEMBERS_SINCE: i16 = 3;
/// KIP-890: a commit adds its group to the transaction from this version on.
const ADDS_SINCE: i16 = 5;

/// Answers a TxnOffsetCommit request.
pub async fn handle(ctx: &Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let transactions = &ctx.rooms.transactions;
    let owner = Owner {
        id: &request.transactional_id,
        producer: ProducerId(request.producer_id.0),
        epoch: ProducerEpoch(request.producer_epoch),
    };
    let group = owned(&request.group_id);
    let mut failed = None;
    if ctx.version >= ADDS_SINCE && transactions.verify_group(owner, &group).is_err() {
        // The offsets are committed behind this, in the same store.
        let added = transactions
            .add(owner, Vec::new(), Some(group.to_string()), true)
            .await;
        failed = added.err();
    }
    // Until the guard is dropped no end of the transaction is told to the group.
    let gate = transactions.enter(owner.id).await;
    if let Err(error) = transactions.verify_group(owner, &group) {
        let error: TxnError = failed.unwrap_or(error.into());
        return all(&request, errors::committing(&error, ctx.version));
    }
    let commit = TxnCommit {
        commit: Commit {
            caller: caller(ctx, &request, group),
            knows_epochs: ctx.version >= 3,
            image: ctx.image.clone(),
            offsets: offsets(&request),
        },
        producer: owner.producer,
        epoch: owner.epoch,
    };
    let reply = ask(ctx, Command::TxnCommit(commit)).await;
    drop(gate);
    match reply {
        Ok(Reply::Partitions(Ok(outcomes))) => respond(&outcomes, outcome_code),
        Ok(Reply::Partitions(Err(error))) => {
            let outcome = Err(error);
            respond(&indexes(&request), |()| outcome_code(&outcome))
        }
        Ok(other) => all(&request, mismatched(&other)),
        Err(error) => all(&request, error),
    }
}

fn caller(ctx: &Context, request: &TxnOffsetCommitRequest, group: Arc<str>) -> Caller {
    let named = ctx.version >= MEMBERS_SINCE;
    Caller {
        group,
        member: owned(&request.member_id),
        instance: maybe(request.group_instance_id.as_ref()),
        generation: if named { request.generation_id } else { -1 },
    }
}

fn offsets(request: &TxnOffsetCommitRequest) -> ByTopic<NewOffset> {
    let nothing: Arc<str> = "".into();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            let metadata = one.committed_metadata.as_ref();
            let offset = NewOffset {
                offset: one.committed_offset,
                leader_epoch: one.committed_leader_epoch,
                metadata: metadata.map_or_else(|| nothing.clone(), owned),
            };
            (one.partition_index, offset)
        });
        (owned(&topic.name), partitions.collect())
    });
    topics.collect()
}

fn outcome_code(outcome: &Result<(), GroupError>) -> i16 {
    match outcome {
        // This API knows a group that is not there by another name.
        Err(GroupError::UnknownGroup(_)) => ResponseError::IllegalGeneration.code(),
        outcome => code(outcome),
    }
}

fn indexes(request: &TxnOffsetCommitRequest) -> ByTopic<()> {
    let topics = request.topics.iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|one| (one.partition_index, ()));
        (owned(&topic.name), indexes.collect())
    });
    topics.collect()
}

fn all(request: &TxnOffsetCommitRequest, error: ResponseError) -> TxnOffsetCommitResponse {
    respond(&indexes(request), |()| error.code())
}

fn respond<T>(outcomes: &ByTopic<T>, code: impl Fn(&T) -> i16) -> TxnOffsetCommitResponse {
    let topics = outcomes.iter().map(|(topic, partitions)| {
        let partitions = partitions.iter().map(|(index, outcome)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(*index)
                .with_error_code(code(outcome))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}
