//! What a copy of a source would come to: what it has, what is copied exactly, what with an explanation,
//! what not, and how long it takes. Gathering reads the source; judging is pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::client::{Client, Place, SourceConfig, SourceError, SourceTopic, by_leader, code_text};
use super::select::Selection;
use super::supervise::settings_taken_over;
use crate::config::{Config, Support, topic_definition};
use crate::types::Offset;

/// Said of a source that shows some of its groups.
pub(super) const NOT_ALL_GROUPS: &str =
    "groups that the user may not see: the ACL Describe on the cluster, or on them, is missing";

/// What was found at the source.
#[derive(Debug)]
pub struct Findings {
    /// Id of the cluster.
    pub cluster_id: Option<String>,
    /// Brokers.
    pub brokers: usize,
    /// The selected topics.
    pub topics: BTreeMap<String, SourceTopic>,
    /// Topics that are there and not selected.
    pub not_selected: usize,
    /// Where partitions start.
    pub starts: BTreeMap<Place, Result<Offset, i16>>,
    /// Where they end.
    pub ends: BTreeMap<Place, Result<Offset, i16>>,
    /// Settings.
    pub configs: BTreeMap<String, Result<Vec<SourceConfig>, i16>>,
    /// Bytes of partitions, or why they are not known.
    pub sizes: Result<BTreeMap<Place, u64>, String>,
    /// Groups by protocol type, with how many offsets each has committed.
    pub groups: Result<Vec<(String, String, usize)>, String>,
    /// Whether the user sees all groups.
    pub sees_all_groups: bool,
    /// How many ACLs there are.
    pub acls: Result<usize, String>,
    /// Users with SCRAM credentials.
    pub scram_users: Result<Vec<String>, String>,
    /// Open transactions.
    pub open: Result<Vec<(Place, i64, Offset)>, String>,
}

impl Default for Findings {
    fn default() -> Self {
        fn nothing<T>() -> Result<T, String> {
            Err("it was not asked".into())
        }
        Self {
            cluster_id: None,
            brokers: 0,
            topics: BTreeMap::new(),
            not_selected: 0,
            starts: BTreeMap::new(),
            ends: BTreeMap::new(),
            configs: BTreeMap::new(),
            sizes: nothing(),
            groups: nothing(),
            sees_all_groups: true,
            acls: nothing(),
            scram_users: nothing(),
            open: nothing(),
        }
    }
}

/// Asks the source for everything.
pub async fn gather(client: &mut Client, selection: &Selection) -> Result<Findings, SourceError> {
    let cluster = client.cluster(&selection.names()).await?;
    let all = cluster.topics.len();
    let topics: BTreeMap<String, SourceTopic> = cluster
        .topics
        .into_iter()
        .filter(|(name, topic)| selection.takes(name, topic.internal))
        .collect();
    let leaders = by_leader(topics.iter().filter(|(_, topic)| topic.error == 0));
    let names: Vec<String> = topics.keys().cloned().collect();
    let starts = client.starts(&leaders).await?;
    let ends = client.ends(&leaders).await?;
    let configs = client.configs(&names).await?;
    let said = |error: SourceError| match error.is_unsupported() {
        true => "the source does not say".to_owned(),
        false => error.to_string(),
    };
    let sizes = client.sizes().await.map_err(said);
    let groups = groups(client).await.map_err(said);
    let sees_all_groups = client.sees_all_groups().await.unwrap_or(true);
    let acls = client.acls().await.map_err(said);
    let scram_users = client.scram_users().await.map_err(said);
    let open = client.open_transactions(&leaders).await.map_err(said);
    Ok(Findings {
        cluster_id: cluster.id,
        brokers: cluster.brokers,
        not_selected: all - topics.len(),
        topics,
        starts,
        ends,
        configs,
        sizes,
        groups,
        sees_all_groups,
        acls,
        scram_users,
        open,
    })
}

async fn groups(client: &mut Client) -> Result<Vec<(String, String, usize)>, SourceError> {
    let mut all = Vec::new();
    for group in client.groups().await? {
        let committed = client.committed(&group).await;
        let offsets = committed.map_or(0, |all| all.len());
        all.push((group.id, group.protocol_type, offsets));
    }
    Ok(all)
}

/// A plan.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Id of the source.
    pub cluster_id: Option<String>,
    /// Its brokers.
    pub brokers: usize,
    /// Selected topics.
    pub topics: usize,
    /// Their partitions.
    pub partitions: usize,
    /// Their bytes, if the source says.
    pub bytes: Option<u64>,
    /// Their records, at most: offsets from start to end.
    pub offsets: Offset,
    /// Topics that are not selected.
    pub not_selected: usize,
    /// Topics that are copied exactly.
    pub exact: Vec<String>,
    /// Topics that are copied, and what differs.
    pub explained: BTreeMap<String, Vec<String>>,
    /// Topics that cannot be copied, and why.
    pub blocked: BTreeMap<String, Vec<String>>,
    /// Groups whose offsets are copied.
    pub groups: usize,
    /// Groups that are not, and why.
    pub groups_not_copied: BTreeMap<String, String>,
    /// Transactions that have to end before a promotion.
    pub open_transactions: Vec<String>,
    /// What is not copied at all.
    pub not_copied: Vec<String>,
    /// What the source did not show.
    pub not_known: Vec<String>,
    /// Bytes a second that the time is reckoned with.
    pub rate: u64,
    /// How long copying takes at that rate.
    pub seconds: Option<u64>,
}

