//! WriteTxnMarkers (27), as `kafka-transactions abort` sends it.

use kafka_protocol::messages::WriteTxnMarkersRequest;
use kafka_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use protocol_tests::calls::topic_name;
use protocol_tests::transactions::Transactional;
use protocol_tests::{Broker, Client, codes, unique, wait_until};

pub(crate) fn mark(
    client: &mut Client,
    (producer_id, epoch): (i64, i16),
    coordinator_epoch: i32,
    topic: &str,
    partition: i32,
) -> i16 {
    let topic = WritableTxnMarkerTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![partition]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(producer_id.into())
        .with_producer_epoch(epoch)
        .with_transaction_result(false)
        .with_coordinator_epoch(coordinator_epoch)
        .with_topics(vec![topic]);
    let answer = client.call(
        1,
        &WriteTxnMarkersRequest::default().with_markers(vec![marker]),
    );
    assert_eq!(answer.markers.len(), 1);
    assert_eq!(answer.markers[0].producer_id.0, producer_id);
    answer.markers[0].topics[0].partitions[0].error_code
}

/// An open transaction is aborted in one partition, whatever its coordinator thinks.
#[test]
fn a_transaction_is_aborted_where_it_hangs() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("markers");
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    producer.add(&mut client, &topic, 0);
    producer.write(&mut client, &topic, 0, &["a"]);
    let own = (producer.producer_id, producer.epoch);
    assert_eq!(mark(&mut client, own, 100_000, &topic, 0), codes::NONE);
    wait_until("the last stable offset to move on", || {
        client.fetch_committed(&topic, 0, 0).last_stable == 2
    });
    assert_eq!(client.read_committed_text(&topic, 0), [""; 0]);
}

/// Old producers and old coordinators mark nothing, nor is there anything to mark where no topic is.
#[test]
fn old_epochs_are_fenced() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("markers-old");
    client.create_topic(&topic, 1);
    let first = Transactional::new(&mut client);
    let mut second = Transactional::with_id(&mut client, &first.id, 60_000);
    second.add(&mut client, &topic, 0);
    second.write(&mut client, &topic, 0, &["a"]);
    let old = (first.producer_id, first.epoch);
    assert_eq!(
        mark(&mut client, old, 100_000, &topic, 0),
        codes::INVALID_PRODUCER_EPOCH
    );
    let own = (second.producer_id, second.epoch);
    assert_eq!(mark(&mut client, own, 100_000, &topic, 0), codes::NONE);
    assert_eq!(
        mark(&mut client, own, 99_999, &topic, 0),
        codes::TRANSACTION_COORDINATOR_FENCED
    );
    assert_eq!(
        mark(&mut client, own, 100_000, &topic, 7),
        codes::UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_eq!(
        mark(&mut client, own, 100_000, &unique("markers-nowhere"), 0),
        codes::UNKNOWN_TOPIC_OR_PARTITION
    );
}
