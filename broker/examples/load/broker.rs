//! A broker as a child process, and what the kernel says about it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Clock ticks a second of /proc/PID/stat; 100 on every Linux there is.
const TICKS_A_SECOND: f64 = 100.0;

/// The broker's binary: the one named, else the `trestle` of the same build profile.
pub(crate) fn binary(named: Option<PathBuf>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path,
        None => {
            let own = std::env::current_exe()?;
            own.ancestors()
                .nth(2)
                .context("this example lies in no target directory")?
                .join("trestle")
        }
    };
    if !path.is_file() {
        bail!(
            "no broker at {}: run `cargo build --release --bin trestle` first, or set --broker",
            path.display()
        );
    }
    Ok(path)
}

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: String,
    /// Empty without HTTP.
    pub(crate) http: String,
    pub(crate) started: Instant,
    data: Option<PathBuf>,
}

impl Broker {
    /// Starts a broker on a free port and waits for its `ready` line.
    pub(crate) fn start(binary: &Path, data: &Data, more: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary);
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn",
                "--data",
                &data.url(),
            ])
            .args(more);
        if !more.contains(&"--http") {
            command.arg("--no-http");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut stdout = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let mut line = String::new();
        let (address, http) = loop {
            line.clear();
            if stdout.read_line(&mut line)? == 0 {
                let status = child.wait()?;
                bail!("the broker ended before it was ready ({status})");
            }
            if let Some(rest) = line.strip_prefix("ready kafka=") {
                let first = |text: &str| {
                    let end = text.find([',', ' ', '\n']).unwrap_or(text.len());
                    text[..end].to_owned()
                };
                let http = rest.split_once("http=").map(|(_, http)| first(http));
                break (first(rest), http.unwrap_or_default());
            }
        };
        let data = match data {
            Data::Memory => None,
            Data::Directory(path) => Some(path.clone()),
        };
        Ok(Self {
            child,
            stdout,
            address,
            http,
            started,
            data,
        })
    }

    /// A clean stop (SIGTERM); data stay.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let mut rest = String::new();
        while self.stdout.read_line(&mut rest)? > 0 {}
        let status = self.child.wait()?;
        self.data = None;
        if !status.success() {
            bail!("the broker stopped with {status}");
        }
        Ok(())
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        let text = self.proc(file);
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.split_whitespace()
            .nth(1)
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }

    /// User and system time so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = |at: usize| {
            after_name
                .split_whitespace()
                .nth(at)
                .and_then(|t| t.parse::<f64>().ok())
                .unwrap_or_default()
        };
        (ticks(11) + ticks(12)) / TICKS_A_SECOND
    }

    /// Resident memory now, in megabytes (10^6).
    pub(crate) fn resident_mb(&self) -> f64 {
        self.field("status", "VmRSS:") as f64 * 1024.0 / 1e6
    }

    /// The most resident memory so far, in megabytes (10^6).
    pub(crate) fn peak_mb(&self) -> f64 {
        self.field("status", "VmHWM:") as f64 * 1024.0 / 1e6
    }

    /// Bytes sent towards the disk so far. Not `wchar`, which counts a wake-up of a thread as a write.
    pub(crate) fn disk_bytes_written(&self) -> u64 {
        self.field("io", "write_bytes:")
    }

    /// Bytes that read calls returned so far; what comes from sockets is not counted.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.field("io", "rchar:")
    }

    pub(crate) fn since_start(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(data) = &self.data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

/// Where a broker keeps its records.
pub(crate) enum Data {
    Memory,
    Directory(PathBuf),
}

impl Data {
    /// A directory that is not there yet. A broker that is dropped removes it, one that is stopped
    /// leaves it.
    pub(crate) fn fresh(within: &Path) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self::Directory(within.join(format!("trestle-load-{}-{number}", std::process::id())))
    }

    fn url(&self) -> String {
        match self {
            Self::Memory => "memory:".to_owned(),
            Self::Directory(path) => format!("file:{}", path.display()),
        }
    }
}
