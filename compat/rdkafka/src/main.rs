//! The scenarios of `compat/` through the Rust crate rdkafka and the librdkafka it carries.
//!
//! `compat/run` starts this with the broker's address and a control line in the environment; one
//! JSON line per scenario goes to standard output.

mod admin;
mod client;
mod groups;
mod harness;
mod member;
mod positions;
mod scenarios;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, group, topic] = words.as_slice()
        && verb == "member"
    {
        return member::child(group, topic); // what group.kill starts
    }
    let version = format!(
        "0.39.0 (librdkafka {})",
        rdkafka::util::get_rdkafka_version().1
    );
    let areas = [scenarios::ALL, groups::ALL, positions::ALL, admin::ALL];
    harness::run("rdkafka", &version, areas.into_iter().flatten());
}
