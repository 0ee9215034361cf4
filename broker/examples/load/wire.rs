//! The few requests that a load generator sends, built once and sent many times.
//!
//! Versions without tagged fields, so that everything has its place: Produce 7, Fetch 4,
//! Metadata 4, CreateTopics 2, JoinGroup 1, SyncGroup 0, Heartbeat 0, OffsetCommit 2,
//! FindCoordinator 1, InitProducerId 0, AddPartitionsToTxn 0, EndTxn 0.

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut};

mod connection;

pub(crate) use connection::Connection;

/// A whole request with its size in front; only the correlation id changes between sends.
#[derive(Clone)]
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    fn new(key: i16, version: i16, body: &[u8]) -> Self {
        let client_id = b"load";
        let mut frame = Vec::with_capacity(18 + body.len());
        frame.put_i32((10 + client_id.len() + body.len()) as i32);
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_i32(0);
        frame.put_i16(client_id.len() as i16);
        frame.put_slice(client_id);
        frame.put_slice(body);
        Self(frame)
    }

    /// Size, API key and version come before the correlation id.
    fn set_correlation_id(&mut self, id: i32) {
        self.0[8..12].copy_from_slice(&id.to_be_bytes());
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

/// The next of a row of numbers that look random.
pub(crate) fn xorshift(mut noise: u64) -> u64 {
    noise ^= noise << 13;
    noise ^= noise >> 7;
    noise ^ noise << 17
}

/// A record batch (magic 2, no compression) of `count` records with values of `value_bytes` bytes
/// that do not compress.
pub(crate) fn record_batch(count: usize, value_bytes: usize) -> Vec<u8> {
    batch_of(None, vec![None; count].into_iter(), value_bytes)
}

/// [`record_batch`] with a record for each of these keys.
pub(crate) fn keyed_batch(keys: &[u64], value_bytes: usize) -> Vec<u8> {
    batch_of(None, keys.iter().map(|key| Some(*key)), value_bytes)
}

/// A producer with a transactional id.
#[derive(Clone, Copy)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// The same in a transaction: the producer's records from `sequence` on.
pub(crate) fn transactional_batch(
    producer: Producer,
    sequence: i32,
    count: usize,
    value_bytes: usize,
) -> Vec<u8> {
    batch_of(
        Some((producer, sequence)),
        vec![None; count].into_iter(),
        value_bytes,
    )
}

fn batch_of(
    by: Option<(Producer, i32)>,
    keys: impl ExactSizeIterator<Item = Option<u64>>,
    value_bytes: usize,
) -> Vec<u8> {
    let count = keys.len();
    let mut records = Vec::with_capacity(count * (value_bytes + 24));
    let mut noise = 0x9E37_79B9_7F4A_7C15_u64;
    let mut value = vec![0; value_bytes];
    for (delta, key) in keys.enumerate() {
        for chunk in value.chunks_mut(8) {
            noise = xorshift(noise);
            chunk.copy_from_slice(&noise.to_le_bytes()[..chunk.len()]);
        }
        let mut record = vec![0, 0]; // attributes, timestamp delta
        put_varint(&mut record, delta as i64);
        match key {
            Some(key) => {
                put_varint(&mut record, 8);
                record.put_u64(key);
            }
            None => put_varint(&mut record, -1),
        }
        put_varint(&mut record, value_bytes as i64);
        record.put_slice(&value);
        put_varint(&mut record, 0); // no headers
        put_varint(&mut records, record.len() as i64);
        records.put_slice(&record);
    }
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64);
    let mut checked = Vec::with_capacity(records.len() + 40);
    checked.put_i16(if by.is_some() { 0x10 } else { 0 }); // attributes
    checked.put_i32(count as i32 - 1);
    checked.put_i64(now_ms);
    checked.put_i64(now_ms);
    let nobody = Producer { id: -1, epoch: -1 };
    let (producer, sequence) = by.unwrap_or((nobody, -1));
    checked.put_i64(producer.id);
    checked.put_i16(producer.epoch);
    checked.put_i32(sequence);
    checked.put_i32(count as i32);
    checked.put_slice(&records);
    let mut batch = Vec::with_capacity(checked.len() + 21);
    batch.put_i64(0); // base offset
    batch.put_i32(checked.len() as i32 + 9);
    batch.put_i32(-1); // leader epoch
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.put_slice(&checked);
    batch
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Produce 7 with acks=all: one batch for one partition.
pub(crate) fn produce(topic: &str, partition: i32, batch: &[u8]) -> Frame {
    let mut body = Vec::with_capacity(batch.len() + 64);
    body.put_i16(-1); // no transactional id
    body.put_i16(-1);
    body.put_i32(30_000);
    body.put_i32(1);
    put_string(&mut body, topic);
    body.put_i32(1);
    body.put_i32(partition);
    body.put_i32(batch.len() as i32);
    body.put_slice(batch);
    Frame::new(0, 7, &body)
}

/// The same in the transaction of `id`: a batch for each partition from 0 on.
pub(crate) fn produce_in_transaction(id: &str, topic: &str, batches: &[Vec<u8>]) -> Frame {
    let mut body = Vec::new();
    put_string(&mut body, id);
    body.put_i16(-1);
    body.put_i32(30_000);
    body.put_i32(1);
    put_string(&mut body, topic);
    body.put_i32(batches.len() as i32);
    for (partition, batch) in batches.iter().enumerate() {
        body.put_i32(partition as i32);
        body.put_i32(batch.len() as i32);
        body.put_slice(batch);
    }
    Frame::new(0, 7, &body)
}

/// FindCoordinator 1 of a transactional id.
pub(crate) fn find_transaction_coordinator(id: &str) -> Frame {
    let mut body = Vec::new();
    put_string(&mut body, id);
    body.put_i8(1);
    Frame::new(10, 1, &body)
}

/// InitProducerId 0 of a transactional id.
pub(crate) fn init_producer(id: &str) -> Frame {
    let mut body = Vec::new();
    put_string(&mut body, id);
    body.put_i32(60_000);
    Frame::new(22, 0, &body)
}

/// Reads the answer to [`init_producer`].
pub(crate) fn producer(mut body: &[u8]) -> Result<Producer> {
    body.get_i32();
    match body.get_i16() {
        0 => Ok(Producer {
            id: body.get_i64(),
            epoch: body.get_i16(),
        }),
        code => bail!("InitProducerId answered error code {code}"),
    }
}

fn transactional(id: &str, producer: Producer) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&mut body, id);
    body.put_i64(producer.id);
    body.put_i16(producer.epoch);
    body
}

