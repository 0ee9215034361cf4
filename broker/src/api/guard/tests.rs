//! The descriptions against the decoder: bodies made after a description must be what the decoder
//! reads, to the byte, and what the guard passes must be safe to decode.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Runs a macro for each described request with its versions in the codec.
macro_rules! each_request {
    ($act:ident) => {
        $act!(Produce, ProduceRequest);
        $act!(Fetch, FetchRequest);
        $act!(ListOffsets, ListOffsetsRequest);
        $act!(Metadata, MetadataRequest);
        $act!(OffsetCommit, OffsetCommitRequest);
        $act!(OffsetFetch, OffsetFetchRequest);
        $act!(FindCoordinator, FindCoordinatorRequest);
        $act!(JoinGroup, JoinGroupRequest);
        $act!(Heartbeat, HeartbeatRequest);
        $act!(LeaveGroup, LeaveGroupRequest);
        $act!(SyncGroup, SyncGroupRequest);
        $act!(DescribeGroups, DescribeGroupsRequest);
        $act!(ListGroups, ListGroupsRequest);
        $act!(SaslHandshake, SaslHandshakeRequest);
        $act!(SaslAuthenticate, SaslAuthenticateRequest);
        $act!(ApiVersions, ApiVersionsRequest);
        $act!(CreateTopics, CreateTopicsRequest);
        $act!(DeleteTopics, DeleteTopicsRequest);
        $act!(DeleteRecords, DeleteRecordsRequest);
        $act!(InitProducerId, InitProducerIdRequest);
        $act!(OffsetForLeaderEpoch, OffsetForLeaderEpochRequest);
        $act!(AddPartitionsToTxn, AddPartitionsToTxnRequest);
        $act!(AddOffsetsToTxn, AddOffsetsToTxnRequest);
        $act!(EndTxn, EndTxnRequest);
        $act!(WriteTxnMarkers, WriteTxnMarkersRequest);
        $act!(TxnOffsetCommit, TxnOffsetCommitRequest);
        $act!(DescribeProducers, DescribeProducersRequest);
        $act!(DescribeTransactions, DescribeTransactionsRequest);
        $act!(ListTransactions, ListTransactionsRequest);
        $act!(DescribeConfigs, DescribeConfigsRequest);
        $act!(CreatePartitions, CreatePartitionsRequest);
        $act!(DeleteGroups, DeleteGroupsRequest);
        $act!(OffsetDelete, OffsetDeleteRequest);
        $act!(DescribeCluster, DescribeClusterRequest);
        $act!(AlterConfigs, AlterConfigsRequest);
        $act!(DescribeLogDirs, DescribeLogDirsRequest);
        $act!(ElectLeaders, ElectLeadersRequest);
        $act!(IncrementalAlterConfigs, IncrementalAlterConfigsRequest);
        $act!(
            AlterPartitionReassignments,
            AlterPartitionReassignmentsRequest
        );
        $act!(
            ListPartitionReassignments,
            ListPartitionReassignmentsRequest
        );
        $act!(DescribeClientQuotas, DescribeClientQuotasRequest);
        $act!(AlterClientQuotas, AlterClientQuotasRequest);
        $act!(
            DescribeUserScramCredentials,
            DescribeUserScramCredentialsRequest
        );
        $act!(AlterUserScramCredentials, AlterUserScramCredentialsRequest);
        $act!(DescribeQuorum, DescribeQuorumRequest);
        $act!(UpdateFeatures, UpdateFeaturesRequest);
        $act!(ListConfigResources, ListConfigResourcesRequest);
        $act!(DescribeTopicPartitions, DescribeTopicPartitionsRequest);
        $act!(DescribeAcls, DescribeAclsRequest);
        $act!(CreateAcls, CreateAclsRequest);
        $act!(DeleteAcls, DeleteAclsRequest);
        $act!(ConsumerGroupHeartbeat, ConsumerGroupHeartbeatRequest);
        $act!(ConsumerGroupDescribe, ConsumerGroupDescribeRequest);
    };
}

