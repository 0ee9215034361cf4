//! ConsumerGroupHeartbeat (68): tests 112 to 116 of the conformance list, and what else KIP-848 promises.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest,
};
use protocol_tests::calls::{text, topic_name};
use protocol_tests::consumers::{Consumer, Partitions, joining, owned, settle, steady};
use protocol_tests::{Broker, Client, codes, unique, wait_until};
use uuid::Uuid;

/// Test 112. A member makes its id, joins, stays and leaves; with v0 the broker may make the id.
#[test]
fn join_stay_and_leave() {
    let broker = Broker::shared();
    let group = broker.group("join-stay-leave");
    let mut client = broker.connect();
    let topic = unique("topic");
    let id = client.create_topic(&topic, 3);

    let mut first = Consumer::new(&broker, &group, &[&topic]);
    first.join();
    assert!(first.epoch >= 1);
    assert_eq!(first.assigned, Partitions::from([(id, vec![0, 1, 2])]));
    let beat = first.try_beat();
    assert_eq!(beat.error_code, codes::NONE);
    assert_eq!((beat.member_epoch, beat.assignment), (first.epoch, None));
    assert_eq!(beat.heartbeat_interval_ms, 5000);
    // Whoever says everything hears everything.
    let full = first.request.clone().with_member_epoch(first.epoch);
    let full = full.with_topic_partitions(owned(&first.assigned));
    assert!(first.call(&full).assignment.is_some());
    assert_eq!(first.leave(-1), codes::NONE);
    assert_eq!(first.try_beat().error_code, codes::UNKNOWN_MEMBER_ID);
    assert_eq!(first.leave(-1), codes::UNKNOWN_MEMBER_ID);

    let nameless = joining(&group, "", &[&topic]);
    let joined = client.call(0, &nameless);
    assert_eq!(joined.error_code, codes::NONE);
    let member = joined.member_id.expect("an id was made");
    assert!(!member.is_empty());
    let beat = client.call(0, &steady(&group, &member, joined.member_epoch));
    assert_eq!(beat.error_code, codes::NONE);
    let left = client.call(0, &steady(&group, &member, -1));
    assert_eq!((left.error_code, left.member_epoch), (codes::NONE, -1));
}

/// Test 112. What no group could make sense of.
#[test]
fn requests_that_contradict_themselves() {
    let broker = Broker::shared();
    let group = broker.group("contradictions");
    let mut client = broker.connect();
    let member = Uuid::new_v4().to_string();
    let good = || joining(&group, &member, &["t"]);
    let some = Partitions::from([(Uuid::new_v4(), vec![0])]);
    let bad: Vec<(&str, ConsumerGroupHeartbeatRequest)> = vec![
        ("no member id", good().with_member_id(text(""))),
        ("no group id", joining("", &member, &["t"])),
        ("empty instance id", good().with_instance_id(Some(text("")))),
        ("empty rack", good().with_rack_id(Some(text("")))),
        ("no rebalance timeout", good().with_rebalance_timeout_ms(-1)),
        ("owns something", good().with_topic_partitions(owned(&some))),
        (
            "does not say what it owns",
            good().with_topic_partitions(None),
        ),
        ("no subscription", good().with_subscribed_topic_names(None)),
        ("epoch below -2", good().with_member_epoch(-3)),
        ("away without instance", steady(&group, &member, -2)),
        ("no member id when staying", steady(&group, "", 1)),
        ("no member id when leaving", steady(&group, "", -1)),
    ];
    for (what, request) in bad {
        let response = client.call(1, &request);
        assert_eq!(response.error_code, codes::INVALID_REQUEST, "{what}");
        assert!(response.error_message.is_some(), "{what}");
    }
    // None of them has made a group.
    let described = client.describe_consumer_group(&group);
    assert_eq!(described.error_code, codes::GROUP_ID_NOT_FOUND);
}

