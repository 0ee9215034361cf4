//! What lies in a closed store, read with the engine alone and decoded by a second reading of
//! docs/storage-format.md: every promise that the rows make to each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use slatedb::config::DbReaderOptions;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::{DbReader, DbReaderMode, PrefixExtractor, PrefixTarget};

/// Routes rows as OpenData Log does.
pub(crate) struct BySegment;

impl PrefixExtractor for BySegment {
    fn name(&self) -> &str {
        "opendata-log/v1"
    }

    fn prefix_len(&self, target: &PrefixTarget) -> Option<usize> {
        let (PrefixTarget::Point(key) | PrefixTarget::Prefix(key)) = target;
        (key.len() >= 6).then_some(6)
    }
}

/// An entry row, as far as it matters here.
#[derive(Debug)]
struct Row {
    first_sequence: u64,
    last_sequence: u64,
    first_offset: u64,
    end_offset: u64,
    timestamp: i64,
    bytes: u64,
}

/// An index row: the offset in its key, and the numbers in its value.
type IndexRow = (u64, Vec<u64>);

#[derive(Default)]
struct Found {
    /// By segment and stored log key.
    entries: BTreeMap<(u32, Vec<u8>), Vec<Row>>,
    index: BTreeMap<(u32, Vec<u8>), Vec<IndexRow>>,
    /// By stored log key: first offset and value.
    directories: BTreeMap<Vec<u8>, Vec<(u64, Vec<u8>)>>,
    listings: Vec<(u32, Vec<u8>)>,
    /// By stored log key: where logs start that do not start at 0. What lies below may be gone.
    starts: BTreeMap<Vec<u8>, u64>,
    /// First sequence, start time, live logs.
    segments: BTreeMap<u32, (u64, i64, u32)>,
    sequences_end: u64,
    format: Option<u32>,
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    let bytes = bytes.get(at..at + 8).context("too short")?;
    Ok(u64::from_be_bytes(bytes.try_into()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("too short")?;
    Ok(u32::from_be_bytes(bytes.try_into()?))
}

fn var_u64(bytes: &mut &[u8]) -> Result<u64> {
    let more = usize::from(bytes.first().context("no number")? >> 4);
    let mut value = u64::from(bytes[0] & 15);
    for byte in bytes.get(1..=more).context("a number cut short")? {
        value = value << 8 | u64::from(*byte);
    }
    *bytes = &bytes[1 + more..];
    Ok(value)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for at in 0.. {
        let byte = *bytes.get(at).context("a number cut short")?;
        value |= u64::from(byte & 127) << (7 * at);
        if byte < 128 {
            *bytes = &bytes[at + 1..];
            break;
        }
    }
    Ok(value)
}

/// Splits off the stored key of a log, with its end.
fn stored_key<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .context("no end of key")?
        + 1;
    let (key, rest) = bytes.split_at(end);
    *bytes = rest;
    Ok(key)
}

fn unescaped(stored: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut bytes = stored[..stored.len() - 1].iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == 1 {
            bytes.next().map_or(0, |next| next - 1)
        } else {
            *byte
        });
    }
    plain
}