/// A random body after a description; arrays are short, text is ASCII, some values are null.
pub(in crate::api) struct Generator<'a> {
    /// What half of the texts are, if there are any.
    names: &'a [&'a str],
    rng: &'a mut StdRng,
    version: i16,
    flexible: bool,
    body: BytesMut,
}

impl Generator<'_> {
    fn body(key: ApiKey, version: i16, rng: &mut StdRng) -> Bytes {
        Generator::naming(&[], key, version, rng)
    }

    /// A body whose texts are often some of `names`.
    pub(in crate::api) fn naming(
        names: &[&str],
        key: ApiKey,
        version: i16,
        rng: &mut StdRng,
    ) -> Bytes {
        Generator::of(names, schema(key).expect("described"), version, rng)
    }

    fn of(names: &[&str], schema: &'static Schema, version: i16, rng: &mut StdRng) -> Bytes {
        let mut generator = Generator {
            names,
            rng,
            version,
            flexible: version >= schema.flexible_from,
            body: BytesMut::new(),
        };
        generator.fields(schema.fields);
        generator.body.freeze()
    }

    fn fields(&mut self, fields: &'static [Field]) {
        let here = |field: &&Field| (field.from..=field.to).contains(&self.version);
        for field in fields.iter().filter(here).collect::<Vec<_>>() {
            match &field.kind {
                Kind::Fixed(len) => self.fixed(*len),
                Kind::String => self.string(),
                Kind::Bytes => {
                    let len = self.rng.random_range(0..20);
                    self.length(len as u32, i32::put_to);
                    self.fixed(len);
                }
                Kind::Array(element) => {
                    let count = self.rng.random_range(0..4_u32);
                    self.length(count, i32::put_to);
                    for _ in 0..count {
                        self.element(element);
                    }
                }
                Kind::Optional(fields) => match self.rng.random() {
                    true => {
                        self.body.put_i8(1);
                        self.fields(fields);
                    }
                    false => self.body.put_i8(-1),
                },
                Kind::Tagged(..) => {}
            }
        }
        if self.flexible {
            self.tags(fields);
        }
    }

    fn element(&mut self, element: &'static Element) {
        match element {
            Element::Fixed(len) => self.fixed(*len),
            Element::String => self.string(),
            Element::Struct(_, fields) => self.fields(fields),
            Element::Structs(_, fields) => {
                let count = self.rng.random_range(0..4_u32);
                self.length(count, i32::put_to);
                (0..count).for_each(|_| self.fields(fields));
            }
        }
    }

    fn tags(&mut self, fields: &'static [Field]) {
        let mut tags: Vec<(u32, BytesMut)> = Vec::new();
        for field in fields {
            let Kind::Tagged(tag, element) = &field.kind else {
                continue;
            };
            if (field.from..=field.to).contains(&self.version) && self.rng.random() {
                let before = std::mem::take(&mut self.body);
                self.element(element);
                tags.push((*tag, std::mem::replace(&mut self.body, before)));
            }
        }
        for unknown in 0..self.rng.random_range(0..3) {
            let len = self.rng.random_range(0..200);
            tags.push((100 + unknown * 100, BytesMut::zeroed(len)));
        }
        put_uvarint(&mut self.body, tags.len() as u32);
        for (tag, value) in tags {
            put_uvarint(&mut self.body, tag);
            put_uvarint(&mut self.body, value.len() as u32);
            self.body.extend_from_slice(&value);
        }
    }

    fn string(&mut self) {
        if !self.names.is_empty() && self.rng.random() {
            let name = self.names[self.rng.random_range(0..self.names.len())];
            self.length(name.len() as u32, i16::put_to);
            self.body.put_slice(name.as_bytes());
            return;
        }
        let len = self.rng.random_range(0..150);
        self.length(len as u32, i16::put_to);
        for _ in 0..len {
            let letter = self.rng.random_range(b'a'..=b'z');
            self.body.put_u8(letter);
        }
    }

    /// Random bytes; the first is 0 or 1, for the codec reads some of them as a boolean.
    fn fixed(&mut self, len: usize) {
        for at in 0..len {
            let byte = self.rng.random_range(0..=if at == 0 { 1 } else { 255 });
            self.body.put_u8(byte);
        }
    }

    fn length(&mut self, len: u32, plain: fn(&mut BytesMut, u32)) {
        if self.flexible {
            put_uvarint(&mut self.body, len + 1);
        } else {
            plain(&mut self.body, len);
        }
    }
}

