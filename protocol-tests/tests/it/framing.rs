//! Frames, headers and the rules of a connection.

use std::time::{Duration, Instant};

use bytes::Buf;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, FetchRequest, MetadataRequest};
use protocol_tests::calls::{FETCH, fetch_partition, fetch_request};
use protocol_tests::{Batch, Broker, Client, Frame, Wire, decode, encode, unique, wait_until};

const METADATA: i16 = ApiKey::Metadata as i16;
const PRODUCE: i16 = ApiKey::Produce as i16;

/// The broker is alive and serves a fresh connection.
fn assert_serves(broker: &Broker) {
    broker.connect().call(0, &ApiVersionsRequest::default());
}

/// 1. A size that is negative, or above socket.request.max.bytes, is answered by a close.
#[test]
fn a_frame_of_impossible_size_closes_the_connection() {
    let broker = Broker::shared();
    for size in [-1, i32::MIN, i32::MAX, 100 * 1024 * 1024 + 1] {
        let mut client = broker.connect();
        client.send_bytes(&Wire::new().i32(size).raw(&[0; 64]).0);
        client.assert_closed();
    }
    assert_serves(&broker);
}

/// 1. Memory is not set aside for a size that is only claimed.
#[test]
fn two_hundred_claims_of_100_mib_cost_no_memory() {
    let Some(broker) = Broker::in_memory(&[]) else {
        return;
    };
    assert_serves(&broker);
    let before = broker.peak_bytes();
    let clients = claim_100_mib(&broker, 200);
    drop(clients);
    assert_serves(&broker);
    let grown = broker.peak_bytes() - before;
    assert!(grown < 160 << 20, "200 claims cost {} MiB", grown >> 20);
}

/// 1. Those who announce much and send little do not keep others from being served.
#[test]
fn half_sent_giants_do_not_stop_the_others() {
    let Some(broker) = Broker::in_memory(&[]) else {
        return;
    };
    let clients = claim_100_mib(&broker, 20);
    let mut client = broker.connect();
    client.create_topic("small", 1);
    client.produce("small", 0, Batch::counted(10));
    drop(clients);
}

/// Connections that have each sent the beginning of a Produce of 100 MiB.
fn claim_100_mib(broker: &Broker, count: usize) -> Vec<Client> {
    let claim = Wire::new()
        .i32(100 * 1024 * 1024)
        .i16(PRODUCE)
        .i16(9)
        .i32(1)
        .raw(&[0; 64 * 1024]);
    let mut clients: Vec<Client> = (0..count).map(|_| broker.connect()).collect();
    for client in &mut clients {
        client.send_bytes(&claim.0);
    }
    clients
}

/// 2. Frames too short for a header close their connection, and no other.
#[test]
fn a_frame_too_short_for_a_header_closes_only_its_connection() {
    let broker = Broker::shared();
    let mut bystander = broker.connect();
    bystander.call(0, &ApiVersionsRequest::default());
    for size in 0..8_i32 {
        let mut client = broker.connect();
        client.send_bytes(&Wire::new().i32(size).raw(&vec![0; size as usize]).0);
        client.finish_sending();
        client.assert_closed();
    }
    bystander.call(0, &ApiVersionsRequest::default());
}

/// 3. Array counts far beyond the frame are refused without setting memory aside for them.
#[test]
fn array_counts_beyond_the_frame_close_the_connection() {
    let broker = Broker::shared();
    let bodies: [(i16, i16, Wire); 5] = [
        // The eight-byte body that asks a careless decoder for 3.6 GiB.
        (
            METADATA,
            0,
            Wire::new().raw(&[0x03, 0x00, 0x00, 0x03, 0x3c, 0x0c, 0x00, 0xb6]),
        ),
        (METADATA, 0, Wire::new().i32(i32::MAX)),
        (METADATA, 12, Wire::new().uvarint(u32::MAX)),
        (
            ApiKey::CreateTopics as i16,
            7,
            Wire::new().uvarint(0x4000_0000).raw(&[1; 16]),
        ),
        (
            ApiKey::Fetch as i16,
            4,
            Wire::new()
                .i32(-1)
                .i32(0)
                .i32(1)
                .i32(1)
                .i8(0)
                .i32(0x1000_0000),
        ),
    ];
    for (key, version, body) in bodies {
        let mut client = broker.connect();
        let mut frame = Frame::new(key, version).body(&body);
        if matches!((key, version), (METADATA, 12) | (19, 7)) {
            frame = frame.flexible(&[]);
        }
        client.send_bytes(&frame.encode());
        client.assert_closed();
    }
    assert_serves(&broker);
}

