//! What the process of a benchmark has used, from `/proc/self`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mimalloc::MiMalloc;

/// The one of the broker's binary.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// CPU and bytes of this process until now.
pub(crate) struct Usage {
    /// When that was.
    pub(crate) at: Instant,
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Bytes, as the counter that was asked for counts them.
    pub(crate) bytes: u64,
}

impl Usage {
    /// With the bytes of `counter`, a field of `/proc/self/io`.
    pub(crate) fn now(counter: &str) -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let after_name = stat.rsplit_once(") ").context("a process name")?.1;
        let fields: Vec<_> = after_name.split(' ').collect();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Self {
            at: Instant::now(),
            cpu: Duration::from_millis(ticks * 10),
            bytes: field("/proc/self/io", counter)?,
        })
    }
}

/// The number behind `name` in a file of `/proc`.
pub(crate) fn field(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path)?;
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .context("a known field")?;
    Ok(line.split_whitespace().nth(1).context("a value")?.parse()?)
}
