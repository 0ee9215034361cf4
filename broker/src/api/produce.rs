//! Produce (0), versions 3-13; 0-2 are advertised and close the connection.
//!
//! librdkafka up to 2.11.0 turns compression off unless version 0 is in the range (KAFKA-18659); no
//! client that knows record batches ever sends versions 0 to 2.
//!
//! Two stages: the first checks every batch and queues it, in the order of arrival; the second waits
//! until all are durable. acks=1 and acks=-1 are the same: the records would survive a crash.
//! acks=0 gets no response; a failure closes the connection, the only way to tell.
//!
//! A transactional batch is stored only while its partition is part of the producer's open transaction,
//! of which the coordinator is asked first; at v12 the partition is added if need be (KIP-890).
//!
//! What is not durable within `timeout_ms` is answered REQUEST_TIMED_OUT, as in Kafka; it may be stored
//! all the same, and an idempotent producer's retry is then recognised.
//!
//! v7 zstd; v8 errors by record; v11 TRANSACTION_ABORTABLE; v12 partitions join transactions by being
//! written to; v13 topics by id instead of by name (KIP-516).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt;
use futures::future::FusedFuture;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::produce_request::{PartitionData, ProduceRequest, TopicKey};
use super::{Outcome, errors, reply, timeout};
use crate::coordinator::txn::{Owner, TxnError};
use crate::metadata::Topic;
use crate::partition::batch::{self, BatchError, Header, Rules};
use crate::partition::{AppendError, Receipt};
use crate::types::Offset;

/// KIP-110: zstd came with this version.
const ZSTD_SINCE: i16 = 7;

/// KIP-890: a transactional batch adds its partition to the transaction from this version on.
const ADDS_SINCE: i16 = 12;

/// Topics that only a broker writes.
const INTERNAL_TOPICS: [&str; 3] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
];

/// Stage one, and stage two as [`Outcome::Later`].
pub(super) async fn handle(ctx: Context, body: BytesMut) -> Outcome {
    let request = match ProduceRequest::decode(body, ctx.version) {
        Ok(request) => request,
        Err(malformed) => return Outcome::Close(malformed.to_string()),
    };
    let acks = request.acks;
    let timeout = timeout::duration(request.timeout_ms);
    let refusal = refuse_whole(&request);
    let join = Join::of(&ctx, &request, refusal.is_some()).await;
    // Until the guard is dropped no end of the transaction is told to a partition.
    let gate = match &join {
        Some(join) => Some(ctx.rooms.transactions.enter(&join.id).await),
        None => None,
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = find(&ctx, &topic.topic).cloned();
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for data in topic.partitions {
            let index = data.index;
            let queued = match &refusal {
                Some(refused) => Err(refused.clone()),
                None => append(&ctx, &topic.topic, found.as_ref(), data, join.as_ref()).await,
            };
            partitions.push((index, queued));
        }
        topics.push((topic.topic, partitions));
    }
    drop(gate);
    if acks == 0 {
        let failed = topics
            .iter()
            .flat_map(|(_, partitions)| partitions)
            .find_map(|(_, queued)| queued.as_ref().err());
        return match failed {
            None => Outcome::Silent,
            Some(refused) => {
                Outcome::Close(format!("acks=0 and a batch failed: {}", refused.message))
            }
        };
    }
    Outcome::Later(Box::pin(answer(ctx, topics, timeout)))
}

fn find<'a>(ctx: &'a Context, key: &TopicKey) -> Option<&'a Arc<Topic>> {
    match key {
        TopicKey::Name(name) => ctx.image.topic(name),
        TopicKey::Id(id) => ctx.image.topic_by_id(id),
    }
}

/// A batch that has its place, and where its log starts.
struct Queued {
    receipt: Receipt,
    log_start: Offset,
}

/// Why a batch has none.
#[derive(Clone)]
struct Refused {
    code: ResponseError,
    message: String,
    records: Vec<(i32, &'static str)>,
}

impl Refused {
    fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }
}

impl From<BatchError> for Refused {
    fn from(error: BatchError) -> Self {
        let code = errors::batch(&error);
        let message = error.to_string();
        let records = match error {
            BatchError::Invalid { records, .. } | BatchError::Timestamp { records, .. } => records,
            BatchError::Corrupt(_)
            | BatchError::TooLarge { .. }
            | BatchError::UnsupportedCompression => Vec::new(),
        };
        Self {
            code,
            message,
            records,
        }
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        Self::new(errors::append(&error), error.to_string())
    }
}

