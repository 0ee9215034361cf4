//! The fields of every request this broker serves, after Kafka's own message schemas.
//!
//! A description covers the versions that the codec has, and those below them that handlers decode
//! for themselves.

use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedPartitions;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{
    FetchPartition, FetchTopic, ForgottenTopic, ReplicaState,
};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;

use super::{Element, Field, Kind, Schema, admin};

mod transactions;

use transactions::{
    ADD_OFFSETS_TO_TXN, ADD_PARTITIONS_TO_TXN, DESCRIBE_PRODUCERS, DESCRIBE_TRANSACTIONS, END_TXN,
    LIST_TRANSACTIONS, TXN_OFFSET_COMMIT, WRITE_TXN_MARKERS,
};

/// The description of requests of `key`; `None` for an API that is not served.
pub fn schema(key: ApiKey) -> Option<&'static Schema> {
    Some(match key {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::JoinGroup => &JOIN_GROUP,
        ApiKey::Heartbeat => &HEARTBEAT,
        ApiKey::LeaveGroup => &LEAVE_GROUP,
        ApiKey::SyncGroup => &SYNC_GROUP,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::AddPartitionsToTxn => &ADD_PARTITIONS_TO_TXN,
        ApiKey::AddOffsetsToTxn => &ADD_OFFSETS_TO_TXN,
        ApiKey::EndTxn => &END_TXN,
        ApiKey::WriteTxnMarkers => &WRITE_TXN_MARKERS,
        ApiKey::TxnOffsetCommit => &TXN_OFFSET_COMMIT,
        ApiKey::DescribeProducers => &DESCRIBE_PRODUCERS,
        ApiKey::DescribeTransactions => &DESCRIBE_TRANSACTIONS,
        ApiKey::ListTransactions => &LIST_TRANSACTIONS,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS,
        ApiKey::DeleteGroups => &DELETE_GROUPS,
        ApiKey::OffsetDelete => &OFFSET_DELETE,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        ApiKey::ConsumerGroupHeartbeat => &CONSUMER_GROUP_HEARTBEAT,
        ApiKey::ConsumerGroupDescribe => &CONSUMER_GROUP_DESCRIBE,
        _ => return admin::schema(key),
    })
}

static PRODUCE: Schema = Schema {
    flexible_from: 9,
    fields: &[
        STRING, // transactional id
        INT16,  // acks
        INT32,  // timeout
        array::<TopicProduceData>(&[
            STRING.until(12),
            UUID.since(13),
            array::<PartitionProduceData>(&[INT32, BYTES]),
        ]),
    ],
};

static FETCH: Schema = Schema {
    flexible_from: 12,
    fields: &[
        INT32.until(14), // replica id
        INT32,           // max wait
        INT32,           // min bytes
        INT32,           // max bytes
        INT8,            // isolation level
        INT32.since(7),  // session id
        INT32.since(7),  // session epoch
        array::<FetchTopic>(&[
            STRING.until(12),
            UUID.since(13),
            array::<FetchPartition>(&[
                INT32,           // partition
                INT32.since(9),  // current leader epoch
                INT64,           // fetch offset
                INT32.since(12), // last fetched epoch
                INT64.since(5),  // log start offset
                INT32,           // max bytes
                tagged(0, Element::Fixed(16)).since(17),
                tagged(1, Element::Fixed(8)).since(18),
            ]),
        ]),
        array::<ForgottenTopic>(&[STRING.until(12), UUID.since(13), INT32S]).since(7),
        STRING.since(11), // rack id
        tagged(0, Element::String),
        tagged(
            1,
            Element::Struct(size_of::<ReplicaState>(), &[INT32, INT64]),
        )
        .since(15),
    ],
};

static LIST_OFFSETS: Schema = Schema {
    flexible_from: 6,
    fields: &[
        INT32,         // replica id
        INT8.since(2), // isolation level
        array::<ListOffsetsTopic>(&[
            STRING,
            array::<ListOffsetsPartition>(&[
                INT32,          // partition
                INT32.since(4), // current leader epoch
                INT64,          // timestamp
            ]),
        ]),
        INT32.since(10), // timeout
    ],
};

