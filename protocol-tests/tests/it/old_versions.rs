//! Versions that the codec does not know and older clients still send: CreateTopics 0 and 1,
//! DeleteTopics 0. Kafka 4 dropped them, so these tests are for Trestle alone.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;
use protocol_tests::{Broker, Client, Frame, Wire, codes, unique};

fn ask(client: &mut Client, key: ApiKey, version: i16, body: Wire) -> Bytes {
    client.send_bytes(&Frame::new(key as i16, version).body(body).encode());
    let mut frame = client.next_frame().expect("an answer");
    assert_eq!(frame.get_i32(), 1, "the correlation id");
    frame
}

fn text(frame: &mut Bytes) -> Option<String> {
    let length = usize::try_from(frame.get_i16()).ok()?;
    Some(String::from_utf8(frame.split_to(length).to_vec()).expect("UTF-8"))
}

/// A CreateTopics body up to the timeout: two topics, of which the second has no partitions.
fn create(good: &str, bad: &str) -> Wire {
    let topic =
        |wire: Wire, name, partitions| wire.string(Some(name)).i32(partitions).i16(1).i32(0);
    let wire = topic(Wire::new().i32(2), good, 2)
        .i32(1)
        .string(Some("retention.ms"))
        .string(Some("1000"));
    topic(wire, bad, 0).i32(0).i32(10_000)
}

#[test]
fn create_topics_0_answers_names_and_codes() {
    let broker = Broker::shared();
    if broker.skip_on_kafka("asks for versions that Kafka 4 dropped") {
        return;
    }
    let mut client = broker.connect();
    let (good, bad) = (unique("old-create"), unique("old-create"));
    // What follows a body is ignored; it is no `validate_only`.
    let body = create(&good, &bad).i8(1);
    let mut answer = ask(&mut client, ApiKey::CreateTopics, 0, body);
    assert_eq!(answer.get_i32(), 2);
    for (name, code) in [(&good, codes::NONE), (&bad, codes::INVALID_PARTITIONS)] {
        assert_eq!(text(&mut answer).as_ref(), Some(name));
        assert_eq!(answer.get_i16(), code);
    }
    assert!(answer.is_empty());
    client.wait_for_leaders(&good, 2);
}

#[test]
fn create_topics_1_can_validate_and_says_why() {
    let broker = Broker::shared();
    if broker.skip_on_kafka("asks for versions that Kafka 4 dropped") {
        return;
    }
    let mut client = broker.connect();
    let (good, bad) = (unique("old-validate"), unique("old-validate"));
    for (validate_only, found) in [(1, codes::UNKNOWN_TOPIC_OR_PARTITION), (0, codes::NONE)] {
        let body = create(&good, &bad).i8(validate_only);
        let mut answer = ask(&mut client, ApiKey::CreateTopics, 1, body);
        assert_eq!(answer.get_i32(), 2);
        assert_eq!(text(&mut answer).as_ref(), Some(&good));
        assert_eq!(answer.get_i16(), codes::NONE);
        assert_eq!(text(&mut answer), None);
        assert_eq!(text(&mut answer).as_ref(), Some(&bad));
        assert_eq!(answer.get_i16(), codes::INVALID_PARTITIONS);
        assert!(text(&mut answer).is_some_and(|message| message.contains(&bad)));
        assert!(answer.is_empty());
        assert_eq!(client.describe_topic(&good).error_code, found);
    }
}

#[test]
fn delete_topics_0_deletes() {
    let broker = Broker::shared();
    if broker.skip_on_kafka("asks for versions that Kafka 4 dropped") {
        return;
    }
    let mut client = broker.connect();
    let (name, missing) = (unique("old-delete"), unique("old-delete"));
    client.create_topic(&name, 1);
    let body = Wire::new()
        .i32(2)
        .string(Some(&name))
        .string(Some(&missing))
        .i32(10_000);
    let mut answer = ask(&mut client, ApiKey::DeleteTopics, 0, body);
    assert_eq!(answer.get_i32(), 2);
    let mut told = [(); 2].map(|()| (text(&mut answer), answer.get_i16()));
    told.sort_by_key(|(_, code)| *code);
    assert_eq!(told[0], (Some(name.clone()), codes::NONE));
    assert_eq!(told[1], (Some(missing), codes::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(answer.is_empty());
    assert_eq!(
        client.describe_topic(&name).error_code,
        codes::UNKNOWN_TOPIC_OR_PARTITION
    );
}
