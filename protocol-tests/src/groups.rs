//! Members of classic groups, spoken for byte by byte: each has a connection of its own.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponsePartitions;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest, SyncGroupResponse,
};

use crate::calls::{text, topic_name};
use crate::client::{Client, Pending};
use crate::wait::wait_until;
use crate::{Broker, codes, unique};

/// Version of JoinGroup that helpers use.
pub const JOIN: i16 = 9;
/// Version of SyncGroup that helpers use.
pub const SYNC: i16 = 5;
/// Version of Heartbeat that helpers use.
pub const HEARTBEAT: i16 = 4;
/// Version of LeaveGroup that helpers use.
pub const LEAVE: i16 = 5;
/// Version of OffsetCommit that helpers use.
pub const COMMIT: i16 = 9;
/// Version of OffsetFetch that helpers use.
pub const FETCH_OFFSETS: i16 = 9;

/// The shortest session that brokers grant by default, in milliseconds.
pub const SESSION_MS: i32 = 6_000;

/// A group id in the codec's type.
pub fn group_id(id: &str) -> GroupId {
    GroupId(text(id))
}

/// What a consumer of `topics` says about itself.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(topics.len() as i32);
    for topic in topics {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
    }
    out.put_i32(-1);
    out.freeze()
}

/// A protocol of a JoinGroup.
pub fn protocol(name: &str, metadata: impl Into<Bytes>) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol::default()
        .with_name(text(name))
        .with_metadata(metadata.into())
}

/// A member's JoinGroup: a consumer of nothing that can do `range`.
pub fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(SESSION_MS)
        .with_rebalance_timeout_ms(SESSION_MS)
        .with_member_id(text(member))
        .with_group_instance_id(None)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range", subscription(&[]))])
        .with_reason(None)
}

/// A SyncGroup of a consumer that can do `range`, which assigns nothing.
pub fn sync_request(group: &str, generation: i32, member: &str) -> SyncGroupRequest {
    SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_group_instance_id(None)
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
}

/// A member's heartbeat.
pub fn heartbeat_request(group: &str, generation: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_group_instance_id(None)
}

/// A commit of one offset.
pub fn commit_request(
    group: &str,
    generation: i32,
    member: &str,
    (topic, partition, offset): (&str, i32, i64),
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_group_instance_id(None)
        .with_topics(vec![topic])
}

impl Broker {
    /// The id of a group that no other test knows, whose coordinator is ready.
    pub fn group(&self, name: &str) -> String {
        let id = unique(name);
        let mut client = self.connect();
        let request = FindCoordinatorRequest::default()
            .with_key_type(0)
            .with_coordinator_keys(vec![text(&id)]);
        wait_until("the coordinator", || {
            client.call(4, &request).coordinators[0].error_code == codes::NONE
        });
        // A coordinator of Kafka's that is being elected says so for a while.
        wait_until("the group to be served", || {
            client.try_fetch_offset(&id, "", 0).is_some()
        });
        id
    }
}

impl Client {
    /// Commits one offset as nobody's member.
    pub fn commit(&mut self, group: &str, topic: &str, partition: i32, offset: i64) -> i16 {
        let request = commit_request(group, -1, "", (topic, partition, offset));
        let response = self.call(COMMIT, &request);
        response.topics[0].partitions[0].error_code
    }

