//! Where Apache Kafka does otherwise: it is held to what docs/differences.md says of it, as Trestle is. Rows
//! that have a test of their own elsewhere, with a branch for Kafka, are not repeated here.

use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeLogDirsRequest, DescribeTransactionsRequest,
    UpdateFeaturesRequest,
};
use protocol_tests::calls::{
    FETCH, PRODUCE, fetch_partition, fetch_request, produce_request, text,
};
use protocol_tests::consumers::joining;
use protocol_tests::groups::commit_request;
use protocol_tests::transactions::Transactional;
use protocol_tests::{Batch, Broker, Client, Codec, Frame, Wire, codes, unique, wait_until};

use crate::incremental_alter_configs::{SET, alter_one, resource, validate};
use crate::write_txn_markers::mark;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;

/// CreateTopics v0-1, DeleteTopics v0, OffsetCommit v1.
#[test]
fn old_versions_are_served_where_kafka_closes() {
    let broker = Broker::shared();
    let group = broker.group("old-version");
    for (key, version, body) in [
        (ApiKey::CreateTopics, 0, Wire::new().i32(0).i32(10_000)),
        (
            ApiKey::CreateTopics,
            1,
            Wire::new().i32(0).i32(10_000).i8(0),
        ),
        (ApiKey::DeleteTopics, 0, Wire::new().i32(0).i32(10_000)),
        (
            ApiKey::OffsetCommit,
            1,
            Wire::new()
                .string(Some(&group))
                .i32(-1)
                .string(Some(""))
                .i32(0),
        ),
    ] {
        let mut client = broker.connect();
        client.send_bytes(&Frame::new(key as i16, version).body(body).encode());
        if broker.is_kafka() {
            client.assert_closed();
        } else {
            client.next_frame().expect("an answer");
        }
    }
}

/// Fetch: sessions.
#[test]
fn no_fetch_session_is_given_out() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("difference-session");
    client.create_topic(&topic, 1);
    let request = fetch_request(&topic, vec![fetch_partition(0, 0)]).with_session_epoch(0);
    let answer = client.call(FETCH, &request);
    assert_eq!(answer.session_id != 0, broker.is_kafka());
}

/// Fetch: zstd below version 10, on a topic that keeps it.
#[test]
fn zstd_is_fetched_at_every_version() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for (kept, refused) in [("producer", false), ("zstd", true)] {
        let topic = unique("difference-zstd");
        client.create_topic_with(&topic, 1, &[("compression.type", kept)]);
        client.produce(&topic, 0, Batch::counted(3).codec(Codec::Zstd));
        let fetched = client.fetch_one(9, &fetch_request(&topic, vec![fetch_partition(0, 0)]));
        let expected = match broker.is_kafka() && refused {
            true => codes::UNSUPPORTED_COMPRESSION_TYPE,
            false => codes::NONE,
        };
        assert_eq!(fetched.error_code, expected, "{kept}");
    }
}

/// ConsumerGroupHeartbeat: Unicode classes in regular expressions.
#[test]
fn regular_expressions_know_no_unicode_classes() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let group = broker.group("difference-regex");
    let request = joining(&group, &unique("member"), &[])
        .with_subscribed_topic_names(None)
        .with_subscribed_topic_regex(Some(text("\\pL+")));
    let answer = client.call(1, &request);
    let expected = match broker.is_kafka() {
        true => codes::NONE,
        false => codes::INVALID_REGULAR_EXPRESSION,
    };
    assert_eq!(answer.error_code, expected);
}

/// WriteTxnMarkers: a marker that is asked for again.
#[test]
fn a_marker_is_written_once() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("difference-marker");
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    producer.add(&mut client, &topic, 0);
    producer.write(&mut client, &topic, 0, &["a"]);
    let own = (producer.producer_id, producer.epoch);
    for _ in 0..2 {
        assert_eq!(mark(&mut client, own, 100_000, &topic, 0), codes::NONE);
    }
    let expected = if broker.is_kafka() { 3 } else { 2 };
    wait_until("the markers", || client.end_offset(&topic, 0) == expected);
}

/// DescribeTransactions: a group in a transaction.
#[test]
fn a_group_in_a_transaction_is_not_shown() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let mut producer = Transactional::new(&mut client);
    let group = broker.group("difference-group");
    wait_until("the group is part of the transaction", || {
        producer.add_offsets(&mut client, &group) == codes::NONE
    });
    let request = DescribeTransactionsRequest::default()
        .with_transactional_ids(vec![text(&producer.id).into()]);
    let described = client.call(0, &request).transaction_states.remove(0);
    let topics: Vec<&str> = described
        .topics
        .iter()
        .map(|topic| &**topic.topic)
        .collect();
    let expected: &[&str] = match broker.is_kafka() {
        true => &["__consumer_offsets"],
        false => &[],
    };
    assert_eq!(topics, expected);
    producer.end(&mut client, false);
}

