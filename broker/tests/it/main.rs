//! The tests of the `trestle` crate from outside: the rules of the house, and the documents that are
//! generated from the code.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests read the workspace's own files"
)]

mod command;
mod docs;
mod embedded;
mod group_sim;
mod sim;
mod source;
mod tidy;
mod txn_sim;
