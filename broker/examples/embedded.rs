//! A broker inside a program, such as a test: on a free port, in memory, gone with the value.
//!
//!     cargo run -p trestle --example embedded

use trestle::Broker;

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let broker = Broker::builder().http("127.0.0.1:0").start().await?;
    println!("Kafka clients connect to {}", broker.address());
    if let Some(http) = broker.http_address() {
        println!("people look at http://{http}/api/v1/log/keys");
    }
    broker.shutdown().await;

    // Settings are those of the command; several brokers live side by side.
    let one = Broker::builder().set("num.partitions", "3").start().await?;
    let other = Broker::builder().start().await?;
    assert_ne!(one.address(), other.address());
    drop(other);
    one.shutdown().await;
    Ok(())
}
