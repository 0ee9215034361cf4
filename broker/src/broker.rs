//! The composition root: builds every room, and owns the order of start and shutdown.
//!
//! A broker lives several times if it must: when the store closes under it (a failed fsync, say), all
//! rooms are dropped and built anew behind the same doors. Starting is the only way to recover, so it
//! is the way that is always tested. A store that another writer has taken over is not opened again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::watch;
use trestle_storage::{ErrorKind, Log, Recovered, Store, StoreState};

use crate::bridge::{Bridge, Ground};
use crate::config::{Config, ConfigError, Origin, Settings};
use crate::coordinator::group::commands::{Command as GroupCommand, CompleteTxn};
use crate::coordinator::group::{Groups, Limits};
use crate::coordinator::runtime::Coordinator;
use crate::coordinator::txn::markers::{self, MarkerCourier, TellGroup};
use crate::coordinator::txn::{Brain, ProducerIds, Transactions};
use crate::env::Env;
use crate::http;
use crate::metadata::Controller;
use crate::metrics::Metrics;
use crate::net::{self, Bound};
use crate::partition::{Cleaner, CleanerLimits, Partitions, Retention, sweep};
use crate::placement::Placement;

/// Pause between attempts to open a store that closed.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// How often a broker that only reads looks for what is new.
const REFRESH: Duration = Duration::from_secs(1);
/// Logs that are no partitions which are kept open.
const OPEN_LOGS: usize = 1 << 14;
/// How long requests in flight may take at shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause between rounds of compaction while there is more to do.
const MORE_PAUSE: Duration = Duration::from_millis(100);
/// How long closing the store may take.
const CLOSE: Duration = Duration::from_secs(4);

/// The living rooms behind the doors: what a handler may reach.
#[derive(Debug)]
pub struct Rooms {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// Settings.
    pub config: Arc<Config>,
    /// Instruments.
    pub metrics: Arc<Metrics>,
    /// The store under all of it.
    pub store: Store,
    /// Topics.
    pub metadata: Arc<Controller>,
    /// Who leads what.
    pub placement: Placement,
    /// Partitions, opened on demand.
    pub partitions: Arc<Partitions>,
    /// Groups: members and offsets.
    pub groups: Coordinator<Groups>,
    /// Producer ids.
    pub producer_ids: Arc<ProducerIds>,
    /// Transactional ids and their transactions.
    pub transactions: Arc<Transactions>,
    /// Jobs that copy other clusters.
    pub bridge: Bridge,
    logs: DashMap<Bytes, Log>,
}

impl Rooms {
    /// The log under `key`, which is no partition. One that holds something is kept open, so that the
    /// next request does not look for its end.
    ///
    /// # Errors
    /// As [`Store::log`].
    pub async fn log(&self, key: &[u8]) -> trestle_storage::Result<Log> {
        if let Some(log) = self.logs.get(key) {
            return Ok(log.clone());
        }
        let log = self.store.log(key).await?;
        if log.bounds().end_offset > 0 {
            if self.logs.len() >= OPEN_LOGS {
                // Whichever: those in use come back.
                let mut keep = false;
                self.logs.retain(|_, _| {
                    keep = !keep;
                    keep
                });
            }
            self.logs.insert(log.key().clone(), log.clone());
        }
        Ok(log)
    }

