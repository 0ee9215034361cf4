//! What transactions cost.

use std::time::Instant;

use anyhow::{Result, bail};

use super::{Bench, TOPIC, create};
use crate::report::{Latencies, Report, Target};
use crate::wire::{self, Connection};

const ID: &str = "load";
const PARTITIONS: i32 = 10;
const RECORDS_EACH: usize = 10;

pub(super) async fn one_by_one(bench: &Bench, report: &mut Report) -> Result<()> {
    for (what, fsync) in [("fsync on", "true"), ("fsync off", "false")] {
        let broker = bench.start(&bench.fresh(), &["--fsync", fsync])?;
        create(&broker, TOPIC, PARTITIONS).await?;
        let mut connection = Connection::open(&broker.address).await?;
        let producer = wire::producer(connection.call(&mut wire::init_producer(ID)).await?)?;
        let mut add = wire::add_partitions(ID, producer, TOPIC, PARTITIONS);
        let mut commit = wire::commit_transaction(ID, producer);
        let (mut whole, mut ends) = (Latencies::default(), Latencies::default());
        let warm = bench.work(100);
        for number in 0..warm + bench.work(2_000) {
            let sequence = number as i32 * RECORDS_EACH as i32;
            let batch = wire::transactional_batch(producer, sequence, RECORDS_EACH, 100);
            let batches = vec![batch; PARTITIONS as usize];
            let mut produce = wire::produce_in_transaction(ID, TOPIC, &batches);
            let began = Instant::now();
            wire::added(connection.call(&mut add).await?)?;
            wire::produced(connection.call(&mut produce).await?)?;
            let ending = Instant::now();
            let code = wire::code_after_throttle(connection.call(&mut commit).await?);
            if code != 0 {
                bail!("EndTxn answered error code {code}");
            }
            if number >= warm {
                whole.add(began.elapsed());
                ends.add(ending.elapsed());
            }
        }
        for (part, latencies, target) in [
            ("its commit", &mut ends, Target::None),
            ("all of it", &mut whole, Target::AtMost(5.0)),
        ] {
            for (share, percent) in [(0.5, "p50"), (0.99, "p99")] {
                let what = format!("{what}, {part}, {percent}");
                let target = if percent == "p50" {
                    target
                } else {
                    Target::None
                };
                report.figure(
                    "transactions",
                    &what,
                    latencies.percentile(share),
                    "ms",
                    target,
                );
            }
        }
    }
    Ok(())
}
