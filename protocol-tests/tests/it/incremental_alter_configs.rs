//! IncrementalAlterConfigs (44).

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use protocol_tests::calls::text;

use protocol_tests::{Batch, Broker, Client, codes, unique, wait_until};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub(crate) const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn describe(client: &mut Client, kind: i8, name: &str) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    client.call(4, &request).results.remove(0)
}

/// The settings that a topic has of its own, by name, once there are so many: in Kafka a change is
/// seen a moment after it was answered.
pub(crate) fn own_settings(
    client: &mut Client,
    topic: &str,
    count: usize,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    wait_until(&format!("{count} settings of {topic}"), || {
        let described = describe(client, TOPIC, topic);
        let own = described
            .configs
            .iter()
            .filter(|config| config.config_source == 1);
        found = own
            .map(|config| {
                let value = config.value.as_deref().unwrap_or("null");
                (config.name.to_string(), value.to_owned())
            })
            .collect();
        found.sort_unstable();
        found.len() == count
    });
    found
}

pub(crate) fn resource(
    kind: i8,
    name: &str,
    changes: &[(i8, &str, Option<&str>)],
) -> AlterConfigsResource {
    let configs = changes.iter().map(|(operation, name, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect())
}

/// Error codes and messages, one a resource.
fn alter(client: &mut Client, resources: Vec<AlterConfigsResource>) -> Vec<(i16, String)> {
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
    let answer = client.call(1, &request);
    let answers = answer.responses.iter().map(|one| {
        let message = one.error_message.as_deref().unwrap_or_default();
        (one.error_code, message.to_owned())
    });
    answers.collect()
}

pub(crate) fn alter_one(
    client: &mut Client,
    kind: i8,
    name: &str,
    changes: &[(i8, &str, Option<&str>)],
) -> (i16, String) {
    let mut answers = alter(client, vec![resource(kind, name, changes)]);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// Error code and message of a change that is judged and not made.
pub(crate) fn validate(client: &mut Client, resource: AlterConfigsResource) -> (i16, String) {
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(true);
    let answer = client.call(1, &request).responses.remove(0);
    let message = answer.error_message.as_deref().unwrap_or_default();
    (answer.error_code, message.to_owned())
}

/// Sets a topic's setting, and waits until it is described.
pub(crate) fn set_topic(client: &mut Client, topic: &str, setting: &str, value: &str) {
    let (code, message) = alter_one(client, TOPIC, topic, &[(SET, setting, Some(value))]);
    assert_eq!(code, codes::NONE, "{message}");
    wait_for_value(client, TOPIC, topic, setting, Some(value));
}

/// Sets a setting of all brokers, and waits until it is described.
pub(crate) fn set_cluster(client: &mut Client, setting: &str, value: &str) {
    let (code, message) = alter_one(client, BROKER, "", &[(SET, setting, Some(value))]);
    assert_eq!(code, codes::NONE, "{message}");
    wait_for_value(client, BROKER, "", setting, Some(value));
}

/// The value of a setting and its source, once the value is this.
fn wait_for_value(
    client: &mut Client,
    kind: i8,
    name: &str,
    setting: &str,
    value: Option<&str>,
) -> i8 {
    let mut source = 0;
    wait_until(&format!("{setting} of {name} to be {value:?}"), || {
        let described = describe(client, kind, name);
        let found = described
            .configs
            .iter()
            .find(|config| &*config.name == setting);
        source = found.map_or(0, |config| config.config_source);
        found.and_then(|config| config.value.as_deref()) == value
    });
    source
}

/// 102. Set, delete, append, subtract.
#[test]
fn settings_are_set_unset_and_lists_edited() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("incremental");
    client.create_topic_with(
        &topic,
        1,
        &[("retention.ms", "5000"), ("segment.ms", "7000")],
    );
    let done = alter_one(
        &mut client,
        TOPIC,
        &topic,
        &[
            (SET, "max.message.bytes", Some("1000")),
            (DELETE, "retention.ms", None),
            (APPEND, "cleanup.policy", Some("compact")),
            (DELETE, "flush.ms", None),
        ],
    );
    assert_eq!(done, (codes::NONE, String::new()));
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    assert_eq!(
        own_settings(&mut client, &topic, 3),
        pairs(&[
            ("cleanup.policy", "delete,compact"),
            ("max.message.bytes", "1000"),
            ("segment.ms", "7000")
        ])
    );
    for _ in 0..2 {
        let twice = alter_one(
            &mut client,
            TOPIC,
            &topic,
            &[(APPEND, "cleanup.policy", Some("compact"))],
        );
        assert_eq!(twice.0, codes::NONE);
    }
    let without = alter_one(
        &mut client,
        TOPIC,
        &topic,
        &[(SUBTRACT, "cleanup.policy", Some("delete"))],
    );
    assert_eq!(without.0, codes::NONE);
    wait_for_value(
        &mut client,
        TOPIC,
        &topic,
        "cleanup.policy",
        Some("compact"),
    );
}

/// 102. One operation that is wrong leaves all settings of the resource as they were.
#[test]
fn one_wrong_operation_changes_nothing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("incremental-wrong");
    client.create_topic_with(&topic, 1, &[("retention.ms", "5000")]);
    for (wrong, code) in [
        (
            (SET, "retention.bytes", Some("many")),
            codes::INVALID_CONFIG,
        ),
        ((SET, "retention.sm", Some("1")), codes::INVALID_CONFIG),
        (
            (SET, "max.message.bytes", Some("-1")),
            codes::INVALID_CONFIG,
        ),
        (
            (SET, "cleanup.policy", Some("shred")),
            codes::INVALID_CONFIG,
        ),
        ((APPEND, "segment.ms", Some("1")), codes::INVALID_CONFIG),
        ((SUBTRACT, "segment.ms", Some("1")), codes::INVALID_CONFIG),
        ((SET, "segment.ms", None), codes::INVALID_REQUEST),
        ((SET, "retention.ms", Some("7000")), codes::INVALID_REQUEST),
        ((9, "segment.ms", Some("1")), codes::INVALID_REQUEST),
    ] {
        let changes = [(SET, "retention.ms", Some("6000")), wrong];
        let (found, message) = alter_one(&mut client, TOPIC, &topic, &changes);
        if broker.is_kafka() && wrong.0 == 9 {
            assert_ne!(found, codes::NONE, "Kafka has another code for it");
        } else {
            assert_eq!(found, code, "{wrong:?}: {message}");
        }
        // Kafka has no words for an operation that it does not know.
        assert!(
            !message.is_empty() || broker.is_kafka() && wrong.0 == 9,
            "{wrong:?}"
        );
        if !broker.is_kafka() && wrong.1 == "retention.sm" {
            assert!(message.contains("retention.ms"), "a suggestion: {message}");
        }
    }
    assert_eq!(
        own_settings(&mut client, &topic, 1),
        [("retention.ms".to_owned(), "5000".to_owned())]
    );
}