/// Test 116.
#[test]
fn unknown_assignors_and_bad_expressions() {
    let broker = Broker::shared();
    let group = broker.group("assignors");
    let mut consumer = Consumer::new(&broker, &group, &[]);
    consumer.request.server_assignor = Some(text("nobody-knows"));
    assert_eq!(consumer.try_join().error_code, codes::UNSUPPORTED_ASSIGNOR);
    for name in ["uniform", "range"] {
        consumer.request.server_assignor = Some(text(name));
        consumer.join();
    }
    let mut matching = Consumer::matching(&broker, &group, "[");
    let refused = matching.try_join();
    assert_eq!(refused.error_code, codes::INVALID_REGULAR_EXPRESSION);
    let described = matching.client.describe_consumer_group(&group);
    assert_eq!(described.members.len(), 1);
    // A member may change its mind, and be wrong then.
    let request = steady(&group, &consumer.id(), consumer.epoch)
        .with_subscribed_topic_regex(Some(text("a(")));
    let refused = consumer.call(&request);
    assert_eq!(refused.error_code, codes::INVALID_REGULAR_EXPRESSION);
    assert_eq!(consumer.try_beat().error_code, codes::NONE);
}

#[test]
fn groups_and_members_that_are_not_there() {
    let broker = Broker::shared();
    let group = broker.group("nobody");
    let mut client = broker.connect();
    for epoch in [1, -1] {
        let response = client.call(1, &steady(&group, "member", epoch));
        assert_eq!(response.error_code, codes::GROUP_ID_NOT_FOUND, "{epoch}");
    }
    let mut consumer = Consumer::new(&broker, &group, &[]);
    consumer.join();
    for epoch in [1, -1] {
        let response = client.call(1, &steady(&group, "member", epoch));
        assert_eq!(response.error_code, codes::UNKNOWN_MEMBER_ID, "{epoch}");
    }
}

/// Test 114. An epoch from the future is fenced, one from the past too, unless it is the one before and
/// the member has nothing that it may not have: then the answer was lost.
#[test]
fn epochs() {
    let broker = Broker::shared();
    let group = broker.group("epochs");
    let mut client = broker.connect();
    let (one, two) = (unique("one"), unique("two"));
    client.create_topic(&one, 2);
    client.create_topic(&two, 2);
    let mut consumer = Consumer::new(&broker, &group, &[&one]);
    consumer.join();
    let first = consumer.epoch;
    let request = steady(&group, &consumer.id(), first + 1);
    let ahead = consumer.client.call(1, &request);
    assert_eq!(ahead.error_code, codes::FENCED_MEMBER_EPOCH);

    let before = consumer.assigned.clone();
    let more = steady(&group, &consumer.id(), first)
        .with_subscribed_topic_names(Some(vec![topic_name(&one), topic_name(&two)]));
    consumer.call(&more);
    consumer.beat_until("four partitions", |consumer| consumer.count() == 4);
    let second = consumer.epoch;
    assert!(second > first);

    let older = steady(&group, &consumer.id(), first);
    let silent = consumer.client.call(1, &older);
    assert_eq!(silent.error_code, codes::FENCED_MEMBER_EPOCH);
    let strange = Partitions::from([(Uuid::new_v4(), vec![0])]);
    let strange = older.clone().with_topic_partitions(owned(&strange));
    let strange = consumer.client.call(1, &strange);
    assert_eq!(strange.error_code, codes::FENCED_MEMBER_EPOCH);
    let lost = older
        .with_topic_partitions(owned(&before))
        .with_rebalance_timeout_ms(30_000)
        .with_subscribed_topic_names(Some(vec![topic_name(&one), topic_name(&two)]));
    let lost = consumer.client.call(1, &lost);
    assert_eq!((lost.error_code, lost.member_epoch), (codes::NONE, second));
    assert!(lost.assignment.is_some());
}

