//! CreateTopics (19).

use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use protocol_tests::calls::{CREATE_TOPICS, creatable, text};
use protocol_tests::{Batch, Broker, Client, codes, unique};
use uuid::Uuid;

fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default()
        .with_timeout_ms(10_000)
        .with_topics(topics)
}

fn code_of(client: &mut Client, topic: CreatableTopic) -> i16 {
    client.try_create(topic).error_code
}

fn assert_missing(client: &mut Client, name: &str) {
    assert_eq!(
        client.describe_topic(name).error_code,
        codes::UNKNOWN_TOPIC_OR_PARTITION,
        "{name}"
    );
}

/// Every version creates, and says from v5 on what it has created.
#[test]
fn every_version_creates() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for version in 2..=7 {
        let name = unique("create-versions");
        let topic = creatable(&name, 3, &[("retention.ms", "12345")]);
        let created = client.call(version, &request(vec![topic])).topics.remove(0);
        assert_eq!(created.error_code, codes::NONE, "v{version}");
        assert_eq!(created.name.to_string(), name);
        if version >= 5 {
            assert_eq!(
                (created.num_partitions, created.replication_factor),
                (3, 1),
                "v{version}"
            );
            let configs = created.configs.expect("the effective settings");
            let found = configs
                .iter()
                .find(|config| &*config.name == "retention.ms");
            let found = found.expect("retention.ms");
            assert_eq!(found.value.as_deref(), Some("12345"));
            assert_eq!(found.config_source, 1);
            let policy = configs
                .iter()
                .find(|config| &*config.name == "cleanup.policy");
            assert_eq!(policy.expect("cleanup.policy").config_source, 5);
            assert!(configs.is_sorted_by(|a, b| a.name < b.name));
        }
        if version >= 7 {
            assert!(!created.topic_id.is_nil());
        }
        client.wait_for_leaders(&name, 3);
    }
}

/// 99. A name that is taken.
#[test]
fn a_topic_is_created_once() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("create-twice");
    let first = client.try_create(creatable(&name, 1, &[]));
    let again = client.try_create(creatable(&name, 1, &[]));
    assert_eq!(first.error_code, codes::NONE);
    assert_eq!(again.error_code, codes::TOPIC_ALREADY_EXISTS);
    assert!(
        again
            .error_message
            .is_some_and(|message| message.contains(&name))
    );
}

/// 99. The same name twice in a request is refused for both.
#[test]
fn the_same_name_twice_in_a_request_is_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (twice, once) = (unique("create-double"), unique("create-single"));
    let topics = [&twice, &once, &twice].map(|name| creatable(name, 1, &[]));
    let answer = client.call(CREATE_TOPICS, &request(topics.to_vec()));
    for topic in &answer.topics {
        let expected = if topic.name.to_string() == once {
            codes::NONE
        } else {
            codes::INVALID_REQUEST
        };
        assert_eq!(topic.error_code, expected, "{:?}", topic.name);
    }
    assert!(
        answer
            .topics
            .iter()
            .any(|topic| topic.name.to_string() == once)
    );
    assert_missing(&mut client, &twice);
}

/// 99. Impossible numbers.
#[test]
fn impossible_numbers_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("create-numbers");
    for partitions in [0, -2, i32::MIN] {
        assert_eq!(
            code_of(&mut client, creatable(&name, partitions, &[])),
            codes::INVALID_PARTITIONS,
            "{partitions}"
        );
    }
    for factor in [0, -2] {
        let topic = creatable(&name, 1, &[]).with_replication_factor(factor);
        assert_eq!(
            code_of(&mut client, topic),
            codes::INVALID_REPLICATION_FACTOR,
            "{factor}"
        );
    }
    assert_missing(&mut client, &name);
}

/// 99. More partitions than a broker could hold are refused, not attempted.
#[test]
fn too_many_partitions_are_refused() {
    let Some(broker) = Broker::in_memory(&[]) else {
        return;
    };
    let mut client = broker.connect();
    let refused = client.try_create(creatable("too-many", i32::MAX, &[]));
    assert_ne!(refused.error_code, codes::NONE);
    assert!(refused.error_message.is_some());
    assert_missing(&mut client, "too-many");
}

