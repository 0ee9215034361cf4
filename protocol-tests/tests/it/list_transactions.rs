//! ListTransactions (66).

use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use protocol_tests::calls::text;
use protocol_tests::transactions::Transactional;
use protocol_tests::{Broker, codes, unique};

fn request() -> ListTransactionsRequest {
    let mut request = ListTransactionsRequest::default();
    request.duration_filter = -1;
    request.transactional_id_pattern = None;
    request
}

fn state_of(answer: &ListTransactionsResponse, id: &str) -> Option<String> {
    assert_eq!(answer.error_code, codes::NONE);
    let mut states = answer.transaction_states.iter();
    let state = states.find(|state| state.transactional_id.as_str() == id);
    state.map(|state| state.transaction_state.as_str().to_owned())
}

#[test]
fn filters_narrow_the_list() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("list-txn");
    client.create_topic(&topic, 1);
    let open = Transactional::new(&mut client);
    open.add(&mut client, &topic, 0);
    let idle = Transactional::new(&mut client);
    for version in 0..=2 {
        let all = client.call(version, &request());
        assert_eq!(state_of(&all, &open.id).as_deref(), Some("Ongoing"));
        assert_eq!(state_of(&all, &idle.id).as_deref(), Some("Empty"));

        let ongoing = request().with_state_filters(vec![text("Ongoing"), text("Sideways")]);
        let ongoing = client.call(version, &ongoing);
        assert_eq!(ongoing.unknown_state_filters, [text("Sideways")]);
        assert!(state_of(&ongoing, &open.id).is_some());
        assert_eq!(state_of(&ongoing, &idle.id), None);

        let nothing = request().with_state_filters(vec![text("Sideways")]);
        assert_eq!(client.call(version, &nothing).transaction_states, []);

        let one = request().with_producer_id_filters(vec![idle.producer_id.into()]);
        let one = client.call(version, &one);
        assert_eq!(one.transaction_states.len(), 1);
        assert_eq!(one.transaction_states[0].producer_id.0, idle.producer_id);
    }
    let mut long = request();
    long.duration_filter = 3_600_000;
    let long = client.call(1, &long);
    assert_eq!(
        state_of(&long, &open.id),
        None,
        "open for less than an hour"
    );
}

/// The whole id has to match; null and nothing match all.
#[test]
fn a_pattern_narrows_the_list_by_id() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let one = Transactional::new(&mut client);
    let other = Transactional::new(&mut client);
    let mut matching = |pattern: Option<&str>| {
        let mut request = request();
        request.transactional_id_pattern = pattern.map(text);
        let answer = client.call(2, &request);
        let listed = |own: &Transactional| {
            let mut states = answer.transaction_states.iter();
            states.any(|state| state.transactional_id.as_str() == own.id)
        };
        (answer.error_code, listed(&one), listed(&other))
    };
    assert_eq!(matching(None), (codes::NONE, true, true));
    assert_eq!(matching(Some("")), (codes::NONE, true, true));
    assert_eq!(matching(Some(".*")), (codes::NONE, true, true));
    assert_eq!(matching(Some(&one.id)), (codes::NONE, true, false));
    let start = format!("{}.*|nothing", &one.id[..one.id.len() - 1]);
    assert!(matching(Some(&start)).1);
    assert_eq!(
        matching(Some(&one.id[..one.id.len() - 1])),
        (codes::NONE, false, false),
        "a part of the id is not enough"
    );
    assert_eq!(matching(Some("[")).0, codes::INVALID_REGULAR_EXPRESSION);
}