/// A member that was fenced joins again under its id, and has nothing until it is told.
#[test]
fn joining_again() {
    let broker = Broker::shared();
    let group = broker.group("again");
    let topic = unique("topic");
    let id = broker.connect().create_topic(&topic, 2);
    let mut consumer = Consumer::new(&broker, &group, &[&topic]);
    consumer.join();
    let epoch = consumer.epoch;
    consumer.join();
    assert_eq!(consumer.epoch, epoch);
    assert_eq!(consumer.assigned, Partitions::from([(id, vec![0, 1])]));
}

/// Test 113. Who is to give up partitions keeps them, at its epoch, until it says that it has not got
/// them any more; only then does the newcomer get them.
#[test]
fn partitions_are_given_up_before_they_are_given_away() {
    let broker = Broker::shared();
    let group = broker.group("hand-over");
    let mut client = broker.connect();
    let topic = unique("topic");
    client.create_topic(&topic, 4);
    let mut first = Consumer::new(&broker, &group, &[&topic]);
    first.join();
    first.beat_until("all partitions", |first| first.count() == 4);
    let (before, everything) = (first.epoch, first.assigned.clone());

    let mut second = Consumer::new(&broker, &group, &[&topic]);
    second.join();
    assert_eq!(second.count(), 0);
    wait_until("the first to be told", || {
        assert_eq!(first.try_beat().error_code, codes::NONE);
        first.count() == 2
    });
    assert_eq!(
        first.epoch, before,
        "it stays where it is until it has given up"
    );
    // It says nothing of what it has, or still has all: nothing moves.
    for request in [
        steady(&group, &first.id(), before),
        steady(&group, &first.id(), before).with_topic_partitions(owned(&everything)),
    ] {
        let response = first.client.call(1, &request);
        assert_eq!(
            (response.error_code, response.member_epoch),
            (codes::NONE, before)
        );
        second.beat_owning();
        assert_eq!(second.count(), 0);
    }
    first.beat_owning();
    assert!(first.epoch > before);
    second.beat_until("its share", |second| second.count() == 2);
    let mut both = [first, second];
    settle(&mut both, &[2, 2]);

    // A third, and the first goes.
    let mut three = both.into_iter().collect::<Vec<_>>();
    let mut third = Consumer::new(&broker, &group, &[&topic]);
    third.join();
    three.push(third);
    settle(&mut three, &[2, 1, 1]);
    assert_eq!(three.remove(0).leave(-1), codes::NONE);
    settle(&mut three, &[2, 2]);
}

/// Test 115. Who does not give up in time is taken out, and the others go on.
#[test]
fn whoever_does_not_give_up_in_time_is_fenced() {
    let broker = Broker::shared();
    let group = broker.group("stubborn");
    let topic = unique("topic");
    broker.connect().create_topic(&topic, 2);
    let mut stubborn = Consumer::new(&broker, &group, &[&topic]);
    stubborn.request.rebalance_timeout_ms = 500;
    stubborn.join();
    stubborn.beat_until("both", |stubborn| stubborn.count() == 2);
    let mut other = Consumer::new(&broker, &group, &[&topic]);
    other.join();
    wait_until("the stubborn one to be taken out", || {
        let beat = stubborn.try_beat();
        if beat.error_code == codes::NONE {
            return false;
        }
        assert_eq!(beat.error_code, codes::UNKNOWN_MEMBER_ID);
        true
    });
    other.beat_until("everything", |other| other.count() == 2);
    // It may come back.
    stubborn.assigned.clear();
    stubborn.request.rebalance_timeout_ms = 30_000;
    stubborn.join();
    settle(&mut [stubborn, other], &[1, 1]);
}

