//! The courier: tells partitions and groups that a transaction has ended, and the coordinator that they
//! know. It does not give up: an end that was decided holds, whatever happens in between.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio::sync::{mpsc, watch};

use super::{Brain, Ending, TopicPartition, Transactions};
use crate::coordinator::runtime::Courier;
use crate::env::Env;
use crate::metadata::Image;
use crate::metrics::Metrics;
use crate::partition::{AppendError, Marker, Partitions};
use crate::types::{ProducerEpoch, ProducerId};

/// Pause after a failure: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Tells a group how the transaction of a producer has ended; false if it has to be told again.
pub type TellGroup =
    Box<dyn Fn(String, ProducerId, ProducerEpoch, bool) -> BoxFuture<'static, bool> + Send + Sync>;

/// The way from the coordinator to the courier.
#[expect(
    clippy::disallowed_methods,
    reason = "no more errands than transactional ids, which are all in memory; and a courier must not block"
)]
pub fn errands() -> (Courier<Brain>, mpsc::UnboundedReceiver<Ending>) {
    let (send, receive) = mpsc::unbounded_channel();
    let courier = Box::new(move |ending| {
        // Fails only when the rooms are closed, and then the rows say what is left to do.
        let _ = send.send(ending);
    });
    (courier, receive)
}

/// Whom the courier speaks with.
pub struct MarkerCourier {
    /// Clock and tasks.
    pub env: Env,
    /// Where reports go.
    pub transactions: Arc<Transactions>,
    /// The partitions.
    pub partitions: Arc<Partitions>,
    /// Which topics exist.
    pub images: watch::Receiver<Arc<Image>>,
    /// The groups.
    pub tell_group: TellGroup,
    /// Counts ends.
    pub metrics: Arc<Metrics>,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
}

impl MarkerCourier {
    /// Runs errands until the rooms close.
    pub async fn run(self, mut errands: mpsc::UnboundedReceiver<Ending>) {
        let courier = Arc::new(self);
        loop {
            tokio::select! {
                ending = errands.recv() => match ending {
                    Some(ending) => {
                        let courier = courier.clone();
                        let env = courier.env.clone();
                        env.spawn("transaction end", async move { courier.tell(ending).await });
                    }
                    None => return,
                },
                () = courier.env.stopping().cancelled() => return,
            }
        }
    }

    /// Tells everybody of one end, for as long as it takes.
    async fn tell(&self, ending: Ending) {
        self.transactions.clear(&ending.id).await;
        let partitions = ending.partitions.iter();
        let marks = partitions.map(|partition| self.until_done(|| self.mark(&ending, *partition)));
        let groups = ending.groups.iter();
        let groups = groups.map(|group| self.until_done(|| self.tell_group(&ending, group)));
        let (marks, groups) = futures::join!(join_all(marks), join_all(groups));
        if !marks.into_iter().chain(groups).all(|done| done) {
            return;
        }
        self.metrics.transaction.ended(ending.committed);
        if let Err(error) = self.transactions.markers_written(&ending).await {
            tracing::debug!(%error, id = ending.id, "the end of a transaction is not recorded");
        }
    }

    /// Tries again until it is done; false if the rooms close first.
    async fn until_done<F: Future<Output = bool>>(&self, attempt: impl Fn() -> F) -> bool {
        let mut pause = PAUSE;
        loop {
            if attempt().await {
                return true;
            }
            tokio::select! {
                () = self.env.sleep(pause) => {}
                () = self.env.stopping().cancelled() => return false,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn tell_group(&self, ending: &Ending, group: &str) -> bool {
        let told = (self.tell_group)(
            group.to_owned(),
            ending.producer,
            ending.epoch,
            ending.committed,
        );
        told.await
    }

    /// Writes the marker of one partition; true when it is durable, or there is nothing to mark.
    async fn mark(&self, ending: &Ending, (topic_id, index): TopicPartition) -> bool {
        let topic = self.images.borrow().topic_by_id(&topic_id).cloned();
        let Some(topic) = topic else {
            // Deleted, and its part of the transaction with it.
            return true;
        };
        let marked = async {
            let Some(partition) = self.partitions.get(&topic, index).await? else {
                return Ok(());
            };
            let now = self.env.now();
            partition.prepare(now).await?;
            let marker = Marker {
                producer_id: ending.producer,
                producer_epoch: ending.epoch,
                committed: ending.committed,
                coordinator_epoch: ending.coordinator_epoch,
            };
            match partition.append_marker(marker, now, self.producer_expiration_ms)? {
                Some(receipt) => receipt.durable().await,
                None => Ok(()),
            }
        };
        match marked.await {
            // A broker that only reads leaves markers to the one that writes.
            // What the bridge writes has no part in a transaction of ours.
            Ok(()) | Err(AppendError::Gone | AppendError::ReadOnly | AppendError::Mirrored) => true,
            Err(AppendError::Producer(error)) => {
                // A later marker is there already: this transaction has ended.
                tracing::warn!(%error, id = ending.id, topic = %topic.name, index, "a marker is late");
                true
            }
            Err(AppendError::Storage(error)) => {
                tracing::warn!(%error, id = ending.id, topic = %topic.name, index, "a marker waits");
                false
            }
        }
    }
}
