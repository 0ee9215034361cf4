use trestle_storage::{DataUrl, EntryFormat, NewEntry, Options, ReadLimit};

use super::*;

struct Broker {
    env: Env,
    store: Store,
    controller: Controller,
}

impl Broker {
    async fn start(config: Config) -> Result<Self, LoadError> {
        let env = Env::system();
        let store = Store::open(config.storage.clone(), env.clock()).await?;
        match Controller::load(env.clone(), Arc::new(config), store.clone()).await {
            Ok(controller) => Ok(Self {
                env,
                store,
                controller,
            }),
            Err(error) => {
                store.close().await?;
                Err(error)
            }
        }
    }

    async fn in_memory() -> Self {
        Self::start(config(DataUrl::Memory)).await.unwrap()
    }

    async fn stop(self) {
        self.env.stopping().cancel();
        self.env.join().await;
        self.store.close().await.unwrap();
    }
}

fn config(data: DataUrl) -> Config {
    Config {
        storage: Options {
            fsync: false,
            ..Options::new(data)
        },
        ..Config::default()
    }
}

fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.into(),
        partitions: Some(partitions),
        ..NewTopic::default()
    }
}

fn keys(topic: &Topic) -> Vec<&[u8]> {
    topic.partitions.iter().map(|p| &p.log_key[..]).collect()
}

async fn append(store: &Store, key: &[u8]) -> Log {
    let log = store.log(key).await.unwrap();
    let mut write_set = WriteSet::new();
    write_set.append(
        &log,
        NewEntry {
            first_offset: log.bounds().end_offset,
            count: 1,
            max_timestamp: -1,
            format: EntryFormat::Raw,
            payload: Bytes::from_static(b"x"),
        },
    );
    commit(store, write_set).await.unwrap();
    log
}

#[tokio::test]
async fn a_created_topic_is_in_the_next_image() {
    let broker = Broker::in_memory().await;
    let before = broker.controller.image();
    let made = broker.controller.create_topic(topic("t", 2)).await.unwrap();
    let after = broker.controller.image();
    assert!(before.topic("t").is_none(), "readers keep their image");
    assert!(after.version > before.version);
    assert_eq!(after.topic("t").unwrap().id, made.id);
    assert_eq!(after.topic_by_id(&made.id).unwrap().name, made.name);
    assert_eq!(keys(&made), [b"t/0", b"t/1"]);
    assert!(matches!(
        broker.controller.create_topic(topic("t", 1)).await,
        Err(MetadataError::TopicExists(_))
    ));
    broker.stop().await;
}

#[tokio::test]
async fn each_topic_of_a_request_stands_alone() {
    let broker = Broker::in_memory().await;
    let asked = vec![topic("a", 1), topic("b", 0), topic("c", 1), topic("c", 2)];
    let made = broker.controller.create_topics(asked, false).await;
    assert_eq!(
        made.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true, false]
    );
    assert_eq!(broker.controller.image().topics.len(), 2);
    broker.stop().await;
}

#[tokio::test]
async fn validation_alone_changes_nothing() {
    let broker = Broker::in_memory().await;
    let judged = broker
        .controller
        .create_topics(vec![topic("a", 3), topic("b", 0)], true)
        .await;
    let a = judged[0].as_ref().unwrap();
    assert!(a.id.is_nil());
    assert_eq!(a.partitions.len(), 3);
    assert!(judged[1].is_err());
    assert!(broker.controller.image().topics.is_empty());
    assert_eq!(broker.controller.image().version, 0);
    broker.stop().await;
}

#[tokio::test]
async fn settings_are_checked_and_kept() {
    let broker = Broker::in_memory().await;
    let with = |name: &str, value: Option<&str>| NewTopic {
        overrides: BTreeMap::from([(name.into(), value.map(Into::into))]),
        ..topic("t", 1)
    };
    for wrong in [
        with("retention.mss", Some("1")),
        with("retention.ms", Some("soon")),
        with("retention.ms", None),
    ] {
        assert!(matches!(
            broker.controller.create_topic(wrong).await,
            Err(MetadataError::InvalidConfig { .. })
        ));
    }
    let made = broker
        .controller
        .create_topic(with("retention.ms", Some("5000")))
        .await
        .unwrap();
    assert_eq!(made.config.retention_ms, 5000);
    assert_eq!(made.overrides["retention.ms"], "5000");
    broker.stop().await;
}

