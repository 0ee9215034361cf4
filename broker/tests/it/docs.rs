//! The documents that are generated from the code, and whether they are fresh.
//!
//! `UPDATE_DOCS=1` writes them anew.

use trestle::api::TABLE;

use crate::source::{files, workspace};

fn check(name: &str, fresh: &str) {
    let path = workspace().join("docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(workspace().join("docs")).expect("a folder for the documents");
        std::fs::write(&path, fresh).expect("a document that can be written");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == fresh,
        "docs/{name} is stale; run: UPDATE_DOCS=1 cargo test -p trestle docs"
    );
}

#[test]
fn settings_are_documented() {
    check("config.md", &trestle::config::reference());
}

#[test]
fn metrics_are_documented() {
    check("metrics.md", &trestle::metrics::reference());
}

/// The table of APIs, and what each file says of its API.
#[test]
fn apis_are_documented() {
    let handlers = files("broker/src/api", ".rs");
    let mut page = String::from(
        "# Which Kafka APIs are served\n\n\
         <!-- Generated from the table in broker/src/api/mod.rs and the headers of the files beside \
         it. -->\n\n\
         | Key | API | Versions |\n|---:|---|---|\n",
    );
    let mut notes = String::new();
    for api in TABLE {
        let name = format!("{:?}", api.key);
        let (low, high) = api.versions.clone().into_inner();
        let mut versions = match low == high {
            true => low.to_string(),
            false => format!("{low}-{high}"),
        };
        if api.served_from != low {
            versions += &format!(" (served from {})", api.served_from);
        }
        let key = api.key as i16;
        page += &format!(
            "| {key} | [{name}](#{}) | {versions} |\n",
            name.to_lowercase()
        );
        let header = format!("//! {name} ({key}), version");
        let file = handlers
            .iter()
            .find(|file| file.text.starts_with(&header))
            .unwrap_or_else(|| panic!("no file of broker/src/api starts with: {header}"));
        notes += &format!("\n## {name}\n");
        let lines = file.text.lines().map_while(|line| line.strip_prefix("//!"));
        for line in lines.skip(1) {
            notes += line.strip_prefix(' ').unwrap_or(line);
            notes.push('\n');
        }
    }
    check("api-support.md", &(page + &notes));
}
