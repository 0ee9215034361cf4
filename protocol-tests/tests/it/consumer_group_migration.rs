//! Classic and new members in one group, while an application moves from one protocol to the other.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use protocol_tests::calls::text;
use protocol_tests::consumers::{Consumer, joining};
use protocol_tests::groups::{Member, protocol, subscription};
use protocol_tests::{Broker, codes, unique, wait_until};

const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

/// A classic consumer of `topics`.
fn classic(broker: &Broker, group: &str, topics: &[&str]) -> Member {
    let mut member = Member::new(broker, group);
    member.request.protocols = vec![protocol("range", subscription(topics))];
    member
}

/// What SyncGroup gave a consumer.
fn partitions(mut assignment: Bytes) -> BTreeMap<String, Vec<i32>> {
    if assignment.is_empty() {
        return BTreeMap::new();
    }
    assignment.get_i16();
    let topics = assignment.get_i32();
    let mut by_topic = BTreeMap::new();
    for _ in 0..topics {
        let length = assignment.get_i16();
        let name = assignment.split_to(usize::try_from(length).expect("a length"));
        let count = assignment.get_i32();
        let mut own: Vec<i32> = (0..count).map(|_| assignment.get_i32()).collect();
        own.sort_unstable();
        by_topic.insert(String::from_utf8(name.to_vec()).expect("a name"), own);
    }
    by_topic
}

/// An assignment as a leader would write it.
fn assignment(topic: &str, partitions: &[i32]) -> String {
    let mut out = vec![0, 0, 0, 0, 0, 1];
    out.extend(
        u16::try_from(topic.len())
            .expect("a short name")
            .to_be_bytes(),
    );
    out.extend(topic.as_bytes());
    out.extend(
        u32::try_from(partitions.len())
            .expect("few partitions")
            .to_be_bytes(),
    );
    for partition in partitions {
        out.extend(partition.to_be_bytes());
    }
    out.extend([0, 0, 0, 0]);
    String::from_utf8(out).expect("small numbers are text")
}

/// Has a classic member, which has given up everything, join again until it has `count` partitions.
fn rejoin_until(
    member: &mut Member,
    consumer: &mut Consumer,
    topic: &str,
    count: usize,
) -> Vec<i32> {
    let mut own = Vec::new();
    wait_until("the classic member to have its share", || {
        consumer.beat_owning();
        member.join();
        let synced = member.sync(&[]);
        if synced.error_code == codes::REBALANCE_IN_PROGRESS {
            return false;
        }
        assert_eq!(synced.error_code, codes::NONE);
        own = partitions(synced.assignment)
            .remove(topic)
            .unwrap_or_default();
        own.len() == count
    });
    own
}

