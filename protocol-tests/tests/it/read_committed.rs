//! Isolation: what Fetch (1) and ListOffsets (2) show of transactions.

use std::time::{Duration, Instant};

use protocol_tests::batch::{CONTROL, TRANSACTIONAL};
use protocol_tests::calls::{
    EARLIEST, LATEST, LIST_OFFSETS, fetch_partition, fetch_request, list_offsets_request,
};
use protocol_tests::transactions::{Transactional, is_control, marks_abort};
use protocol_tests::{Batch, Broker, Client, codes, unique, wait_until};

fn settled(client: &mut Client, topic: &str, end: i64) {
    wait_until("the last stable offset to move on", || {
        client.fetch_committed(topic, 0, 0).last_stable == end
    });
}

/// 89. Committed records are seen when they are committed; both readers get the marker.
#[test]
fn a_commit_is_seen_at_once_or_not_at_all() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("rc-commit");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::of(&["plain"]));
    let mut producer = Transactional::new(&mut client);
    producer.add(&mut client, &topic, 0);
    assert_eq!(producer.write(&mut client, &topic, 0, &["a", "b"]), 1);
    let open = client.fetch_committed(&topic, 0, 0);
    assert_eq!((open.last_stable, open.high_watermark), (1, 3));
    assert_eq!(open.batches.len(), 1);
    assert_eq!(open.aborted, Some(vec![]));
    assert_eq!(client.read_text(&topic, 0), ["plain", "a", "b"]);
    assert_eq!(client.fetch_committed(&topic, 0, 2).batches.len(), 0);
    producer.end(&mut client, true);
    settled(&mut client, &topic, 4);
    assert_eq!(client.read_committed_text(&topic, 0), ["plain", "a", "b"]);
    let all = client.fetch_committed(&topic, 0, 0);
    assert_eq!(all.aborted, Some(vec![]));
    let marker = all.batches.last().expect("a marker");
    assert_eq!(marker.attributes, TRANSACTIONAL | CONTROL);
    assert_eq!((marker.base_offset, marker.base_sequence), (3, -1));
    assert_eq!(
        (marker.producer_id, marker.producer_epoch),
        (producer.producer_id, producer.epoch)
    );
    assert_eq!(marker.records.len(), 1);
    let record = &marker.records[0];
    assert_eq!(record.key.as_deref(), Some(&[0, 0, 0, 1][..]));
    let value = record.value.as_deref().expect("a value");
    assert_eq!((value.len(), &value[..2]), (6, &[0, 0][..]));
}

/// 89. Aborted records are listed for one reader and shown to the other; offsets have a gap.
#[test]
fn an_abort_is_listed() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("rc-abort");
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    producer.add(&mut client, &topic, 0);
    producer.write(&mut client, &topic, 0, &["a", "b"]);
    producer.end(&mut client, false);
    settled(&mut client, &topic, 3);
    assert_eq!(client.produce(&topic, 0, Batch::of(&["plain"])), 3);
    let fetched = client.fetch_committed(&topic, 0, 0);
    assert_eq!(fetched.aborted, Some(vec![(producer.producer_id, 0)]));
    assert!(is_control(&fetched.batches[1]) && marks_abort(&fetched.batches[1]));
    assert_eq!(client.read_committed_text(&topic, 0), ["plain"]);
    // At the marker it is still listed, behind it no more.
    for (offset, listed) in [(1, 1), (2, 1), (3, 0)] {
        let fetched = client.fetch_committed(&topic, 0, offset);
        assert_eq!(fetched.aborted.map(|all| all.len()), Some(listed));
    }
    let plain = client.try_fetch(&topic, 0, 0);
    assert_eq!(plain.aborted_transactions, None);
    let seen = client.read(&topic, 0, 0).len();
    assert_eq!(seen, 4, "two aborted, a marker, one more");
}

/// 96. From any offset, in fetches of any size, exactly the committed records are seen.
#[test]
fn exactly_what_was_committed_is_seen_from_everywhere() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for round in 0..3_u32 {
        let topic = unique("rc-property");
        client.create_topic(&topic, 1);
        let mut producers: Vec<_> = (0..4).map(|_| Transactional::new(&mut client)).collect();
        let mut written: Vec<Vec<i64>> = vec![Vec::new(); producers.len()];
        let mut committed = Vec::new();
        let mut end = 0;
        let mut numbers = Numbers(round + 1);
        for _ in 0..60 {
            end += 1;
            let which = numbers.next() as usize % 5;
            if which == 4 {
                committed.push(client.produce(&topic, 0, Batch::of(&["plain"])));
                continue;
            }
            let producer = &mut producers[which];
            match numbers.next() % 3 {
                0 if !written[which].is_empty() => {
                    let commit = numbers.next().is_multiple_of(2);
                    producer.end(&mut client, commit);
                    let ended = std::mem::take(&mut written[which]);
                    if commit {
                        committed.extend(ended);
                    }
                }
                _ => {
                    producer.add(&mut client, &topic, 0);
                    written[which].push(producer.write(&mut client, &topic, 0, &["x"]));
                }
            }
        }
        for (producer, written) in producers.iter_mut().zip(&written) {
            if !written.is_empty() {
                producer.end(&mut client, false);
                end += 1;
            }
        }
        committed.sort_unstable();
        settled(&mut client, &topic, end);
        for from in 0..=end {
            let expected: Vec<_> = committed.iter().filter(|o| **o >= from).copied().collect();
            for max_bytes in [1, 300, 1 << 20] {
                let seen = client.read_committed_in(&topic, 0, from, max_bytes);
                let seen: Vec<_> = seen.iter().map(|record| record.offset).collect();
                assert_eq!(
                    seen, expected,
                    "round {round}, from {from}, {max_bytes} bytes"
                );
            }
        }
    }
}

