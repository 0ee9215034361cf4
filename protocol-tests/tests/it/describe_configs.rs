//! DescribeConfigs (32).

use kafka_protocol::messages::DescribeConfigsRequest;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use protocol_tests::calls::text;
use protocol_tests::{Broker, Client, codes, unique};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Sources of a value.
const FROM_TOPIC: i8 = 1;
const FROM_DEFAULT: i8 = 5;

fn resource(kind: i8, name: &str) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None)
}

fn ask(client: &mut Client, request: &DescribeConfigsRequest) -> DescribeConfigsResult {
    let mut answer = client.call(4, request);
    assert_eq!(answer.results.len(), 1);
    answer.results.remove(0)
}

fn describe(client: &mut Client, kind: i8, name: &str) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource(kind, name)])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    ask(client, &request)
}

fn entry<'a>(
    described: &'a DescribeConfigsResult,
    name: &str,
) -> &'a DescribeConfigsResourceResult {
    let found = described
        .configs
        .iter()
        .find(|config| &*config.name == name);
    found.unwrap_or_else(|| panic!("{name} is not described"))
}

/// 101. Only what was set on the topic has the topic as its source.
#[test]
fn only_what_was_set_has_the_topic_as_source() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("configs-source");
    client.create_topic_with(
        &topic,
        1,
        &[("retention.ms", "3600000"), ("cleanup.policy", "compact")],
    );
    for version in 1..=4 {
        let request =
            DescribeConfigsRequest::default().with_resources(vec![resource(TOPIC, &topic)]);
        let described = client.call(version, &request).results.remove(0);
        assert_eq!(described.error_code, codes::NONE, "v{version}");
        assert_eq!(
            (described.resource_type, &*described.resource_name),
            (TOPIC, &*topic)
        );
        let mut set: Vec<(&str, &str)> = described
            .configs
            .iter()
            .filter(|config| config.config_source == FROM_TOPIC)
            .map(|config| (&*config.name, config.value.as_deref().unwrap_or("null")))
            .collect();
        set.sort_unstable();
        assert_eq!(
            set,
            [("cleanup.policy", "compact"), ("retention.ms", "3600000")],
            "v{version}"
        );
        assert!(
            described.configs.len() > 20,
            "v{version}: {} settings",
            described.configs.len()
        );
        assert!(
            described
                .configs
                .iter()
                .all(|config| config.synonyms.is_empty()),
            "not asked for"
        );
    }
}

/// 101. Values, sources, types and words of a topic's settings are Kafka's.
#[test]
fn topic_settings_have_kafkas_defaults_and_types() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("configs-defaults");
    client.create_topic(&topic, 1);
    let described = describe(&mut client, TOPIC, &topic);
    // Types: 1 boolean, 2 string, 3 int, 5 long, 6 double, 7 list.
    let expected = [
        ("cleanup.policy", "delete", 7),
        ("compression.type", "producer", 2),
        ("compression.gzip.level", "-1", 3),
        ("compression.lz4.level", "9", 3),
        ("compression.zstd.level", "3", 3),
        ("delete.retention.ms", "86400000", 5),
        ("file.delete.delay.ms", "60000", 5),
        ("flush.messages", "9223372036854775807", 5),
        ("flush.ms", "9223372036854775807", 5),
        ("index.interval.bytes", "4096", 3),
        ("max.compaction.lag.ms", "9223372036854775807", 5),
        ("max.message.bytes", "1048588", 3),
        ("message.timestamp.after.max.ms", "3600000", 5),
        ("message.timestamp.before.max.ms", "9223372036854775807", 5),
        ("message.timestamp.type", "CreateTime", 2),
        ("min.cleanable.dirty.ratio", "0.5", 6),
        ("min.compaction.lag.ms", "0", 5),
        ("min.insync.replicas", "1", 3),
        ("preallocate", "false", 1),
        ("retention.bytes", "-1", 5),
        ("retention.ms", "604800000", 5),
        ("segment.bytes", "1073741824", 3),
        ("segment.index.bytes", "10485760", 3),
        ("segment.jitter.ms", "0", 5),
        ("segment.ms", "604800000", 5),
        ("unclean.leader.election.enable", "false", 1),
    ];
    for (name, value, kind) in expected {
        let found = entry(&described, name);
        assert_eq!(found.value.as_deref(), Some(value), "{name}");
        assert_eq!(found.config_type, kind, "{name}");
        assert!(!found.read_only && !found.is_sensitive, "{name}");
        assert!(
            found
                .documentation
                .as_ref()
                .is_some_and(|words| words.len() > 10),
            "{name}"
        );
        // Kafka 4 writes this one down as a default of the cluster when it is formatted.
        if !(broker.is_kafka() && name == "min.insync.replicas") {
            assert_eq!(found.config_source, FROM_DEFAULT, "{name}");
        }
    }
}

