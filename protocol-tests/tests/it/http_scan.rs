//! `GET /api/v1/log/scan` and `/keys`: pages, followers, streams.

use std::time::{Duration, Instant};

use protocol_tests::http::{base64, decoded, read_chunk, read_head};
use protocol_tests::{Broker, Http};
use serde_json::{Value, json};

fn fresh() -> Option<(Broker, Http)> {
    let broker = Broker::in_memory(&["--http", "127.0.0.1:0"])?;
    let http = broker.http();
    Some((broker, http))
}

fn sequences(scan: &Value) -> Vec<u64> {
    let values = scan["values"].as_array().expect("values");
    values
        .iter()
        .filter_map(|value| value["sequence"].as_u64())
        .collect()
}

#[test]
fn pages_of_any_size_yield_each_record_once() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    for n in 0..10 {
        let records: Vec<_> = (0..10).map(|m| format!("{}", n * 10 + m)).collect();
        let records: Vec<_> = records.iter().map(|text| ("a", text.as_str())).collect();
        http.append(&records).ok();
        http.append(&[("other", "x")]).ok();
    }
    for query in [
        "limit=1",
        "limit=7",
        "limit=1000",
        "max_bytes=1",
        "max_bytes=15",
        "",
    ] {
        let (mut next, mut offset) = (json!(0), json!(0));
        let mut found = Vec::new();
        for by_offset in [false, true] {
            loop {
                let place = match by_offset {
                    false => format!("start_seq={next}"),
                    true => format!("offset={offset}"),
                };
                let scan = http
                    .get(&format!("/api/v1/log/scan?key=a&{place}&{query}"))
                    .ok();
                if scan["values"].as_array().expect("values").is_empty() {
                    break;
                }
                for value in scan["values"].as_array().expect("values") {
                    found.push(String::from_utf8(decoded(&value["value"])).expect("text"));
                }
                next = scan["nextSequence"].clone();
                offset = scan["nextOffset"].clone();
            }
            let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
            assert_eq!(found, expected, "{query} {by_offset}");
            found.clear();
            offset = json!(0);
        }
    }
    let default = http.get("/api/v1/log/scan?key=a").ok();
    assert_eq!(sequences(&default).len(), 32);
    let range = http
        .get("/api/v1/log/scan?key=a&start_seq=5&end_seq=8")
        .ok();
    assert_eq!(sequences(&range), [5, 6, 7]);
    let empty = http
        .get("/api/v1/log/scan?key=a&start_seq=10&end_seq=11")
        .ok();
    assert_eq!(
        (sequences(&empty).len(), &empty["nextSequence"]),
        (0, &json!(11))
    );
}

#[test]
fn keys_are_listed_by_page_and_prefix() {
    let Some((broker, http)) = fresh() else {
        return;
    };
    broker.connect().create_topic("wide", 3);
    let records: Vec<String> = (0..50).map(|n| format!("key-{n:02}")).collect();
    let records: Vec<_> = records.iter().map(|key| (key.as_str(), "x")).collect();
    http.append(&records).ok();
    http.append(&[("wide", "0"), ("wide/2", "2"), ("free:key", "x")])
        .ok();

    let mut keys = Vec::new();
    let mut token = String::new();
    loop {
        let page = http.get(&format!("/api/v1/log/keys?limit=7{token}")).ok();
        for key in page["keys"].as_array().expect("keys") {
            keys.push(String::from_utf8(decoded(&key["key"])).expect("text"));
        }
        match page["continuation"].as_str() {
            Some(next) => token = format!("&continuation={next}"),
            None => break,
        }
    }
    let mut expected: Vec<String> = records.iter().map(|(key, _)| (*key).to_owned()).collect();
    expected.extend(["wide", "wide/2", "free:key"].map(str::to_owned));
    expected.sort();
    assert_eq!(keys, expected);
    let wide = http.get("/api/v1/log/keys?prefix=wide").ok();
    assert_eq!(
        wide["keys"],
        json!([{ "key": base64("wide") }, { "key": base64("wide/2") }])
    );
    let none = http
        .get("/api/v1/log/keys?start_segment=5&end_segment=9")
        .ok();
    assert_eq!(none["keys"], json!([]));
}

