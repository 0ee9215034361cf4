//! How transactional ids stand, computed when it is asked for.

use super::page::{Gauge, Page};
use crate::broker::Rooms;
use crate::coordinator::txn::STANDINGS;

const IDS: Gauge = (
    "trestle_transactional_ids",
    "Transactional ids, by the state of their last transaction",
);
const OLDEST: Gauge = (
    "trestle_transaction_open_seconds_max",
    "How long the oldest open transaction has been open; 0 if there is none",
);

/// The transactions' part of the metrics page.
pub(super) fn text(rooms: &Rooms) -> String {
    let census = rooms.transactions.census();
    let mut page = Page::default();
    let counts = STANDINGS.map(|standing| {
        let labels = format!("state=\"{}\"", standing.name());
        let count = census.standings.get(&standing).copied().unwrap_or(0);
        (labels, count.to_string())
    });
    page.family(IDS, counts.into_iter());
    let open_ms = census.oldest.map_or(0, |oldest| rooms.env.now() - oldest);
    let seconds = open_ms.max(0) as f64 / 1000.0;
    page.family(
        OLDEST,
        [(String::new(), format!("{seconds:.3}"))].into_iter(),
    );
    page.text()
}
