//! The Kafka APIs: one file each, and the table that lists them.
//!
//! [`TABLE`] is the one place that says what this broker serves: the connection dispatches by it,
//! ApiVersions answers from it, `docs/api-support.md` and the fuzz targets derive from it. An API
//! without a line here does not exist.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod context;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod errors;
mod features;
pub mod fetch;
pub mod fetch_response;
pub mod find_coordinator;
mod group;
pub mod guard;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
mod operations;
pub mod produce;
mod produce_request;
mod repeated;
mod resource;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod session;
pub mod sync_group;
mod timeout;
pub mod txn_offset_commit;
pub mod update_features;
pub mod write_txn_markers;

use std::future::ready;
use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest};
use kafka_protocol::protocol::{Decodable, Encodable};

use context::Context;
use produce_request::ProduceRequest;

/// What a handler makes of a request.
pub enum Outcome {
    /// The body of the response, in pieces that are written one after another.
    Reply(Vec<Bytes>),
    /// The first stage is done and its order is fixed; the rest may wait while the connection reads
    /// on. Responses still leave in the order of their requests, so the future is polled only once
    /// its turn has come: it may wait, but must not have work of its own to start.
    Later(BoxFuture<'static, Outcome>),
    /// No response at all (acks=0).
    Silent,
    /// The connection is closed without an answer; the reason goes to the log.
    Close(String),
}

/// Whether a request may overlap with those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stages {
    /// Starts when every earlier request of its connection has been answered, as in Kafka.
    One,
    /// Its first stage starts when the first stage of every earlier two-stage request is done, so
    /// that stages one run in the order of arrival; stages two overlap.
    Two,
}

/// One API: a line of the table.
pub struct Api {
    /// Its number.
    pub key: ApiKey,
    /// Kafka's name for it.
    pub name: &'static str,
    /// Versions told to clients.
    pub versions: RangeInclusive<i16>,
    /// The lowest version that is served; a lower one closes the connection. Above the advertised
    /// minimum only where clients want to see versions that they never send (Produce 0 to 2).
    pub served_from: i16,
    /// Whether it may overlap with the requests behind it.
    pub stages: Stages,
    /// Carries records, so that its size is bounded by `socket.request.max.bytes` alone. Any other
    /// request decodes into many times its size, and has a lower limit.
    pub carries_records: bool,
    /// Runs one request whose header has been read; the body is the rest of its frame. The guard
    /// looks at it first.
    pub(crate) run: fn(Context, BytesMut) -> BoxFuture<'static, Outcome>,
    /// Guards and decodes a body and drops what comes out: the way in for fuzzing.
    pub probe: fn(i16, BytesMut) -> Result<(), Undecodable>,
}

/// Why a body cannot be decoded; the connection closes, as Kafka has no answer for it.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// The guard refused it.
    #[error("{0}")]
    Refused(#[from] guard::Refusal),
    /// The decoder refused it.
    #[error("{0}")]
    Malformed(String),
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)
    }
}

impl Api {
    /// Whether it answers requests that it cannot read, even their headers.
    pub fn takes_any_version(&self) -> bool {
        *self.versions.end() == i16::MAX
    }

    /// Whether a request of `version` is served.
    pub fn serves(&self, version: i16) -> bool {
        version >= self.served_from && version <= *self.versions.end()
    }

    /// Whether `version` has compact lengths and tagged fields (KIP-482).
    pub fn is_flexible(&self, version: i16) -> bool {
        self.key.request_header_version(version) >= 2
    }

    /// Whether the response to `version` has a tagged section in its header.
    pub fn has_tagged_response_header(&self, version: i16) -> bool {
        self.key.response_header_version(version) >= 1
    }
}

/// A line for an API whose handler is
/// `async fn handle(ctx: &Context, request: XRequest) -> XResponse`.
macro_rules! one_stage {
    ($key:ident, $versions:expr, $handler:path) => {
        Api {
            key: ApiKey::$key,
            name: stringify!($key),
            versions: $versions,
            served_from: *$versions.start(),
            stages: Stages::One,
            carries_records: false,
            run: |ctx, body| match guard::check(ApiKey::$key, ctx.version, &body) {
                Ok(_) => Box::pin(async move {
                    match decode(&ctx, body) {
                        Ok(request) => reply(&ctx, &$handler(&ctx, request).await),
                        Err(close) => close,
                    }
                }),
                Err(refusal) => Box::pin(ready(Outcome::Close(refusal.to_string()))),
            },
            probe: |version, body| {
                guard::check(ApiKey::$key, version, &body)?;
                probe($handler, body, version).map_err(malformed)
            },
        }
    };
}

