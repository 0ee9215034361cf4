//! ApiVersions (18).

use bytes::Buf;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use protocol_tests::calls::text;
use protocol_tests::{Broker, Frame, Wire, codes, decode};

const API_VERSIONS: i16 = ApiKey::ApiVersions as i16;

/// 5. A version from the future is answered in the oldest layout, so that the client can step back.
#[test]
fn an_unsupported_version_is_answered_with_our_range() {
    let broker = Broker::shared();
    for version in [99, 5000, i16::MAX] {
        let mut client = broker.connect();
        client.send_bytes(
            &Frame::new(API_VERSIONS, version)
                .correlation_id(3)
                .flexible(&[])
                .body(b"\xff\xfegarbage")
                .encode(),
        );
        let frame = client.next_frame().expect("an answer, not a close");
        let (correlation_id, answer) = decode::<ApiVersionsRequest>(0, frame);
        assert_eq!(correlation_id, 3);
        assert_eq!(answer.error_code, codes::UNSUPPORTED_VERSION);
        let own = answer
            .api_keys
            .iter()
            .find(|api| api.api_key == API_VERSIONS);
        let own = own.expect("the range of ApiVersions itself");
        assert!(own.min_version == 0 && own.max_version >= 3);
        let again = client.call(3, &named("test", "1"));
        assert_eq!(again.error_code, codes::NONE);
    }
}

fn named(name: &str, version: &str) -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text(name))
        .with_client_software_version(text(version))
}

/// 6. The header of a flexible answer has no tag buffer: the client may not know us yet. The body has one.
#[test]
fn a_flexible_answer_has_a_plain_header() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let body = Wire::new()
        .compact_string(Some("test"))
        .compact_string(Some("1"))
        .tags(&[]);
    client.send_bytes(
        &Frame::new(API_VERSIONS, 3)
            .correlation_id(8)
            .flexible(&[])
            .body(&body)
            .encode(),
    );
    let mut frame = client.next_frame().expect("an answer");
    assert_eq!(frame.get_i32(), 8);
    assert_eq!(frame.get_i16(), codes::NONE);
    let count = usize::from(frame.get_u8()) - 1;
    for _ in 0..count {
        frame.advance(6);
        assert_eq!(frame.get_u8(), 0, "an empty tag buffer behind each API");
    }
    assert_eq!(frame.get_i32(), 0, "the throttle time");
    let tags = frame.get_u8();
    assert!(tags > 0 || frame.is_empty());
}

/// No tagged field is sent with its default value: librdkafka before 2.2 loses its place there.
#[test]
fn no_tagged_field_holds_its_default() {
    let broker = Broker::shared();
    if broker.skip_on_kafka("guards old librdkafka, which Kafka 4 does not") {
        return;
    }
    let mut client = broker.connect();
    for version in [3, 4] {
        let body = Wire::new()
            .compact_string(Some("test"))
            .compact_string(Some("1"))
            .tags(&[]);
        client.send_bytes(
            &Frame::new(API_VERSIONS, version)
                .flexible(&[])
                .body(&body)
                .encode(),
        );
        let mut frame = client.next_frame().expect("an answer");
        frame.advance(6);
        let count = usize::from(frame.get_u8()) - 1;
        frame.advance(count * 7 + 4);
        for _ in 0..frame.get_u8() {
            let tag = frame.get_u8();
            let size = usize::from(frame.get_u8());
            let value = frame.split_to(size);
            let default: &[u8] = match tag {
                0 | 2 => &[1],
                1 => &[0xff; 8],
                _ => &[0],
            };
            assert_ne!(value, default, "tag {tag} holds its default");
        }
        assert!(frame.is_empty());
    }
}

/// 7. A software name of the wrong form is refused with 42 or taken, and the connection lives.
#[test]
fn an_odd_software_name_leaves_the_connection_alive() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for (name, version) in [("-bad-", "1"), ("", ""), ("good", "1 2"), ("snow☃man", "1")] {
        let body = Wire::new()
            .compact_string(Some(name))
            .compact_string(Some(version))
            .tags(&[]);
        client.send_bytes(
            &Frame::new(API_VERSIONS, 3)
                .flexible(&[])
                .body(&body)
                .encode(),
        );
        let frame = client.next_frame().expect("an answer, not a close");
        let (_, answer) = decode::<ApiVersionsRequest>(3, frame);
        assert!(
            [codes::NONE, codes::INVALID_REQUEST].contains(&answer.error_code),
            "{name:?}"
        );
    }
    assert_eq!(
        client
            .call(3, &named("good-client.2", "1.0-rc.1"))
            .error_code,
        codes::NONE
    );
}

