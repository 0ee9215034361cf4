use std::ffi::OsString;

use trestle::Config;

use super::*;

fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, Stop> {
    let arguments = std::iter::once("trestle").chain(arguments.iter().copied());
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    match task(arguments.map(OsString::from), variables)? {
        Task::Serve(settings) => Ok(Config::load(*settings)?),
        Task::Log(_) | Task::Bridge(_) => panic!("this is no broker"),
    }
}

fn config(arguments: &[&str], variables: &[(&str, &str)]) -> Config {
    match read(arguments, variables) {
        Ok(config) => config,
        Err(stop) => panic!("{}", text(&stop)),
    }
}

fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    match read(arguments, variables) {
        Ok(_) => panic!("{arguments:?} {variables:?} were taken"),
        Err(stop) => text(&stop),
    }
}

fn text(stop: &Stop) -> String {
    match stop {
        Stop::Arguments(error) => error.to_string(),
        Stop::Usage(error) => error.to_string(),
        Stop::Failure(error) => format!("{error:#}"),
    }
}

fn addresses(config: &Config) -> Vec<String> {
    config
        .listeners
        .iter()
        .map(|listener| {
            let told = match &listener.advertised {
                Some((host, port)) => format!(" as {host}:{port}"),
                None => String::new(),
            };
            format!(
                "{}://{}:{}{told}",
                listener.name, listener.host, listener.port
            )
        })
        .collect()
}

#[test]
fn the_arguments_are_well_formed() {
    use clap::CommandFactory;
    Arguments::command().debug_assert();
}

