//! Figures and targets, as a table for people or as JSON lines.

use serde_json::json;

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// No target of its own: shown for comparison.
    None,
    AtMost(f64),
    AtLeast(f64),
}

/// Prints each figure as it comes and counts the targets missed.
pub(crate) struct Report {
    json: bool,
    missed: usize,
    judged: usize,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            missed: 0,
            judged: 0,
        }
    }

    /// Says on what machine the figures were taken.
    pub(crate) fn machine(&self) {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default();
            line.split_once(':')
                .map_or("unknown", |(_, value)| value.trim())
                .to_owned()
        };
        let cpu = field(&read("/proc/cpuinfo"), "model name");
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        if self.json {
            println!(
                "{}",
                json!({"machine": {"cpu": cpu, "cores": cores, "memory": memory, "kernel": kernel}})
            );
        } else {
            println!(
                "{cpu}, {cores} cores, {memory}, Linux {kernel}; the load generator runs on the same cores\n"
            );
            println!(
                "{:<62}{:>12} {:<12}{:<18}",
                "measure", "figure", "", "target"
            );
        }
    }

    /// One figure of a measure.
    pub(crate) fn figure(
        &mut self,
        measure: &str,
        what: &str,
        value: f64,
        unit: &str,
        target: Target,
    ) {
        let (bound, met) = match target {
            Target::None => (None, None),
            Target::AtMost(limit) => (Some(("at most", limit)), Some(value <= limit)),
            Target::AtLeast(limit) => (Some(("at least", limit)), Some(value >= limit)),
        };
        self.judged += usize::from(met.is_some());
        self.missed += usize::from(met == Some(false));
        if self.json {
            let target = bound.map(|(word, limit)| format!("{word} {limit}"));
            println!(
                "{}",
                json!({"measure": measure, "what": what, "value": value, "unit": unit, "target": target, "met": met})
            );
            return;
        }
        let target = bound.map_or(String::new(), |(word, limit)| format!("{word} {limit}"));
        let verdict = if met == Some(false) { "MISSED" } else { "" };
        println!(
            "{:<62}{:>12} {unit:<12}{target:<18}{verdict}",
            format!("{measure}: {what}"),
            rounded(value)
        );
    }

    /// The closing line.
    pub(crate) fn finish(&self) {
        if !self.json {
            println!(
                "\n{} of {} targets met",
                self.judged - self.missed,
                self.judged
            );
        }
    }
}

/// Three significant digits or so.
fn rounded(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// Durations in milliseconds, for percentiles.
#[derive(Default)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    pub(crate) fn add(&mut self, elapsed: std::time::Duration) {
        self.0.push(elapsed.as_secs_f64() * 1000.0);
    }

    /// The value below which this share of the sample lies. Zero of an empty sample.
    pub(crate) fn percentile(&mut self, share: f64) -> f64 {
        self.0.sort_by(f64::total_cmp);
        let last = self.0.len().saturating_sub(1);
        self.0
            .get((last as f64 * share).round() as usize)
            .copied()
            .unwrap_or_default()
    }
}
