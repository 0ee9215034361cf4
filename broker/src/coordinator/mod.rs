//! Coordinators: machines that decide over rows, and the runtime that commits what they decided.

pub mod group;
pub mod machine;
pub mod pattern;
pub mod runtime;
pub mod txn;
