//! From the key of a request to the log that it means, and back.
//!
//! `T` and `T/0` are partition 0 of topic T, `T/p` is partition p; every other key is a log of its own,
//! which Kafka clients do not see. So is `T` if another program has put records under that very key, as
//! long as there is no such topic. What would be the physical key of a partition, or is written like one
//! and is none, means nothing.

use std::sync::Arc;

use bytes::Bytes;
use trestle_storage::Log;

use super::error::ApiError;
use crate::broker::Rooms;
use crate::metadata::{Image, check_name};
use crate::partition::{AbortedTransaction, Partition};
use crate::types::{Offset, PartitionIndex};

/// Longest key.
const MAX_KEY_BYTES: usize = 1024;

/// What a key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A partition of a topic, which may not exist.
    Partition(String, PartitionIndex),
    /// A log that is no partition.
    Free(Bytes),
}

/// A key in an error message.
pub(super) fn shown(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&key[..key.len().min(100)]))
}

impl Name {
    /// # Errors
    /// A key that cannot be one.
    pub(super) fn parse(key: &Bytes) -> Result<Self, ApiError> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let len = key.len();
            return Err(ApiError::invalid(format!(
                "key: it must have 1 to {MAX_KEY_BYTES} bytes, this one has {len}"
            )));
        }
        let topic = |name: &[u8]| {
            let name = std::str::from_utf8(name).ok()?;
            check_name(name).is_ok().then(|| name.to_owned())
        };
        if let Some(name) = topic(key) {
            return Ok(Self::Partition(name, 0));
        }
        let slash = key.iter().position(|&byte| byte == b'/');
        let Some((name, rest)) = slash.and_then(|at| Some((topic(&key[..at])?, &key[at + 1..])))
        else {
            return Ok(Self::Free(key.clone()));
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match rest.get(digits) {
            None if digits > 0 => {
                let number = std::str::from_utf8(rest).ok().and_then(|n| n.parse().ok());
                let canonical =
                    number.filter(|n: &PartitionIndex| n.to_string().as_bytes() == rest);
                canonical
                    .map(|index| Self::Partition(name, index))
                    .ok_or_else(|| {
                        let key = shown(key);
                        ApiError::missing(format!("key {key}: partitions are written 0, 1, 2, ..."))
                    })
            }
            Some(0) if digits > 0 => {
                let key = shown(key);
                Err(ApiError::missing(format!(
                    "key {key}: there is no such log"
                )))
            }
            _ => Ok(Self::Free(key.clone())),
        }
    }

    /// The log that is meant, opened; `None` for a topic that does not exist.
    ///
    /// # Errors
    /// A partition that an existing topic does not have.
    pub(super) async fn open(&self, rooms: &Rooms) -> Result<Option<Opened>, ApiError> {
        match self {
            Self::Free(key) => {
                let log = rooms.log(key).await?;
                Ok(Some(Opened::Free(log)))
            }
            Self::Partition(name, index) => {
                let image = rooms.metadata.image();
                let Some(topic) = image.topic(name) else {
                    let own = own_log(rooms, name, *index).await?;
                    return Ok(own.map(Opened::Free));
                };
                match rooms.partitions.get(topic, *index).await? {
                    Some(partition) => {
                        // Only what transactions have decided is shown.
                        partition.settle(rooms.env.now()).await?;
                        Ok(Some(Opened::Partition(partition)))
                    }
                    None => Err(ApiError::missing(format!(
                        "key: topic {name:?} has no partition {index}, it has {}",
                        topic.partitions.len()
                    ))),
                }
            }
        }
    }
}

/// The log under the name of a topic that does not exist: one that the crate or OpenData Log has written.
pub(super) async fn own_log(
    rooms: &Rooms,
    name: &str,
    index: PartitionIndex,
) -> Result<Option<Log>, ApiError> {
    if index != 0 {
        return Ok(None);
    }
    let log = rooms.log(name.as_bytes()).await?;
    Ok((log.bounds().end_offset > 0).then_some(log))
}

