//! Producer ids, unique for ever: handed out from blocks that are durable before their first use.

use trestle_storage::{Result, Store};

use crate::types::ProducerId;

/// Hands out producer ids.
#[derive(Debug)]
pub struct ProducerIds {}

impl ProducerIds {
    /// Ids of `store`.
    pub fn new(_store: Store) -> Self {
        unimplemented!()
    }

    /// An id that was never given before.
    pub async fn next(&self) -> Result<ProducerId> {
        unimplemented!()
    }
}
