//! What the metrics page says of groups and transactions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol_tests::transactions::Transactional;
use protocol_tests::{Batch, Broker, Record, codes};

/// The value of a sample by name and labels.
fn sample(page: &str, name: &str) -> f64 {
    let mut lines = page.lines().filter_map(|line| line.strip_prefix(name));
    let value = lines.find_map(|rest| rest.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("{name} is not in {page}"));
    value.parse().expect("a number")
}

fn page(broker: &Broker) -> String {
    let page = broker.http().get("/metrics");
    String::from_utf8(page.body).expect("text")
}

#[test]
fn a_group_that_is_behind_shows_how_far() {
    let Some(broker) = Broker::in_memory(&["--http", "127.0.0.1:0"]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("t", 2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    let ago = |seconds: u64| (now - Duration::from_secs(seconds)).as_millis() as i64;
    for seconds in [400, 300, 200, 100] {
        let record = Record::new("v").timestamp(ago(seconds));
        client.produce("t", 0, Batch::records(vec![record]));
    }
    client.produce("t", 1, Batch::counted(5));
    assert_eq!(client.commit("g", "t", 0, 1), codes::NONE);
    assert_eq!(client.commit("g", "t", 1, 3), codes::NONE);
    assert_eq!(client.commit("done", "t", 0, 4), codes::NONE);

    let text = page(&broker);
    let gauge = |name: &str, group: &str, partition: i32| {
        let name = format!(
            "kafka_consumergroup_{name}{{consumergroup=\"{group}\",topic=\"t\",partition=\"{partition}\"}}"
        );
        sample(&text, &name)
    };
    assert_eq!(gauge("current_offset", "g", 0), 1.0);
    assert_eq!(gauge("lag", "g", 0), 3.0);
    assert_eq!(gauge("lag", "g", 1), 2.0);
    assert_eq!(gauge("lag", "done", 0), 0.0);
    assert_eq!(gauge("lag_seconds", "done", 0), 0.0);
    let seconds = gauge("lag_seconds", "g", 0);
    assert!((300.0..600.0).contains(&seconds), "{seconds}");
    let sum = "kafka_consumergroup_lag_sum{consumergroup=\"g\",topic=\"t\"}";
    assert_eq!(sample(&text, sum), 5.0);

    // What it has read since is not lag any more.
    assert_eq!(client.commit("g", "t", 0, 3), codes::NONE);
    let text = page(&broker);
    let own = "{consumergroup=\"g\",topic=\"t\",partition=\"0\"}";
    assert_eq!(sample(&text, &format!("kafka_consumergroup_lag{own}")), 1.0);
    let seconds = sample(&text, &format!("kafka_consumergroup_lag_seconds{own}"));
    assert!((100.0..300.0).contains(&seconds), "{seconds}");
}

#[test]
fn transactions_are_counted() {
    let Some(broker) = Broker::in_memory(&["--http", "127.0.0.1:0"]) else {
        return;
    };
    let mut client = broker.connect();
    client.create_topic("t", 1);
    let before = page(&broker);
    let ended =
        |outcome: &str| format!("trestle_transactions_ended_total{{outcome=\"{outcome}\"}}");
    let ids = |state: &str| format!("trestle_transactional_ids{{state=\"{state}\"}}");
    assert_eq!(sample(&before, &ended("commit")), 0.0);
    assert_eq!(sample(&before, "trestle_transaction_open_seconds_max"), 0.0);

    for commit in [true, true, false] {
        let mut ending = Transactional::new(&mut client);
        ending.add(&mut client, "t", 0);
        ending.write(&mut client, "t", 0, &["v"]);
        assert_eq!(ending.end_once(&mut client, 4, commit), codes::NONE);
    }
    let open = Transactional::new(&mut client);
    open.add(&mut client, "t", 0);
    let after = page(&broker);
    assert_eq!(sample(&after, &ended("commit")), 2.0);
    assert_eq!(sample(&after, &ended("abort")), 1.0);
    assert_eq!(sample(&after, &ids("CompleteCommit")), 2.0);
    assert_eq!(sample(&after, &ids("CompleteAbort")), 1.0);
    assert_eq!(sample(&after, &ids("Ongoing")), 1.0);
    assert_eq!(sample(&after, &ids("Empty")), 0.0);
    let open = sample(&after, "trestle_transaction_open_seconds_max");
    assert!((0.0..60.0).contains(&open), "{open}");
}
