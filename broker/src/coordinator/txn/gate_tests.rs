//! The gate: nothing is told of an end while somebody is inside.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use trestle_storage::{DataUrl, Options};

use super::markers::{MarkerCourier, errands};
use super::*;
use crate::config::Config;
use crate::metadata::{Controller, NewTopic, Topic};
use crate::metrics::Metrics;
use crate::partition::Partitions;
use crate::placement::Placement;

/// So often others have their turn before something counts as not happening.
const TURNS: usize = 2_000;

struct Stage {
    env: Env,
    store: Store,
    transactions: Arc<Transactions>,
    partitions: Arc<Partitions>,
    topic: Arc<Topic>,
    /// How often a group was told of an end.
    told: Arc<AtomicUsize>,
}

impl Stage {
    async fn new() -> Self {
        let env = Env::system();
        let config = Arc::new(Config {
            storage: Options::new(DataUrl::Memory),
            ..Config::default()
        });
        let store = Store::open(config.storage.clone(), env.clock());
        let store = store.await.unwrap();
        let controller = Controller::load(env.clone(), config, store.clone());
        let controller = controller.await.unwrap();
        let topic = NewTopic {
            name: "t".into(),
            partitions: Some(1),
            ..NewTopic::default()
        };
        let topic = controller.create_topic(topic).await.unwrap();
        let placement = Placement::new(1, store.epoch());
        let partitions = Arc::new(Partitions::new(store.clone(), placement));
        let (courier, receive) = errands();
        let producer_ids = Arc::new(ProducerIds::new(store.clone(), "cluster"));
        let brain = Brain::new(i64::MAX / 4, 1);
        let transactions =
            Transactions::load(env.clone(), store.clone(), brain, producer_ids, courier);
        let transactions = Arc::new(transactions.await.unwrap());
        let told = Arc::new(AtomicUsize::new(0));
        let counted = told.clone();
        let courier = MarkerCourier {
            env: env.clone(),
            transactions: transactions.clone(),
            partitions: partitions.clone(),
            images: controller.subscribe(),
            tell_group: Box::new(move |_, _, _, _| {
                counted.fetch_add(1, Ordering::Relaxed);
                Box::pin(async { true })
            }),
            metrics: Arc::new(Metrics::default()),
            producer_expiration_ms: i64::MAX / 4,
        };
        env.spawn("marker courier", courier.run(receive));
        Self {
            env,
            store,
            transactions,
            partitions,
            topic,
            told,
        }
    }

    /// How far the partition goes, durably.
    async fn end(&self) -> i64 {
        let partition = self.partitions.get(&self.topic, 0).await.unwrap();
        partition.unwrap().offsets().high_watermark
    }

    async fn standing(&self) -> Standing {
        let transaction = self.transactions.describe("id").await.unwrap();
        transaction.expect("it is known").standing
    }

    /// A producer with an open transaction of the partition and a group.
    async fn begin(&self) -> (ProducerId, ProducerEpoch) {
        let (producer, epoch) = self.transactions.init("id", 60_000, None).await.unwrap();
        let owner = Owner {
            id: "id",
            producer,
            epoch,
        };
        let part = (self.topic.id, 0);
        let group = Some("g".to_owned());
        let added = self.transactions.add(owner, vec![part], group, false);
        added.await.unwrap();
        assert_eq!(self.transactions.verify(owner, &part), Ok(()));
        (producer, epoch)
    }

    async fn stop(self) {
        self.env.stopping().cancel();
        self.env.join().await;
        self.store.close().await.unwrap();
    }
}

/// Ends the transaction of `producer`.
async fn end(
    transactions: &Transactions,
    (producer, epoch): (ProducerId, ProducerEpoch),
    commit: bool,
) {
    let owner = Owner {
        id: "id",
        producer,
        epoch,
    };
    transactions.end(owner, commit, false).await.unwrap();
}

#[tokio::test]
async fn nobody_is_told_of_an_end_while_somebody_is_inside() {
    for commit in [true, false] {
        let stage = Stage::new().await;
        let own = stage.begin().await;
        let inside = stage.transactions.enter("id").await;
        let ended = Cell::new(false);
        let ending = async {
            end(&stage.transactions, own, commit).await;
            ended.set(true);
        };
        let watching = async {
            // Decided, and durably.
            while !stage.standing().await.is_prepared() {
                tokio::task::yield_now().await;
            }
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            assert_eq!(stage.end().await, 0, "there is a marker (commit: {commit})");
            assert_eq!(stage.told.load(Ordering::Relaxed), 0, "the group was told");
            assert!(stage.standing().await.is_prepared());
            assert!(!ended.get());
            drop(inside);
        };
        futures::join!(ending, watching);
        assert_eq!(stage.end().await, 1, "the marker");
        assert_eq!(stage.told.load(Ordering::Relaxed), 1);
        assert!(stage.standing().await.is_complete());
        stage.stop().await;
    }
}

#[tokio::test]
async fn an_end_does_not_wait_for_other_gates() {
    let stage = Stage::new().await;
    let gate = |id: &str| std::ptr::from_ref(stage.transactions.gate(id));
    let other = (0..)
        .map(|number| format!("other{number}"))
        .find(|other| gate(other) != gate("id"));
    let inside = stage.transactions.enter(&other.unwrap()).await;
    let own = stage.begin().await;
    end(&stage.transactions, own, true).await;
    assert_eq!(stage.end().await, 1);
    drop(inside);
    stage.stop().await;
}
