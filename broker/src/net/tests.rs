//! Connections over an in-memory stream, with scripted requests: the text of a body says what its
//! handler does.
#![expect(
    clippy::disallowed_methods,
    reason = "a test waits for its own tasks, and for nothing else"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::connection::{Closed, Connection};
use super::door::{Call, Client, Door, Limits, Told};
use super::frame::SizeLimits;
use crate::api::Outcome;
use crate::env::Env;
use crate::metrics::Metrics;

const PRODUCE: (i16, i16) = (0, 3);
const METADATA: (i16, i16) = (3, 0);
const STALL: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(20);

const LIMITS: Limits = Limits {
    size: SizeLimits {
        request_max_bytes: 8 << 20,
        plain_request_max_bytes: 1 << 20,
    },
    queued_request_max_bytes: 16 << 20,
    read_ahead: 64,
    max_connections: 10,
    idle: Some(IDLE),
    stall: STALL,
};

/// What the handlers do and have seen.
#[derive(Default)]
struct Script {
    started: Mutex<Vec<String>>,
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Script {
    /// Lets requests that wait for `gate` go on, from now on.
    fn open(&self, gate: &str) {
        self.gate(gate).add_permits(1000);
    }

    fn gate(&self, gate: &str) -> Arc<Semaphore> {
        let mut gates = self.gates.lock();
        let gate = gates.entry(gate.to_owned());
        gate.or_insert_with(|| Arc::new(Semaphore::new(0))).clone()
    }

    fn run(self: &Arc<Self>, call: Call<'_>) -> BoxFuture<'static, Outcome> {
        let text = String::from_utf8_lossy(&call.body).into_owned();
        let body = call.body.freeze();
        self.started.lock().push(text.chars().take(20).collect());
        let reply = Outcome::Reply(vec![
            body.slice(..body.len() / 2),
            body.slice(body.len() / 2..),
        ]);
        let (verb, gate) = text.split_once(' ').unwrap_or((&text, ""));
        let gate = self.gate(gate);
        let hurry = call.hurry;
        match verb {
            "silent" => Box::pin(ready(Outcome::Silent)),
            "close" => Box::pin(ready(Outcome::Close("asked to".into()))),
            "panic" => Box::pin(async { panic!("asked to") }),
            "wait" => Box::pin(async move {
                gate.acquire().await.expect("open").forget();
                reply
            }),
            "later" => Box::pin(ready(Outcome::Later(Box::pin(async move {
                gate.acquire().await.expect("open").forget();
                reply
            })))),
            "hurry" => Box::pin(async move {
                hurry.asked().await;
                reply
            }),
            _ => Box::pin(ready(reply)),
        }
    }
}

struct Bench {
    env: Env,
    script: Arc<Script>,
    door: Arc<Door>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let env = Env::system();
        let script = Arc::<Script>::default();
        let run = script.clone();
        let serve = Box::new(move |call: Call<'_>| run.run(call));
        let metrics = Arc::new(Metrics::default());
        Self {
            door: Door::new(limits, metrics, env.clock(), serve),
            env,
            script,
        }
    }

    fn connect(&self) -> Peer {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let told = Told {
            address: Arc::new(("here".into(), 1)),
            listener: "TEST".into(),
            configured: true,
        };
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 1)), told);
        let watch = self.door.enter().expect("room for one more");
        let connection = Connection::new(far, self.door.clone(), client, watch);
        Peer {
            env: self.env.clone(),
            stream: near,
            task: tokio::spawn(connection),
        }
    }

    /// Waits until `texts` are what has started.
    async fn started(&self, texts: &[&str]) {
        self.until(|| *self.script.started.lock() == texts).await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let check = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        let in_time = self.env.timeout(Duration::from_secs(10), check).await;
        assert!(
            in_time.is_some(),
            "not in time; started: {:?}",
            self.script.started.lock()
        );
    }
}

struct Peer {
    env: Env,
    stream: DuplexStream,
    task: JoinHandle<Closed>,
}

fn frame((key, version): (i16, i16), id: i32, text: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(2 + 2 + 4 + 3 + text.len() as i32);
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(id);
    frame.put_slice(b"\0\x01c");
    frame.put_slice(text);
    frame.freeze()
}

impl Peer {
    async fn send(&mut self, api: (i16, i16), id: i32, text: &str) {
        self.write(&frame(api, id, text.as_bytes())).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("open");
    }

