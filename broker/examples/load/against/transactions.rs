//! Transactions, one after another.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Target, figure, patiently};
use crate::report::Latencies;
use crate::wire;

const PARTITIONS: i32 = 10;
const RECORDS_EACH: usize = 10;
/// CONCURRENT_TRANSACTIONS: the end of the last one is still being told.
const STILL_ENDING: i16 = 51;

pub(super) async fn one_by_one(target: &Target) -> Result<()> {
    target.prepare().await?;
    let (shape, mut connection) = (&target.shape, target.connect().await?);
    let id = format!("{}-load", shape.topic);
    patiently(
        &mut connection,
        &mut wire::find_transaction_coordinator(&id),
        |body| match wire::code_after_throttle(body) {
            0 => Ok(()),
            code => bail!("FindCoordinator answered error code {code}"),
        },
    )
    .await?;
    let producer = patiently(
        &mut connection,
        &mut wire::init_producer(&id),
        wire::producer,
    )
    .await?;
    let mut add = wire::add_partitions(&id, producer, &shape.topic, PARTITIONS);
    let mut commit = wire::commit_transaction(&id, producer);
    let counted_from = Instant::now() + target.warm_up();
    let until = counted_from + target.seconds();
    let (mut latencies, mut sequence) = (Latencies::default(), 0);
    while Instant::now() < until {
        let batch = wire::transactional_batch(producer, sequence, RECORDS_EACH, 100);
        sequence += RECORDS_EACH as i32;
        let batches = vec![batch; PARTITIONS as usize];
        let mut produce = wire::produce_in_transaction(&id, &shape.topic, &batches);
        let began = Instant::now();
        patiently(&mut connection, &mut add, wire::added).await?;
        wire::produced(connection.call(&mut produce).await?)?;
        loop {
            match wire::code_after_throttle(connection.call(&mut commit).await?) {
                0 => break,
                STILL_ENDING => tokio::time::sleep(Duration::from_millis(1)).await,
                code => bail!("EndTxn answered error code {code}"),
            }
        }
        if began >= counted_from {
            latencies.add(began.elapsed());
        }
    }
    figure("p50", latencies.percentile(0.5), "ms");
    figure("p99", latencies.percentile(0.99), "ms");
    Ok(())
}