/// A line for an API that decodes and encodes for itself:
/// `async fn handle(ctx: Context, body: BytesMut) -> Outcome`, and a function that decodes, for
/// [`Api::probe`]. `served_from` is the lowest version that is really served.
macro_rules! raw {
    ($key:ident, $versions:expr, served_from $served_from:expr, $stages:ident, $handler:path, $decode:expr) => {
        Api {
            key: ApiKey::$key,
            name: stringify!($key),
            versions: $versions,
            served_from: $served_from,
            stages: Stages::$stages,
            carries_records: matches!(ApiKey::$key, ApiKey::Produce),
            run: |ctx, body| match guard::check(ApiKey::$key, ctx.version, &body) {
                Ok(_) => Box::pin($handler(ctx, body)),
                Err(refusal) => Box::pin(ready(Outcome::Close(refusal.to_string()))),
            },
            probe: |version, body| {
                guard::check(ApiKey::$key, version, &body)?;
                $decode(body, version).map(drop).map_err(malformed)
            },
        }
    };
}

/// THE TABLE, sorted by key.
pub static TABLE: &[Api] = &[
    raw!(Produce, 0..=13, served_from 3, Two, produce::handle, ProduceRequest::decode),
    raw!(Fetch, 4..=18, served_from 4, One, fetch::handle, codec::<FetchRequest>),
    one_stage!(ListOffsets, 1..=10, list_offsets::handle),
    one_stage!(Metadata, 0..=13, metadata::handle),
    raw!(OffsetCommit, 1..=9, served_from 1, One, offset_commit::serve, offset_commit::decode),
    one_stage!(OffsetFetch, 1..=9, offset_fetch::handle),
    one_stage!(FindCoordinator, 0..=6, find_coordinator::handle),
    one_stage!(JoinGroup, 0..=9, join_group::handle),
    one_stage!(Heartbeat, 0..=4, heartbeat::handle),
    one_stage!(LeaveGroup, 0..=5, leave_group::handle),
    one_stage!(SyncGroup, 0..=5, sync_group::handle),
    one_stage!(DescribeGroups, 0..=6, describe_groups::handle),
    one_stage!(ListGroups, 0..=5, list_groups::handle),
    one_stage!(SaslHandshake, 0..=1, sasl_handshake::handle),
    one_stage!(ApiVersions, 0..=4, api_versions::handle),
    raw!(CreateTopics, 0..=7, served_from 0, One, create_topics::serve, codec::<CreateTopicsRequest>),
    raw!(DeleteTopics, 0..=6, served_from 0, One, delete_topics::serve, codec::<DeleteTopicsRequest>),
    one_stage!(DeleteRecords, 0..=2, delete_records::handle),
    one_stage!(InitProducerId, 0..=5, init_producer_id::handle),
    one_stage!(OffsetForLeaderEpoch, 2..=4, offset_for_leader_epoch::handle),
    one_stage!(AddPartitionsToTxn, 0..=5, add_partitions_to_txn::handle),
    one_stage!(AddOffsetsToTxn, 0..=4, add_offsets_to_txn::handle),
    one_stage!(EndTxn, 0..=5, end_txn::handle),
    one_stage!(WriteTxnMarkers, 1..=1, write_txn_markers::handle),
    one_stage!(TxnOffsetCommit, 0..=5, txn_offset_commit::handle),
    one_stage!(DescribeAcls, 1..=3, describe_acls::handle),
    one_stage!(CreateAcls, 1..=3, create_acls::handle),
    one_stage!(DeleteAcls, 1..=3, delete_acls::handle),
    one_stage!(DescribeConfigs, 1..=4, describe_configs::handle),
    one_stage!(AlterConfigs, 0..=2, alter_configs::handle),
    one_stage!(DescribeLogDirs, 1..=4, describe_log_dirs::handle),
    one_stage!(SaslAuthenticate, 0..=2, sasl_authenticate::handle),
    one_stage!(CreatePartitions, 0..=3, create_partitions::handle),
    one_stage!(DeleteGroups, 0..=2, delete_groups::handle),
    one_stage!(ElectLeaders, 0..=2, elect_leaders::handle),
    one_stage!(
        IncrementalAlterConfigs,
        0..=1,
        incremental_alter_configs::handle
    ),
    one_stage!(
        AlterPartitionReassignments,
        0..=1,
        alter_partition_reassignments::handle
    ),
    one_stage!(
        ListPartitionReassignments,
        0..=0,
        list_partition_reassignments::handle
    ),
    one_stage!(OffsetDelete, 0..=0, offset_delete::handle),
    one_stage!(DescribeClientQuotas, 0..=1, describe_client_quotas::handle),
    one_stage!(AlterClientQuotas, 0..=1, alter_client_quotas::handle),
    one_stage!(
        DescribeUserScramCredentials,
        0..=0,
        describe_user_scram_credentials::handle
    ),
    one_stage!(
        AlterUserScramCredentials,
        0..=0,
        alter_user_scram_credentials::handle
    ),
    one_stage!(DescribeQuorum, 0..=2, describe_quorum::handle),
    one_stage!(UpdateFeatures, 0..=2, update_features::handle),
    one_stage!(DescribeCluster, 0..=2, describe_cluster::handle),
    one_stage!(DescribeProducers, 0..=0, describe_producers::handle),
    one_stage!(DescribeTransactions, 0..=0, describe_transactions::handle),
    one_stage!(ListTransactions, 0..=2, list_transactions::handle),
    one_stage!(
        ConsumerGroupHeartbeat,
        0..=1,
        consumer_group_heartbeat::handle
    ),
    one_stage!(
        ConsumerGroupDescribe,
        0..=1,
        consumer_group_describe::handle
    ),
    one_stage!(ListConfigResources, 0..=1, list_config_resources::handle),
    one_stage!(
        DescribeTopicPartitions,
        0..=0,
        describe_topic_partitions::handle
    ),
];

