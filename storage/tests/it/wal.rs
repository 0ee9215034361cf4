//! The store on a local disk across crashes: a copy of its directory is what a killed process leaves.

use std::path::Path;

use anyhow::Result;
use trestle_storage::{ErrorKind, Options, Store};

use crate::support::{append, clock, entry, in_directory, read_all};

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn last_wal_file(options: &Options) -> Result<std::path::PathBuf> {
    let trestle_storage::DataUrl::File(root) = &options.data else {
        anyhow::bail!("not on a disk")
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.join("wal-files"))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files.pop().ok_or_else(|| anyhow::anyhow!("no file"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_by_name() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(in_directory(&directory), clock()).await?;
    let error = Store::open(in_directory(&directory), clock())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let owner = format!("in use by process {}", std::process::id());
    assert!(error.to_string().contains(&owner), "{error}");
    store.close().await?;
    let store = Store::open(in_directory(&directory), clock()).await?;
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_and_counted() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(in_directory(&directory), clock()).await?;
    let log = store.log(b"log").await?;
    for offset in 0..10 {
        append(&store, &log, entry("log", offset, 1000)).await?;
    }
    let crashed = tempfile::tempdir()?;
    copy(
        &directory.path().join("store"),
        &crashed.path().join("store"),
    )?;
    let options = in_directory(&crashed);
    let file = last_wal_file(&options)?;
    let len = file.metadata()?.len();
    std::fs::File::options()
        .write(true)
        .open(&file)?
        .set_len(len - 300)?;

    let reopened = Store::open(options, clock()).await?;
    assert!(reopened.recovered().torn_bytes > 700);
    assert!(reopened.recovered().replayed_rows > 9);
    let log = reopened.log(b"log").await?;
    assert_eq!(log.bounds().end_offset, 9, "the last one was cut");
    assert_eq!(read_all(&log, 0, usize::MAX).await?.len(), 9);
    append(&reopened, &log, entry("log", 9, 1000)).await?;
    reopened.close().await?;
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_is_refused_with_file_and_position() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(in_directory(&directory), clock()).await?;
    let log = store.log(b"log").await?;
    for offset in 0..10 {
        append(&store, &log, entry("log", offset, 1000)).await?;
    }
    let crashed = tempfile::tempdir()?;
    copy(
        &directory.path().join("store"),
        &crashed.path().join("store"),
    )?;
    let options = in_directory(&crashed);
    let file = last_wal_file(&options)?;
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, &bytes)?;

    let error = Store::open(options.clone(), clock()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    assert!(
        text.contains(file.to_str().unwrap()) && text.contains("is corrupt at byte"),
        "{text}"
    );
    assert_eq!(std::fs::read(&file)?, bytes, "nothing was changed");
    bytes[middle] ^= 0x10;
    std::fs::write(&file, &bytes)?;
    let repaired = Store::open(options, clock()).await?;
    assert_eq!(repaired.log(b"log").await?.bounds().end_offset, 10);
    repaired.close().await?;
    store.close().await?;
    Ok(())
}

/// Whatever part of the first open a crash left done, the next open does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_half_created_opens() -> Result<()> {
    let whole = tempfile::tempdir()?;
    let store = Store::open(in_directory(&whole), clock()).await?;
    store.close().await?;
    let root = whole.path().join("store");
    let mut manifests: Vec<_> = std::fs::read_dir(root.join("db/manifest"))?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    manifests.sort();

    // The steps of an open, in order: the lock, the log's directory, the mark of an open, manifests.
    for steps in 0..=3 + manifests.len() {
        let directory = tempfile::tempdir()?;
        let half = directory.path().join("store");
        std::fs::create_dir_all(&half)?;
        if steps > 0 {
            std::fs::write(half.join("lock"), "1\n")?;
        }
        if steps > 1 {
            std::fs::create_dir(half.join("wal-files"))?;
        }
        if steps > 2 {
            std::fs::write(half.join("wal-files/opening"), "")?;
            std::fs::create_dir_all(half.join("db/manifest"))?;
        }
        for manifest in manifests.iter().take(steps.saturating_sub(3)).take(2) {
            std::fs::copy(
                root.join("db/manifest").join(manifest),
                half.join("db/manifest").join(manifest),
            )?;
        }
        let store = Store::open(in_directory(&directory), clock()).await?;
        let log = store.log(b"log").await?;
        append(&store, &log, entry("log", 0, 100)).await?;
        store.close().await?;
        let store = Store::open(in_directory(&directory), clock()).await?;
        assert_eq!(
            store.log(b"log").await?.bounds().end_offset,
            1,
            "after {steps} steps"
        );
        store.close().await?;
    }
    Ok(())
}
