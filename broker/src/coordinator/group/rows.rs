//! The bytes of groups: a row for a classic group, one for each committed offset, one for each offset
//! of an open transaction, one for each producer whose transactions ended here.
//!
//! Every value starts with a format byte; a number is never reused, and the tests below pin the bytes.
//! Fields are as in [`super::encoding`].
//!
//! | row | key, after `group/` | value, after the format byte |
//! |---|---|---|
//! | classic | `classic/`, group | generation (i32), when it became empty (i64), protocol type, protocol, leader, members |
//! | offset | `offset/`, group, topic, partition (i32) | offset (i64), leader epoch (i32), committed at (i64), topic id, metadata |
//! | pending | `pending/`, group, producer id (i64), topic, partition (i32) | producer epoch (i16), order (u64), superseded (u8), then as an offset |
//! | fence | `fence/`, group, producer id (i64) | producer epoch (i16), when (i64) |
//! | consumer | `consumer/`... | see [`super::consumer`] |
//!
//! Groups, topics, protocol types and metadata are texts; protocol and leader are texts that may be
//! missing: a byte 0, or 1 and the text. A member is its id, instance id (may be missing), client id, host,
//! rebalance timeout (i32), session timeout (i32), a list of protocols (name, bytes), and its
//! assignment (bytes).

use std::sync::Arc;

use bytes::BufMut;

use super::classic::{Member, Snapshot};
use super::consumer;
use super::encoding::{Fields, put_bytes, put_count, put_maybe, put_text};
use super::offsets::{Committed, Fence, Pending};
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId};

const CLASSIC: &str = "classic/";
const OFFSET: &str = "offset/";
const PENDING: &str = "pending/";
const FENCE: &str = "fence/";
const CONSUMER: &str = "consumer/";

const CLASSIC_FORMAT: u8 = 1;
const OFFSET_FORMAT: u8 = 1;
/// The same fields, of an offset that the bridge has brought.
const IMPORTED_FORMAT: u8 = 2;
const PENDING_FORMAT: u8 = 1;
const FENCE_FORMAT: u8 = 1;

/// A piece of hard state; without a value it forgets what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A classic group between rebalances.
    Classic {
        /// Its id.
        group: Arc<str>,
        /// What it is.
        state: Option<Arc<Snapshot>>,
    },
    /// A committed offset.
    Offset {
        /// Whose.
        group: Arc<str>,
        /// Of which topic.
        topic: Arc<str>,
        /// Of which partition.
        partition: PartitionIndex,
        /// What was committed.
        value: Option<Committed>,
    },
    /// An offset that becomes one when its transaction is committed.
    Pending {
        /// Whose.
        group: Arc<str>,
        /// By which producer.
        producer: ProducerId,
        /// Of which topic.
        topic: Arc<str>,
        /// Of which partition.
        partition: PartitionIndex,
        /// What is to be committed.
        value: Option<Pending>,
    },
    /// The lowest epoch of a producer that may still bring offsets.
    Fence {
        /// To which group.
        group: Arc<str>,
        /// Which producer.
        producer: ProducerId,
        /// Its epoch.
        value: Option<Fence>,
    },
    /// Something of a consumer group.
    Consumer {
        /// Which.
        group: Arc<str>,
        /// What.
        row: consumer::Row,
    },
}

impl Row {
    /// The group it concerns.
    pub fn group(&self) -> &Arc<str> {
        match self {
            Self::Classic { group, .. }
            | Self::Offset { group, .. }
            | Self::Pending { group, .. }
            | Self::Fence { group, .. }
            | Self::Consumer { group, .. } => group,
        }
    }

    /// Key and value.
    pub(super) fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Self::Classic { group, state } => {
                let key = key(CLASSIC, group);
                (key, state.as_deref().map(encode_classic))
            }
            Self::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                let mut key = key(OFFSET, group);
                put_text(&mut key, topic);
                key.put_i32(*partition);
                let value = value.as_ref().map(|committed| {
                    let mut out = vec![match committed.imported {
                        true => IMPORTED_FORMAT,
                        false => OFFSET_FORMAT,
                    }];
                    put_committed(&mut out, committed);
                    out
                });
                (key, value)
            }
            Self::Pending {
                group,
                producer,
                topic,
                partition,
                value,
            } => {
                let mut key = key(PENDING, group);
                key.put_i64(producer.0);
                put_text(&mut key, topic);
                key.put_i32(*partition);
                let value = value.as_ref().map(|pending| {
                    let mut out = vec![PENDING_FORMAT];
                    out.put_i16(pending.epoch.0);
                    out.put_u64(pending.order);
                    out.put_u8(pending.superseded.into());
                    put_committed(&mut out, &pending.committed);
                    out
                });
                (key, value)
            }
            Self::Fence {
                group,
                producer,
                value,
            } => {
                let mut key = key(FENCE, group);
                key.put_i64(producer.0);
                let value = value.as_ref().map(|fence| {
                    let mut out = vec![FENCE_FORMAT];
                    out.put_i16(fence.epoch.0);
                    out.put_i64(fence.at);
                    out
                });
                (key, value)
            }
            Self::Consumer { group, row } => row.encode(group),
        }
    }

    /// The row stored under `key`.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, String> {
        let kind = [CLASSIC, OFFSET, PENDING, FENCE, CONSUMER]
            .into_iter()
            .find(|kind| key.starts_with(kind.as_bytes()));
        let decoded = match kind {
            Some(CLASSIC) => decode_classic(key, value),
            Some(OFFSET) => decode_offset(key, value),
            Some(PENDING) => decode_pending(key, value),
            Some(FENCE) => decode_fence(key, value),
            Some(CONSUMER) => {
                consumer::Row::decode(key, value).map(|(group, row)| Self::Consumer { group, row })
            }
            _ => Err("is of a kind that this version does not know".into()),
        };
        decoded.map_err(|what| format!("row group/{} {what}", key.escape_ascii()))
    }
}