/// AddPartitionsToTxn 0: the first `count` partitions.
pub(crate) fn add_partitions(id: &str, producer: Producer, topic: &str, count: i32) -> Frame {
    let mut body = transactional(id, producer);
    body.put_i32(1);
    put_string(&mut body, topic);
    body.put_i32(count);
    for partition in 0..count {
        body.put_i32(partition);
    }
    Frame::new(24, 0, &body)
}

/// EndTxn 0, a commit.
pub(crate) fn commit_transaction(id: &str, producer: Producer) -> Frame {
    let mut body = transactional(id, producer);
    body.put_i8(1);
    Frame::new(26, 0, &body)
}

/// The error code that the answer to [`commit_transaction`] begins with, after the throttle time.
pub(crate) fn code_after_throttle(mut body: &[u8]) -> i16 {
    body.get_i32();
    body.get_i16()
}

/// Checks the answer to [`produce`] and [`produce_in_transaction`].
pub(crate) fn produced(mut body: &[u8]) -> Result<()> {
    body.get_i32();
    let topic = usize::from(body.get_u16());
    body.advance(topic);
    for _ in 0..body.get_i32() {
        body.advance(4);
        match body.get_i16() {
            0 => body.advance(24),
            code => bail!("Produce answered error code {code}"),
        }
    }
    Ok(())
}

/// Fetch 4 of one partition.
pub(crate) fn fetch(
    topic: &str,
    partition: i32,
    offset: i64,
    max_wait_ms: i32,
    max_bytes: i32,
) -> Frame {
    let mut body = Vec::new();
    body.put_i32(-1);
    body.put_i32(max_wait_ms);
    body.put_i32(1);
    body.put_i32(max_bytes);
    body.put_i8(0);
    body.put_i32(1);
    put_string(&mut body, topic);
    body.put_i32(1);
    body.put_i32(partition);
    body.put_i64(offset);
    body.put_i32(max_bytes);
    Frame::new(1, 4, &body)
}

