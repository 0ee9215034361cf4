//! Authorised operations: bit fields that Metadata, DescribeCluster and DescribeGroups report
//! (KIP-430). Nobody is refused anything yet, so they hold every operation that Kafka knows for the
//! kind of resource.

/// What is reported when the client did not ask.
pub(super) const NOT_ASKED: i32 = i32::MIN;

/// Read, write, create, delete, alter, describe, describe and alter configs.
pub(super) const TOPIC: i32 = 3576;

/// Create, alter, describe, cluster action, describe and alter configs, idempotent write.
pub(super) const CLUSTER: i32 = 8096;

/// Read, delete, describe, describe and alter configs.
pub(super) const GROUP: i32 = 3400;