#[tokio::test]
async fn a_name_used_again_gets_logs_of_its_own() {
    let broker = Broker::in_memory().await;
    let first = broker.controller.create_topic(topic("t", 2)).await.unwrap();
    let log = append(&broker.store, b"t/0").await;
    assert_eq!(log.bounds().end_offset, 1);
    drop(log);
    broker.controller.delete_topic(first.id).await.unwrap();
    assert!(broker.controller.image().topic("t").is_none());
    assert!(broker.controller.image().topic_by_id(&first.id).is_none());
    assert!(broker.store.keys(b"t/").await.unwrap().is_empty());

    let second = broker.controller.create_topic(topic("t", 1)).await.unwrap();
    assert_ne!(second.id, first.id);
    let key = [b"t/0\0", &second.id.as_bytes()[..]].concat();
    assert_eq!(keys(&second), [&key[..]]);
    let log = broker.store.log(&key).await.unwrap();
    assert_eq!(log.bounds().end_offset, 0);

    let asked = NewPartitions {
        topic: "t".into(),
        count: 2,
        assignments: None,
    };
    let more = broker.controller.add_partitions(vec![asked], false).await;
    let more = more[0].as_ref().unwrap();
    assert_eq!(more.id, second.id);
    assert_eq!(
        keys(more)[1],
        [b"t/1\0", &second.id.as_bytes()[..]].concat()
    );
    assert!(matches!(
        broker.controller.delete_topic(first.id).await,
        Err(MetadataError::UnknownTopicId(_))
    ));
    broker.stop().await;
}

#[tokio::test]
async fn a_deleted_topic_s_records_are_gone_for_ever() {
    let broker = Broker::in_memory().await;
    let made = broker.controller.create_topic(topic("t", 1)).await.unwrap();
    let log = append(&broker.store, b"t/0").await;
    broker.controller.delete_topic(made.id).await.unwrap();
    let limit = ReadLimit {
        end_offset: u64::MAX,
        max_bytes: 1024,
        max_entries: 10,
    };
    assert!(
        log.read(0, limit)
            .await
            .map_or(true, |entries| entries.is_empty())
    );
    broker.stop().await;
}

#[tokio::test]
async fn partitions_are_added_for_good() {
    let broker = Broker::in_memory().await;
    let made = broker.controller.create_topic(topic("t", 1)).await.unwrap();
    let grow = |topic: &str, count| NewPartitions {
        topic: topic.into(),
        count,
        assignments: None,
    };
    let asked = vec![grow("t", 3), grow("t", 3), grow("u", 3), grow("t", 4)];
    let added = broker.controller.add_partitions(asked, false).await;
    assert_eq!(keys(added[0].as_ref().unwrap()), [b"t/0", b"t/1", b"t/2"]);
    assert!(matches!(
        added[1],
        Err(MetadataError::InvalidPartitions { .. })
    ));
    assert!(matches!(added[2], Err(MetadataError::UnknownTopic(_))));
    assert_eq!(added[3].as_ref().unwrap().partitions.len(), 4);
    let image = broker.controller.image();
    assert_eq!(image.topic_by_id(&made.id).unwrap().partitions.len(), 4);
    assert_eq!(image.topic("t").unwrap().partitions.len(), 4);
    broker.stop().await;
}

