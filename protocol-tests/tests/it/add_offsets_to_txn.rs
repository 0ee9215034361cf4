//! AddOffsetsToTxn (25).

use kafka_protocol::messages::AddOffsetsToTxnRequest;
use protocol_tests::calls::text;
use protocol_tests::transactions::Transactional;
use protocol_tests::{Broker, codes, unique};

/// Every version adds a group, also one that is there already, and the transaction can end.
#[test]
fn every_version_adds_a_group() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let mut producer = Transactional::new(&mut client);
    let group = unique("add-offsets");
    assert_eq!(producer.add_offsets(&mut client, &group), codes::NONE);
    for version in 0..=4 {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(text(&producer.id).into())
            .with_producer_id(producer.producer_id.into())
            .with_producer_epoch(producer.epoch)
            .with_group_id(text(&group).into());
        let code = client.call(version, &request).error_code;
        assert_eq!(code, codes::NONE, "v{version}");
    }
    producer.end(&mut client, true);
}

/// Only the producer of the transactional id, in its epoch.
#[test]
fn others_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let producer = Transactional::new(&mut client);
    let group = unique("add-offsets-others");
    let mut other = producer.clone();
    other.producer_id += 1;
    assert_eq!(
        other.add_offsets(&mut client, &group),
        codes::INVALID_PRODUCER_ID_MAPPING
    );
    other = producer.clone();
    other.epoch += 1;
    assert_eq!(
        other.add_offsets(&mut client, &group),
        codes::PRODUCER_FENCED
    );
    other.id = String::new();
    assert_eq!(
        other.add_offsets(&mut client, &group),
        codes::INVALID_REQUEST
    );
}
