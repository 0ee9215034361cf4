//! AlterConfigs (33).

use kafka_protocol::messages::AlterConfigsRequest;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol_tests::calls::text;
use protocol_tests::{Broker, Client, codes, unique};

use crate::incremental_alter_configs::own_settings;

fn resource(topic: &str, configs: &[(&str, Option<&str>)]) -> AlterConfigsResource {
    let configs = configs.iter().map(|(name, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_value(value.map(text))
    });
    AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(configs.collect())
}

fn alter(client: &mut Client, version: i16, resources: Vec<AlterConfigsResource>) -> Vec<i16> {
    let request = AlterConfigsRequest::default().with_resources(resources);
    let answer = client.call(version, &request);
    answer.responses.iter().map(|one| one.error_code).collect()
}

/// 102. What is not named goes back to its default.
#[test]
fn the_whole_set_is_replaced() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("alter");
    client.create_topic_with(
        &topic,
        1,
        &[("retention.ms", "5000"), ("segment.ms", "7000")],
    );
    for (version, value) in [(0, "1000"), (1, "2000"), (2, "3000")] {
        let set = resource(&topic, &[("max.message.bytes", Some(value))]);
        assert_eq!(alter(&mut client, version, vec![set]), [codes::NONE]);
        assert_eq!(
            own_settings(&mut client, &topic, 1),
            [("max.message.bytes".to_owned(), value.to_owned())]
        );
    }
    assert_eq!(
        alter(&mut client, 2, vec![resource(&topic, &[])]),
        [codes::NONE]
    );
    assert!(own_settings(&mut client, &topic, 0).is_empty());
}

/// 102. A setting that is wrong leaves all of them as they were; so does a null.
#[test]
fn one_wrong_setting_changes_nothing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("alter-wrong");
    client.create_topic_with(&topic, 1, &[("retention.ms", "5000")]);
    for (wrong, code) in [
        (("retention.bytes", Some("many")), codes::INVALID_CONFIG),
        (("no.such.setting", Some("1")), codes::INVALID_CONFIG),
        (("segment.ms", None), codes::INVALID_REQUEST),
    ] {
        if broker.is_kafka() && wrong.1.is_none() {
            continue; // Kafka does not answer.
        }
        let asked = resource(&topic, &[("retention.ms", Some("6000")), wrong]);
        assert_eq!(alter(&mut client, 2, vec![asked]), [code], "{wrong:?}");
    }
    let asked = resource(&topic, &[("retention.ms", Some("6000"))]);
    let twice = alter(&mut client, 2, vec![asked.clone(), asked]);
    assert!(
        twice.iter().all(|code| *code == codes::INVALID_REQUEST),
        "{twice:?}"
    );
    assert!(!twice.is_empty());
    assert_eq!(
        own_settings(&mut client, &topic, 1),
        [("retention.ms".to_owned(), "5000".to_owned())]
    );
}
