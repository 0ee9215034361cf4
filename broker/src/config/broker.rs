//! Settings of the broker, typed.

use std::time::Duration;

use trestle_storage::{DataUrl, Options};

use super::definitions::broker;
use super::group::check_broker;
use super::listeners;
use super::{ConfigError, ListenerConfig, Runtime, Settings, Source};

/// What a broker is started with. Fields are named after Kafka's settings.
///
/// [`Config::load`] makes one of [`Settings`]; [`Config::default`] has nothing but defaults. Fields
/// may be changed before the broker starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// `node.id`.
    pub node_id: i32,
    /// `cluster.id`; made once and kept when not given.
    pub cluster_id: Option<String>,
    /// Kafka listeners.
    pub listeners: Vec<ListenerConfig>,
    /// Address of the HTTP door; `None` for no door.
    pub http: Option<String>,
    /// Most connections there.
    pub http_max_connections: usize,
    /// `trestle.clones.anywhere`.
    pub clones_anywhere: bool,
    /// Largest body of a request there.
    pub http_request_max_bytes: usize,
    /// How the store is opened.
    pub storage: Options,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// Refuse replication factors above the number of brokers.
    pub strict_replication: bool,
    /// Whether to read what another broker writes, and write nothing.
    pub read_only: bool,
    /// Most partitions, over all topics.
    pub max_partitions: usize,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `socket.request.max.bytes`.
    pub request_max_bytes: i32,
    /// `queued.max.request.bytes`: all requests in flight together.
    pub queued_request_max_bytes: usize,
    /// `max.connections`.
    pub max_connections: usize,
    /// Largest request that carries no records. Default 16 MiB.
    pub plain_request_max_bytes: usize,
    /// Requests of one connection that are read and not answered. Default 64.
    pub read_ahead_requests: usize,
    /// How long nothing may come in the middle of a request. Default 30 s.
    pub request_stall: Duration,
    /// `connections.max.idle.ms`.
    pub connections_max_idle_ms: i64,
    /// `max.request.partition.size.limit`.
    pub page_partitions: i32,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.initial.task.delay.ms`.
    pub initial_task_delay: Duration,
    /// `log.cleaner.enable`.
    pub cleaner: bool,
    /// `log.cleaner.backoff.ms`.
    pub cleaner_backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`.
    pub cleaner_dedupe_bytes: usize,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `group.consumer.assignors`, with commas; the first is for members that name none.
    pub group_consumer_assignors: String,
    /// `group.consumer.heartbeat.interval.ms`.
    pub group_consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.max.heartbeat.interval.ms`.
    pub group_consumer_max_heartbeat_interval_ms: i32,
    /// `group.consumer.max.session.timeout.ms`.
    pub group_consumer_max_session_timeout_ms: i32,
    /// `group.consumer.max.size`.
    pub group_consumer_max_size: i32,
    /// `group.consumer.migration.policy`.
    pub group_consumer_migration_policy: String,
    /// `group.consumer.min.heartbeat.interval.ms`.
    pub group_consumer_min_heartbeat_interval_ms: i32,
    /// `group.consumer.min.session.timeout.ms`.
    pub group_consumer_min_session_timeout_ms: i32,
    /// `group.consumer.session.timeout.ms`.
    pub group_consumer_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub group_max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub group_max_size: i32,
    /// `group.min.session.timeout.ms`.
    pub group_min_session_timeout_ms: i32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
    /// `offsets.retention.minutes`.
    pub offsets_retention_minutes: i32,
    /// Partitions of groups whose lag is among the metrics. Default 1000.
    pub group_metrics_partitions: usize,
    /// `transaction.max.timeout.ms`.
    pub transaction_max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`.
    pub transactional_id_expiration_ms: i64,
    /// Largest size a batch may unpack to. Default 256 MiB.
    pub decompressed_batch_max_bytes: usize,
    /// What is logged: a level, or a filter of `tracing-subscriber`.
    pub log: String,
    /// Whether log lines are JSON objects.
    pub log_json: bool,
    /// The settings as they were given; the defaults of topic settings are read from here.
    pub settings: Settings,
}

