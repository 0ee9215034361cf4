//! Partitions: a log each, plus Kafka's rules for appending to it.

use std::sync::Arc;

use trestle_storage::Store;

use crate::config::Config;
use crate::env::Env;

/// The open partitions.
#[derive(Debug)]
pub struct Partitions {}

impl Partitions {
    /// No partition is opened before it is asked for.
    pub fn new(_env: Env, _config: Arc<Config>, _store: Store) -> Self {
        Self {}
    }
}
