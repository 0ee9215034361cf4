//! One client's connection: requests are read ahead, and answered in the order they came.
//!
//! A connection is one task without locks or channels: each time it is woken it runs what can run,
//! starts what may start, writes what is ready and reads what has come. Of the two-stage requests
//! (Produce) the first stages run one after another in the order of arrival, and their second stages
//! overlap; of those only the oldest is polled, for nothing can leave before it. Any other request
//! runs when everything before it has been answered, as in Kafka, and is told to hurry when another
//! has arrived behind it.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::door::{Call, Client, Door, Order, Watch};
use super::frame::{self, FrameError};
use super::input::{Frame, Input, InputError, Progress, Share};
use super::output::Output;
use crate::api::context::Hurry;
use crate::api::{Api, Outcome, Stages};

/// While more than this waits to be written, no further request starts.
const OUTPUT_HIGH: usize = 64 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    /// The client closed it and has had its answers.
    #[error("the client closed it")]
    ByClient,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// What came in cannot be read.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A handler asked for it.
    #[error("{api:?} v{version}: {reason}")]
    ByHandler {
        /// Which handler.
        api: &'static Api,
        /// At which version.
        version: i16,
        /// Its reason.
        reason: String,
    },
    /// A handler panicked: a bug of ours.
    #[error("{api:?} v{version} panicked")]
    Panic {
        /// Which handler.
        api: &'static Api,
        /// At which version.
        version: i16,
    },
    /// The broker stops, and all that was in flight has been answered.
    #[error("the broker is stopping")]
    Stopping,
    /// Nothing moved for too long, or the broker could wait no longer.
    #[error("{0}")]
    Ended(&'static str),
}

/// A request that has started.
struct Running {
    api: &'static Api,
    version: i16,
    correlation_id: i32,
    started: DateTime<Utc>,
    future: BoxFuture<'static, Outcome>,
    /// Held until it is answered.
    _share: Share,
}

/// A two-stage request whose first stage is done, or what waits behind one.
struct Slot {
    running: Running,
    outcome: Option<Outcome>,
}

/// One client's connection; resolves when it is over.
pub(super) struct Connection<S> {
    stream: S,
    door: Arc<Door>,
    client: Client,
    watch: Watch,
    input: Input,
    input_ended: bool,
    /// Read, not started.
    waiting: VecDeque<Frame>,
    /// In its first stage.
    running: Option<Running>,
    /// First stage done, in order.
    slots: VecDeque<Slot>,
    output: Output,
    hurry: Arc<Hurry>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection of `client` on `stream`, which obeys `watch`.
    pub(super) fn new(stream: S, door: Arc<Door>, client: Client, watch: Watch) -> Self {
        Self {
            stream,
            door,
            client,
            watch,
            input: Input::new(),
            input_ended: false,
            waiting: VecDeque::new(),
            running: None,
            slots: VecDeque::new(),
            output: Output::default(),
            hurry: Arc::default(),
        }
    }