/// Judges what was found. `here` says of a name that a topic has it already.
pub fn judge(found: &Findings, config: &Config, rate: u64, here: impl Fn(&str) -> bool) -> Plan {
    let mut plan = Plan {
        cluster_id: found.cluster_id.clone(),
        brokers: found.brokers,
        topics: found.topics.len(),
        partitions: found
            .topics
            .values()
            .map(|topic| topic.partitions.len())
            .sum(),
        bytes: None,
        offsets: 0,
        not_selected: found.not_selected,
        exact: Vec::new(),
        explained: BTreeMap::new(),
        blocked: BTreeMap::new(),
        groups: 0,
        groups_not_copied: BTreeMap::new(),
        open_transactions: Vec::new(),
        not_copied: Vec::new(),
        not_known: Vec::new(),
        rate,
        seconds: None,
    };
    for (name, topic) in &found.topics {
        let (mut explained, mut blocked) = (Vec::new(), Vec::new());
        judge_topic(found, config, name, topic, &mut explained, &mut blocked);
        if here(name) {
            blocked.push("a topic of this name is here already".into());
        }
        if !blocked.is_empty() {
            plan.blocked.insert(name.clone(), blocked);
        } else if !explained.is_empty() {
            plan.explained.insert(name.clone(), explained);
        } else {
            plan.exact.push(name.clone());
        }
    }
    for (place, end) in &found.ends {
        if let (Ok(end), Some(Ok(start))) = (end, found.starts.get(place)) {
            plan.offsets += (end - start).max(0);
        }
    }
    match &found.sizes {
        Ok(sizes) => {
            let selected = sizes
                .iter()
                .filter(|((topic, _), _)| found.topics.contains_key(topic));
            let bytes = selected.map(|(_, bytes)| bytes).sum();
            plan.bytes = Some(bytes);
            plan.seconds = Some(bytes.div_ceil(rate.max(1)));
        }
        Err(why) => plan.not_known.push(format!("bytes: {why}")),
    }
    judge_groups(found, &mut plan);
    match &found.open {
        Ok(open) => {
            plan.open_transactions = open
                .iter()
                .map(|((topic, index), producer, first)| {
                    format!("producer {producer} in {topic}/{index} since offset {first}")
                })
                .collect();
        }
        Err(why) => plan.not_known.push(format!("open transactions: {why}")),
    }
    judge_rest(found, &mut plan);
    plan
}

fn judge_topic(
    found: &Findings,
    config: &Config,
    name: &str,
    topic: &SourceTopic,
    explained: &mut Vec<String>,
    blocked: &mut Vec<String>,
) {
    if topic.error != 0 {
        let code = code_text(topic.error);
        blocked.push(format!(
            "the source says {code}: are the ACLs Describe and Read on it there?"
        ));
    }
    let leaderless = topic
        .partitions
        .iter()
        .filter(|partition| partition.leader.is_none())
        .count();
    if leaderless > 0 && topic.error == 0 {
        blocked.push(format!("{leaderless} partitions have no leader"));
    }
    match found.configs.get(name) {
        Some(Ok(configs)) => judge_settings(config, configs, explained),
        Some(Err(code)) => {
            let code = code_text(*code);
            explained.push(format!(
                "its settings are not shown: {code} (ACL DescribeConfigs)"
            ));
        }
        None => {}
    }
    if topic.id.is_none() && topic.error == 0 {
        explained.push("the source has no topic ids; it gets one here".into());
    }
}

fn judge_settings(config: &Config, configs: &[SourceConfig], explained: &mut Vec<String>) {
    let value = |name: &str| {
        let found = configs.iter().find(|config| config.name == name);
        found
            .and_then(|config| config.value.clone())
            .unwrap_or_default()
    };
    let own: BTreeMap<String, String> = configs
        .iter()
        .filter(|config| config.own)
        .filter_map(|config| Some((config.name.clone(), config.value.clone()?)))
        .collect();
    let (taken, left) = settings_taken_over(&own, config);
    if !left.is_empty() {
        explained.push(format!("settings not taken over: {}", left.join(", ")));
    }
    let stored: Vec<&str> = taken
        .keys()
        .map(String::as_str)
        .filter(|name| topic_definition(name).is_some_and(|row| row.support == Support::Stored))
        .collect();
    if !stored.is_empty() {
        explained.push(format!(
            "settings stored, not enforced: {}",
            stored.join(", ")
        ));
    }
    if value("cleanup.policy").contains("compact") {
        explained.push("the source compacts it: verified record by record".into());
    }
    let format = value("message.format.version");
    if ["0.8", "0.9", "0.10"]
        .iter()
        .any(|old| format.starts_with(old))
    {
        explained.push(format!(
            "message.format.version={format}: records of old formats are not copied, such a partition stops"
        ));
    }
}

