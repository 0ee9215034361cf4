//! A filter per SST: for each log in it, the lowest and the highest place. It keeps reads at the end of
//! a log off the files of its past, and reads of one log off the files without it.
//!
//! The place of an entry row is its relative sequence, of an index row its offset; directory rows only
//! say that the log is there.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use slatedb::{Filter, FilterBuilder, FilterPolicy, FilterQuery, FilterTarget, RowEntry};

use crate::key::position_of;

/// Bytes of one encoded log: hash, lowest and highest place.
const ITEM_LEN: usize = 24;

/// Makes and reads the filters.
#[derive(Debug)]
pub(crate) struct PositionFilterPolicy;

impl FilterPolicy for PositionFilterPolicy {
    fn name(&self) -> &str {
        "trestle/position/v1"
    }

    fn builder(&self) -> Box<dyn FilterBuilder> {
        Box::new(Builder::default())
    }

    fn decode(&self, data: &[u8]) -> Arc<dyn Filter> {
        let (items, rest) = data.as_chunks::<ITEM_LEN>();
        let word = |item: &[u8; ITEM_LEN], at: usize| {
            u64::from_le_bytes(std::array::from_fn(|i| item[at + i]))
        };
        let spans = items.iter().map(|i| {
            (
                word(i, 0),
                Span {
                    min: word(i, 8),
                    max: word(i, 16),
                },
            )
        });
        // A filter that is not whole prunes nothing.
        Arc::new(PositionFilter {
            whole: rest.is_empty(),
            spans: spans.collect(),
        })
    }

    fn estimate_size(&self, num_keys: usize) -> usize {
        num_keys.min(4096) * ITEM_LEN
    }

    fn supports_range_queries(&self) -> bool {
        true
    }

    fn supports_prefix_queries(&self) -> bool {
        false
    }
}

/// The places of one log in one SST.
#[derive(Clone, Copy, Debug)]
struct Span {
    min: u64,
    max: u64,
}

/// The keys are hashes already.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed")
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[derive(Default)]
struct Builder {
    spans: HashMap<u64, Span, BuildHasherDefault<Unhashed>>,
    /// Rows come sorted: most belong to the same log as the one before.
    last: Option<(Bytes, u64, Span)>,
}

impl Builder {
    fn settle(&mut self) {
        if let Some((_, hash, span)) = self.last.take() {
            let known = self.spans.entry(hash).or_insert(span);
            known.min = known.min.min(span.min);
            known.max = known.max.max(span.max);
        }
    }
}

impl FilterBuilder for Builder {
    fn add_entry(&mut self, entry: &RowEntry) {
        let Some((name, position)) = position_of(&entry.key) else {
            return;
        };
        let (min, max) = (position.unwrap_or(0), position.unwrap_or(u64::MAX));
        match &mut self.last {
            Some((last, _, span)) if *last == name => {
                span.min = span.min.min(min);
                span.max = span.max.max(max);
            }
            _ => {
                self.settle();
                let name = entry.key.slice(..name.len());
                self.last = Some((name.clone(), hash_of(&name), Span { min, max }));
            }
        }
    }

    fn build(&mut self) -> Arc<dyn Filter> {
        self.settle();
        let mut spans: Vec<_> = self.spans.drain().collect();
        spans.sort_unstable_by_key(|(hash, _)| *hash);
        Arc::new(PositionFilter { whole: true, spans })
    }
}

#[derive(Debug)]
struct PositionFilter {
    whole: bool,
    /// Sorted by hash.
    spans: Vec<(u64, Span)>,
}

impl Filter for PositionFilter {
    fn might_match(&self, query: &FilterQuery) -> bool {
        let bounds = match &query.target {
            FilterTarget::Point(key) => (&key[..], &key[..]),
            FilterTarget::Range {
                lower: Bound::Included(lower) | Bound::Excluded(lower),
                upper: Bound::Included(upper) | Bound::Excluded(upper),
            } => (&lower[..], &upper[..]),
            _ => return true,
        };
        let (Some((name, from)), Some((end_name, to))) =
            (position_of(bounds.0), position_of(bounds.1))
        else {
            return true;
        };
        if !self.whole || name != end_name {
            return true;
        }
        let hash = hash_of(name);
        match self.spans.binary_search_by_key(&hash, |(hash, _)| *hash) {
            Ok(at) => {
                let span = self.spans[at].1;
                span.max >= from.unwrap_or(0) && span.min <= to.unwrap_or(u64::MAX)
            }
            Err(_) => false,
        }
    }

    fn encode(&self, writer: &mut dyn BufMut) {
        for (hash, span) in &self.spans {
            writer.put_u64_le(*hash);
            writer.put_u64_le(span.min);
            writer.put_u64_le(span.max);
        }
    }

    fn size(&self) -> usize {
        self.spans.len() * ITEM_LEN
    }

    fn clamp_allocated_size(&self) -> Arc<dyn Filter> {
        Arc::new(Self {
            whole: self.whole,
            spans: self.spans.clone(),
        })
    }
}

