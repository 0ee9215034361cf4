//! Short ways to say the requests that nearly every test needs, for one topic-partition at a time,
//! at the newest version that both Trestle and Apache Kafka 4.x have.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_records_response::DeleteRecordsPartitionResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse, ProduceRequest,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::batch::Record;
use crate::client::{Client, Pending};
use crate::codes;
use crate::records;
use crate::wait::{wait_for, wait_until};

/// Version of Produce that helpers use.
pub const PRODUCE: i16 = 11;
/// Version of Fetch that helpers use.
pub const FETCH: i16 = 12;
/// Version of ListOffsets that helpers use.
pub const LIST_OFFSETS: i16 = 8;
/// Version of Metadata that helpers use.
pub const METADATA: i16 = 12;
/// Version of CreateTopics that helpers use.
pub const CREATE_TOPICS: i16 = 7;
/// Version of DeleteTopics that helpers use.
pub const DELETE_TOPICS: i16 = 6;
/// Version of DeleteRecords that helpers use.
pub const DELETE_RECORDS: i16 = 2;
/// Version of InitProducerId that helpers use.
pub const INIT_PRODUCER_ID: i16 = 4;

/// ListOffsets timestamp: the offset after the last record.
pub const LATEST: i64 = -1;
/// ListOffsets timestamp: the first offset there is.
pub const EARLIEST: i64 = -2;
/// ListOffsets timestamp: the record with the highest timestamp.
pub const MAX_TIMESTAMP: i64 = -3;

/// A topic name in the codec's type.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A string in the codec's type.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A Produce request of one partition, acks=all.
pub fn produce_request(topic: &str, partition: i32, records: impl Into<Bytes>) -> ProduceRequest {
    let partition = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(records.into()));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

/// A partition of a Fetch request, up to 1 MiB.
pub fn fetch_partition(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

/// A Fetch request of these partitions that does not wait, without a session.
pub fn fetch_request(topic: &str, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(partitions);
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// A topic to create; `configs` are its settings.
pub fn creatable(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let configs = configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect())
}

/// A ListOffsets request of one partition, read_uncommitted.
pub fn list_offsets_request(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic])
}

