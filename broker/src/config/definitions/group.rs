//! Settings of a consumer group, and of a subscription to clients' metrics.

use super::{AtLeast, Definition, OneOf, Support, Type, from, row};
use Support::{Honoured, Stored};
use Type::{Boolean, Int, List, String};

const ISOLATION: &[&str] = &["read_committed", "read_uncommitted"];

/// Settings of a group, by name.
pub const GROUP: &[Definition] = &[
    row(
        "consumer.assignment.interval.ms",
        Int,
        "1000",
        Stored,
        "Pause between two assignments under the consumer protocol.",
    )
    .valid(AtLeast(0))
    .synonyms(&[from("group.consumer.assignment.interval.ms")]),
    row(
        "consumer.heartbeat.interval.ms",
        Int,
        "5000",
        Honoured,
        "Pause between heartbeats under the consumer protocol.",
    )
    .valid(AtLeast(1))
    .synonyms(&[from("group.consumer.heartbeat.interval.ms")]),
    row(
        "consumer.session.timeout.ms",
        Int,
        "45000",
        Honoured,
        "Session of a member under the consumer protocol.",
    )
    .valid(AtLeast(1))
    .synonyms(&[from("group.consumer.session.timeout.ms")]),
    row(
        "errors.deadletterqueue.copy.record.enable",
        Boolean,
        "false",
        Stored,
        "Whether a share group's dead-letter topic gets whole records.",
    ),
    row(
        "errors.deadletterqueue.topic.name",
        String,
        "",
        Stored,
        "Topic for records that a share group gave up.",
    ),
    row(
        "share.assignment.interval.ms",
        Int,
        "1000",
        Stored,
        "Pause between two assignments of a share group.",
    )
    .valid(AtLeast(0))
    .synonyms(&[from("group.share.assignment.interval.ms")]),
    row(
        "share.auto.offset.reset",
        String,
        "latest",
        Stored,
        "Where a share group starts: `latest`, `earliest`, or `by_duration:` and an ISO 8601 duration.",
    ),
    row(
        "share.delivery.count.limit",
        Int,
        "5",
        Stored,
        "How often a share group is given a record.",
    )
    .valid(AtLeast(2))
    .synonyms(&[from("group.share.delivery.count.limit")]),
    row(
        "share.heartbeat.interval.ms",
        Int,
        "5000",
        Stored,
        "Pause between heartbeats in a share group.",
    )
    .valid(AtLeast(1))
    .synonyms(&[from("group.share.heartbeat.interval.ms")]),
    row(
        "share.isolation.level",
        String,
        "read_uncommitted",
        Stored,
        "Whether a share group sees records of open transactions.",
    )
    .valid(OneOf(ISOLATION)),
    row(
        "share.partition.max.record.locks",
        Int,
        "2000",
        Stored,
        "Records of one partition that a share group may hold.",
    )
    .valid(AtLeast(100))
    .synonyms(&[from("group.share.partition.max.record.locks")]),
    row(
        "share.record.lock.duration.ms",
        Int,
        "30000",
        Stored,
        "How long a share group holds a record.",
    )
    .valid(AtLeast(1000))
    .synonyms(&[from("group.share.record.lock.duration.ms")]),
    row(
        "share.renew.acknowledge.enable",
        Boolean,
        "true",
        Stored,
        "Whether a share group may hold a record for longer.",
    ),
    row(
        "share.session.timeout.ms",
        Int,
        "45000",
        Stored,
        "Session of a member of a share group.",
    )
    .valid(AtLeast(1))
    .synonyms(&[from("group.share.session.timeout.ms")]),
    row(
        "streams.assignment.interval.ms",
        Int,
        "1000",
        Stored,
        "Pause between two assignments of a streams group.",
    )
    .valid(AtLeast(0))
    .synonyms(&[from("group.streams.assignment.interval.ms")]),
    row(
        "streams.assignor.name",
        String,
        "",
        Stored,
        "Assignor of a streams group.",
    )
    .without_default(),
    row(
        "streams.heartbeat.interval.ms",
        Int,
        "5000",
        Stored,
        "Pause between heartbeats in a streams group.",
    )
    .valid(AtLeast(1))
    .synonyms(&[from("group.streams.heartbeat.interval.ms")]),
    row(
        "streams.initial.rebalance.delay.ms",
        Int,
        "3000",
        Stored,
        "How long an empty streams group waits for more members.",
    )
    .valid(AtLeast(0))
    .synonyms(&[from("group.streams.initial.rebalance.delay.ms")]),
    row(
        "streams.num.standby.replicas",
        Int,
        "0",
        Stored,
        "Standby copies of each task of a streams group.",
    )
    .valid(AtLeast(0))
    .synonyms(&[from("group.streams.num.standby.replicas")]),
    row(
        "streams.rack.aware.assignment.tags",
        List,
        "",
        Stored,
        "Tags by which the tasks of a streams group are spread.",
    )
    .synonyms(&[from("group.streams.rack.aware.assignment.tags")]),
    row(
        "streams.session.timeout.ms",
        Int,
        "45000",
        Stored,
        "Session of a member of a streams group.",
    )
    .valid(AtLeast(1))
    .synonyms(&[from("group.streams.session.timeout.ms")]),
];

/// Settings of a subscription to clients' metrics (KIP-714), by name.
pub const CLIENT_METRICS: &[Definition] = &[
    row(
        "interval.ms",
        Int,
        "300000",
        Stored,
        "Pause between two pushes of metrics.",
    )
    .valid(super::Between(100, 3_600_000)),
    row(
        "match",
        List,
        "",
        Stored,
        "Which clients push, as `KEY=PATTERN`.",
    ),
    row(
        "metrics",
        List,
        "",
        Stored,
        "Metrics asked for, by the start of their names; `*` for all.",
    ),
];
