//! Torn tails are cut, damage is refused.

use slatedb::wal::{WalIterator, WalWriter};
use slatedb::{RowEntry, ValueDeletable};

use super::*;
use crate::ErrorKind;
use crate::wal::recover::ManifestView;

/// A log without a database.
pub(super) struct Raw {
    pub(super) wal: FileWal,
    pub(super) writer: Box<dyn WalWriter>,
    pub(super) replay: Box<dyn WalIterator>,
}

pub(super) const NOTHING_FLUSHED: ManifestView = ManifestView {
    epoch: 1,
    replay_after_wal_id: 0,
    next_wal_id: 1,
    last_l0_seq: 0,
};

pub(super) fn row(seq: u64, value_len: usize) -> RowEntry {
    let value = (0..value_len)
        .map(|at| (at as u64 * 31 + seq) as u8)
        .collect::<Vec<_>>();
    RowEntry {
        key: format!("key{seq}").into(),
        value: ValueDeletable::Value(value.into()),
        seq,
        create_ts: Some(seq as i64),
        expire_ts: None,
    }
}

impl Bench {
    pub(super) fn raw(&self, manifest: ManifestView) -> Result<Raw> {
        let wal = self.wal()?;
        let started = wal.start(&manifest)?;
        Ok(Raw {
            wal,
            writer: started.wal_writer,
            replay: started.replay_iterator,
        })
    }

    /// Writes records that each hold one row, with sequence numbers from 1 on.
    async fn write(&self, value_lens: &[usize]) {
        let mut raw = self.raw(NOTHING_FLUSHED).unwrap();
        for (seq, &len) in (1..).zip(value_lens) {
            raw.writer.append(&[row(seq, len)]).await.unwrap();
            let flush = raw.writer.flush().await.unwrap();
            assert_eq!(flush.wal_id, seq, "one record each");
            flush.completion.await.unwrap();
        }
        raw.writer.close().await.unwrap();
    }

    /// Opens what [`Bench::write`] wrote, and returns the sequence numbers replayed and the bytes cut.
    async fn replay(&self) -> Result<(Vec<u64>, u64), String> {
        let mut raw = self
            .raw(ManifestView {
                epoch: 2,
                ..NOTHING_FLUSHED
            })
            .map_err(|error| error.to_string())?;
        let mut seqs = Vec::new();
        while let Some(rows) = raw.replay.next().await.map_err(|error| error.to_string())? {
            for found in rows.rows {
                let ValueDeletable::Value(value) = &found.value else {
                    panic!("{found:?}")
                };
                assert_eq!(found, row(found.seq, value.len()));
                seqs.push(found.seq);
            }
        }
        let torn_bytes = raw.wal.recovered().torn_bytes;
        raw.writer.close().await.unwrap();
        Ok((seqs, torn_bytes))
    }
}

/// Where each record of the only file with records starts, and where the last one ends.
async fn boundaries(value_lens: &[usize]) -> Vec<usize> {
    let mut ends = Vec::new();
    for n in 0..=value_lens.len() {
        let bench = Bench::new();
        bench.write(&value_lens[..n]).await;
        ends.push(std::fs::read(&bench.files()[0]).unwrap().len());
    }
    ends
}

#[tokio::test]
async fn a_torn_tail_is_cut_at_every_byte_of_the_last_record() {
    let lens = [10, 3000, 40];
    let ends = boundaries(&lens).await;
    let written = Bench::new();
    written.write(&lens).await;
    let whole = std::fs::read(&written.files()[0]).unwrap();
    assert_eq!(whole.len(), ends[3]);
    for cut in ends[2]..ends[3] {
        for zeros in [0, 1, 5000] {
            let bench = Bench {
                fsync: false,
                ..Bench::new()
            };
            std::fs::create_dir(bench.wal_dir()).unwrap();
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(cut + zeros, 0);
            let path = bench
                .wal_dir()
                .join(written.files()[0].file_name().unwrap());
            std::fs::write(&path, &bytes).unwrap();
            let torn = (bytes.len() - ends[2]) as u64;
            assert_eq!(
                bench.replay().await,
                Ok((vec![1, 2], torn)),
                "cut at {cut}, {zeros} zeros"
            );
            assert_eq!(
                std::fs::read(&path).unwrap(),
                &whole[..ends[2]],
                "and what is whole stays"
            );
        }
    }
}