impl Client {
    /// Creates a topic and waits until each of its partitions has a leader.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Uuid {
        self.create_topic_with(name, partitions, &[])
    }

    /// As [`Client::create_topic`], with settings.
    pub fn create_topic_with(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Uuid {
        let result = self.try_create(creatable(name, partitions, configs));
        assert_eq!(
            result.error_code,
            codes::NONE,
            "creating {name}: {:?}",
            result.error_message
        );
        self.wait_for_leaders(name, partitions);
        result.topic_id
    }

    /// Asks for one topic and returns what came of it.
    pub fn try_create(&mut self, topic: CreatableTopic) -> CreatableTopicResult {
        let request = CreateTopicsRequest::default()
            .with_timeout_ms(10_000)
            .with_topics(vec![topic]);
        let mut response = self.call(CREATE_TOPICS, &request);
        assert_eq!(response.topics.len(), 1, "one topic asked, one answered");
        response.topics.remove(0)
    }

    /// Waits until each of the topic's partitions is led: Metadata says so, and the leader serves.
    /// (Kafka's metadata knows a leader a moment before that leader does.)
    pub fn wait_for_leaders(&mut self, name: &str, partitions: i32) {
        wait_until(&format!("leaders of {name}"), || {
            let topic = self.describe_topic(name);
            topic.error_code == codes::NONE && topic.partitions.len() == partitions as usize
        });
        for partition in 0..partitions {
            wait_until(&format!("the leader of {name}/{partition}"), || {
                self.list_offset(name, partition, LATEST).error_code == codes::NONE
            });
        }
    }

    /// Deletes a topic and waits until Metadata no longer has it.
    pub fn delete_topic(&mut self, name: &str) {
        let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = DeleteTopicsRequest::default()
            .with_timeout_ms(10_000)
            .with_topics(vec![topic]);
        let response = self.call(DELETE_TOPICS, &request);
        assert_eq!(
            response.responses[0].error_code,
            codes::NONE,
            "deleting {name}"
        );
        wait_until(&format!("{name} to be gone"), || {
            self.describe_topic(name).error_code == codes::UNKNOWN_TOPIC_OR_PARTITION
        });
    }

    /// What Metadata says about one topic, which is not created by asking.
    pub fn describe_topic(&mut self, name: &str) -> MetadataResponseTopic {
        let mut response = self.metadata(&[name]);
        assert_eq!(response.topics.len(), 1, "one topic asked, one answered");
        response.topics.remove(0)
    }

    /// What Metadata says about these topics, which are not created by asking.
    pub fn metadata(&mut self, names: &[&str]) -> MetadataResponse {
        let topics = names
            .iter()
            .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
        let request = MetadataRequest::default()
            .with_topics(Some(topics.collect()))
            .with_allow_auto_topic_creation(false);
        self.call(METADATA, &request)
    }

    /// The leader epoch that Metadata reports.
    pub fn leader_epoch(&mut self, topic: &str, partition: i32) -> i32 {
        let topic = self.describe_topic(topic);
        let found = topic
            .partitions
            .iter()
            .find(|found| found.partition_index == partition);
        found.expect("the partition exists").leader_epoch
    }

    /// Produces with acks=all; the answer may be an error.
    pub fn try_produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: impl Into<Bytes>,
    ) -> PartitionProduceResponse {
        let pending = self.send_produce(topic, partition, records);
        self.receive_produce(pending)
    }

    /// Produces with acks=all and returns the base offset; panics on an error.
    pub fn produce(&mut self, topic: &str, partition: i32, records: impl Into<Bytes>) -> i64 {
        let produced = self.try_produce(topic, partition, records);
        assert_eq!(
            produced.error_code,
            codes::NONE,
            "producing to {topic}/{partition}: {:?} {:?}",
            produced.error_message,
            produced.record_errors
        );
        produced.base_offset
    }

    /// Sends a Produce with acks=all without waiting.
    pub fn send_produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: impl Into<Bytes>,
    ) -> Pending<ProduceRequest> {
        self.send(PRODUCE, &produce_request(topic, partition, records))
    }

    /// The answer to [`Client::send_produce`].
    pub fn receive_produce(
        &mut self,
        pending: Pending<ProduceRequest>,
    ) -> PartitionProduceResponse {
        only(self.receive(pending).responses, |topic| {
            topic.partition_responses
        })
    }

    /// Fetches from an offset without waiting; the answer may be an error.
    pub fn try_fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let request = fetch_request(topic, vec![fetch_partition(partition, offset)]);
        self.fetch_one(FETCH, &request)
    }

    /// Sends a Fetch of one partition and returns that partition's answer.
    pub fn fetch_one(&mut self, version: i16, request: &FetchRequest) -> PartitionData {
        let response = self.call(version, request);
        assert_eq!(response.error_code, codes::NONE, "the fetch as a whole");
        only(response.responses, |topic| topic.partitions)
    }

    /// Every record from an offset to the high watermark.
    pub fn read(&mut self, topic: &str, partition: i32, mut offset: i64) -> Vec<Record> {
        let mut all = Vec::new();
        loop {
            let fetched = self.try_fetch(topic, partition, offset);
            assert_eq!(
                fetched.error_code,
                codes::NONE,
                "fetching {topic}/{partition} at {offset}"
            );
            let bytes = fetched.records.expect("records are never null");
            for batch in records::batches(bytes) {
                let wanted = batch
                    .records
                    .into_iter()
                    .filter(|record| record.offset >= offset);
                all.extend(wanted);
                offset = batch.base_offset + i64::from(batch.last_offset_delta) + 1;
            }
            if offset >= fetched.high_watermark {
                return all;
            }
        }
    }

    /// Every record as text.
    pub fn read_text(&mut self, topic: &str, partition: i32) -> Vec<String> {
        let records = self.read(topic, partition, 0);
        records
            .iter()
            .map(|record| record.text().to_owned())
            .collect()
    }

    /// Looks up an offset by timestamp, or one of the special ones.
    pub fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let response = self.call(
            LIST_OFFSETS,
            &list_offsets_request(topic, partition, timestamp),
        );
        only(response.topics, |topic| topic.partitions)
    }

    /// The offset after the last record.
    pub fn end_offset(&mut self, topic: &str, partition: i32) -> i64 {
        let end = self.list_offset(topic, partition, LATEST);
        assert_eq!(
            end.error_code,
            codes::NONE,
            "the end of {topic}/{partition}"
        );
        end.offset
    }

    /// Deletes the records below an offset.
    pub fn delete_records(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> DeleteRecordsPartitionResult {
        let partition = DeleteRecordsPartition::default()
            .with_partition_index(partition)
            .with_offset(offset);
        let topic = DeleteRecordsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default()
            .with_timeout_ms(10_000)
            .with_topics(vec![topic]);
        only(self.call(DELETE_RECORDS, &request).topics, |topic| {
            topic.partitions
        })
    }

    /// A fresh producer id for an idempotent producer, with its epoch.
    pub fn init_producer(&mut self) -> (i64, i16) {
        wait_for("a producer id", || {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(60_000)
                .with_producer_id((-1).into())
                .with_producer_epoch(-1);
            let response = self.call(INIT_PRODUCER_ID, &request);
            // A Kafka that has just started fetches its first block of ids.
            if response.error_code == codes::COORDINATOR_LOAD_IN_PROGRESS {
                return None;
            }
            assert_eq!(response.error_code, codes::NONE, "asking for a producer id");
            Some((response.producer_id.0, response.producer_epoch))
        })
    }
}

/// The one partition of the one topic in an answer.
fn only<T, P>(mut topics: Vec<T>, partitions: impl FnOnce(T) -> Vec<P>) -> P {
    assert_eq!(topics.len(), 1, "one topic asked, one answered");
    let mut partitions = partitions(topics.remove(0));
    assert_eq!(partitions.len(), 1, "one partition asked, one answered");
    partitions.remove(0)
}