    /// Waits as long as `length` says, which may change meanwhile; false if the rooms are closed.
    async fn pause(&self, length: impl Fn(&Config) -> Duration) -> bool {
        let mut images = self.metadata.subscribe();
        let began = self.env.now();
        loop {
            let length = length(&images.borrow_and_update().config);
            let waited = self.env.now().saturating_sub(began);
            let waited = Duration::from_millis(u64::try_from(waited).unwrap_or(0));
            tokio::select! {
                () = self.env.stopping().cancelled() => return false,
                () = self.env.sleep(length.saturating_sub(waited)) => return true,
                changed = images.changed() => if changed.is_err() { return false },
            }
        }
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    env: Env,
    rooms: Arc<watch::Sender<Option<Arc<Rooms>>>>,
    recovered: Recovered,
    listeners: Vec<Bound>,
    http: Option<SocketAddr>,
}

impl Broker {
    /// Opens the store, builds the rooms, opens the doors last.
    ///
    /// # Errors
    /// A store that cannot be opened, an address that cannot be bound: one sentence that says which.
    pub async fn start(mut config: Config, env: Env) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::default());
        config.storage.metrics = trestle_storage::Metrics::new(metrics.store_recorder());
        let config = Arc::new(config);
        let first = open_rooms(&env, &config, &metrics).await?;
        let recovered = first.store.recovered();
        let (rooms, in_rooms) = watch::channel(Some(first));
        let opened = async {
            let http = http::open(&env, &config, metrics.clone(), in_rooms.clone()).await?;
            let listeners = net::open(&env, &config, metrics.clone(), in_rooms).await?;
            anyhow::Ok((http, listeners))
        };
        let (http, listeners) = match opened.await {
            Ok(doors) => doors,
            Err(error) => {
                env.stopping().cancel();
                close_rooms(rooms.send_replace(None)).await;
                return Err(error);
            }
        };
        let rooms = Arc::new(rooms);
        let keeper = keep_open(env.clone(), config, metrics, rooms.clone());
        env.spawn("store keeper", keeper);
        Ok(Self {
            env,
            rooms,
            recovered,
            listeners,
            http,
        })
    }

    /// What is behind the doors.
    #[cfg(test)]
    pub(crate) fn rooms(&self) -> Arc<Rooms> {
        self.rooms.borrow().clone().expect("the store is open")
    }

    /// Where Kafka clients are served.
    pub fn listeners(&self) -> &[Bound] {
        &self.listeners
    }

    /// Where HTTP is served, if it is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// What opening the store found.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Returns when the broker cannot go on: a task panicked, or another broker has its store.
    pub async fn failed(&self) {
        self.env.failed().cancelled().await;
    }

    /// Settings for a broker within this process, such as a test's: in memory, on a free port, without
    /// HTTP, unless told otherwise.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Where Kafka clients are served first, as they write it: `HOST:PORT`.
    pub fn address(&self) -> String {
        let first = self.listeners.first();
        first.map_or(String::new(), |bound| bound.address.to_string())
    }

    /// Returns when the broker has ended, by [`Broker::shutdown`] of another task or because it cannot
    /// go on.
    pub async fn join(&self) {
        tokio::select! {
            () = self.env.stopping().cancelled() => {}
            () = self.failed() => {}
        }
    }

    /// [`Broker::stop`] by the name that embedders look for.
    pub async fn shutdown(self) {
        self.stop().await;
    }

    /// Closes the doors, finishes what is in flight, then closes the store.
    pub async fn stop(self) {
        self.env.stopping().cancel();
        if self.env.timeout(DRAIN, self.env.join()).await.is_none() {
            tracing::warn!("some requests did not finish in time");
        }
        let rooms = self.rooms.send_replace(None);
        if self.env.timeout(CLOSE, close_rooms(rooms)).await.is_none() {
            tracing::warn!("the store did not close in time; the next start recovers it");
        }
    }
}

impl Drop for Broker {
    /// What has not been stopped ends with the value, as in a crash: what was acknowledged is durable.
    fn drop(&mut self) {
        self.env.stopping().cancel();
    }
}

/// A store that is only read, behind an HTTP door that this process alone can enter. It takes no lock
/// and writes nothing, whether or not a broker serves the same data.
#[derive(Debug)]
pub struct Visit {
    env: Env,
    rooms: Arc<Rooms>,
    door: http::Inside,
}

impl Visit {
    /// Opens the store of `config`, which says that it is only read.
    ///
    /// # Errors
    /// A store that cannot be opened.
    pub async fn open(config: Config, env: Env) -> anyhow::Result<Self> {
        anyhow::ensure!(config.read_only, "the store of a visit is only read");
        let (config, metrics) = (Arc::new(config), Arc::new(Metrics::default()));
        let rooms = open_rooms(&env, &config, &metrics).await?;
        let (_, in_rooms) = watch::channel(Some(rooms.clone()));
        let door = http::open_inside(&env, &config, metrics, in_rooms);
        Ok(Self { env, rooms, door })
    }

    /// A connection that speaks HTTP.
    pub fn connect(&self) -> tokio::io::DuplexStream {
        self.door.connect()
    }

    /// Ends what is in flight and closes the store.
    pub async fn end(self) {
        self.env.stopping().cancel();
        // Whatever is left ends with the process.
        self.env.timeout(DRAIN, self.env.join()).await;
        self.env.timeout(CLOSE, close_rooms(Some(self.rooms))).await;
    }
}

/// Makes a [`Broker`] for the process that it is built in.
#[derive(Debug, Default)]
pub struct BrokerBuilder {
    settings: Settings,
    failed: Option<ConfigError>,
}

