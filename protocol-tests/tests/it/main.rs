//! The protocol, API by API, against a running broker: Trestle, or with `KAFKA_BOOTSTRAP=HOST:PORT`
//! Apache Kafka as the oracle. Numbers in the tests' comments are those of the conformance list.

mod produce;
