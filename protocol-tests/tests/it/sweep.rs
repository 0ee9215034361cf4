//! Test 8: every API at every version that the broker announces answers a minimal valid request, and the
//! answer decodes with no bytes left over.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, ListTransactionsRequest, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ConsumerGroupDescribeRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    InitProducerIdRequest, LeaveGroupRequest, ListGroupsRequest, MetadataRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
};
use kafka_protocol::protocol::Request;
use protocol_tests::calls::{
    LATEST, creatable, fetch_partition, fetch_request, list_offsets_request, produce_request, text,
    topic_name,
};
use protocol_tests::consumers::{joining, steady};
use protocol_tests::groups::{
    commit_request, group_id, heartbeat_request, join_request, sync_request,
};
use protocol_tests::{Batch, Broker, Client, codes, unique};
use uuid::Uuid;

/// What the requests are about.
pub(crate) struct Sweep {
    client: Client,
    pub(crate) topic: String,
    id: Uuid,
    answered: usize,
}

#[test]
fn every_announced_version_answers_a_minimal_request() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("sweep");
    let id = client.create_topic(&topic, 2);
    client.produce(&topic, 0, Batch::counted(3));
    client.init_producer();
    // Kafka makes its coordinator now.
    broker.group("sweep");
    let apis = client.call(0, &ApiVersionsRequest::default()).api_keys;
    let mut sweep = Sweep {
        client,
        topic,
        id,
        answered: 0,
    };
    for api in apis {
        let key = ApiKey::try_from(api.api_key).ok();
        let known = key.is_some_and(|key| sweep.call(key, api.min_version, api.max_version));
        // Kafka announces more than this list; what Trestle announces must be on it.
        assert!(
            known || broker.is_kafka(),
            "API {} is announced and not swept",
            api.api_key
        );
    }
    assert!(
        sweep.answered >= 120,
        "{} versions answered",
        sweep.answered
    );
}

impl Sweep {
    /// Calls every version in the range that the codec has too; false for an API that is not on the list.
    fn call(&mut self, key: ApiKey, min: i16, max: i16) -> bool {
        let mut range = key.valid_versions();
        if matches!(key, ApiKey::OffsetCommit | ApiKey::OffsetFetch) {
            // The codec has version 10 of the response alone.
            range.max = 9;
        }
        // Announced for old librdkafka's sake, and closed on as in Kafka.
        let min = min.max(range.min);
        for version in min..=max.min(range.max) {
            if !self.call_version(key, version) {
                return false;
            }
            self.answered += 1;
        }
        true
    }