/// -1 leaves partitions and replicas to the broker.
#[test]
fn minus_one_means_the_brokers_default() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("create-defaults");
    let created = client.try_create(creatable(&name, -1, &[]).with_replication_factor(-1));
    assert_eq!(created.error_code, codes::NONE);
    assert_eq!((created.num_partitions, created.replication_factor), (1, 1));
}

/// 99. Three replicas on one node: reported as asked, the live broker as the only replica.
#[test]
fn more_replicas_than_brokers_are_taken_as_asked() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("create-replicas");
    let created = client.try_create(creatable(&name, 1, &[]).with_replication_factor(3));
    if broker.is_kafka() {
        assert_eq!(created.error_code, codes::INVALID_REPLICATION_FACTOR);
        return;
    }
    assert_eq!(
        (created.error_code, created.replication_factor),
        (codes::NONE, 3)
    );
    let described = client.metadata(&[&name]);
    let partition = &described.topics[0].partitions[0];
    assert_eq!(partition.replica_nodes, [described.brokers[0].node_id]);
    assert_eq!(partition.isr_nodes, [described.brokers[0].node_id]);
}

/// 99. Unless told to be strict.
#[test]
fn strict_replication_refuses_more_replicas_than_brokers() {
    let Some(broker) = Broker::in_memory(&["--strict-replication"]) else {
        return;
    };
    let mut client = broker.connect();
    let topic = creatable("strict", 1, &[]).with_replication_factor(3);
    assert_eq!(
        code_of(&mut client, topic),
        codes::INVALID_REPLICATION_FACTOR
    );
    assert_eq!(
        code_of(&mut client, creatable("single", 1, &[])),
        codes::NONE
    );
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = assignments.iter().map(|(partition, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*partition)
            .with_broker_ids(brokers.iter().map(|id| (*id).into()).collect())
    });
    creatable(name, -1, &[])
        .with_replication_factor(-1)
        .with_assignments(assignments.collect())
}

/// 99. Manual assignments: partitions from 0 without a hole, on brokers that there are.
#[test]
fn assignments_are_checked() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("create-assigned");
    let node = client.metadata(&[]).brokers[0].node_id.0;
    let bad: [&[(i32, &[i32])]; 6] = [
        &[(0, &[node]), (2, &[node])],
        &[(1, &[node])],
        &[(0, &[])],
        &[(0, &[node, node])],
        &[(0, &[node + 77])],
        &[(0, &[node]), (0, &[node])],
    ];
    for assignments in bad {
        let code = code_of(&mut client, assigned(&name, assignments));
        assert_eq!(code, codes::INVALID_REPLICA_ASSIGNMENT, "{assignments:?}");
    }
    let both = assigned(&name, &[(0, &[node])]).with_num_partitions(1);
    assert_eq!(code_of(&mut client, both), codes::INVALID_REQUEST);
    assert_missing(&mut client, &name);
    let created = client.try_create(assigned(&name, &[(0, &[node]), (1, &[node])]));
    assert_eq!(
        (created.error_code, created.num_partitions),
        (codes::NONE, 2)
    );
    client.wait_for_leaders(&name, 2);
}

/// 99. Settings that do not exist, or do not parse.
#[test]
fn bad_settings_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let name = unique("create-settings");
    let bad = [
        ("no.such.setting", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "shred"),
        ("max.message.bytes", "-1"),
        ("max.message.bytes", "99999999999"),
        ("message.timestamp.type", "Whenever"),
        ("compression.type", "rar"),
        ("min.cleanable.dirty.ratio", "2"),
        ("preallocate", "maybe"),
    ];
    for (setting, value) in bad {
        let refused: CreatableTopicResult =
            client.try_create(creatable(&name, 1, &[(setting, value)]));
        assert_eq!(
            refused.error_code,
            codes::INVALID_CONFIG,
            "{setting}={value}"
        );
        let message = refused.error_message.expect("a message");
        assert!(message.contains(setting), "{message}");
    }
    // Each is fine alone.
    let lags = [
        ("min.compaction.lag.ms", "10"),
        ("max.compaction.lag.ms", "5"),
    ];
    let refused = client.try_create(creatable(&name, 1, &lags));
    assert_eq!(refused.error_code, codes::INVALID_CONFIG);
    let message = refused.error_message.expect("a message");
    assert!(message.contains("max.compaction.lag.ms"), "{message}");
    if !broker.is_kafka() {
        let misspelt = client.try_create(creatable(&name, 1, &[("cleanup.polcy", "compact")]));
        let message = misspelt.error_message.expect("a message");
        assert!(
            message.contains("cleanup.policy"),
            "a suggestion: {message}"
        );
    }
    let mut null = creatable(&name, 1, &[("retention.ms", "1")]);
    null.configs[0].value = None;
    assert_eq!(code_of(&mut client, null), codes::INVALID_CONFIG);
    assert_missing(&mut client, &name);
}

