use std::collections::{BTreeMap, BTreeSet};

use super::definitions::{BROKER, CLIENT_METRICS, GROUP, TOPIC, UNUSED, broker, topic};
use super::*;

fn flag() -> Origin {
    Origin::Flag("--set".into())
}

fn line(line: usize) -> Origin {
    Origin::File {
        path: "server.properties".into(),
        line,
    }
}

fn load(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut settings = Settings::default();
    for (name, value) in pairs {
        settings.set(name, value, flag())?;
    }
    Config::load(settings)
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    match load(pairs) {
        Ok(_) => panic!("{pairs:?} was taken"),
        Err(error) => error.to_string(),
    }
}

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[test]
fn rows_are_in_order_and_their_defaults_fit() {
    for table in [BROKER, TOPIC, UNUSED, GROUP, CLIENT_METRICS] {
        let names: Vec<&str> = table.iter().map(|row| row.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        for row in table {
            if let Some(default) = row.default {
                assert_eq!(row.check(default).as_deref(), Ok(default), "{}", row.name);
            }
            assert!(row.doc.ends_with('.'), "{}", row.name);
        }
    }
}

#[test]
fn every_synonym_is_a_broker_setting_with_the_same_default() {
    for row in TOPIC.iter().chain(GROUP) {
        for synonym in row.synonyms {
            let own =
                broker(synonym.name).unwrap_or_else(|| panic!("{} is not a row", synonym.name));
            if let Some(default) = own.default {
                let converted = match default.parse::<i64>() {
                    Ok(number) if synonym.factor != 1 => (number * synonym.factor).to_string(),
                    Ok(_) | Err(_) => default.to_owned(),
                };
                assert_eq!(row.default, Some(converted.as_str()), "{}", synonym.name);
            }
        }
    }
}

#[test]
fn every_name_but_ours_is_kafkas() {
    let known: BTreeSet<&str> = kafka_names::all().iter().copied().collect();
    for row in BROKER {
        let ours = row.name.starts_with("trestle.") || row.name == "cluster.id";
        assert_eq!(known.contains(row.name), !ours, "{}", row.name);
    }
    assert!(known.len() > 350, "{}", known.len());
}

#[test]
fn every_honoured_setting_reaches_a_field() {
    let elsewhere = [
        "advertised.listeners",
        "broker.id",
        "cluster.id",
        "controller.listener.names",
        "listener.security.protocol.map",
        "listeners",
        "log.dir",
        "log.dirs",
        "trestle.log.format",
    ];
    let of_topics: BTreeSet<&str> = TOPIC
        .iter()
        .filter(|row| row.support == Support::Honoured)
        .flat_map(|row| row.synonyms.iter().map(|synonym| synonym.name))
        .collect();
    for row in BROKER {
        let reached = super::broker::FIELDS.contains(&row.name)
            || elsewhere.contains(&row.name)
            || of_topics.contains(row.name);
        assert_eq!(reached, row.support == Support::Honoured, "{}", row.name);
    }
}

#[test]
fn defaults_are_those_of_the_table_and_of_the_store() {
    let config = Config::default();
    assert_eq!(config.node_id, 1);
    assert_eq!(config.num_partitions, 1);
    assert_eq!(config.request_max_bytes, 104_857_600);
    assert!(config.auto_create_topics && config.delete_topics && !config.strict_replication);
    assert_eq!(config.http.as_deref(), Some("127.0.0.1:8080"));
    let store = trestle_storage::Options::new(config.storage.data.clone());
    assert_eq!(format!("{:?}", config.storage), format!("{store:?}"));
    for row in BROKER {
        let value = config.value_of(row.name);
        match row.name {
            "broker.id" => assert_eq!(value.as_deref(), Some("1")),
            "log.dir" | "log.dirs" => assert_eq!(value.as_deref(), Some("file:./trestle-data")),
            _ => assert_eq!(value.as_deref(), row.default, "{}", row.name),
        }
    }
}

#[test]
fn values_are_checked_and_trimmed() {
    let partitions = broker("num.partitions").expect("a row");
    assert_eq!(partitions.check(" 3 ").as_deref(), Ok("3"));
    for value in ["0", "-1", "x", "", "2147483648", "1.5"] {
        let error = partitions.check(value).expect_err(value).to_string();
        let expected =
            format!("invalid value {value:?} for num.partitions; give a whole number from 1 on");
        assert_eq!(error, expected);
    }
    let create = broker("auto.create.topics.enable").expect("a row");
    assert_eq!(create.check("TRUE").as_deref(), Ok("true"));
    assert!(create.check("yes").is_err());
    let policy = topic("cleanup.policy").expect("a row");
    assert_eq!(
        policy.check("compact, delete").as_deref(),
        Ok("compact,delete")
    );
    assert_eq!(policy.check("").as_deref(), Ok(""));
    assert_eq!(
        policy
            .check("compress")
            .expect_err("not a policy")
            .to_string(),
        "invalid value \"compress\" for cleanup.policy; give a list, with commas, of compact, delete"
    );
    let ratio = topic("min.cleanable.dirty.ratio").expect("a row");
    assert!(ratio.check("0.25").is_ok());
    for value in ["1.5", "NaN", "inf", "-0.1"] {
        assert!(ratio.check(value).is_err(), "{value}");
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    assert_eq!(
        refusal(&[("num.partitons", "3")]),
        "flag --set: unknown setting num.partitons; the nearest known one is num.partitions"
    );
    assert_eq!(
        refusal(&[("retention.ms", "3")]),
        "flag --set: unknown setting retention.ms; that is a setting of a topic; for all topics, set log.retention.ms"
    );
}

#[test]
fn a_name_that_only_kafka_knows_is_noted() {
    let config = load(&[
        ("zookeeper.connect", "localhost:2181"),
        ("log.cleaner.threads", "2"),
        ("listener.name.internal.ssl.keystore.location", "/k"),
        ("num.partitions", "2"),
    ])
    .expect("known to Kafka");
    let unused: Vec<&str> = config.settings.unused().collect();
    assert_eq!(
        unused,
        [
            "listener.name.internal.ssl.keystore.location",
            "log.cleaner.threads",
            "zookeeper.connect"
        ]
    );
}

#[test]
fn the_stronger_source_wins_in_any_order() {
    let environment = Origin::Environment("KAFKA_NUM_PARTITIONS".into());
    for reversed in [false, true] {
        let mut sources = vec![("2", line(1)), ("3", environment.clone()), ("4", flag())];
        if reversed {
            sources.reverse();
        }
        let mut settings = Settings::default();
        for (value, origin) in sources {
            settings.set("num.partitions", value, origin).expect("fits");
        }
        assert_eq!(settings.get("num.partitions"), Some("4"));
        assert_eq!(settings.origin("num.partitions"), Some(&flag()));
    }
}

#[test]
fn the_stronger_source_wins_under_another_name() {
    let mut settings = Settings::default();
    settings
        .set("log.retention.ms", "1000", line(1))
        .expect("fits");
    settings
        .set("log.retention.hours", "2", flag())
        .expect("fits");
    settings
        .set("log.dirs", "/var/kafka", line(2))
        .expect("fits");
    settings
        .set("trestle.data", "memory:", flag())
        .expect("fits");
    settings.set("node.id", "7", flag()).expect("fits");
    settings.set("broker.id", "3", line(3)).expect("fits");
    let config = Config::load(settings).expect("fits");
    let topic = TopicConfig::effective(&BTreeMap::new(), &config);
    assert_eq!(topic.retention_ms, 7_200_000);
    assert_eq!(config.storage.data, trestle_storage::DataUrl::Memory);
    assert_eq!(config.node_id, 7);
}

#[test]
fn in_one_source_kafkas_order_of_names_holds() {
    let config = load(&[("log.retention.ms", "1000"), ("log.retention.hours", "2")]).expect("fits");
    assert_eq!(
        TopicConfig::effective(&BTreeMap::new(), &config).retention_ms,
        1000
    );
    assert_eq!(
        refusal(&[("node.id", "1"), ("broker.id", "2")]),
        "node.id is 1 and broker.id is 2; they are one thing: give node.id alone"
    );
    assert_eq!(load(&[("broker.id", "5")]).expect("fits").node_id, 5);
    assert_eq!(load(&[("broker.id", "-1")]).expect("fits").node_id, 1);
}

#[test]
fn log_dirs_are_the_place_of_the_data() {
    let data = |value: &str| {
        let config = load(&[("log.dirs", value)]).expect("fits");
        config.storage.data.to_string()
    };
    assert_eq!(data("/var/lib/kafka"), "file:/var/lib/kafka");
    assert_eq!(data("/a, /b"), "file:/a");
    assert_eq!(data("s3://bucket/prefix"), "s3://bucket/prefix");
    assert_eq!(
        refusal(&[("trestle.data", "ftp://x")])
            .split("; use")
            .next(),
        Some(
            "flag --set: invalid value \"ftp://x\" for trestle.data; data URL \"ftp://x\": the scheme is not known"
        )
    );
}

#[test]
fn listeners_have_names_addresses_and_what_is_told() {
    let config = load(&[
        (
            "listeners",
            "INSIDE://:9092, outside://[::1]:0,CONTROLLER://:9093",
        ),
        ("advertised.listeners", "OUTSIDE://kafka.example.com:443"),
        (
            "listener.security.protocol.map",
            "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:SSL",
        ),
        ("controller.listener.names", "CONTROLLER"),
    ])
    .expect("fits");
    let listener = |name: &str, host: &str, port, advertised: Option<(&str, u16)>| ListenerConfig {
        name: name.into(),
        host: host.into(),
        port,
        advertised: advertised.map(|(host, port)| (host.to_owned(), port)),
    };
    assert_eq!(
        config.listeners,
        [
            listener("INSIDE", "0.0.0.0", 9092, None),
            listener("OUTSIDE", "::1", 0, Some(("kafka.example.com", 443))),
        ]
    );
    assert_eq!(
        config.value_of("listeners").as_deref(),
        Some("INSIDE://0.0.0.0:9092,OUTSIDE://[::1]:0")
    );
    let plain = load(&[("listeners", "localhost:19092")]).expect("fits");
    assert_eq!(
        plain.listeners,
        [listener("PLAINTEXT", "localhost", 19_092, None)]
    );
}

#[test]
fn listeners_that_cannot_work_are_refused() {
    let cases = [
        (&[("listeners", "9092")][..], "the port is missing"),
        (
            &[("listeners", "localhost:99999")],
            "not a number from 0 to 65535",
        ),
        (&[("listeners", "::1:9092")], "put an IPv6 host in brackets"),
        (&[("listeners", "")], "give at least one listener"),
        (
            &[("listeners", "a:1,b:2")],
            "two listeners are called PLAINTEXT",
        ),
        (
            &[("listeners", "SSL://:9093")],
            "only PLAINTEXT is served so far",
        ),
        (
            &[
                ("listeners", "A://:1"),
                ("listener.security.protocol.map", "A:SASL_SSL"),
            ],
            "only PLAINTEXT is served so far",
        ),
        (
            &[("advertised.listeners", "0.0.0.0:9092")],
            "give the host that they can reach",
        ),
        (
            &[("advertised.listeners", "B://h:1")],
            "no listener is called B; there are PLAINTEXT",
        ),
        (&[("advertised.listeners", "h:1,g:2")], "has two addresses"),
    ];
    for (pairs, expected) in cases {
        let error = refusal(pairs);
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with("flag --set: "), "{error}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let error = refusal(&[("queued.max.request.bytes", "1000")]);
    assert!(
        error.starts_with("queued.max.request.bytes (1000) is below"),
        "{error}"
    );
    let unlimited = load(&[("queued.max.request.bytes", "-1")]).expect("Kafka's default");
    assert_eq!(unlimited.queued_request_max_bytes, 134_217_728);
    for id in ["", "a b", "ä"] {
        assert!(
            refusal(&[("cluster.id", id)]).contains("give 1 to 64"),
            "{id}"
        );
    }
    assert!(refusal(&[("trestle.http", "8080")]).contains("give HOST:PORT, or none"));
    assert_eq!(load(&[("trestle.http", "none")]).expect("fits").http, None);
}

#[test]
fn a_topic_takes_its_own_settings_then_the_brokers() {
    let config = load(&[
        ("message.max.bytes", "2000"),
        ("log.cleanup.policy", "compact"),
        ("log.retention.minutes", "-1"),
    ])
    .expect("fits");
    let plain = TopicConfig::effective(&BTreeMap::new(), &config);
    assert_eq!(plain.max_message_bytes, 2000);
    assert!(plain.cleanup_compact && !plain.cleanup_delete);
    assert_eq!(plain.retention_ms, -1);
    let own = overrides(&[
        ("cleanup.policy", "delete,compact"),
        ("max.message.bytes", "500"),
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.bytes", "-7"),
    ]);
    let own = TopicConfig::effective(&own, &config);
    assert!(own.cleanup_compact && own.cleanup_delete);
    assert_eq!(own.max_message_bytes, 500);
    assert_eq!(own.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(own.retention_bytes, -1);
    assert_eq!(own.timestamp_after_max_ms, 3_600_000);
}

#[test]
fn a_stored_override_that_no_longer_fits_counts_as_not_given() {
    let own = overrides(&[("retention.ms", "soon"), ("gone.in.this.version", "1")]);
    let topic = TopicConfig::effective(&own, &Config::default());
    assert_eq!(topic, TopicConfig::default());
}

#[test]
fn topic_overrides_are_checked() {
    let config = Config::default();
    let check = |pairs: &[(&str, &str)]| check_topic_overrides(&overrides(pairs), &config);
    let stored = check(&[
        ("retention.ms", " 1000 "),
        ("segment.bytes", "52428800"),
        ("message.format.version", "2.8"),
        ("remote.storage.enable", "false"),
    ]);
    assert_eq!(
        stored,
        Ok(overrides(&[
            ("remote.storage.enable", "false"),
            ("retention.ms", "1000"),
            ("segment.bytes", "52428800"),
        ]))
    );
    let cases = [
        (
            &[("retention.mss", "1")][..],
            "unknown setting retention.mss; the nearest known one is retention.ms",
        ),
        (
            &[("log.retention.ms", "1")],
            "unknown setting log.retention.ms; that is a setting of the broker; for one topic, set retention.ms",
        ),
        (
            &[("retention.ms", "-2")],
            "invalid value \"-2\" for retention.ms; give a whole number from -1 on",
        ),
        (
            &[("remote.storage.enable", "true")],
            "invalid value \"true\" for remote.storage.enable; only false is taken, for there is no second tier: all data can lie in an object store",
        ),
        (
            &[
                ("min.compaction.lag.ms", "9"),
                ("max.compaction.lag.ms", "8"),
            ],
            "min.compaction.lag.ms (9) is above max.compaction.lag.ms (8); lower the one or raise the other",
        ),
    ];
    for (pairs, expected) in cases {
        assert_eq!(check(pairs).expect_err(expected).to_string(), expected);
    }
}

#[test]
fn a_topic_is_described_with_where_each_value_comes_from() {
    let config = load(&[("log.retention.hours", "1")]).expect("fits");
    let own = overrides(&[("max.message.bytes", "9")]);
    let all = describe_topic(&own, &config);
    let find = |name: &str| {
        all.iter()
            .find(|one| one.name == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    let synonym = |name, value: &str, source| SynonymValue {
        name,
        value: Some(value.to_owned()),
        source,
    };
    let size = find("max.message.bytes");
    assert_eq!(
        (size.value.as_deref(), size.source),
        (Some("9"), Source::Topic)
    );
    assert_eq!(
        size.synonyms,
        [
            synonym("max.message.bytes", "9", Source::Topic),
            synonym("message.max.bytes", "1048588", Source::Default),
        ]
    );
    let retention = find("retention.ms");
    assert_eq!(
        (retention.value.as_deref(), retention.source),
        (Some("3600000"), Source::StaticBroker)
    );
    assert_eq!(
        retention.synonyms,
        [synonym("log.retention.hours", "1", Source::StaticBroker),]
    );
    assert_eq!(find("cleanup.policy").source, Source::Default);
    assert!(all.iter().all(|one| !one.read_only));
    assert!(!all.iter().any(|one| one.name == "message.format.version"));
}

#[test]
fn the_broker_is_described_as_it_runs() {
    let mut config = load(&[("num.partitions", "6")]).expect("fits");
    config.auto_create_topics = false;
    let all = describe_broker(&config);
    let find = |name: &str| {
        all.iter()
            .find(|one| one.name == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    let partitions = find("num.partitions");
    assert_eq!(partitions.value.as_deref(), Some("6"));
    assert_eq!(partitions.source, Source::StaticBroker);
    assert!(partitions.read_only);
    assert_eq!(
        find("auto.create.topics.enable").value.as_deref(),
        Some("false")
    );
    assert_eq!(find("advertised.listeners").value, None);
    assert!(!find("message.max.bytes").read_only);
    assert_eq!(all.len(), BROKER.len() + UNUSED.len());
}

#[test]
fn what_is_given_while_running_is_stronger() {
    let started = load(&[("log.retention.hours", "1"), ("max.connections", "7")]).expect("fits");
    let config = started.with_runtime(&Runtime {
        node: overrides(&[("log.retention.ms", "5"), ("num.partitions", "9")]),
        cluster: overrides(&[
            ("log.retention.ms", "6"),
            ("max.connections", "8"),
            ("message.max.bytes", "what"),
        ]),
    });
    assert_eq!(config.max_connections, 8);
    assert_eq!(config.num_partitions, 1, "not for a running broker");
    let topic = TopicConfig::effective(&BTreeMap::new(), &config);
    assert_eq!(
        (topic.retention_ms, topic.max_message_bytes),
        (5, 1_048_588)
    );
    let described = describe_topic(&BTreeMap::new(), &config);
    let retention = described.iter().find(|one| one.name == "retention.ms");
    let synonyms: Vec<_> = retention
        .expect("described")
        .synonyms
        .iter()
        .map(|synonym| (synonym.name, synonym.value.as_deref(), synonym.source))
        .collect();
    assert_eq!(
        synonyms,
        [
            ("log.retention.ms", Some("5"), Source::DynamicBroker),
            ("log.retention.ms", Some("6"), Source::DynamicDefault),
            ("log.retention.hours", Some("1"), Source::StaticBroker),
        ]
    );
    let cluster: Vec<&str> = describe_cluster(&config)
        .iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(cluster, ["log.retention.ms", "max.connections"]);
    let back = started.with_runtime(&Runtime::default());
    assert_eq!(back.max_connections, 7);
}

#[test]
fn a_properties_file_has_comments_escapes_and_lines_that_go_on() {
    let text = "# comment\n  ! another\n\nnum.partitions=3\nlog.dirs : /a\\\n    /b\\\n   c\n\
                broker.rack    r1 = x\nempty\nunicode=\\u0041\\t\\=\\:\\\\\na\\=b=c\nlast=x\\\\\ntail=y\\";
    let entries: Vec<(String, String, usize)> = properties::parse(text)
        .expect("well formed")
        .into_iter()
        .map(|entry| (entry.name, entry.value, entry.line))
        .collect();
    let entry = |name: &str, value: &str, line| (name.to_owned(), value.to_owned(), line);
    assert_eq!(
        entries,
        [
            entry("num.partitions", "3", 4),
            entry("log.dirs", "/a/bc", 5),
            entry("broker.rack", "r1 = x", 8),
            entry("empty", "", 9),
            entry("unicode", "A\t=:\\", 10),
            entry("a=b", "c", 11),
            entry("last", "x\\", 12),
            entry("tail", "y", 13),
        ]
    );
    let error = properties::parse("a=1\nb=\\u12").expect_err("not a character");
    assert_eq!(
        error,
        "line 2: \\u12 is not a character; write it as itself, in UTF-8"
    );
}

/// What stands in the file that Kafka 4 ships.
const KRAFT: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
#log.flush.interval.messages=10000
log.retention.hours=168
#log.retention.bytes=1073741824
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

/// What stands in the file that Kafka shipped before KRaft, with what people added.
const ZOOKEEPER: &str = "\
broker.id=0
listeners=PLAINTEXT://0.0.0.0:9092
advertised.listeners=PLAINTEXT://kafka1.example.com:9092
num.network.threads=3
num.io.threads=8
log.dirs=/tmp/kafka-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.flush.interval.messages=10000
log.flush.interval.ms=1000
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
zookeeper.connect=localhost:2181
zookeeper.connection.timeout.ms=18000
group.initial.rebalance.delay.ms=0
inter.broker.protocol.version=2.8
log.message.format.version=2.8
auto.leader.rebalance.enable=true
confluent.support.metrics.enable=false
";

#[test]
fn kafkas_own_files_are_accepted() {
    let read = |text: &str| {
        let mut settings = Settings::default();
        settings
            .set_file("server.properties", text)
            .expect("accepted");
        Config::load(settings).expect("accepted")
    };
    let config = read(KRAFT);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].host, "0.0.0.0");
    assert_eq!(
        config.listeners[0].advertised,
        Some(("localhost".into(), 9092))
    );
    assert_eq!(
        config.storage.data.to_string(),
        "file:/tmp/kraft-combined-logs"
    );
    let unused: Vec<&str> = config.settings.unused().collect();
    assert_eq!(
        unused,
        [
            "controller.quorum.bootstrap.servers",
            "inter.broker.listener.name",
            "num.io.threads",
            "num.network.threads",
            "num.recovery.threads.per.data.dir",
            "share.coordinator.state.topic.min.isr",
            "share.coordinator.state.topic.replication.factor",
            "socket.receive.buffer.bytes",
            "socket.send.buffer.bytes",
        ]
    );
    let config = read(ZOOKEEPER);
    assert_eq!(config.node_id, 0);
    assert!(
        config
            .settings
            .unused()
            .any(|name| name == "zookeeper.connect")
    );
}

#[test]
fn an_error_in_a_file_names_its_line() {
    let mut settings = Settings::default();
    let error = settings
        .set_file(
            "a.properties",
            "# x\nnum.partitions=3\nmessage.max.byte=1\n",
        )
        .expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "a.properties, line 3: unknown setting message.max.byte; the nearest known one is message.max.bytes"
    );
}
