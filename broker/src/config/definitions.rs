//! The settings: one row each.
//!
//! A name is Kafka's own where Kafka has one; what only Trestle has starts with `trestle.`.

mod group;
mod unused;

use std::sync::LazyLock;

pub use group::{CLIENT_METRICS, GROUP};
pub use unused::UNUSED;

use super::definition::{Definition, Support, Synonym, Type, Valid};
use Support::{Honoured, Ignored, Stored};
use Type::{Boolean, Double, Int, List, Long, Short, String};
use Valid::{AtLeast, Between, Fraction, MinusOneOrBetween, OneOf, Only, SomeOf};

/// The topic setting called `name`.
pub fn topic(name: &str) -> Option<&'static Definition> {
    find(TOPIC, name)
}

/// The broker setting called `name`, in use here or not.
pub fn broker(name: &str) -> Option<&'static Definition> {
    let all = all_broker();
    let at = all.binary_search_by_key(&name, |definition| definition.name);
    at.ok().map(|at| all[at])
}

/// All broker settings, by name.
pub fn all_broker() -> &'static [&'static Definition] {
    static ALL: LazyLock<Vec<&'static Definition>> = LazyLock::new(|| {
        let mut all: Vec<_> = BROKER.iter().chain(UNUSED).collect();
        // A stable sort: of two rows of one name, that of a setting in use stays.
        all.sort_by_key(|definition| definition.name);
        all.dedup_by_key(|definition| definition.name);
        all
    });
    &ALL
}

/// Whether the broker setting called `name` is of use here.
pub fn is_used(name: &str) -> bool {
    find(BROKER, name).is_some()
}

/// The group setting called `name`.
pub fn group(name: &str) -> Option<&'static Definition> {
    find(GROUP, name)
}

/// The setting of a subscription to clients' metrics called `name`.
pub fn client_metrics(name: &str) -> Option<&'static Definition> {
    find(CLIENT_METRICS, name)
}

/// Tables are sorted; a test holds them to it.
fn find(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    let at = table.binary_search_by_key(&name, |definition| definition.name);
    at.ok().map(|at| &table[at])
}

const fn row(
    name: &'static str,
    kind: Type,
    default: &'static str,
    support: Support,
    doc: &'static str,
) -> Definition {
    Definition::new(name, kind, default, support, doc)
}

const MS: i64 = 1;
const MINUTES: i64 = 60_000;
const HOURS: i64 = 3_600_000;

