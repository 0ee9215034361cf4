//! OffsetForLeaderEpoch (23): how a client learns whether its log was cut under it.

use kafka_protocol::messages::OffsetForLeaderEpochRequest;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use protocol_tests::calls::topic_name;
use protocol_tests::{Batch, Broker, Client, codes, unique};

fn ask(
    client: &mut Client,
    version: i16,
    topic: &str,
    partition: i32,
    current: i32,
    epoch: i32,
) -> EpochEndOffset {
    let partition = OffsetForLeaderPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(current)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    // Before v3 there was no field: whoever asks counts as a consumer.
    let replica = if version >= 3 { -1 } else { -2 };
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id(replica.into())
        .with_topics(vec![topic]);
    client.call(version, &request).topics[0].partitions[0].clone()
}

/// 67. The current epoch ends at the end of the log; one from the future is not known.
#[test]
fn the_current_epoch_ends_at_the_end_of_the_log() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("epoch-end");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(7));
    let epoch = client.leader_epoch(&topic, 0);
    for version in 2..=4 {
        let current = ask(&mut client, version, &topic, 0, -1, epoch);
        assert_eq!(
            (current.error_code, current.leader_epoch, current.end_offset),
            (codes::NONE, epoch, 7),
            "v{version}"
        );
        let future = ask(&mut client, version, &topic, 0, -1, epoch + 5);
        assert_eq!(
            (future.error_code, future.leader_epoch, future.end_offset),
            (codes::NONE, -1, -1),
            "v{version}"
        );
    }
}

/// 67. Unknown partitions and wrong current epochs are told, as in Fetch.
#[test]
fn unknown_partitions_and_epochs_are_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("epoch-errors");
    client.create_topic(&topic, 1);
    let epoch = client.leader_epoch(&topic, 0);
    let missing = ask(&mut client, 4, &topic, 9, -1, epoch);
    assert_eq!(
        (missing.error_code, missing.end_offset),
        (codes::UNKNOWN_TOPIC_OR_PARTITION, -1)
    );
    let missing = ask(&mut client, 4, &unique("epoch-missing"), 0, -1, 0);
    assert_eq!(missing.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    let ahead = ask(&mut client, 4, &topic, 0, epoch + 1, epoch);
    assert_eq!(ahead.error_code, codes::UNKNOWN_LEADER_EPOCH);
    let right = ask(&mut client, 4, &topic, 0, epoch, epoch);
    assert_eq!(right.error_code, codes::NONE);
}

/// 67. After a restart an older epoch ends no earlier than what was read under it: nothing was cut.
#[test]
fn an_older_epoch_never_ends_before_what_it_wrote() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("epochs", 1);
    let mut epochs = Vec::new();
    for round in 0..3 {
        let mut client = broker.connect();
        client.produce("epochs", 0, Batch::counted(5));
        epochs.push((client.leader_epoch("epochs", 0), 5 * (round + 1)));
        broker.kill();
        broker.restart();
    }
    let mut client = broker.connect();
    for (epoch, written) in epochs {
        let found = ask(&mut client, 3, "epochs", 0, -1, epoch);
        assert_eq!(found.error_code, codes::NONE);
        assert!(
            found.end_offset >= written,
            "epoch {epoch} ends at {}, wrote {written}",
            found.end_offset
        );
        assert!(found.leader_epoch <= epoch);
    }
}
