//! Members of consumer groups (KIP-848), spoken for heartbeat by heartbeat.

use std::collections::BTreeMap;

use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use uuid::Uuid;

use crate::calls::{text, topic_name};
use crate::client::Client;
use crate::groups::group_id;
use crate::wait::wait_until;
use crate::{Broker, codes};

/// Version of ConsumerGroupHeartbeat that helpers use.
pub const HEARTBEAT: i16 = 1;
/// Version of ConsumerGroupDescribe that helpers use.
pub const DESCRIBE: i16 = 1;

/// Partitions by topic.
pub type Partitions = BTreeMap<Uuid, Vec<i32>>;

/// A heartbeat that says that nothing has changed.
pub fn steady(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_instance_id(None)
        .with_rack_id(None)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_subscribed_topic_regex(None)
        .with_server_assignor(None)
        .with_topic_partitions(None)
}

/// A heartbeat with which a member joins.
pub fn joining(group: &str, member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    steady(group, member, 0)
        .with_rebalance_timeout_ms(30_000)
        .with_subscribed_topic_names(Some(topics.iter().map(|name| topic_name(name)).collect()))
        .with_topic_partitions(Some(Vec::new()))
}

/// Partitions as a request names them.
pub fn owned(partitions: &Partitions) -> Option<Vec<TopicPartitions>> {
    let topics = partitions.iter().map(|(id, partitions)| {
        TopicPartitions::default()
            .with_topic_id(*id)
            .with_partitions(partitions.clone())
    });
    Some(topics.collect())
}

/// A member on a connection of its own.
#[derive(Debug)]
pub struct Consumer {
    /// The connection.
    pub client: Client,
    /// What it joins with.
    pub request: ConsumerGroupHeartbeatRequest,
    /// Its epoch.
    pub epoch: i32,
    /// What it has been given.
    pub assigned: Partitions,
}

impl Consumer {
    /// Somebody who wants to read `topics` in `group`.
    pub fn new(broker: &Broker, group: &str, topics: &[&str]) -> Self {
        Self {
            client: broker.connect(),
            request: joining(group, &Uuid::new_v4().to_string(), topics),
            epoch: 0,
            assigned: Partitions::new(),
        }
    }

    /// The same with an instance id.
    pub fn of_instance(broker: &Broker, group: &str, instance: &str, topics: &[&str]) -> Self {
        let mut consumer = Self::new(broker, group, topics);
        consumer.request.instance_id = Some(text(instance));
        consumer
    }

    /// The same with an expression.
    pub fn matching(broker: &Broker, group: &str, regex: &str) -> Self {
        let mut consumer = Self::new(broker, group, &[]);
        consumer.request.subscribed_topic_names = None;
        consumer.request.subscribed_topic_regex = Some(text(regex));
        consumer
    }

    /// The group's id.
    pub fn group(&self) -> String {
        self.request.group_id.0.to_string()
    }

    /// The member's id.
    pub fn id(&self) -> String {
        self.request.member_id.to_string()
    }

    /// How many partitions it has.
    pub fn count(&self) -> usize {
        self.assigned.values().map(Vec::len).sum()
    }

    /// Whether it has this partition.
    pub fn has(&self, topic: Uuid, partition: i32) -> bool {
        self.assigned
            .get(&topic)
            .is_some_and(|own| own.contains(&partition))
    }

    /// Sends `request`; takes in epoch and assignment if it was accepted.
    pub fn call(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let response = self.client.call(HEARTBEAT, request);
        if response.error_code == codes::NONE {
            self.epoch = response.member_epoch;
            if let Some(assignment) = &response.assignment {
                let topics = assignment.topic_partitions.iter();
                self.assigned = topics
                    .map(|topic| {
                        let mut partitions = topic.partitions.clone();
                        partitions.sort_unstable();
                        (topic.topic_id, partitions)
                    })
                    .collect();
            }
        }
        response
    }

    /// Joins.
    pub fn try_join(&mut self) -> ConsumerGroupHeartbeatResponse {
        let request = self.request.clone().with_member_epoch(0);
        self.call(&request)
    }

    /// Joins, which is to succeed.
    pub fn join(&mut self) {
        let joined = self.try_join();
        assert_eq!(joined.error_code, codes::NONE, "{joined:?}");
        assert_eq!(joined.member_id.as_deref(), Some(&*self.id()));
    }

    /// A heartbeat that says that nothing has changed.
    pub fn try_beat(&mut self) -> ConsumerGroupHeartbeatResponse {
        let request = steady(&self.group(), &self.id(), self.epoch)
            .with_instance_id(self.request.instance_id.clone());
        self.call(&request)
    }

    /// A heartbeat that says what it has.
    pub fn try_beat_owning(&mut self) -> ConsumerGroupHeartbeatResponse {
        let request = steady(&self.group(), &self.id(), self.epoch)
            .with_instance_id(self.request.instance_id.clone())
            .with_topic_partitions(owned(&self.assigned));
        self.call(&request)
    }

    /// The same, which is to succeed.
    pub fn beat_owning(&mut self) {
        let response = self.try_beat_owning();
        assert_eq!(response.error_code, codes::NONE, "{response:?}");
    }

    /// Beats, giving up what it is told to, until `holds`.
    pub fn beat_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        wait_until(what, || {
            if !holds(self) {
                self.beat_owning();
            }
            holds(self)
        });
    }

    /// Leaves, with the epoch -1, or -2 for a static member that will be back.
    pub fn leave(&mut self, epoch: i32) -> i16 {
        let request = steady(&self.group(), &self.id(), epoch)
            .with_instance_id(self.request.instance_id.clone());
        let response = self.client.call(HEARTBEAT, &request);
        if response.error_code == codes::NONE {
            assert_eq!(response.member_epoch, epoch);
        }
        response.error_code
    }
}

/// Lets all of them beat, giving up what they are told to, until everybody is settled: `counts` are the
/// sizes of their shares, the largest first. No partition may be with two at any moment.
pub fn settle(consumers: &mut [Consumer], counts: &[usize]) {
    wait_until("the group to settle", || {
        for consumer in consumers.iter_mut() {
            consumer.beat_owning();
            consumer.beat_owning();
        }
        assert_disjoint(consumers);
        let mut found: Vec<usize> = consumers.iter().map(Consumer::count).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        let same_epoch = consumers
            .windows(2)
            .all(|pair| pair[0].epoch == pair[1].epoch);
        found == counts && same_epoch
    });
}

/// No partition is with two.
pub fn assert_disjoint(consumers: &[Consumer]) {
    let all = consumers.iter().flat_map(|consumer| {
        let topics = consumer.assigned.iter();
        topics.flat_map(|(id, partitions)| partitions.iter().map(move |index| (*id, *index)))
    });
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count, "a partition is with two: {consumers:?}");
}

impl Client {
    /// A consumer group as tools see it.
    pub fn describe_consumer_group(&mut self, group: &str) -> DescribedGroup {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
        self.call(DESCRIBE, &request).groups.remove(0)
    }
}