impl BrokerBuilder {
    /// Gives a setting by its name; `docs/config.md` lists them.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        let given = self
            .settings
            .set(name, value, Origin::Flag("of the builder".into()));
        self.failed = self.failed.or(given.err());
        self
    }

    /// Where the data lie: `memory:`, `file:PATH` or `s3://BUCKET/PREFIX`.
    #[must_use]
    pub fn data(self, url: &str) -> Self {
        self.set("trestle.data", url)
    }

    /// Where Kafka clients are served; port 0 takes a free one.
    #[must_use]
    pub fn listen(self, address: &str) -> Self {
        self.set("listeners", address)
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn http(self, address: &str) -> Self {
        self.set("trestle.http", address)
    }

    /// Starts the broker.
    ///
    /// # Errors
    /// A setting that cannot be used, and as [`Broker::start`].
    pub async fn start(self) -> anyhow::Result<Broker> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        let mut settings = self.settings;
        for (name, value) in [
            ("trestle.data", "memory:"),
            ("listeners", "127.0.0.1:0"),
            ("trestle.http", "none"),
        ] {
            if settings.get(name).is_none() {
                settings.set(name, value, Origin::Flag("of the builder".into()))?;
            }
        }
        Broker::start(Config::load(settings)?, Env::system()).await
    }
}

