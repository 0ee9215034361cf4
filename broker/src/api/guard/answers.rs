//! The fields of the responses that the bridge reads from another broker, after Kafka's own message
//! schemas: a source is not trusted more than a client is.

use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};

use super::schema::{
    BYTES, INT8, INT16, INT32, INT32S, INT64, STRING, STRINGS, UUID, array, tagged,
};
use super::{Element, Schema};

/// The description of responses to `key`; `None` for one that the bridge does not read.
pub(super) fn schema(key: ApiKey) -> Option<&'static Schema> {
    Some(match key {
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::Metadata => &METADATA,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::DescribeLogDirs => &DESCRIBE_LOG_DIRS,
        ApiKey::DescribeProducers => &DESCRIBE_PRODUCERS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::DescribeAcls => &DESCRIBE_ACLS,
        ApiKey::DescribeUserScramCredentials => &DESCRIBE_USER_SCRAM_CREDENTIALS,
        ApiKey::SaslHandshake => &SASL_HANDSHAKE,
        ApiKey::SaslAuthenticate => &SASL_AUTHENTICATE,
        _ => return None,
    })
}

static API_VERSIONS: Schema = Schema {
    flexible_from: 3,
    fields: &[
        INT16, // error
        array::<ApiVersion>(&[INT16, INT16, INT16]),
        INT32.since(1), // throttle time
        tagged(
            0,
            Element::Structs(size_of::<SupportedFeatureKey>(), &[STRING, INT16, INT16]),
        )
        .since(3),
        tagged(1, Element::Fixed(8)).since(3), // epoch of the finalized features
        tagged(
            2,
            Element::Structs(size_of::<FinalizedFeatureKey>(), &[STRING, INT16, INT16]),
        )
        .since(3),
        tagged(3, Element::Fixed(1)).since(3), // ready to migrate from ZooKeeper
    ],
};

static METADATA: Schema = Schema {
    flexible_from: 9,
    fields: &[
        INT32.since(3), // throttle time
        array::<MetadataResponseBroker>(&[INT32, STRING, INT32, STRING.since(1)]),
        STRING.since(2), // cluster
        INT32.since(1),  // controller
        array::<MetadataResponseTopic>(&[
            INT16, // error
            STRING,
            UUID.since(10),
            INT8.since(1), // internal
            array::<MetadataResponsePartition>(&[
                INT16,          // error
                INT32,          // partition
                INT32,          // leader
                INT32.since(7), // its epoch
                INT32S,         // replicas
                INT32S,         // in sync
                INT32S.since(5),
            ]),
            INT32.since(8), // operations
        ]),
        INT32.since(8).until(10), // operations
        INT16.since(13),          // error
    ],
};

static DESCRIBE_CLUSTER: Schema = Schema {
    flexible_from: 0,
    fields: &[
        INT32, // throttle time
        INT16, // error
        STRING,
        INT8.since(1), // kind of endpoint
        STRING,        // cluster
        INT32,         // controller
        array::<DescribeClusterBroker>(&[INT32, STRING, INT32, STRING, INT8.since(2)]),
        INT32, // operations
    ],
};

static FETCH: Schema = Schema {
    flexible_from: 12,
    fields: &[
        INT32,          // throttle time
        INT16.since(7), // error
        INT32.since(7), // session
        array::<FetchableTopicResponse>(&[
            STRING.until(12),
            UUID.since(13),
            array::<PartitionData>(&[
                INT32,          // partition
                INT16,          // error
                INT64,          // high watermark
                INT64,          // last stable offset
                INT64.since(5), // log start
                array::<AbortedTransaction>(&[INT64, INT64]),
                INT32.since(11), // preferred replica
                BYTES,
                tagged(0, Element::Struct(0, &[INT32, INT64])).since(12), // diverging epoch
                tagged(1, Element::Struct(0, &[INT32, INT32])).since(12), // leader
                tagged(2, Element::Struct(0, &[INT64, INT32])).since(12), // snapshot
            ]),
        ]),
    ],
};

static LIST_OFFSETS: Schema = Schema {
    flexible_from: 6,
    fields: &[
        INT32.since(2), // throttle time
        array::<ListOffsetsTopicResponse>(&[
            STRING,
            array::<ListOffsetsPartitionResponse>(&[INT32, INT16, INT64, INT64, INT32.since(4)]),
        ]),
    ],
};

