//! Many partitions.

use std::time::Instant;

use anyhow::{Result, bail};

use super::{PATIENCE, Target, figure};
use crate::report::Latencies;
use crate::wire;

/// Partitions of a topic.
const EACH: i32 = 100;
/// Topics of one CreateTopics.
const TOGETHER: usize = 10;
/// Produce requests under way.
const IN_FLIGHT: usize = 64;

pub(super) async fn many(target: &Target) -> Result<()> {
    let topics: Vec<String> = (0..(target.shape.partitions / EACH).max(1))
        .map(|at| format!("{}-{at:04}", target.shape.topic))
        .collect();
    let mut connection = target.connect().await?;
    let began = Instant::now();
    for some in topics.chunks(TOGETHER) {
        wire::created(
            connection
                .call(&mut wire::create_topics(some, EACH))
                .await?,
        )?;
    }
    // Made is what takes a record.
    let last = topics.len() - 1;
    let mut frame = wire::produce(&topics[last], EACH - 1, &target.batch());
    super::patiently(&mut connection, &mut frame, wire::produced).await?;
    figure("create", began.elapsed().as_secs_f64(), "s");

    let mut latencies = Latencies::default();
    for _ in 0..5 {
        let began = Instant::now();
        connection.call(&mut wire::metadata(None)).await?;
        latencies.add(began.elapsed());
    }
    figure("metadata", latencies.percentile(0.5), "ms");

    let batch = wire::record_batch(1, 100);
    let mut left: Vec<(usize, i32)> = (0..topics.len())
        .flat_map(|topic| (0..EACH).map(move |partition| (topic, partition)))
        .collect();
    let began = Instant::now();
    while !left.is_empty() {
        if began.elapsed() > PATIENCE {
            bail!("{} partitions take no record", left.len());
        }
        let mut again = Vec::new();
        for some in left.chunks(IN_FLIGHT) {
            for (topic, partition) in some {
                let mut frame = wire::produce(&topics[*topic], *partition, &batch);
                connection.send(&mut frame).await?;
            }
            for place in some {
                if wire::produced(connection.receive().await?).is_err() {
                    again.push(*place);
                }
            }
        }
        left = again;
    }
    figure("produce", began.elapsed().as_secs_f64(), "s");
    Ok(())
}
