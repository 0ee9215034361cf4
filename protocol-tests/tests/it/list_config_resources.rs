//! ListConfigResources (74).

use kafka_protocol::messages::ListConfigResourcesRequest;
use protocol_tests::{Broker, codes, unique};

/// Topics and the broker are listed; only the kinds asked for; version 0 knows only client metrics.
#[test]
fn resources_are_listed_by_kind() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("resources");
    client.create_topic(&topic, 1);
    let id = client.metadata(&[]).brokers[0].node_id.0.to_string();
    let all = client.call(1, &ListConfigResourcesRequest::default());
    assert_eq!(all.error_code, codes::NONE);
    let has = |kind: i8, name: &str| {
        let mut all = all.config_resources.iter();
        all.any(|one| one.resource_type == kind && &*one.resource_name == name)
    };
    assert!(has(2, &topic));
    assert!(has(4, &id));
    let topics = client.call(
        1,
        &ListConfigResourcesRequest::default().with_resource_types(vec![2]),
    );
    assert!(
        topics
            .config_resources
            .iter()
            .all(|one| one.resource_type == 2)
    );
    assert!(!topics.config_resources.is_empty());
    let unknown = client.call(
        1,
        &ListConfigResourcesRequest::default().with_resource_types(vec![77]),
    );
    assert_eq!(unknown.error_code, codes::UNSUPPORTED_VERSION);
    let metrics = client.call(0, &ListConfigResourcesRequest::default());
    assert!(
        metrics
            .config_resources
            .iter()
            .all(|one| *one.resource_name != *topic)
    );
}
