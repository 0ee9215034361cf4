//! The protocol, API by API, against a running broker: Trestle, or with `KAFKA_BOOTSTRAP=HOST:PORT`
//! Apache Kafka as the oracle. Numbers in the tests' comments are those of the conformance list.

mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod fetch;
mod fetch_waits;
mod find_coordinator;
mod framing;
mod idempotence;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod old_versions;
mod produce;
mod produce_checks;
mod s3;
mod scenarios;
mod sweep;
