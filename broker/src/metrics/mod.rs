//! The metrics registry of one broker; no globals, so two brokers in a test do not share counters.
//!
//! Each room has one small struct of instruments, made here. What the store and SlateDB count comes
//! in through [`StoreRecorder`] and stands in the same registry.

mod declare;
mod instruments;
mod recorder;

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use declare::Declare;
pub use instruments::{
    ApiLabel, ApiMetrics, CleanerMetrics, ErrorLabel, HttpMetrics, NetMetrics, PartitionMetrics,
    TransactionMetrics,
};
pub use recorder::StoreRecorder;

/// The type of the text that [`Metrics::text`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the text ends with.
pub const END: &str = "# EOF\n";

/// What every name starts with.
const PREFIX: &str = "trestle";

/// Instruments of every room.
#[derive(Debug)]
pub struct Metrics {
    /// Of the TCP door.
    pub net: NetMetrics,
    /// Of the Kafka APIs.
    pub api: ApiMetrics,
    /// Of the HTTP door.
    pub http: HttpMetrics,
    /// Of the partitions.
    pub partition: PartitionMetrics,
    /// Of transactions.
    pub transaction: TransactionMetrics,
    /// Of retention and compaction.
    pub cleaner: CleanerMetrics,
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::declare().0
    }
}

impl Metrics {
    fn declare() -> (Self, Vec<declare::Declared>) {
        let mut registry = Registry::default();
        let mut declare = Declare::new(registry.sub_registry_with_prefix(PREFIX));
        let net = NetMetrics::new(&mut declare);
        let api = ApiMetrics::new(&mut declare);
        let http = HttpMetrics::new(&mut declare);
        let partition = PartitionMetrics::new(&mut declare);
        let transaction = TransactionMetrics::new(&mut declare);
        let cleaner = CleanerMetrics::new(&mut declare);
        let declared = declare.declared;
        let metrics = Self {
            net,
            api,
            http,
            partition,
            transaction,
            cleaner,
            registry: Arc::new(Mutex::new(registry)),
        };
        (metrics, declared)
    }

    /// What the store and SlateDB are to count with.
    pub fn store_recorder(&self) -> Arc<StoreRecorder> {
        Arc::new(StoreRecorder::new(self.registry.clone()))
    }

    /// All of it, in Prometheus' text format (OpenMetrics 1.0).
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry.lock())
            .expect("a String takes all text");
        text
    }
}

/// The text of `docs/metrics.md`.
pub fn reference() -> String {
    declare::reference(&Metrics::declare().1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn two_brokers_do_not_share_counters() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.partition.produced(100, 5);
        assert!(one.text().contains("trestle_produced_records_total 5\n"));
        assert!(other.text().contains("trestle_produced_records_total 0\n"));
    }

    #[test]
    fn the_text_has_help_units_and_an_end() {
        let metrics = Metrics::default();
        metrics.api.request("Produce");
        metrics.api.answered("Produce", Duration::from_micros(300));
        #[derive(Debug)]
        struct NotLeaderOrFollower;
        metrics.api.error("Produce", NotLeaderOrFollower);
        let text = metrics.text();
        for line in [
            "# HELP trestle_requests Requests read.\n",
            "# TYPE trestle_requests counter\n",
            "trestle_requests_total{api=\"Produce\"} 1\n",
            "trestle_request_errors_total{api=\"Produce\",error=\"NotLeaderOrFollower\"} 1\n",
            "trestle_request_seconds_bucket{le=\"0.00025\",api=\"Produce\"} 0\n",
            "trestle_request_seconds_bucket{le=\"0.0005\",api=\"Produce\"} 1\n",
            "trestle_connections 0\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn every_declared_name_ends_in_its_unit() {
        for declared in Metrics::declare().1 {
            let name = declared.name();
            let unit = ["_total", "_seconds", "_bytes"]
                .iter()
                .any(|unit| name.ends_with(unit));
            assert!(unit || declared.is_gauge(), "{name}");
        }
    }
}