impl From<trestle_storage::Error> for Refused {
    fn from(error: trestle_storage::Error) -> Self {
        Self::new(errors::storage(&error), error.to_string())
    }
}

/// A transaction that batches of the request are part of.
struct Join {
    id: String,
    /// Why partitions that were not part of it yet are not now.
    failed: Option<TxnError>,
}

impl Join {
    /// The transaction of `request`, if there is one; its partitions are added if the version says so.
    async fn of(ctx: &Context, request: &ProduceRequest, refused: bool) -> Option<Self> {
        let id = request.transactional_id.clone()?;
        let (_, first) = transactional(request).next()?;
        let mut join = Self { id, failed: None };
        if refused || ctx.version < ADDS_SINCE {
            return Some(join);
        }
        let owner = join.owner(&first);
        let mut missing = Vec::new();
        for topic in &request.topics {
            let Some(found) = find(ctx, &topic.topic) else {
                continue;
            };
            for data in &topic.partitions {
                let exists =
                    usize::try_from(data.index).is_ok_and(|index| index < found.partitions.len());
                let partition = (found.id, data.index);
                if exists
                    && is_transactional(data).is_some()
                    && ctx.rooms.transactions.verify(owner, &partition).is_err()
                {
                    missing.push(partition);
                }
            }
        }
        if !missing.is_empty() {
            // The batches are committed behind this, in the same store.
            let added = ctx.rooms.transactions.add(owner, missing, None, true).await;
            join.failed = added.err();
        }
        Some(join)
    }

    fn owner(&self, header: &Header) -> Owner<'_> {
        Owner {
            id: &self.id,
            producer: header.producer_id,
            epoch: header.producer_epoch,
        }
    }
}

fn is_transactional(data: &PartitionData) -> Option<Header> {
    Header::parse(&data.records).filter(Header::is_transactional)
}

/// The transactional batches of a request: where they are, and their headers.
fn transactional(request: &ProduceRequest) -> impl Iterator<Item = (i32, Header)> {
    let batches = request.topics.iter().flat_map(|topic| &topic.partitions);
    batches.filter_map(|data| Some((data.index, is_transactional(data)?)))
}

/// The checks that concern the request and not one partition.
fn refuse_whole(request: &ProduceRequest) -> Option<Refused> {
    let mut batches = transactional(request).map(|(_, header)| header);
    if let Some(first) = batches.next() {
        if request.transactional_id.is_none() {
            return Some(Refused::new(
                ResponseError::TransactionalIdAuthorizationFailed,
                "a transactional batch in a request without a transactional id",
            ));
        }
        if batches.any(|other| other.producer_id != first.producer_id) {
            return Some(Refused::new(
                ResponseError::InvalidProducerIdMapping,
                "transactional batches of more than one producer",
            ));
        }
    }
    if !(-1..=1).contains(&request.acks) {
        return Some(Refused::new(
            ResponseError::InvalidRequiredAcks,
            format!("acks={}; it can be -1 (all), 0 or 1", request.acks),
        ));
    }
    None
}

fn unknown(name: &str, index: i32) -> Refused {
    let message = format!("partition {index} of topic {name:?} does not exist");
    Refused::new(ResponseError::UnknownTopicOrPartition, message)
}