/// FNV-1a with the finish of MurmurHash3. Part of the stored format.
fn hash_of(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in name {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;
    use slatedb::ValueDeletable;

    use super::*;
    use crate::EntryFormat;
    use crate::key::{Directory, EntryKey, Index, LogKey, LogState, SegmentMeta};

    const LOGS: [&[u8]; 5] = [b"a", b"a\0", b"ab", b"b", b"\xff"];

    fn log(at: usize) -> LogKey {
        LogKey::new(Bytes::from_static(LOGS[at])).expect("a key")
    }

    fn segment(id: u32) -> SegmentMeta {
        SegmentMeta {
            id,
            start_sequence: 1000,
            start_time_ms: 0,
            live_logs: 0,
            dead_bytes: 0,
            adopted_ms: 0,
        }
    }

    /// What a row or a bound of a range is made of: kind, log, segment, position.
    type Place = (u8, usize, u32, u64);

    fn places() -> impl Strategy<Value = Place> {
        let position = prop_oneof![0u64..20, 0u64..5000, 0u64..(u64::MAX >> 2)];
        (0u8..4, 0..LOGS.len(), 1u32..3, position)
    }

    /// The key of the row there.
    fn row((kind, of, id, position): Place) -> Bytes {
        let (log, segment) = (log(of), segment(id));
        let mut out = BytesMut::new();
        match kind {
            0 => EntryKey {
                last_sequence: segment.start_sequence + position,
                format: EntryFormat::Batch,
                packed: false,
                records: 1,
                first_offset: position / 2,
                max_timestamp: 5,
            }
            .encode_into(&mut out, &log, &segment),
            1 => Index::key_into(&mut out, &log, id, position),
            2 => return Directory::key(&log, position),
            _ => return LogState::key(&log),
        }
        out.freeze()
    }

    /// A range of rows of one kind, as readers ask for it.
    fn range((kind, of, id, from): Place, to: Option<u64>) -> (Bytes, Bytes) {
        let (log, segment) = (log(of), segment(id));
        let end = to.unwrap_or(u64::MAX);
        match kind {
            0 => {
                let at = |position| {
                    let sequence = segment.start_sequence + position;
                    EntryKey::lower_bound(&log, &segment, sequence)
                };
                let end = to.map_or_else(|| EntryKey::end(&log, &segment), at);
                (at(from), end)
            }
            1 => (Index::key(&log, id, from), Index::key(&log, id, end)),
            _ => (
                Directory::key(&log, from),
                to.map_or_else(|| Directory::scan_end(&log), |to| Directory::key(&log, to)),
            ),
        }
    }

    proptest! {
        #[test]
        fn no_row_is_ever_filtered_out(
            rows in proptest::collection::vec(places(), 1..40),
            ranges in proptest::collection::vec((places(), proptest::option::of(0u64..5000)), 1..20),
        ) {
            let mut rows: Vec<Bytes> = rows.into_iter().map(row).collect();
            rows.sort();
            let mut builder = PositionFilterPolicy.builder();
            for key in &rows {
                builder.add_entry(&RowEntry {
                    key: key.clone(),
                    value: ValueDeletable::Value(Bytes::new()),
                    seq: 1,
                    create_ts: None,
                    expire_ts: None,
                });
            }
            let built = builder.build();
            let mut encoded = Vec::new();
            built.encode(&mut encoded);
            let decoded = PositionFilterPolicy.decode(&encoded);
            let matches = |target: FilterTarget| {
                let query = FilterQuery { target, context: None };
                let found = built.might_match(&query);
                assert_eq!(found, decoded.might_match(&query));
                found
            };
            for key in &rows {
                prop_assert!(matches(FilterTarget::Point(key.clone())));
            }
            for (place, to) in ranges {
                let (lower, upper) = range(place, to);
                let holds = rows.iter().any(|key| *key >= lower && *key < upper);
                let found = matches(FilterTarget::Range {
                    lower: Bound::Included(lower.clone()),
                    upper: Bound::Excluded(upper.clone()),
                });
                prop_assert!(found || !holds, "{lower:?}..{upper:?}");
            }
        }
    }

    #[test]
    fn what_lies_elsewhere_is_filtered_out() {
        let mut builder = PositionFilterPolicy.builder();
        for position in [10, 20] {
            builder.add_entry(&RowEntry {
                key: row((0, 0, 1, position)),
                value: ValueDeletable::Value(Bytes::new()),
                seq: 1,
                create_ts: None,
                expire_ts: None,
            });
        }
        let filter = builder.build();
        let matches = |place: Place, to| {
            let (lower, upper) = range(place, to);
            filter.might_match(&FilterQuery {
                target: FilterTarget::Range {
                    lower: Bound::Included(lower),
                    upper: Bound::Excluded(upper),
                },
                context: None,
            })
        };
        assert!(matches((0, 0, 1, 15), None));
        assert!(!matches((0, 0, 1, 21), None), "behind its end");
        assert!(!matches((0, 0, 1, 0), Some(9)), "before its start");
        assert!(!matches((0, 3, 1, 15), None), "another log");
        assert!(!matches((0, 0, 2, 15), None), "another segment");
    }
}