    /// The next response: its correlation id and body.
    async fn receive(&mut self) -> (i32, Vec<u8>) {
        let response = async {
            let size = self.stream.read_i32().await.expect("a response");
            let id = self.stream.read_i32().await.expect("a correlation id");
            let mut body = vec![0; size as usize - 4];
            self.stream.read_exact(&mut body).await.expect("a body");
            (id, body)
        };
        let in_time = self.env.timeout(Duration::from_secs(10), response).await;
        in_time.expect("a response in time")
    }

    async fn expect(&mut self, id: i32, text: &str) {
        let (got, body) = self.receive().await;
        assert_eq!((got, &*String::from_utf8_lossy(&body)), (id, text));
    }

    /// Why the connection ended.
    async fn closed(self) -> Closed {
        let in_time = self.env.timeout(Duration::from_secs(10), self.task).await;
        in_time.expect("closed in time").expect("no panic")
    }
}

#[tokio::test]
async fn answers_leave_in_the_order_of_requests_and_second_stages_overlap() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    for id in 1..=3 {
        peer.send(PRODUCE, id, &format!("later {id}")).await;
    }
    bench.started(&["later 1", "later 2", "later 3"]).await;
    bench.script.open("3");
    bench.script.open("2");
    peer.send(PRODUCE, 4, "now").await;
    bench
        .started(&["later 1", "later 2", "later 3", "now"])
        .await;
    bench.script.open("1");
    for (id, text) in [(1, "later 1"), (2, "later 2"), (3, "later 3"), (4, "now")] {
        peer.expect(id, text).await;
    }
}

#[tokio::test]
async fn a_first_stage_starts_when_the_one_before_is_done() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    peer.send(PRODUCE, 1, "wait 1").await;
    peer.send(PRODUCE, 2, "next").await;
    bench.started(&["wait 1"]).await;
    tokio::task::yield_now().await;
    bench.started(&["wait 1"]).await;
    bench.script.open("1");
    peer.expect(1, "wait 1").await;
    peer.expect(2, "next").await;
}

#[tokio::test]
async fn any_other_request_starts_when_all_before_it_are_answered() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    peer.send(PRODUCE, 1, "later 1").await;
    peer.send(METADATA, 2, "one").await;
    peer.send(PRODUCE, 3, "behind").await;
    bench.started(&["later 1"]).await;
    // What is behind does not overtake it, nor does it start.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    bench.started(&["later 1"]).await;
    bench.script.open("1");
    peer.expect(1, "later 1").await;
    peer.expect(2, "one").await;
    peer.expect(3, "behind").await;
}

#[tokio::test]
async fn a_waiting_request_hears_that_another_came_and_only_then() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    peer.send(METADATA, 1, "hurry").await;
    bench.started(&["hurry"]).await;
    peer.send(METADATA, 2, "hurry").await;
    peer.expect(1, "hurry").await;
    // The second waits afresh.
    bench.started(&["hurry", "hurry"]).await;
    peer.send(METADATA, 3, "next").await;
    peer.expect(2, "hurry").await;
    peer.expect(3, "next").await;
}

#[tokio::test]
async fn no_answer_is_sent_to_a_silent_request() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    peer.send(PRODUCE, 1, "silent").await;
    peer.send(PRODUCE, 2, "spoken").await;
    peer.expect(2, "spoken").await;
}

#[tokio::test]
async fn a_handler_closes_the_connection_after_the_answers_before_it() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    peer.send(PRODUCE, 1, "one").await;
    peer.expect(1, "one").await;
    peer.send(PRODUCE, 2, "close").await;
    assert!(matches!(peer.closed().await, Closed::ByHandler { .. }));
}

#[tokio::test]
async fn a_panic_in_a_handler_ends_its_connection_alone() {
    let bench = Bench::new(LIMITS);
    let (mut peer, mut other) = (bench.connect(), bench.connect());
    peer.send(METADATA, 1, "panic").await;
    assert!(matches!(peer.closed().await, Closed::Panic { .. }));
    other.send(METADATA, 1, "alive").await;
    other.expect(1, "alive").await;
}

