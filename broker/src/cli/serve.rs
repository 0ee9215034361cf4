//! `trestle serve`: a broker from start to the signal that ends it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use trestle::env::Env;
use trestle::{Broker, Config};

/// How long open requests and the store may take to finish after a signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs a broker until it is told to stop.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("trestle")
        .build()
        .context("cannot start threads")?;
    let served = runtime.block_on(serve(config));
    // What has not ended by now is not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let env = Env::system();
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let unused: Vec<&str> = config.settings.unused().collect();
    if !unused.is_empty() {
        tracing::info!(
            "settings that Kafka knows and Trestle has no use for: {}",
            unused.join(", ")
        );
    }
    let broker = tokio::select! {
        broker = Broker::start(config.clone(), env.clone()) => broker?,
        name = signals.next() => bail!("{name} before the broker had started"),
    };
    announce(&config, &broker).context("cannot write to standard output")?;
    let failed = tokio::select! {
        name = signals.next() => {
            tracing::info!("{name}: closing; another one exits at once");
            false
        }
        () = broker.failed() => true,
    };
    tokio::select! {
        () = broker.stop() => {}
        () = env.sleep(DRAIN) => bail!("not everything was closed within {} s", DRAIN.as_secs()),
        name = signals.next() => bail!("{name} again: not everything was closed"),
    }
    if failed {
        bail!("the broker could not go on; the log says why");
    }
    tracing::info!("closed");
    Ok(())
}

/// Says what runs where: to people in the log, and to scripts in one line on standard output.
fn announce(config: &Config, broker: &Broker) -> anyhow::Result<()> {
    let kafka: Vec<String> = broker
        .listeners()
        .iter()
        .map(|listener| listener.address.to_string())
        .collect();
    let http = broker
        .http_address()
        .map_or("none".to_owned(), |address| address.to_string());
    let kafka = kafka.join(",");
    tracing::info!("{}", block(config, broker, &http));
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready kafka={kafka} http={http}")?;
    out.flush()?;
    Ok(())
}

fn block(config: &Config, broker: &Broker, http: &str) -> String {
    let mut block = format!("trestle {} is ready\n", env!("CARGO_PKG_VERSION"));
    for listener in broker.listeners() {
        let told = match listener.advertised.as_deref() {
            Some((host, port)) => format!("clients are told {host}:{port}"),
            None => "clients are told the address they dialled".into(),
        };
        let _ = writeln!(
            block,
            "  {:<10} {}, {told}",
            listener.name, listener.address
        );
    }
    let _ = writeln!(block, "  {:<10} {http}", "HTTP");
    let _ = write!(block, "  {:<10} {}", "data", config.storage.data);
    let recovered = broker.recovered();
    let _ = match recovered.created {
        true => write!(block, ", new"),
        false => write!(block, ", {} rows replayed", recovered.replayed_rows),
    };
    if recovered.torn_bytes > 0 {
        let _ = write!(
            block,
            ", {} bytes of an unfinished write cut off",
            recovered.torn_bytes
        );
    }
    block
}

/// The signals that end the broker.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