    /// What a group has committed for a partition; `None` if its coordinator does not say.
    pub fn try_fetch_offset(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Option<OffsetFetchResponsePartitions> {
        let topics = OffsetFetchRequestTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(vec![partition]);
        let request = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_member_id(None)
            .with_member_epoch(-1)
            .with_topics(Some(vec![topics]));
        let request = OffsetFetchRequest::default().with_groups(vec![request]);
        let mut response = self.call(FETCH_OFFSETS, &request);
        let mut group = response.groups.remove(0);
        if group.error_code != codes::NONE {
            return None;
        }
        Some(group.topics.remove(0).partitions.remove(0))
    }

    /// The offset that a group has committed for a partition, or -1.
    pub fn committed(&mut self, group: &str, topic: &str, partition: i32) -> i64 {
        let found = self.try_fetch_offset(group, topic, partition);
        let found = found.expect("the group's coordinator answers");
        assert_eq!(found.error_code, codes::NONE);
        found.committed_offset
    }

    /// The state of a group, by name.
    pub fn group_state(&mut self, group: &str) -> String {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        self.call(5, &request).groups[0].group_state.to_string()
    }
}

/// A member of a classic group, on a connection of its own.
#[derive(Debug)]
pub struct Member {
    /// The connection.
    pub client: Client,
    /// What it joins with; the member id is filled in as it learns it.
    pub request: JoinGroupRequest,
    /// The generation it is in.
    pub generation: i32,
    /// What its last JoinGroup was answered with.
    pub joined: JoinGroupResponse,
}

impl Member {
    /// Somebody who wants to join `group`.
    pub fn new(broker: &Broker, group: &str) -> Self {
        Self {
            client: broker.connect(),
            request: join_request(group, ""),
            generation: -1,
            joined: JoinGroupResponse::default(),
        }
    }

    /// The same with an instance id.
    pub fn of_instance(broker: &Broker, group: &str, instance: &str) -> Self {
        let mut member = Self::new(broker, group);
        member.request.group_instance_id = Some(text(instance));
        member
    }

    /// The group's id.
    pub fn group(&self) -> String {
        self.request.group_id.0.to_string()
    }

    /// The member's id; empty before it has one.
    pub fn id(&self) -> String {
        self.request.member_id.to_string()
    }

    /// Gets a member id if it has none yet, and sends its JoinGroup.
    pub fn send_join(&mut self) -> Pending<JoinGroupRequest> {
        if self.request.member_id.is_empty() && self.request.group_instance_id.is_none() {
            let told = self.client.call(JOIN, &self.request);
            assert_eq!(told.error_code, codes::MEMBER_ID_REQUIRED);
            self.request.member_id = told.member_id;
        }
        self.client.send(JOIN, &self.request)
    }

    /// The answer to [`Member::send_join`], as it is.
    pub fn try_receive_join(&mut self, pending: Pending<JoinGroupRequest>) -> &JoinGroupResponse {
        self.joined = self.client.receive(pending);
        if self.joined.error_code == codes::NONE {
            self.request.member_id = self.joined.member_id.clone();
            self.generation = self.joined.generation_id;
        }
        &self.joined
    }

    /// The answer to [`Member::send_join`], which is to be good.
    pub fn receive_join(&mut self, pending: Pending<JoinGroupRequest>) {
        let joined = self.try_receive_join(pending);
        assert_eq!(joined.error_code, codes::NONE, "{joined:?}");
    }

    /// Joins, and waits until the rebalance is complete.
    pub fn join(&mut self) {
        let pending = self.send_join();
        self.receive_join(pending);
    }

    /// Whether it is the leader.
    pub fn is_leader(&self) -> bool {
        self.joined.leader == self.joined.member_id
    }

