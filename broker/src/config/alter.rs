//! What becomes of settings when a client changes them while the broker runs: AlterConfigs replaces
//! all of a resource's, IncrementalAlterConfigs those that it names.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{Definition, Type};
use super::definitions::{CLIENT_METRICS, GROUP, broker, client_metrics, group, topic};
use super::group::check_group;
use super::settings::{unknown_broker_setting, unknown_setting, unknown_topic_setting};
use super::{Config, ConfigError, check_topic_overrides};

/// What settings belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// The topic of this name.
    Topic(String),
    /// The broker of this number.
    Broker(i32),
    /// All brokers.
    Cluster,
    /// A subscription to clients' metrics.
    ClientMetrics(String),
    /// The group of this id.
    Group(String),
}

/// What is done to one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Delete,
    /// These words are added to its list.
    Append(String),
    /// These words are taken from its list.
    Subtract(String),
}

/// What is done to the settings of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operations {
    /// They become these; a setting that is not named goes back to its default.
    Replace(BTreeMap<String, String>),
    /// Those that are named change, in this order.
    Change(Vec<(String, Operation)>),
}

/// The settings of `resource` after `operations` on `current`, checked as a whole.
///
/// # Errors
/// A name that such a resource does not have or that cannot be changed while running, a value that it
/// does not take, values that contradict each other.
pub fn altered(
    resource: &Resource,
    current: &BTreeMap<String, String>,
    operations: &Operations,
    config: &Config,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let (next, touched) = match operations {
        Operations::Replace(all) => (all.clone(), all.keys().cloned().collect()),
        Operations::Change(changes) => changed(resource, current, changes)?,
    };
    check(resource, next, &touched, config)
}

type Touched = BTreeSet<String>;

fn changed(
    resource: &Resource,
    current: &BTreeMap<String, String>,
    changes: &[(String, Operation)],
) -> Result<(BTreeMap<String, String>, Touched), ConfigError> {
    let mut next = current.clone();
    let mut touched = Touched::new();
    for (name, operation) in changes {
        let definition = definition(resource, name)?;
        match operation {
            Operation::Set(value) => {
                next.insert(name.clone(), value.clone());
                touched.insert(name.clone());
            }
            Operation::Delete => {
                check_runtime(resource, definition)?;
                next.remove(name);
            }
            Operation::Append(value) | Operation::Subtract(value) => {
                if definition.kind != Type::List {
                    return Err(ConfigError::BadValue {
                        name: name.clone(),
                        value: value.clone(),
                        remedy: "it is not a list, so nothing can be added to it or taken from it; set it".into(),
                    });
                }
                let now = next
                    .get(name)
                    .map_or(definition.default.unwrap_or_default(), String::as_str);
                let mut words: Vec<&str> = split(now).collect();
                for word in split(value) {
                    let at = words.iter().position(|known| *known == word);
                    match (operation, at) {
                        (Operation::Append(_), None) => words.push(word),
                        (Operation::Subtract(_), Some(at)) => {
                            words.remove(at);
                        }
                        _ => {}
                    }
                }
                let joined = words.join(",");
                next.insert(name.clone(), joined);
                touched.insert(name.clone());
            }
        }
    }
    Ok((next, touched))
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// Checks `settings` as those of `resource`. What was there before and was not `touched` may be of
/// another version's taste and stays as it is.
fn check(
    resource: &Resource,
    settings: BTreeMap<String, String>,
    touched: &Touched,
    config: &Config,
) -> Result<BTreeMap<String, String>, ConfigError> {
    if let Resource::Topic(_) = resource {
        return check_topic_overrides(&settings, config);
    }
    let mut checked = BTreeMap::new();
    for (name, value) in settings {
        if !touched.contains(&name) {
            checked.insert(name, value);
            continue;
        }
        let definition = definition(resource, &name)?;
        check_runtime(resource, definition)?;
        checked.insert(name, definition.check(&value)?);
    }
    if let Resource::Broker(_) | Resource::Cluster = resource {
        check_lags(&checked, config)?;
    }
    if let Resource::Group(_) = resource {
        check_group(&checked, config)?;
    }
    Ok(checked)
}

/// Broker defaults that every topic without values of its own would have.
fn check_lags(settings: &BTreeMap<String, String>, config: &Config) -> Result<(), ConfigError> {
    let names = [
        "log.cleaner.min.compaction.lag.ms",
        "log.cleaner.max.compaction.lag.ms",
    ];
    let [min, max] = names.map(|name| {
        let given = settings
            .get(name)
            .cloned()
            .or_else(|| config.value_of(name));
        given
            .and_then(|value| value.parse::<i64>().ok())
            .unwrap_or_default()
    });
    match min > max && names.iter().any(|name| settings.contains_key(*name)) {
        true => Err(ConfigError::Conflict(format!(
            "{} ({min}) is above {} ({max}); lower the one or raise the other",
            names[0], names[1]
        ))),
        false => Ok(()),
    }
}

fn definition(resource: &Resource, name: &str) -> Result<&'static Definition, ConfigError> {
    let (found, unknown): (_, fn(&str) -> ConfigError) = match resource {
        Resource::Topic(_) => (topic(name), unknown_topic_setting),
        Resource::Broker(_) | Resource::Cluster => (broker(name), unknown_broker_setting),
        Resource::ClientMetrics(_) => (client_metrics(name), |name| {
            unknown_setting(name, CLIENT_METRICS)
        }),
        Resource::Group(_) => (group(name), |name| unknown_setting(name, GROUP)),
    };
    found.ok_or_else(|| unknown(name))
}

