//! Tests of batch checks, on batches that are put together byte by byte.

use std::io::Write;

use bytes::{BufMut, BytesMut};

use super::*;

const NOW: Timestamp = 1_000_000;

/// Sets one field of a batch that is otherwise legal.
#[derive(Clone)]
struct Build {
    attributes: i16,
    records: Vec<(i64, Option<&'static [u8]>)>,
    offset_delta_step: i32,
    last_offset_delta: Option<i32>,
    record_count: Option<i32>,
    max_timestamp: Option<i64>,
    base_offset: i64,
    producer: (i64, i16, i32),
    trailing: &'static [u8],
}

impl Default for Build {
    fn default() -> Self {
        Self {
            attributes: 0,
            records: vec![(0, Some(b"k")), (5, Some(b"k"))],
            offset_delta_step: 1,
            last_offset_delta: None,
            record_count: None,
            max_timestamp: None,
            base_offset: 0,
            producer: (-1, -1, -1),
            trailing: b"",
        }
    }
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn compress(codec: i16, plain: &[u8]) -> Vec<u8> {
    match codec {
        0 => plain.to_vec(),
        1 => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(plain).unwrap();
            writer.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        3 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(plain).unwrap();
            writer.finish().unwrap()
        }
        _ => zstd::bulk::compress(plain, 3).unwrap(),
    }
}

/// A snappy payload as the Java library frames it.
fn xerial(plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
    out.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    for block in plain.chunks(7) {
        let packed = snap::raw::Encoder::new().compress_vec(block).unwrap();
        out.put_u32(packed.len() as u32);
        out.extend(packed);
    }
    out
}

impl Build {
    fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        for (index, (timestamp_delta, key)) in self.records.iter().enumerate() {
            let mut record = vec![0];
            varint(&mut record, *timestamp_delta);
            varint(
                &mut record,
                index as i64 * i64::from(self.offset_delta_step),
            );
            match key {
                Some(key) => {
                    varint(&mut record, key.len() as i64);
                    record.extend_from_slice(key);
                }
                None => varint(&mut record, -1),
            }
            varint(&mut record, 5);
            record.extend_from_slice(b"value");
            varint(&mut record, 1);
            varint(&mut record, 1);
            record.extend_from_slice(b"h");
            varint(&mut record, -1);
            varint(&mut plain, record.len() as i64);
            plain.extend(record);
        }
        plain.extend_from_slice(self.trailing);
        plain
    }

    fn bytes(&self) -> BytesMut {
        self.with_payload(&compress(self.attributes & 7, &self.plain()))
    }

    fn with_payload(&self, payload: &[u8]) -> BytesMut {
        let count = self.records.len() as i32;
        let highest = self
            .records
            .iter()
            .map(|(delta, _)| NOW + delta)
            .max()
            .unwrap_or(-1);
        let mut covered = Vec::new();
        covered.put_i16(self.attributes);
        covered.put_i32(self.last_offset_delta.unwrap_or(count - 1));
        covered.put_i64(NOW);
        covered.put_i64(self.max_timestamp.unwrap_or(highest));
        covered.put_i64(self.producer.0);
        covered.put_i16(self.producer.1);
        covered.put_i32(self.producer.2);
        covered.put_i32(self.record_count.unwrap_or(count));
        covered.put_slice(payload);
        let mut out = BytesMut::new();
        out.put_i64(self.base_offset);
        out.put_i32(covered.len() as i32 + 9);
        out.put_i32(-1);
        out.put_i8(2);
        out.put_u32(crc32c::crc32c(&covered));
        out.put_slice(&covered);
        out
    }
}

fn rules() -> Rules {
    Rules {
        max_message_bytes: 1_048_588,
        zstd_allowed: true,
        keys_required: false,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        decompressed_max_bytes: 256 << 20,
        compression: None,
    }
}

fn check_built(build: Build) -> Result<CheckedBatch, BatchError> {
    check(build.bytes(), &rules(), NOW)
}

