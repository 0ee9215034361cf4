//! Files that are written again.

use slatedb::config::{FlushOptions, FlushType};
use slatedb::wal::{WalError, WalReader};

use super::damage::{NOTHING_FLUSHED, Raw, row};
use super::*;
use crate::wal::FileWalReader;
use crate::wal::recover::ManifestView;

fn spares_in(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "spare")
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nothing_needs_is_written_again() {
    let bench = Bench {
        file_bytes: 10_000,
        ..Bench::new()
    };
    let opened = bench.open().await;
    for n in 0..20 {
        opened.put(&format!("old{n}"), vec![n; 5000]).await;
    }
    let flush = FlushOptions {
        flush_type: FlushType::MemTable,
    };
    opened.db.flush_with_options(flush).await.unwrap();
    opened.reclaim().await;
    assert_eq!(spares_in(&bench.wal_dir()), 2);
    for n in 0..60 {
        opened.put(&format!("new{n}"), vec![n; 700]).await;
    }
    assert_eq!(spares_in(&bench.wal_dir()), 0, "both are in use");
    opened.crash().await;

    let opened = bench.open().await;
    assert_eq!(opened.wal.recovered().torn_bytes, 0);
    for n in 0..20 {
        assert_eq!(opened.get(&format!("old{n}")).await, Some(vec![n; 5000]));
    }
    for n in 0..60 {
        assert_eq!(opened.get(&format!("new{n}")).await, Some(vec![n; 700]));
    }
    opened.db.flush().await.unwrap();
    opened.reclaim().await;
    opened.db.close().await.unwrap();
    assert_eq!(spares_in(&bench.wal_dir()), 0, "none is left behind");
}

/// Records up to this one were in files that are written again.
const FLUSHED: u64 = 8;
const FLUSHED_UP_TO: ManifestView = ManifestView {
    replay_after_wal_id: FLUSHED,
    next_wal_id: FLUSHED + 1,
    last_l0_seq: FLUSHED,
    ..NOTHING_FLUSHED
};

async fn append(raw: &mut Raw, seq: u64, len: usize) {
    raw.writer.append(&[row(seq, len)]).await.unwrap();
    let flush = raw.writer.flush().await.unwrap();
    flush.completion.await.unwrap();
}

async fn reclaim(raw: &Raw) {
    let referenced = vec![WalFileRange(Bound::Excluded(FLUSHED), Bound::Unbounded)];
    let gc = raw.wal.gc();
    gc.collect(referenced, Duration::ZERO, false).await.unwrap();
}

/// A log whose last file was written again, up to before its last record and after it.
async fn last_record(bench: &Bench) -> (PathBuf, Vec<u8>, Vec<u8>) {
    let mut raw = bench.raw(NOTHING_FLUSHED).unwrap();
    for seq in 1..=FLUSHED + 1 {
        append(&mut raw, seq, 300).await;
    }
    reclaim(&raw).await;
    for seq in FLUSHED + 2..FLUSHED + 6 {
        append(&mut raw, seq, 150).await;
    }
    let file = bench.files().last().unwrap().clone();
    let before = std::fs::read(&file).unwrap();
    append(&mut raw, FLUSHED + 6, 150).await;
    assert_eq!(bench.files().last(), Some(&file));
    let after = std::fs::read(&file).unwrap();
    assert_eq!(
        before.len(),
        after.len(),
        "it was written over an older one"
    );
    raw.writer.close().await.unwrap();
    (file, before, after)
}

fn bench() -> Bench {
    Bench {
        // Three records of the first kind.
        file_bytes: 1000,
        fsync: false,
        ..Bench::new()
    }
}

/// What an open finds: sequence numbers, and bytes that are said to be cut.
async fn found(bench: &Bench) -> Result<(Vec<u64>, u64), String> {
    let manifest = ManifestView {
        epoch: 2,
        ..FLUSHED_UP_TO
    };
    let mut raw = bench.raw(manifest).map_err(|error| error.to_string())?;
    let mut seqs = Vec::new();
    while let Some(rows) = raw.replay.next().await.map_err(|error| error.to_string())? {
        seqs.extend(rows.rows.iter().map(|row| row.seq));
    }
    let torn_bytes = raw.wal.recovered().torn_bytes;
    raw.writer.close().await.unwrap();
    Ok((seqs, torn_bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_torn_at_any_byte_over_older_ones_is_cut() {
    let probe = bench();
    let (_, before, after) = last_record(&probe).await;
    let start = (0..before.len())
        .find(|&at| before[at] != after[at])
        .unwrap();
    let end = (0..before.len())
        .rfind(|&at| before[at] != after[at])
        .unwrap();
    for torn_at in start - 20..=end {
        let bench = bench();
        let (file, before, after) = last_record(&bench).await;
        let torn = [&after[..torn_at], &before[torn_at..]].concat();
        // The copy differs from the probe in its marker alone; what is torn may be whole by chance.
        let whole = torn == after;
        std::fs::write(&file, torn).unwrap();
        let (seqs, _) = found(&bench).await.unwrap();
        let last = FLUSHED + if whole { 6 } else { 5 };
        let wanted: Vec<_> = (FLUSHED + 1..=last).collect();
        assert_eq!(seqs, wanted, "torn at {torn_at}");
        // It is gone for good.
        let again = found(&bench).await;
        assert!(again.is_ok_and(|(seqs, _)| seqs == wanted), "{torn_at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_the_last_record_of_such_a_file_is_refused() {
    let bench = bench();
    let (file, _, mut bytes) = last_record(&bench).await;
    // In the first record of the file.
    bytes[100] ^= 4;
    std::fs::write(&file, &bytes).unwrap();
    let refused = found(&bench).await.unwrap_err();
    assert!(refused.contains("corrupt at byte 40"), "{refused}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_file_that_is_written_again_is_told() {
    let bench = bench();
    let mut raw = bench.raw(NOTHING_FLUSHED).unwrap();
    for seq in 1..=FLUSHED + 1 {
        append(&mut raw, seq, 300).await;
    }
    let reader = FileWalReader::new(bench.wal_dir(), clock());
    let mut records = reader.iterator((1..FLUSHED).into()).await.unwrap();
    let first = records.next().await.unwrap().unwrap();
    assert_eq!(first.last_consumed_wal_file_id, 1);
    reclaim(&raw).await;
    for seq in FLUSHED + 2..FLUSHED + 14 {
        append(&mut raw, seq, 150).await;
    }
    assert!(matches!(
        records.next().await,
        Err(WalError::WalTruncated(2))
    ));
    raw.writer.close().await.unwrap();
}
