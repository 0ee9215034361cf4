//! 100. A topic that is deleted and created again at once has nothing of its first life.

use protocol_tests::calls::{EARLIEST, FETCH, LATEST, fetch_partition, fetch_request};
use protocol_tests::{Batch, Broker, codes, unique};

/// Records, offsets, ids and the memory of producers all start anew.
#[test]
fn nothing_of_the_first_life_is_left() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("lives");
    let (producer, epoch) = client.init_producer();
    let sequence = |first: i32| Batch::counted(3).producer(producer, epoch, first);
    let mut ids = Vec::new();
    for life in 0..3 {
        ids.push(client.create_topic(&topic, 2));
        assert_eq!(
            client.list_offset(&topic, 0, EARLIEST).offset,
            0,
            "life {life}"
        );
        assert_eq!(
            client.list_offset(&topic, 0, LATEST).offset,
            0,
            "life {life}"
        );
        assert!(client.read(&topic, 0, 0).is_empty(), "life {life}");
        // In order for a producer that is not known here, as it was in the life before.
        assert_eq!(client.produce(&topic, 0, sequence(0)), 0, "life {life}");
        assert_eq!(client.produce(&topic, 0, sequence(3)), 3, "life {life}");
        assert_eq!(client.read(&topic, 0, 0).len(), 6);
        client.delete_topic(&topic);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each life has an id of its own");
}

/// 56. Fetch by topic id: the id of the first life is not that of the second.
#[test]
fn an_old_id_fetches_nothing() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("lives-by-id");
    let first = client.create_topic(&topic, 1);
    client.delete_topic(&topic);
    let second = client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::counted(2));
    for version in FETCH.max(13)..=17 {
        let mut request = fetch_request(&topic, vec![fetch_partition(0, 0)]);
        request.topics[0].topic_id = first;
        let old = client.fetch_one(version, &request);
        assert_eq!(old.error_code, codes::UNKNOWN_TOPIC_ID, "v{version}");
        request.topics[0].topic_id = second;
        let new = client.fetch_one(version, &request);
        assert_eq!(
            (new.error_code, new.high_watermark),
            (codes::NONE, 2),
            "v{version}"
        );
        assert!(new.records.is_some_and(|records| !records.is_empty()));
    }
}
