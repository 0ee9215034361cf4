//! `trestle log`: the log database of a running broker, or of a store that is only read, from the
//! command line.

pub(in crate::cli) mod client;
mod output;

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use trestle::Config;
use trestle::broker::Visit;
use trestle::config::{Origin, Settings};
use trestle::env::Env;

use client::{Answer, Client, ServerArgument};
use output::{NobodyReads, Output};

/// Lines of standard input that go into one append.
const LINES: usize = 1000;
/// Keys asked for at a time.
const KEYS: usize = 1000;
/// How often progress is shown, in records.
const PROGRESS: u64 = 1000;

const EXAMPLES: &str = "\
Examples:
  trestle log append orders 'first order'
  seq 1000 | trestle log append numbers
  trestle log scan orders --limit 10
  trestle log tail orders --json | jq -r '.value|@base64d'
  trestle log keys --prefix tenant:
  trestle log scan orders --data file:trestle-data --json > orders.ndjson
  trestle log clone file:/srv/copy

A key is a topic (its partition 0), TOPIC/PARTITION, or any other text, which is a log of its own.
Text goes to people: sequence, offset and value. --json gives a JSON object a line, with bytes as
base64; docs/http-api.md explains its fields.";

/// `trestle log ...`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogArguments {
    #[command(flatten)]
    server: ServerArgument,

    /// Read a store itself instead, whether or not a broker serves it; nothing is locked or written
    #[arg(long, global = true, value_name = "URL", conflicts_with = "server")]
    data: Option<String>,

    /// Print a JSON object a line, for programs
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: LogCommand,
}

/// What to do with the log database.
#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Append values, or the lines of standard input; prints the sequence of the first
    Append {
        /// The log
        key: String,
        /// What to append
        values: Vec<String>,
    },
    /// Print the records of a key, or of all keys with a prefix
    Scan {
        #[command(flatten)]
        range: Range,
        /// Print at most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Print the records of a key, and those to come
    Tail {
        #[command(flatten)]
        range: Range,
    },
    /// List keys that have records
    Keys {
        /// Only keys that start so
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<String>,
    },
    /// List segments
    Segments,
    /// Count the records of a key
    Count {
        #[command(flatten)]
        range: Range,
    },
    /// Show what the segments hold of a key
    Inspect {
        #[command(flatten)]
        range: Range,
    },
    /// Show what files the store consists of
    Tree,
    /// Make, list or delete checkpoints of the store
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Make a store of its own that begins with what this one holds; no data are copied
    Clone {
        /// Where: file:PATH of a directory that does not exist, or s3://BUCKET/PREFIX
        target: String,
        /// What the store held at this checkpoint, instead of now
        #[arg(long, value_name = "ID")]
        checkpoint: Option<String>,
    },
}

/// What to do with checkpoints.
#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// Make one of what is stored now
    Create {
        /// What to call it
        name: Option<String>,
        /// When it goes by itself, in milliseconds from now
        #[arg(long, value_name = "MS")]
        lifetime_ms: Option<u64>,
    },
    /// List them
    List,
    /// Delete one
    Delete {
        /// Its id
        id: String,
    },
}

/// Which records.
#[derive(Debug, Args)]
struct Range {
    /// The log
    #[arg(required_unless_present = "prefix")]
    key: Option<String>,
    /// All logs whose key starts so, in the order of sequences
    #[arg(long, value_name = "PREFIX", conflicts_with = "key")]
    prefix: Option<String>,
    /// First sequence
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// One past the last sequence
    #[arg(long, value_name = "SEQUENCE")]
    to: Option<u64>,
}

impl Range {
    fn query(&self) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let mut query = match (&self.key, &self.prefix) {
            (Some(key), _) => format!("key_base64={}", encode(key)),
            (None, Some(prefix)) => format!("prefix_base64={}", encode(prefix)),
            (None, None) => String::new(),
        };
        for (name, number) in [("start_seq", self.from), ("end_seq", self.to)] {
            if let Some(number) = number {
                query.push_str(&format!("&{name}={number}"));
            }
        }
        query
    }
}

