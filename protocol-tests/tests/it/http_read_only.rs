//! `--read-only`: a second process over the same data, which writes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use protocol_tests::http::decoded;
use protocol_tests::{Batch, Broker, codes, wait_for, wait_until};

const HTTP: [&str; 2] = ["--http", "127.0.0.1:0"];

/// Every file below a directory, with its length and time.
fn files(directory: &Path, found: &mut BTreeMap<String, (u64, std::time::SystemTime)>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("its metadata");
        if metadata.is_dir() {
            files(&entry.path(), found);
        } else {
            let path = entry.path().display().to_string();
            let modified = metadata.modified().expect("a time");
            found.insert(path, (metadata.len(), modified));
        }
    }
}

#[test]
fn a_reader_serves_what_another_broker_writes() {
    let Some(mut writer) = Broker::on_disk(&HTTP) else {
        return;
    };
    let written = writer.http();
    written.append(&[("orders", "1"), ("tenant:7", "2")]).ok();
    let reader = writer.beside(&["--read-only", "--http", "127.0.0.1:0"]);
    let read = reader.http();
    assert_eq!(read.get("/-/ready").status, 200);
    assert_eq!(read.get("/api/v1/log/count?key=orders").ok()["count"], 1);
    let scan = read.get("/api/v1/log/scan?key=tenant:7").ok();
    assert_eq!(decoded(&scan["values"][0]["value"]), b"2");

    // One record is seen without any flush, by who waits for it too.
    let waiting = std::thread::spawn({
        let read = read.clone();
        move || {
            read.get("/api/v1/log/scan?key=orders&start_seq=2&follow=true")
                .ok()
        }
    });
    written.append(&[("orders", "3"), ("later", "4")]).ok();
    let followed = waiting.join().expect("no panic");
    assert_eq!(decoded(&followed["values"][0]["value"]), b"3");
    wait_until("the topic that was made later", || {
        read.get("/api/v1/log/count?key=later").ok()["count"] == 1
    });
    // Idle keys go on without a new segment.
    wait_for("the frontier", || {
        let scan = read.get("/api/v1/log/scan?key=idle").ok();
        scan["nextSequence"].as_u64().filter(|next| *next >= 2)
    });

    let mut client = reader.connect();
    assert_eq!(client.read_text("orders", 0), ["1", "3"]);
    let refused = client.try_produce("orders", 0, Batch::counted(1));
    assert_eq!(refused.error_code, codes::TOPIC_AUTHORIZATION_FAILED);
    assert!(
        read.append(&[("orders", "x")])
            .error(404)
            .contains("only reads")
    );

    // It keeps serving when the writer has gone, and leaves no trace.
    writer.kill();
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    files(&writer.data_directory(), &mut before);
    assert_eq!(read.get("/api/v1/log/count?key=orders").ok()["count"], 2);
    assert_eq!(client.read_text("orders", 0), ["1", "3"]);
    drop(reader);
    files(&writer.data_directory(), &mut after);
    assert_eq!(before, after);
}
