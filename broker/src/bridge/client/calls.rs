//! What the bridge asks of a source, as plain values. Everything here only reads.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeAclsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeLogDirsRequest, DescribeProducersRequest, DescribeUserScramCredentialsRequest, GroupId,
    ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::{Client, SourceError, check_code};
use crate::types::{Offset, PartitionIndex, TopicId};

/// Topics asked for in one request.
const TOPICS_AT_ONCE: usize = 500;
/// ListOffsets: the end of the log, and its start.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// Kafka's code for a topic that is not there.
const UNKNOWN_TOPIC: i16 = 3;
/// Filters of DescribeAcls that let everything pass.
const ANY: i8 = 1;
const TOPIC_RESOURCE: i8 = 2;
/// Bit of the right to describe, among the operations that are allowed on a cluster, and what stands there
/// for "not said".
const DESCRIBE: i32 = 1 << 8;
const NOT_SAID: i32 = i32::MIN;

/// What a source says of itself.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Its id.
    pub id: Option<String>,
    /// Its brokers.
    pub brokers: usize,
    /// Its topics, by name.
    pub topics: BTreeMap<String, SourceTopic>,
}

/// A topic of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTopic {
    /// Its id, if the source has such.
    pub id: Option<TopicId>,
    /// Whether it is the source's own.
    pub internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<SourcePartition>,
    /// What is wrong with it.
    pub error: i16,
}

/// A partition of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourcePartition {
    /// Who leads it, if somebody does.
    pub leader: Option<i32>,
    /// In which epoch, or -1.
    pub epoch: i32,
    /// How many replicas it has.
    pub replicas: usize,
}

/// A partition by its topic's name.
pub type Place = (String, PartitionIndex);

/// A setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Its name.
    pub name: String,
    /// Its value; none if it is secret.
    pub value: Option<String>,
    /// Whether it was given to the topic, and does not come from a default.
    pub own: bool,
}

/// A group of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceGroup {
    /// Its id.
    pub id: String,
    /// What kind of clients it has.
    pub protocol_type: String,
    /// Its state, if the source says.
    pub state: String,
    /// The broker that keeps it.
    pub coordinator: i32,
}

/// A committed offset of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOffset {
    /// Where.
    pub place: Place,
    /// The next offset to read.
    pub offset: Offset,
    /// Leader epoch of the record before it, or -1.
    pub epoch: i32,
    /// A note.
    pub metadata: String,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

impl Client {
    async fn ask_any<R: Request + Sync>(
        &mut self,
        request: &R,
    ) -> Result<R::Response, SourceError> {
        let mut connection = self.any().await?;
        let response = connection.call(request).await?;
        self.keep(connection);
        Ok(response)
    }

    async fn ask<R: Request + Sync>(
        &mut self,
        broker: i32,
        request: &R,
    ) -> Result<R::Response, SourceError> {
        let mut connection = self.to(broker).await?;
        let response = connection.call(request).await?;
        self.keep(connection);
        Ok(response)
    }

    /// Brokers and topics. A source leaves out topics that its user may not see, so what is in `names` and
    /// was left out is asked for by name: then it says why.
    pub async fn cluster(&mut self, names: &[String]) -> Result<Cluster, SourceError> {
        let mut cluster = self.some_topics(None).await?;
        let missing: Vec<&String> = names
            .iter()
            .filter(|name| !cluster.topics.contains_key(*name))
            .collect();
        for some in missing.chunks(TOPICS_AT_ONCE) {
            let asked = some
                .iter()
                .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
            let named = self.some_topics(Some(asked.collect())).await?;
            let named = named.topics.into_iter();
            cluster
                .topics
                .extend(named.filter(|(_, topic)| topic.error != UNKNOWN_TOPIC));
        }
        Ok(cluster)
    }