static METADATA: Schema = Schema {
    flexible_from: 9,
    fields: &[
        array::<MetadataRequestTopic>(&[UUID.since(10), STRING]),
        INT8.since(4),           // allow auto topic creation
        INT8.since(8).until(10), // include cluster authorized operations
        INT8.since(8),           // include topic authorized operations
    ],
};

static FIND_COORDINATOR: Schema = Schema {
    flexible_from: 3,
    fields: &[STRING.until(3), INT8.since(1), STRINGS.since(4)],
};

static OFFSET_COMMIT: Schema = Schema {
    flexible_from: 8,
    fields: &[
        STRING,                  // group
        INT32,                   // generation
        STRING,                  // member
        STRING.since(7),         // instance
        INT64.since(2).until(4), // retention time
        array::<OffsetCommitRequestTopic>(&[
            STRING,
            array::<OffsetCommitRequestPartition>(&[
                INT32,          // partition
                INT64,          // offset
                INT32.since(6), // leader epoch
                INT64.until(1), // timestamp
                STRING,         // metadata
            ]),
        ]),
    ],
};

static OFFSET_FETCH: Schema = Schema {
    flexible_from: 6,
    fields: &[
        STRING.until(7), // group
        array::<OffsetFetchRequestTopic>(&[STRING, INT32S]).until(7),
        array::<OffsetFetchRequestGroup>(&[
            STRING,          // group
            STRING.since(9), // member
            INT32.since(9),  // member epoch
            array::<OffsetFetchRequestTopics>(&[STRING, INT32S]),
        ])
        .since(8),
        INT8.since(7), // require stable
    ],
};

static JOIN_GROUP: Schema = Schema {
    flexible_from: 6,
    fields: &[
        STRING,          // group
        INT32,           // session timeout
        INT32.since(1),  // rebalance timeout
        STRING,          // member
        STRING.since(5), // instance
        STRING,          // protocol type
        array::<JoinGroupRequestProtocol>(&[STRING, BYTES]),
        STRING.since(8), // reason
    ],
};

static HEARTBEAT: Schema = Schema {
    flexible_from: 4,
    fields: &[STRING, INT32, STRING, STRING.since(3)],
};

static LEAVE_GROUP: Schema = Schema {
    flexible_from: 4,
    fields: &[
        STRING,          // group
        STRING.until(2), // member
        array::<MemberIdentity>(&[STRING, STRING, STRING.since(5)]).since(3),
    ],
};

static SYNC_GROUP: Schema = Schema {
    flexible_from: 4,
    fields: &[
        STRING,          // group
        INT32,           // generation
        STRING,          // member
        STRING.since(3), // instance
        STRING.since(5), // protocol type
        STRING.since(5), // protocol
        array::<SyncGroupRequestAssignment>(&[STRING, BYTES]),
    ],
};

static DESCRIBE_GROUPS: Schema = Schema {
    flexible_from: 5,
    fields: &[STRINGS, INT8.since(3)],
};

static LIST_GROUPS: Schema = Schema {
    flexible_from: 3,
    fields: &[STRINGS.since(4), STRINGS.since(5)],
};

static DELETE_GROUPS: Schema = Schema {
    flexible_from: 2,
    fields: &[STRINGS],
};

static OFFSET_DELETE: Schema = Schema {
    flexible_from: i16::MAX,
    fields: &[
        STRING, // group
        array::<OffsetDeleteRequestTopic>(&[
            STRING,
            array::<OffsetDeleteRequestPartition>(&[INT32]),
        ]),
    ],
};

static CONSUMER_GROUP_HEARTBEAT: Schema = Schema {
    flexible_from: 0,
    fields: &[
        STRING,          // group
        STRING,          // member
        INT32,           // member epoch
        STRING,          // instance
        STRING,          // rack
        INT32,           // rebalance timeout
        STRINGS,         // topics
        STRING.since(1), // regular expression
        STRING,          // assignor
        array::<OwnedPartitions>(&[UUID, INT32S]),
    ],
};

static CONSUMER_GROUP_DESCRIBE: Schema = Schema {
    flexible_from: 0,
    fields: &[STRINGS, INT8],
};

