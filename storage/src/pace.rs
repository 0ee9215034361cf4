//! The clock that the engine runs on: while nothing is written, its periodic work comes to rest.
//!
//! SlateDB polls its manifest, its compactions and its garbage at fixed intervals, each poll a few
//! requests. This clock lets a tick wait, once nothing was written for a while, until something is or
//! a long time has passed. Everything else about time is that of the clock within.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slatedb_common::clock::{SystemClock, SystemClockTicker};
use tokio::sync::Notify;

/// At rest, the manifest is polled this often, so that a writer that was fenced finds out. A poll is
/// two requests, and an idle store on S3 may make 300 an hour.
const MANIFEST_REST: Duration = Duration::from_secs(120);
/// At rest, everything else happens this often.
const REST: Duration = Duration::from_secs(600);

type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A clock whose tickers rest while nothing is written.
#[derive(Debug)]
pub(crate) struct PacedClock {
    inner: Arc<dyn SystemClock>,
    ticks: Ticks,
}

/// The clock of the tickers.
#[derive(Debug)]
struct Ticks {
    inner: Arc<dyn SystemClock>,
    restless_ms: i64,
    /// The interval by which the poll of the manifest is known.
    manifest_interval: Duration,
    last_write_ms: AtomicI64,
    written: Notify,
}

impl PacedClock {
    /// A clock that rests once nothing was written for `restless`; the poll of the manifest is known by
    /// its interval.
    pub(crate) fn new(
        inner: Arc<dyn SystemClock>,
        restless: Duration,
        manifest_interval: Duration,
    ) -> Self {
        let ticks = Ticks {
            inner: Arc::clone(&inner),
            restless_ms: i64::try_from(restless.as_millis()).unwrap_or(i64::MAX),
            manifest_interval,
            last_write_ms: AtomicI64::new(i64::MIN),
            written: Notify::new(),
        };
        Self { inner, ticks }
    }

    /// Something was written at `now_ms`.
    pub(crate) fn wrote(&self, now_ms: i64) {
        self.ticks.last_write_ms.store(now_ms, Ordering::Relaxed);
        self.ticks.written.notify_waiters();
    }
}

impl Ticks {
    fn at_rest(&self) -> bool {
        let now_ms = self.inner.now().timestamp_millis();
        let last_ms = self.last_write_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(last_ms) > self.restless_ms
    }
}

impl SystemClock for Ticks {
    fn now(&self) -> DateTime<Utc> {
        self.inner.now()
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Sleep<'a> {
        Box::pin(async move {
            self.inner.sleep(duration).await;
            // The first tick comes at once.
            if duration.is_zero() {
                return;
            }
            let written = self.written.notified();
            tokio::pin!(written);
            written.as_mut().enable();
            if self.at_rest() {
                let is_manifest = duration <= self.manifest_interval;
                let rest = if is_manifest { MANIFEST_REST } else { REST };
                tokio::select! {
                    () = written => {}
                    () = self.inner.sleep(rest.saturating_sub(duration)) => {}
                }
            }
        })
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}

impl SystemClock for PacedClock {
    fn now(&self) -> DateTime<Utc> {
        self.inner.now()
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Sleep<'a> {
        self.inner.sleep(duration)
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(&self.ticks, duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time passes only by sleeping, at once; a sleep longer than the limit does not end.
    #[derive(Debug)]
    struct SleepClock {
        now_ms: AtomicI64,
        longest: Duration,
    }

    impl SystemClock for SleepClock {
        fn now(&self) -> DateTime<Utc> {
            DateTime::from_timestamp_millis(self.now_ms.load(Ordering::Relaxed)).expect("in range")
        }

        fn sleep<'a>(&'a self, duration: Duration) -> Sleep<'a> {
            Box::pin(async move {
                if duration > self.longest {
                    std::future::pending::<()>().await;
                }
                self.now_ms
                    .fetch_add(duration.as_millis() as i64, Ordering::Relaxed);
            })
        }

        fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
            SystemClockTicker::new(self, duration)
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const INTERVALS: u32 = 24;

    fn paced(longest: Duration) -> (Arc<SleepClock>, PacedClock) {
        let inner = Arc::new(SleepClock {
            now_ms: AtomicI64::new(0),
            longest,
        });
        (
            Arc::clone(&inner),
            PacedClock::new(inner, SECOND * INTERVALS, SECOND / 2),
        )
    }

    fn elapsed(clock: &PacedClock) -> Duration {
        Duration::from_millis(clock.now().timestamp_millis() as u64)
    }

    #[tokio::test]
    async fn ticks_come_at_their_pace_for_a_while_after_a_write() {
        let (_, clock) = paced(Duration::MAX);
        let mut ticker = clock.ticker(SECOND);
        ticker.tick().await;
        assert_eq!(
            elapsed(&clock),
            Duration::ZERO,
            "the first tick comes at once"
        );
        ticker.tick().await;
        assert_eq!(elapsed(&clock), REST, "at rest, the second does not");

        clock.wrote(clock.now().timestamp_millis());
        for _ in 0..INTERVALS {
            ticker.tick().await;
        }
        assert_eq!(elapsed(&clock), REST + SECOND * INTERVALS);
        ticker.tick().await;
        assert_eq!(elapsed(&clock), REST * 2 + SECOND * INTERVALS);

        let before = elapsed(&clock);
        let mut manifest = clock.ticker(SECOND / 2);
        manifest.tick().await;
        manifest.tick().await;
        assert_eq!(elapsed(&clock) - before, MANIFEST_REST);
    }

    #[tokio::test]
    async fn a_write_ends_the_rest() {
        let (_, clock) = paced(SECOND * 10);
        let mut ticker = clock.ticker(SECOND);
        ticker.tick().await;
        tokio::join!(ticker.tick(), async {
            tokio::task::yield_now().await;
            clock.wrote(clock.now().timestamp_millis());
        });
        assert_eq!(elapsed(&clock), SECOND);
    }
}
