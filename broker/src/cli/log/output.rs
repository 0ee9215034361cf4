//! Printing: text for people, a JSON object a line for programs.

use std::io::{BufWriter, Stdout, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Standard output in one of the two forms.
#[derive(Debug)]
pub(super) struct Output {
    out: BufWriter<Stdout>,
    json: bool,
}

/// Whoever read standard output does so no more, as `head` when it has enough.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output")]
pub(super) struct NobodyReads;

fn written(result: std::io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(NobodyReads.into()),
        other => Ok(other?),
    }
}

/// A base64 string as text, or as it is if it holds anything else.
pub(super) fn text(encoded: &Value) -> String {
    let Some(encoded) = encoded.as_str() else {
        return "-".into();
    };
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains(|c: char| c.is_control() && c != '\t') => text,
        _ => format!("base64:{encoded}"),
    }
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            out: BufWriter::new(std::io::stdout()),
            json,
        }
    }

    /// One line.
    pub(super) fn line(&mut self, json: &Value, text: &str) -> anyhow::Result<()> {
        match self.json {
            true => written(writeln!(self.out, "{json}"))?,
            false => written(writeln!(self.out, "{text}"))?,
        }
        self.flush()
    }

    /// A record.
    pub(super) fn record(&mut self, record: &Value) -> anyhow::Result<()> {
        if self.json {
            return self.line(record, "");
        }
        let mut line = format!("{}\t{}\t", record["sequence"], record["offset"]);
        let key = text(&record["key"]);
        line.push_str(&format!("{key}\t{}", text(&record["value"])));
        self.line(record, &line)
    }

    /// A table: a line for each of `items`, or a JSON object.
    pub(super) fn each(&mut self, items: &Value, columns: &[&str]) -> anyhow::Result<()> {
        let items = items.as_array().cloned().unwrap_or_default();
        if !self.json {
            written(writeln!(self.out, "{}", columns.join("\t")))?;
        }
        for item in items {
            let fields: Vec<String> = columns.iter().map(|name| item[name].to_string()).collect();
            self.line(&item, &fields.join("\t"))?;
        }
        self.flush()
    }

    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        written(self.out.flush())
    }
}
