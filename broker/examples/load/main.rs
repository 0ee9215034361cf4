//! A load generator over TCP, and the bench of the broker: each measure starts a broker of its own,
//! loads it, and prints the figure beside its target, with the broker's CPU, memory and writes.
//!
//! `cargo build --release --bin trestle && cargo run --release -p trestle --example load` runs every measure;
//! names after `--` pick some. A raw append of the same bytes to a file is measured in the same run,
//! as the yardstick of what the disk gives.
//!
//! It speaks Kafka by itself and shares no code with the broker, so that neither can hide the
//! other's mistakes, and so that it costs little: the cores are shared with the broker. Only what is
//! measured without a connection (assignors, the coordinator alone) is the broker's code, called here.

// A load generator stands outside of the broker's world of passed-in time and files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod against;
mod broker;
mod measures;
mod report;
mod wire;
mod yardstick;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

/// Measures a Trestle broker over TCP and prints each figure beside its target.
#[derive(Parser, Clone)]
struct Options {
    /// Measures to run, by name (see --list); none: all of them
    measures: Vec<String>,

    /// List the measures and stop
    #[arg(long)]
    list: bool,

    /// The broker's binary; unset, the `trestle` that lies beside this example's directory
    #[arg(long, env = "TRESTLE_BIN")]
    broker: Option<PathBuf>,

    /// Where data directories are made and removed; a real disk, not a tmpfs
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,

    /// Divides every amount of work: 10 is a quick look, 1 the figures to publish
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    divide: u64,

    /// Print JSON lines instead of a table
    #[arg(long)]
    json: bool,

    /// Do something to the broker at HOST:PORT, of whatever kind, instead: the names are those of drivers
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<String>,

    #[command(flatten)]
    shape: against::Shape,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    if options.list {
        for measure in measures::ALL {
            println!("{:<14}{}", measure.name, measure.about);
        }
        println!("\nDrivers, with --against:");
        for driver in against::ALL {
            println!("{:<14}{}", driver.name, driver.about);
        }
        return Ok(());
    }
    if let Some(address) = options.against {
        let shape = options.shape;
        return drive(&against::Target { address, shape }, &options.measures).await;
    }
    for name in &options.measures {
        if !measures::ALL.iter().any(|measure| measure.name == name) {
            bail!("unknown measure '{name}': --list shows them");
        }
    }
    let bench = measures::Bench {
        binary: broker::binary(options.broker)?,
        dir: options.dir,
        divide: options.divide,
    };
    let mut report = report::Report::new(options.json);
    report.machine();
    for measure in measures::ALL {
        if options.measures.is_empty() || options.measures.iter().any(|name| name == measure.name) {
            (measure.run)(&bench, &mut report).await?;
        }
    }
    report.finish();
    Ok(())
}

async fn drive(target: &against::Target, names: &[String]) -> Result<()> {
    for name in names {
        match against::ALL.iter().find(|driver| driver.name == name) {
            Some(driver) => (driver.run)(target).await?,
            None => bail!("unknown driver '{name}': --list shows them"),
        }
    }
    Ok(())
}
