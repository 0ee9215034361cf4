//! Integration tests of the storage crate: one binary, one module per concern.

mod adopt;
mod basics;
mod crash;
mod follow;
mod growth;
mod logdb;
mod merge;
mod model;
mod reclaim;
mod s3;
mod s3_child;
mod seeds;
mod stored;
mod support;
mod wait;
mod wal;
