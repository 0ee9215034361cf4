//! `trestle bridge`: copies another cluster into a running broker, from the command line. Only `plan`
//! works without a broker.

mod show;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use trestle::Config;
use trestle::bridge::client::{Client as Source, Properties};
use trestle::bridge::{DEFAULT_NAME, parse_rate, plan, select::Selection};
use trestle::config::Settings;
use trestle::env::Env;

use super::log::client::{Client, ServerArgument};

/// How often a progress display is renewed.
const RENEW: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  trestle bridge plan --from kafka:9092
  trestle bridge plan --from kafka:9093 --config client.properties --json
  trestle bridge run --from kafka:9092 'orders.*' clicks --exclude '.*[.]tmp' --limit 50MB/s
  trestle bridge status
  trestle bridge verify orders
  trestle bridge promote orders --quiet 10s

Topics are names, or regular expressions that match the whole name; without any, all are meant but the
source's own. The source is only read. docs/bridge.md shows a migration from start to finish.

Exit codes: 0 when it was done, for verify only if everything is equal; 1 if not, 2 for wrong usage.";

/// `trestle bridge ...`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BridgeArguments {
    #[command(flatten)]
    server: ServerArgument,

    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: BridgeCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum BridgeCommand {
    /// Show what a copy would come to; reads the source and needs no broker
    Plan {
        #[command(flatten)]
        source: SourceArguments,
        /// Reckon the time with so many bytes a second
        #[arg(long, value_name = "RATE", default_value = "100MB/s")]
        limit: String,
    },
    /// Copy topics and follow them; run again to change the topics or the limit, or to try again
    Run {
        #[command(flatten)]
        source: SourceArguments,
        /// Copy at most so many bytes a second, as 50MB/s
        #[arg(long, value_name = "RATE")]
        limit: Option<String>,
        #[command(flatten)]
        job: JobArgument,
    },
    /// Have a job rest; run goes on
    Pause {
        #[command(flatten)]
        job: JobArgument,
    },
    /// Show how far the jobs are
    Status {
        /// Show one job
        #[arg(long, value_name = "NAME")]
        job: Option<String>,
        /// Show every partition
        #[arg(long)]
        partitions: bool,
        /// Renew the display every second
        #[arg(long)]
        watch: bool,
    },
    /// Compare the copies with their sources; exits with 0 only if they are equal
    Verify {
        /// The topics; all of the job without any
        topics: Vec<String>,
        /// Write the report (JSON) to this file
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        #[command(flatten)]
        job: JobArgument,
    },
    /// Make copies topics that clients write, once the source is quiet and everything is here
    Promote {
        /// The topics
        #[arg(required = true)]
        topics: Vec<String>,
        /// How long the source must not have been written, as 10s
        #[arg(long, value_name = "TIME", default_value = "10s")]
        quiet: String,
        /// How long to wait for that
        #[arg(long, value_name = "TIME", default_value = "60s")]
        wait: String,
        /// Abort transactions that are open, here only
        #[arg(long)]
        abort_open: bool,
        /// Promote although the source is written or cannot be reached; what is not here stays there
        #[arg(long)]
        force: bool,
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        job: JobArgument,
    },
}

/// Where to copy from, and what.
#[derive(Debug, Args)]
struct SourceArguments {
    /// Names of topics, or regular expressions
    topics: Vec<String>,
    /// Addresses of the source, comma-separated; else bootstrap.servers of --config
    #[arg(long, value_name = "HOST:PORT")]
    from: Option<String>,
    /// A Kafka client's properties file: TLS, SASL, client.id. Of run it is read by the broker, on its
    /// machine, at each start
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Leave these topics out; a name or a regular expression; repeatable
    #[arg(long, value_name = "TOPIC")]
    exclude: Vec<String>,
}

/// Which job.
#[derive(Debug, Args)]
struct JobArgument {
    /// The job
    #[arg(long = "job", value_name = "NAME", default_value = DEFAULT_NAME)]
    name: String,
}

/// Does what the arguments say.
pub(crate) fn run(arguments: BridgeArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a thread")?;
    runtime.block_on(dispatch(arguments))
}

