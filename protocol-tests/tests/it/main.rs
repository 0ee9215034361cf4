//! The protocol, API by API, against a running broker: Trestle, or with `KAFKA_BOOTSTRAP=HOST:PORT`
//! Apache Kafka as the oracle. Numbers in the tests' comments are those of the conformance list.

mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod fetch;
mod fetch_waits;
mod find_coordinator;
mod framing;
mod heartbeat;
mod idempotence;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod old_versions;
mod produce;
mod produce_checks;
mod s3;
mod scenarios;
mod sweep;
mod sync_group;