    fn call_version(&mut self, key: ApiKey, version: i16) -> bool {
        match key {
            ApiKey::Produce => self.produce(version),
            ApiKey::Fetch => self.fetch(version),
            ApiKey::ListOffsets => self.one(version, &list_offsets_request(&self.topic, 0, LATEST)),
            ApiKey::Metadata => self.metadata(version),
            ApiKey::FindCoordinator => self.find_coordinator(version),
            ApiKey::OffsetCommit => self.offset_commit(version),
            ApiKey::OffsetFetch => self.offset_fetch(version),
            ApiKey::JoinGroup => self.join_group(version),
            ApiKey::SyncGroup => self.one(version, &sync_request("sweep-none", 1, "nobody")),
            ApiKey::Heartbeat => self.one(version, &heartbeat_request("sweep-none", 1, "nobody")),
            ApiKey::LeaveGroup => self.leave_group(version),
            ApiKey::DescribeGroups => self.one(
                version,
                &DescribeGroupsRequest::default()
                    .with_groups(vec![group_id("sweep"), group_id("sweep-none")])
                    .with_include_authorized_operations(version >= 3),
            ),
            ApiKey::ListGroups => self.one(version, &ListGroupsRequest::default()),
            ApiKey::DeleteGroups => self.one(
                version,
                &DeleteGroupsRequest::default().with_groups_names(vec![group_id("sweep-none")]),
            ),
            ApiKey::OffsetDelete => self.one(
                version,
                &OffsetDeleteRequest::default().with_group_id(group_id("sweep-none")),
            ),
            ApiKey::ApiVersions => self.one(
                version,
                &ApiVersionsRequest::default()
                    .with_client_software_name(text("sweep"))
                    .with_client_software_version(text("1")),
            ),
            ApiKey::CreateTopics => self.one(
                version,
                &CreateTopicsRequest::default()
                    .with_timeout_ms(10_000)
                    .with_topics(vec![creatable(&unique("sweep-create"), 1, &[])]),
            ),
            ApiKey::DeleteTopics => self.delete_topics(version),
            ApiKey::DeleteRecords => self.delete_records(version),
            ApiKey::InitProducerId => self.one(
                version,
                &InitProducerIdRequest::default()
                    .with_transactional_id(None)
                    .with_transaction_timeout_ms(1_000)
                    .with_producer_id((-1).into())
                    .with_producer_epoch(-1),
            ),
            ApiKey::AddPartitionsToTxn => self.add_partitions_to_txn(version),
            ApiKey::AddOffsetsToTxn => self.one(version, &AddOffsetsToTxnRequest::default()),
            ApiKey::EndTxn => self.one(version, &EndTxnRequest::default()),
            ApiKey::WriteTxnMarkers => self.one(version, &WriteTxnMarkersRequest::default()),
            ApiKey::TxnOffsetCommit => self.one(version, &TxnOffsetCommitRequest::default()),
            ApiKey::DescribeProducers => self.one(version, &DescribeProducersRequest::default()),
            ApiKey::DescribeTransactions => {
                self.one(version, &DescribeTransactionsRequest::default());
            }
            ApiKey::ListTransactions => self.list_transactions(version),
            ApiKey::OffsetForLeaderEpoch => self.offset_for_leader_epoch(version),
            ApiKey::DescribeConfigs => self.describe_configs(version),
            ApiKey::CreatePartitions => self.create_partitions(version),
            ApiKey::DescribeCluster => self.one(
                version,
                &DescribeClusterRequest::default().with_endpoint_type(1),
            ),
            ApiKey::ConsumerGroupHeartbeat => self.consumer_group_heartbeat(version),
            ApiKey::ConsumerGroupDescribe => self.one(
                version,
                &ConsumerGroupDescribeRequest::default()
                    .with_group_ids(vec![group_id("sweep-consumers"), group_id("sweep-none")]),
            ),
            _ => return self.administer(key, version),
        }
        true
    }

    /// The answer must come and decode whole; what it says is other tests' business.
    pub(crate) fn one<R: Request>(&mut self, version: i16, request: &R) {
        self.client.call(version, request);
    }

    fn produce(&mut self, version: i16) {
        let mut request = produce_request(&self.topic, 0, Batch::counted(1));
        if version >= 13 {
            request.topic_data[0].topic_id = self.id;
        }
        self.one(version, &request);
    }

    fn fetch(&mut self, version: i16) {
        let mut request = fetch_request(
            &self.topic,
            vec![fetch_partition(0, 0), fetch_partition(1, 0)],
        );
        if version >= 13 {
            request.topics[0].topic_id = self.id;
        }
        self.one(version, &request);
    }

    fn metadata(&mut self, version: i16) {
        let named = MetadataRequestTopic::default().with_name(Some(topic_name(&self.topic)));
        self.one(
            version,
            &MetadataRequest::default().with_topics(Some(vec![named])),
        );
    }

    /// Once as nobody's member, once as one that there is not.
    fn offset_commit(&mut self, version: i16) {
        for (generation, member) in [(-1, ""), (5, "nobody")] {
            let place = (&*self.topic, 0, 1);
            let request = commit_request("sweep", generation, member, place);
            self.one(version, &request);
        }
    }

    fn offset_fetch(&mut self, version: i16) {
        let name = topic_name(&self.topic);
        let mut request = OffsetFetchRequest::default();
        if version >= 8 {
            let topic = OffsetFetchRequestTopics::default()
                .with_name(name)
                .with_partition_indexes(vec![0, 1]);
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(group_id("sweep"))
                .with_member_id(None)
                .with_member_epoch(-1)
                .with_topics(Some(vec![topic]));
            request.groups = vec![group];
        } else {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(name)
                .with_partition_indexes(vec![0, 1]);
            request.group_id = group_id("sweep");
            request.topics = Some(vec![topic]);
        }
        self.one(version, &request);
    }

