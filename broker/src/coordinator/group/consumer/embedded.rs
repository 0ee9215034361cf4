//! What classic consumers put into the bytes of their group protocol: a subscription in JoinGroup, an
//! assignment in SyncGroup. Owns the formats.
//!
//! | version | subscription | assignment |
//! |---|---|---|
//! | 0 | topics, user data | partitions, user data |
//! | 1 | and the partitions owned | as 0 |
//! | 2 | and the generation | as 0 |
//! | 3 | and the rack | as 0 |
//!
//! Versions from above are read as version 3, as Kafka does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};

use super::member::Partitions;
use crate::metadata::Image;
use crate::types::PartitionIndex;

/// Highest version known here.
const NEWEST: i16 = 3;

/// What a classic consumer wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) version: i16,
    pub(super) topics: Vec<Arc<str>>,
    pub(super) owned: BTreeMap<Arc<str>, Vec<PartitionIndex>>,
    pub(super) rack: Option<Arc<str>>,
}

/// What a classic consumer has been given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) partitions: BTreeMap<Arc<str>, Vec<PartitionIndex>>,
    /// Whether an assignor has put something of its own in.
    pub(super) has_user_data: bool,
}

/// The version that `bytes` begin with.
pub(super) fn version(mut bytes: &[u8]) -> Option<i16> {
    let version = bytes.try_get_i16().ok()?;
    (version >= 0).then_some(version.min(NEWEST))
}

/// Reads a subscription; `None` if that is not what `bytes` are.
pub(super) fn read_subscription(bytes: &[u8]) -> Option<Subscription> {
    let version = version(bytes)?;
    let rest = &mut &bytes[2..];
    let count = count(rest)?;
    let topics = (0..count).map(|_| text(rest)).collect::<Option<_>>()?;
    skip_bytes(rest)?;
    let owned = if version >= 1 {
        partitions(rest)?
    } else {
        BTreeMap::new()
    };
    if version >= 2 {
        rest.try_get_i32().ok()?;
    }
    let rack = if version >= 3 {
        nullable_text(rest)?
    } else {
        None
    };
    Some(Subscription {
        version,
        topics,
        owned,
        rack,
    })
}

/// Reads an assignment; `None` if that is not what `bytes` are. No bytes are an empty assignment.
pub(super) fn read_assignment(bytes: &[u8]) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::default());
    }
    version(bytes)?;
    let rest = &mut &bytes[2..];
    let partitions = partitions(rest)?;
    let has_user_data = skip_bytes(rest)? > 0;
    Some(Assignment {
        partitions,
        has_user_data,
    })
}

/// Writes an assignment in the layout of `version`. Topics that are gone are left out.
pub(super) fn write_assignment(version: i16, partitions: &Partitions, image: &Image) -> Vec<u8> {
    let named: BTreeMap<&str, &Vec<PartitionIndex>> = partitions
        .iter()
        .filter_map(|(id, partitions)| Some((&*image.topic_by_id(id)?.name, partitions)))
        .collect();
    let mut out = Vec::new();
    out.put_i16(version);
    out.put_i32(length(named.len()));
    for (name, partitions) in named {
        out.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        out.put_slice(name.as_bytes());
        out.put_i32(length(partitions.len()));
        for partition in partitions {
            out.put_i32(*partition);
        }
    }
    // No user data.
    out.put_i32(-1);
    out
}

fn length(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

/// A count that the bytes left could bear out.
fn count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    (count <= rest.len()).then_some(count)
}

fn text(rest: &mut &[u8]) -> Option<Arc<str>> {
    nullable_text(rest)?
}

#[allow(clippy::option_option, reason = "unreadable and null are two things")]
fn nullable_text(rest: &mut &[u8]) -> Option<Option<Arc<str>>> {
    let Ok(length) = usize::try_from(rest.try_get_i16().ok()?) else {
        return Some(None);
    };
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Some(std::str::from_utf8(text).ok()?.into()))
}

fn skip_bytes(rest: &mut &[u8]) -> Option<usize> {
    let Ok(length) = usize::try_from(rest.try_get_i32().ok()?) else {
        return Some(0);
    };
    *rest = rest.split_at_checked(length)?.1;
    Some(length)
}

fn partitions(rest: &mut &[u8]) -> Option<BTreeMap<Arc<str>, Vec<PartitionIndex>>> {
    let mut by_topic = BTreeMap::<Arc<str>, Vec<PartitionIndex>>::new();
    for _ in 0..count(rest)? {
        let topic = by_topic.entry(text(rest)?).or_default();
        for _ in 0..count(rest)? {
            topic.push(rest.try_get_i32().ok()?);
        }
    }
    Some(by_topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_of_each_version() {
        let v0 = [&[0u8, 0][..], &[0, 0, 0, 1, 0, 1, b't'], &[0xff; 4]].concat();
        let read = read_subscription(&v0).unwrap();
        assert_eq!((read.version, read.topics), (0, vec!["t".into()]));

        let body = [
            &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 9][..],
            &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 0, 0, 5, 0, 1, b'r'],
        ]
        .concat();
        for version in [3u8, 9] {
            let bytes = [&[0, version][..], &body].concat();
            let read = read_subscription(&bytes).unwrap();
            assert_eq!(read.version, 3);
            assert_eq!(read.owned, BTreeMap::from([("t".into(), vec![0, 7])]));
            assert_eq!(read.rack.as_deref(), Some("r"));
            for cut in 0..bytes.len() {
                assert_eq!(read_subscription(&bytes[..cut]), None, "cut at {cut}");
            }
        }
        assert_eq!(read_subscription(&[0xff, 0xff, 0, 0, 0, 0]), None);
        assert_eq!(read_subscription(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn assignments_are_read_and_written() {
        assert_eq!(read_assignment(&[]), Some(Assignment::default()));
        let bytes = write_assignment(1, &Partitions::new(), &Image::default());
        assert_eq!(bytes, [0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(read_assignment(&bytes), Some(Assignment::default()));
        let with_user_data = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 42];
        assert!(read_assignment(&with_user_data).unwrap().has_user_data);
    }
}
