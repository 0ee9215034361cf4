//! Offsets by timestamp: the store says where a search starts, the batches decide.

use std::ops::ControlFlow;

use trestle_storage::{Error, ErrorKind, Result};

use super::batch::{self, Header};
use super::leader::{Partition, from_offset};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// A record's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

impl Partition {
    /// The first record in offset order, at or after the log start, whose timestamp is at or above
    /// `timestamp`. Timestamps need not rise with offsets.
    pub async fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
        decompressed_max_bytes: usize,
    ) -> Result<Option<TimedOffset>> {
        let Some(from) = self.log().search_from(timestamp).await? else {
            return Ok(None);
        };
        self.search(
            from,
            |header| header.max_timestamp >= timestamp,
            timestamp,
            decompressed_max_bytes,
        )
        .await
    }

    /// The first record that has the greatest timestamp of all (KIP-734).
    pub async fn offset_of_max_timestamp(
        &self,
        decompressed_max_bytes: usize,
    ) -> Result<Option<TimedOffset>> {
        let highest = self.log().bounds().max_timestamp;
        if let Some(found) = self
            .offset_for_timestamp(highest, decompressed_max_bytes)
            .await?
        {
            return Ok(Some(found));
        }
        // The record with that timestamp was deleted: look at what is left.
        let mut next = self.log().bounds().start_offset;
        let mut highest = None;
        loop {
            let entries = self.scan(next).await?;
            let Some(last) = entries.last() else { break };
            next = last.first_offset + u64::from(last.count);
            let headers = entries
                .iter()
                .filter_map(|entry| Header::parse(&entry.payload))
                .filter(|header| !header.is_control());
            highest = highest.max(headers.map(|header| header.max_timestamp).max());
        }
        match highest {
            Some(highest) => {
                self.offset_for_timestamp(highest, decompressed_max_bytes)
                    .await
            }
            None => Ok(None),
        }
    }

    /// Looks into the batches from `from` on that `might_hold` one, for a record at or above
    /// `timestamp`.
    async fn search(
        &self,
        from: u64,
        might_hold: impl Fn(&Header) -> bool,
        timestamp: Timestamp,
        decompressed_max_bytes: usize,
    ) -> Result<Option<TimedOffset>> {
        let log_start = self.offsets().log_start;
        let mut next = from.max(from_offset(log_start));
        loop {
            let entries = self.scan(next).await?;
            let Some(last) = entries.last() else {
                return Ok(None);
            };
            next = last.first_offset + u64::from(last.count);
            for entry in &entries {
                let Some(header) = Header::parse(&entry.payload) else {
                    continue;
                };
                if header.is_control() || !might_hold(&header) {
                    continue;
                }
                let mut found = None;
                batch::records(&entry.payload, decompressed_max_bytes, |record| {
                    let offset = header.base_offset + i64::from(record.offset_delta);
                    if record.timestamp < timestamp || offset < log_start {
                        return ControlFlow::Continue(());
                    }
                    found = Some(TimedOffset {
                        offset,
                        timestamp: record.timestamp,
                        leader_epoch: header.leader_epoch,
                    });
                    ControlFlow::Break(())
                })
                .map_err(|error| {
                    let what = format!("the batch at offset {}", header.base_offset);
                    Error::new(ErrorKind::Corrupt, what).with_source(error)
                })?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
    }
}