/// What a Fetch answered: where to go on, and how many bytes of batches there were.
pub(crate) struct Fetched {
    pub(crate) next_offset: i64,
    pub(crate) high_watermark: i64,
    pub(crate) bytes: usize,
}

/// Reads the answer to [`fetch`] by its batch headers.
pub(crate) fn fetched(mut body: &[u8], from: i64) -> Result<Fetched> {
    body.advance(8);
    let topic = usize::from(body.get_u16());
    body.advance(topic + 8);
    let code = body.get_i16();
    if code != 0 {
        bail!("Fetch at offset {from} answered error code {code}");
    }
    let high_watermark = body.get_i64();
    body.advance(8);
    let aborted = body.get_i32().max(0) as usize;
    body.advance(16 * aborted);
    let bytes = body.get_i32().max(0) as usize;
    let mut records = body
        .get(..bytes)
        .context("Fetch answered fewer bytes than it says")?;
    let mut next_offset = from;
    while records.len() >= 61 {
        let base = i64::from_be_bytes(records[..8].try_into()?);
        let length = 12 + u32::from_be_bytes(records[8..12].try_into()?) as usize;
        if records.len() < length {
            break;
        }
        next_offset = base + i64::from(i32::from_be_bytes(records[23..27].try_into()?)) + 1;
        records = &records[length..];
    }
    Ok(Fetched {
        next_offset,
        high_watermark,
        bytes,
    })
}

/// CreateTopics 2 of several topics with as many partitions each.
pub(crate) fn create_topics(names: &[String], partitions: i32) -> Frame {
    let mut body = Vec::new();
    body.put_i32(names.len() as i32);
    for name in names {
        put_string(&mut body, name);
        body.put_i32(partitions);
        body.put_i16(1);
        body.put_i32(0); // assignments
        body.put_i32(0); // configs
    }
    body.put_i32(60_000);
    body.put_i8(0);
    Frame::new(19, 2, &body)
}

/// CreateTopics 2 of one topic with settings of its own.
pub(crate) fn create_topic_with(name: &str, partitions: i32, configs: &[(&str, &str)]) -> Frame {
    let mut body = Vec::new();
    body.put_i32(1);
    put_string(&mut body, name);
    body.put_i32(partitions);
    body.put_i16(1);
    body.put_i32(0); // assignments
    body.put_i32(configs.len() as i32);
    for (name, value) in configs {
        put_string(&mut body, name);
        put_string(&mut body, value);
    }
    body.put_i32(60_000);
    body.put_i8(0);
    Frame::new(19, 2, &body)
}

/// DescribeConfigs 1 of all settings of these topics, with their synonyms.
pub(crate) fn describe_configs(topics: &[String]) -> Frame {
    let mut body = Vec::new();
    body.put_i32(topics.len() as i32);
    for topic in topics {
        body.put_i8(2);
        put_string(&mut body, topic);
        body.put_i32(-1); // all of them
    }
    body.put_i8(1);
    Frame::new(32, 1, &body)
}

/// Checks the answer to [`create_topics`].
pub(crate) fn created(mut body: &[u8]) -> Result<()> {
    body.get_i32();
    for _ in 0..body.get_i32() {
        let name = usize::from(body.get_u16());
        body.advance(name);
        let code = body.get_i16();
        if code != 0 {
            bail!("CreateTopics answered error code {code}");
        }
        let message = body.get_i16().max(0) as usize;
        body.advance(message);
    }
    Ok(())
}

/// Metadata 4 of one topic, which creates it, or of all topics.
pub(crate) fn metadata(topic: Option<&str>) -> Frame {
    let mut body = Vec::new();
    match topic {
        Some(topic) => {
            body.put_i32(1);
            put_string(&mut body, topic);
        }
        None => body.put_i32(-1),
    }
    body.put_i8(1);
    Frame::new(3, 4, &body)
}