/// Does what the arguments say.
pub(crate) fn run(arguments: LogArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a thread")?;
    match runtime.block_on(dispatch(arguments)) {
        // No reason to fail: there is nobody left to tell.
        Err(error) if error.is::<NobodyReads>() => Ok(()),
        done => done,
    }
}

async fn dispatch(arguments: LogArguments) -> anyhow::Result<()> {
    let mut out = Output::new(arguments.json);
    let Some(data) = &arguments.data else {
        let client = Client::new(&arguments.server.server)?;
        return execute(&client, &mut out, arguments.command).await;
    };
    let visit = visit(data).await?;
    let client = Client::within(&visit);
    let done = execute(&client, &mut out, arguments.command).await;
    visit.end().await;
    done
}

/// The store at `data`, opened for reading.
async fn visit(data: &str) -> anyhow::Result<Visit> {
    let mut settings = Settings::default();
    for (name, value) in [("trestle.data", data), ("trestle.read.only", "true")] {
        settings.set(name, value, Origin::Flag("--data".into()))?;
    }
    Visit::open(Config::load(settings)?, Env::system()).await
}

async fn execute(client: &Client<'_>, out: &mut Output, command: LogCommand) -> anyhow::Result<()> {
    match command {
        LogCommand::Append { key, values } => append(client, out, &key, values).await,
        LogCommand::Scan { range, limit } => {
            let limit = limit.map_or(String::new(), |limit| format!("&limit={limit}"));
            let query = format!("{}{limit}", range.query());
            let progress = match (shows_progress(), &range.key) {
                (true, Some(_)) if limit.is_empty() => Progress::Of(count(client, &range).await?),
                (true, _) => Progress::Count,
                (false, _) => Progress::None,
            };
            stream(client, out, &query, progress).await
        }
        LogCommand::Tail { range } => {
            stream(
                client,
                out,
                &format!("{}&follow=true", range.query()),
                Progress::None,
            )
            .await
        }
        LogCommand::Keys { prefix } => keys(client, out, prefix.as_deref()).await,
        LogCommand::Segments => {
            let answer = client.get_json("/api/v1/log/segments").await?;
            out.each(&answer["segments"], &["id", "startSeq", "startTimeMs"])
        }
        LogCommand::Count { range } => {
            let count = count(client, &range).await?;
            out.line(&json!({ "count": count }), &count.to_string())
        }
        LogCommand::Inspect { range } => {
            let path = format!("/api/v1/log/inspect?{}", range.query());
            let answer = client.get_json(&path).await?;
            let columns = [
                "segmentId",
                "firstSequence",
                "firstOffset",
                "count",
                "bytes",
            ];
            out.each(&answer["segments"], &columns)
        }
        LogCommand::Tree => {
            let answer = client.get_json("/api/v1/log/tree").await?;
            let columns = ["segmentId", "l0Files", "l0Bytes", "runs", "runBytes"];
            out.each(&answer["segments"], &columns)
        }
        LogCommand::Checkpoint(command) => checkpoint(client, out, command).await,
        LogCommand::Clone { target, checkpoint } => {
            let target = absolute(&target)?;
            let mut path = format!("/api/v1/clones?target={}", percent_encoded(&target));
            if let Some(checkpoint) = checkpoint {
                path.push_str(&format!("&checkpoint={}", percent_encoded(&checkpoint)));
            }
            let answer = client.post_json(&path, &json!({})).await?;
            out.line(&answer, &target)
        }
    }
}

