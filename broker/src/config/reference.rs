//! `docs/config.md`, from the table.

use std::fmt::Write;

use super::definition::{Definition, Support};
use super::definitions::{BROKER, CLIENT_METRICS, GROUP, TOPIC, UNUSED};

const HEAD: &str = "\
# Settings

Generated from `broker/src/config/definitions.rs`; a test keeps it fresh
(`UPDATE_DOCS=1 cargo test -p trestle docs` writes it).

Names and meanings are Kafka's; what only Trestle has starts with `trestle.`. Give a setting of the
broker with `--set NAME=VALUE`, in a properties file (`--config FILE`), or as an environment variable
`KAFKA_` and the name in capitals with `_` for `.` (`KAFKA_NUM_PARTITIONS=3`). Flags are stronger than
the environment, the environment is stronger than the file, the file is stronger than the defaults.
A name that Kafka knew once and that is not listed here is accepted and named once in the log, as are
those that are not used; any other name is refused.

A setting marked **live** can be changed while the broker runs, for all brokers or for one, and then
holds at once (`kafka-configs --alter --entity-type brokers`): what was given to one broker is stronger
than what was given to all, and both are stronger than what the broker was started with.

**Honoured** settings act as described. **Stored** ones are checked, kept and shown to clients, and
change nothing so far. **Ignored** ones are accepted from older tools and dropped.
";

/// The text of `docs/config.md`.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## The broker\n\n");
    table(&mut page, BROKER);
    page.push_str(
        "\n## A topic\n\n\
         Given when a topic is created, or changed later (`kafka-configs --alter --entity-type topics`).\n\
         A topic without a value of its own takes the broker's setting, if one is named, and else the\n\
         default.\n\n",
    );
    table(&mut page, TOPIC);
    page.push_str(
        "\n## A group\n\n\
         Given with `kafka-configs --alter --entity-type groups`. A group without a value of its own takes\n\
         the broker's.\n\n",
    );
    table(&mut page, GROUP);
    page.push_str(
        "\n## A subscription to clients' metrics\n\n\
         Kept and described; no client is asked for metrics.\n\n",
    );
    table(&mut page, CLIENT_METRICS);
    page.push_str(
        "\n## The broker: not used\n\n\
         What a Kafka broker has for parts that Trestle does another way or does not have: checked, kept\n\
         and described.\n\n",
    );
    table(&mut page, UNUSED);
    page
}

fn table(page: &mut String, definitions: &[Definition]) {
    page.push_str("| Name | Values | Default | | What it is |\n| --- | --- | --- | --- | --- |\n");
    for definition in definitions {
        let default = match definition.default {
            None => "none".to_owned(),
            Some("") => "empty".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let support = match definition.support {
            Support::Honoured => "honoured",
            Support::Stored => "stored",
            Support::Ignored => "ignored",
        };
        let synonyms: Vec<String> = definition
            .synonyms
            .iter()
            .map(|synonym| format!("`{}`", synonym.name))
            .collect();
        let synonyms = match synonyms.is_empty() {
            true => String::new(),
            false => format!(" Broker: {}.", synonyms.join(", ")),
        };
        let live = match definition.dynamic {
            true => ", live",
            false => "",
        };
        writeln!(
            page,
            "| `{}` | {} | {default} | {support}{live} | {}{synonyms} |",
            definition.name,
            definition.values(),
            definition.doc,
        )
        .expect("a String takes all text");
    }
}