async fn dispatch(arguments: BridgeArguments) -> anyhow::Result<()> {
    let BridgeArguments {
        server,
        json,
        command,
    } = arguments;
    let client = Client::new(&server.server)?;
    match command {
        BridgeCommand::Plan { source, limit } => plan_of(&source, &limit, json).await,
        BridgeCommand::Run { source, limit, job } => {
            let config = match &source.config {
                Some(path) => {
                    let path = std::path::absolute(path).context("--config")?;
                    Some(path.display().to_string())
                }
                None => None,
            };
            let mut body = json!({
                "job": job.name, "topics": source.topics, "exclude": source.exclude,
                "limit": limit, "config": config,
            });
            body["from"] = source.from.unwrap_or_default().into();
            let answer = client.post_json("/api/v1/bridge/run", &body).await?;
            print(json, &answer, || {
                format!(
                    "job {} runs; trestle bridge status shows how far it is, trestle bridge verify \
                     proves the copy",
                    job.name
                )
            })
        }
        BridgeCommand::Pause { job } => {
            let body = json!({ "job": job.name });
            let answer = client.post_json("/api/v1/bridge/pause", &body).await?;
            print(json, &answer, || {
                format!("job {} rests; trestle bridge run goes on", job.name)
            })
        }
        BridgeCommand::Status {
            job,
            partitions,
            watch,
        } => status(&client, job.as_deref(), partitions, watch, json).await,
        BridgeCommand::Verify {
            topics,
            report,
            job,
        } => verify(&client, &topics, report, &job.name, json).await,
        BridgeCommand::Promote {
            topics,
            quiet,
            wait,
            abort_open,
            force,
            dry_run,
            job,
        } => {
            let body = json!({
                "job": job.name, "topics": topics, "abort_open": abort_open, "force": force,
                "dry_run": dry_run, "quiet_ms": millis("--quiet", &quiet)?,
                "wait_ms": millis("--wait", &wait)?,
            });
            let answer = client.post_json("/api/v1/bridge/promote", &body).await?;
            print(json, &answer, || show::promotion(&answer))
        }
    }
}

fn print(json: bool, value: &Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let line = match json {
        true => value.to_string(),
        false => text(),
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// Milliseconds in `text`: `10s`, `500ms`, `2m`.
fn millis(flag: &str, text: &str) -> anyhow::Result<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => bail!("{flag} {text}: give a time as 10s, 500ms or 2m"),
    };
    let number: u64 = number.parse().with_context(|| format!("{flag} {text}"))?;
    Ok(number.saturating_mul(factor))
}

#[expect(clippy::disallowed_methods, reason = "a file that the user names")]
fn read_file(path: &PathBuf) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

async fn plan_of(source: &SourceArguments, limit: &str, json: bool) -> anyhow::Result<()> {
    let rate = parse_rate(limit).with_context(|| format!("--limit {limit}: as 50MB/s"))?;
    let properties = match &source.config {
        Some(path) => Properties::parse(&read_file(path)?)?,
        None => Properties::default(),
    };
    let from = source.from.clone().or_else(|| properties.bootstrap.clone());
    let from = from.context("the source is missing: give --from HOST:PORT")?;
    let selection = Selection::new(&source.topics, &source.exclude)?;
    let mut client = Source::new(Env::system(), &from, properties);
    let found = plan::gather(&mut client, &selection).await?;
    let config = Config::load(Settings::default())?;
    let plan = plan::judge(&found, &config, rate, |_| false);
    let value = serde_json::to_value(&plan)?;
    print(json, &value, || show::plan(&plan, limit))
}

async fn status(
    client: &Client<'_>,
    job: Option<&str>,
    partitions: bool,
    watch: bool,
    json: bool,
) -> anyhow::Result<()> {
    let path = match job {
        Some(job) => format!("/api/v1/bridge/status?job={job}"),
        None => "/api/v1/bridge/status".into(),
    };
    let env = Env::system();
    let terminal = std::io::stdout().is_terminal();
    loop {
        let answer = client.get_json(&path).await?;
        if watch && terminal && !json {
            // To the top, and away with what was there.
            print!("\x1b[H\x1b[2J");
        }
        print(json, &answer, || show::status(&answer, partitions))?;
        if !watch {
            return Ok(());
        }
        env.sleep(RENEW).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a file that the user names")]
fn write_file(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

async fn verify(
    client: &Client<'_>,
    topics: &[String],
    report: Option<PathBuf>,
    job: &str,
    json: bool,
) -> anyhow::Result<()> {
    let body = json!({ "job": job, "topics": topics });
    let answer = client.post_json("/api/v1/bridge/verify", &body).await?;
    if let Some(path) = report {
        write_file(&path, &serde_json::to_string_pretty(&answer)?)?;
    }
    print(json, &answer, || show::verification(&answer))?;
    match answer["equal"].as_bool() {
        Some(true) => Ok(()),
        _ => bail!("the copy is not equal to its source"),
    }
}