static OFFSET_FOR_LEADER_EPOCH: Schema = Schema {
    flexible_from: 4,
    fields: &[
        INT32.since(2), // throttle time
        array::<OffsetForLeaderTopicResult>(&[
            STRING,
            array::<EpochEndOffset>(&[INT16, INT32, INT32, INT64]),
        ]),
    ],
};

static DESCRIBE_CONFIGS: Schema = Schema {
    flexible_from: 4,
    fields: &[
        INT32, // throttle time
        array::<DescribeConfigsResult>(&[
            INT16,
            STRING, // message
            INT8,
            STRING, // resource
            array::<DescribeConfigsResourceResult>(&[
                STRING,
                STRING,
                INT8, // read only
                INT8, // source
                INT8, // sensitive
                array::<DescribeConfigsSynonym>(&[STRING, STRING, INT8]),
                INT8.since(3),   // type
                STRING.since(3), // documentation
            ]),
        ]),
    ],
};

static DESCRIBE_LOG_DIRS: Schema = Schema {
    flexible_from: 2,
    fields: &[
        INT32,          // throttle time
        INT16.since(3), // error
        array::<DescribeLogDirsResult>(&[
            INT16,
            STRING, // directory
            array::<DescribeLogDirsTopic>(&[
                STRING,
                array::<DescribeLogDirsPartition>(&[INT32, INT64, INT64, INT8]),
            ]),
            INT64.since(4), // size
            INT64.since(4), // free
        ]),
    ],
};

static DESCRIBE_PRODUCERS: Schema = Schema {
    flexible_from: 0,
    fields: &[
        INT32, // throttle time
        array::<TopicResponse>(&[
            STRING,
            array::<PartitionResponse>(&[
                INT32,
                INT16,
                STRING, // message
                array::<ProducerState>(&[INT64, INT32, INT32, INT64, INT32, INT64]),
            ]),
        ]),
    ],
};

static LIST_GROUPS: Schema = Schema {
    flexible_from: 3,
    fields: &[
        INT32.since(1), // throttle time
        INT16,
        array::<ListedGroup>(&[STRING, STRING, STRING.since(4), STRING.since(5)]),
    ],
};

static OFFSET_FETCH: Schema = Schema {
    flexible_from: 6,
    fields: &[
        INT32.since(3), // throttle time
        array::<OffsetFetchResponseTopic>(&[
            STRING,
            array::<OffsetFetchResponsePartition>(&[INT32, INT64, INT32.since(5), STRING, INT16]),
        ])
        .until(7),
        INT16.since(2).until(7), // error
        array::<OffsetFetchResponseGroup>(&[
            STRING,
            array::<OffsetFetchResponseTopics>(&[
                STRING.until(9),
                UUID.since(10),
                array::<OffsetFetchResponsePartitions>(&[INT32, INT64, INT32, STRING, INT16]),
            ]),
            INT16,
        ])
        .since(8),
    ],
};

static DESCRIBE_ACLS: Schema = Schema {
    flexible_from: 2,
    fields: &[
        INT32, // throttle time
        INT16,
        STRING, // message
        array::<DescribeAclsResource>(&[
            INT8,
            STRING,
            INT8.since(1), // kind of pattern
            array::<AclDescription>(&[STRING, STRING, INT8, INT8]),
        ]),
    ],
};

static DESCRIBE_USER_SCRAM_CREDENTIALS: Schema = Schema {
    flexible_from: 0,
    fields: &[
        INT32, // throttle time
        INT16,
        STRING, // message
        array::<DescribeUserScramCredentialsResult>(&[
            STRING,
            INT16,
            STRING, // message
            array::<CredentialInfo>(&[INT8, INT32]),
        ]),
    ],
};

static SASL_HANDSHAKE: Schema = Schema {
    flexible_from: i16::MAX,
    fields: &[INT16, STRINGS],
};

static SASL_AUTHENTICATE: Schema = Schema {
    flexible_from: 2,
    fields: &[
        INT16,
        STRING, // message
        BYTES,
        INT64.since(1), // lifetime
    ],
};
