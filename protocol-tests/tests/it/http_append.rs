//! `POST /api/v1/log/append`, and what is read back: the cases of OpenData Log's own tests.

use protocol_tests::http::{base64, decoded};
use protocol_tests::{Broker, Http};
use serde_json::{Value, json};

const APPEND: &str = "/api/v1/log/append";
const PROTOBUF: (&str, &str) = ("Content-Type", "application/protobuf");

fn fresh() -> Option<(Broker, Http)> {
    let broker = Broker::in_memory(&["--http", "127.0.0.1:0"])?;
    let http = broker.http();
    Some((broker, http))
}

fn values(scan: &Value) -> Vec<(u64, String)> {
    let values = scan["values"].as_array().expect("values");
    let value = |value: &Value| {
        let text = String::from_utf8(decoded(&value["value"])).expect("text");
        (value["sequence"].as_u64().expect("a sequence"), text)
    };
    values.iter().map(value).collect()
}

#[test]
fn json_is_appended_and_scanned() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    let answer = http.append(&[("orders", "order-1")]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.ok(),
        json!({ "status": "success", "recordsAppended": 1, "startSequence": 0 })
    );
    let answer = http
        .append(&[("orders", "order-2"), ("events", "event-1")])
        .ok();
    assert_eq!(
        (&answer["recordsAppended"], &answer["startSequence"]),
        (&json!(2), &json!(1))
    );

    let scan = http.get("/api/v1/log/scan?key=orders").ok();
    assert_eq!(scan["status"], "success");
    assert_eq!(scan["key"], base64("orders"));
    assert_eq!(
        values(&scan),
        [(0, "order-1".into()), (1, "order-2".into())]
    );
    // As far as it is known that there is nothing.
    assert_eq!(scan["nextSequence"], 3);
    let idle = http.get("/api/v1/log/scan?key=idle").ok();
    assert_eq!((values(&idle).len(), &idle["nextSequence"]), (0, &json!(3)));

    let keys = http.get("/api/v1/log/keys").ok();
    let expected = json!([{ "key": base64("events") }, { "key": base64("orders") }]);
    assert_eq!(keys["keys"], expected);
    let segments = http.get("/api/v1/log/segments").ok();
    assert_eq!(
        (
            &segments["segments"][0]["id"],
            &segments["segments"][0]["startSeq"]
        ),
        (&json!(1), &json!(0))
    );
    assert!(segments["segments"][0]["startTimeMs"].as_i64() > Some(0));
    assert_eq!(http.get("/api/v1/log/count?key=orders").ok()["count"], 2);
    assert_eq!(
        http.get("/api/v1/log/count?key=orders&start_seq=1").ok()["count"],
        1
    );
    assert_eq!(http.get("/api/v1/log/count?key=idle").ok()["count"], 0);
}

/// The first message of the golden test of the codec, by hand.
#[test]
fn protobuf_is_appended_and_scanned() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    // records { key: "k" value: "v1" }, await_durable: true.
    let body = b"\x0a\x07\x0a\x01k\x12\x02v1\x10\x01";
    let both = [PROTOBUF, ("Accept", "application/protobuf")];
    let answer = http.request("POST", APPEND, &both, body);
    assert_eq!(answer.header("content-type"), Some("application/protobuf"));
    // status "success", records_appended 1, start_sequence 0.
    assert_eq!(answer.body, b"\x0a\x07success\x10\x01");
    let json = [PROTOBUF, ("Accept", "application/protobuf+json")];
    let answer = http.request("POST", APPEND, &json, body).ok();
    assert_eq!(
        (&answer["recordsAppended"], &answer["startSequence"]),
        (&json!(1), &json!(1))
    );

    let accept = [("Accept", "application/protobuf")];
    let scan = http.request("GET", "/api/v1/log/scan?key=k&limit=1", &accept, b"");
    assert!(scan.body.starts_with(b"\x0a\x07success\x12\x01k\x1a"));
    assert!(scan.body.windows(4).any(|part| part == b"\x12\x02v1"));
    let keys = http.request("GET", "/api/v1/log/keys", &accept, b"");
    assert_eq!(keys.body, b"\x0a\x07success\x12\x03\x0a\x01k");
    let count = http.request("GET", "/api/v1/log/count?key=k", &accept, b"");
    assert_eq!(count.body, b"\x0a\x07success\x10\x02");
    let segments = http.request("GET", "/api/v1/log/segments", &accept, b"");
    assert!(segments.body.starts_with(b"\x0a\x07success\x12"));

    let garbage = http.request("POST", APPEND, &both, b"\xff\xff\xff");
    assert!(garbage.error(400).contains("Invalid protobuf"));
}