/// The URL of a store with its path made absolute, for the broker may work elsewhere.
fn absolute(url: &str) -> anyhow::Result<String> {
    let Some(path) = url.strip_prefix("file:") else {
        return Ok(url.to_owned());
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = std::path::absolute(path).with_context(|| format!("{url} names no directory"))?;
    Ok(format!("file:{}", path.display()))
}

/// What is shown to somebody who waits for a scan.
#[derive(Clone, Copy, Debug)]
enum Progress {
    None,
    Count,
    Of(u64),
}

impl Progress {
    fn show(self, done: u64) {
        match self {
            Self::None => {}
            Self::Count => eprint!("\r{done} records"),
            Self::Of(total) => eprint!("\r{done} of {total} records"),
        }
    }
}

async fn checkpoint(
    client: &Client<'_>,
    out: &mut Output,
    command: CheckpointCommand,
) -> anyhow::Result<()> {
    const PATH: &str = "/api/v1/checkpoints";
    match command {
        CheckpointCommand::Create { name, lifetime_ms } => {
            let mut path = format!("{PATH}?");
            if let Some(name) = name {
                path.push_str(&format!("name={}&", percent_encoded(&name)));
            }
            if let Some(lifetime_ms) = lifetime_ms {
                path.push_str(&format!("lifetime_ms={lifetime_ms}"));
            }
            let answer = client.post_json(&path, &json!({})).await?;
            let made = &answer["checkpoint"];
            out.line(made, made["id"].as_str().unwrap_or_default())
        }
        CheckpointCommand::List => {
            let answer = client.get_json(PATH).await?;
            let columns = ["id", "name", "createTimeMs", "expireTimeMs"];
            out.each(&answer["checkpoints"], &columns)
        }
        CheckpointCommand::Delete { id } => {
            let path = format!("{PATH}?id={}", percent_encoded(&id));
            client.delete(&path).await
        }
    }
}

fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02x}"),
    });
    encoded.collect()
}

/// Whether somebody sees standard error while the records go elsewhere.
fn shows_progress() -> bool {
    std::io::stderr().is_terminal() && !std::io::stdout().is_terminal()
}

async fn count(client: &Client<'_>, range: &Range) -> anyhow::Result<u64> {
    if range.key.is_none() {
        bail!("give a key: records are counted log by log");
    }
    let answer = client
        .get_json(&format!("/api/v1/log/count?{}", range.query()))
        .await?;
    answer["count"].as_u64().context("the answer has no count")
}

async fn append(
    client: &Client<'_>,
    out: &mut Output,
    key: &str,
    values: Vec<String>,
) -> anyhow::Result<()> {
    if !values.is_empty() {
        return append_batch(client, out, key, &values).await;
    }
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let batch: Vec<String> = lines.by_ref().take(LINES).collect::<Result<_, _>>()?;
        if batch.is_empty() {
            return Ok(());
        }
        append_batch(client, out, key, &batch).await?;
    }
}

async fn append_batch(
    client: &Client<'_>,
    out: &mut Output,
    key: &str,
    values: &[String],
) -> anyhow::Result<()> {
    let key = STANDARD.encode(key);
    let records = values.iter();
    let records = records.map(|value| json!({ "key": key, "value": STANDARD.encode(value) }));
    let body = json!({ "records": records.collect::<Vec<_>>(), "awaitDurable": true });
    let answer = client.post_json("/api/v1/log/append", &body).await?;
    let start = answer["startSequence"].to_string();
    out.line(&answer, &start)
}

async fn stream(
    client: &Client<'_>,
    out: &mut Output,
    query: &str,
    progress: Progress,
) -> anyhow::Result<()> {
    let path = format!("/api/v1/log/scan?{query}");
    let mut answer: Answer = client.get(&path, "application/x-ndjson").await?;
    let mut done = 0;
    while let Some(line) = answer.line().await? {
        // An empty line says that the broker is there.
        if line.is_empty() {
            continue;
        }
        let record: Value = serde_json::from_str(&line).context("a record that is not JSON")?;
        out.record(&record)?;
        done += 1;
        if done % PROGRESS == 0 {
            progress.show(done);
        }
    }
    if done >= PROGRESS && !matches!(progress, Progress::None) {
        progress.show(done);
        eprintln!();
    }
    out.flush()
}

async fn keys(client: &Client<'_>, out: &mut Output, prefix: Option<&str>) -> anyhow::Result<()> {
    let prefix = prefix.map_or(String::new(), |prefix| {
        format!("&prefix_base64={}", URL_SAFE_NO_PAD.encode(prefix))
    });
    let mut token = String::new();
    loop {
        let path = format!("/api/v1/log/keys?limit={KEYS}{prefix}{token}");
        let page = client.get_json(&path).await?;
        for key in page["keys"].as_array().into_iter().flatten() {
            let text = output::text(&key["key"]);
            out.line(key, &text)?;
        }
        match page["continuation"].as_str() {
            Some(next) => token = format!("&continuation={next}"),
            None => break,
        }
    }
    out.flush()
}
