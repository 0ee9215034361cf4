//! Producing as fast as the broker goes, alone and with consumers that follow.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;

use super::{Busy, MIB, Target, figure};
use crate::report::Latencies;
use crate::wire::{self, Connection, Frame};

/// One connection that keeps `in_flight` requests under way until the deadline; how many were answered.
async fn pump(
    mut connection: Connection,
    mut frames: Vec<Frame>,
    in_flight: usize,
    deadline: Instant,
    latencies: &RefCell<Latencies>,
) -> Result<u64> {
    let mut sent_at = VecDeque::with_capacity(in_flight);
    let (mut sent, mut answered) = (0, 0);
    loop {
        while sent_at.len() < in_flight && Instant::now() < deadline {
            let at = sent % frames.len();
            sent_at.push_back(Instant::now());
            connection.send(&mut frames[at]).await?;
            sent += 1;
        }
        let Some(began) = sent_at.pop_front() else {
            return Ok(answered);
        };
        wire::produced(connection.receive().await?)?;
        latencies.borrow_mut().add(began.elapsed());
        answered += 1;
    }
}

/// All connections, for so long from when they are open; how many requests, in how many seconds.
async fn flood(
    target: &Target,
    time: Duration,
    latencies: &RefCell<Latencies>,
) -> Result<(u64, f64)> {
    let (shape, batch) = (&target.shape, target.batch());
    let frames: Vec<Frame> = (0..shape.partitions)
        .map(|partition| wire::produce(&shape.topic, partition, &batch))
        .collect();
    let mut open = Vec::new();
    for _ in 0..shape.connections {
        open.push(target.connect().await?);
    }
    let began = Instant::now();
    let deadline = began + time;
    let pumps = open.into_iter().enumerate().map(|(at, connection)| {
        let mut frames = frames.clone();
        let shift = at % frames.len();
        frames.rotate_left(shift);
        pump(connection, frames, shape.in_flight, deadline, latencies)
    });
    let requests = try_join_all(pumps).await?.into_iter().sum();
    Ok((requests, began.elapsed().as_secs_f64()))
}

fn report(target: &Target, requests: u64, seconds: f64, latencies: &RefCell<Latencies>) {
    let bytes = requests as f64 * (target.shape.records * target.shape.value_bytes) as f64;
    figure("requests", requests as f64 / seconds, "1/s");
    figure("produced", bytes / MIB / seconds, "MiB/s");
    figure("bytes", bytes, "bytes");
    let mut latencies = latencies.borrow_mut();
    figure("p50", latencies.percentile(0.5), "ms");
    figure("p99", latencies.percentile(0.99), "ms");
}

pub(super) async fn produce(target: &Target) -> Result<()> {
    target.prepare().await?;
    flood(target, target.warm_up(), &RefCell::default()).await?;
    super::figure("counting", 0.0, "");
    let (busy, latencies) = (Busy::begin()?, RefCell::default());
    let (requests, seconds) = flood(target, target.seconds(), &latencies).await?;
    report(target, requests, seconds, &latencies);
    busy.end()
}

/// Reads what comes to a partition until the deadline; answers the bytes.
async fn follow_one(target: &Target, partition: i32, deadline: Instant) -> Result<u64> {
    let mut connection = target.connect().await?;
    let mut offset = target.end_offset(&mut connection, partition).await?;
    let (mut bytes, shape) = (0, &target.shape);
    while Instant::now() < deadline {
        let mut frame = wire::fetch(&shape.topic, partition, offset, 100, shape.fetch_bytes);
        let answer = wire::fetched(connection.call(&mut frame).await?, offset)?;
        bytes += answer.bytes as u64;
        offset = answer.next_offset;
    }
    Ok(bytes)
}

pub(super) async fn follow(target: &Target) -> Result<()> {
    target.prepare().await?;
    flood(target, target.warm_up(), &RefCell::default()).await?;
    super::figure("counting", 0.0, "");
    let (busy, latencies, began) = (Busy::begin()?, RefCell::default(), Instant::now());
    let deadline = began + target.seconds();
    let followers = (0..target.shape.partitions).map(|at| follow_one(target, at, deadline));
    let (produced, consumed) = futures::future::try_join(
        flood(target, target.seconds(), &latencies),
        try_join_all(followers),
    )
    .await?;
    report(target, produced.0, produced.1, &latencies);
    let consumed = consumed.into_iter().sum::<u64>() as f64;
    figure("consumed", consumed / MIB / target.shape.seconds, "MiB/s");
    busy.end()
}