/// The line that runs a request, and the version it runs at; `None` for what is not served.
///
/// ApiVersions is answered at any version: a client that knows a newer one learns ours (KIP-511).
pub fn find(key: i16, version: i16) -> Option<(&'static Api, i16)> {
    let line = TABLE
        .binary_search_by_key(&key, |api| api.key as i16)
        .ok()
        .map(|at| &TABLE[at])?;
    if line.serves(version) {
        Some((line, version))
    } else if line.key == ApiKey::ApiVersions {
        Some((&api_versions::ANY_VERSION, 0))
    } else {
        None
    }
}

/// The request in `body`, which the guard has passed, or why the connection closes. Bytes behind it
/// are ignored, as in Kafka.
pub(crate) fn decode<R: Decodable>(ctx: &Context, body: BytesMut) -> Result<R, Outcome> {
    codec(body, ctx.version)
        .map_err(|error| Outcome::Close(format!("the request does not decode: {error}")))
}

fn codec<R: Decodable>(body: BytesMut, version: i16) -> anyhow::Result<R> {
    R::decode(&mut body.freeze(), version)
}

/// Decodes what `handler` takes.
fn probe<'a, R: Decodable, F>(
    _handler: fn(&'a Context, R) -> F,
    body: BytesMut,
    version: i16,
) -> anyhow::Result<()> {
    codec::<R>(body, version).map(drop)
}

fn malformed(error: impl std::fmt::Display) -> Undecodable {
    Undecodable::Malformed(error.to_string())
}

/// The reply that carries `response`.
pub(crate) fn reply<R: Encodable>(ctx: &Context, response: &R) -> Outcome {
    let mut body = BytesMut::with_capacity(256);
    match response.encode(&mut body, ctx.version) {
        Ok(()) => Outcome::Reply(vec![body.freeze()]),
        Err(error) => {
            // A handler filled a field that this version lacks: our mistake, never the client's.
            tracing::error!(version = ctx.version, %error, "a response does not encode");
            Outcome::Close(format!("the response does not encode: {error}"))
        }
    }
}

#[cfg(test)]
mod answers_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_within_what_the_codec_knows() {
        assert!(TABLE.is_sorted_by(|one, other| (one.key as i16) < other.key as i16));
        for api in TABLE {
            let codec = api.key.valid_versions();
            assert!(*api.versions.end() <= codec.max, "{api:?}");
            assert!(api.served_from >= *api.versions.start(), "{api:?}");
        }
    }
}
