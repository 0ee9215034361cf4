//! Settings of the broker, typed.

/// One configured listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name, `PLAINTEXT` unless given.
    pub name: String,
    /// Address to bind; port 0 takes a free one.
    pub host: String,
    /// Port to bind.
    pub port: u16,
    /// Host and port told to clients; `None` for the address that the client dialled.
    pub advertised: Option<(String, u16)>,
}

/// What a broker is started with. Fields are named after Kafka's settings.
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
    /// How the store is opened.
    pub storage: trestle_storage::Options,
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
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `socket.request.max.bytes`.
    pub request_max_bytes: i32,
    /// `queued.max.request.bytes`: all requests in flight together.
    pub queued_request_max_bytes: usize,
    /// `max.connections`.
    pub max_connections: usize,
    /// `connections.max.idle.ms`.
    pub connections_max_idle_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `transaction.max.timeout.ms`.
    pub transaction_max_timeout_ms: i32,
    /// Largest size a batch may unpack to. Default 256 MiB.
    pub decompressed_batch_max_bytes: usize,
}