#[test]
fn an_append_is_atomic_over_its_keys() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    let refused = http.append(&[("orders", "1"), ("orders/7", "2")]);
    assert!(refused.error(404).contains("no partition 7"));
    let refused = http.append(&[("events", "1"), ("", "2")]);
    assert!(refused.error(400).contains("key"));
    for key in ["orders", "events"] {
        assert_eq!(
            http.get(&format!("/api/v1/log/count?key={key}")).ok()["count"],
            0
        );
    }
    // In the order given, over partitions and logs of their own.
    let records = [
        ("a", "0"),
        ("b:c", "1"),
        ("a", "2"),
        ("d", "3"),
        ("b:c", "4"),
    ];
    assert_eq!(http.append(&records).ok()["startSequence"], 0);
    let scan = http.get("/api/v1/log/scan?prefix=").ok();
    let expected: Vec<(u64, String)> = (0..5).map(|n| (n, n.to_string())).collect();
    assert_eq!(values(&scan), expected);
    let keys: Vec<_> = scan["values"]
        .as_array()
        .expect("values")
        .iter()
        .map(|value| decoded(&value["key"]))
        .collect();
    assert_eq!(keys, [&b"a"[..], b"b:c", b"a", b"d", b"b:c"]);
    let some = http.get("/api/v1/log/scan?prefix=b&start_seq=2").ok();
    assert_eq!(values(&some), [(4, "4".into())]);
}

#[test]
fn an_empty_append_is_one_of_nothing() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    let answer = http.append(&[]).ok();
    assert_eq!(answer["recordsAppended"], 0);
    http.append(&[("a", "1")]).ok();
    assert_eq!(http.append(&[]).ok()["startSequence"], 1);
}

#[test]
fn topics_are_made_only_if_the_broker_may() {
    let arguments = [
        "--http",
        "127.0.0.1:0",
        "--set",
        "auto.create.topics.enable=false",
    ];
    let Some(broker) = Broker::in_memory(&arguments) else {
        return;
    };
    let http = broker.http();
    assert!(
        http.append(&[("orders", "1")])
            .error(404)
            .contains("auto.create.topics.enable")
    );
    http.append(&[("not:a:topic", "1")]).ok();
    broker.connect().create_topic("orders", 2);
    assert_eq!(http.append(&[("orders/1", "1")]).ok()["recordsAppended"], 1);
    assert!(
        http.append(&[("orders/2", "1")])
            .error(404)
            .contains("no partition 2")
    );
}

/// SIGTERM right after appends that were acknowledged before they were durable loses none of them.
#[test]
fn a_shutdown_keeps_what_was_acknowledged_early() {
    let arguments = ["--http", "127.0.0.1:0"];
    let Some(mut broker) = Broker::on_disk(&arguments) else {
        return;
    };
    let http = broker.http();
    for n in 0..200 {
        let record = json!({ "key": base64("orders"), "value": base64(n.to_string()) });
        let body = json!({ "records": [record], "awaitDurable": false });
        assert_eq!(http.post(APPEND, &body).ok()["startSequence"], n);
    }
    assert!(broker.terminate().success());
    broker.restart();
    let http = broker.http();
    assert_eq!(http.get("/api/v1/log/count?key=orders").ok()["count"], 200);
    // Sequences go on above those that were given out.
    let next = http.append(&[("orders", "x")]).ok()["startSequence"].as_u64();
    assert!(next >= Some(200));
}

/// A store that takes nothing more says so, and when to come back; then it goes on.
#[test]
fn a_full_disk_is_503_until_there_is_room() {
    let arguments = ["--http", "127.0.0.1:0"];
    let Some(broker) = Broker::on_small_disk(64, &arguments) else {
        return;
    };
    let http = broker.http();
    http.append(&[("orders", "1"), ("not:a:topic", "2")]).ok();
    let filler = broker.small_disk().join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    // Until nothing fits, not even a byte.
    let mut piece = vec![0u8; 1 << 20];
    while !piece.is_empty() {
        match std::io::Write::write(&mut file, &piece) {
            Ok(_) => {}
            Err(_) => piece.truncate(piece.len() / 2),
        }
    }
    // What the log's file has left of its last page may still take a little.
    let value = "x".repeat(8 << 10);
    let mut acknowledged = 0;
    let refused = protocol_tests::wait_for("a refusal", || {
        let answer = http.append(&[("orders", &value), ("not:a:topic", &value)]);
        acknowledged += usize::from(answer.status == 200);
        (answer.status != 200).then_some(answer)
    });
    let why = refused.error(503);
    assert!(why.contains("No space left"), "{why}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let refused = http.append(&[("not:a:topic", "3")]);
    refused.error(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(http.get("/-/ready").status, 503);
    let count = http.get("/api/v1/log/count?key=orders").ok();
    assert_eq!(
        count["count"],
        1 + acknowledged,
        "what is durable is served"
    );

    drop(file);
    std::fs::remove_file(filler).expect("it is ours");
    protocol_tests::wait_until("room", || http.get("/-/ready").status == 200);
    http.append(&[("orders", "last")]).ok();
}
