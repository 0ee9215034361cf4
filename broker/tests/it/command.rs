//! The `trestle` binary, from its arguments to its exit code.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Longer than any of this takes; a test that hangs ends here.
const PATIENCE: Duration = Duration::from_secs(60);

fn trestle(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trestle"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("KAFKA_") || name.starts_with("TRESTLE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = trestle(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A broker that is running.
struct Running {
    child: Child,
    ready: String,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = trestle(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut ready = String::new();
        output.read_line(&mut ready).expect("a line");
        if ready.is_empty() {
            panic!("it did not start: {}", Self::log(&mut child));
        }
        Self {
            child,
            ready: ready.trim_end().to_owned(),
            output,
        }
    }

    fn log(child: &mut Child) -> String {
        let mut log = String::new();
        let mut pipe = child.stderr.take().expect("a pipe");
        pipe.read_to_string(&mut log).expect("UTF-8");
        log
    }

    /// The value of `name=` in the ready line.
    fn part(&self, name: &str) -> &str {
        let mut words = self.ready.split(' ');
        assert_eq!(words.next(), Some("ready"), "{}", self.ready);
        words
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name} in {}", self.ready))
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.part("http")).expect("HTTP is served");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("a request");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        response
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Exit code, what else stood on standard output, and the log.
    fn end(mut self) -> (i32, String, String) {
        let log = Self::log(&mut self.child);
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("UTF-8");
        let status = self.child.wait().expect("it ends");
        (status.code().unwrap_or(-1), rest, log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const IN_MEMORY: [&str; 4] = ["--data", "memory:", "--listen", "127.0.0.1:0"];

#[test]
fn it_says_where_it_serves_and_ends_in_order() {
    let broker = Running::start(&[&IN_MEMORY[..], &["--http", "127.0.0.1:0"]].concat());
    TcpStream::connect(broker.part("kafka")).expect("Kafka is served");
    for (path, status, body) in [
        ("/-/healthy", "200 OK", "healthy\n"),
        ("/-/ready", "200 OK", "ready\n"),
        ("/nothing", "404 Not Found", "\"status\":\"error\"}"),
    ] {
        let response = broker.get(path);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{response}"
        );
        assert!(response.ends_with(body), "{response}");
    }
    let metrics = broker.get("/metrics");
    for line in [
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
        "\ntrestle_connections_opened_total 1\n",
        "\ntrestle_storage_reads_total{from=\"engine\"} ",
        "\nslatedb_",
    ] {
        assert!(metrics.contains(line), "{line:?} is not in {metrics}");
    }
    broker.signal("TERM");
    let (code, rest, log) = broker.end();
    assert_eq!((code, rest.as_str()), (0, ""), "{log}");
    for part in ["is ready", "PLAINTEXT", "memory:, new", "SIGTERM", "closed"] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
}

/// Sends one request without tagged fields, and waits for the answer.
fn ask(stream: &mut TcpStream, key: i16, version: i16, body: &[u8]) {
    let mut frame = Vec::new();
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 7, 0xff, 0xff]); // correlation id, no client id
    frame.extend(body);
    stream
        .write_all(&(frame.len() as u32).to_be_bytes())
        .expect("sent");
    stream.write_all(&frame).expect("sent");
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).expect("an answer");
}

