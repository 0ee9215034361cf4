//! Reading what is there.

use std::time::Instant;

use anyhow::Result;
use futures::future::try_join_all;

use super::{Busy, MIB, Target, figure};
use crate::wire;

async fn read_one(target: &Target, partition: i32) -> Result<u64> {
    let (shape, mut connection) = (&target.shape, target.connect().await?);
    let end = target.end_offset(&mut connection, partition).await?;
    let (mut offset, mut bytes) = (0, 0);
    while offset < end {
        let mut frame = wire::fetch(&shape.topic, partition, offset, 500, shape.fetch_bytes);
        let answer = wire::fetched(connection.call(&mut frame).await?, offset)?;
        bytes += answer.bytes as u64;
        offset = answer.next_offset;
    }
    Ok(bytes)
}

/// Connection `n` reads the partition `n` from `--partition` on, and begins again behind the last.
pub(super) async fn read(target: &Target) -> Result<()> {
    let (busy, shape) = (Busy::begin()?, &target.shape);
    let began = Instant::now();
    let readers = (0..shape.connections as i32).map(|at| {
        read_one(
            target,
            (shape.partition + at % shape.partitions.max(1)).max(0),
        )
    });
    let bytes = try_join_all(readers).await?.into_iter().sum::<u64>() as f64;
    figure(
        "consumed",
        bytes / MIB / began.elapsed().as_secs_f64(),
        "MiB/s",
    );
    figure("bytes", bytes, "bytes");
    busy.end()
}
