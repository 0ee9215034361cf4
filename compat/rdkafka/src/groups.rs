//! Scenarios of groups.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::client::{DEADLINE, config, produce};
use crate::harness::{Outcome, Scenario, control, expect, fresh_name, new_topic, none, wait_for};
use crate::member::Member;

pub const ALL: &[Scenario] = &[
    ("group.join", || join(&[])),
    ("group.leave", || leave(&[])),
    ("group.kill", kill),
    ("group.cooperative", cooperative),
    ("group.static", fixed),
    ("group.kip848", || {
        join(&[("group.protocol", "consumer")])?;
        leave(&[("group.protocol", "consumer")])
    }),
    ("group.rolling", || {
        none("confluent-kafka shows it with the same librdkafka")
    }),
    ("group.grow", grow),
    ("group.offsets", offsets),
    ("group.restart", restart),
];

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;
type Settings<'a> = &'a [(&'a str, &'a str)];

const PARTITIONS: i32 = 6;

/// What each has, once each partition has one owner and each member a partition.
fn settled(members: &[Member]) -> Fallible<Vec<BTreeSet<i32>>> {
    let mut found = Vec::new();
    wait_for("each partition with one owner", || {
        found = members.iter().map(|m| m.log().owned.clone()).collect();
        let mut all: Vec<i32> = found.iter().flatten().copied().collect();
        all.sort_unstable();
        Ok(all == (0..PARTITIONS).collect::<Vec<_>>() && !found.iter().any(BTreeSet::is_empty))
    })?;
    Ok(found)
}

fn joined(count: usize, group: &str, topic: &str, settings: Settings<'_>) -> Fallible<Vec<Member>> {
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(Member::join(group, topic, settings)?);
        settled(&members)?;
    }
    Ok(members)
}

/// The numbers from `first` on, over all partitions; answers how many there are now.
fn feed(topic: &str, first: usize, count: usize) -> Fallible<usize> {
    for partition in 0..PARTITIONS {
        let values: Vec<Vec<u8>> = (first..first + count)
            .filter(|i| i % PARTITIONS as usize == partition as usize)
            .map(|i| i.to_string().into_bytes())
            .collect();
        produce(topic, partition, &values, &[])?;
    }
    Ok(first + count)
}

fn each_once(members: &[Member], gone: &[usize], count: usize) -> Fallible<()> {
    let came = || {
        let logs = members.iter().flat_map(|m| m.log().records.clone());
        let mut all: Vec<usize> = logs.filter_map(|(_, value)| value.parse().ok()).collect();
        all.extend(gone);
        all.sort_unstable();
        all
    };
    wait_for("the records", || Ok(came().len() >= count))?;
    expect("each record once", came(), (0..count).collect())
}

fn values(member: &Member) -> Vec<usize> {
    let log = member.log();
    log.records
        .iter()
        .filter_map(|(_, value)| value.parse().ok())
        .collect()
}

fn join(settings: Settings<'_>) -> Outcome {
    let (topic, group) = (new_topic(PARTITIONS)?, fresh_name());
    let members = joined(3, &group, &topic, settings)?;
    let sizes: Vec<usize> = members.iter().map(|m| m.log().owned.len()).collect();
    expect("sizes", sizes, vec![2, 2, 2])?;
    each_once(&members, &[], feed(&topic, 0, 300)?)?;
    Ok(String::new())
}

fn leave(settings: Settings<'_>) -> Outcome {
    let (topic, group) = (new_topic(PARTITIONS)?, fresh_name());
    let mut members = joined(3, &group, &topic, settings)?;
    each_once(&members, &[], feed(&topic, 0, 300)?)?;
    let mut gone = Vec::new();
    let began = Instant::now();
    if let Some(last) = members.pop() {
        gone = values(&last);
    }
    settled(&members)?;
    let took = began.elapsed();
    expect(
        "before the session's end",
        took < Duration::from_secs(40),
        true,
    )?;
    each_once(&members, &gone, feed(&topic, 300, 300)?)?;
    Ok(format!("taken over after {} ms", took.as_millis()))
}

fn kill() -> Outcome {
    let (topic, group) = (new_topic(PARTITIONS)?, fresh_name());
    let members = [Member::join(
        &group,
        &topic,
        &[("session.timeout.ms", "6000")],
    )?];
    let mut child = Command::new(std::env::current_exe()?)
        .args(["member", &group, &topic])
        .stdout(Stdio::piped())
        .spawn()?;
    let shown = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let halves = shown
        .lines()
        .map_while(Result::ok)
        .any(|line| line.split(',').count() == 3);
    let settled_at_half = wait_for("half of the partitions", || {
        Ok(members[0].log().owned.len() == 3)
    });
    let began = Instant::now();
    child.kill()?;
    child.wait()?;
    expect("the child has half", halves, true)?;
    settled_at_half?;
    settled(&members)?;
    let took = began.elapsed();
    expect(
        "not before the session's end",
        took > Duration::from_secs(3),
        true,
    )?;
    each_once(&members, &[], feed(&topic, 0, 300)?)?;
    Ok(format!("taken over after {:.1} s", took.as_secs_f64()))
}

