//! Transactions. So far: producer ids.

mod producer_ids;

pub use producer_ids::ProducerIds;
