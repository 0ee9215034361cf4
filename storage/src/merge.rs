//! Merging segments of which little is left, or that are too many: what lives in a run of neighbours
//! moves into the first of them, and the others are dropped.
//!
//! Entries keep their log, offsets and sequences, so they can only move to the segment that comes before
//! their own. They move log by log and piece by piece, each piece in one commit with the directory rows
//! that lead to it: after every commit the store is whole, whatever happens then. A segment that is
//! empty goes once what was moved is in files, so that whoever does not see the segment any more, a
//! reader in another process or a checkpoint, sees what was in it where it is now.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use slatedb::IterationOrder;
use slatedb::config::{FlushOptions, FlushType, ScanOptions};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::key::{Directory, EntryKey, Index, Listing, LogKey, PackedValue, SegmentMeta};
use crate::lookup::{self, Scan};
use crate::runs::{self, RunLimits, Sealed};
use crate::store::Core;
use crate::write_set::{Change, Moved};
use crate::{Error, ErrorKind, Log, Result, Store, clear};

/// About how much moves in one commit.
const PIECE_BYTES: u64 = 1 << 20;
/// Most logs of which something moves in one commit.
const PIECE_LOGS: usize = 512;

/// What the merging of segments needs in a store.
#[derive(Debug, Default)]
pub(crate) struct Merging {
    /// Held for writing while segments are merged, for reading by those who want them to stay.
    windows: Arc<RwLock<()>>,
    /// Entries were moved between these and may not be in files where they are now.
    kept: parking_lot::Mutex<BTreeSet<u32>>,
    /// What was last judged: the version of the files, and how much in them was dead.
    judged: parking_lot::Mutex<(u64, u64)>,
}

impl Merging {
    /// Whether a segment may not go yet though nothing is in it.
    pub(crate) fn keeps(&self, segment: u32) -> bool {
        self.kept.lock().contains(&segment)
    }
}

/// While this is held, what a log has in a segment stays in that segment.
#[derive(Debug)]
pub struct HeldWindows {
    _held: OwnedRwLockReadGuard<()>,
}

impl Store {
    /// Keeps the windows of all logs as they are, but for those that are trimmed away: no segments
    /// are merged while the answer lives.
    pub async fn hold_windows(&self) -> HeldWindows {
        let windows = Arc::clone(&self.core().merging.windows);
        HeldWindows {
            _held: windows.read_owned().await,
        }
    }
}

impl Core {
    /// Merges a run of segments, or clears up after an earlier merging; false if there is nothing to do.
    pub(crate) async fn merge_one(self: &Arc<Self>) -> Result<bool> {
        let segments = self.segments.all();
        let Some((_, sealed)) = segments.split_last() else {
            return Ok(false);
        };
        let emptied = sealed.iter().filter(|segment| segment.live_logs == 0);
        let emptied: Vec<_> = emptied.map(|segment| segment.id).collect();
        if !emptied.is_empty() {
            let _alone = self.reclaiming.rewriting.lock().await;
            return self.drop_emptied(emptied).await;
        }
        if self.options.max_segments == 0 {
            return Ok(false);
        }
        let dead_bytes = sealed.iter().map(|segment| segment.dead_bytes).sum();
        let judged = (self.db.version(), dead_bytes);
        if *self.merging.judged.lock() == judged {
            return Ok(false);
        }
        let limits = RunLimits {
            segment_bytes: self.options.segment_bytes,
            max_segments: self.options.max_segments,
        };
        let Some(run) = self.run_to_merge(sealed, &limits) else {
            *self.merging.judged.lock() = judged;
            return Ok(false);
        };
        let windows = match limits.exceeded(sealed.len()) {
            true => self.merging.windows.write().await,
            false => match self.merging.windows.try_write() {
                Ok(windows) => windows,
                Err(_) => return Ok(false),
            },
        };
        let _alone = self.reclaiming.rewriting.lock().await;
        if !self.reclaiming.rewrites.at_rest(&run) {
            return Ok(false);
        }
        let merged = self.merge(&run).await;
        drop(windows);
        if merged.is_err() {
            // Nothing goes now, but what was left dead where it lay may be rewritten later.
            self.segments.rewritten();
        }
        // What was moved before it failed has to be in files too.
        self.write_memtable().await?;
        self.merging.kept.lock().clear();
        merged?;
        self.options
            .metrics
            .merged_segments
            .increment(run.len() as u64 - 1);
        self.drop_emptied(run[1..].to_vec()).await
    }

    fn run_to_merge(&self, sealed: &[SegmentMeta], limits: &RunLimits) -> Option<Vec<u32>> {
        let sizes = self.sizes();
        let live = sealed.iter().map(|segment| {
            let size = sizes.get(&segment.id).copied().unwrap_or_default();
            Sealed {
                id: segment.id,
                live_bytes: size.saturating_sub(segment.dead_bytes),
            }
        });
        let live: Vec<_> = live.collect();
        let run = runs::next_run(&live, limits)?;
        Some(live[run].iter().map(|segment| segment.id).collect())
    }

