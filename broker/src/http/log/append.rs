//! `POST /api/v1/log/append`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trestle_storage::Log;

use super::error::ApiError;
use super::message::{AppendRequest, AppendResponse, NewRecord};
use super::names::{Name, own_log, shown};
use crate::broker::Rooms;
use crate::metadata::{MetadataError, NewTopic, Topic, is_internal};
use crate::partition::batch::{self, CheckedBatch, Rules};
use crate::partition::records::{self, Record};
use crate::partition::{AppendError, Part, Partition, Wait, append_together};
use crate::types::PartitionIndex;

/// How long an append waits for room in the store before the client is told to come back.
const ROOM: Duration = Duration::from_secs(2);

/// Where a record goes.
#[derive(Clone)]
enum Target {
    Partition(Arc<Topic>, Arc<Partition>),
    Free(Log),
}

impl Target {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Partition(_, a), Self::Partition(_, b)) => Arc::ptr_eq(a, b),
            (Self::Free(a), Self::Free(b)) => a.key() == b.key(),
            (Self::Partition(..), Self::Free(_)) | (Self::Free(_), Self::Partition(..)) => false,
        }
    }
}

/// Appends all records, or none.
pub(super) async fn append(
    rooms: &Arc<Rooms>,
    request: AppendRequest,
) -> Result<AppendResponse, ApiError> {
    if rooms.store.is_read_only() {
        return Err(AppendError::ReadOnly.into());
    }
    let records_appended = request.records.len();
    if records_appended == 0 {
        return Ok(AppendResponse {
            records_appended,
            start_sequence: rooms.store.durable_sequence(),
        });
    }
    let targets = targets(rooms, &request.records).await?;
    let now = rooms.env.now();
    for target in targets.values() {
        if let Target::Partition(_, partition) = target {
            // Waits for room, but not as long as it takes.
            match rooms.env.timeout(ROOM, partition.prepare(now)).await {
                Some(prepared) => prepared?,
                None => return Err(busy()),
            }
        }
    }
    if rooms.env.timeout(ROOM, rooms.store.ready()).await.is_none() {
        return Err(busy());
    }
    let wait = match request.await_durable {
        true => Wait::Durable,
        false => Wait::Written,
    };
    let parts = parts(rooms, &targets, request.records)?;
    let expiration_ms = rooms.config.producer_id_expiration_ms;
    let start_sequence = append_together(&rooms.store, parts, wait, now, expiration_ms).await?;
    Ok(AppendResponse {
        records_appended,
        start_sequence,
    })
}

fn busy() -> ApiError {
    ApiError::later("there is no room for more until what was appended is durable")
}

/// What each key means; topics that are missing are made if the broker may.
async fn targets(rooms: &Rooms, records: &[NewRecord]) -> Result<HashMap<Bytes, Target>, ApiError> {
    let mut targets = HashMap::new();
    for record in records {
        if !targets.contains_key(&record.key) {
            let target = target(rooms, &record.key).await?;
            targets.insert(record.key.clone(), target);
        }
    }
    Ok(targets)
}

async fn target(rooms: &Rooms, key: &Bytes) -> Result<Target, ApiError> {
    let (name, index) = match Name::parse(key)? {
        Name::Free(key) => return Ok(Target::Free(rooms.log(&key).await?)),
        Name::Partition(name, index) => (name, index),
    };
    if is_internal(&name) {
        return Err(ApiError::invalid(format!(
            "key {}: only the broker writes this topic",
            shown(key)
        )));
    }
    let mut topic = rooms.metadata.image().topic(&name).cloned();
    if topic.is_none() {
        if let Some(log) = own_log(rooms, &name, index).await? {
            return Ok(Target::Free(log));
        }
        topic = Some(create(rooms, &name, index).await?);
    }
    let topic = topic.ok_or_else(|| no_partition(&name, index))?;
    let partition = rooms.partitions.get(&topic, index).await?;
    let partition = partition.ok_or_else(|| no_partition(&name, index))?;
    Ok(Target::Partition(topic, partition))
}

