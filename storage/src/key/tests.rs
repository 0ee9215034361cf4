//! Golden bytes and round trips of every row. A golden that changes is a new format.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::codec::{
    put_var_u64, put_varint, take_terminated, take_var_u64, take_varint, unzigzag, zigzag,
};
use super::*;
use crate::EntryFormat;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn log(key: &[u8]) -> LogKey {
    LogKey::new(Bytes::copy_from_slice(key)).expect("a key of good length")
}

const SEGMENT: SegmentMeta = SegmentMeta {
    id: 7,
    start_sequence: 1000,
    start_time_ms: 1_700_000_000_000,
    live_logs: 3,
    dead_bytes: 9,
    adopted_ms: 0,
};

fn entry_key(log: &LogKey, key: &EntryKey) -> Bytes {
    let mut out = BytesMut::new();
    key.encode_into(&mut out, log, &SEGMENT);
    out.freeze()
}

#[test]
fn entry_rows() {
    let key = EntryKey {
        last_sequence: 1300,
        format: EntryFormat::Batch,
        packed: false,
        records: 5,
        first_offset: 200,
        max_timestamp: 1_700_000_000_050,
    };
    let stored = entry_key(&log(b"t/0"), &key);
    // prefix, "t/0" and its end, 300 as var_u64, form, 5 - 1, 200, zigzag(50)
    assert_eq!(hex(&stored), "03010000000710742f3000112c0104c80164");
    assert_eq!(EntryKey::decode(&stored, &SEGMENT).expect("whole"), key);
    let bound = EntryKey::lower_bound(&log(b"t/0"), &SEGMENT, 1300);
    assert_eq!(hex(&bound), "03010000000710742f3000112c");
    assert!(bound < stored && stored < EntryKey::end(&log(b"t/0"), &SEGMENT));
}

#[test]
fn packed_values() {
    let mut packer = Packer::with_capacity(5, 2);
    packer.push(b"abc", 1);
    packer.push(b"de", 4);
    let value = packer.finish();
    assert_eq!(hex(&value), "6162636465030002030000000200000004");
}

#[test]
fn index_rows() {
    let index = Index {
        last_offset: 204,
        last_sequence: 1300,
        max_timestamp: -1,
        appended_bytes: 65536,
        records: 9,
    };
    let key = Index::key(&log(b"t/0"), 7, 204);
    assert_eq!(hex(&key), "0301000000071a742f3000ff00000000000000cc");
    let mut value = BytesMut::new();
    index.value_into(&mut value);
    assert_eq!(
        hex(&value),
        "0000000000000514ffffffffffffffff00000000000100000000000000000009"
    );
    assert_eq!(Index::decode(&key, &value).expect("whole"), index);
}

#[test]
fn directory_rows() {
    let directory = Directory {
        first_offset: 196,
        segment: 7,
        first_sequence: 1001,
        bytes_before: 4096,
        records_before: 4,
        max_timestamp_before: 50,
        rewritten_bytes: 0,
    };
    let key = Directory::key(&log(b"t/0"), 196);
    assert_eq!(hex(&key), "0301000000001b742f3000ff0100000000000000c4");
    let value = directory.value();
    assert_eq!(
        hex(&value),
        "0000000700000000000003e9000000000000100000000000000000040000000000000032"
    );
    assert_eq!(Directory::decode(&key, &value).expect("whole"), directory);
    let rewritten = Directory {
        rewritten_bytes: 258,
        ..directory
    };
    let longer = rewritten.value();
    assert_eq!(hex(&longer), hex(&value) + "0000000000000102");
    assert_eq!(Directory::decode(&key, &longer).expect("whole"), rewritten);
    assert_eq!(
        Directory::owner(&key).expect("whole"),
        Some((Bytes::from("t/0"), true))
    );
}

