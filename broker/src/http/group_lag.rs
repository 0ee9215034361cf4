//! How far consumer groups are behind, under the names of kafka_exporter: computed when it is asked for.
//!
//! Groups and topics are labels of the clients' choice, so `trestle.metrics.group.partitions` bounds how many
//! series there are; what is beyond it is left out, and said to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page::{Gauge, Page, escaped};
use crate::broker::Rooms;
use crate::coordinator::group::commands::Position;
use crate::partition::batch::Header;
use crate::types::{Offset, Timestamp};

const OFFSET: Gauge = (
    "kafka_consumergroup_current_offset",
    "Offset that the group has committed for the partition",
);
const LAG: Gauge = (
    "kafka_consumergroup_lag",
    "Records of the partition that the group has not committed",
);
const LAG_SECONDS: Gauge = (
    "kafka_consumergroup_lag_seconds",
    "Age of the first record that the group has not committed; 0 if there is none",
);
const OFFSET_SUM: Gauge = (
    "kafka_consumergroup_current_offset_sum",
    "Sum of the offsets that the group has committed in the topic",
);
const LAG_SUM: Gauge = (
    "kafka_consumergroup_lag_sum",
    "Records of the topic that the group has not committed",
);
const MEMBERS: Gauge = ("kafka_consumergroup_members", "Members of the group");
const LEFT_OUT: Gauge = (
    "trestle_consumergroup_partitions_left_out",
    "Partitions with committed offsets that are not shown, at the limit trestle.metrics.group.partitions",
);

/// The lag of one group on one partition.
struct Lag {
    position: Position,
    records: Offset,
    seconds: f64,
}

/// The groups' part of the metrics page.
pub(super) async fn text(rooms: &Rooms) -> String {
    let limit = rooms.config.group_metrics_partitions;
    if limit == 0 {
        return String::new();
    }
    let (mut positions, mut members) = rooms.groups.inspect(|groups| {
        let members = groups.members().map(|(id, _, count)| (id.clone(), count));
        (groups.positions(), members.collect::<Vec<_>>())
    });
    let left_out = positions.len().saturating_sub(limit);
    positions.truncate(limit);
    members.truncate(limit);
    let mut lags = Vec::with_capacity(positions.len());
    for position in positions {
        lags.extend(lag(rooms, position).await);
    }
    let mut page = Page::default();
    page.family(
        OFFSET,
        lags.iter()
            .map(|lag| (lag.labels(), lag.position.offset.to_string())),
    );
    page.family(
        LAG,
        lags.iter()
            .map(|lag| (lag.labels(), lag.records.to_string())),
    );
    page.family(
        LAG_SECONDS,
        lags.iter()
            .map(|lag| (lag.labels(), format!("{:.3}", lag.seconds))),
    );
    let mut sums: BTreeMap<(Arc<str>, Arc<str>), (Offset, Offset)> = BTreeMap::new();
    for Lag {
        position, records, ..
    } in &lags
    {
        let key = (position.group.clone(), position.topic.clone());
        let sum = sums.entry(key).or_default();
        sum.0 = sum.0.saturating_add(position.offset);
        sum.1 = sum.1.saturating_add(*records);
    }
    let labels = |(group, topic): &(Arc<str>, Arc<str>)| {
        format!(
            "consumergroup=\"{}\",topic=\"{}\"",
            escaped(group),
            escaped(topic)
        )
    };
    page.family(
        OFFSET_SUM,
        sums.iter()
            .map(|(key, sum)| (labels(key), sum.0.to_string())),
    );
    page.family(
        LAG_SUM,
        sums.iter()
            .map(|(key, sum)| (labels(key), sum.1.to_string())),
    );
    let counts = members.iter().map(|(id, count)| {
        let labels = format!("consumergroup=\"{}\"", escaped(id));
        (labels, count.to_string())
    });
    page.family(MEMBERS, counts);
    page.family(
        LEFT_OUT,
        [(String::new(), left_out.to_string())].into_iter(),
    );
    page.text()
}

/// How far behind `position` is; `None` if its partition cannot be looked at now.
async fn lag(rooms: &Rooms, position: Position) -> Option<Lag> {
    let image = rooms.metadata.image();
    let topic = image.topic(&position.topic)?;
    let partition = rooms.partitions.get(topic, position.partition).await;
    let partition = partition.ok().flatten()?;
    let offsets = partition.offsets();
    let end = offsets.high_watermark;
    let records = (end - position.offset.max(0)).max(0);
    let first = position.offset.max(offsets.log_start);
    let made: Option<Timestamp> = match first < end {
        true => {
            let found = partition.read(first, end, 1).await.ok()?;
            let header = found
                .first()
                .and_then(|entry| Header::parse(&entry.payload));
            header.map(|header| header.base_timestamp)
        }
        false => None,
    };
    let seconds = made.map_or(0.0, |made| {
        (rooms.env.now().saturating_sub(made)).max(0) as f64 / 1000.0
    });
    Some(Lag {
        position,
        records,
        seconds,
    })
}

impl Lag {
    fn labels(&self) -> String {
        format!(
            "consumergroup=\"{}\",topic=\"{}\",partition=\"{}\"",
            escaped(&self.position.group),
            escaped(&self.position.topic),
            self.position.partition
        )
    }
}
