//! The store's instruments, and SlateDB's, in this broker's registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use slatedb_common::metrics::{CounterFn, GaugeFn, HistogramFn, MetricsRecorder, UpDownCounterFn};

type Labels = Vec<(String, String)>;

/// The buckets of a histogram family: those of its first member.
#[derive(Clone)]
struct Buckets(Arc<[f64]>);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Registers what is asked for and hands out the instruments. The same name and labels give the
/// same instrument, so a store that is opened again counts on.
pub struct StoreRecorder {
    registry: Arc<Mutex<Registry>>,
    counters: Mutex<HashMap<String, Family<Labels, Counter>>>,
    gauges: Mutex<HashMap<String, Family<Labels, Gauge>>>,
    histograms: Mutex<HashMap<String, Family<Labels, Histogram, Buckets>>>,
}

impl fmt::Debug for StoreRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRecorder").finish_non_exhaustive()
    }
}

impl StoreRecorder {
    pub(super) fn new(registry: Arc<Mutex<Registry>>) -> Self {
        Self {
            registry,
            counters: Mutex::default(),
            gauges: Mutex::default(),
            histograms: Mutex::default(),
        }
    }

    fn register<M: Metric + Clone>(&self, name: &str, help: &str, family: M) -> M {
        let help = help.trim_end_matches('.');
        self.registry.lock().register(name, help, family.clone());
        family
    }

    fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        let name = plain_name(name);
        let mut gauges = self.gauges.lock();
        gauges
            .entry(name.clone())
            .or_insert_with(|| self.register(&name, help, Family::default()))
            .get_or_create_owned(&owned(labels))
    }
}

impl MetricsRecorder for StoreRecorder {
    fn register_counter(
        &self,
        name: &str,
        description: &str,
        labels: &[(&str, &str)],
    ) -> Arc<dyn CounterFn> {
        let name = plain_name(name);
        // The text format adds `_total` to the name of every counter.
        let name = name.strip_suffix("_total").unwrap_or(&name);
        let mut counters = self.counters.lock();
        let family = counters
            .entry(name.to_owned())
            .or_insert_with(|| self.register(name, description, Family::default()));
        Arc::new(Instrument(family.get_or_create_owned(&owned(labels))))
    }

    fn register_gauge(
        &self,
        name: &str,
        description: &str,
        labels: &[(&str, &str)],
    ) -> Arc<dyn GaugeFn> {
        Arc::new(Instrument(self.gauge(name, description, labels)))
    }

    fn register_up_down_counter(
        &self,
        name: &str,
        description: &str,
        labels: &[(&str, &str)],
    ) -> Arc<dyn UpDownCounterFn> {
        Arc::new(Instrument(self.gauge(name, description, labels)))
    }

    fn register_histogram(
        &self,
        name: &str,
        description: &str,
        labels: &[(&str, &str)],
        boundaries: &[f64],
    ) -> Arc<dyn HistogramFn> {
        let name = plain_name(name);
        let mut histograms = self.histograms.lock();
        let family = histograms.entry(name.clone()).or_insert_with(|| {
            let family = Family::new_with_constructor(Buckets(boundaries.into()));
            self.register(&name, description, family)
        });
        Arc::new(Instrument(family.get_or_create_owned(&owned(labels))))
    }
}

/// A name as Prometheus has them.
fn plain_name(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    labels
        .iter()
        .map(|&(name, value)| (plain_name(name), value.to_owned()))
        .collect()
}

/// One of ours under one of the store's interfaces.
struct Instrument<M>(M);

impl CounterFn for Instrument<Counter> {
    fn increment(&self, value: u64) {
        self.0.inc_by(value);
    }
}

impl GaugeFn for Instrument<Gauge> {
    fn set(&self, value: i64) {
        self.0.set(value);
    }
}

impl UpDownCounterFn for Instrument<Gauge> {
    fn increment(&self, value: i64) {
        self.0.inc_by(value);
    }
}

impl HistogramFn for Instrument<Histogram> {
    fn record(&self, value: f64) {
        self.0.observe(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn what_the_store_counts_stands_in_the_text() {
        let metrics = Metrics::default();
        let recorder = metrics.store_recorder();
        let labels = [("op", "get")];
        recorder
            .register_counter("slatedb.db.request_count", "Requests.", &labels)
            .increment(2);
        recorder
            .register_counter("slatedb.db.request_count", "Requests.", &labels)
            .increment(3);
        recorder
            .register_gauge("slatedb.db.l0_sst_count", "Tables.", &[])
            .set(7);
        recorder
            .register_up_down_counter("slatedb.cache.bytes", "Bytes.", &[])
            .increment(-4);
        let histogram =
            recorder.register_histogram("slatedb.db.flush_seconds", "Flushes.", &[], &[0.1, 1.0]);
        histogram.record(0.5);
        let text = metrics.text();
        for line in [
            "# HELP slatedb_db_request_count Requests.\n",
            "slatedb_db_request_count_total{op=\"get\"} 5\n",
            "slatedb_db_l0_sst_count{} 7\n",
            "slatedb_cache_bytes{} -4\n",
            "slatedb_db_flush_seconds_bucket{le=\"0.1\"} 0\n",
            "slatedb_db_flush_seconds_bucket{le=\"1.0\"} 1\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
    }
}
