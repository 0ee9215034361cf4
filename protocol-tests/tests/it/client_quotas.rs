//! DescribeClientQuotas (48) and AlterClientQuotas (49).

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};
use protocol_tests::calls::text;

use protocol_tests::{Broker, Client, codes, unique, wait_until};

fn entry(entity: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) -> EntryData {
    let entity = entity.iter().map(|(kind, name)| {
        EntityData::default()
            .with_entity_type(text(kind))
            .with_entity_name(name.map(text))
    });
    let ops = ops.iter().map(|(key, value)| {
        OpData::default()
            .with_key(text(key))
            .with_value(value.unwrap_or_default())
            .with_remove(value.is_none())
    });
    EntryData::default()
        .with_entity(entity.collect())
        .with_ops(ops.collect())
}

fn alter(client: &mut Client, entries: Vec<EntryData>) -> Vec<i16> {
    let request = AlterClientQuotasRequest::default().with_entries(entries);
    let answer = client.call(1, &request);
    answer.entries.iter().map(|one| one.error_code).collect()
}

/// Quotas of a user, as `KEY=VALUE`, by entity.
fn of_user(client: &mut Client, user: &str, strict: bool) -> Vec<Vec<String>> {
    let component = ComponentData::default()
        .with_entity_type(text("user"))
        .with_match_type(0)
        .with_match(Some(text(user)));
    let request = DescribeClientQuotasRequest::default()
        .with_components(vec![component])
        .with_strict(strict);
    let answer = client.call(1, &request);
    assert_eq!(answer.error_code, codes::NONE);
    let entries = answer.entries.expect("entries");
    let mut quotas: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let values = entry.values.iter();
            let mut values: Vec<String> = values
                .map(|one| format!("{}={}", &*one.key, one.value))
                .collect();
            values.sort_unstable();
            values
        })
        .collect();
    quotas.sort_unstable();
    quotas
}

/// Quotas are kept as they were given, found by their entity, and removed.
#[test]
fn quotas_are_kept_and_removed() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let user = unique("quota-user");
    let done = alter(
        &mut client,
        vec![
            entry(
                &[("user", Some(&user))],
                &[
                    ("producer_byte_rate", Some(1024.0)),
                    ("request_percentage", Some(12.5)),
                ],
            ),
            entry(
                &[("user", Some(&user)), ("client-id", None)],
                &[("consumer_byte_rate", Some(2048.0))],
            ),
        ],
    );
    assert_eq!(done, [codes::NONE; 2]);
    let both = [
        vec!["consumer_byte_rate=2048".to_owned()],
        vec![
            "producer_byte_rate=1024".to_owned(),
            "request_percentage=12.5".to_owned(),
        ],
    ];
    wait_until("both entities", || {
        of_user(&mut client, &user, false) == both
    });
    assert_eq!(of_user(&mut client, &user, true), both[1..]);
    let removed = alter(
        &mut client,
        vec![entry(
            &[("user", Some(&user))],
            &[("producer_byte_rate", None), ("request_percentage", None)],
        )],
    );
    assert_eq!(removed, [codes::NONE]);
    wait_until("one entity", || {
        of_user(&mut client, &user, false) == both[..1]
    });
}

/// Entities and names that there are none of.
#[test]
fn wrong_quotas_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let user = unique("quota-wrong");
    for wrong in [
        entry(&[], &[("producer_byte_rate", Some(1.0))]),
        entry(
            &[("planet", Some("mars"))],
            &[("producer_byte_rate", Some(1.0))],
        ),
        entry(&[("user", Some(&user))], &[("no_such_rate", Some(1.0))]),
        entry(
            &[("user", Some(&user))],
            &[("connection_creation_rate", Some(1.0))],
        ),
        entry(
            &[("user", Some(&user))],
            &[("producer_byte_rate", Some(-1.0))],
        ),
        entry(
            &[("user", Some(&user)), ("ip", None)],
            &[("producer_byte_rate", Some(1.0))],
        ),
    ] {
        assert_eq!(
            alter(&mut client, vec![wrong.clone()]),
            [codes::INVALID_REQUEST],
            "{wrong:?}"
        );
    }
    assert!(of_user(&mut client, &user, false).is_empty());
    let component = ComponentData::default()
        .with_entity_type(text("planet"))
        .with_match_type(2);
    let request = DescribeClientQuotasRequest::default().with_components(vec![component]);
    let answer = client.call(1, &request);
    if !broker.is_kafka() {
        assert_eq!(answer.error_code, codes::INVALID_REQUEST);
    }
}
