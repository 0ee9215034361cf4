//! Whatever a request asks for, its answer can be written in the request's version: fields that a version
//! lacks are left alone, in refusals too. Requests are made after the guard's descriptions, with names of
//! what exists and of what does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rand::SeedableRng;
use rand::rngs::StdRng;
use trestle_storage::{DataUrl, Options};

use super::context::{Context, Hurry};
use super::guard::tests::Generator;
use super::session::Session;
use super::{Api, Outcome, TABLE};
use crate::broker::Broker;
use crate::config::Config;
use crate::env::Env;
use crate::metadata::NewTopic;

/// Requests of each version.
const EACH: usize = 12;
/// What waits for others is given up after this.
const PATIENCE: Duration = Duration::from_millis(50);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Answered,
    Waiting,
    Closed(String),
}

async fn end(api: &Api, ctx: Context, body: BytesMut) -> End {
    let env = ctx.rooms.env.clone();
    let answered = async {
        let mut outcome = (api.run)(ctx, body).await;
        loop {
            match outcome {
                Outcome::Later(rest) => outcome = rest.await,
                Outcome::Reply(_) | Outcome::Silent => return End::Answered,
                Outcome::Close(reason) => return End::Closed(reason),
            }
        }
    };
    let end = env.timeout(PATIENCE, answered).await;
    end.unwrap_or(End::Waiting)
}

#[tokio::test]
async fn every_answer_can_be_written_in_its_version() {
    let config = Config {
        storage: Options::new(DataUrl::Memory),
        listeners: Vec::new(),
        http: None,
        ..Config::default()
    };
    let env = Env::system();
    let broker = Broker::start(config, env).await.unwrap();
    let rooms = broker.rooms();
    for name in ["t", "u"] {
        let topic = NewTopic {
            name: name.into(),
            partitions: Some(2),
            ..NewTopic::default()
        };
        rooms.metadata.create_topic(topic).await.unwrap();
    }
    let mut rng = StdRng::seed_from_u64(3);
    let mut answered = 0;
    for api in TABLE {
        for version in api.served_from..=*api.versions.end() {
            let mut ends = Vec::new();
            for _ in 0..EACH {
                let body = Generator::naming(&["t", "u", "1", ""], api.key, version, &mut rng);
                let hurry = Arc::new(Hurry::default());
                hurry.ask();
                let ctx = Context {
                    image: rooms.metadata.image(),
                    rooms: rooms.clone(),
                    version,
                    client_id: "c".into(),
                    advertised: Arc::new(("localhost".into(), 9092)),
                    peer: SocketAddr::from(([127, 0, 0, 1], 1)),
                    session: Arc::new(Session::default()),
                    hurry,
                };
                let end = end(api, ctx, BytesMut::from(body)).await;
                if let End::Closed(reason) = &end {
                    assert!(!reason.contains("encode"), "{api:?} v{version}: {reason}");
                }
                ends.push(end);
            }
            assert!(
                ends.contains(&End::Answered),
                "{api:?} v{version}: {ends:?}"
            );
            answered += 1;
        }
    }
    assert!(answered >= 150, "{answered} versions");
    drop(rooms);
    broker.stop().await;
}
