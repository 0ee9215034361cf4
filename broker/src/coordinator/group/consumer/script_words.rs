//! The words of scripts that are about consumer groups: commands in, rows and replies out.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::member::{Assigned, Partitions, Progress};
use super::{Command, Heartbeat, Reply, Row};
use crate::coordinator::group::commands::Caller;
use crate::metadata::Image;
use crate::types::TopicId;

/// A heartbeat, with its fields by name. A member that joins says what it has to, unless it is told not
/// to by `none`.
pub(in super::super) fn beat<'a>(
    caller: Caller,
    get: impl Fn(&str) -> Option<&'a str>,
    image: &Arc<Image>,
) -> Command {
    let joins = caller.generation == 0;
    let or_default = |name: &str, default: &'static str| {
        let given = get(name).or(joins.then_some(default));
        given.filter(|given| *given != "none")
    };
    let list = |text: &str| -> Vec<Arc<str>> {
        let words = text.split(',').filter(|word| !word.is_empty());
        words.map(Into::into).collect()
    };
    let heartbeat = Heartbeat {
        caller,
        makes_id: get("v") == Some("0"),
        client_id: "c".into(),
        client_host: "/h".into(),
        rack: get("rack").map(Into::into),
        rebalance_timeout: or_default("timeout", "30000").map(|ms| ms.parse().expect("a number")),
        topics: or_default("topics", "t").map(list),
        regex: get("regex").map(Into::into),
        assignor: get("assignor").map(Into::into),
        owned: or_default("owns", "").map(|owned| partitions(&list(owned), image)),
    };
    Command::Heartbeat(Box::new(heartbeat), image.clone())
}

fn partitions(words: &[Arc<str>], image: &Image) -> Partitions {
    let mut by_topic = Partitions::new();
    for word in words {
        let (name, partition) = word.split_once('/').expect("TOPIC/PARTITION");
        let id = image.topic(name).map_or(TopicId::nil(), |topic| topic.id);
        let of_topic = by_topic.entry(id).or_default();
        of_topic.push(partition.parse().expect("a partition"));
    }
    by_topic
}

/// The names that script writers use, by the ids that only machines do.
fn name(id: &TopicId, image: &Image) -> String {
    match image.topic_by_id(id) {
        Some(topic) => topic.name.to_string(),
        None => "gone".to_owned(),
    }
}

fn show_partitions(partitions: &Partitions, image: &Image) -> String {
    let each = partitions.iter().flat_map(|(id, indexes)| {
        let name = name(id, image);
        indexes.iter().map(move |index| format!("{name}/{index}"))
    });
    let mut each: Vec<String> = each.collect();
    each.sort();
    match each.is_empty() {
        true => "nothing".to_owned(),
        false => each.join(","),
    }
}

fn show_assigned(assigned: &Assigned, image: &Image) -> String {
    let plain: BTreeMap<_, _> = assigned
        .iter()
        .map(|(id, partitions)| (*id, partitions.keys().copied().collect()))
        .collect();
    show_partitions(&plain, image)
}

/// A row in one line.
pub(in super::super) fn show_row(row: &Row, image: &Image) -> String {
    match row {
        Row::Head(None) => "gone".to_owned(),
        Row::Head(Some(head)) => format!("epoch {} target {}", head.epoch, head.assignment_epoch),
        Row::Member(id, None) => format!("member {id} gone"),
        Row::Member(id, Some(said)) => {
            let topics: Vec<&str> = said.topics.iter().map(|name| &**name).collect();
            let mut out = format!("member {id} wants");
            for wanted in topics
                .iter()
                .chain((!said.regex.is_empty()).then_some(&&*said.regex))
            {
                write!(out, " {wanted}").expect("text");
            }
            if let Some(instance) = &said.instance {
                write!(out, " as {instance}").expect("text");
            }
            if said.classic.is_some() {
                out.push_str(" classic");
            }
            out
        }
        Row::Target(id, None) => format!("target of {id} gone"),
        Row::Target(id, Some(target)) => {
            format!("target of {id}: {}", show_partitions(target, image))
        }
        Row::Position(id, None) => format!("position of {id} gone"),
        Row::Position(id, Some(position)) => {
            let mut out = format!(
                "position of {id}: epoch {} was {} has {}",
                position.epoch,
                position.previous,
                show_assigned(&position.assigned, image)
            );
            match position.progress {
                Progress::Stable => {}
                Progress::Unreleased => out.push_str(" waits"),
                Progress::Unrevoked => {
                    let revoking = show_assigned(&position.revoking, image);
                    write!(out, " gives up {revoking}").expect("text");
                }
            }
            out
        }
    }
}

/// A reply in one line.
pub(in super::super) fn show_reply(reply: &Reply, image: &Image) -> String {
    match reply {
        Reply::Beat(Ok(beat)) => {
            let mut out = format!("{} at {}", beat.member, beat.epoch);
            if ![0, 5_000].contains(&beat.interval) {
                write!(out, " again in {}", beat.interval).expect("text");
            }
            if let Some(assignment) = &beat.assignment {
                write!(out, " has {}", show_partitions(assignment, image)).expect("text");
            }
            out
        }
        Reply::Described(Ok(described)) => {
            let mut out = format!(
                "{} epoch {} target {} {}:",
                described.state, described.epoch, described.assignment_epoch, described.assignor
            );
            for member in &described.members {
                let assigned = show_partitions(&member.assigned, image);
                write!(out, " {}@{}={assigned}", member.member, member.epoch).expect("text");
            }
            out
        }
        Reply::Beat(Err(error)) | Reply::Described(Err(error)) => format!("{error:?}"),
    }
}