#[test]
fn log_state_rows() {
    let state = LogState {
        removed: true,
        start_offset: 1,
        end_offset: 2,
        appended_bytes: 3,
        records: 4,
        max_timestamp: 5,
        dead_through: 6,
    };
    let key = LogState::key(&log(b"t/0"));
    assert_eq!(hex(&key), "0301000000001b742f3000ff02");
    let value = state.value();
    assert_eq!(
        hex(&value),
        "0100000000000000010000000000000002000000000000000300000000000000040000000000000005\
         0000000000000006"
    );
    assert_eq!(LogState::decode(&key, &value).expect("whole"), state);
    let older = LogState {
        dead_through: 0,
        ..state
    };
    assert_eq!(LogState::decode(&key, &value[..41]).expect("whole"), older);
    assert!(
        Directory::key(&log(b"t/0"), u64::MAX) < key && key < Directory::scan_end(&log(b"t/0"))
    );
}

#[test]
fn rows_of_opendata() {
    let log = log(b"t/0");
    let value = SEGMENT.value();
    let theirs = SegmentMeta {
        live_logs: 0,
        dead_bytes: 0,
        ..SEGMENT
    };
    let key = SegmentMeta::key(7);
    assert_eq!(
        SegmentMeta::decode(&key, &value[..16]).expect("whole"),
        theirs
    );
    let adopted = SegmentMeta {
        adopted_ms: 258,
        ..SEGMENT
    };
    assert_eq!(hex(&adopted.value()), hex(&value) + "0000000000000102");
    assert_eq!(
        SegmentMeta::decode(&key, &adopted.value()).expect("whole"),
        adopted
    );

    let entry = EntryKey::lower_bound(&log, &SEGMENT, 1300);
    assert_eq!(hex(&entry), "03010000000710742f3000112c");
    assert!(entry.starts_with(&EntryKey::prefix(7)));
    assert_eq!(
        EntryKey::decode(&entry, &adopted).expect("whole"),
        EntryKey {
            last_sequence: 1300,
            format: EntryFormat::Raw,
            packed: false,
            records: 1,
            first_offset: 1300,
            max_timestamp: 258,
        }
    );
}

#[test]
fn listing_rows() {
    let key = Listing::key(&log(b"t/0"), 7);
    assert_eq!(hex(&key), "03010000000740742f30");
    assert!(key.starts_with(&Listing::prefix(7)));
}

#[test]
fn packed_values_with_holes() {
    let key = EntryKey {
        last_sequence: 1300,
        format: EntryFormat::Batch,
        packed: true,
        records: 6,
        first_offset: 200,
        max_timestamp: 0,
    };
    let mut packer = Packer::with_capacity(0, 0);
    packer.push_hole(3);
    packer.push(b"abc", 1);
    packer.push(b"", 2);
    let value = packer.finish();
    assert_eq!(hex(&value), "6162630002040001018000000300000006");
    let entries = PackedValue::decode(&key, &value).expect("whole").entries;
    let expected = [
        (None, 3),
        (Some(Bytes::from("abc")), 1),
        (Some(Bytes::new()), 2),
    ];
    assert_eq!(entries, expected);
}

#[test]
fn rows_of_logs_among_the_entries() {
    let index = Index::key(&log(b"t/0"), 7, 204);
    let expected = DataRow {
        segment: 7,
        stored_key: b"t/0\0",
        index_offset: Some(204),
    };
    assert_eq!(DataRow::of(&index), Some(expected));
    let entry = EntryKey::lower_bound(&log(b"t/0"), &SEGMENT, 1300);
    let expected = DataRow {
        index_offset: None,
        ..expected
    };
    assert_eq!(DataRow::of(&entry), Some(expected));
    assert_eq!(DataRow::of(&Listing::key(&log(b"t/0"), 7)), None);
    assert_eq!(LogKey::of_stored(b"t/0\0"), Some(log(b"t/0")));
    assert_eq!(LogKey::of_stored(b"t/0"), None);
}

#[test]
fn segment_rows() {
    let key = SegmentMeta::key(7);
    assert_eq!(hex(&key), "0301000000003000000007");
    assert_eq!(
        hex(&SEGMENT.value()),
        "00000000000003e80000018bcfe56800000000030000000000000009"
    );
    let older = SegmentMeta {
        dead_bytes: 0,
        ..SEGMENT
    };
    assert_eq!(
        SegmentMeta::decode(&key, &SEGMENT.value()[..20]).expect("whole"),
        older
    );
    assert_eq!(
        SegmentMeta::decode(&key, &SEGMENT.value()).expect("whole"),
        SEGMENT
    );
}

