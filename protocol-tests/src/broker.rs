//! The broker under test.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use tempfile::TempDir;

use crate::client::Client;
use crate::http::Http;
use crate::process::Process;

/// A running broker: a Trestle of our own, or the one that `KAFKA_BOOTSTRAP` names.
#[derive(Debug)]
pub struct Broker {
    addresses: Vec<String>,
    is_kafka: bool,
    own: Option<Own>,
}

/// What is needed to end and restart a Trestle of our own.
#[derive(Debug)]
struct Own {
    process: Process,
    arguments: Vec<String>,
    data: Option<TempDir>,
}

static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());

impl Broker {
    /// The broker with default settings that the tests of one run share; use [`crate::unique`] names.
    /// It ends when the last test that holds it does. Retention does not look while tests run: some
    /// produce records of long ago.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = shared.upgrade() {
            return broker;
        }
        let broker = Arc::new(match foreign() {
            Some(address) => Self::running(vec![address], None),
            None => {
                let later = ["--set", "log.initial.task.delay.ms=3600000"];
                Self::spawn(later.map(str::to_owned).to_vec(), None)
            }
        });
        *shared = Arc::downgrade(&broker);
        broker
    }

    /// A Trestle of the test's own, data in memory, with more arguments. `None`, and a line that says
    /// so, when `KAFKA_BOOTSTRAP` names the broker: its settings are not ours to choose.
    pub fn in_memory(arguments: &[&str]) -> Option<Self> {
        Self::own(arguments, None)
    }

    /// As [`Broker::in_memory`], data in a directory that lives as long as the handle, so that the
    /// broker can be killed and restarted.
    pub fn on_disk(arguments: &[&str]) -> Option<Self> {
        let data = TempDir::new().expect("a directory for data");
        Self::own(arguments, Some(data))
    }

    /// As [`Broker::on_disk`], a Trestle even where `KAFKA_BOOTSTRAP` names the broker: for tests in which
    /// the two meet.
    pub fn trestle_on_disk(arguments: &[&str]) -> Self {
        let data = TempDir::new().expect("a directory for data");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Self::spawn(arguments.collect(), Some(data))
    }

    /// As [`Broker::on_disk`], on a disk of `size_mib` that only the broker sees and that is gone with
    /// its process. `None`, and a line that says so, also where no disk can be mounted.
    pub fn on_small_disk(size_mib: usize, arguments: &[&str]) -> Option<Self> {
        if foreign().is_some() {
            skip("needs a broker of its own, not the one of KAFKA_BOOTSTRAP");
            return None;
        }
        if !Process::can_mount() {
            skip("needs the right to mount a disk in a namespace of its own (unshare --mount)");
            return None;
        }
        let data = TempDir::new().expect("a directory for data");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        let arguments = all_arguments(arguments.collect(), Some(&data));
        let process = Process::start_on_small_disk(data.path(), size_mib, &arguments);
        Some(Self::running(
            process.addresses.clone(),
            Some(Own {
                process,
                arguments,
                data: Some(data),
            }),
        ))
    }

    /// Another Trestle on the data of this one, with more arguments.
    pub fn beside(&self, arguments: &[&str]) -> Self {
        let place = format!("file:{}", self.data_directory().display());
        let more = arguments.iter().map(|argument| (*argument).to_owned());
        let arguments = arguments_for(&place, more.collect());
        let process = Process::start(&arguments);
        let own = Own {
            process,
            arguments,
            data: None,
        };
        Self::running(own.process.addresses.clone(), Some(own))
    }

    /// A Trestle of the test's own over a bucket; the credentials are those of the environment.
    pub fn on_s3(url: &str, endpoint: &str) -> Self {
        let arguments = arguments_for(url, Vec::new());
        let process = Process::start_with(&[("AWS_ENDPOINT_URL", endpoint)], &arguments);
        Self::running(
            process.addresses.clone(),
            Some(Own {
                process,
                arguments,
                data: None,
            }),
        )
    }

    fn own(arguments: &[&str], data: Option<TempDir>) -> Option<Self> {
        if foreign().is_some() {
            skip("needs a broker of its own, not the one of KAFKA_BOOTSTRAP");
            return None;
        }
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Some(Self::spawn(arguments.collect(), data))
    }

    fn spawn(more: Vec<String>, data: Option<TempDir>) -> Self {
        let arguments = all_arguments(more, data.as_ref());
        let process = Process::start(&arguments);
        let addresses = process.addresses.clone();
        Self::running(
            addresses,
            Some(Own {
                process,
                arguments,
                data,
            }),
        )
    }

    fn running(addresses: Vec<String>, own: Option<Own>) -> Self {
        let is_kafka = own.is_none() && is_kraft_node(&addresses[0]);
        Self {
            addresses,
            is_kafka,
            own,
        }
    }

    /// Where it listens, `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// Where each of its listeners is.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// A client of its HTTP address; it must have been started with `--http`.
    pub fn http(&self) -> Http {
        Http::new(&self.own_ref().process.http)
    }

    /// Whether this is Apache Kafka. Only for a difference that docs/differences.md lists.
    pub fn is_kafka(&self) -> bool {
        self.is_kafka
    }

    /// As [`Broker::is_kafka`], for a test that holds only for Trestle: says on the terminal that it
    /// did not run, and why.
    pub fn skip_on_kafka(&self, reason: &str) -> bool {
        if self.is_kafka {
            skip(reason);
        }
        self.is_kafka
    }

    /// Whether the broker is a process of our own, with a log and counters to look at.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.own_mut().process.kill();
    }

    /// SIGTERM, and the exit status that follows.
    pub fn terminate(&mut self) -> ExitStatus {
        self.own_mut().process.terminate()
    }

    /// Starts it again on the same data, after [`Broker::kill`] or [`Broker::terminate`].
    pub fn restart(&mut self) {
        let own = self.own_mut();
        own.process.kill();
        own.process = Process::start(&own.arguments);
        self.addresses = self.own_ref().process.addresses.clone();
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.own_mut().process.is_running()
    }

    /// What it has logged since it started.
    pub fn log(&self) -> String {
        self.own_ref().process.log()
    }

    /// Memory it holds now, in bytes.
    pub fn resident_bytes(&self) -> usize {
        self.own_ref().process.memory("VmRSS:")
    }

    /// The most memory it has held, in bytes.
    pub fn peak_bytes(&self) -> usize {
        self.own_ref().process.memory("VmHWM:")
    }

    /// CPU it has used, in hundredths of a second.
    pub fn cpu_ticks(&self) -> u64 {
        self.own_ref().process.cpu_ticks()
    }

    /// The directory of its data; panics for a broker in memory.
    pub fn data_directory(&self) -> PathBuf {
        let data = self.own_ref().data.as_ref().expect("a broker on disk");
        data.path().join("data")
    }

    /// The disk of [`Broker::on_small_disk`], for a test that fills it.
    pub fn small_disk(&self) -> PathBuf {
        let own = self.own_ref();
        let data = own.data.as_ref().expect("a broker on disk");
        own.process.inside(data.path())
    }

    fn own_ref(&self) -> &Own {
        self.own
            .as_ref()
            .expect("a Trestle of our own, not the one of KAFKA_BOOTSTRAP")
    }

    fn own_mut(&mut self) -> &mut Own {
        self.own
            .as_mut()
            .expect("a Trestle of our own, not the one of KAFKA_BOOTSTRAP")
    }
}