#[tokio::test]
async fn frames_are_whole_however_they_are_cut() {
    let bench = Bench::new(LIMITS);
    let mut rng = StdRng::seed_from_u64(3);
    for round in 0..8 {
        let mut peer = bench.connect();
        let mut bytes = BytesMut::new();
        let mut texts = Vec::new();
        for id in 0..30 {
            let top = [40, 3_000, 40_000, 300_000][rng.random_range(0..4)];
            let len = rng.random_range(0..top);
            let text: Vec<u8> = (0..len).map(|_| rng.random_range(b'A'..=b'Z')).collect();
            bytes.extend_from_slice(&frame(PRODUCE, id, &text));
            texts.push(text);
        }
        let top = [3, 100, 5_000, 200_000][round % 4];
        let (mut read, mut write) = tokio::io::split(peer.stream);
        let writing = tokio::spawn(async move {
            let mut rest = bytes.freeze();
            while !rest.is_empty() {
                let len = rng.random_range(1..=top).min(rest.len());
                write.write_all(&rest.split_to(len)).await.expect("open");
            }
            (write, rng)
        });
        for (id, text) in texts.iter().enumerate() {
            assert_eq!(read.read_i32().await.expect("open"), 4 + text.len() as i32);
            assert_eq!(read.read_i32().await.expect("open"), id as i32);
            let mut body = vec![0; text.len()];
            read.read_exact(&mut body).await.expect("open");
            assert!(body == *text, "round {round}, frame {id}");
        }
        let (write, back) = writing.await.expect("no panic");
        rng = back;
        peer.stream = read.unsplit(write);
    }
}

#[tokio::test]
async fn requests_are_read_ahead_up_to_the_limit() {
    let bench = Bench::new(Limits {
        read_ahead: 2,
        ..LIMITS
    });
    let mut peer = bench.connect();
    for id in 1..=5 {
        peer.send(PRODUCE, id, "later 1").await;
    }
    bench.started(&["later 1", "later 1"]).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    bench.started(&["later 1", "later 1"]).await;
    bench.script.open("1");
    for id in 1..=5 {
        peer.expect(id, "later 1").await;
    }
}

#[tokio::test]
async fn the_budget_covers_all_connections_until_the_answer() {
    let bench = Bench::new(Limits {
        queued_request_max_bytes: 1000,
        ..LIMITS
    });
    let (mut one, mut two) = (bench.connect(), bench.connect());
    let long = format!("later 1 {}", "x".repeat(700));
    bench.script.gate(&long["later ".len()..]);
    one.send(PRODUCE, 1, &long).await;
    bench.started(&[&long[..20]]).await;
    two.send(PRODUCE, 2, &"y".repeat(700)).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    bench.started(&[&long[..20]]).await;
    assert!(bench.door.metrics.net.in_flight_bytes.get() > 700);
    bench.script.open(&long["later ".len()..]);
    one.expect(1, &long).await;
    two.expect(2, &"y".repeat(700)).await;
    // One above the whole budget goes alone.
    let huge = "z".repeat(5000);
    two.send(PRODUCE, 3, &huge).await;
    two.expect(3, &huge).await;
    bench
        .until(|| bench.door.metrics.net.in_flight_bytes.get() == 0)
        .await;
}

#[tokio::test]
async fn small_requests_do_not_wait_behind_big_ones() {
    let bench = Bench::new(Limits {
        queued_request_max_bytes: 2 << 20,
        ..LIMITS
    });
    let (mut one, mut two, mut small) = (bench.connect(), bench.connect(), bench.connect());
    let text = format!("later {}", "x".repeat(1_800_000));
    one.send(PRODUCE, 1, &text).await;
    bench.started(&[&text[..20]]).await;
    two.write(&frame(PRODUCE, 2, &[b'y'; 1_800_000])[..1000])
        .await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    small.send(METADATA, 3, "small").await;
    small.expect(3, "small").await;
    bench.started(&[&text[..20], "small"]).await;
}