#[test]
fn no_argument_gives_the_defaults_and_serve_means_the_same() {
    for arguments in [&[][..], &["serve"]] {
        let config = config(arguments, &[]);
        assert_eq!(addresses(&config), ["PLAINTEXT://127.0.0.1:9092"]);
        assert_eq!(config.storage.data.to_string(), "file:./trestle-data");
        assert!(config.storage.fsync);
        assert_eq!(config.http.as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(config.settings.get("trestle.http"), None);
    }
}

#[test]
fn every_flag_reaches_its_setting() {
    let flags = [
        "--data",
        "memory:",
        "--fsync",
        "false",
        "--listen",
        "A://127.0.0.1:0",
        "--listen",
        "B://127.0.0.1:1",
        "--advertise",
        "B://example.com:9092",
        "--node-id",
        "7",
        "--cluster-id",
        "abc",
        "--set",
        "num.partitions=3",
        "--set",
        "message.max.bytes = 99",
        "--http",
        "127.0.0.1:0",
        "--strict-replication",
        "--log",
        "debug",
        "--log-format",
        "json",
    ];
    for command in [&[][..], &["serve"]] {
        let config = config(&[command, &flags].concat(), &[]);
        check_everything(&config);
    }
}

#[test]
fn every_flag_has_a_variable() {
    let config = config(
        &[],
        &[
            ("TRESTLE_DATA", "memory:"),
            ("TRESTLE_FSYNC", "false"),
            ("TRESTLE_LISTEN", "A://127.0.0.1:0,B://127.0.0.1:1"),
            ("TRESTLE_ADVERTISE", "B://example.com:9092"),
            ("TRESTLE_NODE_ID", "7"),
            ("TRESTLE_CLUSTER_ID", "abc"),
            ("TRESTLE_SET", "num.partitions=3;message.max.bytes=99"),
            ("TRESTLE_HTTP", "127.0.0.1:0"),
            ("TRESTLE_STRICT_REPLICATION", "true"),
            ("TRESTLE_LOG", "debug"),
            ("TRESTLE_LOG_FORMAT", "json"),
        ],
    );
    check_everything(&config);
    let none = self::config(&[], &[("TRESTLE_NO_HTTP", "true")]);
    assert_eq!(none.http, None);
}

fn check_everything(config: &Config) {
    assert_eq!(
        addresses(config),
        ["A://127.0.0.1:0", "B://127.0.0.1:1 as example.com:9092"]
    );
    assert_eq!(config.storage.data.to_string(), "memory:");
    assert!(!config.storage.fsync);
    assert_eq!(config.node_id, 7);
    assert_eq!(config.cluster_id.as_deref(), Some("abc"));
    assert_eq!(config.num_partitions, 3);
    assert_eq!(config.settings.get("message.max.bytes"), Some("99"));
    assert_eq!(config.http.as_deref(), Some("127.0.0.1:0"));
    assert!(config.strict_replication);
    assert_eq!(config.log, "debug");
    assert!(config.log_json);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the file that is read")]
fn flags_then_environment_then_file_then_defaults() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("server.properties");
    std::fs::write(
        &path,
        "num.partitions=2\nlog.dirs=/from/file\nnode.id=2\nauto.create.topics.enable=false\n",
    )
    .expect("a file");
    let path = path.to_str().expect("UTF-8");
    let config = config(
        &["--config", path, "--node-id", "4"],
        &[("KAFKA_NUM_PARTITIONS", "3"), ("KAFKA_NODE_ID", "3")],
    );
    assert_eq!(config.node_id, 4);
    assert_eq!(config.num_partitions, 3);
    assert!(!config.auto_create_topics);
    assert_eq!(config.storage.data.to_string(), "file:/from/file");
    assert_eq!(config.fetch_max_bytes, 57_671_680);
    let by_variable = self::config(&["--data", "memory:"], &[("TRESTLE_CONFIG", path)]);
    assert_eq!(by_variable.node_id, 2);
    assert_eq!(by_variable.storage.data.to_string(), "memory:");
}

#[test]
fn ours_is_stronger_than_kafkas_variable() {
    let config = config(&[], &[("KAFKA_NODE_ID", "3"), ("TRESTLE_NODE_ID", "5")]);
    assert_eq!(config.node_id, 5);
}

#[test]
fn the_environment_of_kafkas_images_is_accepted() {
    let config = config(
        &[],
        &[
            ("KAFKA_PROCESS_ROLES", "broker,controller"),
            ("KAFKA_NODE_ID", "1"),
            ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@broker:29093"),
            ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
            ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
            (
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
            ),
            (
                "KAFKA_ADVERTISED_LISTENERS",
                "PLAINTEXT://broker:29092,PLAINTEXT_HOST://localhost:9092",
            ),
            ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
            ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
            ("KAFKA_CONFLUENT_LICENSE_TOPIC_REPLICATION_FACTOR", "1"),
            ("KAFKA_HEAP_OPTS", "-Xmx1G"),
            ("KAFKA_SERVICE_HOST", "10.0.0.1"),
            ("TRESTLE_PORT", "tcp://10.0.0.2:9092"),
        ],
    );
    assert_eq!(
        addresses(&config),
        [
            "PLAINTEXT://0.0.0.0:29092 as broker:29092",
            "PLAINTEXT_HOST://0.0.0.0:9092 as localhost:9092",
        ]
    );
    let unused: Vec<&str> = config.settings.unused().collect();
    assert_eq!(
        unused,
        ["controller.quorum.voters", "inter.broker.listener.name"]
    );
}

#[test]
fn wrong_usage_is_told_with_its_remedy() {
    type Case = (
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
        &'static str,
    );
    let cases: [Case; 9] = [
        (
            &["--dta", "memory:"],
            &[],
            "a similar argument exists: '--data'",
        ),
        (&["--set", "num.partitions"], &[], "give NAME=VALUE"),
        (
            &["--set", "num.partitons=1"],
            &[],
            "flag --set: unknown setting num.partitons; the nearest known one is num.partitions",
        ),
        (
            &["--fsync", "perhaps"],
            &[],
            "flag --fsync: invalid value \"perhaps\"",
        ),
        (
            &["--node-id", "-4"],
            &[],
            "invalid value \"-4\" for node.id; give a whole number from 0 on",
        ),
        (&["--http", "h:1", "--no-http"], &[], "cannot be used with"),
        (
            &["--config", "/no/such/file"],
            &[],
            "config file /no/such/file: No such file",
        ),
        (
            &[],
            &[("KAFKA_NUM_PARTITIONS", "none")],
            "environment variable KAFKA_NUM_PARTITIONS: invalid value \"none\" for num.partitions; give a whole number from 1 on",
        ),
        (&[], &[("TRESTLE_NO_HTTP", "yes")], "give true or false"),
    ];
    for (arguments, variables, expected) in cases {
        let error = refusal(arguments, variables);
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}

#[test]
fn help_names_every_flag_and_gives_examples() {
    let help = refusal(&["--help"], &[]);
    for flag in [
        "--data",
        "--fsync",
        "--listen",
        "--advertise",
        "--node-id",
        "--cluster-id",
        "--set",
        "--config",
        "--http",
        "--no-http",
        "--strict-replication",
        "--log",
        "--log-format",
        "Examples:",
        "Exit codes:",
    ] {
        assert!(help.contains(flag), "{flag} is not in {help}");
    }
}

#[test]
fn log_levels_and_filters_are_checked() {
    for good in [
        "info",
        "TRACE",
        "off",
        "info,trestle::net=debug",
        "trestle=debug",
    ] {
        assert!(logging::filter(good).is_ok(), "{good}");
    }
    for bad in ["loud", "info,trestle=loud", ""] {
        let error = logging::filter(bad).expect_err(bad).to_string();
        assert!(
            error.contains("give error, warn, info, debug, trace"),
            "{error}"
        );
    }
}
