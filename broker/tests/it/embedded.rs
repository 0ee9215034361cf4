//! The example for embedders runs, and what it shows holds.

#[path = "../../examples/embedded.rs"]
mod example;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use trestle::Broker;

#[test]
fn the_example_runs() {
    example::main().expect("it ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_gone_with_its_value() {
    let broker = Broker::builder().start().await.expect("it starts");
    let address = broker.address();
    drop(broker);
    // Its port is free again.
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = TcpListener::bind(&address) {
        assert!(Instant::now() < deadline, "{address}: {error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_setting_that_cannot_work_is_refused_with_the_reason() {
    for (name, value, why) in [
        ("num.partitions", "0", "num.partitions"),
        (
            "trestle.http.request.max.bytes",
            "0",
            "trestle.http.request.max.bytes",
        ),
        ("no.such.setting", "1", "no.such.setting"),
    ] {
        let refused = Broker::builder().set(name, value).start().await;
        let refused = refused.expect_err("refused").to_string();
        assert!(refused.contains(why), "{refused}");
    }
}