/// A silent member is given up on after the session timeout.
#[test]
fn sessions_end() {
    let arguments = [
        "--set",
        "group.consumer.session.timeout.ms=300",
        "--set",
        "group.consumer.min.session.timeout.ms=300",
        "--set",
        "group.consumer.heartbeat.interval.ms=100",
        "--set",
        "group.consumer.min.heartbeat.interval.ms=100",
    ];
    let Some(broker) = Broker::in_memory(&arguments) else {
        return;
    };
    let topic = unique("topic");
    broker.connect().create_topic(&topic, 2);
    let mut silent = Consumer::new(&broker, "g", &[&topic]);
    silent.join();
    let mut other = Consumer::new(&broker, "g", &[&topic]);
    other.join();
    other.beat_until("everything", |other| other.count() == 2);
    let beat = silent.try_beat();
    assert_eq!(beat.error_code, codes::UNKNOWN_MEMBER_ID);
}

/// A group's own settings go before the broker's, from the next heartbeat on.
#[test]
fn a_group_has_its_own_pace() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("topic");
    client.create_topic(&topic, 1);
    let group = broker.group("paced");
    let mut paced = Consumer::new(&broker, &group, &[&topic]);
    assert_eq!(paced.try_join().heartbeat_interval_ms, 5_000);
    let set = |client: &mut protocol_tests::Client, name: &str, value: &str| {
        let config = AlterableConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(32)
            .with_resource_name(text(&group))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        client.call(1, &request).responses[0].error_code
    };
    for (name, value) in [
        ("consumer.heartbeat.interval.ms", "4999"),
        ("consumer.heartbeat.interval.ms", "15001"),
        ("consumer.session.timeout.ms", "44999"),
        ("consumer.session.timeout.ms", "60001"),
    ] {
        let code = set(&mut client, name, value);
        assert_eq!(code, codes::INVALID_CONFIG, "{name}={value}");
    }
    let code = set(&mut client, "consumer.heartbeat.interval.ms", "7000");
    assert_eq!(code, codes::NONE);
    wait_until("the group's own pace", || {
        paced.try_beat().heartbeat_interval_ms == 7_000
    });
    let mut other = Consumer::new(&broker, &broker.group("other"), &[&topic]);
    assert_eq!(other.try_join().heartbeat_interval_ms, 5_000);
}