#[test]
fn sequence_rows() {
    let block = SequenceBlock {
        base: 4096,
        size: 65536,
    };
    assert_eq!(hex(&SequenceBlock::key()), "03010000000020");
    assert_eq!(hex(&block.value()), "00000000000010000000000000010000");
    assert_eq!(SequenceBlock::decode(&block.value()).expect("whole"), block);
    assert_eq!(block.end(), 69632);
}

#[test]
fn store_rows() {
    assert_eq!(hex(&Format::key()), "0301000000001b00ff00");
    assert_eq!(hex(&Format::value(Format::CURRENT)), "00000001");
    assert_eq!(Format::decode(&Format::value(9)).expect("whole"), 9);
    assert_eq!(hex(&Frontier::key()), "0301000000001b00ff08");
    assert_eq!(hex(&Frontier::value(5)), "0000000000000005");
    assert_eq!(Frontier::decode(&Frontier::value(9)).expect("whole"), 9);
    assert!(Frontier::decode(b"short").is_err());
    assert_eq!(hex(&Row::key(b"x")), "0301000000001b00ff0178");
    assert_eq!(Row::decode(&Row::key(b"x")).expect("whole"), "x");
    assert_eq!(
        hex(&Pending::key(&log(b"t/0"))),
        "0301000000001b00ff02742f30"
    );
    assert_eq!(
        Pending::decode(&Pending::key(&log(b"t/0"))).expect("whole"),
        "t/0"
    );
    assert_eq!(Directory::owner(&Row::key(b"x")).expect("whole"), None);
    assert!(Pending::key(&log(b"\xff")) < Directory::first_log());
    assert!(Directory::first_log() <= Directory::scan_start(b"\0"));
}

#[test]
fn var_u64_goldens_of_opendata() {
    for (value, expected) in [
        (0, "00"),
        (15, "0f"),
        (16, "1010"),
        (4095, "1fff"),
        (4096, "201000"),
        ((1 << 20) - 1, "2fffff"),
        (u64::MAX, "80ffffffffffffffff"),
    ] {
        let mut out = BytesMut::new();
        put_var_u64(&mut out, value);
        assert_eq!(hex(&out), expected, "{value}");
    }
    assert_eq!(hex(log(b"a\0b\x01\xff").stored()), "610101620102ff00");
}

fn formats() -> impl Strategy<Value = EntryFormat> {
    prop_oneof![Just(EntryFormat::Raw), Just(EntryFormat::Batch)]
}

fn keys() -> impl Strategy<Value = LogKey> {
    proptest::collection::vec(prop_oneof![0u8..3, any::<u8>()], 1..20).prop_map(|key| log(&key))
}

