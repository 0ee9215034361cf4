//! The fields of administrative requests.

use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::alter_client_quotas_request as alter_quotas;
use kafka_protocol::messages::alter_configs_request as alter_configs;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_quorum_request as quorum;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;

use super::Schema;
use super::schema::{BYTES, INT8, INT8S, INT16, INT32, INT32S, INT64, STRING, array, optional};

/// The description of requests of `key`; `None` for an API that is not among these.
pub(super) fn schema(key: ApiKey) -> Option<&'static Schema> {
    Some(match key {
        ApiKey::DescribeAcls => &DESCRIBE_ACLS,
        ApiKey::CreateAcls => &CREATE_ACLS,
        ApiKey::DeleteAcls => &DELETE_ACLS,
        ApiKey::AlterConfigs => &ALTER_CONFIGS,
        ApiKey::DescribeLogDirs => &DESCRIBE_LOG_DIRS,
        ApiKey::SaslHandshake => &SASL_HANDSHAKE,
        ApiKey::SaslAuthenticate => &SASL_AUTHENTICATE,
        ApiKey::ElectLeaders => &ELECT_LEADERS,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        ApiKey::AlterPartitionReassignments => &ALTER_PARTITION_REASSIGNMENTS,
        ApiKey::ListPartitionReassignments => &LIST_PARTITION_REASSIGNMENTS,
        ApiKey::DescribeClientQuotas => &DESCRIBE_CLIENT_QUOTAS,
        ApiKey::AlterClientQuotas => &ALTER_CLIENT_QUOTAS,
        ApiKey::DescribeUserScramCredentials => &DESCRIBE_USER_SCRAM_CREDENTIALS,
        ApiKey::AlterUserScramCredentials => &ALTER_USER_SCRAM_CREDENTIALS,
        ApiKey::DescribeQuorum => &DESCRIBE_QUORUM,
        ApiKey::UpdateFeatures => &UPDATE_FEATURES,
        ApiKey::ListConfigResources => &LIST_CONFIG_RESOURCES,
        ApiKey::DescribeTopicPartitions => &DESCRIBE_TOPIC_PARTITIONS,
        _ => return None,
    })
}

static SASL_HANDSHAKE: Schema = Schema {
    flexible_from: i16::MAX,
    fields: &[STRING], // mechanism
};

static SASL_AUTHENTICATE: Schema = Schema {
    flexible_from: 2,
    fields: &[BYTES], // token
};

static DESCRIBE_ACLS: Schema = Schema {
    flexible_from: 2,
    fields: &[
        INT8,   // resource type
        STRING, // resource name
        INT8,   // pattern type
        STRING, // principal
        STRING, // host
        INT8,   // operation
        INT8,   // permission type
    ],
};

static CREATE_ACLS: Schema = Schema {
    flexible_from: 2,
    fields: &[array::<AclCreation>(&[
        INT8, STRING, INT8, STRING, STRING, INT8, INT8,
    ])],
};

static DELETE_ACLS: Schema = Schema {
    flexible_from: 2,
    fields: &[array::<DeleteAclsFilter>(&[
        INT8, STRING, INT8, STRING, STRING, INT8, INT8,
    ])],
};

static ALTER_CONFIGS: Schema = Schema {
    flexible_from: 2,
    fields: &[
        array::<alter_configs::AlterConfigsResource>(&[
            INT8,
            STRING,
            array::<alter_configs::AlterableConfig>(&[STRING, STRING]),
        ]),
        INT8, // validate only
    ],
};

static DESCRIBE_LOG_DIRS: Schema = Schema {
    flexible_from: 2,
    fields: &[array::<DescribableLogDirTopic>(&[STRING, INT32S])],
};

static ELECT_LEADERS: Schema = Schema {
    flexible_from: 2,
    fields: &[
        INT8.since(1), // election type
        array::<TopicPartitions>(&[STRING, INT32S]),
        INT32, // timeout
    ],
};

static INCREMENTAL_ALTER_CONFIGS: Schema = Schema {
    flexible_from: 1,
    fields: &[
        array::<incremental::AlterConfigsResource>(&[
            INT8,
            STRING,
            array::<incremental::AlterableConfig>(&[STRING, INT8, STRING]),
        ]),
        INT8, // validate only
    ],
};

static ALTER_PARTITION_REASSIGNMENTS: Schema = Schema {
    flexible_from: 0,
    fields: &[
        INT32,         // timeout
        INT8.since(1), // allow replication factor change
        array::<ReassignableTopic>(&[STRING, array::<ReassignablePartition>(&[INT32, INT32S])]),
    ],
};

static LIST_PARTITION_REASSIGNMENTS: Schema = Schema {
    flexible_from: 0,
    fields: &[
        INT32, // timeout
        array::<ListPartitionReassignmentsTopics>(&[STRING, INT32S]),
    ],
};

static DESCRIBE_CLIENT_QUOTAS: Schema = Schema {
    flexible_from: 1,
    fields: &[
        array::<ComponentData>(&[STRING, INT8, STRING]),
        INT8, // strict
    ],
};

static ALTER_CLIENT_QUOTAS: Schema = Schema {
    flexible_from: 1,
    fields: &[
        array::<alter_quotas::EntryData>(&[
            array::<alter_quotas::EntityData>(&[STRING, STRING]),
            array::<alter_quotas::OpData>(&[STRING, INT64, INT8]),
        ]),
        INT8, // validate only
    ],
};

static DESCRIBE_USER_SCRAM_CREDENTIALS: Schema = Schema {
    flexible_from: 0,
    fields: &[array::<UserName>(&[STRING])],
};

static ALTER_USER_SCRAM_CREDENTIALS: Schema = Schema {
    flexible_from: 0,
    fields: &[
        array::<ScramCredentialDeletion>(&[STRING, INT8]),
        array::<ScramCredentialUpsertion>(&[STRING, INT8, INT32, BYTES, BYTES]),
    ],
};

static DESCRIBE_QUORUM: Schema = Schema {
    flexible_from: 0,
    fields: &[array::<quorum::TopicData>(&[
        STRING,
        array::<quorum::PartitionData>(&[INT32]),
    ])],
};

static UPDATE_FEATURES: Schema = Schema {
    flexible_from: 0,
    fields: &[
        INT32, // timeout
        array::<FeatureUpdateKey>(&[STRING, INT16, INT8]),
        INT8.since(1), // validate only
    ],
};

static LIST_CONFIG_RESOURCES: Schema = Schema {
    flexible_from: 0,
    fields: &[INT8S.since(1)],
};

static DESCRIBE_TOPIC_PARTITIONS: Schema = Schema {
    flexible_from: 0,
    fields: &[
        array::<TopicRequest>(&[STRING]),
        INT32,                      // response partition limit
        optional(&[STRING, INT32]), // cursor
    ],
};
