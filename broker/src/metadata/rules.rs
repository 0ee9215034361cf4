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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::TopicConfig;
    use crate::metadata::{PartitionMeta, Topic};
    use crate::types::TopicId;

    fn image(names: &[&str]) -> Image {
        let mut image = Image::default();
        for (number, name) in names.iter().enumerate() {
            image.insert(Arc::new(Topic {
                id: TopicId::from_u128(number as u128 + 1),
                name: (*name).into(),
                partitions: vec![PartitionMeta {
                    log_key: format!("{name}/0").into(),
                    shard: 0,
                    epoch_base: 0,
                }],
                replication_factor: 1,
                overrides: Default::default(),
                config: Arc::new(TopicConfig::default()),
                mirror: None,
            }));
        }
        image
    }

    fn named(name: &str) -> NewTopic {
        NewTopic {
            name: name.into(),
            ..NewTopic::default()
        }
    }

    fn judge(new: NewTopic) -> Result<Shape, MetadataError> {
        check_new_topic(&Image::default(), &Config::default(), &new)
    }

    #[test]
    fn names_are_kafka_s() {
        let longest = "a".repeat(249);
        for name in ["a", "A-1_b.c", "...", "__x", &longest] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let too_long = "a".repeat(250);
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\0", &too_long] {
            assert!(
                matches!(check_name(name), Err(MetadataError::InvalidName { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn names_that_metrics_cannot_tell_apart_collide() {
        let image = image(&["a.b_c", "plain", "a"]);
        for (name, existing) in [
            ("a_b.c", Some("a.b_c")),
            ("a_b_c", Some("a.b_c")),
            ("a.b.d", None),
            ("a-b_c", None),
            ("plain.", None),
            ("_a.b_c", None),
        ] {
            assert_eq!(colliding(&image, name), existing, "{name}");
        }
        let error = check_new_topic(&image, &Config::default(), &named("a.b.c")).unwrap_err();
        assert!(matches!(error, MetadataError::NameCollides { .. }));
        assert!(error.to_string().contains("a.b_c"));
    }

    #[test]
    fn a_name_is_given_once() {
        let error = check_new_topic(&image(&["t"]), &Config::default(), &named("t")).unwrap_err();
        assert!(matches!(error, MetadataError::TopicExists(_)));
    }

    #[test]
    fn internal_names_are_refused() {
        assert!(matches!(
            judge(named("__consumer_offsets")),
            Err(MetadataError::InvalidName { .. })
        ));
    }

    #[test]
    fn counts_default_to_the_broker_s() {
        let config = Config {
            num_partitions: 7,
            default_replication_factor: 3,
            ..Config::default()
        };
        assert_eq!(
            check_new_topic(&Image::default(), &config, &named("t")).unwrap(),
            Shape {
                partitions: 7,
                replication_factor: 3
            }
        );
    }

    #[test]
    fn impossible_counts_are_refused() {
        for partitions in [0, -2, i32::MIN] {
            let new = NewTopic {
                partitions: Some(partitions),
                ..named("t")
            };
            assert!(matches!(
                judge(new),
                Err(MetadataError::InvalidPartitions { .. })
            ));
        }
        for factor in [0, -2, i16::MIN] {
            let new = NewTopic {
                replication_factor: Some(factor),
                ..named("t")
            };
            assert!(matches!(
                judge(new),
                Err(MetadataError::InvalidReplicationFactor { .. })
            ));
        }
    }

    #[test]
    fn more_replicas_than_brokers_are_refused_only_where_that_is_wanted() {
        let new = NewTopic {
            replication_factor: Some(3),
            ..named("t")
        };
        assert_eq!(judge(new.clone()).unwrap().replication_factor, 3);
        let strict = Config {
            strict_replication: true,
            ..Config::default()
        };
        assert!(matches!(
            check_new_topic(&Image::default(), &strict, &new),
            Err(MetadataError::InvalidReplicationFactor { .. })
        ));
    }

    #[test]
    fn replicas_assigned_by_hand() {
        let me = Config::default().node_id;
        let assigned = |assignments: &[(i32, &[i32])]| {
            judge(NewTopic {
                assignments: assignments
                    .iter()
                    .map(|(index, brokers)| (*index, brokers.to_vec()))
                    .collect(),
                ..named("t")
            })
        };
        let shape = assigned(&[(1, &[me]), (0, &[me])]).unwrap();
        assert_eq!((shape.partitions, shape.replication_factor), (2, 1));
        for wrong in [
            &[(1, &[me][..])][..],      // does not start at 0
            &[(0, &[me]), (2, &[me])],  // gap
            &[(0, &[me]), (0, &[me])],  // twice
            &[(0, &[])],                // nobody
            &[(0, &[me, me])],          // one broker twice
            &[(0, &[me + 1])],          // not a broker
            &[(0, &[me]), (1, &[])],    // not equally many
            &[(-1, &[me]), (0, &[me])], // not an index
        ] {
            assert!(
                matches!(
                    assigned(wrong),
                    Err(MetadataError::InvalidAssignment { .. })
                ),
                "{wrong:?}"
            );
        }
        let beside = NewTopic {
            assignments: vec![(0, vec![me])],
            partitions: Some(1),
            ..named("t")
        };
        assert!(matches!(
            judge(beside),
            Err(MetadataError::AssignmentBesideCounts(_))
        ));
    }

    #[test]
    fn partitions_are_only_added() {
        let config = Config::default();
        let check = |count, assignments| {
            let new = NewPartitions {
                topic: "t".into(),
                count,
                assignments,
            };
            check_new_partitions(&config, 3, &new)
        };
        assert_eq!(check(5, None).unwrap(), 5);
        for count in [3, 2, 0, -1] {
            assert!(matches!(
                check(count, None),
                Err(MetadataError::InvalidPartitions { .. })
            ));
        }
        let me = config.node_id;
        assert_eq!(check(5, Some(vec![vec![me], vec![me]])).unwrap(), 5);
        for wrong in [vec![], vec![vec![me]], vec![vec![me], vec![me + 1]]] {
            assert!(matches!(
                check(5, Some(wrong)),
                Err(MetadataError::InvalidAssignment { .. })
            ));
        }
    }
}
