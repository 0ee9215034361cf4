//! Waiting for a condition, with a deadline: the one place where these tests sleep.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Tries until there is a result, and says what was last seen when there is none in time.
#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks at real files"
)]
pub(crate) async fn until<T, S: Debug>(
    mut attempt: impl FnMut() -> Result<Result<T, S>>,
) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match attempt()? {
            Ok(found) => return Ok(found),
            Err(seen) if Instant::now() >= deadline => bail!("still {seen:?}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// For conditions that take waiting to look at.
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn new() -> Self {
        Self(Instant::now() + DEADLINE)
    }

    /// Waits before another look, or fails with what was seen when there is no time left.
    #[expect(
        clippy::disallowed_methods,
        reason = "the pause between two looks at real files"
    )]
    pub(crate) async fn pause<S: Debug>(&self, seen: &S) -> Result<()> {
        if Instant::now() >= self.0 {
            bail!("still {seen:?}");
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
