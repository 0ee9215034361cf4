//! The instruments of each room.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::declare::{Declare, LatencyFamily};

/// Instruments of the TCP door.
#[derive(Debug)]
pub struct NetMetrics {
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections ever accepted.
    pub connections_opened: Counter,
    /// Connections closed at once, because there were `max.connections` already.
    pub connections_refused: Counter,
    /// Bytes of the requests that are being read or handled.
    pub in_flight_bytes: Gauge,
    /// Bytes of requests read.
    pub received_bytes: Counter,
    /// Bytes of responses written.
    pub sent_bytes: Counter,
}

impl NetMetrics {
    pub(super) fn new(declare: &mut Declare<'_>) -> Self {
        Self {
            connections: declare.gauge("connections", "Open client connections."),
            connections_opened: declare
                .counter("connections_opened", "Client connections ever accepted."),
            connections_refused: declare.counter(
                "connections_refused",
                "Client connections closed at once, at the limit max.connections.",
            ),
            in_flight_bytes: declare.gauge(
                "requests_in_flight_bytes",
                "Bytes of requests being read or handled, of queued.max.request.bytes.",
            ),
            received_bytes: declare.counter("received_bytes", "Bytes of requests read."),
            sent_bytes: declare.counter("sent_bytes", "Bytes of responses written."),
        }
    }
}

/// One Kafka API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ApiLabel {
    /// Its name.
    pub api: &'static str,
}

/// One error of one Kafka API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabel {
    /// The API's name.
    pub api: &'static str,
    /// The error's name.
    pub error: String,
}

/// Instruments of the Kafka APIs.
#[derive(Debug)]
pub struct ApiMetrics {
    /// Requests read.
    pub requests: Family<ApiLabel, Counter>,
    /// Partitions answered with an error, in Produce and Fetch.
    pub errors: Family<ErrorLabel, Counter>,
    /// From a request read to its response ready.
    pub seconds: LatencyFamily<ApiLabel>,
}

impl ApiMetrics {
    pub(super) fn new(declare: &mut Declare<'_>) -> Self {
        Self {
            requests: declare.counters("requests", "api", "Requests read."),
            errors: declare.counters(
                "request_errors",
                "api, error",
                "Partitions answered with an error, in Produce and Fetch.",
            ),
            seconds: declare.latencies(
                "request_seconds",
                "api",
                "Time from a request read to its response ready; waiting fetches wait on purpose.",
            ),
        }
    }

    /// A request of `api` was read.
    pub fn request(&self, api: &'static str) {
        self.requests.get_or_create(&ApiLabel { api }).inc();
    }

    /// The response to a request of `api` was ready after `elapsed`.
    pub fn answered(&self, api: &'static str, elapsed: Duration) {
        self.seconds
            .get_or_create(&ApiLabel { api })
            .observe(elapsed.as_secs_f64());
    }

    /// A partition is answered with `error`, by its name, in a response of `api`.
    pub fn error(&self, api: &'static str, error: impl fmt::Debug) {
        let error = format!("{error:?}");
        self.errors.get_or_create(&ErrorLabel { api, error }).inc();
    }
}

/// One endpoint of the HTTP door, by what was asked and answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HttpLabel {
    /// The method.
    pub method: &'static str,
    /// The path, or `other`.
    pub endpoint: &'static str,
    /// The status.
    pub status: u16,
}

/// One endpoint of the HTTP door.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndpointLabel {
    /// The path, or `other`.
    pub endpoint: &'static str,
}

/// Instruments of the HTTP door.
#[derive(Debug)]
pub struct HttpMetrics {
    /// Requests being answered.
    pub in_flight: Gauge,
    requests: Family<HttpLabel, Counter>,
    seconds: LatencyFamily<EndpointLabel>,
    appended_records: Counter,
    appended_bytes: Counter,
}

impl HttpMetrics {
    pub(super) fn new(declare: &mut Declare<'_>) -> Self {
        Self {
            in_flight: declare.gauge("http_requests_in_flight", "HTTP requests being answered."),
            requests: declare.counters(
                "http_requests",
                "method, endpoint, status",
                "HTTP requests answered.",
            ),
            seconds: declare.latencies(
                "http_request_seconds",
                "endpoint",
                "Time from an HTTP request to its answer; followers wait on purpose.",
            ),
            appended_records: declare
                .counter("http_appended_records", "Records appended over HTTP."),
            appended_bytes: declare.counter("http_appended_bytes", "Bytes of their values."),
        }
    }

