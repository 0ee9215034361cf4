//! Integration tests of the storage crate: one binary, one module per concern.

mod basics;
mod crash;
mod growth;
mod model;
mod stored;
mod support;
