//! A cluster for the bridge to copy, whose every answer the test decides: several brokers that each serve
//! what they lead, logs that are cut back or lost, formats of long ago, versions of long ago, rights that are missing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, DescribeConfigsRequest, DescribeConfigsResponse,
    FetchRequest, FetchResponse, GroupId, ListGroupsResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataResponse, OffsetFetchRequest, OffsetFetchResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable};
use uuid::Uuid;

use crate::calls::{text, topic_name};
use crate::codes;

/// The log of one partition.
#[derive(Clone, Debug)]
pub struct Log {
    /// Which broker leads it: an index into [`Source::addresses`].
    pub leader: i32,
    /// In which epoch.
    pub epoch: i32,
    /// The lowest offset that may be read.
    pub start: i64,
    /// One past the last.
    pub end: i64,
    /// Batches, each with its first and its last offset.
    pub batches: Vec<(i64, i64, Bytes)>,
    /// What a Fetch answers instead of records.
    pub fetch_error: i16,
    /// Whether each Fetch finds one more record, its offset.
    pub grows: bool,
    /// What a Fetch says of a log that is another one: epoch and end offset.
    pub diverging: Option<(i32, i64)>,
}

impl Log {
    /// An empty one that broker 0 leads.
    pub fn new() -> Self {
        Self {
            leader: 0,
            epoch: 0,
            start: 0,
            end: 0,
            batches: Vec::new(),
            fetch_error: codes::NONE,
            grows: false,
            diverging: None,
        }
    }

    /// Puts bytes at the end, which hold so many offsets.
    pub fn push(&mut self, count: i64, bytes: impl Into<Bytes>) {
        let first = self.end;
        self.end += count;
        self.batches.push((first, self.end - 1, bytes.into()));
    }

    /// Puts a batch of these values at the end.
    pub fn write<T: AsRef<[u8]>>(&mut self, values: &[T]) {
        let batch = crate::Batch::of(values).base_offset(self.end).encode();
        let mut batch = batch.to_vec();
        let epoch = crate::batch::at::LEADER_EPOCH;
        batch[epoch..epoch + 4].copy_from_slice(&self.epoch.to_be_bytes());
        self.push(values.len() as i64, batch);
    }

    /// Cuts the log back to `end`.
    pub fn truncate(&mut self, end: i64) {
        self.batches.retain(|(_, last, _)| *last < end);
        self.end = end;
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

/// A topic.
#[derive(Clone, Debug, Default)]
pub struct Topic {
    /// Its id; nil before Kafka 2.8.
    pub id: Uuid,
    /// What Metadata answers.
    pub error: i16,
    /// Settings of its own.
    pub configs: Vec<(String, String)>,
    /// What DescribeConfigs answers.
    pub configs_error: i16,
    /// Its partitions.
    pub partitions: Vec<Log>,
}

/// What the brokers say.
#[derive(Debug, Default)]
pub struct State {
    /// The topics.
    pub topics: BTreeMap<String, Topic>,
    /// The APIs and versions that are offered, where that is not all.
    pub versions: Option<Vec<(ApiKey, i16, i16)>>,
    /// What ListGroups answers.
    pub groups_error: i16,
    /// Groups, with what they have committed: topic, partition, offset.
    pub groups: BTreeMap<String, Vec<(String, i32, i64)>>,
    /// What OffsetFetch answers for each group.
    pub offsets_error: i16,
    /// Which broker was asked to fetch what, in this order.
    pub fetched: Vec<(i32, String, i32)>,
}

/// What is offered where [`State::versions`] says nothing else.
const VERSIONS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 4, 12),
    (ApiKey::OffsetFetch, 2, 7),
    (ApiKey::ListGroups, 0, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::ApiVersions, 0, 3),
];

/// Brokers on loopback, until it is dropped.
#[derive(Debug)]
pub struct Source {
    addresses: Vec<String>,
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
    stop: Arc<AtomicBool>,
}

impl Source {
    /// So many brokers, without topics.
    pub fn new(brokers: i32) -> Self {
        let listeners: Vec<TcpListener> = (0..brokers)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        let addresses: Vec<String> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("an address").to_string())
            .collect();
        let source = Self {
            addresses,
            state: Arc::default(),
            changed: Arc::default(),
            stop: Arc::default(),
        };
        for (node, listener) in (0..).zip(listeners) {
            let (state, stop) = (source.state.clone(), source.stop.clone());
            let changed = source.changed.clone();
            let addresses = source.addresses.clone();
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let served = Served {
                        node,
                        addresses: addresses.clone(),
                        state: state.clone(),
                        changed: changed.clone(),
                        stop: stop.clone(),
                    };
                    std::thread::spawn(move || served.serve(stream));
                }
            });
        }
        source
    }

    /// Where to begin.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// What it says, to be changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new topic of so many empty partitions.
    pub fn create(&self, name: &str, partitions: usize) {
        let topic = Topic {
            id: Uuid::new_v4(),
            partitions: vec![Log::new(); partitions],
            ..Topic::default()
        };
        self.state().topics.insert(name.into(), topic);
    }

    /// Changes a partition.
    pub fn with<T>(&self, topic: &str, partition: usize, change: impl FnOnce(&mut Log) -> T) -> T {
        let mut state = self.state();
        let topic = state.topics.get_mut(topic).expect("a topic of the source");
        let changed = change(&mut topic.partitions[partition]);
        drop(state);
        self.changed.notify_all();
        changed
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for address in &self.addresses {
            // Wakes the thread that accepts.
            drop(TcpStream::connect(address));
        }
    }
}

