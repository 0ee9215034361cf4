//! What a topic may be: its name, its partitions, its replicas.
//!
//! Pure: it judges a request against an [`Image`] and the broker's settings, in the order in which
//! Kafka does. The settings of a topic are judged by the table in `config`.

use std::collections::HashSet;
use std::ops::Bound;

use super::{Image, MetadataError, NewPartitions, NewTopic};
use crate::config::Config;

const MAX_NAME_BYTES: usize = 249;

/// Topics in which Kafka keeps its own state. Here that state is rows, so these never exist.
const INTERNAL: [&str; 4] = [
    "__cluster_metadata",
    "__consumer_offsets",
    "__share_group_state",
    "__transaction_state",
];

/// Whether `name` is one that Kafka keeps for itself.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether a topic may be called `name`; Kafka's `Topic.validate`.
pub fn check_name(name: &str) -> Result<(), MetadataError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let why = if name.is_empty() {
        "it is empty"
    } else if name == "." || name == ".." {
        "'.' and '..' are not allowed"
    } else if name.len() > MAX_NAME_BYTES {
        "it is longer than 249 characters"
    } else if !name.bytes().all(legal) {
        "it may hold only ASCII letters, digits, '.', '_' and '-'"
    } else {
        return Ok(());
    };
    Err(MetadataError::InvalidName {
        name: name.into(),
        why,
    })
}

/// How many partitions a new topic gets, and the replication factor it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) partitions: usize,
    pub(super) replication_factor: i16,
}

/// Judges everything about `topic` but its settings.
pub(super) fn check_new_topic(
    image: &Image,
    config: &Config,
    topic: &NewTopic,
) -> Result<Shape, MetadataError> {
    let name = topic.name.as_str();
    if image.topic(name).is_some() {
        return Err(MetadataError::TopicExists(name.into()));
    }
    check_name(name)?;
    if is_internal(name) {
        return Err(MetadataError::InvalidName {
            name: name.into(),
            why: "it is internal, and what Kafka keeps there this broker keeps elsewhere",
        });
    }
    if let Some(existing) = colliding(image, name) {
        return Err(MetadataError::NameCollides {
            name: name.into(),
            existing: existing.into(),
        });
    }
    if topic.assignments.is_empty() {
        Ok(Shape {
            partitions: partition_count(config, topic)?,
            replication_factor: replication_factor(config, topic)?,
        })
    } else {
        assigned(config, topic)
    }
}

/// Judges `new`, and answers how many partitions `current` becomes.
pub(super) fn check_new_partitions(
    config: &Config,
    current: usize,
    new: &NewPartitions,
) -> Result<usize, MetadataError> {
    let invalid = |why| MetadataError::InvalidPartitions {
        topic: new.topic.clone(),
        why,
    };
    let count = usize::try_from(new.count)
        .map_err(|_| invalid(format!("{} is not a number of partitions", new.count)))?;
    if count == current {
        return Err(invalid(format!("it already has {current} partitions")));
    }
    if count < current {
        return Err(invalid(format!(
            "it has {current} partitions, which is more than the requested {count}; partitions \
             cannot be removed"
        )));
    }
    if let Some(assignments) = &new.assignments {
        let added = count - current;
        if assignments.len() != added {
            return Err(MetadataError::InvalidAssignment {
                topic: new.topic.clone(),
                why: format!(
                    "{added} partitions are added, but replicas are assigned to {}",
                    assignments.len()
                ),
            });
        }
        check_replicas(config, &new.topic, assignments.iter().map(Vec::as_slice))?;
    }
    Ok(count)
}

/// An existing topic whose name is `name` but for '.' and '_'.
fn colliding<'a>(image: &'a Image, name: &str) -> Option<&'a str> {
    // Two names that collide are equal up to the first of these characters.
    let first = name.find(['.', '_'])?;
    let prefix = &name[..first];
    let fold = |byte: u8| if byte == b'.' { b'_' } else { byte };
    image
        .topics
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .map(|(existing, _)| &**existing)
        .take_while(|existing| existing.starts_with(prefix))
        .find(|existing| existing.bytes().map(fold).eq(name.bytes().map(fold)))
}

fn partition_count(config: &Config, topic: &NewTopic) -> Result<usize, MetadataError> {
    let count = topic.partitions.unwrap_or(config.num_partitions);
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(MetadataError::InvalidPartitions {
            topic: topic.name.clone(),
            why: format!(
                "{count} partitions were asked for; it must be at least 1, or -1 for the broker's \
                 default"
            ),
        }),
    }
}

fn replication_factor(config: &Config, topic: &NewTopic) -> Result<i16, MetadataError> {
    let factor = topic
        .replication_factor
        .unwrap_or(config.default_replication_factor);
    let invalid = |why| MetadataError::InvalidReplicationFactor {
        topic: topic.name.clone(),
        why,
    };
    if factor < 1 {
        return Err(invalid(format!(
            "replication factor {factor} was asked for; it must be at least 1, or -1 for the \
             broker's default"
        )));
    }
    if config.strict_replication && factor > 1 {
        return Err(invalid(format!(
            "replication factor {factor} is larger than the number of brokers, 1"
        )));
    }
    Ok(factor)
}

/// Judges replicas that were assigned by hand.
fn assigned(config: &Config, topic: &NewTopic) -> Result<Shape, MetadataError> {
    if topic.partitions.is_some() || topic.replication_factor.is_some() {
        return Err(MetadataError::AssignmentBesideCounts(topic.name.clone()));
    }
    let mut indexes: Vec<i32> = topic.assignments.iter().map(|(index, _)| *index).collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq(0..indexes.len() as i32) {
        return Err(MetadataError::InvalidAssignment {
            topic: topic.name.clone(),
            why: "the partitions must be numbered from 0 on, without a gap and each once".into(),
        });
    }
    let replicas = topic.assignments.iter().map(|(_, brokers)| &brokers[..]);
    let replication_factor = check_replicas(config, &topic.name, replicas)?;
    Ok(Shape {
        partitions: indexes.len(),
        replication_factor,
    })
}

/// Judges lists of replicas, of which there is at least one; answers their common length.
fn check_replicas<'a>(
    config: &Config,
    topic: &str,
    mut lists: impl Iterator<Item = &'a [i32]>,
) -> Result<i16, MetadataError> {
    let invalid = |why| MetadataError::InvalidAssignment {
        topic: topic.into(),
        why,
    };
    let mut length = None;
    lists.try_for_each(|brokers| {
        let mut seen = HashSet::new();
        for broker in brokers {
            if *broker != config.node_id {
                return Err(invalid(format!("broker {broker} is not known")));
            }
            if !seen.insert(broker) {
                return Err(invalid(format!(
                    "broker {broker} is named twice for a partition"
                )));
            }
        }
        if brokers.is_empty() {
            return Err(invalid("a partition has no replica".into()));
        }
        match length.replace(brokers.len()) {
            Some(before) if before != brokers.len() => {
                Err(invalid("all partitions must have as many replicas".into()))
            }
            _ => Ok(()),
        }
    })?;
    Ok(length
        .and_then(|length| length.try_into().ok())
        .unwrap_or(1))
}