#[tokio::test]
async fn there_is_an_end_to_partitions() {
    let config = Config {
        max_partitions: 5,
        ..config(DataUrl::Memory)
    };
    let broker = Broker::start(config).await.unwrap();
    let asked = vec![topic("a", 3), topic("b", 3), topic("c", 2)];
    let made = broker.controller.create_topics(asked, false).await;
    assert!(made[0].is_ok());
    assert!(matches!(
        made[1],
        Err(MetadataError::TooManyPartitions { .. })
    ));
    let c = made[2].as_ref().unwrap();
    assert!(matches!(
        broker.controller.create_topic(topic("d", 1)).await,
        Err(MetadataError::TooManyPartitions { .. })
    ));
    broker.controller.delete_topic(c.id).await.unwrap();
    assert!(broker.controller.create_topic(topic("d", 2)).await.is_ok());
    broker.stop().await;
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Broker::start(config(DataUrl::File(dir.path().into())));
    let broker = start().await.unwrap();
    let id = broker.controller.image().cluster_id.clone();
    assert_eq!(id.len(), 22);
    let kept = NewTopic {
        overrides: BTreeMap::from([("retention.bytes".into(), Some("77".into()))]),
        replication_factor: Some(3),
        ..topic("kept", 4)
    };
    let kept = broker.controller.create_topic(kept).await.unwrap();
    let gone = broker
        .controller
        .create_topic(topic("gone", 1))
        .await
        .unwrap();
    broker.controller.delete_topic(gone.id).await.unwrap();
    broker.stop().await;

    let broker = start().await.unwrap();
    let image = broker.controller.image();
    assert_eq!(image.cluster_id, id);
    assert_eq!(image.topics.len(), 1);
    let loaded = image.topic("kept").unwrap();
    assert_eq!(loaded.id, kept.id);
    assert_eq!(loaded.partitions, kept.partitions);
    assert_eq!(loaded.replication_factor, 3);
    assert_eq!(loaded.overrides, kept.overrides);
    assert_eq!(loaded.config.retention_bytes, 77);
    let again = broker
        .controller
        .create_topic(topic("gone", 1))
        .await
        .unwrap();
    assert_ne!(
        keys(&again),
        [b"gone/0"],
        "the past of a name is remembered"
    );
    broker.stop().await;
}

#[tokio::test]
async fn another_cluster_s_id_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let start = |id: Option<&str>| {
        Broker::start(Config {
            cluster_id: id.map(Into::into),
            ..config(DataUrl::File(dir.path().into()))
        })
    };
    assert!(matches!(
        start(Some("not one!")).await,
        Err(LoadError::InvalidClusterId(_))
    ));
    let broker = start(Some("mine")).await.unwrap();
    broker.stop().await;
    let broker = start(None).await.unwrap();
    assert_eq!(&*broker.controller.image().cluster_id, "mine");
    broker.stop().await;
    let Err(error) = start(Some("other")).await else {
        panic!("started under another cluster's id");
    };
    assert!(error.to_string().contains("\"mine\"") && error.to_string().contains("leave"));
}

#[tokio::test]
async fn many_topics_share_commits() {
    let broker = Broker::in_memory().await;
    let asked = (0..1000)
        .map(|number| topic(&format!("t{number}"), 10))
        .collect();
    let made = broker.controller.create_topics(asked, false).await;
    assert!(made.iter().all(Result::is_ok));
    let image = broker.controller.image();
    assert_eq!(image.topics.len(), 1000);
    assert!(image.version <= 2, "{} commits", image.version);
    broker.stop().await;
}

#[tokio::test]
async fn a_stopped_room_says_so() {
    let broker = Broker::in_memory().await;
    broker.env.stopping().cancel();
    broker.env.join().await;
    let refused = broker
        .controller
        .create_topics(vec![topic("a", 1), topic("b", 1)], false)
        .await;
    assert_eq!(refused.len(), 2);
    for refused in refused {
        assert!(matches!(refused, Err(MetadataError::Stopping)));
    }
    broker.store.close().await.unwrap();
}

#[tokio::test]
async fn a_closed_store_changes_nothing() {
    let broker = Broker::in_memory().await;
    broker.store.close().await.unwrap();
    assert!(matches!(
        broker.controller.create_topic(topic("t", 1)).await,
        Err(MetadataError::Storage(_))
    ));
    assert!(broker.controller.image().topics.is_empty());
    broker.env.stopping().cancel();
    broker.env.join().await;
}
