//! FindCoordinator (10).

use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use protocol_tests::calls::text;
use protocol_tests::{Broker, Client, codes, unique, wait_for};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

fn one(key: &str, kind: i8) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default()
        .with_key(text(key))
        .with_key_type(kind)
}

fn several(keys: &[&str], kind: i8) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default()
        .with_coordinator_keys(keys.iter().map(|key| text(key)).collect())
        .with_key_type(kind)
}

/// Kafka answers the first call with 15 while it creates a topic of its own; Trestle needs none.
fn ask(
    broker: &Broker,
    client: &mut Client,
    version: i16,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if !broker.is_kafka() {
        return client.call(version, request);
    }
    wait_for("the coordinator", || {
        let answer = client.call(version, request);
        let busy = answer.error_code == codes::COORDINATOR_NOT_AVAILABLE
            || answer
                .coordinators
                .iter()
                .any(|found| found.error_code == codes::COORDINATOR_NOT_AVAILABLE);
        (!busy).then_some(answer)
    })
}

/// Every version names the one broker there is, under the address that clients dial.
#[test]
fn the_coordinator_is_the_broker() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let known = client.metadata(&[]).brokers.remove(0);
    let key = unique("coordinator");
    for version in 0..=3 {
        for kind in [GROUP, TRANSACTION] {
            if version == 0 && kind == TRANSACTION {
                continue;
            }
            let found = ask(&broker, &mut client, version, &one(&key, kind));
            assert_eq!(found.error_code, codes::NONE, "v{version}");
            assert_eq!(
                (found.node_id, &found.host, found.port),
                (known.node_id, &known.host, known.port)
            );
        }
    }
}

/// From v4 on several are asked at once, and answered in order.
#[test]
fn several_are_answered_in_order() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let known = client.metadata(&[]).brokers.remove(0);
    let keys = ["b", "a", "c"];
    for kind in [GROUP, TRANSACTION] {
        let answer = ask(&broker, &mut client, 4, &several(&keys, kind));
        let found: Vec<&str> = answer
            .coordinators
            .iter()
            .map(|found| &*found.key)
            .collect();
        assert_eq!(found, keys);
        for found in &answer.coordinators {
            assert_eq!(found.error_code, codes::NONE);
            assert_eq!(
                (found.node_id, &found.host, found.port),
                (known.node_id, &known.host, known.port)
            );
        }
    }
    assert!(
        ask(&broker, &mut client, 4, &several(&[], GROUP))
            .coordinators
            .is_empty()
    );
}

/// Kinds of keys that do not exist, or came later.
#[test]
fn unknown_kinds_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for kind in [9, -1] {
        let refused = ask(&broker, &mut client, 3, &one("key", kind));
        assert_eq!(refused.error_code, codes::INVALID_REQUEST, "kind {kind}");
        assert_eq!(
            (refused.node_id.0, &*refused.host, refused.port),
            (-1, "", -1)
        );
        let refused = ask(&broker, &mut client, 4, &several(&["key"], kind));
        assert_eq!(
            refused.coordinators[0].error_code,
            codes::INVALID_REQUEST,
            "kind {kind}"
        );
    }
}

/// An empty group id can be looked up; an empty transactional id is none.
#[test]
fn empty_keys() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    assert_eq!(
        ask(&broker, &mut client, 3, &one("", GROUP)).error_code,
        codes::NONE
    );
    // Kafka finds a coordinator for it, which then refuses it.
    let expected = if broker.is_kafka() {
        codes::NONE
    } else {
        codes::INVALID_REQUEST
    };
    let answer = ask(&broker, &mut client, 3, &one("", TRANSACTION));
    assert_eq!(answer.error_code, expected);
}