/// Numbers that are the same in every run.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 16
    }
}

/// 65. The end of the log is the last stable offset for those who read only what is committed.
#[test]
fn offsets_end_where_transactions_are_open() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("rc-offsets");
    client.create_topic(&topic, 1);
    client.produce(&topic, 0, Batch::of(&["plain"]).timestamps(&[1_000]));
    let mut producer = Transactional::new(&mut client);
    producer.add(&mut client, &topic, 0);
    let open = producer.batch(&topic, 0, &["a"]).timestamps(&[2_000]);
    producer.send(&mut client, 11, &topic, 0, &open);
    let find = |client: &mut Client, isolation, timestamp| {
        let mut request = list_offsets_request(&topic, 0, timestamp);
        request.isolation_level = isolation;
        let answer = client.call(LIST_OFFSETS, &request);
        answer.topics[0].partitions[0].offset
    };
    for (timestamp, uncommitted, committed) in [
        (LATEST, 2, 1),
        (EARLIEST, 0, 0),
        (500, 0, 0),
        (1_500, 1, -1),
    ] {
        assert_eq!(find(&mut client, 0, timestamp), uncommitted, "{timestamp}");
        assert_eq!(find(&mut client, 1, timestamp), committed, "{timestamp}");
    }
    producer.end(&mut client, false);
    settled(&mut client, &topic, 3);
    assert_eq!(find(&mut client, 1, LATEST), 3);
    assert_eq!(find(&mut client, 1, 1_500), 1);
}

/// A waiting reader is woken by the end of a transaction, not by its records.
#[test]
fn a_waiting_reader_is_woken_by_the_end() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("rc-wait");
    client.create_topic(&topic, 1);
    let mut producer = Transactional::new(&mut client);
    producer.add(&mut client, &topic, 0);
    producer.write(&mut client, &topic, 0, &["a"]);
    let mut request = fetch_request(&topic, vec![fetch_partition(0, 0)]);
    request.isolation_level = 1;
    request.max_wait_ms = 15_000;
    let mut waiting = broker.connect();
    let pending = waiting.send(12, &request);
    let begun = Instant::now();
    producer.write(&mut client, &topic, 0, &["b"]);
    waiting.assert_silent(Duration::from_millis(300));
    producer.end(&mut client, true);
    let answer = waiting.receive(pending);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, codes::NONE);
    let bytes = partition.records.clone().expect("records are never null");
    assert!(!protocol_tests::records::batches(bytes).is_empty());
}

/// 88. What was open, committed and aborted stays so over kills, and the log start moves over it.
#[test]
fn transactions_survive_kills() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("t", 1);
    let mut aborted = Transactional::new(&mut client);
    let mut open = Transactional::new(&mut client);
    aborted.add(&mut client, "t", 0);
    aborted.write(&mut client, "t", 0, &["a"]);
    aborted.end(&mut client, false);
    open.add(&mut client, "t", 0);
    open.write(&mut client, "t", 0, &["b"]);
    for _ in 0..2 {
        broker.kill();
        broker.restart();
        client = broker.connect();
        let fetched = client.fetch_committed("t", 0, 0);
        assert_eq!((fetched.last_stable, fetched.high_watermark), (2, 3));
        assert_eq!(fetched.aborted, Some(vec![(aborted.producer_id, 0)]));
    }
    // The transaction goes on where it was.
    open.write(&mut client, "t", 0, &["c"]);
    open.end(&mut client, true);
    assert_eq!(client.read_committed_text("t", 0), ["b", "c"]);
    client.delete_records("t", 0, 2);
    aborted.add(&mut client, "t", 0);
    aborted.write(&mut client, "t", 0, &["d"]);
    aborted.end(&mut client, false);
    broker.kill();
    broker.restart();
    client = broker.connect();
    let fetched = client.fetch_committed("t", 0, 2);
    assert_eq!(fetched.aborted, Some(vec![(aborted.producer_id, 5)]));
    let seen = client.read_committed("t", 0, 2);
    let seen: Vec<_> = seen.iter().map(|record| record.text()).collect();
    assert_eq!(seen, ["b", "c"]);
}