    /// Runs what can run and starts what may start. Says whether anything happened.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let mut moved = false;
        loop {
            if let Some(running) = &mut self.running {
                let Poll::Ready(outcome) = poll_outcome(running, cx)? else {
                    break;
                };
                moved = true;
                if let Some(running) = self.running.take() {
                    self.slots.push_back(Slot {
                        running,
                        outcome: Some(outcome),
                    });
                }
                self.poll_slots(cx)?;
            }
            let Some(next) = self.waiting.front() else {
                break;
            };
            let may_start = match next.announced.api.stages {
                Stages::One => self.slots.is_empty(),
                Stages::Two => true,
            };
            if !may_start || self.output.len() > OUTPUT_HIGH {
                break;
            }
            if let Some(frame) = self.waiting.pop_front() {
                self.running = Some(self.start(frame)?);
                moved = true;
            }
        }
        Ok(moved)
    }

    fn start(&mut self, frame: Frame) -> Result<Running, Closed> {
        let Frame {
            announced,
            mut body,
            share,
        } = frame;
        let (api, version) = (announced.api, announced.version);
        let len = frame::PREFIX_LEN + body.len();
        match frame::header(&body, api.is_flexible(version)) {
            Ok((client_id, header_len)) => {
                self.client.set_id(client_id);
                body.advance(header_len);
            }
            // It may be of a version that we do not know.
            Err(_) if api.takes_any_version() => {}
            Err(error) => return Err(error.into()),
        }
        match Arc::get_mut(&mut self.hurry) {
            Some(hurry) => hurry.reset(),
            None => self.hurry = Arc::default(),
        }
        if !self.waiting.is_empty() || self.input_ended {
            self.hurry.ask();
        }
        let call = Call {
            api,
            version,
            client: &self.client,
            hurry: self.hurry.clone(),
            body,
        };
        self.door.metrics.net.received_bytes.inc_by(len as u64);
        Ok(Running {
            api,
            version,
            correlation_id: announced.correlation_id,
            started: self.door.started(api),
            future: (self.door.serve)(call),
            _share: share,
        })
    }

    /// Moves what is answered to the output, in order. Says whether there was any.
    fn poll_slots(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let mut moved = false;
        while let Some(slot) = self.slots.front_mut() {
            let Running { api, version, .. } = slot.running;
            let outcome = match slot.outcome.take() {
                Some(outcome) => outcome,
                None => match poll_outcome(&mut slot.running, cx)? {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => break,
                },
            };
            moved = true;
            match outcome {
                Outcome::Later(future) => {
                    slot.running.future = future;
                    continue;
                }
                Outcome::Reply(body) => {
                    let tagged = api.has_tagged_response_header(version);
                    let pushed = self.output.push(slot.running.correlation_id, tagged, body);
                    if let Err(len) = pushed {
                        let reason = format!("a response of {len} bytes");
                        return Err(by_handler(&slot.running, reason));
                    }
                }
                Outcome::Silent => {}
                Outcome::Close(reason) => return Err(by_handler(&slot.running, reason)),
            }
            self.door.answered(api, slot.running.started);
            self.slots.pop_front();
            self.client.greet(&self.door);
        }
        Ok(moved)
    }

    /// Writes what is ready. Says whether anything was written.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let mut moved = false;
        while self.output.len() > 0 {
            match self.output.poll_write(cx, &mut self.stream)? {
                Poll::Ready(written) => {
                    self.door.metrics.net.sent_bytes.inc_by(written as u64);
                    moved = true;
                }
                Poll::Pending => break,
            }
        }
        Ok(moved)
    }

    /// Reads what has come. Says whether anything had.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        if self.input_ended {
            return Ok(false);
        }
        let started = self.slots.len() + usize::from(self.running.is_some());
        let before = self.waiting.len();
        let room = self.door.limits.read_ahead.saturating_sub(started);
        let polled = self.input.poll(
            cx,
            &mut self.stream,
            &self.door.budget,
            self.door.limits.size,
            &mut self.waiting,
            room,
        );
        match polled {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(Progress::Bytes)) => {}
            Poll::Ready(Err(InputError::Frame(error))) => return Err(error.into()),
            // What was read before is still done: a producer with acks=0 waits for nothing.
            Poll::Ready(Ok(Progress::End) | Err(InputError::Io(_))) => self.input_ended = true,
        }
        if self.running.is_some() && (self.waiting.len() > before || self.input_ended) {
            self.hurry.ask();
        }
        Ok(true)
    }

    fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
            && self.running.is_none()
            && self.slots.is_empty()
            && self.output.len() == 0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = Closed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        let this = self.get_mut();
        match this.poll_all(cx) {
            Ok(()) => Poll::Pending,
            Err(closed) => Poll::Ready(closed),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Result<(), Closed> {
        self.watch.register(cx.waker());
        let order = self.watch.order();
        match order {
            Order::Serve => {}
            Order::Drain => {
                self.input_ended = true;
                self.hurry.ask();
            }
            Order::End(reason) => return Err(Closed::Ended(reason)),
        }
        let mut any = false;
        loop {
            let mut moved = self.poll_slots(cx)?;
            moved |= self.poll_requests(cx)?;
            moved |= self.poll_output(cx)?;
            moved |= self.poll_input(cx)?;
            any |= moved;
            if !moved {
                break;
            }
        }
        if self.input_ended && self.is_quiet() {
            return Err(match order {
                Order::Drain => Closed::Stopping,
                _ => Closed::ByClient,
            });
        }
        // Bytes that should be moving: those of a frame that has begun, or of the last answers. A
        // client that is slow to take an answer may be, for as long as it may be idle.
        let owed = self.input.holds_budget() || self.input_ended;
        let busy = self.running.is_some() || !self.slots.is_empty();
        self.watch.report(any, owed, busy);
        Ok(())
    }
}

/// Polls a request; a panic in it is caught.
fn poll_outcome(running: &mut Running, cx: &mut Context<'_>) -> Result<Poll<Outcome>, Closed> {
    let future = running.future.as_mut();
    std::panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))).map_err(|_| Closed::Panic {
        api: running.api,
        version: running.version,
    })
}

fn by_handler(running: &Running, reason: String) -> Closed {
    Closed::ByHandler {
        api: running.api,
        version: running.version,
        reason,
    }
}
