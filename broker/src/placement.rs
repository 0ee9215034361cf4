//! Which node leads a partition or coordinates a key. One node: this one; but handlers ask.

use crate::metadata::PartitionMeta;
use crate::types::LeaderEpoch;

/// Answers for this node.
#[derive(Clone, Debug)]
pub struct Placement {
    node_id: i32,
    store_epoch: u64,
}

impl Placement {
    /// Placement on the one node `node_id`, whose store was opened with `store_epoch`.
    pub fn new(node_id: i32, store_epoch: u64) -> Self {
        Self {
            node_id,
            store_epoch,
        }
    }

    /// The node that leads `partition`.
    pub fn leader(&self, _partition: &PartitionMeta) -> i32 {
        self.node_id
    }

    /// The epoch of this node's store.
    pub fn epoch(&self) -> i32 {
        i32::try_from(self.store_epoch).unwrap_or(i32::MAX)
    }

    /// The epoch of that leadership: the partition's base plus the store's fence. It never goes
    /// back, for clients ignore metadata whose epoch does.
    pub fn leader_epoch(&self, partition: &PartitionMeta) -> LeaderEpoch {
        LeaderEpoch(partition.epoch_base.saturating_add(self.epoch()))
    }

    /// The epoch of the coordinators on this node: the store's fence, so a later one is higher.
    pub fn coordinator_epoch(&self) -> i32 {
        i32::try_from(self.store_epoch).unwrap_or(i32::MAX)
    }

    /// The node that coordinates the group or transactional id `key`.
    pub fn coordinator(&self, _key: &str) -> i32 {
        self.node_id
    }
}
