//! A transactional producer, step by step: nothing happens that a test does not ask for, but for waiting
//! while a coordinator says that it is busy.

use std::collections::HashMap;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, InitProducerIdResponse,
};

use crate::batch::{Batch, Record, TRANSACTIONAL};
use crate::calls::{fetch_partition, fetch_request, produce_request, text, topic_name};
use crate::client::Client;
use crate::records::{self, StoredBatch};
use crate::wait::wait_for;
use crate::{codes, unique};

/// Version of AddPartitionsToTxn that producers use.
pub const ADD_PARTITIONS: i16 = 3;
/// Version of EndTxn of producers whose epoch does not rise with every end.
pub const END_TXN: i16 = 4;
/// Version of EndTxn of those whose epoch does (KIP-890).
pub const END_TXN_RAISING: i16 = 5;
/// Version of Produce that adds partitions to transactions (KIP-890).
pub const PRODUCE_ADDING: i16 = 12;

/// A coordinator says one of these while it is not ready; the same request succeeds later.
const BUSY: [i16; 4] = [
    codes::COORDINATOR_LOAD_IN_PROGRESS,
    codes::COORDINATOR_NOT_AVAILABLE,
    codes::NOT_COORDINATOR,
    codes::CONCURRENT_TRANSACTIONS,
];

/// A producer with a transactional id.
#[derive(Clone, Debug)]
pub struct Transactional {
    /// The transactional id.
    pub id: String,
    /// The producer id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub epoch: i16,
    sequences: HashMap<(String, i32), i32>,
}

/// An InitProducerId request for a transactional id.
pub fn init_request(id: &str, timeout_ms: i32, own: Option<(i64, i16)>) -> InitProducerIdRequest {
    let (producer_id, epoch) = own.unwrap_or((-1, -1));
    InitProducerIdRequest::default()
        .with_transactional_id(Some(text(id).into()))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(producer_id.into())
        .with_producer_epoch(epoch)
}

/// Asks until the coordinator is not busy.
pub fn init(
    client: &mut Client,
    version: i16,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    wait_for("a coordinator that is not busy", || {
        let find = FindCoordinatorRequest::default()
            .with_key_type(1)
            .with_coordinator_keys(vec![text("any")]);
        client.call(4, &find);
        let response = client.call(version, request);
        (!BUSY.contains(&response.error_code)).then_some(response)
    })
}

impl Transactional {
    /// A producer with an id of its own.
    pub fn new(client: &mut Client) -> Self {
        Self::with_id(client, &unique("txn"), 60_000)
    }

    /// A producer that takes `id` over.
    pub fn with_id(client: &mut Client, id: &str, timeout_ms: i32) -> Self {
        let answer = init(client, 4, &init_request(id, timeout_ms, None));
        assert_eq!(answer.error_code, codes::NONE, "InitProducerId for {id}");
        Self {
            id: id.to_owned(),
            producer_id: answer.producer_id.0,
            epoch: answer.producer_epoch,
            sequences: HashMap::new(),
        }
    }

    /// Adds partitions of one topic to the transaction: the code of each.
    pub fn try_add(&self, client: &mut Client, topic: &str, partitions: &[i32]) -> Vec<i16> {
        wait_for("partitions to be added", || {
            let codes = self.add_once(client, ADD_PARTITIONS, topic, partitions);
            (!codes.iter().any(|code| BUSY.contains(code))).then_some(codes)
        })
    }

    /// The same, asked once, at a version.
    pub fn add_once(
        &self,
        client: &mut Client,
        version: i16,
        topic: &str,
        partitions: &[i32],
    ) -> Vec<i16> {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(partitions.to_vec());
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(text(&self.id).into())
            .with_v3_and_below_producer_id(self.producer_id.into())
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let answer = client.call(version, &request);
        let topics = answer.results_by_topic_v3_and_below.into_iter();
        let results = topics.flat_map(|topic| topic.results_by_partition);
        let codes: HashMap<_, _> = results
            .map(|result| (result.partition_index, result.partition_error_code))
            .collect();
        partitions.iter().map(|index| codes[index]).collect()
    }

    /// Adds one partition.
    pub fn add(&self, client: &mut Client, topic: &str, partition: i32) {
        assert_eq!(self.try_add(client, topic, &[partition]), [codes::NONE]);
    }

    /// Adds the offsets of a group to the transaction.
    pub fn add_offsets(&self, client: &mut Client, group: &str) -> i16 {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(text(&self.id).into())
            .with_producer_id(self.producer_id.into())
            .with_producer_epoch(self.epoch)
            .with_group_id(text(group).into());
        wait_for("offsets to be added", || {
            let code = client.call(3, &request).error_code;
            (!BUSY.contains(&code)).then_some(code)
        })
    }

    /// The next batch of one record for each value.
    pub fn batch(&mut self, topic: &str, partition: i32, values: &[&str]) -> Batch {
        let next = self
            .sequences
            .entry((topic.to_owned(), partition))
            .or_default();
        let batch =
            Batch::of(values)
                .flags(TRANSACTIONAL)
                .producer(self.producer_id, self.epoch, *next);
        *next += values.len() as i32;
        batch
    }

