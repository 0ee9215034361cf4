//! How rows lie in SlateDB: which segment a key belongs to, what a reader can skip, what is compacted,
//! and the settings of the engine.

mod extractor;
mod filter;
mod rewrite;
mod schedule;
mod settings;

pub(crate) use extractor::SegmentExtractor;
pub(crate) use filter::PositionFilterPolicy;
pub(crate) use rewrite::{Outcome, Rewriters, Rewrites};
pub(crate) use schedule::{LiveSegments, Schedule, all_sources};
pub(crate) use settings::{
    block_cache, compactor_options, gc_options, manifest_interval, restless, settings,
    upkeep_interval,
};
