//! Waiting on conditions, with a deadline: no test sleeps for a time it guessed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long anything may take before a test gives up on it. Generous: a busy machine is not a bug.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Milliseconds since 1970, as in record timestamps.
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    since.as_millis() as i64
}

/// Asks until there is an answer; panics naming `what` when there is none within [`DEADLINE`].
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `holds` is true; panics naming `what` when it is not within [`DEADLINE`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}
