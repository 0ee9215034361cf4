//! The features that a Kafka cluster agrees on, as ApiVersions tells them.

/// A feature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    pub(super) name: &'static str,
    /// Levels that this broker could work at.
    pub(super) supported: (i16, i16),
    /// The level that it works at.
    pub(super) level: i16,
}

/// Every feature, by name. The level of `metadata.version` is that of Kafka 4.0, whose requests this
/// broker serves; nothing else depends on it.
pub(super) const FEATURES: &[Feature] = &[
    // The consumer protocol: keys 68 and 69 (KIP-848).
    Feature {
        name: "group.version",
        supported: (0, 1),
        level: 1,
    },
    Feature {
        name: "metadata.version",
        supported: (7, 25),
        level: 25,
    },
    // Partitions and groups join transactions by being written to, and the epoch of a producer rises with
    // every end (KIP-890).
    Feature {
        name: "transaction.version",
        supported: (0, 2),
        level: 2,
    },
];
