//! What groups cost: members that beat, a rebalance, commits of offsets.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use futures::future::try_join_all;
use rand::SeedableRng;
use trestle::config::Config;
use trestle::coordinator::group::assignor::{Assignor, Question, Subscriber};
use trestle::coordinator::group::commands::{Caller, Command, Join, Reply, Sync};
use trestle::coordinator::group::{Groups, Limits};
use trestle::coordinator::machine::{Machine, Ticket};

use super::{Bench, TOPIC, create};
use crate::report::{Report, Target};
use crate::wire::{self, Connection};

/// Error code of a heartbeat while members join.
const REBALANCE_IN_PROGRESS: i16 = 27;
const SESSION_MS: i32 = 600_000;
/// Long enough for all members to come to the first rebalance.
const DELAY: &[&str] = &["--set", "group.initial.rebalance.delay.ms=4000"];

/// A member on a connection of its own.
struct Member {
    connection: Connection,
    group: String,
    id: String,
    generation: i32,
    /// Everybody's id, if it leads.
    roll: Vec<String>,
}

impl Member {
    /// Joins, when the rebalance is complete.
    async fn join(connection: Connection, group: String, id: String) -> Result<Self> {
        let mut member = Self {
            connection,
            group,
            id,
            generation: 0,
            roll: Vec::new(),
        };
        member.rejoin().await?;
        Ok(member)
    }

    async fn rejoin(&mut self) -> Result<()> {
        let mut frame = wire::join_group(&self.group, &self.id, SESSION_MS);
        let joined = wire::joined(self.connection.call(&mut frame).await?)?;
        self.id = joined.member;
        self.generation = joined.generation;
        self.roll = joined.members;
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        let mut frame = wire::sync_group(&self.group, self.generation, &self.id, &self.roll);
        match wire::code(self.connection.call(&mut frame).await?) {
            0 => Ok(()),
            code => bail!("SyncGroup answered error code {code}"),
        }
    }

    async fn heartbeat(&mut self) -> Result<i16> {
        let mut frame = wire::heartbeat(&self.group, self.generation, &self.id);
        Ok(wire::code(self.connection.call(&mut frame).await?))
    }
}

/// Forms groups of equal size; every member has its assignment.
async fn form(address: &str, groups: u64, size: u64) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    // Some groups at a time, so that each is complete before its first rebalance.
    let numbers: Vec<u64> = (0..groups).collect();
    for some in numbers.chunks(250) {
        let joins = some.iter().flat_map(|group| {
            (0..size).map(move |_| async move {
                let connection = Connection::open(address).await?;
                Member::join(connection, format!("group-{group}"), String::new()).await
            })
        });
        let mut joined = try_join_all(joins).await?;
        try_join_all(joined.iter_mut().map(Member::sync)).await?;
        members.append(&mut joined);
    }
    Ok(members)
}

pub(super) async fn members(bench: &Bench, report: &mut Report) -> Result<()> {
    let groups = bench.work(1_000);
    let broker = bench.start(&bench.fresh(), &[DELAY, &["--fsync", "false"]].concat())?;
    create(&broker, TOPIC, 1).await?;
    // What the connections alone take is not the groups'.
    let mut idle = Vec::new();
    let empty = broker.resident_mb();
    for _ in 0..groups * 10 {
        let mut connection = Connection::open(&broker.address).await?;
        connection.call(&mut wire::metadata(Some(TOPIC))).await?;
        idle.push(connection);
    }
    let connected = broker.resident_mb() - empty;
    drop(idle);
    drop(broker);

    let broker = bench.start(&bench.fresh(), &[DELAY, &["--fsync", "false"]].concat())?;
    create(&broker, TOPIC, 1).await?;
    let empty = broker.resident_mb();
    let mut members = form(&broker.address, groups, 10).await?;
    let taken = (broker.resident_mb() - empty - connected) * 1000.0 / members.len() as f64;
    let count = members.len();
    let what = format!("memory a member, of {count} in {groups} groups, without its connection");
    report.figure("members", &what, taken, "KB", Target::AtMost(20.0));

    let rounds = 5;
    let (cpu, began) = (broker.cpu_seconds(), Instant::now());
    for _ in 0..rounds {
        for answered in try_join_all(members.iter_mut().map(Member::heartbeat)).await? {
            if answered != 0 {
                bail!("Heartbeat answered error code {answered}");
            }
        }
    }
    let beats = (rounds * count) as f64;
    let cost = (broker.cpu_seconds() - cpu) * 1e6 / beats;
    report.figure(
        "members",
        "CPU of a heartbeat, with its request",
        cost,
        "µs",
        Target::AtMost(20.0),
    );
    let rate = beats / began.elapsed().as_secs_f64();
    report.figure("members", "heartbeats", rate, "a second", Target::None);
    heartbeats_alone(groups, report)
}

