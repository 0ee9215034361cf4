//! What is done to a broker that runs already, of whatever kind: the same for Trestle and for those it is
//! compared with (compat/perf). Each driver prints its figures as JSON lines; what the broker used for
//! it is for the caller to look up.

mod latency;
mod partitions;
mod reading;
mod requests;
mod transactions;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use futures::future::LocalBoxFuture;
use serde_json::json;

use crate::wire::{self, Connection, Frame};

const MIB: f64 = (1u64 << 20) as f64;

/// How long a broker has to come up, or to get a new partition ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a driver sends, how much and for how long. Each uses what it needs of it.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "With --against")]
pub(crate) struct Shape {
    /// The topic that is used, and made if it is not there
    #[arg(long, default_value = "load")]
    topic: String,
    /// Partitions of the topic, or in all topics
    #[arg(long, default_value_t = 10)]
    partitions: i32,
    /// The first partition to read
    #[arg(long, default_value_t = 0)]
    partition: i32,
    /// Connections that are used at once
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests of each connection that are under way
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Records in a batch
    #[arg(long, default_value_t = 1)]
    records: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Bytes of a Fetch
    #[arg(long, default_value_t = 1 << 20)]
    fetch_bytes: i32,
    /// Records a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// How long to go on
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How long to go on before anything is counted
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
}

/// The address of the broker, and what to do.
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) shape: Shape,
}

/// One driver.
pub(crate) struct Driver {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: for<'a> fn(&'a Target) -> LocalBoxFuture<'a, Result<()>>,
}

/// All drivers.
pub(crate) const ALL: &[Driver] = &[
    Driver {
        name: "first-ack",
        about: "waits for the broker to come up, produces one record, and says when it was acknowledged",
        run: |t| Box::pin(first_ack(t)),
    },
    Driver {
        name: "requests",
        about: "produces with acks=all, over --connections with --in-flight requests each",
        run: |t| Box::pin(requests::produce(t)),
    },
    Driver {
        name: "follow",
        about: "the same, with one consumer for each partition that follows",
        run: |t| Box::pin(requests::follow(t)),
    },
    Driver {
        name: "end-to-end",
        about: "records at a fixed --rate, from the time they are due until a consumer has them",
        run: |t| Box::pin(latency::end_to_end(t)),
    },
    Driver {
        name: "read",
        about: "reads partitions from their start to their end, one for each connection",
        run: |t| Box::pin(reading::read(t)),
    },
    Driver {
        name: "partitions",
        about: "makes --partitions in topics of 100, asks for their metadata and produces to each",
        run: |t| Box::pin(partitions::many(t)),
    },
    Driver {
        name: "transactions",
        about: "transactions of ten partitions and 100 records, one after another",
        run: |t| Box::pin(transactions::one_by_one(t)),
    },
];

fn figure(what: &str, value: f64, unit: &str) {
    println!("{}", json!({"what": what, "value": value, "unit": unit}));
}

/// CPU seconds of this process.
fn own_cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").context("a process name")?.1;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || -> Result<f64> { Ok(fields.next().context("a time")?.parse()?) };
    Ok((ticks()? + ticks()?) / 100.0)
}

/// How busy this process was.
struct Busy {
    since: Instant,
    cpu: f64,
}

impl Busy {
    fn begin() -> Result<Self> {
        Ok(Self {
            since: Instant::now(),
            cpu: own_cpu()?,
        })
    }

    /// Prints the share of a core that was used. A generator that had no rest says how fast it is itself.
    fn end(&self) -> Result<()> {
        let share = (own_cpu()? - self.cpu) / self.since.elapsed().as_secs_f64();
        figure("generator", share, "of a core");
        Ok(())
    }
}

impl Target {
    async fn connect(&self) -> Result<Connection> {
        Connection::open(&self.address).await
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.shape.seconds)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.shape.warm_up)
    }

    fn batch(&self) -> Vec<u8> {
        wire::record_batch(self.shape.records, self.shape.value_bytes)
    }

    /// Sees to it that the topic is there and that each partition takes a record. Brokers that know no
    /// CreateTopics make it when they are asked for it.
    async fn prepare(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        let mut create = wire::create_topics(
            std::slice::from_ref(&self.shape.topic),
            self.shape.partitions,
        );
        let made = match connection.call(&mut create).await {
            Ok(body) => wire::created(body),
            Err(error) => Err(error),
        };
        if made.is_err() {
            connection = self.connect().await?;
            connection
                .call(&mut wire::metadata(Some(&self.shape.topic)))
                .await?;
        }
        let batch = wire::record_batch(1, 100);
        for partition in 0..self.shape.partitions {
            let mut frame = wire::produce(&self.shape.topic, partition, &batch);
            patiently(&mut connection, &mut frame, wire::produced).await?;
        }
        Ok(())
    }

    /// Where a partition ends. A broker that has just started may not lead it yet.
    async fn end_offset(&self, connection: &mut Connection, partition: i32) -> Result<i64> {
        let mut frame = wire::fetch(&self.shape.topic, partition, 0, 0, 1);
        let fetched = patiently(connection, &mut frame, |answer| wire::fetched(answer, 0)).await?;
        Ok(fetched.high_watermark)
    }
}

/// Asks again until the answer is a good one.
async fn patiently<T>(
    connection: &mut Connection,
    frame: &mut Frame,
    check: fn(&[u8]) -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check(connection.call(frame).await?) {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

async fn first_ack(target: &Target) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut connection = loop {
        match target.connect().await {
            Ok(connection) => break connection,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    connection
        .call(&mut wire::metadata(Some(&target.shape.topic)))
        .await?;
    let mut frame = wire::produce(&target.shape.topic, 0, &target.batch());
    // The topic may take a moment to be there, and until then this partition is unknown.
    while Instant::now() < deadline {
        if wire::produced(connection.call(&mut frame).await?).is_ok() {
            let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
            figure("at", at, "s");
            return Ok(());
        }
        connection
            .call(&mut wire::metadata(Some(&target.shape.topic)))
            .await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("no record was acknowledged within {PATIENCE:?}");
}
