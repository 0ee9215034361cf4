//! The clock, the randomness and the way to spawn: the only window on the machine.
//!
//! Everything that wants the time or a random number gets it from here, so that a test can supply
//! its own. A panic in a spawned task is a bug: it is logged and stops the broker in order.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use slatedb_common::DbRand;
use slatedb_common::clock::{DefaultSystemClock, SystemClock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::types::Timestamp;

/// Clock, randomness and tasks of one broker; cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    clock: Arc<dyn SystemClock>,
    rand: Arc<DbRand>,
    tasks: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Env {
    /// The machine's clock and a seed of its own.
    pub fn system() -> Self {
        Self::new(
            Arc::new(DefaultSystemClock::new()),
            Arc::new(DbRand::default()),
        )
    }

    /// A given clock and randomness.
    pub fn new(clock: Arc<dyn SystemClock>, rand: Arc<DbRand>) -> Self {
        Self {
            clock,
            rand,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            failed: CancellationToken::new(),
        }
    }

    /// The same clock and randomness with tasks of its own, which stop when these do or earlier: for
    /// a part of the broker that can be started anew.
    pub fn child(&self) -> Self {
        Self {
            clock: self.clock.clone(),
            rand: self.rand.clone(),
            tasks: TaskTracker::new(),
            stop: self.stop.child_token(),
            failed: self.failed.clone(),
        }
    }

    /// The clock itself, for the store.
    pub fn clock(&self) -> Arc<dyn SystemClock> {
        self.clock.clone()
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now().timestamp_millis()
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    /// `future`'s output, or `None` when `duration` passes first.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.clock.sleep(duration) => None,
        }
    }

    /// Lends the randomness.
    pub fn with_rng<T>(&self, draw: impl FnOnce(&mut dyn rand::Rng) -> T) -> T {
        draw(&mut *self.rand.rng())
    }

    /// A random version 4 UUID.
    pub fn uuid(&self) -> uuid::Uuid {
        use rand::Rng;
        let mut bytes = [0; 16];
        self.rand.rng().fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Runs `future` as a task called `name`. It is waited for at shutdown, and should end when
    /// [`Env::stopping`] is cancelled.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let failed = self.failed.clone();
        self.tasks.spawn(async move {
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task panicked; the broker stops");
                failed.cancel();
            }
        });
    }

    /// Does `work`, which takes the processor for long, beside the tasks. A panic in it is the caller's.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and with it the caller.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Cancelled when the broker is stopping.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cancelled when a task has panicked.
    pub fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    /// Waits until every task has ended. Call after cancelling [`Env::stopping`].
    pub async fn join(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