    fn sync_request(&self, assignments: &[(&str, &str)]) -> SyncGroupRequest {
        let assignments = assignments.iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(Bytes::copy_from_slice(assignment.as_bytes()))
        });
        sync_request(&self.group(), self.generation, &self.id())
            .with_group_instance_id(self.request.group_instance_id.clone())
            .with_protocol_type(self.joined.protocol_type.clone())
            .with_protocol_name(self.joined.protocol_name.clone())
            .with_assignments(assignments.collect())
    }

    /// Sends its SyncGroup, with these assignments by member id.
    pub fn send_sync(&mut self, assignments: &[(&str, &str)]) -> Pending<SyncGroupRequest> {
        let request = self.sync_request(assignments);
        self.client.send(SYNC, &request)
    }

    /// Syncs.
    pub fn sync(&mut self, assignments: &[(&str, &str)]) -> SyncGroupResponse {
        let pending = self.send_sync(assignments);
        self.client.receive(pending)
    }

    /// Joins a group alone and assigns itself `assignment`.
    pub fn join_alone(&mut self, assignment: &str) {
        self.join();
        assert!(self.is_leader());
        let id = self.id();
        let synced = self.sync(&[(&id, assignment)]);
        assert_eq!(synced.error_code, codes::NONE);
        assert_eq!(synced.assignment, assignment.as_bytes());
    }

    /// Says that it is alive; what it hears.
    pub fn heartbeat(&mut self) -> i16 {
        let request = heartbeat_request(&self.group(), self.generation, &self.id())
            .with_group_instance_id(self.request.group_instance_id.clone());
        self.client.call(HEARTBEAT, &request).error_code
    }

    /// Beats until it hears that there is a rebalance.
    pub fn wait_for_rebalance(&mut self) {
        wait_until("a rebalance", || match self.heartbeat() {
            codes::REBALANCE_IN_PROGRESS => true,
            code => {
                assert_eq!(code, codes::NONE);
                false
            }
        });
    }

    /// Commits one offset as a member.
    pub fn commit(&mut self, topic: &str, partition: i32, offset: i64) -> i16 {
        let place = (topic, partition, offset);
        let request = commit_request(&self.group(), self.generation, &self.id(), place)
            .with_group_instance_id(self.request.group_instance_id.clone());
        let response = self.client.call(COMMIT, &request);
        response.topics[0].partitions[0].error_code
    }

    /// Leaves.
    pub fn leave(&mut self) -> i16 {
        let member = MemberIdentity::default()
            .with_member_id(text(&self.id()))
            .with_group_instance_id(None)
            .with_reason(None);
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&self.group()))
            .with_members(vec![member]);
        let response = self.client.call(LEAVE, &request);
        assert_eq!(response.error_code, codes::NONE);
        response.members[0].error_code
    }
}

/// Has all these members join one rebalance, which the first of them begins; returns the place of the leader.
pub fn join_all(members: &mut [Member]) -> usize {
    let (first, others) = members.split_first_mut().expect("members");
    let mut pending = vec![first.send_join()];
    if let Some(other) = others.first_mut() {
        let group = other.group();
        wait_until("the rebalance to begin", || {
            other.client.group_state(&group) == "PreparingRebalance"
        });
    }
    pending.extend(others.iter_mut().map(Member::send_join));
    for (member, pending) in members.iter_mut().zip(pending) {
        member.receive_join(pending);
    }
    let generation = members[0].generation;
    assert!(members.iter().all(|member| member.generation == generation));
    let leaders: Vec<usize> = (0..members.len())
        .filter(|at| members[*at].is_leader())
        .collect();
    assert_eq!(leaders.len(), 1, "exactly one leads");
    leaders[0]
}

/// Forms a stable group of these members: the first joins alone, the others come to it. Each is
/// assigned its place among them, as text.
pub fn form(members: &mut [Member]) {
    let (first, others) = members.split_first_mut().expect("members");
    first.join_alone("0");
    let pending: Vec<_> = others.iter_mut().map(Member::send_join).collect();
    if !others.is_empty() {
        first.wait_for_rebalance();
        let own = first.send_join();
        first.receive_join(own);
        for (member, pending) in others.iter_mut().zip(pending) {
            member.receive_join(pending);
        }
    }
    share_out(members);
}

/// Has the leader assign to each its place among them, as text.
pub fn share_out(members: &mut [Member]) {
    let ids: Vec<String> = members.iter().map(Member::id).collect();
    let places: Vec<String> = (0..ids.len()).map(|at| at.to_string()).collect();
    let assignments: Vec<(&str, &str)> = ids
        .iter()
        .zip(&places)
        .map(|(id, place)| (&**id, &**place))
        .collect();
    let pending: Vec<_> = members
        .iter_mut()
        .map(|member| {
            let own = match member.is_leader() {
                true => &assignments[..],
                false => &[],
            };
            member.send_sync(own)
        })
        .collect();
    for ((member, pending), place) in members.iter_mut().zip(pending).zip(&places) {
        let synced = member.client.receive(pending);
        assert_eq!(synced.error_code, codes::NONE);
        assert_eq!(synced.assignment, place.as_bytes());
    }
}
