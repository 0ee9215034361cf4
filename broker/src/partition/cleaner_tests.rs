//! Tests of what compaction makes of batches.

use bytes::Bytes;

use super::*;
use crate::partition::batch::{DELETE_HORIZON_BIT, HEADER_BYTES};
use crate::partition::compression::{self, Codec};

const NOW: Timestamp = 10_000;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint(out, -1),
    }
}

/// Key, value, and how far its timestamp lies behind 1000.
type Record<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, i64);

#[derive(Clone, Copy)]
struct Build {
    base_offset: Offset,
    attributes: i16,
    producer: (i64, i16, i32),
}

fn at(base_offset: Offset) -> Build {
    Build {
        base_offset,
        attributes: 0,
        producer: (-1, -1, -1),
    }
}

impl Build {
    fn flags(self, attributes: i16) -> Self {
        Self { attributes, ..self }
    }

    fn by(self, id: i64, sequence: i32) -> Self {
        Self {
            producer: (id, 0, sequence),
            ..self
        }
    }

    fn records(self, records: &[Record<'_>]) -> Bytes {
        let mut plain = Vec::new();
        for (index, (key, value, delta)) in records.iter().enumerate() {
            let mut record = vec![0];
            varint(&mut record, *delta);
            varint(&mut record, index as i64);
            field(&mut record, *key);
            field(&mut record, *value);
            varint(&mut record, 1);
            field(&mut record, Some(b"header"));
            field(&mut record, None);
            varint(&mut plain, record.len() as i64);
            plain.extend(record);
        }
        let codec = Codec::from_attributes(self.attributes).unwrap();
        let packed = compression::encode(codec, &plain).unwrap();
        let mut out = Vec::new();
        out.extend_from_slice(&self.base_offset.to_be_bytes());
        out.extend_from_slice(&((HEADER_BYTES - 12 + packed.len()) as i32).to_be_bytes());
        out.extend_from_slice(&3i32.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&0u32.to_be_bytes());
        out.extend_from_slice(&self.attributes.to_be_bytes());
        out.extend_from_slice(&(records.len() as i32 - 1).to_be_bytes());
        let highest = records.iter().map(|record| record.2).max().unwrap_or(0);
        out.extend_from_slice(&1_000i64.to_be_bytes());
        out.extend_from_slice(&(1_000 + highest).to_be_bytes());
        out.extend_from_slice(&self.producer.0.to_be_bytes());
        out.extend_from_slice(&self.producer.1.to_be_bytes());
        out.extend_from_slice(&self.producer.2.to_be_bytes());
        out.extend_from_slice(&(records.len() as i32).to_be_bytes());
        out.extend(packed);
        let crc = crc32c::crc32c(&out[21..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out.into()
    }

    fn keys(self, keys: &[&str]) -> Bytes {
        let records: Vec<Record<'_>> = keys
            .iter()
            .zip(0..)
            .map(|(key, at)| (Some(key.as_bytes()), Some(&b"v"[..]), at))
            .collect();
        self.records(&records)
    }

    fn marker(self, commits: bool) -> Bytes {
        let key = [0, 0, 0, u8::from(commits)];
        let build = Self {
            attributes: self.attributes | TRANSACTIONAL | CONTROL,
            ..self
        };
        build.records(&[(Some(&key), Some(&[0; 6]), 0)])
    }
}

fn header(batch: &[u8]) -> Header {
    Header::parse(batch).unwrap()
}

/// The plan of a pass over all of `log`.
fn plan(log: &[Bytes]) -> Plan {
    let end = header(log.last().unwrap()).next_offset();
    let mut plan = Plan {
        keys: KeyMap::new(1 << 20, 1),
        end,
        now: NOW,
        delete_retention_ms: 500,
        markers: Markers::default(),
        last_batches: HashMap::new(),
        log_end: end + 1,
        max_bytes: 1 << 20,
    };
    for batch in log {
        plan.markers.see(batch, &header(batch)).unwrap();
    }
    for batch in log {
        assert!(plan.note(batch, &header(batch)).unwrap());
    }
    plan
}

/// Offsets, keys and timestamps of a batch, which is checked to be whole.
fn content(batch: &[u8]) -> Vec<(Offset, String, Timestamp)> {
    let header = header(batch);
    assert_eq!(header.size_bytes, batch.len());
    assert_eq!(header.crc, crc32c::crc32c(&batch[21..]));
    let unpacked = rebuild::unpack(batch, &header, 1 << 20).unwrap();
    let mut times = Vec::new();
    crate::partition::batch::records(batch, 1 << 20, |record| {
        times.push(record.timestamp);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let spans = rebuild::spans(&unpacked, &header).unwrap();
    let keys = spans.iter().map(|span| {
        let key = String::from_utf8_lossy(span.key(&unpacked).unwrap_or_default());
        (
            header.base_offset + i64::from(span.offset_delta),
            key.into(),
        )
    });
    keys.zip(times)
        .map(|((at, key), time)| (at, key, time))
        .collect()
}

fn replaced(cleaned: Cleaned) -> Bytes {
    match cleaned {
        Cleaned::Replace(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_record_of_each_key_is_kept_in_every_codec() {
    for codec in 0..5 {
        let log = [
            at(0).flags(codec).by(7, 0).keys(&["a", "b", "c"]),
            at(3).flags(codec).keys(&["a", "a"]),
            at(5).flags(codec).keys(&["d"]),
        ];
        let plan = plan(&log);
        let first = replaced(plan.clean(&log[0]).unwrap());
        assert_eq!(
            content(&first),
            [(1, "b".into(), 1_001), (2, "c".into(), 1_002)]
        );
        let (before, after) = (header(&log[0]), header(&first));
        assert_eq!(after.record_count, 2);
        let kept = |h: Header| {
            let producer = (h.producer_id, h.producer_epoch, h.base_sequence);
            (
                h.base_offset,
                h.last_offset_delta,
                h.leader_epoch,
                h.attributes,
                producer,
            )
        };
        assert_eq!(kept(before), kept(after));
        let second = replaced(plan.clean(&log[1]).unwrap());
        assert_eq!(content(&second), [(4, "a".into(), 1_001)]);
        assert_eq!(plan.clean(&log[2]).unwrap(), Cleaned::Keep);
        // What was cleaned stays as it is.
        assert_eq!(plan.clean(&first).unwrap(), Cleaned::Keep);
    }
}

#[test]
fn a_batch_of_which_nothing_is_left_goes_unless_a_producer_needs_it() {
    let log = [
        at(0).by(7, 0).keys(&["a"]),
        at(1).by(8, 4).keys(&["a", "a"]),
        at(3).keys(&["a"]),
    ];
    let mut plan = plan(&log);
    assert_eq!(plan.clean(&log[0]).unwrap(), Cleaned::Drop);
    plan.last_batches.insert(8, 1);
    let emptied = replaced(plan.clean(&log[1]).unwrap());
    assert_eq!(emptied.len(), HEADER_BYTES);
    let after = header(&emptied);
    assert_eq!(
        (after.base_offset, after.next_offset(), after.record_count),
        (1, 3, 0)
    );
    assert_eq!((after.base_sequence, after.last_sequence()), (4, 5));
    assert!(content(&emptied).is_empty());
    assert_eq!(plan.clean(&emptied).unwrap(), Cleaned::Keep);
    plan.last_batches.clear();
    assert_eq!(plan.clean(&emptied).unwrap(), Cleaned::Drop);
    // The one that ends the log says where it ends.
    plan.log_end = 1;
    assert!(matches!(plan.clean(&log[0]).unwrap(), Cleaned::Replace(_)));
}

#[test]
fn a_tombstone_stays_its_time() {
    let log = [
        at(0).keys(&["a"]),
        at(1).records(&[(Some(b"a"), None, 7), (Some(b"b"), Some(b"v"), 3)]),
        at(3).keys(&["c"]),
    ];
    let mut plan = plan(&log);
    assert_eq!(plan.clean(&log[0]).unwrap(), Cleaned::Drop);
    let timed = replaced(plan.clean(&log[1]).unwrap());
    let after = header(&timed);
    assert_eq!(after.delete_horizon(), Some(NOW + 500));
    assert_ne!(after.attributes & DELETE_HORIZON_BIT, 0);
    assert_eq!(after.max_timestamp, 1_007);
    assert_eq!(
        content(&timed),
        [(1, "a".into(), 1_007), (2, "b".into(), 1_003)]
    );
    assert_eq!(plan.clean(&timed).unwrap(), Cleaned::Keep);
    plan.now = NOW + 499;
    assert_eq!(plan.clean(&timed).unwrap(), Cleaned::Keep);
    plan.now = NOW + 500;
    let without = replaced(plan.clean(&timed).unwrap());
    assert_eq!(content(&without), [(2, "b".into(), 1_003)]);
}

#[test]
fn records_without_a_key_go() {
    let log = [at(0).records(&[(None, Some(b"v"), 0), (Some(b"k"), Some(b"v"), 1)])];
    let left = replaced(plan(&log).clean(&log[0]).unwrap());
    assert_eq!(content(&left), [(1, "k".into(), 1_001)]);
}

#[test]
fn aborted_records_go_and_hide_nothing_and_markers_follow_in_time() {
    let log = [
        at(0).keys(&["a"]),
        at(1).flags(TRANSACTIONAL).by(5, 0).keys(&["a"]),
        at(2).by(5, 0).marker(false),
        at(3).flags(TRANSACTIONAL).by(5, 1).keys(&["b"]),
        at(4).by(5, 0).marker(true),
        at(5).keys(&["c"]),
    ];
    let mut first = plan(&log);
    assert_eq!(
        first.clean(&log[0]).unwrap(),
        Cleaned::Keep,
        "the other was aborted"
    );
    assert_eq!(first.clean(&log[1]).unwrap(), Cleaned::Drop);
    assert_eq!(
        first.clean(&log[2]).unwrap(),
        Cleaned::Keep,
        "its records were there"
    );
    assert_eq!(first.clean(&log[3]).unwrap(), Cleaned::Keep, "committed");
    assert_eq!(first.clean(&log[4]).unwrap(), Cleaned::Keep);
    first.last_batches.insert(5, 1);
    let emptied = replaced(first.clean(&log[1]).unwrap());
    assert!(content(&emptied).is_empty());

    // In the next pass the aborted records are gone, and the time of the marker begins.
    let left = [
        log[0].clone(),
        log[2].clone(),
        log[3].clone(),
        log[4].clone(),
        log[5].clone(),
    ];
    let mut second = plan(&left);
    let timed = replaced(second.clean(&log[2]).unwrap());
    assert_eq!(header(&timed).delete_horizon(), Some(NOW + 500));
    assert_eq!(rebuild::marker_aborts(&timed).unwrap(), Some(true));
    assert_eq!(second.clean(&timed).unwrap(), Cleaned::Keep);
    second.now = NOW + 500;
    assert_eq!(second.clean(&timed).unwrap(), Cleaned::Drop);
    assert_eq!(second.clean(&log[4]).unwrap(), Cleaned::Keep);
}

#[test]
fn a_pass_ends_where_its_keys_no_longer_fit_and_touches_nothing_beyond() {
    let log = [
        at(0).keys(&["a", "b"]),
        at(2).keys(&["c", "a"]),
        at(4).keys(&["a"]),
    ];
    let mut pass = plan(&log);
    pass.keys = KeyMap::new(3 * 64, 1);
    assert!(pass.note(&log[0], &header(&log[0])).unwrap());
    assert!(
        !pass.note(&log[1], &header(&log[1])).unwrap(),
        "no room for two more"
    );
    pass.end = 2;
    assert_eq!(pass.clean(&log[0]).unwrap(), Cleaned::Keep);
    assert_eq!(pass.clean(&log[1]).unwrap(), Cleaned::Keep, "beyond");
    // A batch with more keys than there is room is taken all the same.
    pass.keys = KeyMap::new(1, 1);
    assert!(pass.note(&log[1], &header(&log[1])).unwrap());
}

#[test]
fn noise_is_an_error_and_does_no_harm() {
    let whole = at(0).flags(1).keys(&["a", "b"]);
    let pass = plan(std::slice::from_ref(&whole));
    for cut in 0..whole.len() {
        let _ = pass.clean(&whole.slice(..cut));
    }
    for at in HEADER_BYTES..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0x55;
        let _ = pass.clean(&damaged.into());
    }
}