fn cooperative() -> Outcome {
    let settings = [("partition.assignment.strategy", "cooperative-sticky")];
    let (topic, group) = (new_topic(PARTITIONS)?, fresh_name());
    let mut members = joined(2, &group, &topic, &settings)?;
    let before = settled(&members)?;
    let seen: Vec<usize> = members.iter().map(|m| m.log().events.len()).collect();
    members.push(Member::join(&group, &topic, &settings)?);
    let after = settled(&members)?;
    for i in [0, 1] {
        let log = members[i].log();
        let given = log.events[seen[i]..]
            .iter()
            .filter(|(assigned, _)| !assigned);
        let given: BTreeSet<i32> = given.flat_map(|(_, p)| p.clone()).collect();
        let wanted = before[i].difference(&after[i]).copied().collect();
        expect("what a member gave up", given, wanted)?;
    }
    each_once(&members, &[], feed(&topic, 0, 300)?)?;
    Ok(String::new())
}

fn fixed() -> Outcome {
    let (topic, group) = (new_topic(PARTITIONS)?, fresh_name());
    let instance = |name| Member::join(&group, &topic, &[("group.instance.id", name)]);
    let mut members = vec![instance("a")?, instance("b")?];
    let before = settled(&members)?;
    each_once(&members, &[], feed(&topic, 0, 300)?)?;
    let seen = members[0].log().events.len();
    let gone = members.pop().map(|last| values(&last)).unwrap_or_default();
    members.push(instance("b")?);
    expect("partitions", settled(&members)?, before)?;
    each_once(&members, &gone, feed(&topic, 300, 300)?)?;
    let noticed = members[0].log().events.len() - seen;
    expect("what the other member noticed", noticed, 0)?;
    Ok(String::new())
}

fn grow() -> Outcome {
    let (topic, group) = (new_topic(PARTITIONS / 2)?, fresh_name());
    let settings = [("topic.metadata.refresh.interval.ms", "1000")];
    let members = [
        Member::join(&group, &topic, &settings)?,
        Member::join(&group, &topic, &settings)?,
    ];
    wait_for("half of the partitions", || {
        Ok(members.iter().map(|m| m.log().owned.len()).sum::<usize>() == 3)
    })?;
    control(&format!("grow {topic} {PARTITIONS}"))?;
    let count = feed(&topic, 0, 300)?;
    settled(&members)?;
    each_once(&members, &[], count)?;
    Ok(String::new())
}

fn committed(group: &str, topic: &str) -> Fallible<(Offset, String)> {
    let asking: BaseConsumer = config(&[("group.id", group)]).create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let found = asking.committed_offsets(list, DEADLINE)?;
    let one = found.find_partition(topic, 0).ok_or("no such partition")?;
    Ok((one.offset(), one.metadata().to_owned()))
}

fn commit(group: &str, topic: &str, offset: i64, metadata: &str) -> Fallible<()> {
    let asking: BaseConsumer = config(&[("group.id", group)]).create()?;
    let mut list = TopicPartitionList::new();
    let mut one = list.add_partition(topic, 0);
    one.set_offset(Offset::Offset(offset))?;
    one.set_metadata(metadata);
    Ok(asking.commit(&list, CommitMode::Sync)?)
}

/// The first record that a new member reads.
fn starts(group: &str, topic: &str, reset: &str) -> Fallible<i64> {
    let member = Member::join(group, topic, &[("auto.offset.reset", reset)])?;
    wait_for("an assignment", || Ok(!member.log().owned.is_empty()))?;
    wait_for("a record", || {
        if reset == "latest" && member.log().records.is_empty() {
            produce(topic, 0, &[b"new".to_vec()], &[])?;
        }
        Ok(!member.log().records.is_empty())
    })?;
    let first = member.log().records[0].0;
    Ok(first)
}

fn offsets() -> Outcome {
    let (topic, group) = (new_topic(1)?, fresh_name());
    let ten: Vec<Vec<u8>> = (0..10).map(|i: u8| i.to_string().into_bytes()).collect();
    produce(&topic, 0, &ten, &[])?;
    let nothing = (Offset::Invalid, String::new());
    expect("no commit", committed(&group, &topic)?, nothing)?;
    commit(&group, &topic, 5, "a note")?;
    let wanted = (Offset::Offset(5), "a note".to_owned());
    expect("commit", committed(&group, &topic)?, wanted)?;
    expect(
        "where a group goes on",
        starts(&group, &topic, "latest")?,
        5,
    )?;
    expect(
        "a group without a commit",
        starts(&fresh_name(), &topic, "earliest")?,
        0,
    )?;
    let from_the_end = starts(&fresh_name(), &topic, "latest")? >= 10;
    expect("one that starts at the end", from_the_end, true)?;
    commit(&group, &topic, 2, "")?;
    expect("reset", starts(&group, &topic, "latest")?, 2)?;
    Ok(String::new())
}

fn restart() -> Outcome {
    let (topic, group) = (new_topic(PARTITIONS)?, fresh_name());
    let members = joined(2, &group, &topic, &[("session.timeout.ms", "240000")])?;
    let mut count = feed(&topic, 0, 300)?;
    each_once(&members, &[], count)?;
    let ids = control(&format!("group {group}"))?;
    let seen: Vec<usize> = members.iter().map(|m| m.log().events.len()).collect();
    for how in ["restart", "crash"] {
        control(how)?;
        count = feed(&topic, count, 300)?;
        each_once(&members, &[], count)?;
    }
    settled(&members)?;
    expect("members", control(&format!("group {group}"))?, ids)?;
    let now = members.iter().map(|m| m.log().events.len()).collect();
    expect("what they noticed", seen, now)?;
    Ok(String::new())
}