/// 4. What the broker does not know is answered by a close, without a byte.
#[test]
fn an_unknown_api_or_version_closes_without_a_byte() {
    let broker = Broker::shared();
    for (key, version) in [
        (999, 0),
        (-1, 0),
        (PRODUCE, 2),
        (METADATA, 99),
        (METADATA, -1),
        (4, 0),
    ] {
        let mut client = broker.connect();
        client.send_bytes(&Frame::new(key, version).body([0; 16]).encode());
        client.assert_closed();
    }
    assert_serves(&broker);
}

/// 4. A body that does not decode is answered by a close.
#[test]
fn a_body_that_ends_early_closes_the_connection() {
    let broker = Broker::shared();
    let whole = encode(1, 7, &MetadataRequest::default());
    let mut client = broker.connect();
    let cut = &whole[4..whole.len() - 2];
    client.send_bytes(&Wire::new().i32(cut.len() as i32).raw(cut).0);
    client.assert_closed();
    assert_serves(&broker);
}

/// 9. Answers leave in the order of their requests, whatever the first one waits for.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("pipeline");
    client.create_topic(&topic, 1);
    let fetch = fetch_request(&topic, vec![fetch_partition(0, 0)]).with_max_wait_ms(500);
    let mut burst = encode(FETCH, 0, &fetch);
    for id in 1..50 {
        burst.extend(match id % 3 {
            0 => encode(0, id, &ApiVersionsRequest::default()),
            1 => encode(1, id, &MetadataRequest::default().with_topics(Some(vec![]))),
            _ => encode(FETCH, id, &fetch.clone().with_max_wait_ms(0)),
        });
    }
    client.send_bytes(&burst);
    for id in 0..50 {
        let frame = client.next_frame().expect("an answer");
        let (correlation_id, ()) = match id % 3 {
            0 if id > 0 => drop_body(decode::<ApiVersionsRequest>(0, frame)),
            1 => drop_body(decode::<MetadataRequest>(1, frame)),
            _ => drop_body(decode::<FetchRequest>(FETCH, frame)),
        };
        assert_eq!(correlation_id, id);
    }
}

fn drop_body<T>((correlation_id, _): (i32, T)) -> (i32, ()) {
    (correlation_id, ())
}

/// 10. The probe of kafka-python: two requests in one segment, two answers in order.
#[test]
fn two_requests_in_one_segment_are_both_answered() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let mut both = encode(0, 1, &ApiVersionsRequest::default());
    both.extend(
        Frame::new(METADATA, 0)
            .correlation_id(2)
            .body(Wire::new().i32(0))
            .encode(),
    );
    client.send_bytes(&both);
    let first = client.next_frame().expect("an answer");
    assert_eq!(decode::<ApiVersionsRequest>(0, first).0, 1);
    let second = client.next_frame().expect("an answer");
    let (correlation_id, metadata) = decode::<MetadataRequest>(0, second);
    assert_eq!(correlation_id, 2);
    assert!(!metadata.brokers.is_empty());
}

/// 11. How the bytes are cut into segments does not matter.
#[test]
fn a_request_that_arrives_byte_by_byte_is_served() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for byte in encode(3, 5, &ApiVersionsRequest::default()) {
        client.send_bytes(&[byte]);
        // One byte a millisecond: TCP_NODELAY makes each its own segment.
        let next = Instant::now() + Duration::from_millis(1);
        wait_until("the next byte's turn", || Instant::now() >= next);
    }
    let frame = client.next_frame().expect("an answer");
    assert_eq!(decode::<ApiVersionsRequest>(3, frame).0, 5);
}