/// Resources that are named twice, that do not exist, that cannot have settings.
#[test]
fn resources_are_judged_one_by_one() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("incremental-good");
    client.create_topic(&topic, 1);
    let set = [(SET, "retention.ms", Some("5000"))];
    let mut answers = alter(
        &mut client,
        vec![
            resource(TOPIC, &unique("incremental-missing"), &set),
            resource(TOPIC, &topic, &set),
            resource(77, "x", &set),
        ],
    );
    answers.sort_by_key(|(code, _)| *code);
    let found: Vec<i16> = answers.iter().map(|(code, _)| *code).collect();
    assert_eq!(
        found,
        [
            codes::NONE,
            codes::UNKNOWN_TOPIC_OR_PARTITION,
            codes::INVALID_REQUEST
        ]
    );
    wait_for_value(&mut client, TOPIC, &topic, "retention.ms", Some("5000"));
    let (wrong_broker, _) = alter_one(
        &mut client,
        BROKER,
        "4711",
        &[(SET, "message.max.bytes", Some("1000"))],
    );
    assert_eq!(wrong_broker, codes::INVALID_REQUEST);
}

/// What kafka-reassign-partitions takes away when it looks whether all has moved, and sets before.
#[test]
fn throttles_of_replication_come_and_go() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let id = client.metadata(&[]).brokers[0].node_id.0.to_string();
    let rates = [
        "leader.replication.throttled.rate",
        "follower.replication.throttled.rate",
        "replica.alter.log.dirs.io.max.bytes.per.second",
    ];
    let deleted = rates.map(|name| (DELETE, name, None));
    let set = rates.map(|name| (SET, name, Some("1000000")));
    for changes in [deleted, set, deleted] {
        let (code, message) = alter_one(&mut client, BROKER, &id, &changes);
        assert_eq!(code, codes::NONE, "{message}");
    }
}