    /// A good one, which then leaves, and one that is refused.
    fn join_group(&mut self, version: i16) {
        let group = unique("sweep-join");
        let mut request = join_request(&group, "");
        if version < 5 {
            request.group_instance_id = None;
        }
        let mut joined = self.client.call(version, &request);
        if version >= 4 {
            request.member_id = joined.member_id;
            joined = self.client.call(version, &request);
        }
        assert_eq!(joined.error_code, codes::NONE, "v{version}");
        request.session_timeout_ms = 1;
        let refused = self.client.call(version, &request);
        assert_eq!(refused.error_code, codes::INVALID_SESSION_TIMEOUT);
        assert_eq!(refused.generation_id, -1);
        let name = (version < 7).then(|| text(""));
        assert_eq!(refused.protocol_name, name, "v{version}");
        let leave = LeaveGroupRequest::default()
            .with_group_id(group_id(&group))
            .with_member_id(joined.member_id);
        assert_eq!(self.client.call(2, &leave).error_code, codes::NONE);
    }

    /// A good one, which then leaves, and one that is refused.
    fn consumer_group_heartbeat(&mut self, version: i16) {
        let group = unique("sweep-consumers");
        let topic = self.topic.clone();
        let joined = self
            .client
            .call(version, &joining(&group, "member", &[&topic]));
        assert_eq!(joined.error_code, codes::NONE, "v{version}");
        self.one(version, &steady(&group, "member", joined.member_epoch + 9));
        self.one(version, &steady(&group, "member", -1));
    }

    fn leave_group(&mut self, version: i16) {
        let mut request = LeaveGroupRequest::default().with_group_id(group_id("sweep-none"));
        if version >= 3 {
            request.members = vec![
                MemberIdentity::default()
                    .with_member_id(text("nobody"))
                    .with_group_instance_id(None)
                    .with_reason(None),
            ];
        } else {
            request.member_id = text("nobody");
        }
        self.one(version, &request);
    }

    fn add_partitions_to_txn(&mut self, version: i16) {
        let mut request = AddPartitionsToTxnRequest::default();
        if version >= 4 {
            request.transactions = vec![AddPartitionsToTxnTransaction::default()];
        }
        self.one(version, &request);
    }

    fn list_transactions(&mut self, version: i16) {
        let mut request = ListTransactionsRequest::default();
        request.duration_filter = -1;
        request.transactional_id_pattern = None;
        self.one(version, &request);
    }

    fn find_coordinator(&mut self, version: i16) {
        let mut request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.coordinator_keys = vec![text("group")];
        } else {
            request.key = text("group");
        }
        self.one(version, &request);
    }

    fn delete_topics(&mut self, version: i16) {
        let name = topic_name(&unique("sweep-missing"));
        let mut request = DeleteTopicsRequest::default().with_timeout_ms(1_000);
        if version >= 6 {
            request.topics = vec![DeleteTopicState::default().with_name(Some(name))];
        } else {
            request.topic_names = vec![name];
        }
        self.one(version, &request);
    }

    fn delete_records(&mut self, version: i16) {
        let topic = DeleteRecordsTopic::default()
            .with_name(topic_name(&self.topic))
            .with_partitions(vec![DeleteRecordsPartition::default().with_offset(1)]);
        let request = DeleteRecordsRequest::default()
            .with_timeout_ms(1_000)
            .with_topics(vec![topic]);
        self.one(version, &request);
    }

    fn offset_for_leader_epoch(&mut self, version: i16) {
        let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(topic_name(&self.topic))
            .with_partitions(vec![partition]);
        let replica = if version >= 3 { -1 } else { -2 };
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(replica.into())
            .with_topics(vec![topic]);
        self.one(version, &request);
    }

    fn describe_configs(&mut self, version: i16) {
        let node = self.client.metadata(&[]).brokers[0].node_id.0.to_string();
        let resources = [(2, self.topic.clone()), (4, node)].map(|(kind, name)| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(&name))
                .with_configuration_keys(None)
        });
        let mut request = DescribeConfigsRequest::default().with_resources(resources.to_vec());
        request.include_synonyms = true;
        request.include_documentation = version >= 3;
        self.one(version, &request);
    }

    fn create_partitions(&mut self, version: i16) {
        let topic = CreatePartitionsTopic::default()
            .with_name(topic_name(&self.topic))
            .with_count(9)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_timeout_ms(1_000)
            .with_topics(vec![topic])
            .with_validate_only(true);
        self.one(version, &request);
    }
}
