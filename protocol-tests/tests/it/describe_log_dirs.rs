//! DescribeLogDirs (35).

use kafka_protocol::messages::DescribeLogDirsRequest;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol_tests::calls::topic_name;
use protocol_tests::{Batch, Broker, Client, codes, unique};

/// Sizes of the topic's partitions, by index.
fn sizes(client: &mut Client, topic: &str, partitions: &[i32]) -> Vec<(i32, i64)> {
    let asked = DescribableLogDirTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(partitions.to_vec());
    let request = DescribeLogDirsRequest::default().with_topics(Some(vec![asked]));
    let answer = client.call(4, &request);
    assert_eq!(answer.error_code, codes::NONE);
    assert_eq!(answer.results.len(), 1, "one directory");
    assert!(!answer.results[0].log_dir.is_empty());
    let topics = answer.results[0].topics.iter();
    let mut sizes: Vec<(i32, i64)> = topics
        .flat_map(|topic| &topic.partitions)
        .inspect(|partition| assert!(!partition.is_future_key && partition.offset_lag == 0))
        .map(|partition| (partition.partition_index, partition.partition_size))
        .collect();
    sizes.sort_unstable();
    sizes
}

/// A partition's size is the bytes of its batches; what does not exist is left out.
#[test]
fn sizes_are_those_of_the_batches() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("dirs");
    client.create_topic(&topic, 2);
    assert_eq!(sizes(&mut client, &topic, &[0, 1]), [(0, 0), (1, 0)]);
    let mut expected = 0;
    for _ in 0..3 {
        let bytes = Batch::of(&["x".repeat(1000)]).encode();
        expected += bytes.len() as i64;
        client.produce(&topic, 0, bytes);
    }
    assert_eq!(sizes(&mut client, &topic, &[0, 1]), [(0, expected), (1, 0)]);
    assert_eq!(sizes(&mut client, &topic, &[0, 7]), [(0, expected)]);
    assert!(sizes(&mut client, &unique("dirs-missing"), &[0]).is_empty());
    if broker.is_own() {
        client.delete_records(&topic, 0, 3);
        assert_eq!(
            sizes(&mut client, &topic, &[0]),
            [(0, 0)],
            "nothing is left"
        );
    }
}

/// Null asks for all topics.
#[test]
fn null_is_everything() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("dirs-all");
    client.create_topic(&topic, 3);
    for version in 1..=4 {
        let answer = client.call(
            version,
            &DescribeLogDirsRequest::default().with_topics(None),
        );
        let found = answer.results[0]
            .topics
            .iter()
            .find(|one| *one.name.0 == *topic);
        assert_eq!(found.map(|one| one.partitions.len()), Some(3), "v{version}");
    }
}
