//! From the time when a record is due until a consumer has it, at a fixed rate.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::{Semaphore, mpsc};

use super::{Busy, Target, figure};
use crate::report::Latencies;
use crate::wire::{self, Frame};

/// What Kafka's clients allow themselves.
const IN_FLIGHT: usize = 5;
/// Records of a batch, at most.
const MOST: usize = 100;

/// Says when each record is due, from a thread of its own: the runtime's clock is too coarse for it.
fn clock(rate: u32, until: Instant) -> mpsc::UnboundedReceiver<Instant> {
    let (due, dues) = mpsc::unbounded_channel();
    let apart = Duration::from_secs(1) / rate.max(1);
    std::thread::spawn(move || {
        let mut next = Instant::now();
        while next < until {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if due.send(Instant::now()).is_err() {
                break;
            }
            next += apart;
        }
    });
    dues
}

/// A record is sent when it is due, unless five requests are under way: then those that become due
/// meanwhile go together, as with `linger.ms=0`.
pub(super) async fn end_to_end(target: &Target) -> Result<()> {
    target.prepare().await?;
    let shape = &target.shape;
    let counted_from = Instant::now() + target.warm_up();
    let until = counted_from + target.seconds();
    let mut connection = target.connect().await?;
    let start = target.end_offset(&mut connection, 0).await?;
    let mut dues = clock(shape.rate, until);
    let due_at = RefCell::new(Vec::new());
    let finished = RefCell::new(false);
    let (mut sender, mut receiver) = connection.split();
    let permits = Semaphore::new(IN_FLIGHT);
    let (asked, mut answers) = mpsc::unbounded_channel();

    let sending = async {
        let mut frames: Vec<Frame> = (1..=MOST)
            .map(|count| {
                let batch = wire::record_batch(count, shape.value_bytes);
                wire::produce(&shape.topic, 0, &batch)
            })
            .collect();
        while let Some(due) = dues.recv().await {
            permits.acquire().await?.forget();
            let mut count = 1;
            {
                let mut due_at = due_at.borrow_mut();
                due_at.push(due);
                while count < MOST
                    && let Ok(due) = dues.try_recv()
                {
                    due_at.push(due);
                    count += 1;
                }
            }
            sender.send(&mut frames[count - 1]).await?;
            asked.send(())?;
        }
        drop(asked);
        *finished.borrow_mut() = true;
        anyhow::Ok(())
    };
    let answering = async {
        while answers.recv().await.is_some() {
            wire::produced(receiver.receive().await?)?;
            permits.add_permits(1);
        }
        anyhow::Ok(())
    };
    let consuming = async {
        let mut connection = target.connect().await?;
        let (mut offset, mut latencies) = (start, Latencies::default());
        loop {
            let seen = (offset - start) as usize;
            if *finished.borrow() && seen == due_at.borrow().len() {
                return Ok(latencies);
            }
            let mut frame = wire::fetch(&shape.topic, 0, offset, 100, shape.fetch_bytes);
            let answer = wire::fetched(connection.call(&mut frame).await?, offset)?;
            let now = Instant::now();
            let due_at = due_at.borrow();
            for due in &due_at[seen..(answer.next_offset - start) as usize] {
                if *due >= counted_from {
                    latencies.add(now - *due);
                }
            }
            offset = answer.next_offset;
        }
    };
    let busy = Busy::begin()?;
    let (_, _, mut latencies) = tokio::try_join!(sending, answering, consuming)?;
    figure("p50", latencies.percentile(0.5), "ms");
    figure("p99", latencies.percentile(0.99), "ms");
    figure("p99.9", latencies.percentile(0.999), "ms");
    busy.end()
}