    /// Moves everything in the segments of `run` into the first of them.
    async fn merge(self: &Arc<Self>, run: &[u32]) -> Result<()> {
        let Some((to, from)) = run.split_first() else {
            return Ok(());
        };
        // From here on none of them goes, however little of it lives. Who had a segment dropped before held
        // this until it was gone.
        let changing = self.reclaiming.directories.lock().await;
        self.merging.kept.lock().extend(run);
        drop(changing);
        // What comes to the first is not in files at first.
        *self.reclaiming.written_out.lock() = 0;
        let mut moved_bytes = 0;
        for from in from {
            let (Some(from), Some(to)) = (self.segments.get(*from), self.segments.get(*to)) else {
                // Dropped meanwhile: all in it was dead.
                continue;
            };
            moved_bytes += self.empty(&from, &to).await?;
        }
        tracing::debug!(to, segments = from.len(), moved_bytes, "merged segments");
        Ok(())
    }

    /// Moves everything in `from` to `to`, the segment before it; the payload bytes of that.
    async fn empty(self: &Arc<Self>, from: &SegmentMeta, to: &SegmentMeta) -> Result<u64> {
        let (mut changes, mut bytes, mut all_bytes) = (Vec::new(), 0, 0);
        let directories = Arc::clone(&self.reclaiming.directories);
        let mut changing = directories.lock().await;
        for key in self.listed(from.id).await? {
            // Held while its rows are looked at and changed; others get their turn in between.
            while let Some((log, moved)) = self.piece(&key, from, to).await? {
                let is_last = moved.rest.is_none();
                bytes += moved.payload_bytes;
                let moved = Box::new(moved);
                changes.push(Change::Move { log, moved });
                if !is_last || bytes >= PIECE_BYTES || changes.len() >= PIECE_LOGS {
                    all_bytes += std::mem::take(&mut bytes);
                    self.queue.ready().await;
                    self.commit_own(std::mem::take(&mut changes)).await?;
                    drop(changing);
                    changing = directories.lock().await;
                }
                if is_last {
                    break;
                }
            }
        }
        if !changes.is_empty() {
            self.commit_own(changes).await?;
        }
        Ok(all_bytes + bytes)
    }

    /// The keys of the logs that have, or had, entries in a segment.
    async fn listed(&self, segment: u32) -> Result<Vec<LogKey>> {
        let failed = |error| Error::engine(format!("listing the logs of segment {segment}"), error);
        let options = ScanOptions::default();
        let prefix = Listing::prefix(segment);
        let mut rows = self
            .db
            .scan_prefix_with_options(prefix, &options)
            .await
            .map_err(failed)?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next().await.map_err(failed)? {
            keys.push(Listing::log(&row.key)?);
        }
        Ok(keys)
    }

    /// What of a log moves next from one segment to another; `None` if nothing of it is there.
    async fn piece(
        self: &Arc<Self>,
        key: &LogKey,
        from: &SegmentMeta,
        to: &SegmentMeta,
    ) -> Result<Option<(Log, Moved)>> {
        if lookup::directory_in(self, key, from).await?.is_none() {
            return Ok(None);
        }
        let log = self.open_log(key.clone(), true).await?;
        let writer = *log.inner().writer();
        if writer.removed || writer.bounds.start_offset > 0 {
            // What is dead by now is counted where it lies, and does not move.
            let dead = clear::dead(log.inner()).await?;
            if !dead.is_nothing() {
                let log = log.clone();
                self.commit_own(vec![Change::Clear { log, dead }]).await?;
            }
        }
        let Some((before, row)) = lookup::directory_in(self, key, from).await? else {
            return Ok(None);
        };
        let joined = match before {
            Some(before) if before.segment > to.id => {
                let problem = format!(
                    "segment {} lies between {} and {}, which were to be merged",
                    before.segment, to.id, from.id
                );
                return Err(Error::new(ErrorKind::Invalid, problem));
            }
            before => before.filter(|before| before.segment == to.id),
        };
        let writer = *log.inner().writer();
        // That of the readers: it is durable.
        let start_offset = log.bounds().start_offset;
        let piece = Piece::read(self, key, (from, to), &row, start_offset).await?;

        // What compaction took out of this piece, as far as its end is known.
        let rewritten_bytes = match &piece.rest {
            Some(rest) => {
                let counted = row
                    .bytes_before
                    .max(writer.dead_through.min(rest.bytes_before));
                let appended = rest.bytes_before.saturating_sub(counted);
                appended
                    .saturating_sub(piece.payload_bytes)
                    .min(row.rewritten_bytes)
            }
            None => row.rewritten_bytes,
        };
        let rest = piece.rest.map(|rest| Directory {
            rewritten_bytes: row.rewritten_bytes - rewritten_bytes,
            ..rest
        });
        let to = match joined {
            Some(joined) => Directory {
                rewritten_bytes: joined.rewritten_bytes + rewritten_bytes,
                ..joined
            },
            None => Directory {
                segment: to.id,
                rewritten_bytes,
                ..row
            },
        };
        let moved = Moved {
            from: row,
            to,
            rest,
            rows: piece.rows,
            payload_bytes: piece.payload_bytes,
        };
        Ok(Some((log, moved)))
    }

