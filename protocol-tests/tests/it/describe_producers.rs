//! DescribeProducers (61).

use kafka_protocol::messages::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::PartitionResponse;
use protocol_tests::calls::topic_name;
use protocol_tests::transactions::Transactional;
use protocol_tests::{Batch, Broker, Client, codes, unique, wait_until};

fn describe(client: &mut Client, topic: &str, partition: i32) -> PartitionResponse {
    let topic = TopicRequest::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![partition]);
    let mut answer = client.call(
        0,
        &DescribeProducersRequest::default().with_topics(vec![topic]),
    );
    answer.topics.remove(0).partitions.remove(0)
}

#[test]
fn producers_and_their_open_transactions_are_shown() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("producers");
    client.create_topic(&topic, 1);
    assert_eq!(describe(&mut client, &topic, 0).active_producers, []);
    let (id, epoch) = client.init_producer();
    client.produce(&topic, 0, Batch::counted(3).producer(id, epoch, 0));
    let mut producer = Transactional::new(&mut client);
    producer.add(&mut client, &topic, 0);
    producer.write(&mut client, &topic, 0, &["a", "b"]);
    let answer = describe(&mut client, &topic, 0);
    assert_eq!(answer.error_code, codes::NONE);
    let find = |all: &PartitionResponse, id: i64| {
        let mut all = all.active_producers.iter();
        all.find(|one| one.producer_id.0 == id)
            .cloned()
            .expect("shown")
    };
    let plain = find(&answer, id);
    assert_eq!((plain.producer_epoch, plain.last_sequence), (0, 2));
    assert_eq!(plain.current_txn_start_offset, -1);
    assert_eq!(plain.coordinator_epoch, -1);
    let open = find(&answer, producer.producer_id);
    assert_eq!((open.last_sequence, open.current_txn_start_offset), (1, 3));
    assert!(open.last_timestamp > 0);
    producer.end(&mut client, false);
    wait_until("the end to be shown", || {
        let answer = describe(&mut client, &topic, 0);
        let ended = find(&answer, producer.producer_id);
        ended.current_txn_start_offset == -1 && ended.coordinator_epoch >= 0
    });
}

#[test]
fn what_does_not_exist_has_no_producers() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("producers-none");
    client.create_topic(&topic, 1);
    for (topic, partition) in [(topic.as_str(), 5), (&unique("producers-nowhere"), 0)] {
        let answer = describe(&mut client, topic, partition);
        assert_eq!(answer.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
}
