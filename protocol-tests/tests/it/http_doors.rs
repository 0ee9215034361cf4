//! One log, two doors: what is appended over HTTP is consumed over Kafka's protocol, and the reverse.

use protocol_tests::http::{base64, decoded};
use protocol_tests::{Batch, Broker, Codec, Record};
use serde_json::json;

#[test]
fn records_go_both_ways() {
    let Some(broker) = Broker::in_memory(&["--http", "127.0.0.1:0"]) else {
        return;
    };
    let http = broker.http();
    let mut client = broker.connect();
    http.append(&[("orders", "from-http")]).ok();
    let found = client.read("orders", 0, 0);
    assert_eq!((found[0].text(), &found[0].key), ("from-http", &None));

    for (at, codec) in Codec::ALL.into_iter().enumerate() {
        let record = Record::new("from-kafka")
            .key("key")
            .header("h", Some("v"))
            .timestamp(1_700_000_000_000);
        client.produce("orders", 0, Batch::records(vec![record]).codec(codec));
        let offset = at + 1;
        let scan = http
            .get(&format!("/api/v1/log/scan?key=orders&offset={offset}"))
            .ok();
        let value = &scan["values"][0];
        assert_eq!(value["offset"], offset);
        assert_eq!(value["sequence"], offset);
        assert_eq!(value["timestamp"], 1_700_000_000_000_i64);
        assert_eq!(value["recordKey"], base64("key"));
        assert_eq!(
            value["headers"],
            json!([{ "key": "h", "value": base64("v") }])
        );
        assert_eq!(decoded(&value["value"]), b"from-kafka");
    }

    // What Kafka's records have can be given over HTTP too.
    let record = json!({
        "key": base64("orders"), "value": base64("v"), "recordKey": base64("k"),
        "headers": [{ "key": "n", "value": base64("x") }], "timestamp": 12345,
    });
    let body = json!({ "records": [record], "awaitDurable": true });
    let start = http.post("/api/v1/log/append", &body).ok()["startSequence"].clone();
    let scan = http
        .get(&format!("/api/v1/log/scan?key=orders/0&start_seq={start}"))
        .ok();
    let value = &scan["values"][0];
    assert_eq!(
        (&value["recordKey"], &value["timestamp"]),
        (&json!(base64("k")), &json!(12345))
    );
    assert_eq!(
        value["headers"],
        json!([{ "key": "n", "value": base64("x") }])
    );
}

#[test]
fn a_deleted_topic_is_gone_from_both() {
    let Some(broker) = Broker::in_memory(&["--http", "127.0.0.1:0"]) else {
        return;
    };
    let http = broker.http();
    let mut client = broker.connect();
    http.append(&[("orders", "old"), ("free:key", "x")]).ok();
    client.delete_topic("orders");
    assert_eq!(
        http.get("/api/v1/log/keys").ok()["keys"],
        json!([{ "key": base64("free:key") }])
    );
    assert_eq!(http.get("/api/v1/log/count?key=orders").ok()["count"], 0);
    http.append(&[("orders", "new")]).ok();
    let scan = http.get("/api/v1/log/scan?key=orders").ok();
    assert_eq!(scan["values"].as_array().map(Vec::len), Some(1));
    assert_eq!(decoded(&scan["values"][0]["value"]), b"new");
    let keys = http.get("/api/v1/log/keys").ok();
    assert_eq!(
        keys["keys"],
        json!([{ "key": base64("free:key") }, { "key": base64("orders") }])
    );
}

#[test]
fn metrics_and_health_are_served() {
    let Some(broker) = Broker::in_memory(&["--http", "127.0.0.1:0"]) else {
        return;
    };
    let http = broker.http();
    assert_eq!(http.get("/-/healthy").status, 200);
    assert_eq!(http.get("/-/ready").status, 200);
    let value = |name: &str| {
        let text = String::from_utf8(http.get("/metrics").body).expect("text");
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.rsplit(' ')
            .next()
            .and_then(|n| n.parse::<f64>().ok())
            .expect("a number")
    };
    let before = value("slatedb_db_write_ops");
    http.append(&[("a", "x")]).ok();
    assert!(value("slatedb_db_write_ops") > before);
    assert!(value("trestle_http_appended_records_total") >= 1.0);
    assert!(
        value(
            "trestle_http_requests_total{method=\"POST\",endpoint=\"/api/v1/log/append\",status=\"200\"}"
        ) >= 1.0
    );
}

/// Every path of the description is served, and by the methods that it says.
#[test]
fn the_description_is_that_of_the_server() {
    let Some(broker) = Broker::in_memory(&["--http", "127.0.0.1:0"]) else {
        return;
    };
    let http = broker.http();
    let description = http.get("/openapi.json").ok();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase();
            let status = http.request(&method, path, &[], b"").status;
            assert!(
                operation["responses"].get(status.to_string()).is_some(),
                "{method} {path}: {status}"
            );
            if methods.get("post").is_none() || methods.get("get").is_none() {
                let other = if method == "GET" { "POST" } else { "GET" };
                http.request(other, path, &[], b"").error(405);
            }
        }
    }
}

#[test]
fn checkpoints_are_made_listed_and_deleted() {
    let Some(broker) = Broker::on_disk(&["--http", "127.0.0.1:0"]) else {
        return;
    };
    let http = broker.http();
    http.append(&[("orders", "1"), ("orders", "2")]).ok();
    let path = "/api/v1/checkpoints";
    let made = http
        .request("POST", &format!("{path}?name=one"), &[], b"")
        .ok();
    let id = made["checkpoint"]["id"].as_str().expect("an id").to_owned();
    let listed = http.get(path).ok().to_string();
    assert!(listed.contains(&id) && listed.contains("one"), "{listed}");
    http.request("DELETE", &format!("{path}?id={id}"), &[], b"")
        .ok();
    assert!(!http.get(path).ok().to_string().contains(&id));
    let refused = http.request("DELETE", &format!("{path}?id=x"), &[], b"");
    assert!(refused.error(400).contains("id"));

    let inspection = http.get("/api/v1/log/inspect?key=orders").ok();
    assert_eq!(
        (&inspection["total"], &inspection["segments"][0]["count"]),
        (&json!(2), &json!(2))
    );
    assert!(
        http.get("/api/v1/log/tree").ok()["segments"]
            .as_array()
            .is_some_and(|s| !s.is_empty())
    );
}
