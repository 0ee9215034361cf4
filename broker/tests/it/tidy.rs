//! The rules of the house that no compiler checks; `docs/architecture.md` says why they hold.

use std::collections::BTreeSet;

use trestle::api::TABLE;

use crate::source::{Source, files, workspace};

/// Rooms that any room may use. They use only each other, and only as listed in [`ROOMS`].
const LEAVES: &[&str] = &["config", "env", "metrics", "types"];

/// Which rooms of `broker/src` a room may name, besides itself and the leaves.
const ROOMS: &[(&str, &[&str])] = &[
    // Leaves.
    ("types", &[]),
    ("config", &[]),
    ("env", &[]),
    ("metrics", &[]),
    // Living rooms. They do not know each other, but everybody may read the image of the metadata.
    ("metadata", &[]),
    ("placement", &["metadata"]),
    ("partition", &["metadata", "placement"]),
    // `partition` for the courier of transaction markers alone; see the test below.
    ("coordinator", &["metadata", "partition", "placement"]),
    // The translators. `broker` stands for `broker::Rooms`, the handle on the living rooms.
    // The bridge is a door to another cluster: what comes in by it passes the guard of the API.
    (
        "bridge",
        &["api", "coordinator", "metadata", "partition", "placement"],
    ),
    (
        "api",
        &[
            "broker",
            "coordinator",
            "metadata",
            "partition",
            "placement",
        ],
    ),
    // Doors.
    ("net", &["api", "broker"]),
    (
        "http",
        &["bridge", "broker", "coordinator", "metadata", "partition"],
    ),
    // The root knows everybody, and is known by nobody but the front of the house.
    (
        "broker",
        &[
            "bridge",
            "coordinator",
            "http",
            "metadata",
            "net",
            "partition",
            "placement",
        ],
    ),
    ("cli", &["broker"]),
    ("lib", &["broker"]),
    ("main", &["broker", "cli"]),
];

/// Files and folders that hold rules and formats only: no waiting, no tasks, no machine.
const PURE: &[&str] = &[
    "broker/src/api/errors.rs",
    "broker/src/api/guard/",
    "broker/src/api/features.rs",
    "broker/src/api/operations.rs",
    "broker/src/api/repeated.rs",
    "broker/src/bridge/client/properties.rs",
    "broker/src/bridge/client/scram.rs",
    "broker/src/bridge/compare.rs",
    "broker/src/bridge/job.rs",
    "broker/src/bridge/select.rs",
    "broker/src/config/",
    "broker/src/coordinator/group/",
    "broker/src/coordinator/machine.rs",
    "broker/src/coordinator/pattern.rs",
    "broker/src/coordinator/txn/brain.rs",
    "broker/src/coordinator/txn/commands.rs",
    "broker/src/coordinator/txn/rows.rs",
    "broker/src/coordinator/txn/rules.rs",
    "broker/src/metadata/error.rs",
    "broker/src/metadata/image.rs",
    "broker/src/metadata/log_rows.rs",
    "broker/src/metadata/quota.rs",
    "broker/src/metadata/rows.rs",
    "broker/src/metadata/rules.rs",
    "broker/src/metadata/scram.rs",
    "broker/src/metadata/setting_rows.rs",
    "broker/src/net/frame.rs",
    "broker/src/partition/batch.rs",
    "broker/src/partition/cleaner.rs",
    "broker/src/partition/compression.rs",
    "broker/src/partition/control.rs",
    "broker/src/partition/epochs.rs",
    "broker/src/partition/key_map.rs",
    "broker/src/partition/producers.rs",
    "broker/src/partition/rebuild.rs",
    "broker/src/partition/recompress.rs",
    "broker/src/partition/records.rs",
    "broker/src/partition/state.rs",
    "broker/src/partition/transactions.rs",
    "broker/src/types.rs",
    "storage/src/key/",
    "storage/src/runs.rs",
];

/// What a pure file does not say.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "crate::env",
    "SystemClock",
    "trestle_storage::Log",
    "trestle_storage::Store",
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "std::thread",
    "slatedb",
];

/// Where the codec of the Kafka protocol may be named.
const CODEC: &[&str] = &[
    "broker/src/api/",
    "broker/src/bridge/client/",
    "broker/src/net/frame.rs",
    "broker/src/partition/batch.rs",
];