const fn from(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn counted_in(factor: i64, name: &'static str) -> Synonym {
    Synonym { name, factor }
}

const POLICIES: &[&str] = &["compact", "delete"];
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const ASSIGNORS: &[&str] = &["uniform", "range"];
const MIGRATIONS: &[&str] = &["bidirectional", "upgrade", "downgrade", "disabled"];
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
const FOREVER: &str = "9223372036854775807";
const NOT_TIERED: &str = "there is no second tier: all data can lie in an object store";

/// Settings of a topic, by name.
pub const TOPIC: &[Definition] = &[
    row("cleanup.policy", List, "delete", Honoured, "What becomes of old records: `delete` drops them by age and size, `compact` keeps the last of each key. Under `compact`, records without a key are refused, and DeleteRecords is unless `delete` is named too.")
        .valid(SomeOf(POLICIES)).synonyms(&[from("log.cleanup.policy")]),
    row("compression.gzip.level", Int, "-1", Honoured, "Level for recompressing to gzip; -1 is the codec's own.")
        .valid(MinusOneOrBetween(1, 9)).synonyms(&[from("compression.gzip.level")]),
    row("compression.lz4.level", Int, "9", Stored, "Level for recompressing to lz4; there is one level here.")
        .valid(Between(1, 17)).synonyms(&[from("compression.lz4.level")]),
    row("compression.type", String, "producer", Honoured, "Codec to keep batches in; a batch that comes in another one is recompressed. `producer` keeps every batch as it was sent.")
        .valid(OneOf(CODECS)).synonyms(&[from("compression.type")]),
    row("compression.zstd.level", Int, "3", Honoured, "Level for recompressing to zstd.")
        .valid(Between(-131_072, 22)).synonyms(&[from("compression.zstd.level")]),
    row("delete.retention.ms", Long, "86400000", Honoured, "How long compaction keeps a tombstone, from the first pass that sees it.")
        .valid(AtLeast(0)).synonyms(&[from("log.cleaner.delete.retention.ms")]),
    row("file.delete.delay.ms", Long, "60000", Stored, "Pause before the file of a deleted segment is removed.")
        .valid(AtLeast(0)).synonyms(&[from("log.segment.delete.delay.ms")]),
    row("flush.messages", Long, FOREVER, Stored, "Records after which the log is synced. Trestle has synced what it acknowledges.")
        .valid(AtLeast(1)).synonyms(&[from("log.flush.interval.messages")]),
    row("flush.ms", Long, FOREVER, Stored, "Time after which the log is synced. Trestle has synced what it acknowledges.")
        .valid(AtLeast(0)).synonyms(&[from("log.flush.interval.ms"), from("log.flush.scheduler.interval.ms")]),
    row("follower.replication.throttled.replicas", List, "", Stored, "Replicas whose fetching is throttled."),
    row("index.interval.bytes", Int, "4096", Stored, "Distance between index entries. Trestle's is `trestle.index.interval.bytes`, for all topics.")
        .valid(AtLeast(0)).synonyms(&[from("log.index.interval.bytes")]),
    row("leader.replication.throttled.replicas", List, "", Stored, "Replicas that are served at a throttled rate."),
    row("local.retention.bytes", Long, "-2", Stored, "Bytes kept on local disk under tiered storage.")
        .valid(AtLeast(-2)).synonyms(&[from("log.local.retention.bytes")]),
    row("local.retention.ms", Long, "-2", Stored, "Time kept on local disk under tiered storage.")
        .valid(AtLeast(-2)).synonyms(&[from("log.local.retention.ms")]),
    row("max.compaction.lag.ms", Long, FOREVER, Honoured, "Longest time that a record waits for compaction.")
        .valid(AtLeast(1)).synonyms(&[from("log.cleaner.max.compaction.lag.ms")]),
    row("max.message.bytes", Int, "1048588", Honoured, "Largest record batch that is taken, compressed as it came.")
        .valid(AtLeast(0)).synonyms(&[from("message.max.bytes")]),
    row("message.downconversion.enable", Boolean, "true", Ignored, "Gone in Kafka 4.0; older tools still send it."),
    row("message.format.version", String, "3.0-IV1", Ignored, "Gone in Kafka 4.0; older tools still send it."),
    row("message.timestamp.after.max.ms", Long, "3600000", Honoured, "How far a record's timestamp may lie ahead of the broker's clock.")
        .valid(AtLeast(0)).synonyms(&[from("log.message.timestamp.after.max.ms")]),
    row("message.timestamp.before.max.ms", Long, FOREVER, Honoured, "How far a record's timestamp may lie behind the broker's clock.")
        .valid(AtLeast(0)).synonyms(&[from("log.message.timestamp.before.max.ms")]),
    row("message.timestamp.difference.max.ms", Long, FOREVER, Ignored, "Gone in Kafka 4.0; older tools still send it."),
    row("message.timestamp.type", String, "CreateTime", Honoured, "Whose clock stamps a record: its producer's (`CreateTime`) or the broker's (`LogAppendTime`).")
        .valid(OneOf(TIMESTAMP_TYPES)).synonyms(&[from("log.message.timestamp.type")]),
    row("min.cleanable.dirty.ratio", Double, "0.5", Honoured, "Share of a log that must be uncompacted before it is compacted.")
        .valid(Fraction).synonyms(&[from("log.cleaner.min.cleanable.ratio")]),
    row("min.compaction.lag.ms", Long, "0", Honoured, "Shortest time that a record stays uncompacted.")
        .valid(AtLeast(0)).synonyms(&[from("log.cleaner.min.compaction.lag.ms")]),
    row("min.insync.replicas", Int, "1", Stored, "Replicas that must have a record before it is acknowledged. Trestle acknowledges what is durable.")
        .valid(AtLeast(1)).synonyms(&[from("min.insync.replicas")]),
    row("preallocate", Boolean, "false", Stored, "Whether the file of a segment is allocated ahead.")
        .synonyms(&[from("log.preallocate")]),
    row("remote.copy.lag.bytes", Long, "-1", Stored, "Bytes that tiered storage may lag behind.")
        .valid(AtLeast(-1)).synonyms(&[from("log.remote.copy.lag.bytes")]),
    row("remote.copy.lag.ms", Long, "0", Stored, "Time that tiered storage may lag behind.")
        .valid(AtLeast(-1)).synonyms(&[from("log.remote.copy.lag.ms")]),
    row("remote.log.copy.disable", Boolean, "false", Stored, "Whether tiered storage stops copying.")
        .valid(Only("false", NOT_TIERED)),
    row("remote.log.delete.on.disable", Boolean, "false", Stored, "Whether turning tiered storage off drops what it holds.")
        .valid(Only("false", NOT_TIERED)),
    row("remote.storage.enable", Boolean, "false", Stored, "Whether tiered storage is on.")
        .valid(Only("false", NOT_TIERED)),
    row("retention.bytes", Long, "-1", Honoured, "Size of a partition above which `delete` drops its oldest records; negative for no limit.")
        .synonyms(&[from("log.retention.bytes")]),
    row("retention.ms", Long, "604800000", Honoured, "Age at which `delete` drops records; -1 for never.")
        .valid(AtLeast(-1))
        .synonyms(&[from("log.retention.ms"), counted_in(MINUTES, "log.retention.minutes"), counted_in(HOURS, "log.retention.hours")]),
    row("segment.bytes", Int, "1073741824", Stored, "Size at which a segment is closed. Trestle's is `trestle.segment.bytes`, for all topics.")
        .valid(AtLeast(14)).synonyms(&[from("log.segment.bytes")]),
    row("segment.index.bytes", Int, "10485760", Stored, "Largest index of a segment.")
        .valid(AtLeast(4)).synonyms(&[from("log.index.size.max.bytes")]),
    row("segment.jitter.ms", Long, "0", Stored, "Random time taken off `segment.ms`.")
        .valid(AtLeast(0))
        .synonyms(&[counted_in(MS, "log.roll.jitter.ms"), counted_in(HOURS, "log.roll.jitter.hours")]),
    row("segment.ms", Long, "604800000", Honoured, "A hint: on a compacted topic, records that have been in the open segment for so long are made ready for compaction. Segments are shared by all topics, and closed at `trestle.segment.interval.ms` at the latest, while they are written to.")
        .valid(AtLeast(1))
        .synonyms(&[counted_in(MS, "log.roll.ms"), counted_in(HOURS, "log.roll.hours")]),
    row("unclean.leader.election.enable", Boolean, "false", Stored, "Whether a replica that lags may lead.")
        .synonyms(&[from("unclean.leader.election.enable")]),
];

/// Settings of the broker, by name.
pub const BROKER: &[Definition] = &[
    row("advertised.listeners", String, "", Honoured, "What clients are told to connect to, as `NAME://HOST:PORT` with commas; a listener without one tells each client the address that it dialled.")
        .without_default(),
    row("authorizer.class.name", String, "", Stored, "Class that decides who may do what. Trestle has none yet: everybody may do everything."),
    row("auto.create.topics.enable", Boolean, "true", Honoured, "Whether a topic that a client asks for is created."),
    row("broker.id", Int, "-1", Honoured, "The older name of `node.id`; -1 for not given.")
        .valid(AtLeast(-1)),
    row("cluster.id", String, "", Honoured, "Identity of the cluster; made once and kept with the data when not given.")
        .without_default(),
    row("compression.gzip.level", Int, "-1", Honoured, "Default of the topic setting.")
        .valid(MinusOneOrBetween(1, 9)).dynamic(),
    row("compression.lz4.level", Int, "9", Stored, "Default of the topic setting.")
        .valid(Between(1, 17)).dynamic(),
    row("compression.type", String, "producer", Honoured, "Default of the topic setting.")
        .valid(OneOf(CODECS)).dynamic(),
    row("compression.zstd.level", Int, "3", Honoured, "Default of the topic setting.")
        .valid(Between(-131_072, 22)).dynamic(),
    row("connections.max.idle.ms", Long, "600000", Honoured, "A connection that says nothing for so long is closed; negative for never."),
    row("controller.listener.names", List, "", Honoured, "Listeners of Kafka's own controllers, which are left out here.")
        .without_default(),
    row("default.replication.factor", Int, "1", Honoured, "Replication factor of a topic made without one of its own.")
        .valid(Between(1, 32_767)),
    row("delete.topic.enable", Boolean, "true", Honoured, "Whether topics may be deleted."),
    row("fetch.max.bytes", Int, "57671680", Honoured, "Most bytes of records in one fetch response; the first batch is sent whatever its size.")
        .valid(AtLeast(1024)),
    row("group.consumer.assignors", List, "uniform,range", Honoured, "Assignors of the consumer protocol; the first serves members that name none.")
        .valid(SomeOf(ASSIGNORS)),
    row("group.consumer.heartbeat.interval.ms", Int, "5000", Honoured, "Pause between heartbeats under the consumer protocol.")
        .valid(AtLeast(1)),
    row("group.consumer.max.heartbeat.interval.ms", Int, "15000", Honoured, "Longest pause between heartbeats that the broker or a group may be given under the consumer protocol.")
        .valid(AtLeast(1)),
    row("group.consumer.max.session.timeout.ms", Int, "60000", Honoured, "Longest session that the broker or a group may be given under the consumer protocol.")
        .valid(AtLeast(1)),
    row("group.consumer.max.size", Int, "2147483647", Honoured, "Most members in one group under the consumer protocol.")
        .valid(AtLeast(1)),
    row("group.consumer.migration.policy", String, "bidirectional", Honoured, "Which groups change their protocol while they have members: `upgrade` when a member of the consumer protocol joins a classic group, `downgrade` when the last one leaves.")
        .valid(OneOf(MIGRATIONS)),
    row("group.consumer.min.heartbeat.interval.ms", Int, "5000", Honoured, "Shortest pause between heartbeats that the broker or a group may be given under the consumer protocol.")
        .valid(AtLeast(1)),
    row("group.consumer.min.session.timeout.ms", Int, "45000", Honoured, "Shortest session that the broker or a group may be given under the consumer protocol.")
        .valid(AtLeast(1)),
    row("group.consumer.session.timeout.ms", Int, "45000", Honoured, "Session of a member under the consumer protocol.")
        .valid(AtLeast(1)),
    row("group.initial.rebalance.delay.ms", Int, "0", Honoured, "How long an empty group waits for more members before its first rebalance; Kafka waits 3 s.")
        .valid(AtLeast(0)),
    row("group.max.session.timeout.ms", Int, "1800000", Honoured, "Longest session that a member may ask for.")
        .valid(AtLeast(1)),
    row("group.max.size", Int, "2147483647", Honoured, "Most members in one group.")
        .valid(AtLeast(1)),
    row("group.min.session.timeout.ms", Int, "6000", Honoured, "Shortest session that a member may ask for.")
        .valid(AtLeast(1)),
    row("inter.broker.protocol.version", String, "4.1-IV1", Stored, "Protocol among brokers; some tools read Kafka's version from it."),
    row("listener.security.protocol.map", String, "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL", Honoured, "Security protocol of each listener name; so far PLAINTEXT alone is served."),
    row("listeners", String, "PLAINTEXT://127.0.0.1:9092", Honoured, "Where clients are served, as `NAME://HOST:PORT` with commas; port 0 takes a free one, an empty host all addresses. Kafka can change them while it runs; here a restart is needed."),
    row("log.cleaner.backoff.ms", Long, "15000", Honoured, "Pause between two looks for logs that are due for compaction.")
        .valid(AtLeast(0)).dynamic(),
    row("log.cleaner.dedupe.buffer.size", Long, "134217728", Honoured, "Memory for the keys of one round of compaction; a log with more keys takes several rounds.")
        .valid(AtLeast(1024)).dynamic(),
    row("log.cleaner.delete.retention.ms", Long, "86400000", Honoured, "Default of the topic setting `delete.retention.ms`.")
        .valid(AtLeast(0)).dynamic(),
    row("log.cleaner.enable", Boolean, "true", Honoured, "Whether logs are compacted."),
    row("log.cleaner.max.compaction.lag.ms", Long, FOREVER, Honoured, "Default of the topic setting `max.compaction.lag.ms`.")
        .valid(AtLeast(1)).dynamic(),
    row("log.cleaner.min.cleanable.ratio", Double, "0.5", Honoured, "Default of the topic setting `min.cleanable.dirty.ratio`.")
        .valid(Fraction).dynamic(),
    row("log.cleaner.min.compaction.lag.ms", Long, "0", Honoured, "Default of the topic setting `min.compaction.lag.ms`.")
        .valid(AtLeast(0)).dynamic(),
    row("log.cleanup.policy", List, "delete", Honoured, "Default of the topic setting `cleanup.policy`.")
        .valid(SomeOf(POLICIES)).dynamic(),
    row("log.dir", String, "", Honoured, "The data directory, when `log.dirs` is not given.")
        .without_default(),
    row("log.dirs", String, "", Honoured, "The data directory; the first of them if there are several. `trestle.data` is stronger.")
        .without_default(),
    row("log.flush.interval.messages", Long, FOREVER, Stored, "Default of the topic setting `flush.messages`.")
        .valid(AtLeast(1)).dynamic(),
    row("log.flush.interval.ms", Long, "", Stored, "Default of the topic setting `flush.ms`.")
        .without_default().valid(AtLeast(0)).dynamic(),
    row("log.flush.scheduler.interval.ms", Long, FOREVER, Stored, "Default of the topic setting `flush.ms`, when `log.flush.interval.ms` is not given.")
        .valid(AtLeast(0)),
    row("log.index.interval.bytes", Int, "4096", Stored, "Default of the topic setting `index.interval.bytes`.")
        .valid(AtLeast(0)).dynamic(),
    row("log.index.size.max.bytes", Int, "10485760", Stored, "Default of the topic setting `segment.index.bytes`.")
        .valid(AtLeast(4)).dynamic(),
    row("log.initial.task.delay.ms", Long, "30000", Honoured, "Pause between the start and the first look for records to drop and logs to compact.")
        .valid(AtLeast(0)),
    row("log.local.retention.bytes", Long, "-2", Stored, "Default of the topic setting `local.retention.bytes`.")
        .valid(AtLeast(-2)).dynamic(),
    row("log.local.retention.ms", Long, "-2", Stored, "Default of the topic setting `local.retention.ms`.")
        .valid(AtLeast(-2)).dynamic(),
    row("log.message.timestamp.after.max.ms", Long, "3600000", Honoured, "Default of the topic setting `message.timestamp.after.max.ms`.")
        .valid(AtLeast(0)).dynamic(),
    row("log.message.timestamp.before.max.ms", Long, FOREVER, Honoured, "Default of the topic setting `message.timestamp.before.max.ms`.")
        .valid(AtLeast(0)).dynamic(),
    row("log.message.timestamp.type", String, "CreateTime", Honoured, "Default of the topic setting `message.timestamp.type`.")
        .valid(OneOf(TIMESTAMP_TYPES)).dynamic(),
    row("log.preallocate", Boolean, "false", Stored, "Default of the topic setting `preallocate`.").dynamic(),
    row("log.retention.bytes", Long, "-1", Honoured, "Default of the topic setting `retention.bytes`.").dynamic(),
    row("log.retention.check.interval.ms", Long, "300000", Honoured, "Pause between two looks for records that `delete` has to drop.")
        .valid(AtLeast(1)),
    row("log.retention.hours", Int, "168", Honoured, "Default of the topic setting `retention.ms`, in hours; -1 for never.")
        .valid(AtLeast(-1)),
    row("log.retention.minutes", Int, "", Honoured, "Default of the topic setting `retention.ms`, in minutes; stronger than `log.retention.hours`.")
        .without_default().valid(AtLeast(-1)),
    row("log.retention.ms", Long, "", Honoured, "Default of the topic setting `retention.ms`; stronger than `log.retention.minutes`.")
        .without_default().valid(AtLeast(-1)).dynamic(),
    row("log.roll.hours", Int, "168", Honoured, "Default of the topic setting `segment.ms`, in hours.")
        .valid(AtLeast(1)),
    row("log.roll.jitter.hours", Int, "0", Stored, "Default of the topic setting `segment.jitter.ms`, in hours.")
        .valid(AtLeast(0)),
    row("log.roll.jitter.ms", Long, "", Stored, "Default of the topic setting `segment.jitter.ms`; stronger than the hours.")
        .without_default().valid(AtLeast(0)).dynamic(),
    row("log.roll.ms", Long, "", Honoured, "Default of the topic setting `segment.ms`; stronger than the hours.")
        .without_default().valid(AtLeast(1)).dynamic(),
    row("log.segment.bytes", Int, "1073741824", Stored, "Default of the topic setting `segment.bytes`.")
        .valid(AtLeast(14)).dynamic(),
    row("log.segment.delete.delay.ms", Long, "60000", Stored, "Default of the topic setting `file.delete.delay.ms`.")
        .valid(AtLeast(0)).dynamic(),
    row("max.connections", Int, "20000", Honoured, "Most connections at a time; one more is closed at once.")
        .valid(AtLeast(1)).dynamic(),
    row("max.request.partition.size.limit", Int, "2000", Honoured, "Most partitions in one answer to DescribeTopicPartitions.")
        .valid(AtLeast(1)),
    row("message.max.bytes", Int, "1048588", Honoured, "Default of the topic setting `max.message.bytes`.")
        .valid(AtLeast(0)).dynamic(),
    row("min.insync.replicas", Int, "1", Stored, "Default of the topic setting.")
        .valid(AtLeast(1)).dynamic(),
    row("node.id", Int, "1", Honoured, "Number of this broker, as clients see it.")
        .valid(AtLeast(0)),
    row("num.partitions", Int, "1", Honoured, "Partitions of a topic made without a number of its own.")
        .valid(AtLeast(1)),
    row("offset.metadata.max.bytes", Int, "4096", Honoured, "Longest note that may be committed with an offset.")
        .valid(AtLeast(0)),
    row("offsets.retention.check.interval.ms", Long, "600000", Honoured, "How often offsets and groups that nobody uses are looked for.")
        .valid(AtLeast(1)),
    row("offsets.retention.minutes", Int, "10080", Honoured, "How long the offsets of an empty group are kept.")
        .valid(AtLeast(1)),
    row("offsets.topic.num.partitions", Int, "50", Stored, "Partitions of Kafka's offsets topic; Trestle keeps offsets in rows of its store.")
        .valid(AtLeast(1)),
    row("offsets.topic.replication.factor", Short, "1", Stored, "Replication factor of Kafka's offsets topic; Trestle keeps offsets in rows of its store.")
        .valid(AtLeast(1)),
    row("process.roles", List, "broker,controller", Stored, "Roles of this process; Trestle has both.")
        .valid(SomeOf(&["broker", "controller"])),
    row("producer.id.expiration.ms", Int, "86400000", Honoured, "A producer that is silent for so long is forgotten.")
        .valid(AtLeast(1)).dynamic(),
    row("queued.max.request.bytes", Long, "134217728", Honoured, "Bytes of all requests in flight together; past it nothing more is read. -1 takes the default.")
        .valid(AtLeast(-1)),
    row("socket.request.max.bytes", Int, "104857600", Honoured, "Largest request that is read.")
        .valid(AtLeast(1)),
    row("transaction.max.timeout.ms", Int, "900000", Honoured, "Longest timeout that a transactional producer may ask for.")
        .valid(AtLeast(1)),
    row("transaction.state.log.min.isr", Int, "1", Stored, "For Kafka's transaction topic; Trestle keeps transactions in rows of its store.")
        .valid(AtLeast(1)),
    row("transaction.state.log.num.partitions", Int, "50", Stored, "For Kafka's transaction topic; Trestle keeps transactions in rows of its store.")
        .valid(AtLeast(1)),
    row("transaction.state.log.replication.factor", Short, "1", Stored, "For Kafka's transaction topic; Trestle keeps transactions in rows of its store.")
        .valid(AtLeast(1)),
    row("transactional.id.expiration.ms", Int, "604800000", Honoured, "A transactional id that is idle for so long is forgotten.")
        .valid(AtLeast(1)),
    row("trestle.cache.bytes", Long, "50331648", Honoured, "Memory for blocks, indexes and filters read from the store.")
        .valid(AtLeast(0)),
    row("trestle.clones.anywhere", Boolean, "false", Honoured, "Whether `POST /api/v1/clones` may make a clone anywhere that the broker may write, and not only beside its own data."),
    row("trestle.data", String, "file:./trestle-data", Honoured, "Where the data lie: `memory:`, `file:PATH` or `s3://BUCKET/PREFIX`."),
    row("trestle.decompressed.batch.max.bytes", Long, "268435456", Honoured, "Largest size that a compressed batch may unpack to.")
        .valid(AtLeast(1)),
    row("trestle.flush.interval.ms", Long, "100", Honoured, "On S3, the least time from one flush to the next, which bounds the requests a second.")
        .valid(Between(0, 60_000)),
    row("trestle.flush.linger.ms", Long, "10", Honoured, "On S3, the pause before a flush, so that more produces share one object.")
        .valid(Between(0, 60_000)),
    row("trestle.fsync", Boolean, "true", Honoured, "Whether a local disk is synced before anything is acknowledged."),
    row("trestle.http", String, "127.0.0.1:8080", Honoured, "Address of the log database, health and metrics over HTTP, or `none`. If the default one is taken, the broker goes on without."),
    row("trestle.http.max.connections", Long, "2048", Honoured, "Most connections of the HTTP address at a time; further ones wait.")
        .valid(AtLeast(1)),
    row("trestle.http.request.max.bytes", Long, "8388608", Honoured, "Largest body of an HTTP request.")
        .valid(AtLeast(1)),
    row("trestle.in.flight.bytes", Long, "16777216", Honoured, "Bytes handed to the store and not yet durable, past which produces wait.")
        .valid(AtLeast(1)),
    row("trestle.index.interval.bytes", Long, "65536", Honoured, "Distance, in bytes of a partition, between rows of its offset index.")
        .valid(AtLeast(1)),
    row("trestle.log", String, "info", Honoured, "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,trestle::net=debug`."),
    row("trestle.log.format", String, "text", Honoured, "How it is logged.")
        .valid(OneOf(&["text", "json"])),
    row("trestle.max.partitions", Long, "100000", Honoured, "Most partitions, over all topics; past it no topic and no partition is created.")
        .valid(AtLeast(1)),
    row("trestle.memtable.bytes", Long, "33554432", Honoured, "One of the two tables of recent writes in memory.")
        .valid(AtLeast(65_536)),
    row("trestle.metrics.group.partitions", Long, "1000", Honoured, "Most partitions with committed offsets, over all groups, whose lag is among the metrics; 0 for none.")
        .valid(AtLeast(0)),
    row("trestle.plain.request.max.bytes", Long, "16777216", Honoured, "Largest request that carries no records; such requests take many times their size in memory.")
        .valid(AtLeast(8)),
    row("trestle.read.ahead.requests", Long, "64", Honoured, "Most requests of one connection that are read and not answered; past it its socket is not read.")
        .valid(AtLeast(1)),
    row("trestle.read.only", Boolean, "false", Honoured, "Whether to serve what another broker writes to the same data, and to write nothing."),
    row("trestle.reclaim.delay.ms", Long, "330000", Honoured, "A segment is rewritten when nothing more of it has died for so long, or after three times as long; it may die as a whole.")
        .valid(AtLeast(0)),
    row("trestle.reclaim.percent", Int, "20", Honoured, "A segment is rewritten without its dead records once they are so much of it; a quarter of that will do once nothing more dies.")
        .valid(Between(1, 100)),
    row("trestle.request.stall.ms", Long, "30000", Honoured, "A connection is closed when, in the middle of a request, nothing comes for so long.")
        .valid(AtLeast(1)),
    row("trestle.scan.ahead.bytes", Long, "16777216", Honoured, "Memory for records read ahead of consumers that catch up, over all partitions; 2 MiB for each of them.")
        .valid(AtLeast(0)),
    row("trestle.segment.bytes", Long, "268435456", Honoured, "A segment is closed at the append that takes it past this size; it holds all topics.")
        .valid(AtLeast(1)),
    row("trestle.segment.interval.ms", Long, "3600000", Honoured, "A segment is closed at the first append after this time, or by itself once enough of it is dead.")
        .valid(AtLeast(1)),
    row("trestle.segments.max", Long, "0", Honoured, "Past this many segments, neighbours are merged whatever their size; small ones are merged anyway. 0: none are merged.")
        .valid(AtLeast(0)),
    row("trestle.strict.replication", Boolean, "false", Honoured, "Whether a replication factor above the number of brokers is refused, as Kafka does."),
    row("trestle.tail.bytes", Long, "67108864", Honoured, "Memory for recent records, over all partitions, so that consumers that keep up cause no read.")
        .valid(AtLeast(0)),
    row("trestle.upkeep.interval.ms", Long, "1000", Honoured, "How often the store looks for rows to compact and for space to reclaim; nothing is looked for while nothing is written.")
        .valid(AtLeast(1)),
    row("trestle.wal.file.bytes", Long, "33554432", Honoured, "A file of the write-ahead log is closed past this size.")
        .valid(AtLeast(65_536)),
    row("unclean.leader.election.enable", Boolean, "false", Stored, "Default of the topic setting.").dynamic(),
];

/// The names that a Kafka broker knew once, or has for plug-ins, and that no table has.
pub fn unused_kafka_names() -> impl Iterator<Item = &'static str> {
    super::kafka_names::all()
        .iter()
        .copied()
        .filter(|name| broker(name).is_none())
}
