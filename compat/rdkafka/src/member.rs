//! A member of a group, which reads in a thread of its own and notes what happens to it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::client::config;

/// What a member has seen.
#[derive(Default)]
pub struct Log {
    /// The partitions that it has.
    pub owned: BTreeSet<i32>,
    /// What it was given (true) and gave up (false), in order.
    pub events: Vec<(bool, BTreeSet<i32>)>,
    /// Offset and value of what it has read and committed.
    pub records: Vec<(i64, String)>,
    /// What ended it.
    pub failed: Option<String>,
}

struct Context(Arc<Mutex<Log>>);

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let partitions = |list: &TopicPartitionList| -> BTreeSet<i32> {
            list.elements().iter().map(|one| one.partition()).collect()
        };
        let mut log = self.0.lock().expect("no panic under this lock");
        match rebalance {
            Rebalance::Assign(list) => {
                let given = partitions(list);
                log.owned.extend(&given);
                log.events.push((true, given));
            }
            Rebalance::Revoke(list) => {
                let gone = partitions(list);
                log.owned.retain(|one| !gone.contains(one));
                log.events.push((false, gone));
            }
            Rebalance::Error(error) => log.failed = Some(error.to_string()),
        }
    }
}

/// See the module.
pub struct Member {
    log: Arc<Mutex<Log>>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Joins; `settings` go before those that every member here has.
    pub fn join(
        group: &str,
        topic: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let log = Arc::new(Mutex::new(Log::default()));
        let mut all = config(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("reconnect.backoff.max.ms", "200"),
            ("fetch.wait.max.ms", "100"),
        ]);
        if !settings.iter().any(|(name, _)| *name == "group.protocol") {
            all.set("heartbeat.interval.ms", "500");
            all.set("session.timeout.ms", "60000");
        }
        for (name, value) in settings {
            all.set(*name, *value);
        }
        let consumer: BaseConsumer<Context> = all.create_with_context(Context(log.clone()))?;
        consumer.subscribe(&[topic])?;
        let closing = Arc::new(AtomicBool::new(false));
        let thread = {
            let (log, closing) = (log.clone(), closing.clone());
            std::thread::spawn(move || read(&consumer, &log, &closing))
        };
        Ok(Self {
            log,
            closing,
            thread: Some(thread),
        })
    }

    /// What it has seen so far.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no panic under this lock")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A record counts once its offset is committed: what a rebalance overtakes is left to the next owner.
fn read(consumer: &BaseConsumer<Context>, log: &Mutex<Log>, closing: &AtomicBool) {
    while !closing.load(Ordering::Relaxed) {
        let message = match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => message,
            Some(Err(error)) if !passing(&error) => {
                log.lock().expect("no panic under this lock").failed = Some(error.to_string());
                continue;
            }
            _ => continue,
        };
        while !closing.load(Ordering::Relaxed) {
            match consumer.commit_message(&message, CommitMode::Sync) {
                Ok(()) => {
                    let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
                    let mut log = log.lock().expect("no panic under this lock");
                    log.records.push((message.offset(), text.into_owned()));
                    break;
                }
                Err(error) if overtaken(&error) => break,
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Said in passing: librdkafka goes on trying.
fn passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::UnknownTopicOrPartition
                | Code::OperationTimedOut
        )
    )
}

fn overtaken(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::RebalanceInProgress
                | Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::StaleMemberEpoch
        )
    )
}

/// A member that says what it owns, until it is killed.
pub fn child(group: &str, topic: &str) {
    let member = Member::join(group, topic, &[("session.timeout.ms", "6000")]).expect("joining");
    let mut before = BTreeSet::new();
    loop {
        let owned = member.log().owned.clone();
        if owned != before {
            println!("{owned:?}");
            before = owned;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
