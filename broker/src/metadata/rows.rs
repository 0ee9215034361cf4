//! The bytes of metadata rows: the cluster row, a row per topic, a row per name that has had a
//! topic before.
//!
//! Rows of settings, quotas and credentials are in `setting_rows.rs`.
//! Owns the formats and nothing else: no reading, no writing. Every value starts with a format
//! byte; a number is never reused, and the tests below pin the bytes. Integers are big-endian.
//!
//! | row | key | value, after the format byte |
//! |---|---|---|
//! | cluster | `metadata/cluster` | cluster id as text |
//! | topic | `metadata/topic/`, topic id (16 bytes) | name, replication factor (i16), partitions, overrides; in format 2 the job of the bridge |
//! | past name | `metadata/past-name/`, name | nothing |
//!
//! A text is a u32 length and UTF-8 bytes; a list is a u32 count and its items. A partition is its
//! log key (u32 length and bytes), shard (u32) and epoch base (i32), in the order of partition
//! indexes. An override is two texts, name and value, in the order of names.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::PartitionMeta;
use crate::types::TopicId;

/// Every key of this room starts so.
#[cfg(test)]
const ROOM: &str = "metadata/";
const CLUSTER_KEY: &str = "metadata/cluster";
const TOPIC_PREFIX: &str = "metadata/topic/";
const PAST_NAME_PREFIX: &str = "metadata/past-name/";

const CLUSTER_FORMAT: u8 = 1;
const TOPIC_FORMAT: u8 = 1;
/// A topic that the bridge writes: it ends in the name of the job.
const TOPIC_FORMAT_MIRRORED: u8 = 2;
const PAST_NAME_FORMAT: u8 = 1;

/// Why a stored row could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The format byte is of another version of this program.
    #[error(
        "metadata row {key:?} has format {found}, this version knows {known}: \
         start the version that wrote it, or a newer one"
    )]
    UnknownFormat {
        /// Key of the row.
        key: String,
        /// Its format byte.
        found: u8,
        /// The one this program writes.
        known: u8,
    },
    /// The bytes are not what any version writes.
    #[error("metadata row {key:?} is damaged: {why}; restore the store from a copy")]
    Damaged {
        /// Key of the row.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// What is stored of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicRow {
    pub(super) id: TopicId,
    pub(super) name: Arc<str>,
    pub(super) replication_factor: i16,
    pub(super) partitions: Vec<PartitionMeta>,
    pub(super) overrides: BTreeMap<String, String>,
    pub(super) mirror: Option<Arc<str>>,
}

/// Key of the row that holds the cluster id.
pub(super) fn cluster_key() -> Bytes {
    Bytes::from_static(CLUSTER_KEY.as_bytes())
}

/// The prefix of all topic rows.
pub(super) fn topic_prefix() -> &'static [u8] {
    TOPIC_PREFIX.as_bytes()
}

/// Key of the row of the topic `id`.
pub(super) fn topic_key(id: &TopicId) -> Bytes {
    [TOPIC_PREFIX.as_bytes(), id.as_bytes()].concat().into()
}

/// Key of the row that says that `name` has had a topic before.
pub(super) fn past_name_key(name: &str) -> Bytes {
    [PAST_NAME_PREFIX, name].concat().into()
}

/// Value of the cluster row.
pub(super) fn encode_cluster(cluster_id: &str) -> Bytes {
    let mut out = vec![CLUSTER_FORMAT];
    put_text(&mut out, cluster_id);
    out.into()
}

/// The cluster id in the cluster row's `value`.
pub(super) fn decode_cluster(value: &[u8]) -> Result<Arc<str>, RowError> {
    let mut fields = Fields::open(CLUSTER_KEY.as_bytes(), value, CLUSTER_FORMAT)?;
    let cluster_id = fields.text()?.into();
    fields.end()?;
    Ok(cluster_id)
}

/// Value of a past name's row.
pub(super) fn encode_past_name() -> Bytes {
    Bytes::from_static(&[PAST_NAME_FORMAT])
}