/// No file is longer; at 600 lines one looks for the seam.
const MOST_LINES: usize = 900;

/// Files that were longer when this rule came, with their length then. They do not grow; whoever
/// makes one shorter lowers its number.
const LONGER: &[(&str, usize)] = &[];

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "service", "util", "utils",
];

fn product() -> Vec<Source> {
    ["broker/src", "storage/src"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .collect()
}

fn all() -> Vec<Source> {
    let folders = ["broker", "storage", "protocol-tests", "compat"];
    let all = folders.iter().flat_map(|folder| files(folder, ".rs"));
    all.collect()
}

fn assert_none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

/// The room of a file in `broker/src`.
fn room(file: &Source) -> Option<&str> {
    let inside = file.path.strip_prefix("broker/src/")?;
    let first = inside.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// The rooms that `line` names by a path that starts at the crate.
fn named(line: &str) -> Vec<&str> {
    let mut rooms = Vec::new();
    let word = |text: &'static str| text;
    for rest in line.split(word("crate::")).skip(1) {
        let end = |text: &str| {
            text.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(text.len())
        };
        match rest.strip_prefix('{') {
            None => rooms.push(&rest[..end(rest)]),
            Some(list) => {
                let mut depth = 0;
                let mut start = 0;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth > 0 => depth -= 1,
                        ',' | '}' if depth == 0 => {
                            let item = list[start..at].trim();
                            rooms.push(&item[..end(item)]);
                            start = at + 1;
                            if c == '}' {
                                break;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[test]
fn paths_are_read_right() {
    assert_eq!(named("use crate::types::Offset;"), ["types"]);
    assert_eq!(
        named("fn f(a: crate::env::Env) -> crate::types::Offset"),
        ["env", "types"]
    );
    assert_eq!(
        named("use crate::{api::{a, b}, net, types};"),
        ["api", "net", "types"]
    );
    assert!(named("use super::rows;").is_empty());
}

#[test]
fn rooms_touch_only_whom_they_may() {
    let mut found = Vec::new();
    for file in files("broker/src", ".rs") {
        let Some(room) = room(&file) else { continue };
        let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            found.push(format!("{}: room {room} is not in the table", file.path));
            continue;
        };
        // A list of several lines is read as one.
        let code: Vec<&str> = file.code().map(|(_, line)| line.trim()).collect();
        for touched in named(&code.join(" ")) {
            // Names of the crate itself, as in `crate::Broker`, are what `lib.rs` shows to all.
            let is_room = touched.starts_with(|c: char| c.is_lowercase());
            let leaf = LEAVES.contains(&touched) && !LEAVES.contains(&room);
            let leaf_of_leaf = LEAVES.contains(&room) && touched == "types";
            if is_room && touched != room && !leaf && !leaf_of_leaf && !may.contains(&touched) {
                found.push(format!(
                    "{}: room {room} may not touch room {touched}",
                    file.path
                ));
            }
        }
    }
    assert_none(found, "see \"Who may touch whom\" in docs/architecture.md:");
}

#[test]
fn only_the_courier_of_markers_touches_partitions() {
    let mut found = Vec::new();
    for file in files("broker/src/coordinator", ".rs") {
        for (number, line) in file.code() {
            let courier = file.path.ends_with("/txn/markers.rs") || file.is_test();
            if line.contains("crate::partition") && !courier {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert_none(found, "coordinators tell partitions through the courier:");
}

#[test]
fn nobody_but_the_root_and_the_api_changes_metadata() {
    let mut found = Vec::new();
    for file in files("broker/src", ".rs") {
        let may = ["api", "bridge", "broker", "metadata", "http"];
        if room(&file).is_some_and(|room| may.contains(&room)) {
            continue;
        }
        for (number, line) in file.code() {
            if line.contains("metadata::Controller") {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert_none(
        found,
        "rooms read the image; they do not hold its controller:",
    );
}

#[test]
fn pure_rooms_are_pure() {
    let mut found = Vec::new();
    let product = product();
    for pure in PURE {
        let mut any = false;
        for file in product.iter().filter(|file| file.path.starts_with(pure)) {
            any = true;
            if file.is_test() {
                continue;
            }
            for (number, line) in file.product_code() {
                for word in IMPURE {
                    if line.contains(word) {
                        found.push(format!("{}:{number}: {word}", file.path));
                    }
                }
            }
        }
        assert!(
            any,
            "{pure} is in the list of pure rooms and does not exist"
        );
    }
    assert_none(
        found,
        "a pure room waits for nothing and asks the machine nothing:",
    );
}

#[test]
fn storage_has_never_heard_of_kafka() {
    let mut found = Vec::new();
    let sources = files("storage", ".rs");
    for file in sources.iter().chain(&files("storage", "Cargo.toml")) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if line.to_ascii_lowercase().contains("kafka") {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    for file in &sources {
        for (number, line) in file.code() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let declares = words.any(|word| matches!(word, "struct" | "enum" | "trait"));
            let foreign = ["Topic", "Partition", "Consumer", "Producer"];
            if declares && foreign.iter().any(|name| line.contains(name)) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none(found, "storage is a log database under any broker:");
}

#[test]
fn the_codec_stays_behind_the_table() {
    let mut found = Vec::new();
    for file in files("broker/src", ".rs") {
        if CODEC.iter().any(|allowed| file.path.starts_with(allowed)) {
            continue;
        }
        for (number, line) in file.product_code() {
            if line.contains("kafka_protocol") && !file.is_test() {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert_none(
        found,
        "kafka_protocol is named only in api, bridge/client, net/frame and partition/batch:",
    );
}

#[test]
fn handlers_leave_the_store_alone() {
    let mut found = Vec::new();
    for file in files("broker/src/api", ".rs") {
        if file.is_test() {
            continue;
        }
        for (number, line) in file.product_code() {
            let storage =
                line.contains("trestle_storage::") && !line.contains("trestle_storage::Error");
            if storage || line.contains("rooms.store") {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert_none(
        found,
        "a handler speaks with the living rooms, which own what they store:",
    );
}

#[test]
fn files_can_be_held_in_the_head() {
    let mut found = Vec::new();
    let all = all();
    for file in &all {
        let lines = file.text.lines().count();
        let listed = LONGER.iter().find(|(path, _)| *path == file.path);
        let most = listed.map_or(MOST_LINES, |(_, lines)| *lines);
        if lines > most {
            found.push(format!("{}: {lines} lines, {most} allowed", file.path));
        }
    }
    for (path, _) in LONGER {
        let found = all.iter().find(|file| file.path == *path);
        let still = found.is_some_and(|file| file.text.lines().count() > MOST_LINES);
        assert!(still, "{path} is short enough now: take it off the list");
    }
    assert_none(found, "split at a seam:");
}

#[test]
fn names_say_what_is_inside() {
    let all = all();
    let empty = all.iter().filter(|file| {
        let parts = file.path.split(['/', '.']);
        parts.into_iter().any(|part| EMPTY_NAMES.contains(&part))
    });
    assert_none(
        empty.map(|file| file.path.clone()).collect(),
        "find the noun:",
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = all().into_iter().filter(|file| {
        let inner = file.stem() == "tests" || file.path.contains("/tests/it/scenarios/");
        let inner = inner || file.path.contains("/src/") && file.is_test();
        !inner && !file.text.starts_with("//!")
    });
    assert_none(
        silent.map(|file| file.path).collect(),
        "start the file with `//!`:",
    );
}

#[test]
fn nothing_is_left_for_later() {
    // In two pieces, so that this file does not find itself.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X:"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["dbg", "!("],
        // With a reason it is a test that needs a server or a parent process, and CI runs it.
        ["#[ig", "nore]"],
    ]
    .map(|pieces| pieces.concat());
    let mut found = Vec::new();
    for file in all() {
        for (number, line) in (1..).zip(file.text.lines()) {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none(found, "finish it, or write an issue:");
}

#[test]
fn tests_do_not_sleep() {
    // Where a test waits for a condition, it waits here, with a deadline.
    let waits = ["protocol-tests/src/wait.rs", "storage/tests/it/wait.rs"];
    let mut found = Vec::new();
    for file in all() {
        let tests = file.is_test()
            || file.path.starts_with("protocol-tests/")
            || file.text.contains("#[cfg(test)]");
        if !tests || waits.contains(&file.path.as_str()) {
            continue;
        }
        let product = match file.is_test() || file.path.starts_with("protocol-tests/") {
            true => 0,
            false => file.product_code().last().map_or(0, |(number, _)| number),
        };
        let sleeps = ["thread::sleep(", "time::sleep("];
        for (number, line) in file.code().filter(|(number, _)| *number > product) {
            if sleeps.iter().any(|sleep| line.contains(sleep)) && !line.contains("[\"") {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert_none(
        found,
        "wait for a condition with a deadline, or move the clock:",
    );
}

#[test]
fn every_api_has_its_line_and_its_file() {
    const SEEDS: &str = "broker/fuzz/targets/seeds.rs";
    let seeds = std::fs::read_to_string(workspace().join(SEEDS)).expect("the seeds of fuzzing");
    let handlers = files("broker/src/api", ".rs");
    let mut found = Vec::new();
    let mut lines = BTreeSet::new();
    for api in TABLE {
        let name = format!("{:?}", api.key);
        let (low, high) = (api.served_from, *api.versions.end());
        let versions = match low == high {
            true => format!("version {low}"),
            false => format!("versions {low}-{high}"),
        };
        let path = format!("broker/src/api/{}.rs", snake(&name));
        let header = format!("//! {name} ({}), {versions}", api.key as i16);
        let file = handlers.iter().find(|file| file.path == path);
        let rest = file.and_then(|file| file.text.strip_prefix(&header));
        if !rest.is_some_and(|rest| rest.starts_with(['.', ';', ' '])) {
            found.push(format!("{path} should start: {header}"));
        }
        let seed = format!(" {name} {name}Request,");
        if !seeds.contains(&seed) {
            found.push(format!("{SEEDS} should have a line:{seed}"));
        }
        lines.insert(path);
    }
    for file in &handlers {
        // An API's header starts with its name and its number.
        let first = file.text.lines().next().unwrap_or_default();
        let words: Vec<&str> = first.split_whitespace().take(3).collect();
        let is_api = words.len() == 3 && words[2].starts_with('(') && words[2].ends_with("),");
        if is_api && !lines.contains(&file.path) {
            found.push(format!("{} has no line", file.path));
        }
    }
    assert_none(
        found,
        "the table of APIs, the headers of their files and the seeds of fuzzing differ:",
    );
    assert!(
        TABLE
            .windows(2)
            .all(|pair| (pair[0].key as i16) < pair[1].key as i16),
        "the table is sorted by key"
    );
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[test]
fn the_map_shows_the_land() {
    let map = std::fs::read_to_string(workspace().join("docs/architecture.md")).expect("the map");
    let all = all();
    let mut found = Vec::new();
    for word in map.split('`').skip(1).step_by(2) {
        let is_path = !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || "_/.".contains(c));
        let exists = match is_path {
            true if word.ends_with(".rs") => all
                .iter()
                .any(|file| file.path == word || file.path.ends_with(&format!("/{word}"))),
            true if word.ends_with('/') => {
                let inside = format!("/{word}");
                all.iter()
                    .any(|file| format!("/{}", file.path).contains(&inside))
                    || workspace().join(word).is_dir()
            }
            _ => true,
        };
        if !exists {
            found.push(word.to_owned());
        }
    }
    for link in map
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        let path = link.split('#').next().unwrap_or(link);
        if !path.is_empty() && !workspace().join("docs").join(path).exists() {
            found.push(link.to_owned());
        }
    }
    assert_none(found, "docs/architecture.md names what does not exist:");
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let private = [["/ro", "ot/"], ["/wo", "rk/"], ["/ho", "me/"]].map(|pieces| pieces.concat());
    let mut found = Vec::new();
    let texts = ["broker", "storage", "protocol-tests", "compat", "docs"]
        .iter()
        .flat_map(|folder| [".rs", ".md", ".toml", ".py", ".sh"].map(|end| files(folder, end)));
    for file in texts.flatten() {
        for (number, line) in (1..).zip(file.text.lines()) {
            if private.iter().any(|path| line.contains(path)) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none(found, "no path of one machine belongs into the project:");
}