    /// Drops those of these segments that hold nothing; what was moved out of them is in files.
    async fn drop_emptied(self: &Arc<Self>, segments: Vec<u32>) -> Result<bool> {
        let mut empty = Vec::new();
        for id in segments {
            let Some(segment) = self
                .segments
                .get(id)
                .filter(|segment| segment.live_logs == 0)
            else {
                continue;
            };
            // By the rows too: the number may be one of another process.
            let mut is_empty = true;
            for key in self.listed(id).await? {
                is_empty &= lookup::directory_in(self, &key, &segment).await?.is_none();
            }
            match is_empty {
                true => empty.push(id),
                false => tracing::warn!(segment = id, "a segment is in use and has no logs"),
            }
        }
        if empty.is_empty() {
            return Ok(false);
        }
        self.write_memtable().await?;
        let segments = empty;
        self.commit_own(vec![Change::DropEmptied { segments }])
            .await?;
        Ok(true)
    }

    /// Has all that is in memory written to files.
    pub(crate) async fn write_memtable(&self) -> Result<()> {
        let options = FlushOptions {
            flush_type: FlushType::MemTable,
        };
        let Some(db) = self.db.writer() else {
            let problem = "the store was opened for reading";
            return Err(Error::new(ErrorKind::Invalid, problem));
        };
        let flushed = db.flush_with_options(options).await;
        flushed.map_err(|error| Error::engine("writing a segment out".into(), error))
    }
}

/// Rows of a log that move together.
#[derive(Default)]
struct Piece {
    rows: Vec<(Bytes, Bytes)>,
    payload_bytes: u64,
    /// What the row of the rest will say.
    rest: Option<Directory>,
}

impl Piece {
    /// The rows from the start of `row` on, but for what lies below the start of the log: all, or as far
    /// as one of the index in the distance.
    async fn read(
        core: &Core,
        log: &LogKey,
        (from, to): (&SegmentMeta, &SegmentMeta),
        row: &Directory,
        start_offset: u64,
    ) -> Result<Self> {
        let mut piece = Self::default();
        let mut arena = BytesMut::new();
        let range = Index::key(log, from.id, row.first_offset)..Index::key(log, from.id, u64::MAX);
        let order = lookup::rows(IterationOrder::Ascending);
        let mut indexes = Scan::new(core, log, range, order).await?;
        let (mut sequence, mut stop) = (row.first_sequence, None);
        let mut bytes_before = row.bytes_before;
        while let Some(found) = indexes.next().await? {
            let index = Index::decode(&found.key, &found.value)?;
            if index.last_offset < start_offset {
                sequence = index.last_sequence + 1;
                bytes_before = index.appended_bytes;
            }
            Index::key_into(&mut arena, log, to.id, index.last_offset);
            let key = arena.split().freeze();
            index.value_into(&mut arena);
            piece.rows.push((key, arena.split().freeze()));
            if index.appended_bytes.saturating_sub(bytes_before) >= PIECE_BYTES {
                stop = Some(index);
                break;
            }
        }
        let range = EntryKey::lower_bound(log, from, sequence)..EntryKey::end(log, from);
        let fetch = lookup::entries(PIECE_BYTES as usize);
        let mut entries = Scan::new(core, log, range, fetch).await?;
        while let Some(found) = entries.next().await? {
            let entry = EntryKey::decode(&found.key, from)?;
            if entry.first_offset < row.first_offset || entry.end_offset() <= start_offset {
                continue;
            }
            if let Some(index) = &stop
                && entry.first_offset > index.last_offset
            {
                piece.rest = Some(Directory {
                    first_offset: entry.first_offset,
                    segment: from.id,
                    first_sequence: entry.first_sequence(),
                    bytes_before: index.appended_bytes,
                    records_before: index.records,
                    max_timestamp_before: index.max_timestamp,
                    rewritten_bytes: 0,
                });
                return Ok(piece);
            }
            piece.payload_bytes += match entry.packed {
                true => PackedValue::decode(&entry, &found.value)?.payload_bytes(),
                false => found.value.len() as u64,
            };
            entry.encode_into(&mut arena, log, to);
            // Copies: a slice would hold all that was fetched.
            let value = Bytes::copy_from_slice(&found.value);
            piece.rows.push((arena.split().freeze(), value));
        }
        if stop.is_some() {
            // Nothing stays, so the way marks go along too.
            while let Some(found) = indexes.next().await? {
                let index = Index::decode(&found.key, &found.value)?;
                Index::key_into(&mut arena, log, to.id, index.last_offset);
                let key = arena.split().freeze();
                index.value_into(&mut arena);
                piece.rows.push((key, arena.split().freeze()));
            }
        }
        Ok(piece)
    }
}