/// The list is sorted, has no API twice and no range upside down, and is the same at every version.
#[test]
fn the_list_is_sorted_and_the_same_at_every_version() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let list = |version, client: &mut protocol_tests::Client| {
        let answer = client.call(version, &named("test", "1"));
        assert_eq!(answer.throttle_time_ms, 0);
        let apis = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version));
        apis.collect::<Vec<_>>()
    };
    let first = list(0, &mut client);
    assert!(
        first.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "{first:?}"
    );
    assert!(
        first.iter().all(|(_, min, max)| 0 <= *min && min <= max),
        "{first:?}"
    );
    for version in 1..=4 {
        assert_eq!(list(version, &mut client), first, "v{version}");
    }
}

/// Produce is announced from 0: librdkafka up to 2.11.0 turns compression off when it is not.
#[test]
fn produce_is_announced_from_version_zero() {
    let broker = Broker::shared();
    let answer = broker.connect().call(0, &ApiVersionsRequest::default());
    let produce = answer
        .api_keys
        .iter()
        .find(|api| api.api_key == ApiKey::Produce as i16);
    assert_eq!(produce.expect("Produce is served").min_version, 0);
}

/// Every API of a producer and a consumer is there, at the versions that clients ask for.
#[test]
fn the_apis_of_producers_and_consumers_are_announced() {
    let broker = Broker::shared();
    let answer = broker.connect().call(0, &ApiVersionsRequest::default());
    let needed = [
        (ApiKey::Produce, 3, 11),
        (ApiKey::Fetch, 4, 12),
        (ApiKey::ListOffsets, 1, 8),
        (ApiKey::Metadata, 0, 12),
        (ApiKey::FindCoordinator, 0, 4),
        (ApiKey::ApiVersions, 0, 4),
        (ApiKey::CreateTopics, 2, 7),
        (ApiKey::DeleteTopics, 1, 6),
        (ApiKey::DeleteRecords, 0, 2),
        (ApiKey::InitProducerId, 0, 5),
        (ApiKey::OffsetForLeaderEpoch, 2, 4),
        (ApiKey::DescribeConfigs, 1, 4),
        (ApiKey::CreatePartitions, 0, 3),
        (ApiKey::DescribeCluster, 0, 2),
    ];
    for (key, min, max) in needed {
        let api = answer.api_keys.iter().find(|api| api.api_key == key as i16);
        let api = api.unwrap_or_else(|| panic!("{key:?} is not announced"));
        assert!(
            api.min_version <= min && api.max_version >= max,
            "{key:?} is {}-{}",
            api.min_version,
            api.max_version
        );
    }
}

/// The consumer protocol is announced with the feature that clients look at, finalized.
#[test]
fn features_are_told() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for version in [3, 4] {
        let answer = client.call(version, &named("test", "1"));
        let mut finalized = answer.finalized_features.iter();
        let group = finalized.find(|feature| &*feature.name == "group.version");
        let group = group.expect("group.version is finalized");
        assert_eq!((group.min_version_level, group.max_version_level), (1, 1));
        assert!(answer.finalized_features_epoch >= 0);
        let mut supported = answer.supported_features.iter();
        let group = supported.find(|feature| &*feature.name == "group.version");
        // It can be off, at level 0, which version 3 cannot say.
        let levels = group.map(|feature| (feature.min_version, feature.max_version));
        assert_eq!(levels, (version >= 4).then_some((0, 1)));
        for key in [
            ApiKey::ConsumerGroupHeartbeat,
            ApiKey::ConsumerGroupDescribe,
        ] {
            let mut keys = answer.api_keys.iter();
            let api = keys.find(|api| api.api_key == key as i16);
            assert_eq!(
                api.map(|api| (api.min_version, api.max_version)),
                Some((0, 1))
            );
        }
    }
}
