//! The composition root: builds every room, and owns the order of start and shutdown.

use std::sync::Arc;

use trestle_storage::Store;

use crate::config::Config;
use crate::coordinator::txn::ProducerIds;
use crate::env::Env;
use crate::metadata::Controller;
use crate::metrics::Metrics;
use crate::partition::Partitions;
use crate::placement::Placement;

/// The living rooms behind the doors: what a handler may reach.
#[derive(Debug)]
pub struct Rooms {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// Settings.
    pub config: Arc<Config>,
    /// Instruments.
    pub metrics: Arc<Metrics>,
    /// The store under all of it.
    pub store: Store,
    /// Topics.
    pub metadata: Arc<Controller>,
    /// Who leads what.
    pub placement: Placement,
    /// Partitions, opened on demand.
    pub partitions: Partitions,
    /// Producer ids.
    pub producer_ids: ProducerIds,
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {}