#[tokio::test]
async fn a_request_that_stops_half_way_is_not_waited_for() {
    let bench = Bench::new(Limits {
        queued_request_max_bytes: 1000,
        ..LIMITS
    });
    let (mut stuck, mut other) = (bench.connect(), bench.connect());
    stuck.write(&frame(PRODUCE, 1, &[b'x'; 800])[..500]).await;
    bench
        .until(|| bench.door.metrics.net.in_flight_bytes.get() > 800)
        .await;
    other.send(PRODUCE, 2, &"y".repeat(700)).await;
    bench.door.sweep(STALL);
    bench.door.sweep(STALL);
    assert!(matches!(stuck.closed().await, Closed::Ended(_)));
    other.expect(2, &"y".repeat(700)).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_but_not_one_that_waits_for_us() {
    let bench = Bench::new(LIMITS);
    let (idle, mut busy) = (bench.connect(), bench.connect());
    busy.send(METADATA, 1, "wait 1").await;
    bench.started(&["wait 1"]).await;
    for _ in 0..3 {
        bench.door.sweep(IDLE);
    }
    assert!(matches!(idle.closed().await, Closed::Ended(_)));
    bench.script.open("1");
    busy.expect(1, "wait 1").await;
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_waited_for_as_long_as_an_idle_one() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    // More than the stream and the output hold together, so that the last requests do not start.
    let long = "x".repeat(200_000);
    for id in 1..=5 {
        peer.send(METADATA, id, &long).await;
    }
    bench.until(|| bench.script.started.lock().len() >= 2).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let started = bench.script.started.lock().len();
    assert!(started < 5, "{started} started");
    bench.door.sweep(STALL);
    bench.door.sweep(STALL);
    bench.door.sweep(STALL);
    peer.expect(1, &long).await;
    bench.until(|| !peer.task.is_finished()).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        bench.door.sweep(IDLE);
    }
    assert!(matches!(peer.closed().await, Closed::Ended(_)));
}

#[tokio::test]
async fn draining_finishes_what_was_read() {
    let bench = Bench::new(LIMITS);
    let (mut busy, idle, mut parked) = (bench.connect(), bench.connect(), bench.connect());
    busy.send(PRODUCE, 1, "later 1").await;
    parked.send(METADATA, 1, "hurry").await;
    bench.until(|| bench.script.started.lock().len() == 2).await;
    bench.door.drain();
    assert!(matches!(idle.closed().await, Closed::Stopping));
    parked.expect(1, "hurry").await;
    bench.script.open("1");
    busy.expect(1, "later 1").await;
    assert!(matches!(busy.closed().await, Closed::Stopping));
    assert!(matches!(parked.closed().await, Closed::Stopping));
    bench.door.emptied().await;
}

#[tokio::test]
async fn what_was_sent_before_the_client_left_is_done() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    for id in 1..=3 {
        peer.send(PRODUCE, id, "silent").await;
    }
    let Peer { stream, task, .. } = peer;
    drop(stream);
    assert!(matches!(task.await.expect("no panic"), Closed::ByClient));
    assert_eq!(bench.script.started.lock().len(), 3);
}

#[tokio::test]
async fn what_is_not_a_request_closes_the_connection() {
    let bench = Bench::new(LIMITS);
    for bytes in [
        &[0, 0, 0, 3, 0, 0, 0][..],
        &[0xff; 4],
        &frame((999, 0), 1, b""),
        &frame((0, 2), 1, b""),
        &frame((3, 99), 1, b""),
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x0a\0\x03\0\0\0\0\0\x01\0\x09",
    ] {
        let mut peer = bench.connect();
        peer.write(bytes).await;
        assert!(matches!(peer.closed().await, Closed::Frame(_)), "{bytes:?}");
    }
    // Too much for a request without records, and said before its bytes come.
    let mut peer = bench.connect();
    let mut large = frame(METADATA, 1, b"").to_vec();
    large[..4].copy_from_slice(&(2_i32 << 20).to_be_bytes());
    peer.write(&large).await;
    assert!(matches!(peer.closed().await, Closed::Frame(_)));
    assert!(bench.script.started.lock().is_empty());
}

#[tokio::test]
async fn api_versions_of_any_version_reaches_its_handler() {
    let bench = Bench::new(LIMITS);
    let mut peer = bench.connect();
    let mut garbled = frame((18, 99), 5, b"").to_vec();
    garbled[12..15].copy_from_slice(b"\x7f\xff!");
    peer.write(&garbled).await;
    let (id, _) = peer.receive().await;
    assert_eq!(id, 5);
    peer.send((18, 0), 6, "known").await;
    peer.expect(6, "known").await;
}

#[tokio::test]
async fn no_more_connections_than_allowed() {
    let bench = Bench::new(LIMITS);
    let peers: Vec<Peer> = (0..LIMITS.max_connections)
        .map(|_| bench.connect())
        .collect();
    assert!(bench.door.enter().is_none());
    drop(peers);
    bench.until(|| bench.door.enter().is_some()).await;
}
