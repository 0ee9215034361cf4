//! What the disk gives to a program that does nothing but append: the yardstick of the run.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::report::Latencies;

/// MiB/s of a sequential append in writes of 16 KiB, one fdatasync per 4 MiB.
pub(crate) fn sequential(dir: &Path, mebibytes: u64) -> Result<f64> {
    let path = dir.join(format!("trestle-yardstick-{}", std::process::id()));
    let mut file = File::create(&path)?;
    let block = [0x5A; 16 << 10];
    let began = Instant::now();
    for written in 1..=mebibytes * 64 {
        file.write_all(&block)?;
        if written % 256 == 0 {
            file.sync_data()?;
        }
    }
    file.sync_data()?;
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(mebibytes as f64 / seconds)
}

/// Latencies of an append of 1 KiB followed by fdatasync.
pub(crate) fn one_by_one(dir: &Path, count: u64) -> Result<Latencies> {
    let path = dir.join(format!("trestle-yardstick-{}", std::process::id()));
    let mut file = File::create(&path)?;
    let block = [0x5A; 1024];
    let mut latencies = Latencies::default();
    for _ in 0..count {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        latencies.add(began.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(latencies)
}