#[test]
fn a_follower_waits_as_long_as_it_says() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    http.append(&[("other", "x")]).ok();
    for (key, wait_ms) in [("other", 10), ("no-topic", 100), ("free:key", 50)] {
        let begin = Instant::now();
        let path =
            format!("/api/v1/log/scan?key={key}&start_seq=1&follow=true&timeout_ms={wait_ms}");
        let scan = http.get(&path).ok();
        assert_eq!(
            (sequences(&scan).len(), &scan["nextSequence"]),
            (0, &json!(1))
        );
        assert!(begin.elapsed() >= Duration::from_millis(wait_ms));
    }
    // With data there, at once.
    let begin = Instant::now();
    let scan = http.get("/api/v1/log/scan?key=other&follow=true").ok();
    assert_eq!(sequences(&scan), [0]);
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_follower_is_woken_by_what_it_waits_for() {
    let Some((broker, http)) = fresh() else {
        return;
    };
    http.append(&[("old", "x"), ("free:key", "x")]).ok();
    for query in [
        "key=old&start_seq=2",
        "key=free:key&start_seq=2",
        "key=new",
        "prefix=n",
    ] {
        let waiting = std::thread::spawn({
            let http = http.clone();
            let path = format!("/api/v1/log/scan?{query}&follow=true&timeout_ms=20000");
            move || http.get(&path).ok()
        });
        let count = http.get("/api/v1/log/count?key=old").ok()["count"].as_u64();
        assert!(count >= Some(1));
        http.append(&[("old", "1"), ("free:key", "1"), ("new", "1")])
            .ok();
        let scan = waiting.join().expect("no panic");
        assert!(!sequences(&scan).is_empty(), "{query}: {scan}");
    }
    // Idle followers cost nothing.
    let idle: Vec<_> = (0..50)
        .map(|_| http.send("GET", "/api/v1/log/scan?key=idle&follow=true", &[], b""))
        .collect();
    http.get("/-/healthy");
    let before = broker.cpu_ticks();
    let end = Instant::now() + Duration::from_secs(1);
    protocol_tests::wait_until("a second to pass", || Instant::now() >= end);
    let ticks = broker.cpu_ticks() - before;
    assert!(
        ticks < 20,
        "50 idle followers took {ticks} ticks in a second"
    );
    drop(idle);
}

#[test]
fn streams_go_on_until_they_are_told_to_end() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    http.append(&[("a", "0"), ("b", "1"), ("a", "2")]).ok();
    let lines = [("Accept", "application/x-ndjson")];
    let all = http.request("GET", "/api/v1/log/scan?key=a", &lines, b"");
    assert_eq!(all.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(all.body).expect("text");
    let parsed: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(parsed.len(), 2);
    assert_eq!(
        (&parsed[1]["sequence"], &parsed[1]["key"]),
        (&json!(2), &json!(base64("a")))
    );

    let events = [("Accept", "text/event-stream"), ("Last-Event-ID", "1")];
    let mut stream = http.send("GET", "/api/v1/log/scan?key=a&follow=true", &events, b"");
    let (status, headers) = read_head(&mut stream);
    assert_eq!(status, 200);
    assert!(headers.contains(&("content-type".into(), "text/event-stream".into())));
    let event = String::from_utf8(read_chunk(&mut stream).expect("an event")).expect("text");
    assert!(
        event.starts_with("id: 3\ndata: {") && event.ends_with("}\n\n"),
        "{event}"
    );
    http.append(&[("a", "3")]).ok();
    let event = String::from_utf8(read_chunk(&mut stream).expect("an event")).expect("text");
    assert!(event.starts_with("id: 4\n"), "{event}");
}
