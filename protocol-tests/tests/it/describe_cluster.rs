//! DescribeCluster (60).

use kafka_protocol::messages::DescribeClusterRequest;
use protocol_tests::{Broker, Client, codes};

fn brokers() -> DescribeClusterRequest {
    DescribeClusterRequest::default().with_endpoint_type(1)
}

/// It says what Metadata says.
#[test]
fn the_cluster_is_the_one_of_metadata() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let metadata = client.metadata(&[]);
    for version in 0..=2 {
        let answer = client.call(version, &brokers());
        assert_eq!(answer.error_code, codes::NONE, "v{version}");
        assert_eq!(
            Some(&answer.cluster_id),
            metadata.cluster_id.as_ref(),
            "v{version}"
        );
        assert_eq!(answer.brokers.len(), metadata.brokers.len(), "v{version}");
        let (told, known) = (&answer.brokers[0], &metadata.brokers[0]);
        assert_eq!(
            (told.broker_id, &told.host, told.port),
            (known.node_id, &known.host, known.port)
        );
        assert!(
            answer
                .brokers
                .iter()
                .any(|told| told.broker_id == answer.controller_id),
            "v{version}"
        );
        assert!(!told.is_fenced);
        Client::connect(&format!("{}:{}", told.host, told.port)).metadata(&[]);
    }
}

/// Authorised operations are told when asked.
#[test]
fn authorised_operations_are_told_when_asked() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for version in 0..=2 {
        let asked = brokers().with_include_cluster_authorized_operations(true);
        assert_eq!(
            client.call(version, &asked).cluster_authorized_operations,
            8096,
            "v{version}"
        );
        assert_eq!(
            client
                .call(version, &brokers())
                .cluster_authorized_operations,
            i32::MIN,
            "v{version}"
        );
    }
}

/// Controllers are to be asked elsewhere, and other endpoints do not exist.
#[test]
fn other_endpoint_types_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for version in 1..=2 {
        let controllers = client.call(version, &brokers().with_endpoint_type(2));
        assert_eq!(
            controllers.error_code,
            codes::MISMATCHED_ENDPOINT_TYPE,
            "v{version}"
        );
        let unknown = client.call(version, &brokers().with_endpoint_type(9));
        assert_eq!(
            unknown.error_code,
            codes::UNSUPPORTED_ENDPOINT_TYPE,
            "v{version}"
        );
        assert!(unknown.brokers.is_empty());
    }
}
