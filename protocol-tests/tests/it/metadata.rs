//! Metadata (3).

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use protocol_tests::calls::{METADATA, topic_name};
use protocol_tests::{Broker, Client, Frame, Wire, codes, decode, unique, wait_for};
use uuid::Uuid;

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(topic_name(name)))
}

fn ask(names: &[&str]) -> MetadataRequest {
    MetadataRequest::default()
        .with_topics(Some(names.iter().map(|name| named(name)).collect()))
        .with_allow_auto_topic_creation(false)
}

fn names(response: &MetadataResponse) -> Vec<String> {
    let names = response
        .topics
        .iter()
        .filter_map(|topic| topic.name.as_ref());
    names.map(|name| name.to_string()).collect()
}

fn has(client: &mut Client, name: &str) -> bool {
    let all = client.call(METADATA, &MetadataRequest::default().with_topics(None));
    names(&all).iter().any(|found| found == name)
}

/// 16. v0 has no null: empty asks for all. From v1 on null asks for all and empty for none.
#[test]
fn null_asks_for_all_topics_and_empty_for_none() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("metadata-all");
    client.create_topic(&topic, 1);

    client.send_bytes(
        &Frame::new(ApiKey::Metadata as i16, 0)
            .body(Wire::new().i32(0))
            .encode(),
    );
    let frame = client.next_frame().expect("an answer");
    let (_, all) = decode::<MetadataRequest>(0, frame);
    assert!(names(&all).contains(&topic));

    for version in [1, 4, 8, 9, 12] {
        let none = client.call(
            version,
            &MetadataRequest::default().with_topics(Some(vec![])),
        );
        assert!(none.topics.is_empty(), "v{version}");
        assert!(!none.brokers.is_empty(), "v{version}");
        let all = client.call(version, &MetadataRequest::default().with_topics(None));
        assert!(names(&all).contains(&topic), "v{version}");
    }
}

/// 17. A missing topic is created only when the request allows it, and then soon has a leader.
#[test]
fn a_missing_topic_is_created_only_when_allowed() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("metadata-auto");
    for version in [4, 8, 12] {
        let answer = client.call(version, &ask(&[&topic]));
        assert_eq!(
            answer.topics[0].error_code,
            codes::UNKNOWN_TOPIC_OR_PARTITION
        );
        assert!(answer.topics[0].partitions.is_empty());
    }
    assert!(!has(&mut client, &topic));

    let allow = ask(&[&topic]).with_allow_auto_topic_creation(true);
    let first = client.call(METADATA, &allow);
    // Kafka has the controller create it meanwhile; Trestle has created it.
    if !broker.is_kafka() {
        assert_eq!(first.topics[0].error_code, codes::NONE);
        assert_eq!(first.topics[0].partitions[0].error_code, codes::NONE);
    }
    let created = wait_for("the topic", || {
        let answer = client.call(METADATA, &allow);
        (answer.topics[0].error_code == codes::NONE).then(|| answer.topics[0].clone())
    });
    assert_eq!(created.partitions.len(), 1);
    assert!(created.partitions[0].leader_id.0 >= 0);
    assert_eq!(
        client.produce(&topic, 0, protocol_tests::Batch::of(&["first"])),
        0
    );
}

/// 17. Requests before v4 cannot say no: a missing topic is created.
#[test]
fn old_versions_create_a_missing_topic() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("metadata-old");
    wait_for("the topic", || {
        let answer = client.call(1, &ask(&[&topic]).with_allow_auto_topic_creation(true));
        (answer.topics[0].error_code == codes::NONE).then_some(())
    });
}

/// 18. Asking for all topics creates none.
#[test]
fn asking_for_all_creates_nothing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let all = MetadataRequest::default()
        .with_topics(None)
        .with_allow_auto_topic_creation(true);
    let answer = client.call(9, &all);
    assert!(
        answer
            .topics
            .iter()
            .all(|topic| topic.error_code == codes::NONE)
    );
}

