//! Encodes a Fetch response, versions 4 to 18, as pieces: small runs of fields, and between them the
//! stored batches themselves.

use bytes::{BufMut, Bytes, BytesMut};

use super::Outcome;
use crate::types::{Offset, ProducerId, TopicId};

/// A Fetch response.
#[derive(Debug)]
pub struct FetchResponse {
    /// Of the whole request.
    pub error_code: i16,
    /// In the order of the request.
    pub topics: Vec<TopicResponse>,
}

/// How the request named a topic.
#[derive(Debug)]
pub enum TopicKey {
    /// Up to version 12.
    Name(String),
    /// From version 13 on.
    Id(TopicId),
}

/// The answer for one topic.
#[derive(Debug)]
pub struct TopicResponse {
    /// As in the request.
    pub key: TopicKey,
    /// In the order of the request.
    pub partitions: Vec<PartitionResponse>,
}

/// The answer for one partition.
#[derive(Debug)]
pub struct PartitionResponse {
    /// Which.
    pub index: i32,
    /// Zero if it was read.
    pub error_code: i16,
    /// End of what may be read, or -1.
    pub high_watermark: Offset,
    /// End of what transactions have decided, or -1.
    pub last_stable: Offset,
    /// Lowest offset that may be read, or -1.
    pub log_start: Offset,
    /// Producer and first offset of each aborted transaction whose records are to be skipped; null for
    /// clients that read everything.
    pub aborted: Option<Vec<(ProducerId, Offset)>>,
    /// Whole batches, as stored.
    pub records: Vec<Bytes>,
}

impl FetchResponse {
    /// What the handler answers.
    pub(super) fn into_outcome(self, version: i16) -> Outcome {
        Outcome::Reply(self.encode(version))
    }

    /// The body of the response, in pieces.
    pub fn encode(self, version: i16) -> Vec<Bytes> {
        let mut out = Pieces::new(version >= 12);
        out.fields.put_i32(0); // throttle time
        if version >= 7 {
            out.fields.put_i16(self.error_code);
            out.fields.put_i32(0); // session id: none
        }
        out.count(self.topics.len());
        for topic in self.topics {
            match topic.key {
                TopicKey::Name(name) => out.string(&name),
                TopicKey::Id(id) => out.fields.put_slice(id.as_bytes()),
            }
            out.count(topic.partitions.len());
            for partition in topic.partitions {
                out.partition(partition, version);
            }
            out.no_tags();
        }
        out.no_tags();
        out.finish()
    }
}

struct Pieces {
    done: Vec<Bytes>,
    fields: BytesMut,
    flexible: bool,
}

impl Pieces {
    fn new(flexible: bool) -> Self {
        Self {
            done: Vec::new(),
            fields: BytesMut::with_capacity(128),
            flexible,
        }
    }

    fn partition(&mut self, partition: PartitionResponse, version: i16) {
        self.fields.put_i32(partition.index);
        self.fields.put_i16(partition.error_code);
        self.fields.put_i64(partition.high_watermark);
        self.fields.put_i64(partition.last_stable);
        if version >= 5 {
            self.fields.put_i64(partition.log_start);
        }
        match &partition.aborted {
            Some(aborted) => {
                self.count(aborted.len());
                for (producer_id, first_offset) in aborted {
                    self.fields.put_i64(producer_id.0);
                    self.fields.put_i64(*first_offset);
                    self.no_tags();
                }
            }
            None if self.flexible => self.fields.put_u8(0),
            None => self.fields.put_i32(-1),
        }
        if version >= 11 {
            self.fields.put_i32(-1); // preferred read replica: none
        }
        // Never null: librdkafka takes -1 for a malformed message.
        self.count(partition.records.iter().map(Bytes::len).sum());
        if !partition.records.is_empty() {
            self.done.push(self.fields.split().freeze());
            self.done.extend(partition.records);
        }
        self.no_tags();
    }

    fn count(&mut self, count: usize) {
        if self.flexible {
            self.varint(count as u64 + 1);
        } else {
            self.fields
                .put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    fn string(&mut self, text: &str) {
        if self.flexible {
            self.varint(text.len() as u64 + 1);
        } else {
            self.fields
                .put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        }
        self.fields.put_slice(text.as_bytes());
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.fields.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.fields.put_u8(value as u8);
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.fields.put_u8(0);
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.fields.is_empty() {
            self.done.push(self.fields.freeze());
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::FetchResponse as Codec;
    use kafka_protocol::protocol::Decodable;

    #[test]
    fn the_codec_reads_every_version_back() {
        for version in 4..=18 {
            let two = vec![(ProducerId(7), 3), (ProducerId(8), 5)];
            for aborted in [None, Some(vec![]), Some(two)] {
                let partition = |index, records: Vec<&'static [u8]>| PartitionResponse {
                    index,
                    error_code: 0,
                    high_watermark: 9,
                    last_stable: 8,
                    log_start: 2,
                    aborted: aborted.clone(),
                    records: records.into_iter().map(Bytes::from_static).collect(),
                };
                let response = FetchResponse {
                    error_code: 0,
                    topics: vec![TopicResponse {
                        key: match version {
                            ..13 => TopicKey::Name("orders".into()),
                            13.. => TopicKey::Id(TopicId::from_u128(7)),
                        },
                        partitions: vec![partition(0, vec![b"ab", b"c"]), partition(1, vec![])],
                    }],
                };
                let mut bytes = Bytes::from(response.encode(version).concat());
                let decoded = Codec::decode(&mut bytes, version).unwrap();
                assert!(bytes.is_empty(), "bytes left at version {version}");
                let topic = &decoded.responses[0];
                match version {
                    ..13 => assert_eq!(&**topic.topic, "orders"),
                    13.. => assert_eq!(topic.topic_id, TopicId::from_u128(7)),
                }
                let first = &topic.partitions[0];
                assert_eq!((first.high_watermark, first.last_stable_offset), (9, 8));
                assert_eq!(first.log_start_offset, if version >= 5 { 2 } else { -1 });
                assert_eq!(first.records.as_deref(), Some(&b"abc"[..]));
                let read = first.aborted_transactions.as_ref().map(|read| {
                    let read = read.iter();
                    read.map(|one| (ProducerId(one.producer_id.0), one.first_offset))
                        .collect::<Vec<_>>()
                });
                assert_eq!(read, aborted);
                assert_eq!(topic.partitions[1].records.as_deref(), Some(&b""[..]));
            }
        }
    }
}