/// An open log.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    /// A partition.
    Partition(Arc<Partition>),
    /// A log of its own.
    Free(Log),
}

impl Opened {
    /// The log itself.
    pub(super) fn log(&self) -> &Log {
        match self {
            Self::Partition(partition) => partition.log(),
            Self::Free(log) => log,
        }
    }

    /// Whether what is durable is not all shown yet: a transaction is open.
    pub(super) fn is_undecided(&self) -> bool {
        self.readable_end() < self.log().bounds().end_offset
    }

    /// The transactions that were aborted in a run of offsets.
    pub(super) fn aborted(&self, from: u64, to: u64) -> Vec<AbortedTransaction> {
        let offset = |offset| Offset::try_from(offset).unwrap_or(Offset::MAX);
        match self {
            Self::Partition(partition) => partition.aborted_within(offset(from), offset(to)),
            Self::Free(_) => Vec::new(),
        }
    }

    /// One past the highest offset that may be shown.
    pub(super) fn readable_end(&self) -> u64 {
        match self {
            Self::Partition(partition) => {
                u64::try_from(partition.offsets().last_stable).unwrap_or(0)
            }
            Self::Free(log) => log.bounds().end_offset,
        }
    }
}

/// The key by which users know the log with this physical key; `None` for one that is not theirs.
pub(super) fn name_of(image: &Image, physical: &Bytes) -> Option<Bytes> {
    let Some(slash) = physical.iter().position(|&byte| byte == b'/') else {
        // A topic's name alone is never the physical key of a partition.
        let name = std::str::from_utf8(physical).ok();
        let hidden = name.is_some_and(|name| image.topic(name).is_some());
        return (!hidden).then(|| physical.clone());
    };
    let name = std::str::from_utf8(&physical[..slash]).ok();
    let Some(name) = name.filter(|name| check_name(name).is_ok()) else {
        return Some(physical.clone());
    };
    let rest = &physical[slash + 1..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || !matches!(rest.get(digits), None | Some(0)) {
        return Some(physical.clone());
    }
    let index: usize = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let partition = image.topic(name)?.partitions.get(index)?;
    if partition.log_key != *physical {
        return None;
    }
    Some(match index {
        0 => Bytes::copy_from_slice(name.as_bytes()),
        _ => Bytes::from(format!("{name}/{index}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &'static [u8]) -> Option<Name> {
        Name::parse(&Bytes::from_static(key)).ok()
    }

    #[test]
    fn a_key_means_a_partition_or_itself() {
        let partition = |name: &str, index| Some(Name::Partition(name.into(), index));
        let free = |key: &'static [u8]| Some(Name::Free(Bytes::from_static(key)));
        assert_eq!(parse(b"orders"), partition("orders", 0));
        assert_eq!(parse(b"orders/0"), partition("orders", 0));
        assert_eq!(parse(b"orders/12"), partition("orders", 12));
        for refused in [
            &b"orders/01"[..],
            b"orders/99999999999",
            b"orders/0\0abc",
            b"",
        ] {
            assert_eq!(parse(refused), None, "{refused:?}");
        }
        for key in [
            &b"tenant:entity"[..],
            b"users/alice",
            b"a b",
            b"\xff\0",
            b"/0",
            b"orders/-1",
            b"orders/",
            b"a:b/0",
        ] {
            assert_eq!(parse(key), free(key), "{key:?}");
        }
    }

    #[test]
    fn physical_keys_have_names_while_their_topic_lives() {
        let image = Image::default();
        let name = |key: &'static [u8]| name_of(&image, &Bytes::from_static(key));
        assert_eq!(name(b"gone/0"), None);
        assert_eq!(
            name(b"of the crate"),
            Some(Bytes::from_static(b"of the crate"))
        );
        assert_eq!(name(b"orders"), Some(Bytes::from_static(b"orders")));
        assert_eq!(name(b"gone/0\0id"), None);
        assert_eq!(name(b"a:b/0"), Some(Bytes::from_static(b"a:b/0")));
        assert_eq!(
            name(b"users/alice"),
            Some(Bytes::from_static(b"users/alice"))
        );
    }
}
