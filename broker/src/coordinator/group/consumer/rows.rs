//! The bytes of a consumer group's rows. A number is never reused; the tests below pin the bytes.
//!
//! A key is `consumer/`, the group id, a letter that says which row it is, and for all but the first the
//! member id. Fields are as in [`crate::coordinator::group::encoding`].
//!
//! | letter | row | value, after the format byte |
//! |---|---|---|
//! | `g` | group | epoch (i32), epoch of its target (i32), fingerprint of the topics it wants (u64) |
//! | `m` | member | instance?, rack?, client id, client host, rebalance timeout (i32), topics, regex, assignor (u8), classic? |
//! | `p` | position | epoch (i32), epoch before (i32), progress (u8), assigned, to be given up |
//! | `t` | target | topics: id (16 bytes), partitions (i32 each) |
//!
//! What is marked ? is a byte that is 1 and the value, or 0. Assignors: 0 none, 1
//! uniform, 2 range. Progress: 0 stable, 1 unrevoked, 2 unreleased. A classic side is its session
//! timeout (i32) and a list of protocols, name and metadata. Assigned partitions are like a target's,
//! with the epoch at which each was given (i32) behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BufMut;

use super::member::{Assigned, ClassicSide, Member, Partitions, Position, Progress};
use crate::coordinator::group::assignor::Assignor;
use crate::coordinator::group::encoding::{Fields, put_bytes, put_count, put_maybe, put_text};

/// Keys start so.
const PREFIX: &str = "consumer/";

const FORMAT: u8 = 1;

/// A piece of hard state; `None` takes it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// The group itself.
    Head(Option<Head>),
    /// What a member said of itself; to take it away is to take the member out.
    Member(Arc<str>, Option<Box<Member>>),
    /// What a member is to have.
    Target(Arc<str>, Option<Partitions>),
    /// Where a member stands.
    Position(Arc<str>, Option<Position>),
}

/// What is kept of the group itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Rises with every change of members, of what they want, or of the topics that they want.
    pub epoch: i32,
    /// The epoch that the targets were made for.
    pub assignment_epoch: i32,
    /// Changes with the topics that they want.
    pub fingerprint: u64,
}

impl Row {
    /// Key and value, as [`super::super::Row`] stores them.
    pub(in super::super) fn encode(&self, group: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        let (letter, member, value) = match self {
            Self::Head(head) => (b'g', None, head.as_ref().map(encode_head)),
            Self::Member(id, said) => (b'm', Some(id), said.as_deref().map(encode_member)),
            Self::Target(id, target) => (b't', Some(id), target.as_ref().map(encode_target)),
            Self::Position(id, position) => {
                (b'p', Some(id), position.as_ref().map(encode_position))
            }
        };
        let mut key = PREFIX.as_bytes().to_vec();
        put_text(&mut key, group);
        key.put_u8(letter);
        if let Some(member) = member {
            put_text(&mut key, member);
        }
        (key, value)
    }

    /// The group and the row under `key`, which starts with `consumer/`.
    pub(in super::super) fn decode(key: &[u8], value: &[u8]) -> Result<(Arc<str>, Self), String> {
        let mut key = Fields::of_key(key, PREFIX)?;
        let group = key.text()?;
        let letter = key.u8()?;
        let mut fields = Fields::of_value(value, FORMAT)?;
        let row = match letter {
            b'g' => Self::Head(Some(Head {
                epoch: fields.i32()?,
                assignment_epoch: fields.i32()?,
                fingerprint: fields.u64()?,
            })),
            b'm' => Self::Member(key.text()?, Some(Box::new(read_member(&mut fields)?))),
            b't' => Self::Target(key.text()?, Some(read_target(&mut fields)?)),
            b'p' => Self::Position(key.text()?, Some(read_position(&mut fields)?)),
            _ => return Err("is of a kind that this version does not know".into()),
        };
        key.end()?;
        fields.end()?;
        Ok((group, row))
    }
}

