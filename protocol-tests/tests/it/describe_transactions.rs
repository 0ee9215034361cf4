//! DescribeTransactions (65).

use kafka_protocol::messages::DescribeTransactionsRequest;
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use protocol_tests::calls::text;
use protocol_tests::transactions::Transactional;
use protocol_tests::{Broker, Client, codes, unique, wait_until};

fn describe(client: &mut Client, id: &str) -> TransactionState {
    let request =
        DescribeTransactionsRequest::default().with_transactional_ids(vec![text(id).into()]);
    let mut answer = client.call(0, &request);
    assert_eq!(answer.transaction_states.len(), 1);
    let state = answer.transaction_states.remove(0);
    assert_eq!(&**state.transactional_id, id);
    state
}

#[test]
fn a_transaction_is_shown_from_its_beginning_to_its_end() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("describe-txn");
    client.create_topic(&topic, 3);
    let mut producer = Transactional::with_id(&mut client, &unique("txn"), 45_000);
    let empty = describe(&mut client, &producer.id);
    assert_eq!(empty.error_code, codes::NONE);
    assert_eq!(empty.transaction_state.as_str(), "Empty");
    assert_eq!(empty.transaction_timeout_ms, 45_000);
    assert_eq!(empty.transaction_start_time_ms, -1);
    assert_eq!(
        (empty.producer_id.0, empty.producer_epoch),
        (producer.producer_id, producer.epoch)
    );
    producer.try_add(&mut client, &topic, &[2, 0]);
    let open = describe(&mut client, &producer.id);
    assert_eq!(open.transaction_state.as_str(), "Ongoing");
    assert!(open.transaction_start_time_ms > 0);
    assert_eq!(open.topics.len(), 1);
    assert_eq!(open.topics[0].topic.as_str(), topic);
    let mut partitions = open.topics[0].partitions.clone();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 2]);
    for (commit, name) in [(true, "CompleteCommit"), (false, "CompleteAbort")] {
        producer.add(&mut client, &topic, 0);
        producer.end(&mut client, commit);
        wait_until("the end to be shown", || {
            describe(&mut client, &producer.id)
                .transaction_state
                .as_str()
                == name
        });
        assert_eq!(describe(&mut client, &producer.id).topics, []);
    }
}

#[test]
fn an_unknown_id_is_not_found() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    Transactional::new(&mut client);
    let state = describe(&mut client, &unique("txn-nowhere"));
    assert_eq!(state.error_code, codes::TRANSACTIONAL_ID_NOT_FOUND);
}