#[track_caller]
fn assert_invalid(build: Build) {
    match check_built(build) {
        Err(BatchError::Invalid { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_of_every_codec_is_taken_and_left_as_it_is() {
    for codec in 0..=4 {
        let sent = Build {
            attributes: codec,
            ..Build::default()
        }
        .bytes();
        let checked = check(sent.clone(), &rules(), NOW).unwrap();
        assert_eq!(checked.bytes, sent, "codec {codec}");
        assert_eq!(checked.header.max_timestamp, NOW + 5);
    }
    let build = Build {
        attributes: 2,
        ..Build::default()
    };
    check(build.with_payload(&xerial(&build.plain())), &rules(), NOW).unwrap();
}

#[test]
fn the_stamp_leaves_the_crc_right() {
    let mut batch = check_built(Build::default()).unwrap();
    batch.stamp(42, LeaderEpoch(7));
    let header = Header::parse(&batch.bytes).unwrap();
    assert_eq!(
        (header.base_offset, header.leader_epoch),
        (42, LeaderEpoch(7))
    );
    assert_eq!(crc32c::crc32c(&batch.bytes[CRC_FROM..]), header.crc);
    assert_eq!(header.next_offset(), 44);
}

#[test]
fn damage_is_corrupt_and_not_invalid() {
    let whole = Build::default().bytes();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(
        check(flipped, &rules(), NOW),
        Err(BatchError::Corrupt(_))
    ));
    let cut = whole[..whole.len() - 1].into();
    assert!(matches!(
        check(cut, &rules(), NOW),
        Err(BatchError::Corrupt(_))
    ));
    let mut epoch = whole.clone();
    epoch[13] ^= 1;
    assert!(check(epoch, &rules(), NOW).is_ok());
}

#[test]
fn counts_that_do_not_fit_the_records_are_invalid() {
    assert_invalid(Build {
        last_offset_delta: Some(5),
        ..Build::default()
    });
    assert_invalid(Build {
        record_count: Some(0),
        ..Build::default()
    });
    assert_invalid(Build {
        record_count: Some(-1),
        ..Build::default()
    });
    let more = Build {
        record_count: Some(3),
        last_offset_delta: Some(2),
        ..Build::default()
    };
    assert_invalid(more);
    let fewer = Build {
        record_count: Some(1),
        last_offset_delta: Some(0),
        ..Build::default()
    };
    assert_invalid(fewer);
    assert_invalid(Build {
        trailing: b"x",
        ..Build::default()
    });
    assert_invalid(Build {
        offset_delta_step: 2,
        ..Build::default()
    });
    assert_invalid(Build {
        base_offset: 5,
        ..Build::default()
    });
    assert_invalid(Build {
        attributes: 5,
        ..Build::default()
    });
}

#[test]
fn control_batches_and_producers_without_a_sequence_are_invalid() {
    assert_invalid(Build {
        attributes: CONTROL_BIT,
        ..Build::default()
    });
    assert_invalid(Build {
        producer: (4, 0, -1),
        ..Build::default()
    });
    check_built(Build {
        producer: (4, 0, 0),
        ..Build::default()
    })
    .unwrap();
}

#[test]
fn nothing_two_batches_and_old_formats_are_invalid_and_a_partial_second_is_cut() {
    let whole = Build::default().bytes();
    let twice = [&whole[..], &whole[..]].concat();
    let invalid = |bytes: &[u8]| {
        assert!(matches!(
            check(bytes.into(), &rules(), NOW),
            Err(BatchError::Invalid { .. })
        ));
    };
    invalid(&[]);
    invalid(&whole[..10]);
    invalid(&twice);
    let mut old = whole.clone();
    old[16] = 1;
    invalid(&old);
    let partial = twice[..twice.len() - 1].into();
    assert_eq!(check(partial, &rules(), NOW).unwrap().bytes, whole);
}

#[test]
fn the_size_limit_is_exact() {
    let bytes = Build::default().bytes();
    let limit = |max_message_bytes| Rules {
        max_message_bytes,
        ..rules()
    };
    let size = bytes.len() as i32;
    assert!(check(bytes.clone(), &limit(size), NOW).is_ok());
    assert!(matches!(
        check(bytes, &limit(size - 1), NOW),
        Err(BatchError::TooLarge { .. })
    ));
}

#[test]
fn zstd_depends_on_the_version() {
    let bytes = Build {
        attributes: 4,
        ..Build::default()
    }
    .bytes();
    let old = Rules {
        zstd_allowed: false,
        ..rules()
    };
    assert_eq!(
        check(bytes, &old, NOW).unwrap_err(),
        BatchError::UnsupportedCompression
    );
}

#[test]
fn a_compacted_topic_names_the_records_without_a_key() {
    let records = vec![
        (0, Some(&b"a"[..])),
        (0, None),
        (0, Some(&b"b"[..])),
        (0, None),
    ];
    let bytes = Build {
        records,
        ..Build::default()
    }
    .bytes();
    let compacted = Rules {
        keys_required: true,
        ..rules()
    };
    let Err(BatchError::Invalid { records, .. }) = check(bytes, &compacted, NOW) else {
        panic!()
    };
    assert_eq!(
        records.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        [1, 3]
    );
}

#[test]
fn timestamps_out_of_bounds_are_named_and_minus_one_is_exempt() {
    let records = vec![(0, None), (3_600_001, None), (-NOW - 1, None)];
    let late = Build {
        records,
        ..Build::default()
    };
    let Err(BatchError::Timestamp { records, .. }) = check_built(late.clone()) else {
        panic!()
    };
    assert_eq!(
        records.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        [1]
    );
    let early = Rules {
        timestamp_before_max_ms: 10,
        timestamp_after_max_ms: i64::MAX,
        ..rules()
    };
    check(late.bytes(), &early, NOW).unwrap();
}

#[test]
fn log_append_time_is_written_with_a_crc_that_fits() {
    let rules = Rules {
        log_append_time: true,
        ..rules()
    };
    let batch = check(Build::default().bytes(), &rules, NOW + 77).unwrap();
    assert_eq!(batch.log_append_time, Some(NOW + 77));
    let header = Header::parse(&batch.bytes).unwrap();
    assert!(header.is_log_append_time());
    assert_eq!(header.max_timestamp, NOW + 77);
    assert_eq!(crc32c::crc32c(&batch.bytes[CRC_FROM..]), header.crc);
    let mut times = Vec::new();
    records(&batch.bytes, 1 << 20, |record| {
        times.push(record.timestamp);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(times, [NOW + 77; 2]);
    let sent_so = Build {
        attributes: LOG_APPEND_TIME_BIT,
        ..Build::default()
    };
    assert!(matches!(
        check_built(sent_so),
        Err(BatchError::Timestamp { .. })
    ));
}

#[test]
fn a_wrong_highest_timestamp_is_corrected() {
    let batch = check_built(Build {
        max_timestamp: Some(3),
        ..Build::default()
    })
    .unwrap();
    let header = Header::parse(&batch.bytes).unwrap();
    assert_eq!(header.max_timestamp, NOW + 5);
    assert_eq!(crc32c::crc32c(&batch.bytes[CRC_FROM..]), header.crc);
}

#[test]
fn a_megabyte_of_one_byte_is_taken_and_more_than_the_limit_is_not() {
    let mut record = vec![0, 0, 0];
    varint(&mut record, -1);
    varint(&mut record, 1 << 20);
    record.extend(vec![b'a'; 1 << 20]);
    varint(&mut record, 0);
    let mut plain = Vec::new();
    varint(&mut plain, record.len() as i64);
    plain.extend(record);
    for codec in 0..=4 {
        let build = Build {
            attributes: codec,
            records: vec![(0, None)],
            ..Build::default()
        };
        let bytes = build.with_payload(&compress(codec, &plain));
        let large = Rules {
            max_message_bytes: i32::MAX,
            ..rules()
        };
        check(bytes.clone(), &large, NOW).unwrap_or_else(|e| panic!("codec {codec}: {e}"));
        let tight = Rules {
            decompressed_max_bytes: 1 << 20,
            ..large
        };
        assert!(check(bytes, &tight, NOW).is_err(), "codec {codec}");
    }
}

#[test]
fn a_snappy_block_that_claims_gigabytes_is_refused_before_it_is_believed() {
    let build = Build {
        attributes: 2,
        ..Build::default()
    };
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    let error = check(build.with_payload(&claim), &rules(), NOW).unwrap_err();
    assert!(matches!(error, BatchError::Invalid { .. }), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_checks_panic(flips in proptest::collection::vec((0usize..400, 0u8..), 0..8), codec in 0i16..8) {
        let mut bytes = Build { attributes: codec, ..Build::default() }.bytes();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[CRC_START..CRC_START + 4].copy_from_slice(&crc.to_be_bytes());
        let _ = check(bytes, &rules(), NOW);
    }
}

const KINDS: [CompressionType; 9] = [
    CompressionType::Uncompressed,
    CompressionType::Gzip(-1),
    CompressionType::Gzip(1),
    CompressionType::Gzip(9),
    CompressionType::Snappy,
    CompressionType::Lz4(9),
    CompressionType::Zstd(-131_072),
    CompressionType::Zstd(3),
    CompressionType::Zstd(22),
];

fn kept_as(kind: CompressionType) -> Rules {
    Rules {
        compression: Some(kind),
        ..rules()
    }
}

fn unpacked(batch: &[u8]) -> Vec<u8> {
    let header = Header::parse(batch).unwrap();
    let codec = header.codec().unwrap();
    let mut out = Vec::new();
    let mut reader = compression::decoder(codec, &batch[HEADER_BYTES..], 1 << 24).unwrap();
    io::Read::read_to_end(&mut reader, &mut out).unwrap();
    out
}

#[test]
fn a_batch_takes_the_codec_of_its_topic_and_keeps_the_rest() {
    for from in 0..=4i16 {
        let build = Build {
            attributes: from | TRANSACTIONAL_BIT,
            producer: (7, 3, 11),
            ..Build::default()
        };
        for kind in KINDS {
            let sent = build.bytes();
            let before = Header::parse(&sent).unwrap();
            let mut checked = check(sent.clone(), &kept_as(kind), NOW).unwrap();
            let to = Codec::from(kind);
            if to.attribute() == from {
                assert_eq!(checked.bytes, sent, "{kind:?}: nothing to do");
                continue;
            }
            assert_eq!(
                unpacked(&checked.bytes),
                build.plain(),
                "{from} to {kind:?}"
            );
            let after = Header::parse(&checked.bytes).unwrap();
            assert_eq!(after, checked.header);
            assert_eq!(after.size_bytes, checked.bytes.len());
            let expected = Header {
                size_bytes: after.size_bytes,
                crc: crc32c::crc32c(&checked.bytes[CRC_FROM..]),
                attributes: to.attribute() | TRANSACTIONAL_BIT,
                ..before
            };
            assert_eq!(after, expected);
            // What comes of it is a batch that passes every check.
            checked.stamp(0, LeaderEpoch(-1));
            check(checked.bytes, &rules(), NOW).unwrap();
        }
    }
}

#[test]
fn another_codec_and_log_append_time_go_together() {
    let rules = Rules {
        log_append_time: true,
        ..kept_as(CompressionType::Zstd(3))
    };
    let checked = check(Build::default().bytes(), &rules, NOW + 99).unwrap();
    let after = Header::parse(&checked.bytes).unwrap();
    assert!(after.is_log_append_time());
    assert_eq!(after.codec(), Some(Codec::Zstd));
    assert_eq!(after.max_timestamp, NOW + 99);
    assert_eq!(after.crc, crc32c::crc32c(&checked.bytes[CRC_FROM..]));
}

#[test]
fn what_grows_beyond_the_topics_limit_is_refused() {
    let zeros = vec![0; 5 << 20];
    let mut plain = Vec::new();
    let mut record = vec![0, 0, 0, 1];
    varint(&mut record, zeros.len() as i64);
    record.extend(zeros);
    record.push(0);
    varint(&mut plain, record.len() as i64);
    plain.extend(record);
    let build = Build {
        attributes: 4,
        records: vec![(0, None)],
        ..Build::default()
    };
    let sent = build.with_payload(&compress(4, &plain));
    assert!(sent.len() < 10_000);
    let refused = check(sent.clone(), &kept_as(CompressionType::Uncompressed), NOW).unwrap_err();
    assert!(
        matches!(
            refused,
            BatchError::TooLarge {
                max_bytes: 1_048_588,
                ..
            }
        ),
        "{refused:?}"
    );
    check(sent, &kept_as(CompressionType::Gzip(-1)), NOW).unwrap();
}