async fn open_rooms(
    env: &Env,
    config: &Arc<Config>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<Rooms>> {
    let env = env.child();
    let storage = config.storage.clone();
    let store = match config.read_only {
        true => Store::open_read_only(storage, env.clock(), REFRESH).await?,
        false => Store::open(storage, env.clock()).await?,
    };
    let metadata = Controller::load(env.clone(), config.clone(), store.clone()).await?;
    let placement = Placement::new(config.node_id, store.epoch());
    let groups = Coordinator::load(
        "groups",
        Groups::new(Limits::new(config)),
        env.clone(),
        store.clone(),
        Box::new(|nothing| match nothing {}),
    );
    let groups = groups.await?;
    let partitions = Arc::new(Partitions::new(store.clone(), placement.clone()));
    let producer_ids = Arc::new(ProducerIds::new(
        store.clone(),
        &metadata.image().cluster_id,
    ));
    let brain = Brain::new(
        config.transactional_id_expiration_ms,
        placement.coordinator_epoch(),
    );
    let (courier, errands) = markers::errands();
    let transactions = Transactions::load(
        env.clone(),
        store.clone(),
        brain,
        producer_ids.clone(),
        courier,
    );
    let transactions = Arc::new(transactions.await?);
    let courier = MarkerCourier {
        env: env.clone(),
        transactions: transactions.clone(),
        partitions: partitions.clone(),
        images: metadata.subscribe(),
        tell_group: tell_group(groups.clone()),
        metrics: metrics.clone(),
        producer_expiration_ms: config.producer_id_expiration_ms,
    };
    env.spawn("marker courier", courier.run(errands));
    let metadata = Arc::new(metadata);
    let bridge = Bridge::load(Ground {
        env: env.clone(),
        config: config.clone(),
        store: store.clone(),
        metadata: metadata.clone(),
        placement: placement.clone(),
        partitions: partitions.clone(),
        groups: groups.clone(),
    });
    let bridge = bridge.await?;
    let rooms = Arc::new(Rooms {
        bridge,
        groups,
        env,
        config: config.clone(),
        metrics: metrics.clone(),
        metadata,
        partitions,
        producer_ids,
        transactions,
        placement,
        store,
        logs: DashMap::new(),
    });
    rooms
        .env
        .spawn("image follower", follow_images(rooms.clone()));
    if !rooms.config.read_only {
        rooms.env.spawn("retention", retain(rooms.clone()));
    }
    if rooms.config.cleaner && !rooms.config.read_only {
        rooms.env.spawn("compaction", compact(rooms.clone()));
    }
    Ok(rooms)
}

/// How the courier of markers speaks with groups.
fn tell_group(groups: Coordinator<Groups>) -> TellGroup {
    Box::new(move |group, producer, epoch, committed| {
        let groups = groups.clone();
        let command = GroupCommand::CompleteTxn(CompleteTxn {
            producer,
            epoch,
            committed,
            groups: vec![group.into()],
        });
        Box::pin(async move { groups.submit(command).await.is_ok() })
    })
}

/// Ends what runs in the rooms and closes their store.
async fn close_rooms(rooms: Option<Arc<Rooms>>) {
    let Some(rooms) = rooms else { return };
    rooms.env.stopping().cancel();
    rooms.env.join().await;
    if let Err(error) = rooms.store.close().await {
        tracing::warn!(%error, "the store did not close cleanly; the next start recovers it");
    }
}

/// Tells the rooms that hold something of topics what has become of them.
async fn follow_images(rooms: Arc<Rooms>) {
    let mut images = rooms.metadata.subscribe();
    loop {
        let image = images.borrow_and_update().clone();
        let latest = || rooms.metadata.image();
        rooms.partitions.follow(&image, latest);
        // Fails only with the store, and then these rooms end.
        let _ = rooms.groups.submit(GroupCommand::Follow(image)).await;
        tokio::select! {
            changed = images.changed() => if changed.is_err() { return },
            () = rooms.env.stopping().cancelled() => return,
        }
    }
}

/// Clears up after topics that are gone, and enforces retention, once an interval.
async fn retain(rooms: Arc<Rooms>) {
    let first = rooms.config.initial_task_delay;
    let pause =
        |most: Duration| rooms.pause(move |config| config.retention_check_interval.min(most));
    if !pause(first).await {
        return;
    }
    match sweep(&rooms.store, || rooms.metadata.image()).await {
        Ok(0) => {}
        Ok(rows) => tracing::debug!(rows, "deleted what topics that are gone had left"),
        Err(error) => tracing::debug!(%error, "what topics that are gone had left stays"),
    }
    let mut retention = Retention::default();
    loop {
        let image = rooms.metadata.image();
        let expiration_ms = image.config.producer_id_expiration_ms;
        let now = rooms.env.now();
        let cut = retention.enforce(&rooms.partitions, &image, now, expiration_ms);
        rooms.metrics.cleaner.cut.inc_by(cut.await as u64);
        if !pause(Duration::MAX).await {
            return;
        }
    }
}

/// Compacts logs, looking for some that are due once a pause.
async fn compact(rooms: Arc<Rooms>) {
    let mut most = rooms.config.initial_task_delay;
    let mut cleaner = Cleaner::new(rooms.env.clone(), rooms.store.clone());
    while rooms.pause(|config| config.cleaner_backoff.min(most)).await {
        let image = rooms.metadata.image();
        let limits = CleanerLimits {
            dedupe_bytes: image.config.cleaner_dedupe_bytes,
            batch_max_bytes: rooms.config.decompressed_batch_max_bytes,
            producer_expiration_ms: image.config.producer_id_expiration_ms,
        };
        let round = cleaner.round(&rooms.partitions, &image, limits, &rooms.metrics.cleaner);
        let more = tokio::select! {
            more = round => more,
            () = rooms.env.stopping().cancelled() => return,
        };
        most = if more { MORE_PAUSE } else { Duration::MAX };
    }
}

/// Opens the store again whenever it has closed under the broker; gives up when it is another's.
async fn keep_open(
    env: Env,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    rooms: Arc<watch::Sender<Option<Arc<Rooms>>>>,
) {
    loop {
        let Some(open) = rooms.borrow().clone() else {
            return;
        };
        let Some(error) = closed(&env, &open.store).await else {
            return;
        };
        if error.kind() == ErrorKind::Fenced {
            tracing::error!("another broker has taken the store over; this one stops");
            env.failed().cancel();
            return;
        }
        tracing::error!(%error, "the store has closed; it is opened again");
        rooms.send_replace(None);
        close_rooms(Some(open)).await;
        let reopened = loop {
            match open_rooms(&env, &config, &metrics).await {
                Ok(reopened) => break reopened,
                Err(error) => tracing::error!("the store does not open: {error:#}"),
            }
            tokio::select! {
                () = env.sleep(REOPEN_PAUSE) => {}
                () = env.stopping().cancelled() => return,
            }
        };
        tracing::info!("the store is open again");
        rooms.send_replace(Some(reopened));
    }
}

/// Why `store` has closed; `None` if the broker stops first.
async fn closed(env: &Env, store: &Store) -> Option<trestle_storage::Error> {
    let mut state = store.state();
    tokio::select! {
        state = state.wait_for(|state| matches!(state, StoreState::Closed(_))) => match state {
            Ok(state) => match &*state {
                StoreState::Closed(error) => Some(error.clone()),
                StoreState::Open | StoreState::Stalled(_) => None,
            },
            Err(_) => None,
        },
        () = env.stopping().cancelled() => None,
    }
}