    async fn some_topics(
        &mut self,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> Result<Cluster, SourceError> {
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(false);
        let response = self.ask_any(&request).await?;
        let address = |host: &str, port: i32| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let brokers: HashMap<i32, String> = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, address(&broker.host, broker.port)))
            .collect();
        let mut cluster = Cluster {
            id: response.cluster_id.map(|id| id.to_string()),
            brokers: brokers.len(),
            topics: BTreeMap::new(),
        };
        self.learn(brokers);
        for topic in response.topics {
            let Some(name) = &topic.name else { continue };
            let count = topic.partitions.len();
            let mut partitions = vec![SourcePartition::default(); count];
            for partition in &topic.partitions {
                let index = usize::try_from(partition.partition_index).unwrap_or(usize::MAX);
                let Some(place) = partitions.get_mut(index) else {
                    continue;
                };
                *place = SourcePartition {
                    leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
                    epoch: partition.leader_epoch,
                    replicas: partition.replica_nodes.len(),
                };
            }
            let topic_of = SourceTopic {
                id: (!topic.topic_id.is_nil()).then_some(topic.topic_id),
                internal: topic.is_internal,
                partitions,
                error: topic.error_code,
            };
            cluster.topics.insert(name.to_string(), topic_of);
        }
        Ok(cluster)
    }

    /// Where the given partitions start or end, by leader.
    async fn offsets(
        &mut self,
        leaders: &BTreeMap<i32, Vec<Place>>,
        timestamp: i64,
    ) -> Result<BTreeMap<Place, Result<Offset, i16>>, SourceError> {
        let mut found = BTreeMap::new();
        for (leader, places) in leaders {
            let mut topics: Vec<ListOffsetsTopic> = Vec::new();
            for (name, index) in places {
                let partition = ListOffsetsPartition::default()
                    .with_partition_index(*index)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(timestamp);
                match topics.last_mut() {
                    Some(last) if &*last.name.0 == name.as_str() => last.partitions.push(partition),
                    _ => topics.push(
                        ListOffsetsTopic::default()
                            .with_name(topic_name(name))
                            .with_partitions(vec![partition]),
                    ),
                }
            }
            let request = ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(topics);
            let response = self.ask(*leader, &request).await?;
            for topic in response.topics {
                for partition in topic.partitions {
                    let place = (topic.name.to_string(), partition.partition_index);
                    let offset = match partition.error_code {
                        0 if partition.offset >= 0 => Ok(partition.offset),
                        code => Err(code),
                    };
                    found.insert(place, offset);
                }
            }
        }
        Ok(found)
    }

    /// One past the last record that consumers see, of each partition.
    pub async fn ends(
        &mut self,
        leaders: &BTreeMap<i32, Vec<Place>>,
    ) -> Result<BTreeMap<Place, Result<Offset, i16>>, SourceError> {
        self.offsets(leaders, LATEST).await
    }

    /// The lowest offset that may be read, of each partition.
    pub async fn starts(
        &mut self,
        leaders: &BTreeMap<i32, Vec<Place>>,
    ) -> Result<BTreeMap<Place, Result<Offset, i16>>, SourceError> {
        self.offsets(leaders, EARLIEST).await
    }

    /// Where `epoch` ends in a partition, and the epoch that is meant; `None` if the source does not
    /// know it, or is too old to say.
    pub async fn end_of_epoch(
        &mut self,
        leader: i32,
        place: &Place,
        epoch: i32,
    ) -> Result<Option<(i32, Offset)>, SourceError> {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(place.1)
            .with_current_leader_epoch(-1)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(topic_name(&place.0))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let response = match self.ask(leader, &request).await {
            Err(error) if error.is_unsupported() => return Ok(None),
            other => other?,
        };
        let found = response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .next();
        let Some(found) = found else { return Ok(None) };
        check_code(
            || format!("the epochs of {}-{}", place.0, place.1),
            found.error_code,
        )?;
        Ok((found.end_offset >= 0).then_some((found.leader_epoch, found.end_offset)))
    }

    /// The settings of topics; one that may not be seen is left out.
    pub async fn configs(
        &mut self,
        topics: &[String],
    ) -> Result<BTreeMap<String, Result<Vec<SourceConfig>, i16>>, SourceError> {
        let mut all = BTreeMap::new();
        for some in topics.chunks(TOPICS_AT_ONCE) {
            let resources = some.iter().map(|name| {
                DescribeConfigsResource::default()
                    .with_resource_type(TOPIC_RESOURCE)
                    .with_resource_name(text(name))
                    .with_configuration_keys(None)
            });
            let request = DescribeConfigsRequest::default().with_resources(resources.collect());
            let response = self.ask_any(&request).await?;
            for resource in response.results {
                let name = resource.resource_name.to_string();
                if resource.error_code != 0 {
                    all.insert(name, Err(resource.error_code));
                    continue;
                }
                let configs = resource.configs.into_iter().map(|config| SourceConfig {
                    name: config.name.to_string(),
                    value: config.value.map(|value| value.to_string()),
                    own: config.config_source == 1,
                });
                all.insert(name, Ok(configs.collect()));
            }
        }
        Ok(all)
    }

    /// Whether the user sees all groups; a source without access control, or one that does not say,
    /// shows them all. Who may not describe the cluster sees those that it may describe, and no error.
    pub async fn sees_all_groups(&mut self) -> Result<bool, SourceError> {
        let request =
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        match self.ask_any(&request).await {
            Ok(answer) => {
                let allowed = answer.cluster_authorized_operations;
                Ok(allowed == NOT_SAID || allowed & DESCRIBE != 0)
            }
            Err(error) if error.is_unsupported() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Every group that the brokers coordinate.
    pub async fn groups(&mut self) -> Result<Vec<SourceGroup>, SourceError> {
        let mut all = BTreeMap::new();
        for broker in self.brokers() {
            let response = self.ask(broker, &ListGroupsRequest::default()).await?;
            check_code(
                || {
                    "listing groups (needs the ACL Describe on the groups, or on the cluster)"
                        .into()
                },
                response.error_code,
            )?;
            for group in response.groups {
                let id = group.group_id.to_string();
                let group = SourceGroup {
                    id: id.clone(),
                    protocol_type: group.protocol_type.to_string(),
                    state: group.group_state.to_string(),
                    coordinator: broker,
                };
                all.insert(id, group);
            }
        }
        Ok(all.into_values().collect())
    }

    /// What a group has committed.
    pub async fn committed(
        &mut self,
        group: &SourceGroup,
    ) -> Result<Vec<SourceOffset>, SourceError> {
        let SourceGroup {
            id, coordinator, ..
        } = group;
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text(id)))
            .with_topics(None);
        let response = self.ask(*coordinator, &request).await?;
        check_code(
            || format!("the offsets of group {id} (needs the ACL Describe on it)"),
            response.error_code,
        )?;
        let mut all = Vec::new();
        for topic in response.topics {
            for partition in topic.partitions {
                if partition.error_code != 0 || partition.committed_offset < 0 {
                    continue;
                }
                all.push(SourceOffset {
                    place: (topic.name.to_string(), partition.partition_index),
                    offset: partition.committed_offset,
                    epoch: partition.committed_leader_epoch,
                    metadata: partition
                        .metadata
                        .map(|note| note.to_string())
                        .unwrap_or_default(),
                });
            }
        }
        Ok(all)
    }

    /// Bytes of each partition, as the broker with the most of it says.
    pub async fn sizes(&mut self) -> Result<BTreeMap<Place, u64>, SourceError> {
        let mut all = BTreeMap::new();
        for broker in self.brokers() {
            let request = DescribeLogDirsRequest::default().with_topics(None);
            let response = self.ask(broker, &request).await?;
            check_code(
                || "sizes of logs (needs Describe on the cluster)".into(),
                response.error_code,
            )?;
            for topic in response.results.into_iter().flat_map(|dir| dir.topics) {
                for partition in topic.partitions {
                    let size = u64::try_from(partition.partition_size).unwrap_or(0);
                    let place = (topic.name.to_string(), partition.partition_index);
                    let known = all.entry(place).or_insert(0);
                    *known = size.max(*known);
                }
            }
        }
        Ok(all)
    }

    /// How many ACLs there are.
    pub async fn acls(&mut self) -> Result<usize, SourceError> {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(ANY)
            .with_pattern_type_filter(ANY)
            .with_operation(ANY)
            .with_permission_type(ANY);
        let response = self.ask_any(&request).await?;
        check_code(
            || "ACLs (needs Describe on the cluster)".into(),
            response.error_code,
        )?;
        Ok(response
            .resources
            .iter()
            .map(|resource| resource.acls.len())
            .sum())
    }

    /// Users with SCRAM credentials.
    pub async fn scram_users(&mut self) -> Result<Vec<String>, SourceError> {
        let request = DescribeUserScramCredentialsRequest::default().with_users(None);
        let response = self.ask_any(&request).await?;
        check_code(
            || "SCRAM users (needs Describe on the cluster)".into(),
            response.error_code,
        )?;
        Ok(response
            .results
            .iter()
            .map(|user| user.user.to_string())
            .collect())
    }

    /// Open transactions of the given partitions: producer and first offset.
    pub async fn open_transactions(
        &mut self,
        leaders: &BTreeMap<i32, Vec<Place>>,
    ) -> Result<Vec<(Place, i64, Offset)>, SourceError> {
        let mut open = Vec::new();
        for (leader, places) in leaders {
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for (name, index) in places {
                topics.entry(name).or_default().push(*index);
            }
            let topics = topics.into_iter().map(|(name, indexes)| {
                TopicRequest::default()
                    .with_name(topic_name(name))
                    .with_partition_indexes(indexes)
            });
            let request = DescribeProducersRequest::default().with_topics(topics.collect());
            let response = self.ask(*leader, &request).await?;
            for topic in response.topics {
                for partition in topic.partitions {
                    let place = (topic.name.to_string(), partition.partition_index);
                    for producer in partition.active_producers {
                        if producer.current_txn_start_offset >= 0 {
                            let first = producer.current_txn_start_offset;
                            open.push((place.clone(), producer.producer_id.0, first));
                        }
                    }
                }
            }
        }
        Ok(open)
    }
}

/// Partitions by their leaders; those without one are left out.
pub fn by_leader<'a>(
    topics: impl IntoIterator<Item = (&'a String, &'a SourceTopic)>,
) -> BTreeMap<i32, Vec<Place>> {
    let mut leaders: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
    for (name, topic) in topics {
        for (index, partition) in (0..).zip(&topic.partitions) {
            if let Some(leader) = partition.leader {
                leaders
                    .entry(leader)
                    .or_default()
                    .push((name.clone(), index));
            }
        }
    }
    leaders
}
