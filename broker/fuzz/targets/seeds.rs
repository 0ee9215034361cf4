//! Writes what the fuzz targets start from: a plain request of every API and version, and a small
//! batch in every codec.
#![allow(clippy::disallowed_methods, reason = "files are what it makes")]

use std::io::Write;
use std::path::Path;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Encodable;

fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).expect("usage: seeds DIRECTORY");
    let directory = Path::new(&directory);
    std::fs::create_dir_all(directory.join("frame"))?;
    std::fs::create_dir_all(directory.join("batch"))?;
    requests(&directory.join("frame"))?;
    batches(&directory.join("batch"))
}

fn requests(directory: &Path) -> std::io::Result<()> {
    for api in trestle::api::TABLE {
        for version in api.served_from..=*api.versions.end() {
            let mut seed = BytesMut::new();
            seed.put_u8(api.key as u8);
            seed.put_u8(version as u8);
            seed.put_slice(b"\x00\x01c");
            if api.is_flexible(version) {
                seed.put_u8(0);
            }
            encode(api.key, version, &mut seed);
            let name = format!("{}-{version}", api.name);
            std::fs::write(directory.join(name), seed)?;
        }
    }
    Ok(())
}

/// A request with its defaults; nothing for one that the codec does not have.
fn encode(key: ApiKey, version: i16, to: &mut BytesMut) {
    macro_rules! one_of {
        ($($key:ident $request:ident),* $(,)?) => {
            match key {
                $(ApiKey::$key => $request::default().encode(to, version).is_ok(),)*
                _ => panic!("no seed for {key:?}: add its line here"),
            }
        };
    }
    one_of!(
        Produce ProduceRequest,
        Fetch FetchRequest,
        CreateTopics CreateTopicsRequest,
        DeleteTopics DeleteTopicsRequest,
        OffsetCommit OffsetCommitRequest,
        ListOffsets ListOffsetsRequest,
        Metadata MetadataRequest,
        OffsetFetch OffsetFetchRequest,
        FindCoordinator FindCoordinatorRequest,
        JoinGroup JoinGroupRequest,
        Heartbeat HeartbeatRequest,
        LeaveGroup LeaveGroupRequest,
        SyncGroup SyncGroupRequest,
        DescribeGroups DescribeGroupsRequest,
        ListGroups ListGroupsRequest,
        SaslHandshake SaslHandshakeRequest,
        ApiVersions ApiVersionsRequest,
        DeleteRecords DeleteRecordsRequest,
        InitProducerId InitProducerIdRequest,
        OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
        AddPartitionsToTxn AddPartitionsToTxnRequest,
        AddOffsetsToTxn AddOffsetsToTxnRequest,
        EndTxn EndTxnRequest,
        WriteTxnMarkers WriteTxnMarkersRequest,
        TxnOffsetCommit TxnOffsetCommitRequest,
        DescribeAcls DescribeAclsRequest,
        CreateAcls CreateAclsRequest,
        DeleteAcls DeleteAclsRequest,
        DescribeConfigs DescribeConfigsRequest,
        AlterConfigs AlterConfigsRequest,
        DescribeLogDirs DescribeLogDirsRequest,
        SaslAuthenticate SaslAuthenticateRequest,
        CreatePartitions CreatePartitionsRequest,
        DeleteGroups DeleteGroupsRequest,
        ElectLeaders ElectLeadersRequest,
        IncrementalAlterConfigs IncrementalAlterConfigsRequest,
        AlterPartitionReassignments AlterPartitionReassignmentsRequest,
        ListPartitionReassignments ListPartitionReassignmentsRequest,
        OffsetDelete OffsetDeleteRequest,
        DescribeClientQuotas DescribeClientQuotasRequest,
        AlterClientQuotas AlterClientQuotasRequest,
        DescribeUserScramCredentials DescribeUserScramCredentialsRequest,
        AlterUserScramCredentials AlterUserScramCredentialsRequest,
        DescribeQuorum DescribeQuorumRequest,
        UpdateFeatures UpdateFeaturesRequest,
        DescribeCluster DescribeClusterRequest,
        DescribeProducers DescribeProducersRequest,
        DescribeTransactions DescribeTransactionsRequest,
        ListTransactions ListTransactionsRequest,
        ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribe ConsumerGroupDescribeRequest,
        ListConfigResources ListConfigResourcesRequest,
        DescribeTopicPartitions DescribeTopicPartitionsRequest,
    );
}

/// Two records: a key, a value and a header; neither key nor value.
const RECORDS: &[u8] = b"\x1e\x00\x00\x00\x02k\x0avalue\x02\x02h\x02v\x0c\x00\x02\x02\x01\x01\x00";

fn batches(directory: &Path) -> std::io::Result<()> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(RECORDS)?;
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(RECORDS)?;
    let snappy = snap::raw::Encoder::new()
        .compress_vec(RECORDS)
        .map_err(std::io::Error::other)?;
    let mut xerial = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    xerial.extend((snappy.len() as i32).to_be_bytes());
    xerial.extend(&snappy);
    for (name, codec, payload) in [
        ("none", 0, RECORDS.to_vec()),
        ("gzip", 1, gzip.finish()?),
        ("snappy", 2, snappy),
        ("xerial", 2, xerial),
        ("lz4", 3, lz4.finish().map_err(std::io::Error::other)?),
        ("zstd", 4, zstd::encode_all(RECORDS, 3)?),
    ] {
        let mut batch = BytesMut::new();
        batch.put_u8(1); // length and CRC are filled in by the target
        batch.put_i64(0);
        batch.put_i32(0);
        batch.put_i32(-1);
        batch.put_i8(2);
        batch.put_u32(0);
        batch.put_i16(codec);
        batch.put_i32(1); // last offset delta
        batch.put_i64(1_700_000_000_000);
        batch.put_i64(1_700_000_000_001);
        batch.put_i64(-1);
        batch.put_i16(-1);
        batch.put_i32(-1);
        batch.put_i32(2);
        batch.put_slice(&payload);
        std::fs::write(directory.join(name), batch)?;
    }
    Ok(())
}
