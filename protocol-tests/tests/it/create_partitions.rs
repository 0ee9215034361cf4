//! CreatePartitions (37).

use kafka_protocol::messages::CreatePartitionsRequest;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol_tests::calls::topic_name;
use protocol_tests::{Batch, Broker, Client, codes, unique};

fn grown(name: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default()
        .with_name(topic_name(name))
        .with_count(count)
        .with_assignments(None)
}

fn request(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    CreatePartitionsRequest::default()
        .with_timeout_ms(10_000)
        .with_topics(topics)
}

fn ask(client: &mut Client, topic: CreatePartitionsTopic) -> CreatePartitionsTopicResult {
    let mut answer = client.call(3, &request(vec![topic]));
    assert_eq!(answer.results.len(), 1);
    answer.results.remove(0)
}

/// The count is the new total; new partitions are empty and old ones untouched.
#[test]
fn a_topic_grows() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("partitions-grow");
    let id = client.create_topic(&name, 1);
    client.produce(&name, 0, Batch::of(&["kept"]));
    for version in 0..=3 {
        let count = i32::from(version) + 2;
        let answer = client.call(version, &request(vec![grown(&name, count)]));
        assert_eq!(answer.results[0].error_code, codes::NONE, "v{version}");
        client.wait_for_leaders(&name, count);
        assert_eq!(
            client.produce(&name, count - 1, Batch::of(&["new"])),
            0,
            "v{version}"
        );
    }
    assert_eq!(client.read_text(&name, 0), ["kept"]);
    assert_eq!(client.describe_topic(&name).topic_id, id);
}

/// A topic does not shrink, nor grow by nothing.
#[test]
fn a_topic_does_not_shrink() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("partitions-shrink");
    client.create_topic(&name, 3);
    for count in [3, 2, 1, 0, -1] {
        let refused = ask(&mut client, grown(&name, count));
        assert_eq!(refused.error_code, codes::INVALID_PARTITIONS, "{count}");
        assert!(refused.error_message.is_some(), "{count}");
    }
    assert_eq!(client.describe_topic(&name).partitions.len(), 3);
}

/// What is not there, and what is there twice.
#[test]
fn unknown_and_repeated_topics_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("partitions-twice");
    client.create_topic(&name, 1);
    let unknown = ask(&mut client, grown(&unique("partitions-missing"), 2));
    assert_eq!(unknown.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    let answer = client.call(3, &request(vec![grown(&name, 2), grown(&name, 3)]));
    assert!(
        answer
            .results
            .iter()
            .all(|topic| topic.error_code == codes::INVALID_REQUEST)
    );
    assert_eq!(client.describe_topic(&name).partitions.len(), 1);
}

/// Assignments must be as many as there are new partitions, on brokers that there are.
#[test]
fn assignments_are_checked() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("partitions-assigned");
    client.create_topic(&name, 1);
    let node = client.metadata(&[]).brokers[0].node_id;
    let on = |ids: Vec<_>| CreatePartitionsAssignment::default().with_broker_ids(ids);
    let wrong = [
        vec![on(vec![node])],
        vec![on(vec![node]), on(vec![(node.0 + 77).into()])],
    ];
    for assignments in wrong {
        let refused = ask(
            &mut client,
            grown(&name, 3).with_assignments(Some(assignments)),
        );
        assert_eq!(refused.error_code, codes::INVALID_REPLICA_ASSIGNMENT);
    }
    let right = vec![on(vec![node]), on(vec![node])];
    let done = ask(&mut client, grown(&name, 3).with_assignments(Some(right)));
    assert_eq!(done.error_code, codes::NONE);
    client.wait_for_leaders(&name, 3);
}

/// validate_only checks and changes nothing.
#[test]
fn validate_only_changes_nothing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("partitions-validate");
    client.create_topic(&name, 1);
    let answer = client.call(3, &request(vec![grown(&name, 5)]).with_validate_only(true));
    assert_eq!(answer.results[0].error_code, codes::NONE);
    assert_eq!(client.describe_topic(&name).partitions.len(), 1);
}

/// New partitions survive a kill.
#[test]
fn new_partitions_survive_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("grown", 1);
    assert_eq!(ask(&mut client, grown("grown", 4)).error_code, codes::NONE);
    client.produce("grown", 3, Batch::of(&["here"]));
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    assert_eq!(client.describe_topic("grown").partitions.len(), 4);
    assert_eq!(client.read_text("grown", 3), ["here"]);
}