    /// A request was answered after `elapsed`.
    pub fn answered(
        &self,
        method: &'static str,
        endpoint: &'static str,
        status: u16,
        elapsed: Duration,
    ) {
        let label = HttpLabel {
            method,
            endpoint,
            status,
        };
        self.requests.get_or_create(&label).inc();
        self.seconds
            .get_or_create(&EndpointLabel { endpoint })
            .observe(elapsed.as_secs_f64());
    }

    /// Records were appended.
    pub fn appended(&self, records: usize, bytes: usize) {
        self.appended_records.inc_by(records as u64);
        self.appended_bytes.inc_by(bytes as u64);
    }
}

/// One way for a transaction to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    /// `commit` or `abort`.
    pub outcome: &'static str,
}

/// Instruments of transactions.
#[derive(Debug)]
pub struct TransactionMetrics {
    ended: Family<OutcomeLabel, Counter>,
}

impl TransactionMetrics {
    pub(super) fn new(declare: &mut Declare<'_>) -> Self {
        let metrics = Self {
            ended: declare.counters(
                "transactions_ended",
                "outcome",
                "Transactions whose end every partition and group has been told.",
            ),
        };
        // Both are there from the start.
        for outcome in ["commit", "abort"] {
            drop(metrics.ended.get_or_create(&OutcomeLabel { outcome }));
        }
        metrics
    }

    /// Everybody has been told of the end of a transaction.
    pub fn ended(&self, committed: bool) {
        let outcome = if committed { "commit" } else { "abort" };
        self.ended.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

/// Instruments of the partitions.
#[derive(Debug)]
pub struct PartitionMetrics {
    produced_batches: Counter,
    produced_bytes: Counter,
    produced_records: Counter,
    fetched_batches: Counter,
    fetched_bytes: Counter,
}

impl PartitionMetrics {
    pub(super) fn new(declare: &mut Declare<'_>) -> Self {
        Self {
            produced_batches: declare.counter(
                "produced_batches",
                "Record batches taken from producers; a retry that is recognised counts too.",
            ),
            produced_bytes: declare.counter("produced_bytes", "Their bytes, as they came."),
            produced_records: declare.counter("produced_records", "Their records."),
            fetched_batches: declare
                .counter("fetched_batches", "Record batches returned by fetches."),
            fetched_bytes: declare.counter("fetched_bytes", "Their bytes."),
        }
    }

    /// A batch was taken from a producer.
    pub fn produced(&self, bytes: usize, records: i32) {
        self.produced_batches.inc();
        self.produced_bytes.inc_by(bytes as u64);
        self.produced_records
            .inc_by(u64::from(records.unsigned_abs()));
    }

    /// Batches are returned by a fetch.
    pub fn fetched(&self, batches: usize, bytes: usize) {
        self.fetched_batches.inc_by(batches as u64);
        self.fetched_bytes.inc_by(bytes as u64);
    }
}

/// Instruments of retention and compaction.
#[derive(Debug)]
pub struct CleanerMetrics {
    /// Logs whose start was raised by retention.
    pub cut: Counter,
    /// Passes of compaction over a log.
    pub compacted: Counter,
    /// Bytes of batches that were judged.
    pub read_bytes: Counter,
    /// Bytes of logs that were due when last looked at.
    pub dirty_bytes: Gauge,
}

impl CleanerMetrics {
    pub(super) fn new(declare: &mut Declare<'_>) -> Self {
        Self {
            cut: declare.counter(
                "retention_cuts",
                "Times that retention raised the start of a log.",
            ),
            compacted: declare.counter("compaction_passes", "Passes of compaction over a log."),
            read_bytes: declare.counter(
                "compaction_read_bytes",
                "Bytes of batches that compaction looked into to see whether they change.",
            ),
            dirty_bytes: declare.gauge(
                "compaction_dirty_bytes",
                "Bytes of logs that were due for compaction when last looked at.",
            ),
        }
    }
}