proptest! {
    #[test]
    fn keys_keep_their_order(a in keys(), b in keys()) {
        prop_assert_eq!(a.plain().cmp(b.plain()), a.stored().cmp(b.stored()));
        let mut rest = &a.stored()[..];
        prop_assert_eq!(take_terminated(&mut rest), Some(a.plain().clone()));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn numbers_come_back_and_keep_their_order(a: u64, b: u64, shift in 0u32..64) {
        let (a, b) = (a >> shift, b >> shift);
        let encode = |value| { let mut out = BytesMut::new(); put_var_u64(&mut out, value); out };
        prop_assert_eq!(a.cmp(&b), encode(a).cmp(&encode(b)));
        prop_assert_eq!(take_var_u64(&mut &encode(a)[..]), Some(a));
        let mut out = BytesMut::new();
        put_varint(&mut out, a);
        prop_assert_eq!(take_varint(&mut &out[..]), Some(a));
        prop_assert_eq!(unzigzag(zigzag(a as i64)), a as i64);
    }

    #[test]
    fn entry_keys_come_back(
        log in keys(), format in formats(), packed: bool, relative in 0u64..1 << 40,
        records in 1u64..1 << 20, first_offset in 0u64..1 << 50, max_timestamp in -1i64..1 << 50,
    ) {
        let last_sequence = SEGMENT.start_sequence + relative + records;
        let key = EntryKey { last_sequence, format, packed, records, first_offset, max_timestamp };
        prop_assert_eq!(EntryKey::decode(&entry_key(&log, &key), &SEGMENT).expect("whole"), key);
    }

    #[test]
    fn packed_values_come_back(
        entries in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), 1u32..500), 1..40),
    ) {
        let mut packer = Packer::with_capacity(0, 0);
        for (payload, records) in &entries {
            packer.push(payload, *records);
        }
        let key = EntryKey {
            last_sequence: 1_000_000,
            format: EntryFormat::Batch,
            packed: true,
            records: entries.iter().map(|(_, records)| u64::from(*records)).sum(),
            first_offset: 0,
            max_timestamp: 0,
        };
        let value = PackedValue::decode(&key, &packer.finish()).expect("whole");
        let found: Vec<_> = value.entries.into_iter().map(|(p, n)| (p.expect("no hole").to_vec(), n)).collect();
        prop_assert_eq!(found, entries);
    }

    #[test]
    fn index_rows_come_back(log in keys(), a: u64, b: u64, c: i64, d: u64, e: u64) {
        let index =
            Index { last_offset: a, last_sequence: b, max_timestamp: c, appended_bytes: d, records: e };
        let mut value = BytesMut::new();
        index.value_into(&mut value);
        prop_assert_eq!(Index::decode(&Index::key(&log, 7, a), &value).expect("whole"), index);
    }

    #[test]
    fn directory_rows_come_back(log in keys(), a: u64, b: u32, c: u64, d: u64, e: u64, f: i64, g: u64) {
        let directory = Directory {
            first_offset: a, segment: b, first_sequence: c, bytes_before: d, records_before: e,
            max_timestamp_before: f, rewritten_bytes: g,
        };
        let key = Directory::key(&log, a);
        prop_assert_eq!(Directory::decode(&key, &directory.value()).expect("whole"), directory);
        prop_assert_eq!(Directory::owner(&key).expect("whole"), Some((log.plain().clone(), true)));
    }

    #[test]
    fn state_and_segment_rows_come_back(log in keys(), removed: bool, a: u64, b: u64, c: u64, d: u64, e: i64, id: u32, live: u32, dead: u64) {
        let state = LogState {
            removed, start_offset: a, end_offset: b, appended_bytes: c, records: d, max_timestamp: e,
            dead_through: dead,
        };
        prop_assert_eq!(LogState::decode(&LogState::key(&log), &state.value()).expect("whole"), state);
        let meta = SegmentMeta {
            id, start_sequence: a, start_time_ms: e, live_logs: live, dead_bytes: dead, adopted_ms: e,
        };
        prop_assert_eq!(SegmentMeta::decode(&SegmentMeta::key(id), &meta.value()).expect("whole"), meta);
    }

    #[test]
    fn noise_is_refused_and_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let noise = Bytes::from(bytes);
        let mut tagged = BytesMut::from(&segment_prefix(7)[..]);
        tagged.extend_from_slice(&[tag::ENTRY]);
        tagged.extend_from_slice(&noise);
        let _ = EntryKey::decode(&tagged, &SEGMENT);
        let _ = EntryKey::decode(&noise, &SEGMENT);
        let _ = position_of(&noise);
        let _ = position_of(&tagged);
        let _ = Index::decode(&noise, &noise);
        let _ = Directory::decode(&noise, &noise);
        let _ = Directory::owner(&noise);
        let _ = SegmentMeta::decode(&noise, &noise);
        let _ = LogState::decode(&noise, &noise);
        let key = EntryKey {
            last_sequence: 9, format: EntryFormat::Raw, packed: true, records: 2, first_offset: 0,
            max_timestamp: 0,
        };
        let _ = PackedValue::decode(&key, &noise);
    }
}
