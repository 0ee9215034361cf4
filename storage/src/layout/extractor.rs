//! The part of a key by which SlateDB routes it to a segment.

use slatedb::{PrefixExtractor, PrefixTarget};

use crate::key::SEGMENT_PREFIX_LEN;

/// Routes by the first six bytes of a key, under OpenData Log's name for that.
#[derive(Debug)]
pub(crate) struct SegmentExtractor;

impl PrefixExtractor for SegmentExtractor {
    fn name(&self) -> &str {
        "opendata-log/v1"
    }

    fn prefix_len(&self, target: &PrefixTarget) -> Option<usize> {
        let (PrefixTarget::Point(bytes) | PrefixTarget::Prefix(bytes)) = target;
        (bytes.len() >= SEGMENT_PREFIX_LEN).then_some(SEGMENT_PREFIX_LEN)
    }
}
