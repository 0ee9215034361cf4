//! DescribeTopicPartitions (75).

use kafka_protocol::messages::DescribeTopicPartitionsRequest;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use protocol_tests::calls::topic_name;
use protocol_tests::{Broker, Client, codes, unique};

/// All pages of `limit` partitions: the indexes of each page, by topic.
fn pages(client: &mut Client, topics: &[&str], limit: i32) -> Vec<Vec<(String, Vec<i32>)>> {
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let names = topics.iter();
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(
                names
                    .map(|name| TopicRequest::default().with_name(topic_name(name)))
                    .collect(),
            )
            .with_response_partition_limit(limit)
            .with_cursor(cursor);
        let answer = client.call(0, &request);
        let page = answer.topics.iter().map(|topic| {
            assert_eq!(topic.error_code, codes::NONE);
            let name = topic.name.as_ref().expect("a name").to_string();
            let indexes = topic.partitions.iter().map(|one| one.partition_index);
            (name, indexes.collect())
        });
        pages.push(page.collect());
        let Some(next) = answer.next_cursor else {
            return pages;
        };
        let next = Cursor::default()
            .with_topic_name(next.topic_name)
            .with_partition_index(next.partition_index);
        cursor = Some(next);
        assert!(pages.len() < 20, "{pages:?}");
    }
}

/// Topics come in the order of their names, and a cursor goes on where a page ended.
#[test]
fn pages_follow_each_other() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let base = unique("paged");
    let (a, b) = (format!("{base}-a"), format!("{base}-b"));
    client.create_topic(&a, 3);
    client.create_topic(&b, 2);
    let whole = pages(&mut client, &[&b, &a], 100);
    assert_eq!(
        whole,
        [[(a.clone(), vec![0, 1, 2]), (b.clone(), vec![0, 1])]]
    );
    let paged = pages(&mut client, &[&b, &a], 2);
    assert_eq!(
        paged,
        [
            vec![(a.clone(), vec![0, 1])],
            vec![(a, vec![2]), (b.clone(), vec![0])],
            vec![(b, vec![1])],
        ]
    );
}

/// A partition is described as Metadata does; a topic that does not exist is told.
#[test]
fn topics_are_described_and_missing_ones_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("described");
    let id = client.create_topic(&topic, 1);
    let missing = unique("described-missing");
    let names = [&*topic, &*missing];
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(
            names
                .map(|name| TopicRequest::default().with_name(topic_name(name)))
                .to_vec(),
        )
        .with_response_partition_limit(2000);
    let answer = client.call(0, &request);
    assert!(answer.next_cursor.is_none());
    let of = |name: &str| {
        let mut all = answer.topics.iter();
        all.find(|one| one.name.as_ref().is_some_and(|found| &***found == name))
            .expect("answered")
    };
    assert_eq!(of(&missing).error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    let found = of(&topic);
    assert_eq!(
        (found.topic_id, found.topic_authorized_operations),
        (id, 3576)
    );
    let partition = &found.partitions[0];
    let leader = client.metadata(&[&topic]).topics[0].partitions[0].leader_id;
    assert_eq!(partition.leader_id, leader);
    assert_eq!(
        (&partition.replica_nodes, &partition.isr_nodes),
        (&vec![leader], &vec![leader])
    );
    assert!(partition.leader_epoch >= 0 && partition.offline_replicas.is_empty());
}
