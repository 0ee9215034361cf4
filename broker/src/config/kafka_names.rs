//! The names that some Kafka broker knows, whether or not Trestle has a use for them.

use std::sync::LazyLock;

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    include_str!("kafka_names.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
});

/// Settings that Kafka hands on to plug-ins, and so knows by their beginning only.
const PREFIXES: &[&str] = &[
    "confluent.",
    "listener.name.",
    "rlmm.config.",
    "rsm.config.",
];

/// All of them, in order.
pub(super) fn all() -> &'static [&'static str] {
    &NAMES
}

/// Whether a Kafka broker would accept `name`.
pub(super) fn contains(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok() || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
