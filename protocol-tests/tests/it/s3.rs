//! A broker over a real S3 server: `compat/s3/start` starts one and sets the variables.
//!
//! Ignored without it, which `cargo test` says; `.ci/s3` runs them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use protocol_tests::calls::{PRODUCE, produce_request};
use protocol_tests::{Batch, Broker, Client, codes, unique, wait_for};

const TOPIC: &str = "outage";

/// Stands before the server, and can be cut off.
struct Relay {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    down: bool,
    connections: Vec<TcpStream>,
}

impl Relay {
    fn start(server: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().expect("no panic");
                if state.down {
                    continue;
                }
                let server = TcpStream::connect(&server).expect("the S3 server");
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (clone(from), clone(to));
                    std::thread::spawn(move || pass(from, to));
                }
                state.connections.extend([client, server]);
            }
        });
        Self { endpoint, state }
    }

    /// Breaks all connections and takes no more.
    fn cut(&self) {
        let mut state = self.state.lock().expect("no panic");
        state.down = true;
        for connection in state.connections.drain(..) {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.state.lock().expect("no panic").down = false;
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a second handle")
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut buffer)
        && read > 0
        && to.write_all(&buffer[..read]).is_ok()
    {}
    let _ = to.shutdown(Shutdown::Both);
}

fn endpoint() -> String {
    std::env::var("TRESTLE_TEST_S3_ENDPOINT")
        .expect("TRESTLE_TEST_S3_ENDPOINT; eval \"$(compat/s3/start)\" sets it")
}

/// Sends the n-th record of an idempotent producer, which belongs at offset n.
fn produce(client: &mut Client, (id, epoch): (i64, i16), n: i64) -> (i16, i64) {
    let batch = Batch::of(&[format!("record {n}")]).producer(id, epoch, n as i32);
    let request = produce_request(TOPIC, 0, batch).with_timeout_ms(300);
    let answer = client.call(PRODUCE, &request);
    let answer = &answer.responses[0].partition_responses[0];
    (answer.error_code, answer.base_offset)
}

/// While the object store is away producers get a retriable error and what is recent is served; when
/// it is back the broker goes on without a restart; nothing acknowledged is lost or doubled (42).
#[test]
#[ignore = "needs a server: eval \"$(compat/s3/start)\""]
fn an_object_store_that_fails_for_a_while_loses_nothing() {
    let relay = Relay::start(&endpoint());
    let url = format!("s3://trestle-test/{}", unique("outage"));
    let mut broker = Broker::on_s3(&url, &relay.endpoint);
    let mut client = broker.connect();
    client.create_topic(TOPIC, 1);
    let producer = client.init_producer();
    let mut next = 0;
    for round in 0..3 {
        for _ in 0..5 {
            assert_eq!(acknowledged(&mut client, producer, next), next);
            next += 1;
        }
        relay.cut();
        for _ in 0..3 {
            assert_eq!(
                produce(&mut client, producer, next).0,
                codes::REQUEST_TIMED_OUT,
                "round {round}"
            );
        }
        assert_eq!(client.read(TOPIC, 0, 0).len() as i64, next);
        relay.mend();
        assert_eq!(acknowledged(&mut client, producer, next), next);
        next += 1;
    }
    broker.kill();
    broker.restart();
    let read = broker.connect().read_text(TOPIC, 0);
    let expected: Vec<_> = (0..next).map(|n| format!("record {n}")).collect();
    assert_eq!(read, expected);
}

/// The offset of the n-th record once it is acknowledged; retries meanwhile, as producers do.
fn acknowledged(client: &mut Client, producer: (i64, i16), n: i64) -> i64 {
    wait_for("an acknowledgement", || {
        let (code, offset) = produce(client, producer, n);
        if code == codes::REQUEST_TIMED_OUT {
            return None;
        }
        assert_eq!(code, codes::NONE, "record {n}");
        Some(offset)
    })
}
