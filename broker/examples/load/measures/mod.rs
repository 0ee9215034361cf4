//! The measures: each starts its own broker, loads it and reports.

mod consume;
mod footprint;
mod groups;
mod http;
mod produce;
mod transactions;
mod upkeep;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::LocalBoxFuture;

use crate::broker::{Broker, Data};
use crate::report::{Report, Target};
use crate::wire::{self, Connection};
use crate::yardstick;

const TOPIC: &str = "load";
const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// What all measures share.
pub(crate) struct Bench {
    pub(crate) binary: PathBuf,
    pub(crate) dir: PathBuf,
    /// Divides every amount of work.
    pub(crate) divide: u64,
}

/// One measure.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: for<'a> fn(&'a Bench, &'a mut Report) -> LocalBoxFuture<'a, Result<()>>,
}

/// All measures, in the order in which they run.
pub(crate) const ALL: &[Measure] = &[
    Measure {
        name: "disk",
        about: "the yardstick: what a bare append to a file gives",
        run: |b, r| Box::pin(disk(b, r)),
    },
    Measure {
        name: "start",
        about: "start of the process to the first acknowledged produce",
        run: |b, r| Box::pin(footprint::start(b, r)),
    },
    Measure {
        name: "idle",
        about: "memory, CPU and writes of an idle broker",
        run: |b, r| Box::pin(footprint::idle(b, r)),
    },
    Measure {
        name: "latency",
        about: "one record of 1 KiB at a time, acks=all",
        run: |b, r| Box::pin(produce::latency(b, r)),
    },
    Measure {
        name: "connections",
        about: "64 connections with one request of 1 KiB in flight each",
        run: |b, r| Box::pin(produce::connections(b, r)),
    },
    Measure {
        name: "produce",
        about: "throughput of 16 KiB and of 1 KiB batches over 10 partitions",
        run: |b, r| Box::pin(produce::throughput(b, r)),
    },
    Measure {
        name: "consume",
        about: "catch-up of one partition among ten, from page cache",
        run: |b, r| Box::pin(consume::catch_up(b, r)),
    },
    Measure {
        name: "tail",
        about: "a consumer that keeps up: delay from send to receipt, and what the broker reads for it",
        run: |b, r| Box::pin(consume::tail(b, r)),
    },
    Measure {
        name: "memory",
        about: "2 GiB produced to a broker in memory",
        run: |b, r| Box::pin(produce::in_memory(b, r)),
    },
    Measure {
        name: "topics",
        about: "1,000 topics of 10 partitions: creation, metadata, memory",
        run: |b, r| Box::pin(footprint::topics(b, r)),
    },
    Measure {
        name: "members",
        about: "10,000 members in 1,000 groups: memory, and the CPU of a heartbeat",
        run: |b, r| Box::pin(groups::members(b, r)),
    },
    Measure {
        name: "rebalance",
        about: "a rebalance of one group of 1,000 members",
        run: |b, r| Box::pin(groups::rebalance(b, r)),
    },
    Measure {
        name: "commits",
        about: "64 connections that commit offsets, without fsync",
        run: |b, r| Box::pin(groups::commits(b, r)),
    },
    Measure {
        name: "transactions",
        about: "transactions of 10 partitions and 100 records, one after another",
        run: |b, r| Box::pin(transactions::one_by_one(b, r)),
    },
    Measure {
        name: "assignors",
        about: "10,000 partitions shared out to 1,000 members",
        run: |_, r| Box::pin(async { groups::assignors(r) }),
    },
    Measure {
        name: "http",
        about: "64 connections that append one record of 256 B each over HTTP, durable, without fsync",
        run: |b, r| Box::pin(http::append(b, r)),
    },
    Measure {
        name: "followers",
        about: "1,000 idle followers over HTTP, and the delay from append to follower",
        run: |b, r| Box::pin(http::followers(b, r)),
    },
    Measure {
        name: "configs",
        about: "all settings of 1,000 topics in one request",
        run: |b, r| Box::pin(upkeep::configs(b, r)),
    },
    Measure {
        name: "retention",
        about: "retention of 1,000 topics of which nothing expires",
        run: |b, r| Box::pin(upkeep::retention(b, r)),
    },
    Measure {
        name: "expiry",
        about: "1 GiB that expires, in 400 segments: the space, and what is rewritten for it",
        run: |b, r| Box::pin(upkeep::expiry(b, r)),
    },
    Measure {
        name: "compaction",
        about: "1 GiB of keyed records compacted, alone and beside producers",
        run: |b, r| Box::pin(upkeep::compaction(b, r)),
    },
    Measure {
        name: "sockets",
        about: "10,000 idle connections; 200 connections that each send a frame of 100 MiB",
        run: |b, r| Box::pin(footprint::sockets(b, r)),
    },
];

impl Bench {
    fn fresh(&self) -> Data {
        Data::fresh(&self.dir)
    }

    fn start(&self, data: &Data, more: &[&str]) -> Result<Broker> {
        Broker::start(&self.binary, data, more)
    }

    fn work(&self, amount: u64) -> u64 {
        (amount / self.divide).max(1)
    }
}

/// Creates a topic, and waits until each of its partitions takes a record.
async fn create(broker: &Broker, topic: &str, partitions: i32) -> Result<()> {
    let mut connection = Connection::open(&broker.address).await?;
    wire::created(
        connection
            .call(&mut wire::create_topics(&[topic.to_owned()], partitions))
            .await?,
    )?;
    let (batch, deadline) = (
        wire::record_batch(1, 100),
        Instant::now() + Duration::from_secs(10),
    );
    for partition in 0..partitions {
        let mut frame = wire::produce(topic, partition, &batch);
        while let Err(error) = wire::produced(connection.call(&mut frame).await?) {
            if Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

async fn disk(bench: &Bench, report: &mut Report) -> Result<()> {
    let speed = yardstick::sequential(&bench.dir, bench.work(2048))?;
    report.figure(
        "disk",
        "raw append, 16 KiB writes, fdatasync per 4 MiB",
        speed,
        "MiB/s",
        Target::None,
    );
    let mut latencies = yardstick::one_by_one(&bench.dir, bench.work(5000))?;
    report.figure(
        "disk",
        "raw append of 1 KiB with fdatasync, p50",
        latencies.percentile(0.5),
        "ms",
        Target::None,
    );
    report.figure(
        "disk",
        "raw append of 1 KiB with fdatasync, p99",
        latencies.percentile(0.99),
        "ms",
        Target::None,
    );
    Ok(())
}