fn judge_groups(found: &Findings, plan: &mut Plan) {
    let groups = match &found.groups {
        Ok(groups) => groups,
        Err(why) => {
            plan.not_known.push(format!("groups: {why}"));
            return;
        }
    };
    if !found.sees_all_groups {
        plan.not_known.push(NOT_ALL_GROUPS.into());
    }
    for (id, protocol, offsets) in groups {
        let why = match (protocol.as_str(), offsets) {
            ("share", _) => Some("share groups are not copied".to_owned()),
            ("consumer" | "", 0) => Some("it has no committed offsets".to_owned()),
            ("consumer" | "", _) => None,
            (other, _) => Some(format!("its protocol is {other:?}")),
        };
        match why {
            Some(why) => {
                plan.groups_not_copied.insert(id.clone(), why);
            }
            None => plan.groups += 1,
        }
    }
}

fn judge_rest(found: &Findings, plan: &mut Plan) {
    match &found.scram_users {
        Ok(users) if users.is_empty() => {}
        Ok(users) => plan.not_copied.push(format!(
            "{} users with SCRAM passwords ({}): a source does not show them",
            users.len(),
            users.join(", ")
        )),
        Err(why) => plan.not_known.push(format!("SCRAM users: {why}")),
    }
    match &found.acls {
        Ok(0) => {}
        Ok(count) => plan
            .not_copied
            .push(format!("{count} ACLs: there are none here")),
        // A source without an authorizer has none to show.
        Err(why) if why.contains("SecurityDisabled") => {}
        Err(why) => plan.not_known.push(format!("ACLs: {why}")),
    }
    plan.not_copied
        .push("the state of transactional ids: producers begin anew here".into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::client::SourcePartition;

    fn topic() -> SourceTopic {
        SourceTopic {
            id: Some(crate::types::TopicId::from_u128(7)),
            partitions: vec![SourcePartition {
                leader: Some(1),
                epoch: 0,
                replicas: 1,
            }],
            ..SourceTopic::default()
        }
    }

    fn own(name: &str, value: &str) -> SourceConfig {
        SourceConfig {
            name: name.into(),
            value: Some(value.into()),
            own: true,
        }
    }

    fn found() -> Findings {
        let names = ["plain", "compacted", "strange", "denied"];
        let mut found = Findings {
            topics: names
                .iter()
                .map(|name| ((*name).to_owned(), topic()))
                .collect(),
            sizes: Ok(BTreeMap::new()),
            groups: Ok(vec![
                ("g".into(), "consumer".into(), 3),
                ("empty".into(), "consumer".into(), 0),
                ("connect".into(), "connect".into(), 0),
            ]),
            acls: Ok(2),
            scram_users: Err("the source does not say".into()),
            open: Ok(vec![(("plain".into(), 0), 9, 41)]),
            ..Findings::default()
        };
        for (name, start, end) in [("plain", 10, 50), ("compacted", 0, 5)] {
            found.starts.insert((name.into(), 0), Ok(start));
            found.ends.insert((name.into(), 0), Ok(end));
            let sizes = found.sizes.as_mut().unwrap();
            sizes.insert((name.into(), 0), 1000);
        }
        let configs = [
            ("plain", vec![own("retention.ms", "5")]),
            ("compacted", vec![own("cleanup.policy", "compact")]),
            ("strange", vec![own("vendor.setting", "1")]),
        ];
        found.configs = configs
            .into_iter()
            .map(|(name, all)| (name.into(), Ok(all)))
            .collect();
        found.topics.get_mut("denied").unwrap().error = 29;
        found
    }

    #[test]
    fn topics_are_exact_explained_or_blocked() {
        let config = Config::default();
        let plan = judge(&found(), &config, 100, |_| false);
        assert_eq!(plan.exact, ["plain"]);
        let explained: Vec<_> = plan.explained.keys().collect();
        assert_eq!(explained, ["compacted", "strange"]);
        assert!(plan.explained["strange"][0].contains("vendor.setting"));
        assert!(plan.blocked["denied"][0].contains("Describe"));
        assert_eq!(
            (plan.offsets, plan.bytes, plan.seconds),
            (45, Some(2000), Some(20))
        );
        assert_eq!((plan.groups, plan.groups_not_copied.len()), (1, 2));
        assert_eq!(
            plan.open_transactions,
            ["producer 9 in plain/0 since offset 41"]
        );
        assert!(plan.not_copied[0].contains("2 ACLs"));
        assert!(plan.not_known[0].starts_with("SCRAM users"));
        let mut found = found();
        found.sees_all_groups = false;
        let plan = judge(&found, &config, 100, |name| name == "plain");
        assert!(plan.not_known[0].contains("Describe on the cluster"));
        assert!(plan.blocked.contains_key("plain"));
    }
}
