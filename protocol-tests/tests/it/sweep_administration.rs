//! Test 8 for the administrative APIs: a minimal request of each version.

use kafka_protocol::messages::alter_client_quotas_request as quotas;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialDeletion;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest,
    AlterUserScramCredentialsRequest, ApiKey, CreateAclsRequest, DeleteAclsRequest,
    DescribeAclsRequest, DescribeClientQuotasRequest, DescribeLogDirsRequest,
    DescribeQuorumRequest, DescribeTopicPartitionsRequest, DescribeUserScramCredentialsRequest,
    ElectLeadersRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
    UpdateFeaturesRequest,
};
use protocol_tests::calls::{text, topic_name};

use crate::sweep::Sweep;

impl Sweep {
    /// Calls one of the administrative APIs; false for what is none.
    pub(crate) fn administer(&mut self, key: ApiKey, version: i16) -> bool {
        match key {
            ApiKey::SaslHandshake => self.one(version, &SaslHandshakeRequest::default()),
            ApiKey::SaslAuthenticate => self.one(version, &SaslAuthenticateRequest::default()),
            ApiKey::DescribeAcls => self.one(
                version,
                &DescribeAclsRequest::default()
                    .with_resource_type_filter(2)
                    .with_pattern_type_filter(3)
                    .with_operation(1)
                    .with_permission_type(1),
            ),
            ApiKey::CreateAcls => {
                let acl = AclCreation::default()
                    .with_resource_type(2)
                    .with_resource_name(text("sweep"))
                    .with_resource_pattern_type(3)
                    .with_principal(text("User:ann"))
                    .with_host(text("*"))
                    .with_operation(3)
                    .with_permission_type(3);
                self.one(
                    version,
                    &CreateAclsRequest::default().with_creations(vec![acl]),
                );
            }
            ApiKey::DeleteAcls => {
                let filter = DeleteAclsFilter::default()
                    .with_resource_type_filter(2)
                    .with_pattern_type_filter(3)
                    .with_operation(3)
                    .with_permission_type(3);
                self.one(
                    version,
                    &DeleteAclsRequest::default().with_filters(vec![filter]),
                );
            }
            ApiKey::AlterConfigs => {
                let resource = AlterConfigsResource::default()
                    .with_resource_type(2)
                    .with_resource_name(text(&self.topic));
                let request = AlterConfigsRequest::default().with_resources(vec![resource]);
                self.one(version, &request.with_validate_only(true));
            }
            ApiKey::IncrementalAlterConfigs => {
                let config = incremental::AlterableConfig::default()
                    .with_name(text("retention.ms"))
                    .with_value(Some(text("5")));
                let resource = incremental::AlterConfigsResource::default()
                    .with_resource_type(2)
                    .with_resource_name(text(&self.topic))
                    .with_configs(vec![config]);
                let request =
                    IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
                self.one(version, &request.with_validate_only(true));
            }
            ApiKey::DescribeLogDirs => {
                self.one(
                    version,
                    &DescribeLogDirsRequest::default().with_topics(None),
                );
            }
            ApiKey::ElectLeaders => {
                let named = TopicPartitions::default()
                    .with_topic(topic_name(&self.topic))
                    .with_partitions(vec![0]);
                let request = ElectLeadersRequest::default().with_timeout_ms(1000);
                self.one(version, &request.with_topic_partitions(Some(vec![named])));
            }
            ApiKey::AlterPartitionReassignments => {
                let partition = ReassignablePartition::default().with_replicas(None);
                let topic = ReassignableTopic::default()
                    .with_name(topic_name(&self.topic))
                    .with_partitions(vec![partition]);
                let request =
                    AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
                self.one(version, &request.with_timeout_ms(1000));
            }
            ApiKey::ListPartitionReassignments => {
                let request = ListPartitionReassignmentsRequest::default().with_topics(None);
                self.one(version, &request.with_timeout_ms(1000));
            }
            ApiKey::DescribeClientQuotas => {
                self.one(version, &DescribeClientQuotasRequest::default());
            }
            ApiKey::AlterClientQuotas => {
                let entity = quotas::EntityData::default()
                    .with_entity_type(text("user"))
                    .with_entity_name(Some(text("sweep")));
                let op = quotas::OpData::default()
                    .with_key(text("producer_byte_rate"))
                    .with_value(1024.0);
                let entry = quotas::EntryData::default()
                    .with_entity(vec![entity])
                    .with_ops(vec![op]);
                let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
                self.one(version, &request.with_validate_only(true));
            }
            ApiKey::DescribeUserScramCredentials => {
                let request = DescribeUserScramCredentialsRequest::default().with_users(None);
                self.one(version, &request);
            }
            ApiKey::AlterUserScramCredentials => {
                let deletion = ScramCredentialDeletion::default()
                    .with_name(text("sweep-nobody"))
                    .with_mechanism(1);
                let request = AlterUserScramCredentialsRequest::default();
                self.one(version, &request.with_deletions(vec![deletion]));
            }
            ApiKey::DescribeQuorum => {
                let topic = TopicData::default()
                    .with_topic_name(topic_name("__cluster_metadata"))
                    .with_partitions(vec![PartitionData::default()]);
                self.one(
                    version,
                    &DescribeQuorumRequest::default().with_topics(vec![topic]),
                );
            }
            ApiKey::UpdateFeatures => {
                let update = FeatureUpdateKey::default()
                    .with_feature(text("no.such.feature"))
                    .with_max_version_level(1);
                let request = UpdateFeaturesRequest::default().with_timeout_ms(1000);
                self.one(version, &request.with_feature_updates(vec![update]));
            }
            ApiKey::ListConfigResources => {
                self.one(version, &ListConfigResourcesRequest::default());
            }
            ApiKey::DescribeTopicPartitions => {
                let cursor = Cursor::default()
                    .with_topic_name(topic_name(&self.topic))
                    .with_partition_index(1);
                let request = DescribeTopicPartitionsRequest::default()
                    .with_topics(vec![
                        TopicRequest::default().with_name(topic_name(&self.topic)),
                    ])
                    .with_response_partition_limit(10);
                self.one(version, &request.clone().with_cursor(None));
                self.one(version, &request.with_cursor(Some(cursor)));
            }
            _ => return false,
        }
        true
    }
}
