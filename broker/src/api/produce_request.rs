//! Decodes Produce (0), versions 3 to 13, by cutting its frame.
//!
//! The codec crate would share the frame or copy the records. Here each partition's bytes are split
//! off the frame, so that they can be stamped in place and then stored without a copy.

use bytes::{Buf, BytesMut};

use crate::types::TopicId;

/// KIP-516: topics are named by their ids from this version on.
const IDS_SINCE: i16 = 13;

/// A Produce request.
#[derive(Debug)]
pub(super) struct ProduceRequest {
    pub(super) transactional_id: Option<String>,
    pub(super) acks: i16,
    /// How long the producer waits for its answer, in milliseconds.
    pub(super) timeout_ms: i32,
    pub(super) topics: Vec<TopicData>,
}

/// What is for one topic.
#[derive(Debug)]
pub(super) struct TopicData {
    pub(super) topic: TopicKey,
    pub(super) partitions: Vec<PartitionData>,
}

/// How the request names a topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TopicKey {
    /// Up to version 12.
    Name(String),
    /// From version 13 on.
    Id(TopicId),
}

/// What is for one partition.
#[derive(Debug)]
pub(super) struct PartitionData {
    pub(super) index: i32,
    /// Empty if there were none.
    pub(super) records: BytesMut,
}

/// The bytes are not a Produce request.
#[derive(Debug, thiserror::Error)]
#[error("a Produce request with a malformed {0}")]
pub(super) struct Malformed(&'static str);

impl ProduceRequest {
    /// Reads a body of `version`. Nothing is allocated on the word of a count: every element takes
    /// bytes that are there.
    pub(super) fn decode(body: BytesMut, version: i16) -> Result<Self, Malformed> {
        let mut input = Input {
            bytes: body,
            flexible: version >= 9,
        };
        let transactional_id = input.string("transactional id")?;
        let acks = input.bytes.try_get_i16().map_err(|_| Malformed("acks"))?;
        let timeout_ms = input
            .bytes
            .try_get_i32()
            .map_err(|_| Malformed("timeout"))?;
        let mut topics = Vec::new();
        for _ in 0..input.count("topic count")? {
            let topic = match version {
                ..IDS_SINCE => {
                    TopicKey::Name(input.string("topic name")?.ok_or(Malformed("topic name"))?)
                }
                IDS_SINCE.. => {
                    let id = input.bytes.try_get_u128();
                    TopicKey::Id(TopicId::from_u128(id.map_err(|_| Malformed("topic id"))?))
                }
            };
            let mut partitions = Vec::new();
            for _ in 0..input.count("partition count")? {
                let index = input
                    .bytes
                    .try_get_i32()
                    .map_err(|_| Malformed("partition index"))?;
                let records = input.field("records", 4)?.unwrap_or_default();
                input.tags()?;
                partitions.push(PartitionData { index, records });
            }
            input.tags()?;
            topics.push(TopicData { topic, partitions });
        }
        input.tags()?;
        Ok(Self {
            transactional_id,
            acks,
            timeout_ms,
            topics,
        })
    }
}

struct Input {
    bytes: BytesMut,
    flexible: bool,
}

impl Input {
    fn string(&mut self, what: &'static str) -> Result<Option<String>, Malformed> {
        let Some(bytes) = self.field(what, 2)? else {
            return Ok(None);
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Malformed(what)),
        }
    }

    /// A length and that many bytes; the length has `width` bytes, or is a varint with one added.
    fn field(&mut self, what: &'static str, width: usize) -> Result<Option<BytesMut>, Malformed> {
        let length = if self.flexible {
            i64::from(self.varint(what)?) - 1
        } else if width == 2 {
            i64::from(self.bytes.try_get_i16().map_err(|_| Malformed(what))?)
        } else {
            i64::from(self.bytes.try_get_i32().map_err(|_| Malformed(what))?)
        };
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| Malformed(what))?;
        if length > self.bytes.len() {
            return Err(Malformed(what));
        }
        Ok(Some(self.bytes.split_to(length)))
    }

    fn count(&mut self, what: &'static str) -> Result<u32, Malformed> {
        let count = if self.flexible {
            self.varint(what)?.checked_sub(1)
        } else {
            u32::try_from(self.bytes.try_get_i32().map_err(|_| Malformed(what))?).ok()
        };
        count
            .filter(|count| *count as usize <= self.bytes.len())
            .ok_or(Malformed(what))
    }

    fn varint(&mut self, what: &'static str) -> Result<u32, Malformed> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.bytes.try_get_u8().map_err(|_| Malformed(what))?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Malformed(what));
            }
        }
        Err(Malformed(what))
    }

    /// Skips tagged fields: none is known here.
    fn tags(&mut self) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint("tagged field count")? {
            self.varint("tag")?;
            let length = self.varint("tagged field")? as usize;
            if length > self.bytes.len() {
                return Err(Malformed("tagged field"));
            }
            self.bytes.advance(length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{BufMut, Bytes};
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{ProduceRequest as Codec, TopicName};
    use kafka_protocol::protocol::{Encodable, StrBytes};

    const ID: TopicId = TopicId::from_u128(7 << 100 | 9);

    fn encoded(version: i16) -> BytesMut {
        let partition = |index, records: Option<&'static [u8]>| {
            PartitionProduceData::default()
                .with_index(index)
                .with_records(records.map(Bytes::from_static))
        };
        let request = Codec::default()
            .with_transactional_id(Some(StrBytes::from_static_str("t").into()))
            .with_acks(-1)
            .with_timeout_ms(1000)
            .with_topic_data(vec![
                match version {
                    ..IDS_SINCE => TopicProduceData::default()
                        .with_name(TopicName(StrBytes::from_static_str("orders"))),
                    IDS_SINCE.. => TopicProduceData::default().with_topic_id(ID),
                }
                .with_partition_data(vec![partition(0, Some(b"abc")), partition(7, None)]),
            ]);
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes, version).unwrap();
        bytes
    }

    #[test]
    fn reads_what_the_codec_writes_at_every_version() {
        for version in 3..=13 {
            let request = ProduceRequest::decode(encoded(version), version).unwrap();
            assert_eq!(request.transactional_id.as_deref(), Some("t"));
            assert_eq!(request.acks, -1);
            let topic = &request.topics[0];
            let expected = match version {
                ..IDS_SINCE => TopicKey::Name("orders".to_owned()),
                IDS_SINCE.. => TopicKey::Id(ID),
            };
            assert_eq!(topic.topic, expected);
            assert_eq!(
                (topic.partitions[0].index, &topic.partitions[0].records[..]),
                (0, &b"abc"[..])
            );
            assert_eq!(
                (topic.partitions[1].index, topic.partitions[1].records.len()),
                (7, 0)
            );
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        for version in [3, 9, 13] {
            let whole = encoded(version);
            for length in 0..whole.len() {
                assert!(ProduceRequest::decode(whole[..length].into(), version).is_err());
            }
        }
    }

    #[test]
    fn counts_beyond_the_frame_are_refused() {
        let mut bytes = BytesMut::new();
        bytes.put_i16(-1);
        bytes.put_i16(1);
        bytes.put_i32(1000);
        bytes.put_i32(i32::MAX);
        assert!(ProduceRequest::decode(bytes, 3).is_err());
    }
}
