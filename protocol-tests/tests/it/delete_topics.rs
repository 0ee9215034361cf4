//! DeleteTopics (20).

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use protocol_tests::calls::{DELETE_TOPICS, EARLIEST, creatable, topic_name};
use protocol_tests::{Batch, Broker, Client, codes, unique, wait_until};
use uuid::Uuid;

fn named(name: &str) -> DeleteTopicState {
    DeleteTopicState::default().with_name(Some(topic_name(name)))
}

fn by_id(id: Uuid) -> DeleteTopicState {
    DeleteTopicState::default()
        .with_name(None)
        .with_topic_id(id)
}

fn delete(client: &mut Client, topics: Vec<DeleteTopicState>) -> DeleteTopicsResponse {
    let request = DeleteTopicsRequest::default()
        .with_timeout_ms(10_000)
        .with_topics(topics);
    client.call(DELETE_TOPICS, &request)
}

fn code_of(client: &mut Client, topic: DeleteTopicState) -> i16 {
    let answer = delete(client, vec![topic]);
    assert_eq!(answer.responses.len(), 1);
    answer.responses[0].error_code
}

/// Every version deletes by name.
#[test]
fn every_version_deletes() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for version in 1..=6 {
        let name = unique("delete-versions");
        client.create_topic(&name, 2);
        let mut request = DeleteTopicsRequest::default().with_timeout_ms(10_000);
        if version >= 6 {
            request.topics = vec![named(&name)];
        } else {
            request.topic_names = vec![topic_name(&name)];
        }
        let answer = client.call(version, &request);
        assert_eq!(answer.responses[0].error_code, codes::NONE, "v{version}");
        assert_eq!(
            answer.responses[0]
                .name
                .as_ref()
                .map(|name| name.to_string()),
            Some(name.clone())
        );
        wait_until("the topic to be gone", || {
            client.describe_topic(&name).error_code == codes::UNKNOWN_TOPIC_OR_PARTITION
        });
    }
}

/// By id, and what is not there.
#[test]
fn topics_are_deleted_by_id() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("delete-id");
    let id = client.create_topic(&name, 1);
    assert_eq!(
        code_of(&mut client, by_id(Uuid::from_u128(rand::random()))),
        codes::UNKNOWN_TOPIC_ID
    );
    assert_eq!(
        code_of(&mut client, named(&unique("delete-missing"))),
        codes::UNKNOWN_TOPIC_OR_PARTITION
    );
    let answer = delete(&mut client, vec![by_id(id)]);
    assert_eq!(answer.responses[0].error_code, codes::NONE);
    assert_eq!(answer.responses[0].topic_id, id);
    assert_eq!(
        answer.responses[0]
            .name
            .as_ref()
            .map(|name| name.to_string()),
        Some(name)
    );
    wait_until("the id to be gone", || {
        code_of(&mut client, by_id(id)) == codes::UNKNOWN_TOPIC_ID
    });
}

/// Name and id together, neither of them, and the same topic twice.
#[test]
fn ambiguous_topics_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("delete-ambiguous");
    let id = client.create_topic(&name, 1);
    assert_eq!(
        code_of(&mut client, named(&name).with_topic_id(id)),
        codes::INVALID_REQUEST
    );
    assert_eq!(
        code_of(&mut client, DeleteTopicState::default().with_name(None)),
        codes::INVALID_REQUEST
    );
    let twice = delete(&mut client, vec![named(&name), named(&name)]);
    assert!(
        twice
            .responses
            .iter()
            .all(|topic| topic.error_code == codes::INVALID_REQUEST)
    );
    let both = delete(&mut client, vec![named(&name), by_id(id)]);
    assert!(
        both.responses
            .iter()
            .all(|topic| topic.error_code == codes::INVALID_REQUEST)
    );
    assert_eq!(client.describe_topic(&name).error_code, codes::NONE);
}

/// 100. A name that is used again begins anew: id, offsets, records, producers.
#[test]
fn a_recreated_topic_begins_anew() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("delete-recreate");
    let (producer, epoch) = client.init_producer();
    let mut ids = Vec::new();
    for life in 0..4 {
        ids.push(client.create_topic(&name, 1));
        let fetched = client.try_fetch(&name, 0, 0);
        assert_eq!(
            (fetched.error_code, fetched.high_watermark),
            (codes::NONE, 0)
        );
        assert_eq!(client.list_offset(&name, 0, EARLIEST).offset, 0);
        // The sequence of an earlier life means nothing in this one.
        let value = format!("life {life}");
        let batch = Batch::of(&[&value]).producer(producer, epoch, 5);
        assert_eq!(client.produce(&name, 0, batch), 0);
        assert_eq!(client.read_text(&name, 0), [value]);
        client.delete_topic(&name);
        assert_eq!(
            client.try_fetch(&name, 0, 0).error_code,
            codes::UNKNOWN_TOPIC_OR_PARTITION
        );
        let produced = client.try_produce(&name, 0, Batch::counted(1));
        assert_eq!(produced.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

/// 100. Also when the broker was killed in between.
#[test]
fn a_deleted_topic_stays_deleted() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    let first = client.create_topic("phoenix", 1);
    client.produce("phoenix", 0, Batch::of(&["old"]));
    client.delete_topic("phoenix");
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    assert_eq!(
        client.describe_topic("phoenix").error_code,
        codes::UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_ne!(client.create_topic("phoenix", 1), first);
    assert_eq!(client.end_offset("phoenix", 0), 0);
    client.produce("phoenix", 0, Batch::of(&["new"]));
    broker.kill();
    broker.restart();
    assert_eq!(broker.connect().read_text("phoenix", 0), ["new"]);
}

/// A broker that does not delete says so.
#[test]
fn deletion_can_be_turned_off() {
    let Some(broker) = Broker::in_memory(&["--set", "delete.topic.enable=false"]) else {
        return;
    };
    let mut client = broker.connect();
    assert_eq!(
        client.try_create(creatable("kept", 1, &[])).error_code,
        codes::NONE
    );
    assert_eq!(
        code_of(&mut client, named("kept")),
        codes::TOPIC_DELETION_DISABLED
    );
    assert_eq!(client.describe_topic("kept").error_code, codes::NONE);
    for (version, code) in [
        (1, codes::INVALID_REQUEST),
        (3, codes::TOPIC_DELETION_DISABLED),
    ] {
        let request = DeleteTopicsRequest::default()
            .with_timeout_ms(1_000)
            .with_topic_names(vec![topic_name("kept")]);
        assert_eq!(
            client.call(version, &request).responses[0].error_code,
            code,
            "v{version}"
        );
    }
}
