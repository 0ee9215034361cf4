//! kill -9 at random moments under load (43), `TRESTLE_CRASH_ROUNDS` times, 12 unless set: what was
//! acknowledged is at its offset with its bytes, offsets have no hole, a retry is recognised, and the
//! directory does not grow by more than what is live.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kafka_protocol::messages::ProduceRequest;
use protocol_tests::{Batch, Broker, Client, Pending, codes, wait_until};

const TOPIC: &str = "crash";
const WRITERS: i32 = 4;
const IN_FLIGHT: usize = 5;

/// An idempotent producer that has a partition to itself: the record of sequence n is at offset n.
#[derive(Debug)]
struct Writer {
    partition: i32,
    id: i64,
    epoch: i16,
    /// Records acknowledged so far: their offsets and sequences are 0 to this, exclusive.
    acknowledged: Arc<AtomicI64>,
    /// Batches sent and not acknowledged: first sequence and number of records.
    in_flight: Vec<(i64, usize)>,
}

/// The value that belongs at an offset: a few bytes or a few thousand.
fn value(partition: i32, offset: i64) -> Vec<u8> {
    let size = 20 + (offset as usize * 7919 + partition as usize * 104_729) % 3_000;
    format!("{partition}/{offset} ")
        .into_bytes()
        .into_iter()
        .cycle()
        .take(size)
        .collect()
}

impl Writer {
    fn batch(&self, (first, count): (i64, usize)) -> Batch {
        let values: Vec<Vec<u8>> = (first..)
            .take(count)
            .map(|offset| value(self.partition, offset))
            .collect();
        Batch::of(&values).producer(self.id, self.epoch, first as i32)
    }

    /// Writes until the connection breaks; what was under way then is retried first the next time.
    fn run(mut self, mut client: Client) -> Self {
        let mut pending = Vec::new();
        let retries = self.in_flight.clone();
        for batch in retries {
            pending.push(client.send_produce(TOPIC, self.partition, self.batch(batch)));
        }
        loop {
            while pending.len() < IN_FLIGHT {
                let first = self.in_flight.last().map_or(
                    self.acknowledged.load(Ordering::Relaxed),
                    |(first, count)| first + *count as i64,
                );
                let batch = (first, 1 + rand::random_range(0..4));
                self.in_flight.push(batch);
                pending.push(client.send_produce(TOPIC, self.partition, self.batch(batch)));
            }
            if !self.acknowledge(&mut client, pending.remove(0)) {
                return self;
            }
        }
    }

    /// The oldest batch's answer; false when the broker is gone.
    fn acknowledge(&mut self, client: &mut Client, pending: Pending<ProduceRequest>) -> bool {
        let Some(answer) = client.try_receive(pending) else {
            return false;
        };
        let answer = &answer.responses[0].partition_responses[0];
        let (first, count) = self.in_flight.remove(0);
        assert_eq!(
            answer.error_code,
            codes::NONE,
            "partition {} at {first}",
            self.partition
        );
        assert_eq!(answer.base_offset, first, "partition {}", self.partition);
        self.acknowledged
            .store(first + count as i64, Ordering::Relaxed);
        true
    }

    /// The log holds what was acknowledged and perhaps some of what was under way, and nothing else.
    fn verify(&self, client: &mut Client, from: i64) {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        let sent = self
            .in_flight
            .last()
            .map_or(acknowledged, |(first, count)| first + *count as i64);
        let read = client.read(TOPIC, self.partition, from);
        let end = client.end_offset(TOPIC, self.partition);
        assert!(
            (acknowledged..=sent).contains(&end),
            "{acknowledged} acknowledged, {end} kept, {sent} sent"
        );
        assert_eq!(
            read.len() as i64,
            end - from,
            "a hole in partition {}",
            self.partition
        );
        for (offset, record) in (from..).zip(read) {
            assert_eq!(record.offset, offset);
            assert!(
                record.value.as_deref() == Some(&value(self.partition, offset)[..]),
                "partition {} has other bytes at {offset}",
                self.partition
            );
        }
    }
}

fn disk_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("a directory");
    entries
        .map(|entry| {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                disk_bytes(&path)
            } else {
                path.metadata().map_or(0, |file| file.len())
            }
        })
        .sum()
}

#[test]
fn kills_under_load_lose_nothing() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    let rounds = std::env::var("TRESTLE_CRASH_ROUNDS")
        .map_or(12, |rounds| rounds.parse().expect("a number of rounds"));
    let mut client = broker.connect();
    client.create_topic(TOPIC, WRITERS);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|partition| {
            let (id, epoch) = client.init_producer();
            Writer {
                partition,
                id,
                epoch,
                acknowledged: Arc::default(),
                in_flight: Vec::new(),
            }
        })
        .collect();
    for round in 0..rounds {
        let before: Vec<i64> = writers
            .iter()
            .map(|writer| writer.acknowledged.load(Ordering::Relaxed))
            .collect();
        let counters: Vec<_> = writers
            .iter()
            .map(|writer| writer.acknowledged.clone())
            .collect();
        let threads: Vec<_> = writers
            .drain(..)
            .map(|writer| {
                let client = broker.connect();
                std::thread::spawn(move || writer.run(client))
            })
            .collect();
        // A moment that falls anywhere: in the first batch, in a flush, straight behind an answer.
        let more = 1 + rand::random_range(0..if round % 3 == 0 { 10 } else { 2_000 });
        let goal = before.iter().sum::<i64>() + more;
        wait_until("some acknowledgements", || {
            counters
                .iter()
                .map(|counter| counter.load(Ordering::Relaxed))
                .sum::<i64>()
                >= goal
                || threads.iter().any(|thread| thread.is_finished())
        });
        broker.kill();
        for thread in threads {
            writers.push(thread.join().expect("a writer"));
        }
        broker.restart();
        let mut client = broker.connect();
        for (writer, from) in writers.iter().zip(&before) {
            writer.verify(&mut client, *from);
        }
    }
    // What was under way at the last kill is retried, and all of the log is read once more.
    let mut client = broker.connect();
    for writer in &mut writers {
        for batch in writer.in_flight.clone() {
            let pending = client.send_produce(TOPIC, writer.partition, writer.batch(batch));
            assert!(writer.acknowledge(&mut client, pending));
        }
        writer.verify(&mut client, 0);
    }
    let live: u64 = writers
        .iter()
        .flat_map(|writer| {
            (0..writer.acknowledged.load(Ordering::Relaxed))
                .map(|offset| value(writer.partition, offset).len() as u64)
        })
        .sum();
    assert!(broker.terminate().success());
    let on_disk = disk_bytes(&broker.data_directory());
    let allowed = live + live / 4 + (4 << 20);
    assert!(
        on_disk < allowed,
        "{} MiB on disk for {} MiB of records",
        on_disk >> 20,
        live >> 20
    );
}