    /// Sends a batch as part of the transaction: the code and the base offset.
    pub fn send(
        &self,
        client: &mut Client,
        version: i16,
        topic: &str,
        partition: i32,
        batch: &Batch,
    ) -> (i16, i64) {
        let request = produce_request(topic, partition, batch)
            .with_transactional_id(Some(text(&self.id).into()));
        let answer = client.call(version, &request);
        let partition = &answer.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    /// Writes to a partition that was added: the base offset.
    pub fn write(
        &mut self,
        client: &mut Client,
        topic: &str,
        partition: i32,
        values: &[&str],
    ) -> i64 {
        let batch = self.batch(topic, partition, values);
        let (code, offset) = self.send(client, 11, topic, partition, &batch);
        assert_eq!(code, codes::NONE, "writing to {topic}/{partition}");
        offset
    }

    /// Ends the transaction at a version, asked once: the code.
    pub fn end_once(&mut self, client: &mut Client, version: i16, commit: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(text(&self.id).into())
            .with_producer_id(self.producer_id.into())
            .with_producer_epoch(self.epoch)
            .with_committed(commit);
        let answer = client.call(version, &request);
        if version >= END_TXN_RAISING && answer.error_code == codes::NONE {
            self.go_on_as(answer.producer_id.0, answer.producer_epoch);
        }
        answer.error_code
    }

    /// The same, asked until the coordinator is not busy.
    pub fn try_end(&mut self, client: &mut Client, version: i16, commit: bool) -> i16 {
        wait_for("the transaction to end", || {
            let code = self.end_once(client, version, commit);
            (!BUSY.contains(&code)).then_some(code)
        })
    }

    /// Ends the transaction; the epoch stays.
    pub fn end(&mut self, client: &mut Client, commit: bool) {
        let code = self.try_end(client, END_TXN, commit);
        assert_eq!(code, codes::NONE, "ending (commit: {commit})");
    }

    /// Has another id and epoch from now on; sequences begin anew.
    pub fn go_on_as(&mut self, producer_id: i64, epoch: i16) {
        if (self.producer_id, self.epoch) != (producer_id, epoch) {
            (self.producer_id, self.epoch) = (producer_id, epoch);
            self.sequences.clear();
        }
    }
}

/// What one read_committed Fetch gave.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The error code.
    pub error_code: i16,
    /// The last stable offset.
    pub last_stable: i64,
    /// The high watermark.
    pub high_watermark: i64,
    /// Producer and first offset of the aborted transactions; `None` for null.
    pub aborted: Option<Vec<(i64, i64)>>,
    /// The batches.
    pub batches: Vec<StoredBatch>,
}

impl Client {
    /// One Fetch with read_committed, which does not wait.
    pub fn fetch_committed(&mut self, topic: &str, partition: i32, offset: i64) -> Committed {
        self.fetch_committed_up_to(topic, partition, offset, 1 << 20)
    }

    /// The same, of at most so many bytes.
    pub fn fetch_committed_up_to(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: i32,
    ) -> Committed {
        let asked = fetch_partition(partition, offset).with_partition_max_bytes(max_bytes);
        let mut request = fetch_request(topic, vec![asked]);
        request.isolation_level = 1;
        let answer = self.fetch_one(12, &request);
        let bytes = answer.records.expect("records are never null");
        Committed {
            error_code: answer.error_code,
            last_stable: answer.last_stable_offset,
            high_watermark: answer.high_watermark,
            aborted: answer.aborted_transactions.map(|all| {
                let all = all.iter();
                all.map(|one| (one.producer_id.0, one.first_offset))
                    .collect()
            }),
            batches: records::batches(records::without_cut_batch(bytes)),
        }
    }

    /// Every record that a read_committed consumer that starts at `offset` sees, up to the last stable
    /// offset. Filters as Kafka's consumer does: by the list of aborted transactions and the markers.
    pub fn read_committed(&mut self, topic: &str, partition: i32, offset: i64) -> Vec<Record> {
        self.read_committed_in(topic, partition, offset, 1 << 20)
    }

    /// The same, in fetches of at most so many bytes.
    pub fn read_committed_in(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        max_bytes: i32,
    ) -> Vec<Record> {
        let mut seen = Vec::new();
        let mut offset = from;
        loop {
            let fetched = self.fetch_committed_up_to(topic, partition, offset, max_bytes);
            assert_eq!(fetched.error_code, codes::NONE);
            let mut aborted = fetched.aborted.expect("a list, if an empty one");
            aborted.sort_by_key(|(_, first)| *first);
            let mut aborted = aborted.into_iter().peekable();
            let mut skipping = std::collections::HashSet::new();
            for batch in fetched.batches {
                let last = batch.base_offset + i64::from(batch.last_offset_delta);
                while aborted.peek().is_some_and(|(_, first)| *first <= last) {
                    let (producer, _) = aborted.next().expect("peeked");
                    skipping.insert(producer);
                }
                offset = last + 1;
                if is_control(&batch) {
                    if marks_abort(&batch) {
                        skipping.remove(&batch.producer_id);
                    }
                } else if batch.attributes & TRANSACTIONAL == 0
                    || !skipping.contains(&batch.producer_id)
                {
                    let records = batch.records.into_iter();
                    seen.extend(records.filter(|record| record.offset >= from));
                }
            }
            if offset >= fetched.last_stable {
                return seen;
            }
        }
    }

    /// The values of [`Client::read_committed`] from the start.
    pub fn read_committed_text(&mut self, topic: &str, partition: i32) -> Vec<String> {
        let records = self.read_committed(topic, partition, 0);
        let texts = records.iter().map(|record| record.text().to_owned());
        texts.collect()
    }
}

/// Whether a stored batch is a control batch.
pub fn is_control(batch: &StoredBatch) -> bool {
    batch.attributes & crate::batch::CONTROL != 0
}

/// Whether a control batch is an abort marker.
pub fn marks_abort(batch: &StoredBatch) -> bool {
    let key = batch.records[0].key.as_ref().expect("a marker has a key");
    key[..] == [0, 0, 0, 0]
}