/// 12. A null client id, an empty one, and unknown tags in the header are served.
#[test]
fn any_client_id_and_unknown_header_tags_are_served() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let no_topics = Wire::new().i32(0);
    for id in [None, Some(""), Some("naïve ☃")] {
        client.send_bytes(
            &Frame::new(METADATA, 1)
                .client_id(id)
                .body(&no_topics)
                .encode(),
        );
        let frame = client.next_frame().expect("an answer");
        decode::<MetadataRequest>(1, frame);
    }
    let flexible = Wire::new().uvarint(1).i8(0).i8(0).i8(0).tags(&[]);
    let frame = Frame::new(METADATA, 9)
        .client_id(None)
        .flexible(&[(0, b"zero"), (77, b"seventy-seven"), (9999, b"")])
        .body(&flexible);
    client.send_bytes(&frame.encode());
    let frame = client.next_frame().expect("an answer");
    decode::<MetadataRequest>(9, frame);
}

/// 13. Unknown tagged fields are skipped at every level of a body.
#[test]
fn unknown_tags_in_the_body_are_ignored() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let topic = unique("tags");
    client.create_topic(&topic, 1);
    let body = Wire::new()
        .uvarint(2)
        .raw(&[0; 16])
        .compact_string(Some(&topic))
        .tags(&[(5, b"inside the topic")])
        .i8(0)
        .i8(0)
        .tags(&[(3, b"at the end"), (1000, &[0xff; 300])]);
    client.send_bytes(&Frame::new(METADATA, 12).flexible(&[]).body(&body).encode());
    let frame = client.next_frame().expect("an answer");
    let (_, metadata) = decode::<MetadataRequest>(12, frame);
    assert_eq!(metadata.topics[0].error_code, 0);
    assert_eq!(metadata.topics[0].partitions.len(), 1);
}

/// Bytes behind a whole body are ignored, as Kafka ignores them.
#[test]
fn bytes_behind_the_body_are_ignored() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    client.send_bytes(
        &Frame::new(METADATA, 1)
            .body(Wire::new().i32(0).raw(b"and more"))
            .encode(),
    );
    let frame = client.next_frame().expect("an answer");
    decode::<MetadataRequest>(1, frame);
}

/// 14. Random bodies of every API and version neither kill the broker nor make it hang.
#[test]
fn random_bodies_never_harm_the_broker() {
    let broker = Broker::shared();
    // Its controller answers here as well, and random bytes may be orders that it follows.
    if broker.skip_on_kafka("sends random bytes") {
        return;
    }
    let apis = broker
        .connect()
        .call(0, &ApiVersionsRequest::default())
        .api_keys;
    for api in apis {
        for version in api.min_version..=api.max_version {
            let mut body = [0; 200];
            rand::fill(&mut body[..]);
            let length = usize::from(body[0]).min(body.len());
            let mut frame = Frame::new(api.api_key, version).body(&body[..length]);
            if let Ok(key) = ApiKey::try_from(api.api_key)
                && key.request_header_version(version) >= 2
            {
                frame = frame.flexible(&[]);
            }
            // Both an answer and a close are fine. Whoever asked is gone before either comes.
            broker.connect().send_bytes(&frame.encode());
        }
    }
    assert_serves(&broker);
}

/// 15. A TLS client gets a close and the log one clear line; so does an HTTP client.
#[test]
fn tls_and_http_clients_are_closed_and_logged() {
    let Some(broker) = Broker::in_memory(&[]) else {
        return;
    };
    let hello = Wire::new()
        .raw(&[
            0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03,
        ])
        .raw(&[7; 506]);
    for (bytes, word) in [
        (&hello.0[..], "TLS"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP"),
    ] {
        let mut client = broker.connect();
        client.send_bytes(bytes);
        client.assert_closed();
        wait_until("a log line", || {
            broker
                .log()
                .lines()
                .filter(|line| line.contains("WARN") && line.contains(word))
                .count()
                == 1
        });
    }
    assert_serves(&broker);
}

/// The same through a shared broker, where only the close can be seen.
#[test]
fn tls_and_http_clients_are_closed() {
    let broker = Broker::shared();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = broker.connect();
        client.send_bytes(bytes);
        client.assert_closed();
    }
    assert_serves(&broker);
}

/// A correlation id is echoed, whatever it is.
#[test]
fn correlation_ids_are_echoed() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for id in [0, 1, -1, i32::MIN, i32::MAX] {
        client.send_bytes(
            &Frame::new(METADATA, 1)
                .correlation_id(id)
                .body(Wire::new().i32(0))
                .encode(),
        );
        let mut frame = client.next_frame().expect("an answer");
        assert_eq!(frame.get_i32(), id);
    }
}