/// OffsetCommit: the order of the answer.
#[test]
fn offset_commits_are_answered_in_their_order() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (known, unknown) = (unique("difference-known"), unique("difference-unknown"));
    client.create_topic(&known, 1);
    let group = broker.group("difference-order");
    let mut request = commit_request(&group, -1, "", (&known, 0, 1));
    let refused = commit_request(&group, -1, "", (&unknown, 0, 1))
        .topics
        .remove(0);
    request.topics.push(refused);
    let answer = client.call(8, &request);
    let names: Vec<&str> = answer.topics.iter().map(|topic| &**topic.name).collect();
    let expected = match broker.is_kafka() {
        true => [&*unknown, &*known],
        false => [&*known, &*unknown],
    };
    assert_eq!(names, expected);
}

fn describe(client: &mut Client, kind: i8) -> (i16, Vec<String>) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text("1"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let described = client.call(4, &request).results.remove(0);
    let names = described
        .configs
        .iter()
        .map(|config| config.name.to_string());
    (described.error_code, names.collect())
}

/// DescribeConfigs: loggers, and settings that are not for users.
#[test]
fn loggers_and_internal_settings_are_not_described() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let (code, loggers) = describe(&mut client, LOGGER);
    if broker.is_kafka() {
        assert_eq!(code, codes::NONE);
    } else {
        assert_eq!((code, loggers.len()), (codes::INVALID_REQUEST, 0));
    }
    let (code, names) = describe(&mut client, BROKER);
    assert_eq!(code, codes::NONE);
    let internal = names.iter().any(|name| name.starts_with("internal."));
    assert_eq!(internal, broker.is_kafka());
}

/// AlterConfigs, IncrementalAlterConfigs: settings of the broker that cannot be.
#[test]
fn settings_of_the_broker_that_cannot_be_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let listeners = format!("PLAINTEXT://{}", broker.address());
    for (name, value, kafkas) in [
        ("no.such.setting", "1", codes::NONE),
        ("log.retention.ms", "soon", codes::INVALID_REQUEST),
        ("node.id", "7", codes::INVALID_REQUEST),
        (
            "log.retention.check.interval.ms",
            "7",
            codes::INVALID_REQUEST,
        ),
    ] {
        let changes = [(SET, name, Some(value))];
        let (code, message) = validate(&mut client, resource(BROKER, "1", &changes));
        let expected = if broker.is_kafka() {
            kafkas
        } else {
            codes::INVALID_CONFIG
        };
        assert_eq!(code, expected, "{name}: {message}");
    }
    if !broker.is_kafka() {
        let changes = [(SET, "listeners", Some(listeners.as_str()))];
        let (code, _) = alter_one(&mut client, BROKER, "1", &changes);
        assert_eq!(code, codes::INVALID_CONFIG);
    }
    let topic = unique("difference-setting");
    client.create_topic(&topic, 1);
    let changes = [(SET, "no.such.setting", Some("1"))];
    let (code, _) = validate(&mut client, resource(TOPIC, &topic, &changes));
    assert_eq!(
        code,
        codes::INVALID_CONFIG,
        "of topics Kafka refuses it too"
    );
}

/// UpdateFeatures: levels that could be changed.
#[test]
fn levels_of_features_do_not_change() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let lowered = FeatureUpdateKey::default()
        .with_feature(text("group.version"))
        .with_max_version_level(0)
        .with_upgrade_type(2);
    let request = UpdateFeaturesRequest::default()
        .with_timeout_ms(10_000)
        .with_validate_only(true)
        .with_feature_updates(vec![lowered]);
    let answer = client.call(2, &request);
    let expected = match broker.is_kafka() {
        true => codes::NONE,
        false => codes::INVALID_UPDATE_VERSION,
    };
    assert_eq!(answer.error_code, expected);
}

/// DescribeLogDirs: the size of the disk.
#[test]
fn the_size_of_the_disk_is_not_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let request = DescribeLogDirsRequest::default().with_topics(None);
    let answer = client.call(4, &request);
    let directory = &answer.results[0];
    let told = directory.total_bytes > 0 && directory.usable_bytes > 0;
    assert_eq!(told, broker.is_kafka());
    assert!(told || (directory.total_bytes, directory.usable_bytes) == (-1, -1));
}

/// Produce: records that are null are answered, where Kafka's handler fails and nothing comes.
#[test]
fn null_records_are_answered() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("difference-null");
    client.create_topic(&topic, 1);
    let mut null = produce_request(&topic, 0, bytes::Bytes::new());
    null.topic_data[0].partition_data[0].records = None;
    let pending = client.send(PRODUCE, &null);
    if broker.is_kafka() {
        client.assert_silent(std::time::Duration::from_secs(2));
    } else {
        let answer = client.receive(pending);
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, codes::INVALID_RECORD);
    }
}