/// 101. The synonyms begin with the value that counts and fall back through the broker's.
#[test]
fn synonyms_begin_with_what_counts() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("configs-synonyms");
    client.create_topic_with(
        &topic,
        1,
        &[("retention.bytes", "1000"), ("max.message.bytes", "5000")],
    );
    let described = describe(&mut client, TOPIC, &topic);
    for (name, of_broker, value, default) in [
        ("retention.bytes", "log.retention.bytes", "1000", "-1"),
        ("max.message.bytes", "message.max.bytes", "5000", "1048588"),
    ] {
        let synonyms: Vec<(&str, &str, i8)> = entry(&described, name)
            .synonyms
            .iter()
            .map(|synonym| {
                (
                    &*synonym.name,
                    synonym.value.as_deref().unwrap_or("null"),
                    synonym.source,
                )
            })
            .collect();
        assert_eq!(
            synonyms,
            [
                (name, value, FROM_TOPIC),
                (of_broker, default, FROM_DEFAULT)
            ]
        );
    }
    let untouched = entry(&described, "cleanup.policy");
    let names: Vec<&str> = untouched
        .synonyms
        .iter()
        .map(|synonym| &*synonym.name)
        .collect();
    assert_eq!(names, ["log.cleanup.policy"]);
}

/// 101. Only the keys asked for come back; unknown ones are left out.
#[test]
fn keys_are_filtered() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("configs-keys");
    client.create_topic(&topic, 1);
    let keys = ["retention.ms", "no.such.setting", "cleanup.policy"].map(text);
    let asked = resource(TOPIC, &topic).with_configuration_keys(Some(keys.to_vec()));
    let described = ask(
        &mut client,
        &DescribeConfigsRequest::default().with_resources(vec![asked]),
    );
    let mut found: Vec<&str> = described
        .configs
        .iter()
        .map(|config| &*config.name)
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["cleanup.policy", "retention.ms"]);
    assert!(
        described
            .configs
            .iter()
            .all(|config| config.documentation.is_none()),
        "not asked for"
    );
}

/// Topics that are not there, and names that none can have.
#[test]
fn unknown_topics_are_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let missing = describe(&mut client, TOPIC, &unique("configs-missing"));
    assert_eq!(missing.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    assert!(missing.configs.is_empty());
    assert_eq!(
        describe(&mut client, TOPIC, "no such name").error_code,
        codes::INVALID_TOPIC_EXCEPTION
    );
}

/// 103. A broker describes itself, and no other.
#[test]
fn a_broker_describes_itself_only() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let id = client.metadata(&[]).brokers[0].node_id.0;
    for wrong in [(id + 77).to_string(), "one".to_owned(), "-5".to_owned()] {
        let refused = describe(&mut client, BROKER, &wrong);
        assert_eq!(refused.error_code, codes::INVALID_REQUEST, "{wrong}");
        assert!(refused.error_message.is_some());
    }
    let described = describe(&mut client, BROKER, &id.to_string());
    assert_eq!(described.error_code, codes::NONE);
    // What the pages of graphical tools look for.
    for name in [
        "node.id",
        "listeners",
        "advertised.listeners",
        "auto.create.topics.enable",
        "delete.topic.enable",
        "num.partitions",
        "default.replication.factor",
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "min.insync.replicas",
        "log.retention.hours",
        "log.retention.ms",
        "log.retention.bytes",
        "log.segment.bytes",
        "log.cleanup.policy",
        "message.max.bytes",
        "socket.request.max.bytes",
        "compression.type",
        "log.message.timestamp.type",
        "group.initial.rebalance.delay.ms",
        "group.min.session.timeout.ms",
        "group.max.session.timeout.ms",
        "group.max.size",
        "offsets.retention.minutes",
        "offset.metadata.max.bytes",
        "transaction.max.timeout.ms",
        "transactional.id.expiration.ms",
        "producer.id.expiration.ms",
        "fetch.max.bytes",
        "connections.max.idle.ms",
        "log.dirs",
        "process.roles",
        "authorizer.class.name",
    ] {
        entry(&described, name);
    }
    assert_eq!(
        entry(&described, "node.id").value.as_deref(),
        Some(&*id.to_string())
    );
    assert_eq!(entry(&described, "message.max.bytes").config_type, 3);
}

/// 103. The cluster-wide defaults are a resource without a name.
#[test]
fn the_cluster_wide_defaults_have_no_name() {
    let broker = Broker::shared();
    let described = describe(&mut broker.connect(), BROKER, "");
    assert_eq!(described.error_code, codes::NONE);
}

/// What the broker was started with shows as its source, and in its topics.
#[test]
fn a_setting_of_the_command_line_shows() {
    let arguments = [
        "--set",
        "log.retention.ms=7777",
        "--set",
        "num.partitions=3",
    ];
    let Some(broker) = Broker::in_memory(&arguments) else {
        return;
    };
    let mut client = broker.connect();
    let id = client.metadata(&[]).brokers[0].node_id.0.to_string();
    let described = describe(&mut client, BROKER, &id);
    assert_eq!(
        entry(&described, "num.partitions").value.as_deref(),
        Some("3")
    );
    assert_eq!(entry(&described, "num.partitions").config_source, 4);
    let created = client.try_create(protocol_tests::calls::creatable("three", -1, &[]));
    assert_eq!(created.num_partitions, 3);
    let topic = describe(&mut client, TOPIC, "three");
    assert_eq!(entry(&topic, "retention.ms").value.as_deref(), Some("7777"));
    assert_ne!(entry(&topic, "retention.ms").config_source, FROM_TOPIC);
}
