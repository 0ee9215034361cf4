//! The rows of entries that change their segment, and the end of segments that they left empty.

use bytes::Bytes;

use super::BatchBuilder;
use crate::Log;
use crate::key::{Directory, Listing, SegmentMeta};
use crate::write_set::Moved;

impl BatchBuilder<'_> {
    /// Entries of `log` come to lie in another segment. Those in the segment that they leave are dead
    /// from now on, but stay until it goes.
    pub(super) fn moved(&mut self, log: &Log, moved: Moved) {
        let (key, joins) = (&log.inner().key, moved.joins());
        let Moved {
            from,
            to,
            rest,
            rows,
            payload_bytes,
        } = moved;
        for (key, value) in rows {
            self.batch.put_bytes(key, value);
        }
        if joins {
            self.batch.delete(Directory::key(key, from.first_offset));
        } else {
            self.batch
                .put_bytes(Listing::key(key, to.segment), Bytes::new());
            self.change_sealed(to.segment, |segment| segment.live_logs += 1);
        }
        self.batch
            .put_bytes(Directory::key(key, to.first_offset), to.value());
        self.change_sealed(from.segment, |segment| {
            segment.dead_bytes = segment.dead_bytes.saturating_add(payload_bytes);
        });
        match rest {
            Some(rest) => self
                .batch
                .put_bytes(Directory::key(key, rest.first_offset), rest.value()),
            None => {
                self.change_sealed(from.segment, |segment| {
                    segment.live_logs = segment.live_logs.saturating_sub(1);
                });
                let mut writer = log.inner().writer();
                if writer.directory == Some(from.segment) {
                    writer.directory = Some(to.segment);
                }
            }
        }
    }

    /// These hold nothing any more.
    pub(super) fn drop_emptied(&mut self, segments: &[u32]) {
        for &segment in segments {
            self.batch.delete(SegmentMeta::key(segment));
            self.dropped.push(segment);
        }
    }

    fn change_sealed(&mut self, segment: u32, change: impl FnOnce(&mut SegmentMeta)) {
        if let Some(mut meta) = self.core.segments.get(segment) {
            change(&mut meta);
            self.batch
                .put_bytes(SegmentMeta::key(segment), meta.value());
            self.core.segments.put(meta);
        }
    }
}