fn all_arguments(more: Vec<String>, data: Option<&TempDir>) -> Vec<String> {
    let place = match data {
        None => "memory:".to_owned(),
        Some(directory) => format!("file:{}", directory.path().join("data").display()),
    };
    arguments_for(&place, more)
}

/// What a broker is started with: `more`, and what every test wants.
fn arguments_for(place: &str, more: Vec<String>) -> Vec<String> {
    let mut arguments: Vec<String> = ["--data", place].map(str::to_owned).into();
    if !more.iter().any(|argument| argument == "--http") {
        arguments.push("--no-http".to_owned());
    }
    if !more.iter().any(|argument| argument == "--listen") {
        arguments.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
    }
    arguments.extend(more);
    arguments
}

fn foreign() -> Option<String> {
    std::env::var("KAFKA_BOOTSTRAP")
        .ok()
        .filter(|address| !address.is_empty())
}

/// Says on the terminal, past the test harness's capture, that this test did not run.
fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "skipped: {test} {reason}");
}

/// Only a KRaft node describes its quorum.
fn is_kraft_node(address: &str) -> bool {
    let answer = Client::connect(address).call(0, &ApiVersionsRequest::default());
    answer
        .api_keys
        .iter()
        .any(|api| api.api_key == ApiKey::DescribeQuorum as i16)
}