/// The time of heartbeats in the coordinator alone, in this process, with as many members.
fn heartbeats_alone(groups: u64, report: &mut Report) -> Result<()> {
    let mut limits = Limits::new(&Config::default());
    limits.initial_rebalance_delay_ms = 1;
    let mut machine = Groups::new(limits);
    let mut rng = rand::rngs::StdRng::seed_from_u64(0);
    let (mut now, mut tickets) = (0, 0);
    let mut callers: Vec<Caller> = Vec::new();
    for number in 0..groups {
        let group: Arc<str> = format!("group-{number}").into();
        let joins = (0..10).map(|_| {
            Command::Join(Join {
                caller: Caller {
                    group: group.clone(),
                    generation: -1,
                    ..Caller::default()
                },
                client_id: "load".into(),
                client_host: "/127.0.0.1".into(),
                session_timeout_ms: SESSION_MS,
                rebalance_timeout_ms: SESSION_MS,
                protocol_type: "consumer".into(),
                protocols: vec![("range".into(), bytes::Bytes::from_static(b"\0\0"))],
                id_required: false,
                skips_assignment: false,
            })
        });
        for join in joins {
            tickets += 1;
            machine.decide(now, &mut rng, Ticket(tickets), join);
        }
        // The wait for the first members is over when none has come for a while.
        let mut answers = Vec::new();
        while answers.len() < 10 {
            now += 1;
            answers.append(&mut machine.expire(now, &mut rng).answers);
        }
        for answer in answers {
            let Reply::Joined(Ok(joined)) = answer.reply else {
                bail!("JoinGroup was refused");
            };
            let caller = Caller {
                group: group.clone(),
                member: joined.member.clone(),
                instance: None,
                generation: joined.generation,
            };
            if joined.leader == joined.member {
                let sync = Sync {
                    caller: caller.clone(),
                    protocol_type: None,
                    protocol: None,
                    assignments: Vec::new(),
                };
                tickets += 1;
                let decided = machine.decide(now, &mut rng, Ticket(tickets), Command::Sync(sync));
                decided.rows.iter().for_each(|row| machine.apply(row));
            }
            callers.push(caller);
        }
    }
    let rounds = 20;
    let began = Instant::now();
    for _ in 0..rounds {
        now += 1;
        for caller in &callers {
            let beat = Command::Heartbeat(caller.clone());
            let decided = machine.decide(now, &mut rng, Ticket(0), beat);
            if !matches!(decided.answers[0].reply, Reply::Done(Ok(()))) {
                bail!("Heartbeat was refused");
            }
        }
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / (rounds * callers.len()) as f64;
    let what = format!(
        "a heartbeat in the coordinator alone, {} members",
        callers.len()
    );
    report.figure("members", &what, each, "µs", Target::None);
    Ok(())
}

pub(super) async fn rebalance(bench: &Bench, report: &mut Report) -> Result<()> {
    let size = bench.work(1_000);
    let broker = bench.start(&bench.fresh(), DELAY)?;
    let mut members = form(&broker.address, 1, size).await?;
    let leader = members.iter().position(|member| !member.roll.is_empty());
    members.swap(0, leader.unwrap_or(0));
    let generation = members[0].generation;
    let began = Instant::now();
    let (first, others) = members.split_at_mut(1);
    // The leader asks; the others hear of it by their heartbeats.
    let leader = async {
        first[0].rejoin().await?;
        first[0].sync().await
    };
    let followers = try_join_all(others.iter_mut().map(|member| async move {
        while member.heartbeat().await? != REBALANCE_IN_PROGRESS {}
        member.rejoin().await?;
        member.sync().await
    }));
    let (led, followed) = futures::join!(leader, followers);
    led?;
    followed?;
    let took = began.elapsed().as_secs_f64();
    if members
        .iter()
        .any(|member| member.generation != generation + 1)
    {
        bail!("the members are not of one generation");
    }
    let what = format!("{size} members, from the leader's join to everybody's assignment");
    report.figure("rebalance", &what, took, "s", Target::AtMost(2.0));
    Ok(())
}

/// The time of the assignors alone, in this process.
pub(super) fn assignors(report: &mut Report) -> Result<()> {
    const PARTITIONS: i32 = 10_000;
    const MEMBERS: usize = 1_000;
    for topics in [1, 100] {
        let all = Subscriber {
            topics: (0..topics).collect(),
            held: Vec::new(),
        };
        let mut fresh = Question {
            topics: vec![PARTITIONS / topics as i32; topics as usize],
            members: vec![all; MEMBERS],
        };
        for assignor in [Assignor::Uniform, Assignor::Range] {
            fresh
                .members
                .iter_mut()
                .for_each(|member| member.held.clear());
            for what in ["first", "one member more"] {
                let began = Instant::now();
                let shares = assignor.assign(&fresh);
                let took = began.elapsed().as_secs_f64() * 1e3;
                let given: usize = shares.iter().map(Vec::len).sum();
                if given != PARTITIONS as usize {
                    bail!("{given} partitions were given");
                }
                let what = format!("{}, {topics} topics, {what}", assignor.name());
                report.figure("assignors", &what, took, "ms", Target::AtMost(50.0));
                for (member, share) in fresh.members.iter_mut().zip(shares) {
                    member.held = share;
                }
                let late = Subscriber {
                    held: Vec::new(),
                    ..fresh.members[0].clone()
                };
                fresh.members.push(late);
            }
            fresh.members.truncate(MEMBERS);
        }
    }
    Ok(())
}

pub(super) async fn commits(bench: &Bench, report: &mut Report) -> Result<()> {
    const CONNECTIONS: usize = 64;
    for (what, fsync, target) in [
        ("fsync off", "false", Target::AtLeast(20_000.0)),
        ("fsync on", "true", Target::None),
    ] {
        let broker = bench.start(&bench.fresh(), &["--fsync", fsync])?;
        create(&broker, TOPIC, 10).await?;
        let each = bench.work(4_000);
        let address = &broker.address;
        let began = Instant::now();
        try_join_all((0..CONNECTIONS).map(|number| async move {
            let mut connection = Connection::open(address).await?;
            let group = format!("group-{number}");
            for offset in 0..each {
                let mut frame =
                    wire::commit_offset(&group, TOPIC, (offset % 10) as i32, offset as i64);
                wire::committed(connection.call(&mut frame).await?)?;
            }
            anyhow::Ok(())
        }))
        .await?;
        let rate = CONNECTIONS as f64 * each as f64 / began.elapsed().as_secs_f64();
        let what = format!("OffsetCommit from {CONNECTIONS} connections, {what}");
        report.figure("commits", &what, rate, "a second", target);
    }
    Ok(())
}
