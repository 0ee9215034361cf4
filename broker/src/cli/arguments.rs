//! The arguments of the command.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use trestle::config::{ConfigError, Origin, Settings};

const ABOUT: &str = "A Kafka-compatible broker on a log database: on disk, in memory or in S3.";

const EXAMPLES: &str = "\
Examples:
  trestle
      Kafka on 127.0.0.1:9092, data in ./trestle-data.
  trestle --data memory: --listen 127.0.0.1:0 --no-http
      A broker for one test run, on a free port. The line that starts with `ready` on standard
      output says which: ready kafka=127.0.0.1:40213 http=none
  trestle --listen 0.0.0.0:9092 --advertise broker.example.com:9092
      Reachable from other machines. Without --advertise each client is told the address it dialled.
  trestle --listen INSIDE://0.0.0.0:9092 --listen OUTSIDE://0.0.0.0:9094 \\
          --advertise OUTSIDE://broker.example.com:9094
      Two listeners, of which one is advertised under another address.
  trestle --data s3://my-bucket/kafka
      Data in S3; endpoint, region and credentials come from the usual AWS_ variables.
  trestle --config server.properties --set num.partitions=3
      The settings of a Kafka broker, and one more.

Settings keep Kafka's names and meanings; docs/config.md lists them. Flags are stronger than the
environment (TRESTLE_DATA, TRESTLE_LISTEN, ... and KAFKA_NUM_PARTITIONS for num.partitions), the
environment is stronger than the file, the file is stronger than the defaults.

Exit codes: 0 after SIGINT or SIGTERM, 1 after a failure, 2 for wrong usage.";

/// `trestle [serve] ...`.
#[derive(Debug, Parser)]
#[command(name = "trestle", version, about = ABOUT, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) serve: Serve,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the broker; the same as no command at all.
    #[command(after_help = EXAMPLES)]
    Serve(Serve),
    /// Append to, read and list the logs of a running broker, or read those of a store
    Log(super::log::LogArguments),
    /// Copy another Kafka cluster with its offsets, follow it, and prove the copy
    Bridge(super::bridge::BridgeArguments),
}

/// Arguments of `trestle serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where the data lie: memory:, file:PATH or s3://BUCKET/PREFIX
    /// [default: file:./trestle-data]
    #[arg(long, value_name = "URL")]
    data: Option<String>,

    /// Sync the disk before anything is acknowledged: true or false [default: true]
    #[arg(long, value_name = "BOOL")]
    fsync: Option<String>,

    /// Serve Kafka clients here; repeatable; port 0 takes a free one [default: 127.0.0.1:9092]
    #[arg(long, value_name = "[NAME://]HOST:PORT", action = ArgAction::Append)]
    listen: Vec<String>,

    /// Tell the clients of a listener to connect to this address; repeatable
    #[arg(long, value_name = "[NAME://]HOST:PORT", action = ArgAction::Append)]
    advertise: Vec<String>,

    /// Number of this broker, as clients see it [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    node_id: Option<String>,

    /// Identity of the cluster [default: made once and kept with the data]
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,

    /// Give any broker setting by Kafka's own name; repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", action = ArgAction::Append)]
    settings: Vec<String>,

    /// Read settings from a Kafka properties file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Serve health and metrics over HTTP here [default: 127.0.0.1:8080, if it is free]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "no_http")]
    http: Option<String>,

    /// Do not serve HTTP
    #[arg(long)]
    no_http: bool,

    /// Refuse topics with more replicas than there are brokers, as Kafka does
    #[arg(long)]
    strict_replication: bool,

    /// Serve what another broker writes to the same data, and write nothing
    #[arg(long)]
    read_only: bool,

    /// What to log, to standard error: error, warn, info, debug, trace, or a filter such as
    /// info,trestle::net=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,

    /// How to log: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Serve {
    /// Puts what was given into `settings`.
    pub(super) fn apply(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let mut give = |flag: &str, name: &str, value: &str| {
            settings.set(name, value, Origin::Flag(flag.to_owned()))
        };
        for pair in &self.settings {
            let (name, value) = pair.split_once('=').ok_or_else(|| ConfigError::BadValue {
                name: "--set".into(),
                value: pair.clone(),
                remedy: "give NAME=VALUE, as --set num.partitions=3".into(),
            })?;
            give("--set", name.trim(), value)?;
        }
        let texts = [
            ("--data", "trestle.data", &self.data),
            ("--fsync", "trestle.fsync", &self.fsync),
            ("--node-id", "node.id", &self.node_id),
            ("--cluster-id", "cluster.id", &self.cluster_id),
            ("--http", "trestle.http", &self.http),
            ("--log", "trestle.log", &self.log),
            ("--log-format", "trestle.log.format", &self.log_format),
        ];
        for (flag, name, value) in texts {
            if let Some(value) = value {
                give(flag, name, value)?;
            }
        }
        let lists = [
            ("--listen", "listeners", &self.listen),
            ("--advertise", "advertised.listeners", &self.advertise),
        ];
        for (flag, name, values) in lists {
            if !values.is_empty() {
                give(flag, name, &values.join(","))?;
            }
        }
        if self.no_http {
            give("--no-http", "trestle.http", "none")?;
        }
        if self.read_only {
            give("--read-only", "trestle.read.only", "true")?;
        }
        if self.strict_replication {
            give("--strict-replication", "trestle.strict.replication", "true")?;
        }
        Ok(())
    }
}