impl Found {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        ensure!(key.starts_with(&[3, 1]), "another subsystem");
        let segment = u32_at(key, 2)?;
        let mut rest = &key[7..];
        match key[6] {
            0x10 => {
                let log = stored_key(&mut rest)?.to_vec();
                let relative = var_u64(&mut rest)?;
                let form = rest[0];
                rest = &rest[1..];
                let records = varint(&mut rest)? + 1;
                let first_offset = varint(&mut rest)?;
                let time = varint(&mut rest)?;
                ensure!(rest.is_empty(), "more after the trailer");
                let start = self
                    .segments
                    .get(&segment)
                    .context("entries of no segment")?;
                let last_sequence = start.0 + relative;
                let bytes = if form & 0x10 == 0 {
                    value.len()
                } else {
                    value.len() - 8 - u32_at(value, value.len() - 4)? as usize
                };
                let row = Row {
                    first_sequence: last_sequence + 1 - records,
                    last_sequence,
                    first_offset,
                    end_offset: first_offset + records,
                    timestamp: ((time >> 1) as i64 ^ -((time & 1) as i64)).wrapping_add(start.1),
                    bytes: bytes as u64,
                };
                self.entries.entry((segment, log)).or_default().push(row);
            }
            0x1A => {
                let log = stored_key(&mut rest)?.to_vec();
                let value = (0..4)
                    .map(|at| u64_at(value, 8 * at))
                    .collect::<Result<_>>()?;
                self.index
                    .entry((segment, log))
                    .or_default()
                    .push((u64_at(rest, 1)?, value));
            }
            0x1B => {
                ensure!(segment == 0);
                let log = stored_key(&mut rest)?.to_vec();
                match (log.len(), rest.get(1)) {
                    (1, Some(0)) => self.format = Some(u32_at(value, 0)?),
                    (1, _) => {}
                    (_, Some(1)) => self
                        .directories
                        .entry(log)
                        .or_default()
                        .push((u64_at(rest, 2)?, value.to_vec())),
                    (_, Some(2)) => {
                        let removed = value[0] & 1 == 1;
                        let start = if removed { u64::MAX } else { u64_at(value, 1)? };
                        self.starts.insert(log, start);
                    }
                    _ => {}
                }
            }
            0x20 => self.sequences_end = u64_at(value, 0)? + u64_at(value, 8)?,
            0x30 => {
                let meta = (
                    u64_at(value, 0)?,
                    u64_at(value, 8)? as i64,
                    u32_at(value, 16)?,
                );
                self.segments.insert(u32_at(rest, 0)?, meta);
            }
            0x40 => self.listings.push((segment, rest.to_vec())),
            tag => anyhow::bail!("an unknown tag {tag:02x}"),
        }
        Ok(())
    }

    /// The rows that a directory row leads to, and whether any of them were rewritten. Others are dead, or
    /// were moved and lie in their new place too.
    fn living<'a>(
        &self,
        segment: u32,
        log: &[u8],
        rows: &'a [Row],
    ) -> Result<(Vec<&'a Row>, bool)> {
        let (mut living, mut rewritten) = (Vec::new(), false);
        let directories = self.directories.get(log).map_or(&[][..], |rows| &rows[..]);
        for (at, (first_offset, value)) in directories.iter().enumerate() {
            if u32_at(value, 0)? != segment {
                continue;
            }
            rewritten |= value.len() > 36;
            let end = directories.get(at + 1).map_or(u64::MAX, |next| next.0);
            let within = |row: &&Row| (*first_offset..end).contains(&row.first_offset);
            living.extend(rows.iter().filter(within));
        }
        Ok((living, rewritten))
    }

    fn check(&self) -> Result<()> {
        ensure!(self.format == Some(1), "no format");
        let open = self.segments.keys().last().copied();
        let mut live: BTreeMap<u32, u32> = BTreeMap::new();
        for (log, directories) in &self.directories {
            let mut totals: Option<(u64, u64)> = None;
            let start = self.starts.get(log).copied().unwrap_or(0);
            for (first_offset, value) in directories {
                let segment = u32_at(value, 0)?;
                ensure!(
                    self.segments.contains_key(&segment),
                    "a directory row of no segment"
                );
                *live.entry(segment).or_default() += 1;
                ensure!(
                    self.listings.contains(&(segment, unescaped(log))),
                    "a log not listed"
                );
                // What rewriting took out of the segment.
                let rewritten = if value.len() > 36 {
                    u64_at(value, 36)?
                } else {
                    0
                };
                if *first_offset < start {
                    totals = None;
                    continue;
                }
                if rewritten > 0 {
                    let before = (u64_at(value, 12)?, u64_at(value, 20)?);
                    ensure!(
                        totals.is_none_or(|totals| totals == before),
                        "{totals:?} is not {before:?}"
                    );
                    totals = None;
                    continue;
                }
                let rows = self
                    .entries
                    .get(&(segment, log.clone()))
                    .context("no entries")?;
                // What was cleared out of the open segment may still lie before.
                let (rows, _) = self.living(segment, log, rows)?;
                let first = rows
                    .first()
                    .context("no entries from the first offset on")?;
                ensure!(rows.iter().all(|row| row.first_offset >= *first_offset));
                ensure!(first.first_offset == *first_offset, "another first offset");
                ensure!(
                    first.first_sequence == u64_at(value, 4)?,
                    "another first sequence"
                );
                let before = (u64_at(value, 12)?, u64_at(value, 20)?);
                ensure!(
                    totals.is_none_or(|totals| totals == before),
                    "{totals:?} is not {before:?}"
                );
                let bytes: u64 = rows.iter().map(|row| row.bytes).sum();
                let records: u64 = rows
                    .iter()
                    .map(|row| row.end_offset - row.first_offset)
                    .sum();
                totals = Some((before.0 + bytes, before.1 + records));
            }
        }
        for (segment, (.., live_logs)) in &self.segments {
            let expected = if Some(*segment) == open {
                0
            } else {
                live.get(segment).copied().unwrap_or(0)
            };
            ensure!(
                *live_logs == expected,
                "segment {segment}: {live_logs} live, not {expected}"
            );
        }
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for ((segment, log), rows) in &self.entries {
            let (rows, rewritten) = self.living(*segment, log, rows)?;
            for pair in rows.windows(2) {
                ensure!(
                    pair[0].last_sequence < pair[1].first_sequence,
                    "sequences overlap"
                );
                ensure!(
                    pair[0].end_offset <= pair[1].first_offset,
                    "offsets overlap"
                );
            }
            taken.extend(
                rows.iter()
                    .map(|row| (row.first_sequence, row.last_sequence)),
            );
            // Of what is gone from here, index rows may outlive their entries.
            let first = rows.first().map(|row| row.first_offset);
            for (offset, value) in self
                .index
                .get(&(*segment, log.clone()))
                .into_iter()
                .flatten()
            {
                let at = rows.iter().position(|row| row.end_offset == offset + 1);
                let start = self.starts.get(log).copied().unwrap_or(0);
                let gone = rewritten || first.is_none_or(|first| *offset < first.max(start));
                if at.is_none() && gone {
                    continue;
                }
                let at = at.context("an index row of no entry")?;
                ensure!(
                    rows[at].last_sequence == value[0],
                    "an index row leads elsewhere"
                );
                let highest = rows[..=at].iter().map(|row| row.timestamp).max();
                ensure!(
                    highest <= Some(value[1] as i64),
                    "an index row is older than its entries"
                );
            }
        }
        taken.sort_unstable();
        ensure!(
            taken.windows(2).all(|pair| pair[0].1 < pair[1].0),
            "a sequence was given twice"
        );
        ensure!(
            taken.iter().all(|(_, last)| *last < self.sequences_end),
            "beyond the sequence block"
        );
        Ok(())
    }
}

/// Checks the store in `directory`, which is closed.
pub(crate) async fn check(directory: &Path) -> Result<()> {
    let files = Arc::new(LocalFileSystem::new_with_prefix(directory)?);
    let options = DbReaderOptions {
        skip_wal_replay: true,
        ..DbReaderOptions::default()
    };
    let reader = DbReader::builder("db", files)
        .with_reader_mode(DbReaderMode::FollowLatest)
        .with_segment_extractor(Arc::new(BySegment))
        .with_options(options)
        .build()
        .await?;
    let mut found = Found::default();
    // Segment 0 first: it says where the others start.
    let mut rows = reader.scan(Vec::<u8>::new()..).await?;
    while let Some(row) = rows.next().await? {
        let segment = u32_at(&row.key, 2)?;
        // Files of a segment that was dropped go a little later.
        if segment == 0 || found.segments.contains_key(&segment) {
            found
                .take(&row.key, &row.value)
                .with_context(|| format!("row {:02x?}", &row.key[..]))?;
        }
    }
    reader.close().await?;
    found.check()
}