/// One connection.
struct Served {
    node: i32,
    addresses: Vec<String>,
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
    stop: Arc<AtomicBool>,
}

impl Served {
    fn serve(&self, mut stream: TcpStream) {
        // What ends a connection is the client's affair.
        while self.answer(&mut stream).is_some() {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, stream: &mut TcpStream) -> Option<()> {
        let mut size = [0; 4];
        stream.read_exact(&mut size).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame).ok()?;
        let mut frame = Bytes::from(frame);
        let key = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).ok()?;
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let header = RequestHeader::decode(&mut frame, key.request_header_version(version)).ok()?;
        let mut answer = BytesMut::new();
        answer.put_u32(0);
        let own = ResponseHeader::default().with_correlation_id(header.correlation_id);
        own.encode(&mut answer, key.response_header_version(version))
            .ok()?;
        self.body(key, version, frame, &mut answer)?;
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let size = answer.len() as u32 - 4;
        answer[..4].copy_from_slice(&size.to_be_bytes());
        stream.write_all(&answer).ok()
    }

    fn body(&self, key: ApiKey, version: i16, mut body: Bytes, into: &mut BytesMut) -> Option<()> {
        let done = match key {
            ApiKey::ApiVersions => self.versions().encode(into, version),
            ApiKey::Metadata => self.metadata().encode(into, version),
            ApiKey::ListOffsets => {
                let request = ListOffsetsRequest::decode(&mut body, version).ok()?;
                self.offsets(request).encode(into, version)
            }
            ApiKey::Fetch => {
                let request = FetchRequest::decode(&mut body, version).ok()?;
                self.fetch(&request).encode(into, version)
            }
            ApiKey::DescribeConfigs => {
                let request = DescribeConfigsRequest::decode(&mut body, version).ok()?;
                self.configs(&request).encode(into, version)
            }
            ApiKey::ListGroups => self.groups().encode(into, version),
            ApiKey::OffsetFetch => {
                let request = OffsetFetchRequest::decode(&mut body, version).ok()?;
                self.committed(&request.group_id).encode(into, version)
            }
            // Nobody asks for what is not offered.
            _ => return None,
        };
        done.ok()
    }

    fn versions(&self) -> ApiVersionsResponse {
        let state = self.state();
        let offered = state.versions.as_deref().unwrap_or(VERSIONS);
        let keys = offered.iter().map(|(key, low, high)| {
            ApiVersion::default()
                .with_api_key(*key as i16)
                .with_min_version(*low)
                .with_max_version(*high)
        });
        ApiVersionsResponse::default().with_api_keys(keys.collect())
    }

    fn metadata(&self) -> MetadataResponse {
        let brokers = (0..).zip(&self.addresses).map(|(node, address)| {
            let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node))
                .with_host(text(host))
                .with_port(port.parse().expect("a port"))
        });
        let state = self.state();
        let topics = state.topics.iter().map(|(name, topic)| {
            let partitions = (0..).zip(&topic.partitions).map(|(index, log)| {
                MetadataResponsePartition::default()
                    .with_partition_index(index)
                    .with_leader_id(BrokerId(log.leader))
                    .with_leader_epoch(log.epoch)
                    .with_replica_nodes(vec![BrokerId(log.leader)])
            });
            MetadataResponseTopic::default()
                .with_name(Some(topic_name(name)))
                .with_topic_id(topic.id)
                .with_error_code(topic.error)
                .with_partitions(match topic.error {
                    0 => partitions.collect(),
                    _ => Vec::new(),
                })
        });
        MetadataResponse::default()
            .with_cluster_id(Some(text("scripted")))
            .with_brokers(brokers.collect())
            .with_topics(topics.collect())
    }

    /// The partition, if this broker leads it, or the error that says why not.
    fn log(&self, topic: &TopicName, partition: i32) -> Result<Log, i16> {
        let state = self.state();
        let topic = state.topics.get(topic.as_str());
        let topic = topic.ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
        if topic.error != 0 {
            return Err(topic.error);
        }
        let log = topic.partitions.get(partition as usize);
        let log = log.ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
        match log.leader == self.node {
            true => Ok(log.clone()),
            false => Err(codes::NOT_LEADER_OR_FOLLOWER),
        }
    }

    fn offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
                match self.log(&topic.name, index) {
                    Ok(log) if partition.timestamp == -1 => answer.with_offset(log.end),
                    Ok(log) => answer.with_offset(log.start),
                    Err(code) => answer.with_error_code(code),
                }
            });
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn fetch(&self, request: &FetchRequest) -> FetchResponse {
        let until =
            Instant::now() + Duration::from_millis(request.max_wait_ms.clamp(0, 200) as u64);
        loop {
            let (response, empty) = self.fetch_once(request);
            if !empty || Instant::now() >= until || self.stop.load(Ordering::Relaxed) {
                let mut state = self.state();
                for topic in &request.topics {
                    for partition in &topic.partitions {
                        let name = topic.topic.to_string();
                        state.fetched.push((self.node, name, partition.partition));
                    }
                }
                return response;
            }
            let state = self.state();
            let waited = self.changed.wait_timeout(state, Duration::from_millis(20));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn fetch_once(&self, request: &FetchRequest) -> (FetchResponse, bool) {
        let mut empty = true;
        for topic in &request.topics {
            for wanted in &topic.partitions {
                let mut state = self.state();
                let known = state.topics.get_mut(topic.topic.as_str());
                let log =
                    known.and_then(|known| known.partitions.get_mut(wanted.partition as usize));
                if let Some(log) = log.filter(|log| log.grows) {
                    log.write(&[log.end.to_string()]);
                }
            }
        }
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let answer = PartitionData::default()
                    .with_partition_index(wanted.partition)
                    .with_high_watermark(-1)
                    .with_log_start_offset(-1)
                    .with_records(Some(Bytes::new()));
                let log = match self.log(&topic.topic, wanted.partition) {
                    Ok(log) if log.fetch_error == 0 => log,
                    Ok(Log {
                        fetch_error: code, ..
                    })
                    | Err(code) => {
                        empty = false;
                        return answer.with_error_code(code);
                    }
                };
                if let Some((epoch, end)) = log.diverging {
                    empty = false;
                    let end = EpochEndOffset::default()
                        .with_epoch(epoch)
                        .with_end_offset(end);
                    return answer.with_diverging_epoch(end);
                }
                let answer = answer
                    .with_high_watermark(log.end)
                    .with_log_start_offset(log.start)
                    .with_last_stable_offset(log.end);
                if wanted.fetch_offset < log.start || wanted.fetch_offset > log.end {
                    empty = false;
                    return answer.with_error_code(codes::OFFSET_OUT_OF_RANGE);
                }
                let mut records = BytesMut::new();
                for (_, last, bytes) in &log.batches {
                    if *last >= wanted.fetch_offset {
                        records.put_slice(bytes);
                        if records.len() >= wanted.partition_max_bytes as usize {
                            break;
                        }
                    }
                }
                empty &= records.is_empty();
                answer.with_records(Some(records.freeze()))
            });
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions.collect())
        });
        let topics = topics.collect();
        (FetchResponse::default().with_responses(topics), empty)
    }

    fn configs(&self, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
        let state = self.state();
        let results = request.resources.iter().map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match state.topics.get(resource.resource_name.as_str()) {
                None => result.with_error_code(codes::UNKNOWN_TOPIC_OR_PARTITION),
                Some(topic) if topic.configs_error != 0 => {
                    result.with_error_code(topic.configs_error)
                }
                Some(topic) => {
                    let configs = topic.configs.iter().map(|(name, value)| {
                        DescribeConfigsResourceResult::default()
                            .with_name(text(name))
                            .with_value(Some(text(value)))
                            .with_config_source(1)
                    });
                    result.with_configs(configs.collect())
                }
            }
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn groups(&self) -> ListGroupsResponse {
        let state = self.state();
        let groups = state.groups.keys().map(|id| {
            ListedGroup::default()
                .with_group_id(GroupId(text(id)))
                .with_protocol_type(text("consumer"))
                .with_group_state(text("Empty"))
        });
        // Broker 0 coordinates all of them.
        let groups = groups.filter(|_| self.node == 0 && state.groups_error == 0);
        ListGroupsResponse::default()
            .with_error_code(state.groups_error)
            .with_groups(groups.collect())
    }

    fn committed(&self, group: &GroupId) -> OffsetFetchResponse {
        let state = self.state();
        if state.offsets_error != 0 {
            return OffsetFetchResponse::default().with_error_code(state.offsets_error);
        }
        let committed = state.groups.get(group.as_str()).into_iter().flatten();
        let topics = committed.map(|(topic, partition, offset)| {
            let partition = OffsetFetchResponsePartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(text("")));
            OffsetFetchResponseTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(vec![partition])
        });
        OffsetFetchResponse::default().with_topics(topics.collect())
    }
}
