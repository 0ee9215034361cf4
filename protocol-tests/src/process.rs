//! A Trestle of our own: the real binary as a child process, ended when the handle is dropped.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::wait::wait_for;

/// A running broker process and where it listens.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Kept open: a broker that prints to a closed pipe would fail.
    _stdout: BufReader<ChildStdout>,
    log: TempDir,
    /// Kafka addresses, `HOST:PORT`, in the order of its listeners.
    pub(crate) addresses: Vec<String>,
    /// Where it serves HTTP, or `none`.
    pub(crate) http: String,
}

impl Process {
    /// Starts the broker with these arguments and waits for its `ready` line.
    pub(crate) fn start(arguments: &[String]) -> Self {
        Self::launch(Command::new(binary()), arguments)
    }

    /// The same with more environment variables.
    pub(crate) fn start_with(variables: &[(&str, &str)], arguments: &[String]) -> Self {
        let mut command = Command::new(binary());
        command.envs(variables.iter().copied());
        Self::launch(command, arguments)
    }

    /// The same on a disk of its own: `size_mib` of memory mounted at `path`, which only this process
    /// sees ([`Process::inside`]).
    pub(crate) fn start_on_small_disk(path: &Path, size_mib: usize, arguments: &[String]) -> Self {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-ec"])
            .arg("mount -t tmpfs -o size=$1m none \"$2\"; shift 2; exec \"$@\"")
            .args(["sh", &size_mib.to_string()])
            .arg(path)
            .arg(binary());
        Self::launch(command, arguments)
    }

    /// Whether this machine lets us mount a disk that only one process sees.
    pub(crate) fn can_mount() -> bool {
        Command::new("unshare")
            .args([
                "--map-root-user",
                "--mount",
                "mount",
                "-t",
                "tmpfs",
                "none",
                "/mnt",
            ])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// `path` as this process sees it.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.child.id())).join(path)
    }

    fn launch(mut command: Command, arguments: &[String]) -> Self {
        let log = TempDir::new().expect("a directory for the log");
        let stderr = File::create(log.path().join("log")).expect("a log file");
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().expect("a piped standard output"));
        let (addresses, http) = loop {
            let mut line = String::new();
            let read = stdout
                .read_line(&mut line)
                .expect("text on standard output");
            if read == 0 {
                let status = child.wait().expect("the exit status");
                let log = std::fs::read_to_string(log.path().join("log")).unwrap_or_default();
                panic!(
                    "trestle {} ended with {status} before it was ready:\n{log}",
                    arguments.join(" ")
                );
            }
            if let Some(ready) = line.strip_prefix("ready ") {
                let kafka = ready
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix("kafka="));
                let kafka = kafka.unwrap_or_else(|| panic!("no kafka= in the line {line:?}"));
                let http = ready
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix("http="));
                let http = http.unwrap_or_else(|| panic!("no http= in the line {line:?}"));
                break (
                    kafka.split(',').map(str::to_owned).collect(),
                    http.to_owned(),
                );
            }
        };
        Self {
            child,
            _stdout: stdout,
            log,
            addresses,
            http,
        }
    }

    /// SIGKILL: no goodbye, nothing flushed.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the exit status that follows.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("the kill command");
        assert!(sent.success(), "kill -TERM {id}");
        wait_for("the broker to end", || {
            self.child.try_wait().expect("the exit status")
        })
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the exit status").is_none()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path().join("log")).expect("the log")
    }

    /// A number in KiB from `/proc/PID/status`, in bytes.
    pub(crate) fn memory(&self, field: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process's status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: usize = kib.and_then(|kib| kib.parse().ok()).expect("a size in kB");
        kib * 1024
    }

    /// Clock ticks (a hundredth of a second) of CPU that it has used.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("the process's counters");
        let (_, fields) = stat.rsplit_once(')').expect("a command name in brackets");
        let fields = fields.split_whitespace().skip(11).take(2);
        fields
            .map(|ticks| ticks.parse::<u64>().expect("a number of ticks"))
            .sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- the broker's last lines");
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

/// The broker's binary: `TRESTLE_BIN`, or `trestle` in the target directory that this test is in.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TRESTLE_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(|deps| deps.parent());
    let binary = profile.expect("a target directory").join("trestle");
    assert!(
        binary.exists(),
        "{} is missing. Build it first, with the profile of the tests: cargo build -p trestle\n\
         (or name a binary with TRESTLE_BIN=PATH, or a running broker with KAFKA_BOOTSTRAP=HOST:PORT)",
        binary.display()
    );
    binary
}