/// A classic member that joins a consumer group is assigned to by the broker. When the last member of
/// the new protocol leaves, the group is a classic one.
#[test]
fn down() {
    let broker = Broker::shared();
    let group = broker.group("down");
    let mut client = broker.connect();
    let topic = unique("topic");
    let id = client.create_topic(&topic, 4);
    let mut consumer = Consumer::new(&broker, &group, &[&topic]);
    consumer.join();
    consumer.beat_until("all partitions", |consumer| consumer.count() == 4);

    let mut member = classic(&broker, &group, &[&topic]);
    member.join();
    assert!(!member.is_leader());
    assert_eq!(member.joined.members, []);
    assert_eq!(member.joined.protocol_name.as_deref(), Some("range"));
    let synced = member.sync(&[]);
    assert_eq!(synced.error_code, codes::NONE);
    assert_eq!(partitions(synced.assignment), BTreeMap::new());
    consumer.beat_until("its half", |consumer| consumer.count() == 2);
    let own = rejoin_until(&mut member, &mut consumer, &topic, 2);
    assert!(own.iter().all(|partition| !consumer.has(id, *partition)));
    assert_eq!(member.heartbeat(), codes::NONE);
    assert_eq!(member.commit(&topic, own[0], 7), codes::NONE);
    let described = client.describe_consumer_group(&group);
    let mut kinds: Vec<i8> = described.members.iter().map(|m| m.member_type).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [CLASSIC, CONSUMER]);

    // Wrong in each way.
    let generation = member.generation;
    member.generation += 1;
    assert_eq!(member.heartbeat(), codes::ILLEGAL_GENERATION);
    assert_eq!(member.sync(&[]).error_code, codes::ILLEGAL_GENERATION);
    assert_eq!(member.commit(&topic, 0, 7), codes::ILLEGAL_GENERATION);
    member.generation = generation;
    let mut stranger = classic(&broker, &group, &[&topic]);
    stranger.request.member_id = text("stranger");
    stranger.generation = generation;
    assert_eq!(stranger.heartbeat(), codes::UNKNOWN_MEMBER_ID);
    stranger.request.member_id = text(&consumer.id());
    assert_eq!(
        stranger.heartbeat(),
        codes::UNKNOWN_MEMBER_ID,
        "it is no classic member"
    );
    let mut foreign = Member::new(&broker, &group);
    foreign.request.protocol_type = text("connect");
    let refused = foreign
        .client
        .call(3, &foreign.request.clone().with_reason(None));
    assert_eq!(refused.error_code, codes::INCONSISTENT_GROUP_PROTOCOL);

    assert_eq!(consumer.leave(-1), codes::NONE);
    member.wait_for_rebalance();
    let described = client.describe_consumer_group(&group);
    assert_eq!(described.error_code, codes::GROUP_ID_NOT_FOUND);
    member.join();
    assert!(member.is_leader());
    assert_eq!(member.joined.members.len(), 1);
    let own = member.id();
    let all = assignment(&topic, &[0, 1, 2, 3]);
    let synced = member.sync(&[(&own, &all)]);
    assert_eq!(synced.error_code, codes::NONE);
    assert_eq!(client.group_state(&group), "Stable");
    assert_eq!(member.leave(), codes::NONE);
}

/// A member of the new protocol that joins a classic group makes it a consumer group. Nobody is without
/// partitions for longer than it takes to hand them over.
#[test]
fn up() {
    let broker = Broker::shared();
    let group = broker.group("up");
    let mut client = broker.connect();
    let topic = unique("topic");
    let id = client.create_topic(&topic, 4);
    let mut member = classic(&broker, &group, &[&topic]);
    member.join_alone(&assignment(&topic, &[0, 1, 2, 3]));
    assert_eq!(member.commit(&topic, 0, 11), codes::NONE);

    let mut consumer = Consumer::new(&broker, &group, &[&topic]);
    consumer.join();
    assert_eq!(consumer.count(), 0, "the classic member still has them");
    let described = client.describe_consumer_group(&group);
    assert_eq!(described.members.len(), 2);
    member.wait_for_rebalance();
    // It has given up what it had, as eager consumers do.
    let own = rejoin_until(&mut member, &mut consumer, &topic, 2);
    consumer.beat_until("the other half", |consumer| consumer.count() == 2);
    assert!(own.iter().all(|partition| !consumer.has(id, *partition)));
    assert_eq!(client.committed(&group, &topic, 0), 11);

    assert_eq!(member.leave(), codes::NONE);
    consumer.beat_until("everything", |consumer| consumer.count() == 4);
    assert_eq!(consumer.leave(-1), codes::NONE);

    // Without members it may be either.
    let mut member = classic(&broker, &group, &[&topic]);
    member.join_alone(&assignment(&topic, &[0]));
    assert_eq!(client.group_state(&group), "Stable");
    assert_eq!(member.leave(), codes::NONE);
    let mut consumer = Consumer::new(&broker, &group, &[&topic]);
    consumer.join();
    let described = client.describe_consumer_group(&group);
    assert_eq!(described.members.len(), 1);
    assert_eq!(client.committed(&group, &topic, 0), 11);
}