fn key(kind: &str, group: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(kind.len() + group.len() + 64);
    key.put_slice(kind.as_bytes());
    put_text(&mut key, group);
    key
}

fn put_committed(out: &mut Vec<u8>, committed: &Committed) {
    out.put_i64(committed.offset.offset);
    out.put_i32(committed.offset.leader_epoch);
    out.put_i64(committed.at);
    out.put_slice(committed.topic_id.as_bytes());
    put_text(out, &committed.offset.metadata);
}

fn committed(fields: &mut Fields<'_>) -> Result<Committed, String> {
    let offset = fields.i64()?;
    let leader_epoch = fields.i32()?;
    let at = fields.i64()?;
    let topic_id = fields.uuid()?;
    let metadata = fields.text()?;
    Ok(Committed {
        offset: super::commands::NewOffset {
            offset,
            leader_epoch,
            metadata,
        },
        at,
        topic_id,
        imported: false,
    })
}

fn encode_classic(state: &Snapshot) -> Vec<u8> {
    let mut out = vec![CLASSIC_FORMAT];
    out.put_i32(state.generation);
    out.put_i64(state.since);
    put_text(&mut out, &state.protocol_type);
    put_maybe(&mut out, state.protocol.as_deref());
    put_maybe(&mut out, state.leader.as_deref());
    put_count(&mut out, state.members.len());
    for member in &state.members {
        put_text(&mut out, &member.id);
        put_maybe(&mut out, member.instance.as_deref());
        put_text(&mut out, &member.client_id);
        put_text(&mut out, &member.client_host);
        out.put_i32(member.rebalance_timeout_ms);
        out.put_i32(member.session_timeout_ms);
        put_count(&mut out, member.protocols.len());
        for (name, metadata) in &member.protocols {
            put_text(&mut out, name);
            put_bytes(&mut out, metadata);
        }
        put_bytes(&mut out, &member.assignment);
    }
    out
}

fn decode_classic(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let mut fields = Fields::of_key(key, CLASSIC)?;
    let group = fields.text()?;
    fields.end()?;
    let mut fields = Fields::of_value(value, CLASSIC_FORMAT)?;
    let mut state = Snapshot {
        generation: fields.i32()?,
        since: fields.i64()?,
        protocol_type: fields.text()?,
        protocol: fields.maybe()?,
        leader: fields.maybe()?,
        members: Vec::new(),
    };
    // Counts are not trusted for allocation.
    for _ in 0..fields.u32()? {
        let mut member = Member {
            id: fields.text()?,
            instance: fields.maybe()?,
            client_id: fields.text()?,
            client_host: fields.text()?,
            rebalance_timeout_ms: fields.i32()?,
            session_timeout_ms: fields.i32()?,
            protocols: Vec::new(),
            assignment: bytes::Bytes::new(),
        };
        for _ in 0..fields.u32()? {
            member.protocols.push((fields.text()?, fields.bytes()?));
        }
        member.assignment = fields.bytes()?;
        state.members.push(member);
    }
    fields.end()?;
    Ok(Row::Classic {
        group,
        state: Some(Arc::new(state)),
    })
}

fn decode_offset(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let mut fields = Fields::of_key(key, OFFSET)?;
    let (group, topic, partition) = (fields.text()?, fields.text()?, fields.i32()?);
    fields.end()?;
    let imported = value.first() == Some(&IMPORTED_FORMAT);
    let format = if imported {
        IMPORTED_FORMAT
    } else {
        OFFSET_FORMAT
    };
    let mut fields = Fields::of_value(value, format)?;
    let committed = Committed {
        imported,
        ..committed(&mut fields)?
    };
    fields.end()?;
    Ok(Row::Offset {
        group,
        topic,
        partition,
        value: Some(committed),
    })
}

