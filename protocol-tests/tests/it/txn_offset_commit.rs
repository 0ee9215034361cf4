//! TxnOffsetCommit (28), and what its offsets look like until the transaction ends.

use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    OffsetFetchRequest, TxnOffsetCommitRequest, offset_fetch_request::OffsetFetchRequestGroup,
    offset_fetch_request::OffsetFetchRequestTopics,
};
use protocol_tests::calls::{text, topic_name};
use protocol_tests::transactions::{END_TXN_RAISING, Transactional};
use protocol_tests::{Broker, Client, codes, unique, wait_for, wait_until};

fn request(
    producer: &Transactional,
    group: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    TxnOffsetCommitRequest::default()
        .with_transactional_id(text(&producer.id).into())
        .with_group_id(text(group).into())
        .with_producer_id(producer.producer_id.into())
        .with_producer_epoch(producer.epoch)
        .with_topics(vec![topic])
}

/// The code, once the coordinator is not busy.
fn commit(client: &mut Client, version: i16, request: &TxnOffsetCommitRequest) -> i16 {
    wait_for("a coordinator that is not busy", || {
        let answer = client.call(version, request);
        let code = answer.topics[0].partitions[0].error_code;
        let busy = [
            codes::COORDINATOR_LOAD_IN_PROGRESS,
            codes::COORDINATOR_NOT_AVAILABLE,
            codes::NOT_COORDINATOR,
        ];
        (!busy.contains(&code)).then_some(code)
    })
}

/// Error and offset of one partition.
fn fetch(client: &mut Client, group: &str, topic: &str, stable: bool) -> (i16, i64) {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(text(group).into())
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default()
        .with_groups(vec![group])
        .with_require_stable(stable);
    wait_for("a coordinator that is not busy", || {
        let answer = client.call(8, &request);
        let group = &answer.groups[0];
        if group.error_code != codes::NONE {
            return None;
        }
        let partition = &group.topics[0].partitions[0];
        Some((partition.error_code, partition.committed_offset))
    })
}

/// 95. What is pending is not read, and stable offsets are waited for; the end decides.
#[test]
fn offsets_are_seen_when_the_transaction_is_committed() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (group, topic) = (unique("toc"), unique("toc"));
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    let mut before = -1;
    for (commits, offset) in [(true, 5), (false, 7), (true, 9)] {
        assert_eq!(producer.add_offsets(&mut client, &group), codes::NONE);
        let asked = request(&producer, &group, &topic, 0, offset);
        assert_eq!(commit(&mut client, 3, &asked), codes::NONE);
        let unstable = fetch(&mut client, &group, &topic, true);
        assert_eq!(unstable.0, codes::UNSTABLE_OFFSET_COMMIT);
        let plain = fetch(&mut client, &group, &topic, false);
        assert_eq!(plain, (codes::NONE, before));
        producer.end(&mut client, commits);
        if commits {
            before = offset;
        }
        wait_until("the end to reach the group", || {
            fetch(&mut client, &group, &topic, true) == (codes::NONE, before)
        });
    }
}

/// Every version commits.
#[test]
fn every_version_commits() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (group, topic) = (unique("toc-versions"), unique("toc-versions"));
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    assert_eq!(producer.add_offsets(&mut client, &group), codes::NONE);
    for version in 0..=5 {
        let asked = request(&producer, &group, &topic, 0, i64::from(version));
        assert_eq!(
            commit(&mut client, version, &asked),
            codes::NONE,
            "v{version}"
        );
    }
    producer.end(&mut client, true);
    wait_until("the end to reach the group", || {
        fetch(&mut client, &group, &topic, true) == (codes::NONE, 5)
    });
}

/// A group has to be added first, below version 5.
#[test]
fn a_group_joins_by_being_added_or_from_version_5_by_committing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (group, topic) = (unique("toc-added"), unique("toc-added"));
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    let asked = request(&producer, &group, &topic, 0, 3);
    for (version, code) in [
        (2, codes::INVALID_TXN_STATE),
        (3, codes::INVALID_TXN_STATE),
        (4, codes::TRANSACTION_ABORTABLE),
    ] {
        assert_eq!(commit(&mut client, version, &asked), code, "v{version}");
    }
    assert_eq!(commit(&mut client, 5, &asked), codes::NONE);
    let code = producer.try_end(&mut client, END_TXN_RAISING, true);
    assert_eq!(code, codes::NONE);
    wait_until("the end to reach the group", || {
        fetch(&mut client, &group, &topic, true) == (codes::NONE, 3)
    });
    // The epoch has risen: what comes late is fenced.
    assert_eq!(
        commit(&mut client, 5, &asked),
        codes::INVALID_PRODUCER_EPOCH
    );
}

/// Members are judged where they are named.
#[test]
fn unknown_members_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (group, topic) = (unique("toc-members"), unique("toc-members"));
    client.create_topic(&topic, 1);
    let producer = Transactional::new(&mut client);
    assert_eq!(producer.add_offsets(&mut client, &group), codes::NONE);
    let mut asked = request(&producer, &group, &topic, 0, 3);
    asked.generation_id = 5;
    asked.member_id = text("nobody");
    assert_eq!(commit(&mut client, 3, &asked), codes::ILLEGAL_GENERATION);
    let missing = request(&producer, &group, &topic, 9, 3);
    assert_eq!(
        commit(&mut client, 3, &missing),
        codes::UNKNOWN_TOPIC_OR_PARTITION
    );
    let mut other = producer.clone();
    other.epoch += 1;
    let fenced = request(&other, &group, &topic, 0, 3);
    assert_eq!(
        commit(&mut client, 3, &fenced),
        codes::INVALID_PRODUCER_EPOCH
    );
}

/// 95. Pending offsets survive a kill, and so does their end.
#[test]
fn pending_offsets_survive_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("t", 1);
    let mut producer = Transactional::new(&mut client);
    assert_eq!(producer.add_offsets(&mut client, "g"), codes::NONE);
    let asked = request(&producer, "g", "t", 0, 5);
    assert_eq!(commit(&mut client, 3, &asked), codes::NONE);
    broker.kill();
    broker.restart();
    client = broker.connect();
    let unstable = fetch(&mut client, "g", "t", true);
    assert_eq!(unstable.0, codes::UNSTABLE_OFFSET_COMMIT);
    producer.end(&mut client, true);
    assert_eq!(fetch(&mut client, "g", "t", true), (codes::NONE, 5));
}
