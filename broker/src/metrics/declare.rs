//! Declaring instruments: registered and listed in one step, so that the reference page is whole.

use std::fmt::{Debug, Write};
use std::hash::Hash;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the buckets of a latency, in seconds.
const LATENCY_SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// One instrument, for the reference.
#[derive(Debug)]
pub(super) struct Declared {
    name: String,
    kind: &'static str,
    labels: &'static str,
    help: &'static str,
}

#[cfg(test)]
impl Declared {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_gauge(&self) -> bool {
        self.kind == "gauge"
    }
}

/// Registers instruments and remembers them.
#[derive(Debug)]
pub(super) struct Declare<'a> {
    registry: &'a mut Registry,
    pub(super) declared: Vec<Declared>,
}

/// A latency by label set.
pub(super) type LatencyFamily<L> = Family<L, Histogram, fn() -> Histogram>;

impl<'a> Declare<'a> {
    pub(super) fn new(registry: &'a mut Registry) -> Self {
        Self {
            registry,
            declared: Vec::new(),
        }
    }

    fn list(
        &mut self,
        name: &str,
        suffix: &str,
        kind: &'static str,
        labels: &'static str,
        help: &'static str,
    ) {
        self.declared.push(Declared {
            name: format!("{}_{name}{suffix}", super::PREFIX),
            kind,
            labels,
            help,
        });
    }

    /// A count that only rises; `_total` is added to its name.
    pub(super) fn counter(&mut self, name: &str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.registry
            .register(name, sentence(help), counter.clone());
        self.list(name, "_total", "counter", "", help);
        counter
    }

    /// A number that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        let gauge = Gauge::default();
        self.registry.register(name, sentence(help), gauge.clone());
        self.list(name, "", "gauge", "", help);
        gauge
    }

    /// A count by label set.
    pub(super) fn counters<L>(
        &mut self,
        name: &str,
        labels: &'static str,
        help: &'static str,
    ) -> Family<L, Counter>
    where
        L: Clone + Hash + Eq + EncodeLabelSet + Debug + Send + Sync + 'static,
    {
        let family = Family::<L, Counter>::default();
        self.registry.register(name, sentence(help), family.clone());
        self.list(name, "_total", "counter", labels, help);
        family
    }

    /// A latency by label set.
    pub(super) fn latencies<L>(
        &mut self,
        name: &str,
        labels: &'static str,
        help: &'static str,
    ) -> LatencyFamily<L>
    where
        L: Clone + Hash + Eq + EncodeLabelSet + Debug + Send + Sync + 'static,
    {
        let make: fn() -> Histogram = || Histogram::new(LATENCY_SECONDS);
        let family = LatencyFamily::<L>::new_with_constructor(make);
        self.registry.register(name, sentence(help), family.clone());
        self.list(name, "", "histogram", labels, help);
        family
    }
}

/// The registry ends each help text with a full stop of its own.
fn sentence(help: &'static str) -> &'static str {
    help.trim_end_matches('.')
}

const HEAD: &str = "\
# Metrics

Generated from the declarations in `broker/src/metrics/`; a test keeps it fresh
(`UPDATE_DOCS=1 cargo test -p trestle docs` writes it).

Served as Prometheus text at `/metrics` of the HTTP address (`--http`, by default 127.0.0.1:8080).

| Name | Kind | Labels | What it counts |
| --- | --- | --- | --- |
";

const FOOT: &str = "
How far consumer groups are behind is computed when the page is asked for, under the names of
kafka_exporter, for up to `trestle.metrics.group.partitions` partitions with committed offsets:
`kafka_consumergroup_current_offset`, `kafka_consumergroup_lag` (records) and
`kafka_consumergroup_lag_seconds` (age of the first record not committed) by `consumergroup`, `topic` and
`partition`; `kafka_consumergroup_current_offset_sum` and `kafka_consumergroup_lag_sum` by `consumergroup`
and `topic`; `kafka_consumergroup_members` by `consumergroup`. `trestle_consumergroup_partitions_left_out`
counts what is beyond the limit.

So is how transactional ids stand: `trestle_transactional_ids` by `state`, and
`trestle_transaction_open_seconds_max`, the age of the oldest open transaction.

The bridge's, by `job`, are in [bridge.md](bridge.md): `trestle_bridge_...`.

Besides these there are the counts of the log store and of the SlateDB engine under it, by the names
that they give (dots become underscores): `trestle_storage_...` and `slatedb_...`.
";

/// The reference page of `declared`.
pub(super) fn reference(declared: &[Declared]) -> String {
    let mut page = HEAD.to_owned();
    for Declared {
        name,
        kind,
        labels,
        help,
    } in declared
    {
        writeln!(page, "| `{name}` | {kind} | {labels} | {help} |")
            .expect("a String takes all text");
    }
    page.push_str(FOOT);
    page
}