fn decode_pending(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let mut fields = Fields::of_key(key, PENDING)?;
    let (group, producer) = (fields.text()?, ProducerId(fields.i64()?));
    let (topic, partition) = (fields.text()?, fields.i32()?);
    fields.end()?;
    let mut fields = Fields::of_value(value, PENDING_FORMAT)?;
    let pending = Pending {
        epoch: ProducerEpoch(fields.i16()?),
        order: fields.u64()?,
        superseded: fields.flag()?,
        committed: committed(&mut fields)?,
    };
    fields.end()?;
    Ok(Row::Pending {
        group,
        producer,
        topic,
        partition,
        value: Some(pending),
    })
}

fn decode_fence(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let mut fields = Fields::of_key(key, FENCE)?;
    let (group, producer) = (fields.text()?, ProducerId(fields.i64()?));
    fields.end()?;
    let mut fields = Fields::of_value(value, FENCE_FORMAT)?;
    let fence = Fence {
        epoch: ProducerEpoch(fields.i16()?),
        at: fields.i64()?,
    };
    fields.end()?;
    Ok(Row::Fence {
        group,
        producer,
        value: Some(fence),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::commands::NewOffset;
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[track_caller]
    fn golden(row: &Row, key: &[u8], value: &str) {
        let (stored_key, stored) = row.encode();
        assert_eq!(
            stored_key.escape_ascii().to_string(),
            key.escape_ascii().to_string()
        );
        let stored = stored.expect("it has a value");
        assert_eq!(hex(&stored), value);
        assert_eq!(Row::decode(&stored_key, &stored).as_ref(), Ok(row));
        // Nothing is taken for a row that is cut or has something behind it.
        assert!(Row::decode(&stored_key, &stored[..stored.len() - 1]).is_err());
        assert!(Row::decode(&stored_key, &[&stored[..], b"x"].concat()).is_err());
        let mut newer = stored.clone();
        newer[0] = 99;
        assert!(
            Row::decode(&stored_key, &newer)
                .unwrap_err()
                .contains("format 99")
        );
    }

    fn committed() -> Committed {
        Committed {
            offset: NewOffset {
                offset: 0x0102,
                leader_epoch: 3,
                metadata: "note".into(),
            },
            at: 0x0304,
            topic_id: uuid::Uuid::from_bytes([7; 16]),
            imported: false,
        }
    }

    // These pin what is on disk: a change here is a change of format, with a new format byte.
    #[test]
    fn golden_bytes() {
        golden(
            &Row::Offset {
                group: "g".into(),
                topic: "t".into(),
                partition: 5,
                value: Some(committed()),
            },
            b"offset/\0\0\0\x01g\0\0\0\x01t\0\0\0\x05",
            "01000000000000010200000003000000000000030407070707070707070707070707070707000000046e6f7465",
        );
        golden(
            &Row::Offset {
                group: "g".into(),
                topic: "t".into(),
                partition: 5,
                value: Some(Committed {
                    imported: true,
                    ..committed()
                }),
            },
            b"offset/\0\0\0\x01g\0\0\0\x01t\0\0\0\x05",
            "02000000000000010200000003000000000000030407070707070707070707070707070707000000046e6f7465",
        );
        golden(
            &Row::Pending {
                group: "g".into(),
                producer: ProducerId(9),
                topic: "t".into(),
                partition: 5,
                value: Some(Pending {
                    epoch: ProducerEpoch(2),
                    order: 6,
                    superseded: true,
                    committed: committed(),
                }),
            },
            b"pending/\0\0\0\x01g\0\0\0\0\0\0\0\x09\0\0\0\x01t\0\0\0\x05",
            "01000200000000000000060100000000000001020000000300000000000003040707070707070707070707070707\
             0707000000046e6f7465",
        );
        golden(
            &Row::Fence {
                group: "g".into(),
                producer: ProducerId(9),
                value: Some(Fence {
                    epoch: ProducerEpoch(2),
                    at: 0x0304,
                }),
            },
            b"fence/\0\0\0\x01g\0\0\0\0\0\0\0\x09",
            "0100020000000000000304",
        );
        let member = Member {
            id: "m".into(),
            instance: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 1,
            session_timeout_ms: 2,
            protocols: vec![("range".into(), Bytes::from_static(b"\x01\x02"))],
            assignment: Bytes::from_static(b"\x03"),
        };
        golden(
            &Row::Classic {
                group: "g".into(),
                state: Some(Arc::new(Snapshot {
                    generation: 4,
                    since: -1,
                    protocol_type: "consumer".into(),
                    protocol: Some("range".into()),
                    leader: Some("m".into()),
                    members: vec![member],
                })),
            },
            b"classic/\0\0\0\x01g",
            "0100000004ffffffffffffffff00000008636f6e73756d6572010000000572616e676501000000016d00000001\
             000000016d01000000016900000001630000\
             00022f68000000010000000200000001000000\
             0572616e6765000000020102000000\
             0103",
        );
    }

    #[test]
    fn rows_of_no_known_kind_are_refused() {
        assert!(Row::decode(b"other/", &[1]).is_err());
        assert!(Row::decode(b"", &[]).is_err());
        assert!(Row::decode(b"offset/\0", &[1]).is_err());
    }
}