/// Value of a topic's row; its id is in the key.
pub(super) fn encode_topic(
    name: &str,
    replication_factor: i16,
    partitions: &[PartitionMeta],
    overrides: &BTreeMap<String, String>,
    mirror: Option<&str>,
) -> Bytes {
    let mut out = Vec::with_capacity(32 + name.len() + partitions.len() * 32);
    out.put_u8(match mirror {
        Some(_) => TOPIC_FORMAT_MIRRORED,
        None => TOPIC_FORMAT,
    });
    put_text(&mut out, name);
    out.put_i16(replication_factor);
    put_length(&mut out, partitions.len());
    for partition in partitions {
        put_bytes(&mut out, &partition.log_key);
        out.put_u32(partition.shard);
        out.put_i32(partition.epoch_base);
    }
    put_length(&mut out, overrides.len());
    for (name, value) in overrides {
        put_text(&mut out, name);
        put_text(&mut out, value);
    }
    if let Some(job) = mirror {
        put_text(&mut out, job);
    }
    out.into()
}

/// The topic in the row `key` with `value`.
pub(super) fn decode_topic(key: &[u8], value: &[u8]) -> Result<TopicRow, RowError> {
    let mirrored = value.first() == Some(&TOPIC_FORMAT_MIRRORED);
    let format = match mirrored {
        true => TOPIC_FORMAT_MIRRORED,
        false => TOPIC_FORMAT,
    };
    let mut fields = Fields::open(key, value, format)?;
    let id = key
        .strip_prefix(TOPIC_PREFIX.as_bytes())
        .and_then(|id| TopicId::from_slice(id).ok())
        .ok_or_else(|| fields.damaged("its key does not end in a topic id"))?;
    let name = fields.text()?.into();
    let replication_factor = fields.i16()?;
    // Counts are not trusted for allocation: a list grows as its items are found.
    let mut partitions = Vec::new();
    for _ in 0..fields.u32()? {
        partitions.push(PartitionMeta {
            log_key: Bytes::copy_from_slice(fields.bytes()?),
            shard: fields.u32()?,
            epoch_base: fields.i32()?,
        });
    }
    partitions.shrink_to_fit();
    let mut overrides = BTreeMap::new();
    for _ in 0..fields.u32()? {
        let name = fields.text()?.to_owned();
        overrides.insert(name, fields.text()?.to_owned());
    }
    let mirror = match mirrored {
        true => Some(fields.text()?.into()),
        false => None,
    };
    fields.end()?;
    Ok(TopicRow {
        id,
        name,
        replication_factor,
        partitions,
        overrides,
        mirror,
    })
}

pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    out.put_u32(u32::try_from(length).expect("a row's lists and texts are far below 4 GiB"));
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// A value being read, field by field.
pub(super) struct Fields<'a> {
    key: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn open(key: &'a [u8], value: &'a [u8], known: u8) -> Result<Self, RowError> {
        let mut fields = Self { key, rest: value };
        let found = fields.take(1)?[0];
        if found != known {
            return Err(RowError::UnknownFormat {
                key: fields.key_text(),
                found,
                known,
            });
        }
        Ok(fields)
    }

    /// Fields in a part of the row's key.
    pub(super) fn of(key: &'a [u8], rest: &'a [u8]) -> Self {
        Self { key, rest }
    }

    fn key_text(&self) -> String {
        self.key.escape_ascii().to_string()
    }

    pub(super) fn damaged(&self, why: &'static str) -> RowError {
        RowError::Damaged {
            key: self.key_text(),
            why,
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RowError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, RowError> {
        Ok(self.take(2)?.get_i16())
    }

    fn i32(&mut self) -> Result<i32, RowError> {
        Ok(self.take(4)?.get_i32())
    }

    pub(super) fn u32(&mut self) -> Result<u32, RowError> {
        Ok(self.take(4)?.get_u32())
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RowError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, RowError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a text in it is not UTF-8"))
    }

    pub(super) fn end(&self) -> Result<(), RowError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.damaged("it has bytes behind its end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn topic() -> TopicRow {
        TopicRow {
            id: TopicId::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            name: "a.b".into(),
            replication_factor: 3,
            partitions: vec![
                PartitionMeta {
                    log_key: Bytes::from_static(b"a.b/0"),
                    shard: 0,
                    epoch_base: 0,
                },
                PartitionMeta {
                    log_key: Bytes::from_static(b"a.b/1"),
                    shard: 2,
                    epoch_base: -5,
                },
            ],
            overrides: BTreeMap::from([("retention.ms".into(), "-1".into())]),
            mirror: None,
        }
    }

    fn encode(row: &TopicRow) -> Bytes {
        encode_topic(
            &row.name,
            row.replication_factor,
            &row.partitions,
            &row.overrides,
            row.mirror.as_deref(),
        )
    }

    // The three tests of bytes below pin what is on disk. A change that breaks one of them needs a
    // new format number, a decoder that still reads the old one, and an ADR.

    #[test]
    fn golden_topic() {
        let row = topic();
        assert_eq!(
            hex(&topic_key(&row.id)),
            "6d657461646174612f746f7069632f00112233445566778899aabbccddeeff"
        );
        assert_eq!(
            hex(&encode(&row)),
            concat!(
                "01",                               // format
                "00000003612e62",                   // name
                "0003",                             // replication factor
                "00000002",                         // partitions
                "00000005612e622f30",               // log key
                "00000000",                         // shard
                "00000000",                         // epoch base
                "00000005612e622f31",               // log key
                "00000002",                         // shard
                "fffffffb",                         // epoch base
                "00000001",                         // overrides
                "0000000c726574656e74696f6e2e6d73", // name
                "000000022d31",                     // value
            )
        );
    }

    #[test]
    fn golden_mirrored_topic() {
        let native = encode(&topic());
        let row = TopicRow {
            mirror: Some("prod".into()),
            ..topic()
        };
        let expected = [&[2], &native[1..], b"\0\0\0\x04prod"].concat();
        assert_eq!(encode(&row), expected);
        assert_eq!(
            decode_topic(&topic_key(&row.id), &encode(&row)).unwrap(),
            row
        );
    }

    #[test]
    fn golden_cluster() {
        assert_eq!(&cluster_key()[..], b"metadata/cluster");
        let value = encode_cluster("AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(hex(&value), format!("0100000016{}", "41".repeat(22)));
        assert_eq!(&*decode_cluster(&value).unwrap(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn golden_past_name() {
        assert_eq!(&past_name_key("t")[..], b"metadata/past-name/t");
        assert_eq!(hex(&encode_past_name()), "01");
    }

    #[test]
    fn every_key_is_in_this_room() {
        for key in [
            cluster_key(),
            topic_key(&TopicId::nil()),
            past_name_key("x"),
        ] {
            assert!(key.starts_with(ROOM.as_bytes()));
        }
    }

    #[test]
    fn a_newer_format_says_so() {
        let row = topic();
        let mut value = encode(&row).to_vec();
        value[0] = 3;
        let error = decode_topic(&topic_key(&row.id), &value).unwrap_err();
        assert!(matches!(
            error,
            RowError::UnknownFormat {
                found: 3,
                known: 1,
                ..
            }
        ));
    }

    #[test]
    fn no_cut_and_no_extra_byte_is_accepted() {
        let row = topic();
        let key = topic_key(&row.id);
        let value = encode(&row);
        assert_eq!(decode_topic(&key, &value).unwrap(), row);
        for cut in 0..value.len() {
            assert!(decode_topic(&key, &value[..cut]).is_err(), "cut at {cut}");
        }
        let longer = [&value[..], &[0]].concat();
        assert!(decode_topic(&key, &longer).is_err());
        assert!(decode_topic(b"metadata/topic/short", &value).is_err());
    }

    proptest! {
        #[test]
        fn topics_round_trip(
            id in any::<u128>(),
            name in "[a-zA-Z0-9._-]{1,30}",
            replication_factor in any::<i16>(),
            partitions in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..20), any::<u32>(), any::<i32>()),
                0..8,
            ),
            overrides in prop::collection::btree_map(".{0,10}", ".{0,10}", 0..4),
            mirror in prop::option::of(".{0,10}"),
        ) {
            let row = TopicRow {
                id: TopicId::from_u128(id),
                name: name.into(),
                replication_factor,
                partitions: partitions
                    .into_iter()
                    .map(|(log_key, shard, epoch_base)| PartitionMeta {
                        log_key: log_key.into(),
                        shard,
                        epoch_base,
                    })
                    .collect(),
                overrides,
                mirror: mirror.map(Into::into),
            };
            prop_assert_eq!(decode_topic(&topic_key(&row.id), &encode(&row)).unwrap(), row);
        }

        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_topic(&topic_key(&TopicId::nil()), &value);
            let _ = decode_cluster(&value);
        }
    }
}
