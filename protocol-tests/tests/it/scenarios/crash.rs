//! kill -9 at random moments under load (43), `TRESTLE_CRASH_ROUNDS` times, 12 unless set: what was
//! acknowledged is at its offset with its bytes, offsets have no hole, a retry is recognised, and the
//! directory does not grow by more than what is live.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kafka_protocol::messages::ProduceRequest;
use protocol_tests::{Batch, Broker, Client, Pending, codes, wait_for, wait_until};

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
    fn new(client: &mut Client, partition: i32) -> Self {
        let (id, epoch) = client.init_producer();
        Self {
            partition,
            id,
            epoch,
            acknowledged: Arc::default(),
            in_flight: Vec::new(),
        }
    }

    fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

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
        let acknowledged = self.acknowledged();
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

/// Bytes of the files below a directory; they come and go while we look.
fn disk_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// With the settings that everybody has.
#[test]
fn kills_under_load_lose_nothing() {
    kill_under_load(&[]);
}

/// With small tables, files and segments, so that kills fall into flushes, rolls and compactions; and
/// the directory is back to what is live soon after.
#[test]
fn kills_during_upkeep_lose_nothing_and_leave_nothing() {
    let settings = [
        "trestle.memtable.bytes=1048576",
        "trestle.wal.file.bytes=1048576",
        "trestle.segment.bytes=4194304",
        "trestle.upkeep.interval.ms=100",
        "trestle.reclaim.delay.ms=500",
    ];
    let arguments: Vec<&str> = settings
        .iter()
        .flat_map(|setting| ["--set", setting])
        .collect();
    let Some((broker, live)) = kill_under_load(&arguments) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("after", 1);
    let data = broker.data_directory();
    let allowed = live + live / 4 + (4 << 20);
    wait_for("the disk use of what is live", || {
        // The store looks after itself while it is written to.
        client.produce("after", 0, Batch::counted(1));
        let used = disk_bytes(&data);
        (used < allowed).then_some(())
    });
}

/// The broker after the last round, running, and the bytes of the records in it.
fn kill_under_load(arguments: &[&str]) -> Option<(Broker, u64)> {
    let mut broker = Broker::on_disk(arguments)?;
    let rounds = std::env::var("TRESTLE_CRASH_ROUNDS");
    let rounds: u32 = rounds.map_or(12, |rounds| rounds.parse().expect("a number of rounds"));
    let mut client = broker.connect();
    client.create_topic(TOPIC, WRITERS);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|partition| Writer::new(&mut client, partition))
        .collect();
    for round in 0..rounds {
        let before: Vec<i64> = writers.iter().map(Writer::acknowledged).collect();
        // A moment that falls anywhere: in the first batch, in a flush, straight behind an answer.
        let more = 1 + rand::random_range(0..if round % 3 == 0 { 10 } else { 2_000 });
        writers = write_until_killed(&mut broker, writers, before.iter().sum::<i64>() + more);
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
    let values = writers.iter().flat_map(|writer| {
        (0..writer.acknowledged()).map(|offset| value(writer.partition, offset).len() as u64)
    });
    Some((broker, values.sum()))
}

/// Lets the writers write until that many records are acknowledged, and kills the broker under them.
fn write_until_killed(broker: &mut Broker, writers: Vec<Writer>, goal: i64) -> Vec<Writer> {
    let counters: Vec<_> = writers
        .iter()
        .map(|writer| writer.acknowledged.clone())
        .collect();
    let threads: Vec<_> = writers
        .into_iter()
        .map(|writer| {
            let client = broker.connect();
            std::thread::spawn(move || writer.run(client))
        })
        .collect();
    wait_until("some acknowledgements", || {
        let acknowledged: i64 = counters
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum();
        acknowledged >= goal || threads.iter().any(|thread| thread.is_finished())
    });
    broker.kill();
    threads
        .into_iter()
        .map(|thread| thread.join().expect("a writer"))
        .collect()
}
