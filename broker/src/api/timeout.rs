//! How long a request waits.

use std::future::Future;
use std::time::Duration;

use super::context::Context;

/// What a client waits that names no time; Kafka clients' `request.timeout.ms`.
const UNNAMED: Duration = Duration::from_secs(30);

/// The output of `change`, or `None` when the client's `timeout_ms` passes first. The change goes on
/// then, and may yet happen.
pub(super) async fn within<F: Future>(
    ctx: &Context,
    timeout_ms: i32,
    change: F,
) -> Option<F::Output> {
    ctx.rooms.env.timeout(duration(timeout_ms), change).await
}

/// What a client's `timeout_ms` says.
pub(super) fn duration(timeout_ms: i32) -> Duration {
    match u64::try_from(timeout_ms) {
        Ok(timeout_ms) if timeout_ms > 0 => Duration::from_millis(timeout_ms),
        _ => UNNAMED,
    }
}