trait PutLength {
    fn put_to(body: &mut BytesMut, len: u32);
}

impl PutLength for i16 {
    fn put_to(body: &mut BytesMut, len: u32) {
        body.put_i16(len as i16);
    }
}

impl PutLength for i32 {
    fn put_to(body: &mut BytesMut, len: u32) {
        body.put_i32(len as i32);
    }
}

fn put_uvarint(body: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        body.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    body.put_u8(value as u8);
}

/// How many bytes of `body` the decoder leaves.
fn decode<R: Decodable>(body: &Bytes, version: i16) -> Result<usize, String> {
    let mut rest = body.clone();
    match R::decode(&mut rest, version) {
        Ok(_) => Ok(rest.len()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn what_a_description_makes_the_decoder_reads_to_the_last_byte() {
    let mut rng = StdRng::seed_from_u64(1);
    macro_rules! hold {
        ($key:ident, $request:ident) => {
            let versions = $request::VERSIONS;
            for version in versions.min..=versions.max {
                for _ in 0..200 {
                    let body = Generator::body(ApiKey::$key, version, &mut rng);
                    let what = format!("{:?} v{version}: {body:02x?}", ApiKey::$key);
                    assert_eq!(decode::<$request>(&body, version), Ok(0), "{what}");
                    assert_eq!(
                        check(ApiKey::$key, version, &body),
                        Ok(body.len()),
                        "{what}"
                    );
                }
            }
        };
    }
    each_request!(hold);
}

#[test]
fn what_the_codec_encodes_passes_whole() {
    macro_rules! hold {
        ($key:ident, $request:ident) => {
            let mut encoded = 0;
            for version in 0..100 {
                let mut body = BytesMut::new();
                if $request::default().encode(&mut body, version).is_ok() {
                    encoded += 1;
                    assert_eq!(
                        check(ApiKey::$key, version, &body),
                        Ok(body.len()),
                        "{:?} v{version}",
                        ApiKey::$key
                    );
                }
            }
            assert!(encoded > 0, "{:?}", ApiKey::$key);
        };
    }
    each_request!(hold);
}

#[test]
fn a_damaged_body_is_refused_or_decodes_within_what_was_checked() {
    let mut rng = StdRng::seed_from_u64(2);
    let (mut passed, mut refused) = (0, 0);
    macro_rules! hold {
        ($key:ident, $request:ident) => {
            let versions = $request::VERSIONS;
            for version in versions.min..=versions.max {
                for _ in 0..300 {
                    let mut body = BytesMut::from(Generator::body(ApiKey::$key, version, &mut rng));
                    for _ in 0..rng.random_range(1..4) {
                        if !body.is_empty() {
                            let at = rng.random_range(0..body.len());
                            body[at] =
                                [0, 1, 0x7f, 0x80, 0xff, rng.random()][rng.random_range(0..6)];
                        }
                    }
                    body.truncate(rng.random_range(0..=body.len()).max(body.len() / 2));
                    let body = body.freeze();
                    match check(ApiKey::$key, version, &body) {
                        Err(_) => refused += 1,
                        Ok(taken) => {
                            passed += 1;
                            if let Ok(left) = decode::<$request>(&body, version) {
                                assert_eq!(left, body.len() - taken, "{body:02x?}");
                            }
                        }
                    }
                }
            }
        };
    }
    each_request!(hold);
    assert!(passed > 1000 && refused > 1000, "{passed} {refused}");
}

#[test]
fn counts_beyond_the_bytes_are_refused() {
    // Metadata v0: an array of 0x03000003 topics in eight bytes.
    let hostile = [0x03, 0x00, 0x00, 0x03, 0x3c, 0x0c, 0x00, 0xb6];
    assert_eq!(
        check(ApiKey::Metadata, 0, &hostile),
        Err(Refusal::Count(0x0300_0003, 4))
    );
    assert_eq!(
        check(ApiKey::Metadata, 0, &(-2_i32).to_be_bytes()),
        Err(Refusal::Count(-2, 0))
    );
    // Metadata v9: a compact count of 2^32 - 2.
    assert_eq!(
        check(
            ApiKey::Metadata,
            9,
            &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]
        ),
        Err(Refusal::Count(0xffff_fffe, 3))
    );
}

#[test]
fn a_known_tag_must_fill_its_size() {
    // Fetch v12 without topics, then tag 0 (cluster id) with a size that hides what follows.
    let mut body = BytesMut::from(&[0; 4 + 4 + 4 + 4 + 1 + 4 + 4][..]);
    body.extend_from_slice(&[1, 1, 1]);
    body.extend_from_slice(&[1, 0, 2, 2, b'x']);
    assert_eq!(check(ApiKey::Fetch, 12, &body), Ok(body.len()));
    let at = body.len() - 3;
    body[at] = 3;
    body.put_u8(0);
    assert_eq!(check(ApiKey::Fetch, 12, &body), Err(Refusal::Tag(0)));
}

#[test]
fn many_small_structs_with_tags_are_refused_by_what_they_would_hold() {
    // Metadata v9: topics of four bytes, each with a tagged field, which costs a map.
    let topics = 200_000_u32;
    let mut body = BytesMut::new();
    put_uvarint(&mut body, topics + 1);
    for _ in 0..topics {
        body.extend_from_slice(&[0, 1, 9, 0]);
    }
    body.extend_from_slice(&[0, 0, 0, 0]);
    assert!(matches!(
        check(ApiKey::Metadata, 9, &body),
        Err(Refusal::Held(..))
    ));
}

#[test]
fn every_line_of_the_table_is_described() {
    for api in crate::api::TABLE {
        assert!(schema(api.key).is_some(), "{api:?}");
    }
}

#[test]
fn responses_are_walked_as_the_decoder_reads_them() {
    let mut rng = StdRng::seed_from_u64(3);
    macro_rules! hold {
        ($($key:ident $response:ident $highest:literal),*) => {$(
            let schema = answers::schema(ApiKey::$key).expect("described");
            for version in $response::VERSIONS.min..=$highest {
                for round in 0..200 {
                    let mut body = BytesMut::from(Generator::of(&[], schema, version, &mut rng));
                    let what = format!("{:?} v{version}: {body:02x?}", ApiKey::$key);
                    let whole = body.clone().freeze();
                    assert_eq!(decode::<$response>(&whole, version), Ok(0), "{what}");
                    let checked = check_response(ApiKey::$key, version, &whole);
                    assert_eq!(checked, Ok(whole.len()), "{what}");
                    if round % 2 == 0 && !body.is_empty() {
                        let at = rng.random_range(0..body.len());
                        body[at] = [0, 1, 0x7f, 0x80, 0xff, rng.random()][rng.random_range(0..6)];
                    }
                    let body = body.freeze();
                    if let Ok(taken) = check_response(ApiKey::$key, version, &body)
                        && let Ok(left) = decode::<$response>(&body, version)
                    {
                        assert_eq!(left, body.len() - taken, "{body:02x?}");
                    }
                }
            }
        )*};
    }
    hold!(
        ApiVersions ApiVersionsResponse 3, Metadata MetadataResponse 13, Fetch FetchResponse 12,
        ListOffsets ListOffsetsResponse 10, OffsetForLeaderEpoch OffsetForLeaderEpochResponse 4,
        DescribeConfigs DescribeConfigsResponse 4, DescribeLogDirs DescribeLogDirsResponse 4,
        DescribeProducers DescribeProducersResponse 0, ListGroups ListGroupsResponse 5,
        OffsetFetch OffsetFetchResponse 10,
        DescribeAcls DescribeAclsResponse 3, DescribeCluster DescribeClusterResponse 1,
        DescribeUserScramCredentials DescribeUserScramCredentialsResponse 0,
        SaslHandshake SaslHandshakeResponse 1, SaslAuthenticate SaslAuthenticateResponse 2
    );
}