/// Whether the setting can be given to `resource` while it runs.
fn check_runtime(resource: &Resource, definition: &Definition) -> Result<(), ConfigError> {
    let refused = |why: &str| Err(ConfigError::Conflict(format!("{} {why}", definition.name)));
    match resource {
        Resource::Broker(_) | Resource::Cluster if !definition.dynamic => {
            refused("cannot be changed while the broker runs; start it with another value")
        }
        Resource::Cluster if definition.per_broker => {
            refused("cannot be given to all brokers; name the broker")
        }
        Resource::Broker(_)
        | Resource::Cluster
        | Resource::Topic(_)
        | Resource::ClientMetrics(_)
        | Resource::Group(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn change(
        resource: &Resource,
        current: &[(&str, &str)],
        changes: &[(&str, Operation)],
    ) -> Result<BTreeMap<String, String>, String> {
        let changes = changes
            .iter()
            .map(|(name, operation)| ((*name).to_owned(), operation.clone()))
            .collect();
        altered(
            resource,
            &map(current),
            &Operations::Change(changes),
            &Config::default(),
        )
        .map_err(|error| error.to_string())
    }

    fn topic_named_t() -> Resource {
        Resource::Topic("t".into())
    }

    #[test]
    fn only_what_is_named_changes() {
        let current = [("retention.ms", "5"), ("max.message.bytes", "9")];
        let changed = change(
            &topic_named_t(),
            &current,
            &[
                ("retention.ms", Operation::Delete),
                ("segment.ms", Operation::Set(" 7 ".into())),
                ("flush.ms", Operation::Delete),
            ],
        );
        assert_eq!(
            changed,
            Ok(map(&[("max.message.bytes", "9"), ("segment.ms", "7")]))
        );
    }

    #[test]
    fn lists_take_words_and_lose_them() {
        let t = topic_named_t();
        let append = |word: &str| ("cleanup.policy", Operation::Append(word.into()));
        let subtract = |word: &str| ("cleanup.policy", Operation::Subtract(word.into()));
        // What is not given has its default to begin with.
        assert_eq!(
            change(&t, &[], &[append("compact")]),
            Ok(map(&[("cleanup.policy", "delete,compact")]))
        );
        assert_eq!(
            change(&t, &[("cleanup.policy", "compact")], &[append("compact")]),
            Ok(map(&[("cleanup.policy", "compact")]))
        );
        assert_eq!(
            change(
                &t,
                &[("cleanup.policy", "compact,delete")],
                &[subtract("delete"), subtract("delete")]
            ),
            Ok(map(&[("cleanup.policy", "compact")]))
        );
        let refused = change(&t, &[], &[("retention.ms", Operation::Append("5".into()))]);
        assert!(refused.unwrap_err().contains("not a list"));
    }

    #[test]
    fn all_are_replaced() {
        let next = altered(
            &topic_named_t(),
            &map(&[("retention.ms", "5")]),
            &Operations::Replace(map(&[("segment.ms", "7")])),
            &Config::default(),
        );
        assert_eq!(next, Ok(map(&[("segment.ms", "7")])));
    }

    #[test]
    fn what_cannot_be_changed_while_running_is_refused() {
        let set = |value: &str| Operation::Set(value.into());
        for (resource, name, value, why) in [
            (
                Resource::Cluster,
                "num.partitions",
                "3",
                "while the broker runs",
            ),
            (
                Resource::Broker(1),
                "log.dirs",
                "/x",
                "while the broker runs",
            ),
            (
                Resource::Cluster,
                "ssl.keystore.type",
                "PEM",
                "name the broker",
            ),
            (
                Resource::Cluster,
                "log.retention.m",
                "3",
                "log.retention.ms",
            ),
            (
                Resource::Cluster,
                "log.retention.ms",
                "x",
                "give a whole number",
            ),
            (
                Resource::Group("g".into()),
                "consumer.session.timeout",
                "3",
                "consumer.session.timeout.ms",
            ),
            (
                Resource::ClientMetrics("m".into()),
                "interval",
                "3",
                "interval.ms",
            ),
            (topic_named_t(), "retention.m", "3", "retention.ms"),
        ] {
            let refused = change(&resource, &[], &[(name, set(value))]).unwrap_err();
            assert!(refused.contains(why), "{name}: {refused}");
        }
        let kept = change(
            &Resource::Broker(1),
            &[("gone.in.this.version", "1")],
            &[("message.max.bytes", set("5"))],
        );
        assert_eq!(
            kept,
            Ok(map(&[
                ("gone.in.this.version", "1"),
                ("message.max.bytes", "5")
            ])),
            "what another version took stays"
        );
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        let max = (
            "log.cleaner.max.compaction.lag.ms",
            Operation::Set("5".into()),
        );
        let min = (
            "log.cleaner.min.compaction.lag.ms",
            Operation::Set("6".into()),
        );
        let refused = change(&Resource::Cluster, &[], &[max, min]).unwrap_err();
        assert!(refused.contains("is above"), "{refused}");
    }
}