static API_VERSIONS: Schema = Schema {
    flexible_from: 3,
    fields: &[STRING.since(3), STRING.since(3)],
};

static CREATE_TOPICS: Schema = Schema {
    flexible_from: 5,
    fields: &[
        array::<CreatableTopic>(&[
            STRING,
            INT32, // partitions
            INT16, // replication factor
            array::<CreatableReplicaAssignment>(&[INT32, INT32S]),
            array::<CreatableTopicConfig>(&[STRING, STRING]),
        ]),
        INT32,         // timeout
        INT8.since(1), // validate only
    ],
};

static DELETE_TOPICS: Schema = Schema {
    flexible_from: 4,
    fields: &[
        array::<DeleteTopicState>(&[STRING, UUID]).since(6),
        STRINGS.until(5),
        INT32, // timeout
    ],
};

static DELETE_RECORDS: Schema = Schema {
    flexible_from: 2,
    fields: &[
        array::<DeleteRecordsTopic>(&[STRING, array::<DeleteRecordsPartition>(&[INT32, INT64])]),
        INT32, // timeout
    ],
};

static INIT_PRODUCER_ID: Schema = Schema {
    flexible_from: 2,
    fields: &[
        STRING,         // transactional id
        INT32,          // transaction timeout
        INT64.since(3), // producer id
        INT16.since(3), // producer epoch
    ],
};

static OFFSET_FOR_LEADER_EPOCH: Schema = Schema {
    flexible_from: 4,
    fields: &[
        INT32.since(3), // replica id
        array::<OffsetForLeaderTopic>(&[
            STRING,
            array::<OffsetForLeaderPartition>(&[INT32, INT32, INT32]),
        ]),
    ],
};

static DESCRIBE_CONFIGS: Schema = Schema {
    flexible_from: 4,
    fields: &[
        array::<DescribeConfigsResource>(&[INT8, STRING, STRINGS]),
        INT8,          // include synonyms
        INT8.since(3), // include documentation
    ],
};

static CREATE_PARTITIONS: Schema = Schema {
    flexible_from: 2,
    fields: &[
        array::<CreatePartitionsTopic>(&[
            STRING,
            INT32, // count
            array::<CreatePartitionsAssignment>(&[INT32S]),
        ]),
        INT32, // timeout
        INT8,  // validate only
    ],
};

static DESCRIBE_CLUSTER: Schema = Schema {
    flexible_from: 0,
    fields: &[INT8, INT8.since(1), INT8.since(2)],
};

pub(super) const INT8: Field = Field::new(Kind::Fixed(1));
pub(super) const INT16: Field = Field::new(Kind::Fixed(2));
pub(super) const INT32: Field = Field::new(Kind::Fixed(4));
pub(super) const INT64: Field = Field::new(Kind::Fixed(8));
pub(super) const UUID: Field = Field::new(Kind::Fixed(16));
pub(super) const STRING: Field = Field::new(Kind::String);
pub(super) const BYTES: Field = Field::new(Kind::Bytes);
pub(super) const INT32S: Field = Field::new(Kind::Array(Element::Fixed(4)));
pub(super) const INT8S: Field = Field::new(Kind::Array(Element::Fixed(1)));
pub(super) const STRINGS: Field = Field::new(Kind::Array(Element::String));

/// An array of structs that decode into `T`s.
pub(super) const fn array<T>(fields: &'static [Field]) -> Field {
    Field::new(Kind::Array(Element::Struct(size_of::<T>(), fields)))
}

/// A struct that may be missing, behind a byte that says so.
pub(super) const fn optional(fields: &'static [Field]) -> Field {
    Field::new(Kind::Optional(fields))
}

pub(super) const fn tagged(tag: u32, element: Element) -> Field {
    Field::new(Kind::Tagged(tag, element))
}

impl Field {
    const fn new(kind: Kind) -> Self {
        Self {
            from: i16::MIN,
            to: i16::MAX,
            kind,
        }
    }

    /// The same field, from `version` on.
    pub(super) const fn since(mut self, version: i16) -> Self {
        self.from = version;
        self
    }

    /// The same field, up to and with `version`.
    pub(super) const fn until(mut self, version: i16) -> Self {
        self.to = version;
        self
    }
}
