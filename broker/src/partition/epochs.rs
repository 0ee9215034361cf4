//! Leader epoch -> first offset written in it (KIP-101), as Kafka's `LeaderEpochFileCache`.

use bytes::{Buf, BufMut};

use crate::types::{LeaderEpoch, Offset};

/// The epochs of one partition, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    starts: Vec<(LeaderEpoch, Offset)>,
}

impl Epochs {
    /// From `start_offset` on, records are of `epoch`. An epoch that is not higher than the latest
    /// changes nothing.
    pub(super) fn begin(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        if self.starts.last().is_none_or(|(latest, _)| epoch > *latest) {
            // An epoch in which nothing was written leaves no trace.
            while self
                .starts
                .last()
                .is_some_and(|(_, start)| *start >= start_offset)
            {
                self.starts.pop();
            }
            self.starts.push((epoch, start_offset));
        }
    }

    /// The latest.
    pub(super) fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// Forgets what lies before `log_start`, but keeps the epoch that holds it.
    pub(super) fn trim(&mut self, log_start: Offset) {
        let holding = self
            .starts
            .partition_point(|(_, start)| *start <= log_start);
        if holding > 1 {
            self.starts.drain(..holding - 1);
        }
        if let Some((_, start)) = self.starts.first_mut() {
            *start = (*start).max(log_start);
        }
    }

    /// The answer to OffsetForLeaderEpoch: the highest epoch at or below `asked`, and where it ends;
    /// `None` if `asked` is above the latest.
    pub(super) fn end_offset(
        &self,
        asked: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let (latest, _) = self.starts.last()?;
        if asked > *latest {
            return None;
        }
        let above = self.starts.partition_point(|(epoch, _)| *epoch <= asked);
        let end = self.starts.get(above).map_or(log_end, |(_, start)| *start);
        match above.checked_sub(1) {
            Some(found) => Some((self.starts[found].0, end)),
            None => Some((asked, end)),
        }
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        out.put_u32(self.starts.len() as u32);
        for (epoch, start) in &self.starts {
            out.put_i32(epoch.0);
            out.put_i64(*start);
        }
    }

    pub(super) fn decode(input: &mut &[u8]) -> Option<Self> {
        let count = input.try_get_u32().ok()?;
        let mut starts = Vec::new();
        for _ in 0..count {
            starts.push((
                LeaderEpoch(input.try_get_i32().ok()?),
                input.try_get_i64().ok()?,
            ));
        }
        Some(Self { starts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(starts: &[(i32, Offset)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, start) in starts {
            epochs.begin(LeaderEpoch(*epoch), *start);
        }
        epochs
    }

    fn end(epochs: &Epochs, asked: i32) -> Option<(i32, Offset)> {
        epochs
            .end_offset(LeaderEpoch(asked), 30)
            .map(|(epoch, end)| (epoch.0, end))
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = epochs(&[(2, 0), (4, 10), (5, 20)]);
        assert_eq!(end(&epochs, 5), Some((5, 30)));
        assert_eq!(end(&epochs, 4), Some((4, 20)));
        assert_eq!(end(&epochs, 3), Some((2, 10)));
        assert_eq!(end(&epochs, 1), Some((1, 0)));
        assert_eq!(end(&epochs, 6), None);
    }

    #[test]
    fn an_epoch_without_records_is_replaced() {
        assert_eq!(epochs(&[(1, 0), (2, 7), (3, 7)]), epochs(&[(1, 0), (3, 7)]));
    }

    #[test]
    fn trimming_keeps_the_epoch_that_holds_the_log_start() {
        let mut trimmed = epochs(&[(1, 0), (2, 10), (3, 20)]);
        trimmed.trim(15);
        assert_eq!(trimmed, epochs(&[(2, 15), (3, 20)]));
    }

    #[test]
    fn encoding_gives_the_same_back() {
        let epochs = epochs(&[(1, 0), (2, 10)]);
        let mut bytes = Vec::new();
        epochs.encode(&mut bytes);
        assert_eq!(Epochs::decode(&mut &bytes[..]), Some(epochs));
    }
}