#[tokio::test]
async fn a_file_whose_header_was_torn_is_as_if_it_never_was() {
    for len in 0..=40 {
        let bench = Bench::new();
        bench.write(&[10, 20]).await;
        // As if a second file was being created.
        let path = bench.wal_dir().join(format!("{:020}.wal", 2));
        let header = std::fs::read(&bench.files()[0]).unwrap();
        let mut bytes = header[..len.min(39)].to_vec();
        // A zero would be right for one header in 256.
        bytes.resize(len, !header[39]);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(bench.replay().await, Ok((vec![1, 2], len as u64)));
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_middle_is_refused_with_file_and_position() {
    let lens = [10, 60, 2500, 40];
    let ends = boundaries(&lens).await;
    let bench = Bench {
        fsync: false,
        ..Bench::new()
    };
    bench.write(&lens).await;
    let path = bench.files()[0].clone();
    let whole = std::fs::read(&path).unwrap();
    for at in (0..ends[2]).chain((ends[2]..ends[3]).step_by(97)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        let error = bench.wal().unwrap_err();
        let record = ends
            .iter()
            .rev()
            .find(|&&end| end <= at)
            .copied()
            .unwrap_or(0);
        // The version is the one field that is not taken for damage.
        if (8..12).contains(&at) {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(
                error
                    .to_string()
                    .contains("start the version that wrote it"),
                "{error}"
            );
            continue;
        }
        assert_eq!(error.kind(), ErrorKind::Corrupt, "flip at {at}");
        let expected = format!("{} is corrupt at byte {record}:", path.display());
        assert!(
            error.to_string().contains(&expected),
            "flip at {at}: {error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was changed");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(bench.replay().await, Ok((vec![1, 2, 3, 4], 0)));
}

#[tokio::test]
async fn damage_in_a_file_that_is_not_the_last_is_refused() {
    let bench = Bench {
        file_bytes: 500,
        ..Bench::new()
    };
    bench.write(&[300, 300, 300, 300, 300]).await;
    assert_eq!(bench.files().len(), 3);
    let path = bench.files()[0].clone();
    let whole = std::fs::read(&path).unwrap();
    // The second record of the first file: nothing valid follows within the file, but the next file
    // goes on after it.
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = bench.replay().await.unwrap_err();
    assert!(
        error.contains(&format!("{} is corrupt at byte", path.display())),
        "{error}"
    );

    // The same, cut off.
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = bench.replay().await.unwrap_err();
    assert!(
        error.contains(&format!("{} is corrupt at byte", path.display())),
        "{error}"
    );

    // A file that is gone.
    std::fs::write(&path, &whole).unwrap();
    std::fs::remove_file(&bench.files()[1]).unwrap();
    let error = bench.replay().await.unwrap_err();
    assert!(
        error.contains("record 3 of the write-ahead log") && error.contains("is missing"),
        "{error}"
    );
}

#[tokio::test]
async fn records_that_users_stored_as_data_are_not_taken_for_records() {
    // A value that holds a whole log file with two records, in the record that is then torn.
    let inner = Bench::new();
    inner.write(&[100, 100]).await;
    let file = std::fs::read(&inner.files()[0]).unwrap();
    let bench = Bench::new();
    let mut raw = bench.raw(NOTHING_FLUSHED).unwrap();
    let value = ValueDeletable::Value([file.clone(), file].concat().into());
    raw.writer
        .append(&[RowEntry { value, ..row(1, 0) }])
        .await
        .unwrap();
    raw.writer.flush().await.unwrap().completion.await.unwrap();
    raw.writer.close().await.unwrap();
    let path = bench.files()[0].clone();
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(len - 1)
        .unwrap();
    assert_eq!(bench.replay().await, Ok((vec![], len - 1 - 40)));
}

#[tokio::test]
async fn records_that_the_manifest_has_seen_and_no_file_holds_are_refused() {
    let bench = Bench::new();
    bench.write(&[10, 10]).await;
    let manifest = ManifestView {
        epoch: 2,
        next_wal_id: 5,
        ..NOTHING_FLUSHED
    };
    let error = bench.raw(manifest).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error
            .to_string()
            .contains("ends at record 2, but record 4 was durable"),
        "{error}"
    );

    // Without fsync that is what a power cut does, and the log goes on without a gap.
    let bench = Bench {
        fsync: false,
        ..bench
    };
    let mut raw = bench
        .raw(ManifestView {
            epoch: 3,
            ..manifest
        })
        .unwrap();
    raw.writer.append(&[row(3, 10)]).await.unwrap();
    let flush = raw.writer.flush().await.unwrap();
    assert_eq!(flush.wal_id, 5);
    flush.completion.await.unwrap();
    raw.writer.close().await.unwrap();
    assert_eq!(bench.replay().await, Ok((vec![1, 2, 3], 0)));
}

#[tokio::test]
async fn a_store_that_was_opened_without_this_log_is_refused() {
    let bench = Bench::new();
    bench.write(&[10, 10]).await;
    // Epoch 2 was somebody else.
    let manifest = ManifestView {
        epoch: 3,
        ..NOTHING_FLUSHED
    };
    let error = bench.raw(manifest).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error
            .to_string()
            .contains("does not read the write-ahead log"),
        "{error}"
    );
    // Nor does it help to ask again: the refused open leaves its mark, but so did the other program.
    // With everything flushed before, nothing is lost.
    let bench = Bench::new();
    bench.write(&[10, 10]).await;
    let flushed = ManifestView {
        replay_after_wal_id: 2,
        next_wal_id: 3,
        last_l0_seq: 2,
        ..manifest
    };
    let foreign = bench.dir.path().join("db/wal");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("00000000000000000003.sst"), b"").unwrap();
    bench.raw(flushed).unwrap().writer.close().await.unwrap();
    // Unless the other program left records of its own.
    std::fs::write(foreign.join("00000000000000000004.sst"), b"rows").unwrap();
    let error = bench
        .raw(ManifestView {
            epoch: 5,
            ..flushed
        })
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("did not close it cleanly"),
        "{error}"
    );
}

#[tokio::test]
async fn an_open_that_is_cut_short_is_not_taken_for_another_program() {
    let bench = Bench::new();
    bench.write(&[10, 10]).await;
    // Killed between taking epoch 2 and naming it.
    drop(bench.wal().unwrap());
    let raw = bench
        .raw(ManifestView {
            epoch: 3,
            ..NOTHING_FLUSHED
        })
        .unwrap();
    drop(raw);
    assert!(
        bench
            .raw(ManifestView {
                epoch: 5,
                ..NOTHING_FLUSHED
            })
            .is_err()
    );
}