/// JoinGroup 1 of a consumer that can do `range`; an empty member id joins anew.
pub(crate) fn join_group(group: &str, member: &str, session_ms: i32) -> Frame {
    let mut body = Vec::new();
    put_string(&mut body, group);
    body.put_i32(session_ms);
    body.put_i32(60_000); // rebalance timeout
    put_string(&mut body, member);
    put_string(&mut body, "consumer");
    body.put_i32(1);
    put_string(&mut body, "range");
    // A subscription: version 0, one topic, no user data.
    let subscription = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";
    body.put_i32(subscription.len() as i32);
    body.put_slice(subscription);
    Frame::new(11, 1, &body)
}

/// What a JoinGroup answered.
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) member: String,
    /// Everybody's id, for the leader.
    pub(crate) members: Vec<String>,
}

fn get_string(body: &mut &[u8]) -> Result<String> {
    let len = usize::from(body.try_get_u16()?);
    let (text, rest) = body.split_at_checked(len).context("a string is cut")?;
    *body = rest;
    Ok(String::from_utf8(text.to_vec())?)
}

/// Reads the answer to [`join_group`].
pub(crate) fn joined(mut body: &[u8]) -> Result<Joined> {
    let code = body.get_i16();
    if code != 0 {
        bail!("JoinGroup answered error code {code}");
    }
    let generation = body.get_i32();
    get_string(&mut body)?; // protocol
    get_string(&mut body)?; // leader
    let member = get_string(&mut body)?;
    let mut members = Vec::new();
    for _ in 0..body.get_i32() {
        members.push(get_string(&mut body)?);
        let metadata = body.get_u32() as usize;
        body.advance(metadata);
    }
    Ok(Joined {
        generation,
        member,
        members,
    })
}

/// SyncGroup 0: the leader assigns 64 bytes to each of `assigned`.
pub(crate) fn sync_group(group: &str, generation: i32, member: &str, assigned: &[String]) -> Frame {
    let mut body = Vec::new();
    put_string(&mut body, group);
    body.put_i32(generation);
    put_string(&mut body, member);
    body.put_i32(assigned.len() as i32);
    for id in assigned {
        put_string(&mut body, id);
        body.put_i32(64);
        body.put_slice(&[7; 64]);
    }
    Frame::new(14, 0, &body)
}

/// Heartbeat 0.
pub(crate) fn heartbeat(group: &str, generation: i32, member: &str) -> Frame {
    let mut body = Vec::new();
    put_string(&mut body, group);
    body.put_i32(generation);
    put_string(&mut body, member);
    Frame::new(12, 0, &body)
}

/// OffsetCommit 2 of one offset, by nobody's member.
pub(crate) fn commit_offset(group: &str, topic: &str, partition: i32, offset: i64) -> Frame {
    let mut body = Vec::new();
    put_string(&mut body, group);
    body.put_i32(-1);
    put_string(&mut body, "");
    body.put_i64(-1);
    body.put_i32(1);
    put_string(&mut body, topic);
    body.put_i32(1);
    body.put_i32(partition);
    body.put_i64(offset);
    put_string(&mut body, "");
    Frame::new(8, 2, &body)
}

/// The error code that the answers to [`heartbeat`] and [`sync_group`] begin with.
pub(crate) fn code(mut body: &[u8]) -> i16 {
    body.get_i16()
}

/// Checks the answer to [`add_partitions`].
pub(crate) fn added(mut body: &[u8]) -> Result<()> {
    body.get_i32();
    for _ in 0..body.get_i32() {
        get_string(&mut body)?;
        for _ in 0..body.get_i32() {
            body.get_i32();
            match body.get_i16() {
                0 => {}
                code => bail!("AddPartitionsToTxn answered error code {code}"),
            }
        }
    }
    Ok(())
}

/// Checks the answer to [`commit_offset`].
pub(crate) fn committed(body: &[u8]) -> Result<()> {
    // The error code of the only partition comes last.
    match body.last_chunk().map(|code| i16::from_be_bytes(*code)) {
        Some(0) => Ok(()),
        code => bail!("OffsetCommit answered error code {code:?}"),
    }
}