/// Stage one for one partition.
async fn append(
    ctx: &Context,
    key: &TopicKey,
    topic: Option<&Arc<Topic>>,
    data: PartitionData,
    join: Option<&Join>,
) -> Result<Queued, Refused> {
    let rooms = &ctx.rooms;
    let topic = topic.ok_or_else(|| match key {
        TopicKey::Name(name) => unknown(name, data.index),
        TopicKey::Id(id) => {
            let message = format!("there is no topic with the id {id}");
            Refused::new(ResponseError::UnknownTopicId, message)
        }
    })?;
    let name = &*topic.name;
    let partition = rooms
        .partitions
        .get(topic, data.index)
        .await?
        .ok_or_else(|| unknown(name, data.index))?;
    if INTERNAL_TOPICS.contains(&name) {
        let message = format!("{name} is written by the broker alone");
        return Err(Refused::new(ResponseError::InvalidTopicException, message));
    }
    let now = rooms.env.now();
    let max_bytes = rooms.config.decompressed_batch_max_bytes;
    let rules = Rules::of(&topic.config, ctx.version >= ZSTD_SINCE, max_bytes);
    let records = data.records;
    let batch = match rules.repacks(&records) {
        // Its connection waits for it, and others do not.
        true => {
            rooms
                .env
                .compute(move || batch::check(records, &rules, now))
                .await?
        }
        false => batch::check(records, &rules, now)?,
    };
    if let Some(join) = join
        && batch.header.is_transactional()
    {
        let part = (topic.id, data.index);
        if let Err(error) = rooms.transactions.verify(join.owner(&batch.header), &part) {
            let error = join.failed.clone().unwrap_or(error.into());
            let code = errors::joining(&error, ctx.version);
            return Err(Refused::new(code, error.to_string()));
        }
    }
    partition.prepare(now).await?;
    let (bytes, records) = (batch.bytes.len(), batch.header.record_count);
    let receipt = partition.append(batch, now, ctx.image.config.producer_id_expiration_ms)?;
    rooms.metrics.partition.produced(bytes, records);
    Ok(Queued {
        receipt,
        log_start: partition.offsets().log_start,
    })
}

type Appends = Vec<(TopicKey, Vec<(i32, Result<Queued, Refused>)>)>;

/// Stage two.
async fn answer(ctx: Context, topics: Appends, timeout: Duration) -> Outcome {
    let late = ctx.rooms.env.sleep(timeout).fuse();
    tokio::pin!(late);
    let mut responses = Vec::with_capacity(topics.len());
    for (key, partitions) in topics {
        let mut answers = Vec::with_capacity(partitions.len());
        for (index, queued) in partitions {
            answers.push(answer_partition(&ctx, index, queued, late.as_mut()).await);
        }
        let response = TopicProduceResponse::default().with_partition_responses(answers);
        responses.push(match key {
            TopicKey::Name(name) => response.with_name(TopicName(StrBytes::from_string(name))),
            TopicKey::Id(id) => response.with_topic_id(id),
        });
    }
    reply(&ctx, &ProduceResponse::default().with_responses(responses))
}

/// Waits until the records are durable; no longer once `late` is over.
async fn durable(
    receipt: Receipt,
    late: Pin<&mut impl FusedFuture<Output = ()>>,
) -> Result<(), Refused> {
    let is_late = || {
        let message = "the records are not durable yet; they may be stored all the same";
        Err(Refused::new(ResponseError::RequestTimedOut, message))
    };
    let durable = receipt.durable();
    tokio::pin!(durable);
    if late.is_terminated() {
        return match durable.now_or_never() {
            Some(durable) => Ok(durable?),
            None => is_late(),
        };
    }
    tokio::select! {
        biased;
        durable = durable => Ok(durable?),
        () = late => is_late(),
    }
}

async fn answer_partition(
    ctx: &Context,
    index: i32,
    queued: Result<Queued, Refused>,
    late: Pin<&mut impl FusedFuture<Output = ()>>,
) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index);
    let refused = match queued {
        Ok(Queued { receipt, log_start }) => {
            let base_offset = receipt.base_offset;
            let log_append_time_ms = receipt.log_append_time.unwrap_or(-1);
            match durable(receipt, late).await {
                Ok(()) => {
                    return answer
                        .with_base_offset(base_offset)
                        .with_log_append_time_ms(log_append_time_ms)
                        .with_log_start_offset(if ctx.version >= 5 { log_start } else { -1 });
                }
                Err(refused) => refused,
            }
        }
        Err(refused) => refused,
    };
    ctx.rooms.metrics.api.error("Produce", refused.code);
    let answer = answer
        .with_error_code(refused.code.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1);
    if ctx.version < 8 {
        return answer;
    }
    let records = refused.records.into_iter().map(|(batch_index, message)| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(batch_index)
            .with_batch_index_error_message(Some(StrBytes::from_static_str(message)))
    });
    answer
        .with_error_message(Some(StrBytes::from_string(refused.message)))
        .with_record_errors(records.collect())
}
