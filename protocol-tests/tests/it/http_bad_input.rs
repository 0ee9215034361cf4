//! What is refused over HTTP, and how: JSON that names the parameter.

use protocol_tests::{Broker, Http};
use serde_json::json;

fn fresh() -> Option<(Broker, Http)> {
    let broker = Broker::in_memory(&["--http", "127.0.0.1:0"])?;
    let http = broker.http();
    Some((broker, http))
}

#[test]
fn parameters_are_named() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    let scan = "/api/v1/log/scan";
    for (path, named) in [
        (scan.to_owned(), "key"),
        (format!("{scan}?key="), "key"),
        (format!("{scan}?key=a&limit=x"), "limit"),
        (format!("{scan}?key=a&limit=0"), "limit"),
        (format!("{scan}?key=a&max_bytes=0"), "max_bytes"),
        (format!("{scan}?key=a&start_seq=-1"), "start_seq"),
        (format!("{scan}?key=a&start_seq=5&end_seq=4"), "end_seq"),
        (format!("{scan}?key=a&follow=yes"), "follow"),
        (format!("{scan}?key=a&timeout_ms=soon"), "timeout_ms"),
        (format!("{scan}?key=a&offset=1&start_seq=1"), "offset"),
        (format!("{scan}?key=a&prefix=b"), "prefix"),
        (format!("{scan}?key=%zz"), "key"),
        (format!("{scan}?key_base64=!!"), "key_base64"),
        ("/api/v1/log/keys?limit=0".into(), "limit"),
        (
            "/api/v1/log/keys?start_segment=2&end_segment=1".into(),
            "start_segment",
        ),
        ("/api/v1/log/keys?continuation=!".into(), "continuation"),
        ("/api/v1/log/count".into(), "key"),
        ("/api/v1/log/segments?start_seq=x".into(), "start_seq"),
    ] {
        let message = http.get(&path).error(400);
        assert!(message.contains(named), "{path}: {message}");
    }
    assert!(
        http.get(&format!("{scan}?key=a/01"))
            .error(404)
            .contains("a/01")
    );
    let long = "k".repeat(1025);
    assert!(
        http.get(&format!("{scan}?key={long}"))
            .error(400)
            .contains("1024")
    );
    // Any other bytes are a key.
    assert_eq!(http.get(&format!("{scan}?key=%ff%00")).ok()["key"], "/wA=");
}

#[test]
fn bodies_are_refused_with_the_reason() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    let append = "/api/v1/log/append";
    let refused = |body: &[u8], status| http.request("POST", append, &[], body).error(status);
    assert!(refused(b"{", 400).contains("Invalid JSON"));
    assert!(refused(b"", 400).contains("Invalid JSON"));
    assert!(refused(b"{}", 400).contains("records"));
    let post = |body: serde_json::Value| http.post(append, &body).error(400);
    assert!(
        post(json!({ "records": [{ "value": "eA==" }] })).contains("record[0]: key is required")
    );
    assert!(
        post(json!({ "records": [{ "key": "eA==" }] })).contains("record[0]: value is required")
    );
    assert!(post(json!({ "records": [{ "key": "?", "value": "" }] })).contains("record[0]: key"));
    let huge = vec![b' '; (8 << 20) + 1];
    assert!(refused(&huge, 413).contains("trestle.http.request.max.bytes"));
    // A record that no topic takes.
    let large = "x".repeat(2 << 20);
    assert!(
        http.append(&[("a", &large)])
            .error(413)
            .contains("max.message.bytes")
    );
    assert!(
        http.append(&[("__consumer_offsets", "x")])
            .error(400)
            .contains("only the broker")
    );
}

#[test]
fn paths_methods_and_origins_are_checked() {
    let Some((_broker, http)) = fresh() else {
        return;
    };
    http.get("/nowhere").error(404);
    http.get("/api/v1/log/append").error(405);
    http.request("DELETE", "/api/v1/log/scan?key=a", &[], b"")
        .error(405);
    let foreign = [("Origin", "http://evil.example")];
    for (method, path) in [
        ("GET", "/api/v1/log/keys"),
        ("POST", "/api/v1/log/append"),
        ("GET", "/metrics"),
    ] {
        assert!(
            http.request(method, path, &foreign, b"")
                .error(403)
                .contains("origin")
        );
    }
    let own = format!("http://{}", http.address());
    let keys = http.request("GET", "/api/v1/log/keys", &[("Origin", &own)], b"");
    keys.ok();
}