/// And so does its session.
#[test]
fn a_group_has_its_own_session() {
    let arguments = ["--set", "group.consumer.min.session.timeout.ms=300"];
    let pace = ["--set", "group.consumer.min.heartbeat.interval.ms=100"];
    let Some(broker) = Broker::in_memory(&[arguments, pace].concat()) else {
        return;
    };
    let topic = unique("topic");
    let mut client = broker.connect();
    client.create_topic(&topic, 2);
    let config = |name: &str, value: &str| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(32)
        .with_resource_name(text("g"))
        .with_configs(vec![
            config("consumer.session.timeout.ms", "300"),
            config("consumer.heartbeat.interval.ms", "100"),
        ]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(
        client.call(1, &request).responses[0].error_code,
        codes::NONE
    );
    let mut silent = Consumer::new(&broker, "g", &[&topic]);
    let mut other = Consumer::new(&broker, "g", &[&topic]);
    wait_until("the pace is known", || {
        silent.try_join().heartbeat_interval_ms == 100
    });
    other.join();
    other.beat_until("everything", |other| other.count() == 2);
    let beat = silent.try_beat();
    assert_eq!(beat.error_code, codes::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_full_group_takes_no_more() {
    let Some(broker) = Broker::in_memory(&["--set", "group.consumer.max.size=1"]) else {
        return;
    };
    let mut first = Consumer::new(&broker, "g", &[]);
    first.join();
    first.join();
    let refused = Consumer::new(&broker, "g", &[]).try_join();
    assert_eq!(refused.error_code, codes::GROUP_MAX_SIZE_REACHED);
}

/// An expression has to match the whole name, and is looked at again when topics come.
#[test]
fn expressions_follow_the_topics() {
    let broker = Broker::shared();
    let group = broker.group("expressions");
    let mut client = broker.connect();
    let stem = unique("stem");
    let first = client.create_topic(&format!("{stem}-1"), 1);
    client.create_topic(&format!("{stem}-1-no"), 1);
    let mut consumer = Consumer::matching(&broker, &group, &format!("{stem}-[0-9]+"));
    consumer.join();
    consumer.beat_until("the topic", |consumer| consumer.count() == 1);
    assert!(consumer.has(first, 0));
    let described = consumer.client.describe_consumer_group(&group);
    let expression = &described.members[0].subscribed_topic_regex;
    assert_eq!(expression.as_deref(), Some(&*format!("{stem}-[0-9]+")));
    if broker.is_kafka() {
        // It looks again after ten seconds at the earliest.
        return;
    }
    let second = client.create_topic(&format!("{stem}-22"), 2);
    consumer.beat_until("the second topic", |consumer| consumer.count() == 3);
    assert!(consumer.has(second, 1));
    // Names and an expression together.
    let other = unique("other");
    let other_id = client.create_topic(&other, 1);
    let both = steady(&group, &consumer.id(), consumer.epoch)
        .with_subscribed_topic_names(Some(vec![topic_name(&other)]));
    consumer.call(&both);
    consumer.beat_until("all three", |consumer| consumer.count() == 4);
    assert!(consumer.has(other_id, 0));
    // An empty expression is none.
    let fewer =
        steady(&group, &consumer.id(), consumer.epoch).with_subscribed_topic_regex(Some(text("")));
    consumer.call(&fewer);
    consumer.beat_until("one topic", |consumer| consumer.count() == 1);
    assert!(consumer.has(other_id, 0));
}

/// Members learn of partitions and topics that come and go.
#[test]
fn members_follow_the_topics() {
    let broker = Broker::shared();
    let group = broker.group("topics");
    let mut client = broker.connect();
    let (now, later) = (unique("now"), unique("later"));
    client.create_topic(&now, 1);
    let mut consumer = Consumer::new(&broker, &group, &[&now, &later]);
    consumer.join();
    consumer.beat_until("what there is", |consumer| consumer.count() == 1);
    let epoch = consumer.epoch;
    let later_id = client.create_topic(&later, 1);
    consumer.beat_until("the new topic", |consumer| consumer.count() == 2);
    assert!(consumer.epoch > epoch);
    let more = CreatePartitionsTopic::default()
        .with_name(topic_name(&now))
        .with_count(3)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![more])
        .with_timeout_ms(10_000);
    assert_eq!(client.call(3, &request).results[0].error_code, codes::NONE);
    consumer.beat_until("the new partitions", |consumer| consumer.count() == 4);
    delete(&mut client, &later);
    consumer.beat_until("the topic to go", |consumer| consumer.count() == 3);
    assert!(!consumer.has(later_id, 0));
    // The same name again is another topic.
    let again = client.create_topic(&later, 1);
    consumer.beat_until("the topic's next life", |consumer| consumer.has(again, 0));
}

fn delete(client: &mut Client, topic: &str) {
    let topic = DeleteTopicState::default().with_name(Some(topic_name(topic)));
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    let response = client.call(6, &request);
    assert_eq!(response.responses[0].error_code, codes::NONE);
}

/// A static member may go for a while; who comes back under its name has what it had.
#[test]
fn static_members() {
    let broker = Broker::shared();
    let group = broker.group("static");
    let topic = unique("topic");
    broker.connect().create_topic(&topic, 4);
    let one = Consumer::of_instance(&broker, &group, "one", &[&topic]);
    let two = Consumer::of_instance(&broker, &group, "two", &[&topic]);
    let mut members = [one, two];
    for member in &mut members {
        member.join();
    }
    settle(&mut members, &[2, 2]);
    let [mut one, mut two] = members;
    let had = one.assigned.clone();

    // Under its own id it may join again; Kafka takes that for somebody else.
    let itself = one.try_join().error_code;
    let kafka = broker.is_kafka().then_some(codes::UNRELEASED_INSTANCE_ID);
    assert_eq!(itself, kafka.unwrap_or(codes::NONE));

    // Its name is taken as long as it is there.
    let mut again = Consumer::of_instance(&broker, &group, "one", &[&topic]);
    assert_eq!(again.try_join().error_code, codes::UNRELEASED_INSTANCE_ID);
    let request = steady(&group, &again.id(), one.epoch).with_instance_id(Some(text("one")));
    assert_eq!(again.call(&request).error_code, codes::FENCED_INSTANCE_ID);
    let request = steady(&group, &again.id(), 1).with_instance_id(Some(text("three")));
    assert_eq!(again.call(&request).error_code, codes::UNKNOWN_MEMBER_ID);

    assert_eq!(one.leave(-2), codes::NONE);
    let epoch = two.epoch;
    two.beat_owning();
    assert_eq!(
        (two.epoch, two.count()),
        (epoch, 2),
        "its share waits for it"
    );
    again.join();
    again.beat_until("its share", |again| again.count() == 2);
    assert_eq!(again.assigned, had);
    assert_eq!(again.epoch, epoch, "nobody else has noticed");
    assert_eq!(one.try_beat().error_code, codes::FENCED_INSTANCE_ID);
    assert_eq!(one.leave(-1), codes::FENCED_INSTANCE_ID);

    // For good.
    assert_eq!(again.leave(-1), codes::NONE);
    two.beat_until("everything", |two| two.count() == 4);
    assert_eq!(again.leave(-2), codes::UNKNOWN_MEMBER_ID);
}

/// Members with different subscriptions get what they want, as evenly as that allows.
#[test]
fn different_subscriptions() {
    let broker = Broker::shared();
    let group = broker.group("different");
    let mut client = broker.connect();
    let (both, one) = (unique("both"), unique("one"));
    client.create_topic(&both, 3);
    let one_id = client.create_topic(&one, 3);
    let mut members = vec![
        Consumer::new(&broker, &group, &[&both, &one]),
        Consumer::new(&broker, &group, &[&both]),
    ];
    for member in &mut members {
        member.join();
    }
    settle(&mut members, &[3, 3]);
    assert!((0..3).all(|partition| members[0].has(one_id, partition)));
}

/// What was acknowledged survives: nobody rejoins after a crash, and nobody has to give up anything.
#[test]
fn membership_survives_a_crash() {
    let Some(mut broker) = Broker::on_disk(&[]) else {
        return;
    };
    broker.connect().create_topic("topic", 4);
    let mut members = vec![
        Consumer::new(&broker, "g", &["topic"]),
        Consumer::of_instance(&broker, "g", "i", &["topic"]),
    ];
    for member in &mut members {
        member.join();
    }
    settle(&mut members, &[2, 2]);
    let described = broker.connect().describe_consumer_group("g");
    broker.kill();
    broker.restart();
    let mut after = broker.connect().describe_consumer_group("g");
    assert_eq!(after.group_state, text("Stable"));
    after.authorized_operations = described.authorized_operations;
    assert_eq!(after, described);
    for member in &mut members {
        member.client = broker.connect();
        let epoch = member.epoch;
        let beat = member.try_beat();
        assert_eq!((beat.error_code, beat.member_epoch), (codes::NONE, epoch));
        assert_eq!(beat.assignment, None);
    }
    settle(&mut members, &[2, 2]);
    // A crash in the middle of a hand-over.
    let mut third = Consumer::new(&broker, "g", &["topic"]);
    third.join();
    for member in &mut members {
        member.try_beat();
    }
    broker.kill();
    broker.restart();
    members.push(third);
    for member in &mut members {
        member.client = broker.connect();
    }
    settle(&mut members, &[2, 1, 1]);
}