fn no_partition(name: &str, index: PartitionIndex) -> ApiError {
    ApiError::missing(format!("key: topic {name:?} has no partition {index}"))
}

async fn create(rooms: &Rooms, name: &str, index: PartitionIndex) -> Result<Arc<Topic>, ApiError> {
    if !rooms.config.auto_create_topics {
        return Err(ApiError::missing(format!(
            "key: topic {name:?} does not exist, and auto.create.topics.enable is off"
        )));
    }
    if index >= rooms.config.num_partitions {
        return Err(no_partition(name, index));
    }
    let new = NewTopic {
        name: name.to_owned(),
        ..NewTopic::default()
    };
    match rooms.metadata.create_topic(new).await {
        Ok(topic) => Ok(topic),
        // Somebody else made it meanwhile.
        Err(MetadataError::TopicExists(_)) => {
            let topic = rooms.metadata.image().topic(name).cloned();
            topic.ok_or_else(|| no_partition(name, index))
        }
        Err(error) => Err(error.into()),
    }
}

/// The records in their order, as few batches as their order and the topics' limits allow.
fn parts(
    rooms: &Rooms,
    targets: &HashMap<Bytes, Target>,
    new: Vec<NewRecord>,
) -> Result<Vec<Part>, ApiError> {
    let now = rooms.env.now();
    let mut parts = Vec::new();
    let mut run: Vec<Record> = Vec::new();
    let mut run_bytes = batch::HEADER_BYTES;
    let mut run_target: Option<&Target> = None;
    for (at, record) in new.into_iter().enumerate() {
        let target = &targets[&record.key];
        let topic = match target {
            Target::Free(log) => {
                let plain = record.record_key.is_none()
                    && record.headers.is_empty()
                    && record.timestamp.is_none();
                if !plain {
                    return Err(ApiError::invalid(format!(
                        "record[{at}]: only records of topics have a recordKey, headers and a \
                         timestamp"
                    )));
                }
                finish(rooms, run_target.take(), &mut run, &mut parts)?;
                parts.push(Part::Value(log.clone(), record.value));
                continue;
            }
            Target::Partition(topic, _) => topic,
        };
        let record = Record {
            key: record.record_key,
            value: Some(record.value),
            headers: record.headers,
            timestamp: record.timestamp.unwrap_or(now),
        };
        let bytes = records::size_of(&record);
        let max_bytes = usize::try_from(topic.config.max_message_bytes).unwrap_or(0);
        let joins = run_target.is_some_and(|known| known.is(target));
        if !joins || run_bytes + bytes > max_bytes {
            finish(rooms, run_target.take(), &mut run, &mut parts)?;
            run_bytes = batch::HEADER_BYTES;
        }
        run_target = Some(target);
        run_bytes += bytes;
        run.push(record);
    }
    finish(rooms, run_target, &mut run, &mut parts)?;
    Ok(parts)
}

/// Makes a batch of the run so far.
fn finish(
    rooms: &Rooms,
    target: Option<&Target>,
    run: &mut Vec<Record>,
    parts: &mut Vec<Part>,
) -> Result<(), ApiError> {
    let Some(Target::Partition(topic, partition)) = target else {
        return Ok(());
    };
    let batch = check(rooms, topic, run)?;
    let (bytes, records) = (batch.bytes.len(), batch.header.record_count);
    rooms.metrics.partition.produced(bytes, records);
    parts.push(Part::Batch(Arc::clone(partition), batch));
    run.clear();
    Ok(())
}

/// A batch that passes the checks of every producer's.
fn check(rooms: &Rooms, topic: &Topic, records: &[Record]) -> Result<CheckedBatch, ApiError> {
    let max_bytes = rooms.config.decompressed_batch_max_bytes;
    let rules = Rules::of(&topic.config, true, max_bytes);
    Ok(batch::check(
        records::pack(records),
        &rules,
        rooms.env.now(),
    )?)
}