/// A rebalance that goes on when the group is converted is broken off: who waits is to join again.
#[test]
fn up_in_the_middle_of_a_rebalance() {
    let broker = Broker::shared();
    let group = broker.group("up-while-rebalancing");
    let topic = unique("topic");
    broker.connect().create_topic(&topic, 2);
    let mut first = classic(&broker, &group, &[&topic]);
    first.join_alone(&assignment(&topic, &[0, 1]));
    let mut second = classic(&broker, &group, &[&topic]);
    let waiting = second.send_join();
    first.wait_for_rebalance();
    let mut consumer = Consumer::new(&broker, &group, &[&topic]);
    consumer.join();
    let told = second.try_receive_join(waiting);
    assert_eq!(told.error_code, codes::REBALANCE_IN_PROGRESS);
    for member in [&mut first, &mut second] {
        member.join();
        assert!(!member.is_leader());
    }
    let described = consumer.client.describe_consumer_group(&group);
    assert_eq!(described.members.len(), 3);
}

/// Groups of other kinds of clients are left alone.
#[test]
fn foreign_groups_stay_what_they_are() {
    let broker = Broker::shared();
    let group = broker.group("foreign");
    let mut member = Member::new(&broker, &group);
    member.request.protocol_type = text("connect");
    member.request.protocols = vec![protocol("sessioned", Bytes::from_static(b"{}"))];
    member.join_alone("x");
    let mut consumer = Consumer::new(&broker, &group, &[]);
    assert_eq!(consumer.try_join().error_code, codes::GROUP_ID_NOT_FOUND);
    assert_eq!(member.heartbeat(), codes::NONE);
}

#[test]
fn a_policy_can_forbid_it() {
    let arguments = ["--set", "group.consumer.migration.policy=disabled"];
    let Some(broker) = Broker::in_memory(&arguments) else {
        return;
    };
    let mut member = classic(&broker, "g", &["t"]);
    member.join_alone("");
    let mut consumer = Consumer::new(&broker, "g", &["t"]);
    assert_eq!(consumer.try_join().error_code, codes::GROUP_ID_NOT_FOUND);
    assert_eq!(member.heartbeat(), codes::NONE);
    assert_eq!(member.leave(), codes::NONE);
    consumer.join();
    // The other way: the consumer group stays one.
    let mut member = classic(&broker, "g", &["t"]);
    member.join();
    assert_eq!(consumer.leave(-1), codes::NONE);
    let described = member.client.describe_consumer_group("g");
    assert_eq!(described.error_code, codes::NONE);
    assert_eq!(described.members.len(), 1);
}

/// A static member that changes its protocol takes its own place.
#[test]
fn static_members_change_sides() {
    let broker = Broker::shared();
    let group = broker.group("sides");
    let topic = unique("topic");
    let id = broker.connect().create_topic(&topic, 2);
    let mut consumer = Consumer::of_instance(&broker, &group, "i", &[&topic]);
    consumer.join();
    consumer.beat_until("both", |consumer| consumer.count() == 2);
    let mut member = classic(&broker, &group, &[&topic]);
    member.request.group_instance_id = Some(text("i"));
    member.join();
    let synced = member.sync(&[]);
    assert_eq!(synced.error_code, codes::NONE);
    assert_eq!(partitions(synced.assignment)[&topic], [0, 1]);
    assert_eq!(consumer.try_beat().error_code, codes::GROUP_ID_NOT_FOUND);
    wait_until("the group to be a classic one", || {
        let described = consumer.client.describe_consumer_group(&group);
        described.error_code == codes::GROUP_ID_NOT_FOUND
    });
    // And back.
    let mut again = Consumer::of_instance(&broker, &group, "i", &[&topic]);
    again.join();
    again.beat_until("both", |again| again.count() == 2);
    assert!(again.has(id, 1));
    assert_eq!(member.heartbeat(), codes::FENCED_INSTANCE_ID);
    let request = joining(&group, &again.id(), &[&topic]);
    assert_eq!(again.client.call(1, &request).error_code, codes::NONE);
}