#[test]
fn the_lag_of_groups_is_among_the_metrics() {
    let limit = ["--set", "trestle.metrics.group.partitions=2"];
    let http = ["--http", "127.0.0.1:0"];
    let broker = Running::start(&[&IN_MEMORY[..], &http, &limit].concat());
    let mut stream = TcpStream::connect(broker.part("kafka")).expect("Kafka is served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // Metadata v4 creates the topic; OffsetCommit v2 commits an offset for three groups.
    ask(&mut stream, 3, 4, b"\0\0\0\x01\0\x01t\x01");
    for group in [b"a", b"b", b"c"] {
        let mut body = b"\0\x01".to_vec();
        body.extend(group);
        body.extend(b"\xff\xff\xff\xff\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
        body.extend(b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x05\0\0");
        ask(&mut stream, 8, 2, &body);
    }
    let metrics = broker.get("/metrics");
    let labels = "consumergroup=\"a\",topic=\"t\",partition=\"0\"";
    for line in [
        "# TYPE kafka_consumergroup_lag gauge\n".to_owned(),
        format!("\nkafka_consumergroup_current_offset{{{labels}}} 5\n"),
        format!("\nkafka_consumergroup_lag{{{labels}}} 0\n"),
        format!("\nkafka_consumergroup_lag_seconds{{{labels}}} 0.000\n"),
        "\nkafka_consumergroup_lag_sum{consumergroup=\"b\",topic=\"t\"} 0\n".to_owned(),
        "\nkafka_consumergroup_members{consumergroup=\"a\"} 0\n".to_owned(),
        "\ntrestle_consumergroup_partitions_left_out 1\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line:?} is not in {metrics}");
    }
    assert!(!metrics.contains("consumergroup=\"c\""), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn two_listeners_and_no_http() {
    let broker = Running::start(&[
        "serve",
        "--data=memory:",
        "--no-http",
        "--listen=IN://127.0.0.1:0",
        "--listen=OUT://127.0.0.1:0",
        "--advertise=OUT://kafka.example.com:443",
    ]);
    assert_eq!(broker.part("kafka").split(',').count(), 2);
    assert_eq!(broker.part("http"), "none");
    broker.signal("INT");
    let (code, _, log) = broker.end();
    assert_eq!(code, 0);
    assert!(
        log.contains("clients are told kafka.example.com:443"),
        "{log}"
    );
}

#[test]
fn a_directory_serves_one_broker_at_a_time_and_is_found_again() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let data = format!("file:{}", folder.path().join("data").display());
    let arguments = ["--data", &data, "--listen", "127.0.0.1:0", "--no-http"];
    let broker = Running::start(&arguments);
    let (code, out, error) = run(&arguments);
    assert_eq!((code, out.as_str()), (1, ""), "{error}");
    let last = error.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("trestle: ") && last.contains("data"),
        "{error}"
    );
    broker.signal("TERM");
    let (code, _, log) = broker.end();
    assert_eq!(code, 0);
    assert!(log.contains(", new"), "{log}");
    let again = Running::start(&arguments);
    again.signal("TERM");
    let (code, _, log) = again.end();
    assert_eq!(code, 0);
    assert!(log.contains(" rows replayed"), "{log}");
}

#[test]
fn wrong_usage_exits_with_2() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("server.properties");
    std::fs::write(&file, "num.partitions=1\nlog.retension.ms=5\n").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let cases: [(&[&str], &str); 7] = [
        (&["--lisen", "x"], "similar argument exists: '--listen'"),
        (
            &["--set", "num.partitons=3"],
            "the nearest known one is num.partitions",
        ),
        (
            &["--set", "num.partitions=many"],
            "give a whole number from 1 on",
        ),
        (
            &["--config", file],
            "line 2: unknown setting log.retension.ms; the nearest known one is log.retention.ms",
        ),
        (&["--listen", "nowhere"], "the port is missing"),
        (
            &["--data", "tape:"],
            "use memory:, file:PATH or s3://BUCKET/PREFIX",
        ),
        (&["--log", "loud"], "\"loud\" is not a level"),
    ];
    for (arguments, expected) in cases {
        let (code, out, error) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{expected:?} is not in {error}");
    }
}

#[test]
fn a_failure_exits_with_1_and_one_clear_line() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a directory").expect("a file");
    let data = format!("file:{}", file.display());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("its address").to_string();
    let memory = ["--data", "memory:"];
    let cases: [(Vec<&str>, &str); 3] = [
        (vec!["--data", &data, "--no-http"], "is a file"),
        (
            [&memory[..], &["--no-http", "--listen", &taken]].concat(),
            &taken,
        ),
        (
            [&IN_MEMORY[..], &["--http", &taken]].concat(),
            "cannot serve HTTP on",
        ),
    ];
    for (arguments, expected) in cases {
        let (code, out, error) = run(&arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}: {error}");
        let last = error.lines().last().unwrap_or_default();
        assert!(last.starts_with("trestle: "), "{error}");
        assert!(last.contains(expected), "{expected:?} is not in {error}");
    }
    drop(listener);
}

