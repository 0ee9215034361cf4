//! Coordinators. So far: producer ids.

pub mod txn;