/// validate_only judges and changes nothing.
#[test]
fn validation_changes_nothing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("incremental-validate");
    client.create_topic(&topic, 1);
    for (value, code) in [("5000", codes::NONE), ("soon", codes::INVALID_CONFIG)] {
        let changes = [(SET, "retention.ms", Some(value))];
        let (found, _) = validate(&mut client, resource(TOPIC, &topic, &changes));
        assert_eq!(found, code);
    }
    assert!(own_settings(&mut client, &topic, 0).is_empty());
}

/// A setting of all brokers, then one of this broker over it: topics follow at once, and it can be
/// taken back.
#[test]
fn a_running_broker_takes_settings() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    let id = client.metadata(&[]).brokers[0].node_id.0.to_string();
    client.create_topic("plain", 1);
    client.create_topic_with("own", 1, &[("max.message.bytes", "900000")]);
    let set = |value| [(SET, "message.max.bytes", Some(value))];
    assert_eq!(
        alter_one(&mut client, BROKER, "", &set("5000")).0,
        codes::NONE
    );
    let of_topic = |client: &mut Client, topic: &str| {
        let described = describe(client, TOPIC, topic);
        let found = described
            .configs
            .iter()
            .find(|one| &*one.name == "max.message.bytes");
        let found = found.expect("described");
        (
            found.value.as_deref().unwrap_or_default().to_owned(),
            found.config_source,
        )
    };
    assert_eq!(of_topic(&mut client, "plain"), ("5000".to_owned(), 3));
    assert_eq!(of_topic(&mut client, "own"), ("900000".to_owned(), 1));
    assert_eq!(
        alter_one(&mut client, BROKER, &id, &set("6000")).0,
        codes::NONE
    );
    assert_eq!(of_topic(&mut client, "plain"), ("6000".to_owned(), 2));
    let large = Batch::of(&["x".repeat(7000)]).encode();
    assert_eq!(
        client.try_produce("plain", 0, large.clone()).error_code,
        codes::MESSAGE_TOO_LARGE,
        "it holds at once"
    );
    assert_eq!(
        client.try_produce("own", 0, large.clone()).error_code,
        codes::NONE
    );
    broker.restart();
    let mut client = broker.connect();
    assert_eq!(
        of_topic(&mut client, "plain"),
        ("6000".to_owned(), 2),
        "kept"
    );
    for name in [&*id, ""] {
        let unset = [(DELETE, "message.max.bytes", None)];
        assert_eq!(alter_one(&mut client, BROKER, name, &unset).0, codes::NONE);
    }
    assert_eq!(of_topic(&mut client, "plain"), ("1048588".to_owned(), 5));
    assert_eq!(
        client.try_produce("plain", 0, large).error_code,
        codes::NONE
    );
    for (name, setting, value) in [
        ("", "num.partitions", "3"),
        (&*id, "log.dirs", "/x"),
        ("", "message.max.byte", "3"),
        ("", "message.max.bytes", "-3"),
    ] {
        let (code, message) = alter_one(&mut client, BROKER, name, &[(SET, setting, Some(value))]);
        assert_eq!(code, codes::INVALID_CONFIG, "{setting}: {message}");
    }
}

/// Groups and subscriptions to clients' metrics have settings of their own.
#[test]
fn groups_and_subscriptions_have_settings() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let group = unique("configs-group");
    let name = "consumer.heartbeat.interval.ms";
    let set = alter_one(&mut client, GROUP, &group, &[(SET, name, Some("6000"))]);
    assert_eq!(set.0, codes::NONE, "{}", set.1);
    assert_eq!(
        wait_for_value(&mut client, GROUP, &group, name, Some("6000")),
        8
    );
    let unset = alter_one(&mut client, GROUP, &group, &[(DELETE, name, None)]);
    assert_eq!(unset.0, codes::NONE);
    assert_eq!(
        wait_for_value(&mut client, GROUP, &group, name, Some("5000")),
        5
    );
    let wrong = alter_one(&mut client, GROUP, &group, &[(SET, "no.such", Some("1"))]);
    assert_ne!(wrong.0, codes::NONE);

    let subscription = unique("configs-metrics");
    let set = alter_one(
        &mut client,
        CLIENT_METRICS,
        &subscription,
        &[
            (SET, "interval.ms", Some("1000")),
            (SET, "metrics", Some("org.apache")),
        ],
    );
    assert_eq!(set.0, codes::NONE, "{}", set.1);
    let source = wait_for_value(
        &mut client,
        CLIENT_METRICS,
        &subscription,
        "interval.ms",
        Some("1000"),
    );
    assert_eq!(source, 7);
}