#[test]
fn a_taken_default_address_for_http_is_gone_without() {
    // Taken by this test or by somebody else.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let broker = Running::start(&IN_MEMORY);
    assert_eq!(broker.part("http"), "none");
    broker.signal("TERM");
    let (code, _, log) = broker.end();
    assert_eq!(code, 0);
    assert!(
        log.contains("going on without health and metrics over HTTP"),
        "{log}"
    );
}

#[test]
fn a_json_log_is_one_object_a_line() {
    let more = [
        "--no-http",
        "--log-format",
        "json",
        "--set",
        "num.io.threads=4",
    ];
    let broker = Running::start(&[&IN_MEMORY[..], &more].concat());
    broker.signal("TERM");
    let (_, _, log) = broker.end();
    let messages: Vec<String> = log
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).expect("an object");
            object["fields"]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let count = |part: &str| {
        messages
            .iter()
            .filter(|message| message.contains(part))
            .count()
    };
    assert_eq!(count("no use for: num.io.threads"), 1, "{messages:?}");
    assert_eq!(count("is ready"), 1, "{messages:?}");
}

/// `trestle log` against a broker: what it prints, and how it fails.
#[test]
fn the_log_from_the_command_line() {
    let broker = Running::start(&[&IN_MEMORY[..], &["--http", "127.0.0.1:0"]].concat());
    let server = broker.part("http").to_owned();
    let log = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_trestle"))
            .args(["log", "--server", &server])
            .args(arguments)
            .output()
            .expect("the command runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let done = |arguments: &[&str]| {
        let (code, out, err) = log(arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
        out
    };
    assert_eq!(done(&["append", "orders", "first", "second"]), "0\n");
    assert_eq!(done(&["append", "tenant:7", "third"]), "2\n");
    assert_eq!(
        done(&["scan", "orders"]),
        "0\t0\torders\tfirst\n1\t1\torders\tsecond\n"
    );
    assert_eq!(
        done(&["scan", "--prefix", "", "--from", "2"]),
        "2\t0\ttenant:7\tthird\n"
    );
    assert_eq!(
        done(&["scan", "orders", "--limit", "1", "--from", "1"]),
        "1\t1\torders\tsecond\n"
    );
    assert_eq!(done(&["keys"]), "orders\ntenant:7\n");
    assert_eq!(done(&["keys", "--prefix", "t"]), "tenant:7\n");
    assert_eq!(done(&["count", "orders"]), "2\n");
    assert_eq!(done(&["--json", "count", "orders"]), "{\"count\":2}\n");
    assert_eq!(done(&["tail", "orders", "--to", "2"]).lines().count(), 2);
    assert!(done(&["segments"]).lines().count() == 2);
    assert!(done(&["inspect", "orders"]).lines().count() == 2);
    assert!(done(&["tree"]).starts_with("segmentId\t"));
    let id = done(&["checkpoint", "create", "one & two"]);
    assert!(done(&["checkpoint", "list"]).contains(id.trim()));
    done(&["checkpoint", "delete", id.trim()]);

    let (code, _, err) = log(&["scan", "orders/7"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("has no partition 7"), "{err}");
    let (code, _, err) = log(&["scan"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("KEY"), "{err}");
    broker.signal("TERM");
    let (_, _, broker_log) = broker.end();
    let (code, _, err) = log(&["keys"]);
    assert_eq!(code, Some(1), "{broker_log}");
    assert!(err.contains("no broker answers"), "{err}");
}