fn encode_head(head: &Head) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.put_i32(head.epoch);
    out.put_i32(head.assignment_epoch);
    out.put_u64(head.fingerprint);
    out
}

fn encode_member(said: &Member) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_maybe(&mut out, said.instance.as_deref());
    put_maybe(&mut out, said.rack.as_deref());
    put_text(&mut out, &said.client_id);
    put_text(&mut out, &said.client_host);
    out.put_i32(said.rebalance_timeout);
    put_count(&mut out, said.topics.len());
    for topic in &said.topics {
        put_text(&mut out, topic);
    }
    put_text(&mut out, &said.regex);
    out.put_u8(match said.assignor {
        None => 0,
        Some(Assignor::Uniform) => 1,
        Some(Assignor::Range) => 2,
    });
    out.put_u8(said.classic.is_some().into());
    if let Some(classic) = &said.classic {
        out.put_i32(classic.session_timeout);
        put_count(&mut out, classic.protocols.len());
        for (name, metadata) in &classic.protocols {
            put_text(&mut out, name);
            put_bytes(&mut out, metadata);
        }
    }
    out
}

fn read_member(fields: &mut Fields<'_>) -> Result<Member, String> {
    let mut said = Member {
        instance: fields.maybe()?,
        rack: fields.maybe()?,
        client_id: fields.text()?,
        client_host: fields.text()?,
        rebalance_timeout: fields.i32()?,
        ..Member::default()
    };
    for _ in 0..fields.u32()? {
        said.topics.insert(fields.text()?);
    }
    said.regex = fields.text()?;
    said.assignor = match fields.u8()? {
        0 => None,
        1 => Some(Assignor::Uniform),
        2 => Some(Assignor::Range),
        other => {
            return Err(format!(
                "names the assignor {other}, which this version does not know"
            ));
        }
    };
    if fields.flag()? {
        let mut classic = ClassicSide {
            session_timeout: fields.i32()?,
            protocols: Vec::new(),
        };
        for _ in 0..fields.u32()? {
            classic.protocols.push((fields.text()?, fields.bytes()?));
        }
        said.classic = Some(classic);
    }
    Ok(said)
}

fn encode_target(target: &Partitions) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_count(&mut out, target.len());
    for (topic, partitions) in target {
        out.put_slice(topic.as_bytes());
        put_count(&mut out, partitions.len());
        for partition in partitions {
            out.put_i32(*partition);
        }
    }
    out
}

fn read_target(fields: &mut Fields<'_>) -> Result<Partitions, String> {
    let mut target = Partitions::new();
    for _ in 0..fields.u32()? {
        let of_topic = target.entry(fields.uuid()?).or_default();
        for _ in 0..fields.u32()? {
            of_topic.push(fields.i32()?);
        }
    }
    Ok(target)
}

fn encode_position(position: &Position) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.put_i32(position.epoch);
    out.put_i32(position.previous);
    out.put_u8(match position.progress {
        Progress::Stable => 0,
        Progress::Unrevoked => 1,
        Progress::Unreleased => 2,
    });
    for assigned in [&position.assigned, &position.revoking] {
        put_count(&mut out, assigned.len());
        for (topic, partitions) in assigned {
            out.put_slice(topic.as_bytes());
            put_count(&mut out, partitions.len());
            for (partition, epoch) in partitions {
                out.put_i32(*partition);
                out.put_i32(*epoch);
            }
        }
    }
    out
}

fn read_position(fields: &mut Fields<'_>) -> Result<Position, String> {
    Ok(Position {
        epoch: fields.i32()?,
        previous: fields.i32()?,
        progress: match fields.u8()? {
            0 => Progress::Stable,
            1 => Progress::Unrevoked,
            2 => Progress::Unreleased,
            other => {
                return Err(format!(
                    "has progress {other}, which this version does not know"
                ));
            }
        },
        assigned: read_assigned(fields)?,
        revoking: read_assigned(fields)?,
    })
}

