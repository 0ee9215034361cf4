//! What a log and a store consist of, in numbers.

use slatedb::PrefixExtractor;

use crate::Store;
use crate::key::{SYSTEM_SEGMENT, segment_prefix};
use crate::layout::SegmentExtractor;

use super::record::{SegmentId, Sequence};

/// How many records a log has, by segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// In all.
    pub total: u64,
    /// Segments that hold any, oldest first.
    pub segments: Vec<SegmentInspection>,
}

/// What one segment holds of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInspection {
    /// Which.
    pub segment_id: SegmentId,
    /// Sequence of the log's first record there.
    pub first_sequence: Sequence,
    /// Its offset.
    pub first_offset: u64,
    /// Records in the range that was asked for.
    pub count: u64,
    /// Bytes that the log has in the segment, whatever the range.
    pub bytes: u64,
}

/// The files that a store consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeSummary {
    /// Version of the list of files.
    pub manifest_id: u64,
    /// How often the store was opened for writing.
    pub writer_epoch: u64,
    /// How often its compactor was.
    pub compactor_epoch: u64,
    /// By what the engine tells segments apart.
    pub extractor: String,
    /// The engine's number of the last row that is in a file.
    pub last_l0_seq: u64,
    /// Its segments, with segment 0, which holds what belongs to the store.
    pub segments: Vec<SegmentTree>,
}

/// The files of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentTree {
    /// Which.
    pub segment_id: SegmentId,
    /// Files as they were written.
    pub l0_files: usize,
    /// Their bytes.
    pub l0_bytes: u64,
    /// Runs of files that were merged.
    pub runs: usize,
    /// Their bytes.
    pub run_bytes: u64,
}

impl TreeSummary {
    pub(super) fn of(store: &Store) -> Self {
        let core = store.core();
        let manifest = core.db.manifest();
        let ids = core.segments.all();
        let ids = [SYSTEM_SEGMENT]
            .into_iter()
            .chain(ids.iter().map(|segment| segment.id));
        let segments = ids.filter_map(|id| {
            let files = manifest.segment(&segment_prefix(id))?;
            Some(SegmentTree {
                segment_id: id,
                l0_files: files.l0().len(),
                l0_bytes: files.l0().iter().map(|file| file.estimate_size()).sum(),
                runs: files.compacted().len(),
                run_bytes: files
                    .compacted()
                    .iter()
                    .map(|run| run.estimate_size())
                    .sum(),
            })
        });
        Self {
            manifest_id: manifest.id(),
            writer_epoch: manifest.writer_epoch(),
            compactor_epoch: manifest.compactor_epoch(),
            extractor: SegmentExtractor.name().to_owned(),
            last_l0_seq: manifest.last_l0_seq(),
            segments: segments.collect(),
        }
    }
}