/// Auto-creation can be turned off.
#[test]
fn auto_creation_can_be_turned_off() {
    let Some(broker) = Broker::in_memory(&["--set", "auto.create.topics.enable=false"]) else {
        return;
    };
    let mut client = broker.connect();
    let answer = client.call(
        METADATA,
        &ask(&["missing"]).with_allow_auto_topic_creation(true),
    );
    assert_eq!(
        answer.topics[0].error_code,
        codes::UNKNOWN_TOPIC_OR_PARTITION
    );
    assert!(!has(&mut client, "missing"));
}

/// 19. Names that no topic may have are refused, and nothing is created.
#[test]
fn illegal_names_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let long = "a".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "sn☃w", long.as_str()] {
        let answer = client.call(METADATA, &ask(&[name]).with_allow_auto_topic_creation(true));
        assert_eq!(
            answer.topics[0].error_code,
            codes::INVALID_TOPIC_EXCEPTION,
            "{name:?}"
        );
        assert!(answer.topics[0].partitions.is_empty());
    }
    let longest = format!("{}{}", unique(""), "b".repeat(240));
    client.create_topic(&longest[..249], 1);
    client.delete_topic(&longest[..249]);
}

/// 20. Topics can be asked for by id from v12 on.
#[test]
fn topics_are_found_by_id() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("metadata-id");
    let id = client.create_topic(&topic, 1);
    let by_id = |id| {
        let topic = MetadataRequestTopic::default()
            .with_topic_id(id)
            .with_name(None);
        MetadataRequest::default().with_topics(Some(vec![topic]))
    };

    let known = client.call(12, &by_id(id)).topics.remove(0);
    assert_eq!(known.error_code, codes::NONE);
    assert_eq!(
        known.name.as_ref().map(|name| name.to_string()),
        Some(topic)
    );
    assert_eq!(known.topic_id, id);

    let stranger = Uuid::from_u128(rand::random());
    let unknown = client.call(12, &by_id(stranger)).topics.remove(0);
    assert_eq!(unknown.error_code, codes::UNKNOWN_TOPIC_ID);
    assert_eq!(unknown.name, None);
    assert_eq!(unknown.topic_id, stranger);
}

/// 20. v10 and v11 have the field for an id but no lookup by it.
#[test]
fn lookup_by_id_below_v12_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for version in [10, 11] {
        let mut body = Wire::new()
            .uvarint(2)
            .raw(&[7; 16])
            .compact_string(Some("a-name"))
            .tags(&[])
            .i8(0);
        if version == 10 {
            body = body.i8(0);
        }
        let frame = Frame::new(ApiKey::Metadata as i16, version).flexible(&[]);
        client.send_bytes(&frame.body(body.i8(0).tags(&[])).encode());
        let frame = client.next_frame().expect("an answer");
        let (_, answer) = decode::<MetadataRequest>(version, frame);
        assert_eq!(
            answer.topics[0].error_code,
            codes::INVALID_REQUEST,
            "v{version}"
        );
    }
}

/// 21. A leader epoch never goes back, or clients ignore us for good.
#[test]
fn leader_epochs_never_go_back() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let id = broker.connect().create_topic("epochs", 1);
    let mut last = broker.connect().leader_epoch("epochs", 0);
    assert!(last >= 0);
    for round in 0..3 {
        if round == 1 {
            assert!(broker.terminate().success());
        } else {
            broker.kill();
        }
        broker.restart();
        let topic = broker.connect().describe_topic("epochs");
        assert_eq!(topic.topic_id, id);
        let epoch = topic.partitions[0].leader_epoch;
        assert!(epoch >= last, "{epoch} after {last}");
        last = epoch;
    }
}

/// 21. The cluster keeps its id and its node id over restarts.
#[test]
fn the_cluster_id_survives_a_restart() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let before = broker.connect().metadata(&[]);
    broker.kill();
    broker.restart();
    let after = broker.connect().metadata(&[]);
    assert_eq!(before.cluster_id, after.cluster_id);
    assert_eq!(before.brokers[0].node_id, after.brokers[0].node_id);
}