fn read_assigned(fields: &mut Fields<'_>) -> Result<Assigned, String> {
    let mut assigned = Assigned::new();
    for _ in 0..fields.u32()? {
        let of_topic: &mut BTreeMap<_, _> = assigned.entry(fields.uuid()?).or_default();
        for _ in 0..fields.u32()? {
            let partition = fields.i32()?;
            of_topic.insert(partition, fields.i32()?);
        }
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;
    use crate::types::TopicId;

    fn topic(n: u128) -> TopicId {
        TopicId::from_u128(n)
    }

    fn rows() -> Vec<Row> {
        let assigned =
            |partition, epoch| Assigned::from([(topic(1), BTreeMap::from([(partition, epoch)]))]);
        vec![
            Row::Head(Some(Head {
                epoch: 3,
                assignment_epoch: 2,
                fingerprint: 0x0102_0304_0506_0708,
            })),
            Row::Member(
                "m".into(),
                Some(Box::new(Member {
                    instance: Some("i".into()),
                    rack: None,
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    rebalance_timeout: 5,
                    topics: BTreeSet::from(["a".into(), "b".into()]),
                    regex: "r".into(),
                    assignor: Some(Assignor::Range),
                    classic: Some(ClassicSide {
                        session_timeout: 6,
                        protocols: vec![("range".into(), Bytes::from_static(&[0, 1]))],
                    }),
                })),
            ),
            Row::Target("m".into(), Some(Partitions::from([(topic(1), vec![0, 2])]))),
            Row::Position(
                "m".into(),
                Some(Position {
                    epoch: 2,
                    previous: 1,
                    progress: Progress::Unrevoked,
                    assigned: assigned(0, 2),
                    revoking: assigned(3, 1),
                }),
            ),
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }

    #[test]
    fn golden_bytes() {
        let group: Arc<str> = "grp".into();
        let encoded = rows().into_iter().map(|row| {
            let (key, value) = row.encode(&group);
            (hex(&key), hex(&value.unwrap()))
        });
        let expected = [
            (
                "636f6e73756d65722f0000000367727067",
                "0100000003000000020102030405060708",
            ),
            (
                "636f6e73756d65722f000000036772706d000000016d",
                "01010000000169000000000163000000022f680000000500000002000000016100000001620000000172\
                 02010000000600000001000000057261\
                 6e6765000000020001",
            ),
            (
                "636f6e73756d65722f0000000367727074000000016d",
                "010000000100000000000000000000000000000001000000020000000000000002",
            ),
            (
                "636f6e73756d65722f0000000367727070000000016d",
                "01000000020000000101000000010000000000000000000000000000000100000001000000000000000\
                 200000001000000000000000000000000000000010000000100000003\
                 00000001",
            ),
        ];
        for ((key, value), (golden_key, golden_value)) in encoded.zip(expected) {
            assert_eq!((&*key, &*value), (golden_key, golden_value));
        }
    }

    #[test]
    fn rows_come_back() {
        let group: Arc<str> = "grp".into();
        for row in rows() {
            let (key, value) = row.encode(&group);
            let value = value.unwrap();
            assert_eq!(Row::decode(&key, &value), Ok((group.clone(), row.clone())));
            for cut in 0..value.len() {
                assert!(
                    Row::decode(&key, &value[..cut]).is_err(),
                    "{row:?} cut at {cut}"
                );
            }
            let longer = [&value[..], &[0]].concat();
            assert!(Row::decode(&key, &longer).is_err());
            let newer = [&[2], &value[1..]].concat();
            let error = Row::decode(&key, &newer).unwrap_err();
            assert!(error.contains("format 2"), "{error}");
        }
        for row in [
            Row::Head(None),
            Row::Member("m".into(), None),
            Row::Target("m".into(), None),
            Row::Position("m".into(), None),
        ] {
            assert_eq!(row.encode(&group).1, None);
        }
    }
}