/// Which setting is which field. A field is set from the table's default or from what was given, and
/// describes itself as it is now.
macro_rules! fields {
    ($($name:literal => $first:ident $(. $rest:ident)*),* $(,)?) => {
        #[cfg(test)]
        pub(super) const FIELDS: &[&str] = &[$($name),*];

        impl Config {
            fn fill(&mut self) -> Result<(), ConfigError> {
                $(
                    let value = self.settings.get($name).unwrap_or_else(|| default($name));
                    self.$first$(.$rest)* = Field::parse(value).map_err(|remedy| {
                        let error = ConfigError::BadValue {
                            name: $name.into(),
                            value: value.into(),
                            remedy,
                        };
                        self.settings.blame($name, error)
                    })?;
                )*
                Ok(())
            }

            /// Sets the fields whose settings were given to the running broker.
            fn fill_runtime(&mut self) {
                $(
                    let given = self.settings.given_by($name).next();
                    let given = given.filter(|(source, _)| *source != Source::StaticBroker);
                    if let Some(value) = given.and_then(|(_, value)| Field::parse(value).ok()) {
                        self.$first$(.$rest)* = value;
                    }
                )*
            }

            fn field(&self, name: &str) -> Option<String> {
                match name {
                    $($name => Some(self.$first$(.$rest)*.text()),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    "auto.create.topics.enable" => auto_create_topics,
    "connections.max.idle.ms" => connections_max_idle_ms,
    "default.replication.factor" => default_replication_factor,
    "delete.topic.enable" => delete_topics,
    "fetch.max.bytes" => fetch_max_bytes,
    "group.consumer.assignors" => group_consumer_assignors,
    "group.consumer.heartbeat.interval.ms" => group_consumer_heartbeat_interval_ms,
    "group.consumer.max.heartbeat.interval.ms" => group_consumer_max_heartbeat_interval_ms,
    "group.consumer.max.session.timeout.ms" => group_consumer_max_session_timeout_ms,
    "group.consumer.max.size" => group_consumer_max_size,
    "group.consumer.migration.policy" => group_consumer_migration_policy,
    "group.consumer.min.heartbeat.interval.ms" => group_consumer_min_heartbeat_interval_ms,
    "group.consumer.min.session.timeout.ms" => group_consumer_min_session_timeout_ms,
    "group.consumer.session.timeout.ms" => group_consumer_session_timeout_ms,
    "group.initial.rebalance.delay.ms" => group_initial_rebalance_delay_ms,
    "group.max.session.timeout.ms" => group_max_session_timeout_ms,
    "group.max.size" => group_max_size,
    "group.min.session.timeout.ms" => group_min_session_timeout_ms,
    "log.cleaner.backoff.ms" => cleaner_backoff,
    "log.cleaner.dedupe.buffer.size" => cleaner_dedupe_bytes,
    "log.cleaner.enable" => cleaner,
    "log.initial.task.delay.ms" => initial_task_delay,
    "log.retention.check.interval.ms" => retention_check_interval,
    "max.connections" => max_connections,
    "max.request.partition.size.limit" => page_partitions,
    "node.id" => node_id,
    "num.partitions" => num_partitions,
    "offset.metadata.max.bytes" => offset_metadata_max_bytes,
    "offsets.retention.check.interval.ms" => offsets_retention_check_interval_ms,
    "offsets.retention.minutes" => offsets_retention_minutes,
    "producer.id.expiration.ms" => producer_id_expiration_ms,
    "queued.max.request.bytes" => queued_request_max_bytes,
    "socket.request.max.bytes" => request_max_bytes,
    "transaction.max.timeout.ms" => transaction_max_timeout_ms,
    "transactional.id.expiration.ms" => transactional_id_expiration_ms,
    "trestle.cache.bytes" => storage.cache_bytes,
    "trestle.clones.anywhere" => clones_anywhere,
    "trestle.data" => storage.data,
    "trestle.decompressed.batch.max.bytes" => decompressed_batch_max_bytes,
    "trestle.flush.interval.ms" => storage.flush_interval,
    "trestle.flush.linger.ms" => storage.flush_linger,
    "trestle.fsync" => storage.fsync,
    "trestle.http" => http,
    "trestle.http.max.connections" => http_max_connections,
    "trestle.http.request.max.bytes" => http_request_max_bytes,
    "trestle.in.flight.bytes" => storage.in_flight_bytes,
    "trestle.index.interval.bytes" => storage.index_interval_bytes,
    "trestle.log" => log,
    "trestle.max.partitions" => max_partitions,
    "trestle.memtable.bytes" => storage.memtable_bytes,
    "trestle.metrics.group.partitions" => group_metrics_partitions,
    "trestle.plain.request.max.bytes" => plain_request_max_bytes,
    "trestle.read.ahead.requests" => read_ahead_requests,
    "trestle.reclaim.delay.ms" => storage.reclaim_delay,
    "trestle.reclaim.percent" => storage.reclaim_percent,
    "trestle.request.stall.ms" => request_stall,
    "trestle.scan.ahead.bytes" => storage.scan_ahead_bytes,
    "trestle.segment.bytes" => storage.segment_bytes,
    "trestle.segment.interval.ms" => storage.segment_interval,
    "trestle.segments.max" => storage.max_segments,
    "trestle.read.only" => read_only,
    "trestle.strict.replication" => strict_replication,
    "trestle.tail.bytes" => storage.tail_bytes,
    "trestle.upkeep.interval.ms" => storage.upkeep_interval,
    "trestle.wal.file.bytes" => storage.wal_file_bytes,
}

impl Default for Config {
    fn default() -> Self {
        Self::load(Settings::default()).expect("the defaults of the table fit")
    }
}

impl Config {
    /// The config that `settings` describe, over the defaults.
    ///
    /// # Errors
    /// Values that are well formed and mean nothing, or that contradict each other.
    pub fn load(settings: Settings) -> Result<Self, ConfigError> {
        let mut config = Self::blank(settings);
        config.fill()?;
        config.take_older_names()?;
        let given = &config.settings;
        config.listeners = listeners::parse(
            given
                .get("listeners")
                .unwrap_or_else(|| default("listeners")),
            given.get("advertised.listeners"),
            given
                .get("listener.security.protocol.map")
                .unwrap_or_else(|| default("listener.security.protocol.map")),
            given.get("controller.listener.names"),
        )
        .map_err(|error| config.blame_listeners(error))?;
        config.cluster_id = given.get("cluster.id").map(str::to_owned);
        config.log_json = given.get("trestle.log.format") == Some("json");
        config.check()?;
        Ok(config)
    }

    /// The same config with `runtime` over it, in the place of what was given before.
    /// Call it on the config that the broker was started with.
    #[must_use]
    pub fn with_runtime(&self, runtime: &Runtime) -> Self {
        let mut config = self.clone();
        config.settings = self.settings.with_runtime(runtime);
        config.fill_runtime();
        config
    }

    /// The value of the broker setting `name` as it is in force, or `None` if there is no such
    /// setting or it has no value.
    pub fn value_of(&self, name: &str) -> Option<String> {
        let definition = broker(name)?;
        match name {
            "broker.id" => Some(self.node_id.to_string()),
            "cluster.id" => self.cluster_id.clone(),
            "listeners" => Some(self.listeners_text()),
            "log.dir" | "log.dirs" => Some(self.storage.data.to_string()),
            "trestle.log.format" => Some(if self.log_json { "json" } else { "text" }.into()),
            _ => self
                .field(name)
                .or_else(|| self.settings.get(name).map(str::to_owned))
                .or_else(|| definition.default.map(str::to_owned)),
        }
    }

    fn listeners_text(&self) -> String {
        let texts: Vec<String> = self
            .listeners
            .iter()
            .map(|own| match own.host.contains(':') {
                true => format!("{}://[{}]:{}", own.name, own.host, own.port),
                false => format!("{}://{}:{}", own.name, own.host, own.port),
            })
            .collect();
        texts.join(",")
    }

    /// Kafka has more than one name for the node and for the place of the data.
    fn take_older_names(&mut self) -> Result<(), ConfigError> {
        if let Some(id) = self.settings.get("broker.id").filter(|id| *id != "-1") {
            if let Some(node) = self.settings.get("node.id").filter(|node| *node != id) {
                return Err(ConfigError::Conflict(format!(
                    "node.id is {node} and broker.id is {id}; they are one thing: give node.id alone"
                )));
            }
            self.node_id = id.parse().expect("checked against the table");
        }
        if self.settings.get("trestle.data").is_none() {
            let name = ["log.dirs", "log.dir"]
                .into_iter()
                .find(|name| self.settings.get(name).is_some());
            if let Some(name) = name {
                let value = self.settings.get(name).unwrap_or_default();
                self.storage.data = data_directory(name, value)
                    .map_err(|error| self.settings.blame(name, error))?;
            }
        }
        Ok(())
    }

    fn blame_listeners(&self, error: ConfigError) -> ConfigError {
        match &error {
            ConfigError::BadValue { name, .. } => {
                let name = name.clone();
                self.settings.blame(&name, error)
            }
            ConfigError::UnknownName { .. }
            | ConfigError::Conflict(_)
            | ConfigError::File { .. }
            | ConfigError::At { .. } => error,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let bad = |name: &str, value: &str, remedy: &str| {
            let error = ConfigError::BadValue {
                name: name.into(),
                value: value.into(),
                remedy: remedy.into(),
            };
            Err(self.settings.blame(name, error))
        };
        if let Some(id) = &self.cluster_id {
            let legal = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            if id.is_empty() || id.len() > 64 || !id.chars().all(legal) {
                return bad(
                    "cluster.id",
                    id,
                    "give 1 to 64 letters, digits, _, - and ., or leave it out to have one made",
                );
            }
        }
        if self.queued_request_max_bytes < usize::try_from(self.request_max_bytes).unwrap_or(0) {
            return Err(ConfigError::Conflict(format!(
                "queued.max.request.bytes ({}) is below socket.request.max.bytes ({}), so that a request of that size could never be read; raise the one or lower the other",
                self.queued_request_max_bytes, self.request_max_bytes,
            )));
        }
        check_broker(self)
    }

    /// Every field empty, before the table fills it.
    fn blank(settings: Settings) -> Self {
        Self {
            node_id: 0,
            cluster_id: None,
            listeners: Vec::new(),
            http: None,
            http_max_connections: 0,
            clones_anywhere: false,
            http_request_max_bytes: 0,
            storage: Options::new(DataUrl::Memory),
            auto_create_topics: false,
            delete_topics: false,
            num_partitions: 0,
            default_replication_factor: 0,
            read_only: false,
            strict_replication: false,
            fetch_max_bytes: 0,
            request_max_bytes: 0,
            queued_request_max_bytes: 0,
            max_connections: 0,
            plain_request_max_bytes: 0,
            read_ahead_requests: 0,
            request_stall: Duration::ZERO,
            max_partitions: 0,
            connections_max_idle_ms: 0,
            page_partitions: 0,
            retention_check_interval: Duration::ZERO,
            initial_task_delay: Duration::ZERO,
            cleaner: false,
            cleaner_backoff: Duration::ZERO,
            cleaner_dedupe_bytes: 0,
            producer_id_expiration_ms: 0,
            group_consumer_assignors: String::new(),
            group_consumer_heartbeat_interval_ms: 0,
            group_consumer_max_heartbeat_interval_ms: 0,
            group_consumer_max_session_timeout_ms: 0,
            group_consumer_max_size: 0,
            group_consumer_migration_policy: String::new(),
            group_consumer_min_heartbeat_interval_ms: 0,
            group_consumer_min_session_timeout_ms: 0,
            group_consumer_session_timeout_ms: 0,
            group_initial_rebalance_delay_ms: 0,
            group_max_session_timeout_ms: 0,
            group_max_size: 0,
            group_min_session_timeout_ms: 0,
            group_metrics_partitions: 0,
            offset_metadata_max_bytes: 0,
            offsets_retention_check_interval_ms: 0,
            offsets_retention_minutes: 0,
            transaction_max_timeout_ms: 0,
            transactional_id_expiration_ms: 0,
            decompressed_batch_max_bytes: 0,
            log: String::new(),
            log_json: false,
            settings,
        }
    }
}

fn default(name: &str) -> &'static str {
    broker(name)
        .and_then(|definition| definition.default)
        .expect("a setting of the table that has a default")
}

/// Kafka's `log.dirs`: directories with commas, of which there is one here; a data URL does too.
fn data_directory(name: &str, value: &str) -> Result<DataUrl, ConfigError> {
    let first = value.split(',').next().unwrap_or_default().trim();
    let is_url = first == "memory:" || first.starts_with("file:") || first.starts_with("s3://");
    let url = if is_url {
        first.to_owned()
    } else {
        format!("file:{first}")
    };
    Field::parse(&url).map_err(|remedy| ConfigError::BadValue {
        name: name.into(),
        value: value.into(),
        remedy,
    })
}

/// A type of field: from a text that passed the table, and back. The error is the remedy.
trait Field: Sized {
    fn parse(text: &str) -> Result<Self, String>;
    fn text(&self) -> String;
}

macro_rules! plain_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("give one that fits {}", stringify!($type)))
            }
            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

plain_fields!(bool, i16, i32, i64, u32, u64, String);

impl Field for usize {
    /// -1 is Kafka's word for no limit, and there is none without one here: it takes the default.
    fn parse(text: &str) -> Result<Self, String> {
        let text = if text == "-1" {
            default("queued.max.request.bytes")
        } else {
            text
        };
        text.parse()
            .map_err(|_| "give one that this machine can count to".into())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Field for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let ms = text.parse().map_err(|_| "give milliseconds".to_owned())?;
        Ok(Self::from_millis(ms))
    }

    fn text(&self) -> String {
        self.as_millis().to_string()
    }
}

impl Field for DataUrl {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|error: trestle_storage::Error| error.to_string())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// An address, or `none`.
impl Field for Option<String> {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(None);
        }
        let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(Some(text.to_owned())),
            Some(Err(_)) | None => Err("give HOST:PORT, or none".into()),
        }
    }

    fn text(&self) -> String {
        self.clone().unwrap_or_else(|| "none".into())
    }
}