/// Settings that only matter elsewhere are taken: tools and frameworks send them.
#[test]
fn settings_of_tools_are_taken() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let configs = [
        ("segment.bytes", "52428800"),
        ("segment.ms", "600000"),
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("flush.messages", "1"),
        ("index.interval.bytes", "4096"),
        ("file.delete.delay.ms", "1000"),
        ("cleanup.policy", "compact,delete"),
        ("compression.type", "producer"),
        ("delete.retention.ms", "100"),
    ];
    client.create_topic_with(&unique("create-tools"), 1, &configs);
}

/// 99. validate_only checks all and changes nothing.
#[test]
fn validate_only_changes_nothing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (good, bad) = (unique("create-good"), unique("create-bad"));
    let topics = vec![creatable(&good, 2, &[]), creatable(&bad, 0, &[])];
    let answer = client.call(CREATE_TOPICS, &request(topics).with_validate_only(true));
    for topic in &answer.topics {
        if topic.name.to_string() == good {
            assert_eq!((topic.error_code, topic.num_partitions), (codes::NONE, 2));
            // Kafka gives an id to the topic that it does not create.
            assert!(topic.topic_id == Uuid::nil() || broker.is_kafka());
        } else {
            assert_eq!(topic.error_code, codes::INVALID_PARTITIONS);
        }
    }
    assert_missing(&mut client, &good);
}

/// Illegal names, and names that differ only where metrics cannot tell.
#[test]
fn illegal_and_colliding_names_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for name in ["", ".", "..", "a b", "a/b", "ü"] {
        assert_eq!(
            code_of(&mut client, creatable(name, 1, &[])),
            codes::INVALID_TOPIC_EXCEPTION,
            "{name:?}"
        );
    }
    let long = "x".repeat(250);
    assert_eq!(
        code_of(&mut client, creatable(&long, 1, &[])),
        codes::INVALID_TOPIC_EXCEPTION
    );
    let dotted = unique("create.dots");
    client.create_topic(&dotted, 1);
    let collides = dotted.replace('.', "_");
    assert_eq!(
        code_of(&mut client, creatable(&collides, 1, &[])),
        codes::INVALID_TOPIC_EXCEPTION
    );
}

/// A bad topic does not stop the rest of its request.
#[test]
fn a_bad_topic_does_not_stop_the_rest() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (good, bad) = (unique("create-rest"), unique("create-worst"));
    let topics = vec![creatable(&bad, 0, &[]), creatable(&good, 1, &[])];
    let answer = client.call(CREATE_TOPICS, &request(topics));
    assert_eq!(answer.topics.len(), 2);
    client.wait_for_leaders(&good, 1);
    assert_missing(&mut client, &bad);
}

/// What was created can be produced to straight after the answer.
#[test]
fn a_created_topic_is_ready_at_once() {
    let broker = Broker::shared();
    if broker.skip_on_kafka("expects leaders at once") {
        return;
    }
    let mut client = broker.connect();
    for _ in 0..10 {
        let name = unique("create-ready");
        assert_eq!(code_of(&mut client, creatable(&name, 2, &[])), codes::NONE);
        assert_eq!(broker.connect().produce(&name, 1, Batch::counted(1)), 0);
    }
}

/// Topics and their settings survive a kill.
#[test]
fn topics_survive_a_kill() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let id = broker
        .connect()
        .create_topic_with("kept", 4, &[("max.message.bytes", "1000")]);
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    let topic = client.describe_topic("kept");
    assert_eq!((topic.topic_id, topic.partitions.len()), (id, 4));
    assert_eq!(
        client
            .try_produce("kept", 3, Batch::sized(1_001))
            .error_code,
        codes::MESSAGE_TOO_LARGE
    );
    assert_eq!(
        code_of(&mut client, creatable("kept", 1, &[])),
        codes::TOPIC_ALREADY_EXISTS
    );
    assert_eq!(text("kept"), topic.name.expect("a name").0);
}
