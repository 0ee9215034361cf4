//! The scenarios of `compat/` through the Rust crate rdkafka and the librdkafka it carries.
//!
//! `compat/run` starts this with the broker's address and a control line in the environment; one
//! JSON line per scenario goes to standard output.

mod client;
mod harness;
mod scenarios;

fn main() {
    let version = format!(
        "0.39.0 (librdkafka {})",
        rdkafka::util::get_rdkafka_version().1
    );
    harness::run("rdkafka", &version, scenarios::ALL);
}
