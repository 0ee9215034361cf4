//! Which sealed segments are merged: runs of neighbours that are small together.
//!
//! The survivors of a run move into its first segment, which is not read or written for that. So a
//! segment that is filled up in this way takes in every small one after it at the cost of that one, and
//! an entry moves about once, however many segments there are.
//!
//! Nothing here reads or writes a store.

use std::ops::Range;

/// Segments that have to be small together to be merged while there are not too many.
const LEAST_RUN: usize = 8;

/// A sealed segment, as far as merging goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) id: u32,
    /// Bytes in it that live.
    pub(crate) live_bytes: u64,
}

/// What segments may come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunLimits {
    /// The size at which a segment is closed.
    pub(crate) segment_bytes: u64,
    /// Past this many, the open one among them, they are merged whatever their size.
    pub(crate) max_segments: usize,
}

impl RunLimits {
    /// Whether there are too many with these and the open one.
    pub(crate) fn exceeded(&self, sealed: usize) -> bool {
        sealed + 1 > self.max_segments.max(2)
    }
}

/// The run of neighbours in `sealed`, which are in order, that is merged next, if any: the one in which
/// the fewest bytes move for each segment that goes.
pub(crate) fn next_run(sealed: &[Sealed], limits: &RunLimits) -> Option<Range<usize>> {
    let exceeded = limits.exceeded(sealed.len());
    let (least, room) = match exceeded {
        // Two neighbours of average size fit, so there is always a run.
        true => {
            let total: u64 = sealed.iter().map(|segment| segment.live_bytes).sum();
            let share = total.saturating_mul(2) / sealed.len() as u64 + 1;
            (2, limits.segment_bytes.max(share))
        }
        false => (LEAST_RUN, limits.segment_bytes),
    };
    let mut best: Option<(u64, Range<usize>)> = None;
    let (mut end, mut bytes) = (0, 0u64);
    for start in 0..sealed.len() {
        if end <= start {
            (end, bytes) = (start + 1, sealed[start].live_bytes);
        }
        while end < sealed.len() && bytes.saturating_add(sealed[end].live_bytes) <= room {
            bytes = bytes.saturating_add(sealed[end].live_bytes);
            end += 1;
        }
        let len = end - start;
        let first = sealed[start].live_bytes;
        bytes = bytes.saturating_sub(first);
        if len >= least {
            let cost = bytes / (len as u64 - 1);
            if best.as_ref().is_none_or(|(known, _)| cost < *known) {
                best = Some((cost, start..end));
            }
        }
    }
    best.map(|(_, run)| run)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RunLimits = RunLimits {
        segment_bytes: 100,
        max_segments: 40,
    };

    fn run(sizes: &[u64]) -> Option<Range<usize>> {
        let sealed: Vec<_> = (1..)
            .zip(sizes)
            .map(|(id, &live_bytes)| Sealed { id, live_bytes })
            .collect();
        next_run(&sealed, &LIMITS)
    }

    #[test]
    fn small_neighbours_are_merged_once_they_are_many() {
        assert_eq!(run(&[]), None);
        assert_eq!(run(&[1; 7]), None);
        assert_eq!(run(&[1; 8]), Some(0..8));
        assert_eq!(
            run(&[1, 1, 1, 1, 100, 1, 1, 1, 1]),
            None,
            "not over a full one"
        );
        assert_eq!(run(&[100, 1, 1, 1, 1, 1, 1, 1, 1]), Some(1..9));
    }

    #[test]
    fn a_segment_is_filled_up_at_the_cost_of_those_after_it() {
        assert_eq!(run(&[90, 1, 1, 1, 1, 1, 1, 1]), Some(0..8));
        assert_eq!(run(&[90, 2, 2, 2, 2, 2, 2, 2]), None, "beyond its size");
        // Seven move in the one case, eighty in the other.
        let sizes = [80, 10, 1, 1, 1, 1, 1, 1, 1, 1, 80, 1, 1, 1, 1, 1, 1, 1];
        assert_eq!(run(&sizes), Some(10..18));
    }

    #[test]
    fn full_ones_are_merged_when_there_are_too_many() {
        assert_eq!(run(&[100; 39]), None, "with the open one as many as may be");
        assert_eq!(run(&[100; 40]), Some(0..2));
        let mut sizes = [100; 60];
        (sizes[30], sizes[31], sizes[32]) = (10, 20, 30);
        // What lies in the first stays there: 60 bytes move for three segments, without it 50 for two.
        assert_eq!(run(&sizes), Some(29..33), "the cheapest run");
        assert_eq!(run(&[0; 41]), Some(0..41));
    }

    #[test]
    fn there_are_never_too_many_for_long() {
        let mut sizes: Vec<u64> = (0..500).map(|at| at * 7919 % 300).collect();
        let mut moved = 0;
        let total: u64 = sizes.iter().sum();
        while let Some(run) = run(&sizes) {
            moved += sizes[run.start + 1..run.end].iter().sum::<u64>();
            let merged = sizes[run.clone()].iter().sum();
            sizes.splice(run, [merged]);
        }
        assert!(sizes.len() < 40, "{}", sizes.len());
        assert!(moved < total * 5, "{moved} of {total} moved");
    }
}