/// 22. Every id that is mentioned belongs to a broker that is listed.
#[test]
fn every_broker_id_is_listed() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("metadata-ids");
    client.create_topic(&topic, 3);
    for version in 0..=12 {
        let answer = client.call(
            version,
            &ask(&[&topic]).with_allow_auto_topic_creation(version < 4),
        );
        let listed: Vec<i32> = answer
            .brokers
            .iter()
            .map(|broker| broker.node_id.0)
            .collect();
        if version >= 1 {
            assert!(listed.contains(&answer.controller_id.0), "v{version}");
        }
        if version >= 2 {
            let id = answer.cluster_id.as_ref().expect("a cluster id");
            assert_eq!(id.len(), 22, "a UUID in URL-safe base64: {id}");
        }
        assert_eq!(answer.topics[0].partitions.len(), 3);
        for partition in &answer.topics[0].partitions {
            assert_eq!(partition.error_code, codes::NONE);
            let replicas = partition.replica_nodes.iter().chain(&partition.isr_nodes);
            for id in replicas.chain([&partition.leader_id]) {
                assert!(listed.contains(&id.0), "v{version}: {id:?} of {listed:?}");
            }
            assert!(partition.offline_replicas.is_empty());
        }
        let indexes: Vec<i32> = answer.topics[0]
            .partitions
            .iter()
            .map(|partition| partition.partition_index)
            .collect();
        let mut sorted = indexes.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2]);
    }
}

/// A broker that is told no address to advertise tells the one that the client dialled.
#[test]
fn the_advertised_address_can_be_dialled() {
    let broker = Broker::shared();
    let answer = broker.connect().metadata(&[]);
    let told = &answer.brokers[0];
    let mut client = Client::connect(&format!("{}:{}", told.host, told.port));
    client.metadata(&[]);
}

/// 23. Each listener has its own name to the outside.
#[test]
fn each_listener_advertises_its_own_address() {
    let arguments = [
        ["--listen", "INSIDE://127.0.0.1:0"],
        ["--listen", "OUTSIDE://127.0.0.1:0"],
        ["--advertise", "INSIDE://inside.example:19092"],
        ["--advertise", "OUTSIDE://outside.example:29092"],
    ];
    let Some(broker) = Broker::in_memory(&arguments.concat()) else {
        return;
    };
    assert_eq!(broker.addresses().len(), 2);
    let expected = [("inside.example", 19092), ("outside.example", 29092)];
    for (address, (host, port)) in broker.addresses().iter().zip(expected) {
        let answer = Client::connect(address).metadata(&[]);
        assert_eq!(answer.brokers.len(), 1);
        assert_eq!(
            (answer.brokers[0].host.as_str(), answer.brokers[0].port),
            (host, port)
        );
    }
}

/// 24. Without an authorizer everything is allowed; who does not ask is told nothing.
#[test]
fn authorised_operations_are_told_when_asked() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("metadata-operations");
    client.create_topic(&topic, 1);
    for version in [8, 9, 10] {
        let asked = ask(&[&topic])
            .with_include_topic_authorized_operations(true)
            .with_include_cluster_authorized_operations(true);
        let answer = client.call(version, &asked);
        assert_eq!(
            answer.topics[0].topic_authorized_operations, 3576,
            "v{version}"
        );
        assert_eq!(answer.cluster_authorized_operations, 8096, "v{version}");
        let answer = client.call(version, &ask(&[&topic]));
        assert_eq!(
            answer.topics[0].topic_authorized_operations,
            i32::MIN,
            "v{version}"
        );
        assert_eq!(answer.cluster_authorized_operations, i32::MIN, "v{version}");
    }
    let answer = client.call(
        12,
        &ask(&[&topic]).with_include_topic_authorized_operations(true),
    );
    assert_eq!(answer.topics[0].topic_authorized_operations, 3576);
}

/// A topic asked for twice, and a mixture of known and unknown, are each answered.
#[test]
fn known_and_unknown_names_are_answered_side_by_side() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (known, unknown) = (unique("metadata-known"), unique("metadata-unknown"));
    client.create_topic(&known, 1);
    let answer = client.call(METADATA, &ask(&[&unknown, &known, "not a name"]));
    let code = |name: &str| {
        let found = answer
            .topics
            .iter()
            .find(|topic| topic.name.as_ref().is_some_and(|found| &**found == name));
        found.map(|topic| topic.error_code)
    };
    assert_eq!(code(&known), Some(codes::NONE));
    assert_eq!(code(&unknown), Some(codes::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(code("not a name"), Some(codes::INVALID_TOPIC_EXCEPTION));
}
