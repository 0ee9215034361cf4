//! Frames on their way in.
//!
//! An idle connection holds no buffer: small frames are read through one scratch buffer per thread
//! and copied into an allocation of their own, big ones are read into it directly. A frame is read
//! only when the budget over all connections has room for all of it, and until then its socket is
//! not read. Its memory grows only when its bytes come.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use futures::future::BoxFuture;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frame::{self, Announced, FrameError, PREFIX_LEN, SizeLimits};

/// Bytes taken from a socket at once.
const SCRATCH_LEN: usize = 64 * 1024;

/// After a frame above this, the next is expected to be like it: only its beginning goes through
/// the scratch buffer, the rest is read to where it stays.
const DIRECT_LEN: usize = 16 * 1024;

/// Bytes taken at once when a big frame is expected.
const BEGINNING_LEN: usize = 512;

/// Bytes that must have come before a frame gets all of its memory.
const TRUSTED_LEN: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_LEN].into_boxed_slice());
}

/// A whole request.
pub(super) struct Frame {
    /// What its prefix said.
    pub(super) announced: Announced,
    /// All that follows the prefix.
    pub(super) body: BytesMut,
    /// Its share of the budget.
    pub(super) share: Share,
}

/// A share of the budget over all connections, until dropped.
pub(super) struct Share {
    permit: OwnedSemaphorePermit,
    in_flight_bytes: Gauge,
}

impl Share {
    fn new(permit: OwnedSemaphorePermit, in_flight_bytes: Gauge) -> Self {
        in_flight_bytes.inc_by(permit.num_permits() as i64);
        Self {
            permit,
            in_flight_bytes,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.in_flight_bytes
            .dec_by(self.permit.num_permits() as i64);
    }
}

/// Bytes that all connections together may hold in requests that are not answered.
///
/// A part is kept for small frames alone, so that those who wait with big ones do not hold them up.
#[derive(Debug)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
    total: usize,
    free_for_small: Option<Arc<Semaphore>>,
    in_flight_bytes: Gauge,
}

/// A frame up to this size is small.
const SMALL_LEN: usize = 64 * 1024;

/// Kept for small frames: this part of the budget, up to so many bytes.
const SMALL_PART: usize = 16;
const SMALL_MAX: usize = 8 << 20;

impl Budget {
    /// `total` bytes; those taken show in `in_flight_bytes`.
    pub(super) fn new(total: usize, in_flight_bytes: Gauge) -> Self {
        let total = total.clamp(1, u32::MAX as usize);
        let small = match (total / SMALL_PART).min(SMALL_MAX) {
            small if small >= SMALL_LEN => small,
            _ => 0,
        };
        Self {
            free: Arc::new(Semaphore::new(total - small)),
            total: total - small,
            free_for_small: (small > 0).then(|| Arc::new(Semaphore::new(small))),
            in_flight_bytes,
        }
    }

    /// A frame above the whole budget takes all of it, and so goes alone.
    fn share_of(&self, frame_len: usize) -> u32 {
        frame_len.min(self.total) as u32
    }

    /// What is kept for frames of this size, if it is a small one.
    fn kept_for(&self, frame_len: usize) -> Option<&Arc<Semaphore>> {
        let kept = self.free_for_small.as_ref();
        kept.filter(|_| frame_len <= SMALL_LEN)
    }

    fn try_take(&self, frame_len: usize) -> Option<Share> {
        let share = self.share_of(frame_len);
        let take = |free: &Arc<Semaphore>| free.clone().try_acquire_many_owned(share).ok();
        let permit = take(&self.free).or_else(|| take(self.kept_for(frame_len)?))?;
        Some(Share::new(permit, self.in_flight_bytes.clone()))
    }

    /// Waits for its turn; those who wait are served in order, so that a big frame is not starved.
    fn take(&self, frame_len: usize) -> BoxFuture<'static, Share> {
        let share = self.share_of(frame_len);
        let free = self.kept_for(frame_len).unwrap_or(&self.free);
        let taken = free.clone().acquire_many_owned(share);
        let in_flight_bytes = self.in_flight_bytes.clone();
        Box::pin(async move {
            let permit = taken.await.expect("the budget is never closed");
            Share::new(permit, in_flight_bytes)
        })
    }
}

/// What came of polling.
pub(super) enum Progress {
    /// Some bytes were taken in, perhaps frames.
    Bytes,
    /// The client sends no more.
    End,
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// The bytes are not those of a client that we can serve.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One connection's reading half.
pub(super) struct Input {
    reading: Reading,
    /// Read, and not yet taken because there is no room.
    spill: BytesMut,
    last_len: usize,
}

enum Reading {
    Prefix([u8; PREFIX_LEN], usize),
    Waiting(Announced, BoxFuture<'static, Share>),
    Body(Announced, Share, BytesMut),
}

impl Input {
    /// Nothing read yet.
    pub(super) fn new() -> Self {
        Self {
            reading: Reading::Prefix([0; PREFIX_LEN], 0),
            spill: BytesMut::new(),
            last_len: 0,
        }
    }

    /// Whether a frame has begun that holds a share of the budget and is not whole.
    pub(super) fn holds_budget(&self) -> bool {
        matches!(self.reading, Reading::Body(..))
    }

    /// Reads on, and puts what is whole into `frames` while that holds less than `room` of them.
    /// Pending when the socket, the budget or the room has nothing to give; only the first two wake
    /// the task.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        budget: &Budget,
        limits: SizeLimits,
        frames: &mut VecDeque<Frame>,
        room: usize,
    ) -> Poll<Result<Progress, InputError>> {
        if let Reading::Waiting(announced, share) = &mut self.reading {
            let share = ready!(share.as_mut().poll(cx));
            self.reading = body(*announced, share);
            self.finish(frames);
        }
        if !self.spill.is_empty() {
            let mut spill = std::mem::take(&mut self.spill);
            let taken = self.take(&spill, budget, limits, frames, room)?;
            spill.advance(taken);
            if !spill.is_empty() {
                self.spill = spill;
            }
            return if taken > 0 {
                Poll::Ready(Ok(Progress::Bytes))
            } else {
                Poll::Pending
            };
        }
        if let Reading::Body(announced, _, body) = &mut self.reading
            && announced.rest - body.len() >= BEGINNING_LEN
        {
            let read = ready!(poll_direct(cx, stream, body, announced.rest))?;
            self.finish(frames);
            return Poll::Ready(Ok(progress(read)));
        }
        if matches!(self.reading, Reading::Prefix(_, 0)) && frames.len() >= room {
            return Poll::Pending;
        }
        let len = if self.last_len > DIRECT_LEN {
            BEGINNING_LEN
        } else {
            SCRATCH_LEN
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch[..len]);
            ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
            let read = buffer.filled();
            let taken = self.take(read, budget, limits, frames, room)?;
            self.spill.extend_from_slice(&read[taken..]);
            Poll::Ready(Ok(progress(read.len())))
        })
    }

    /// Takes in as much of `bytes` as there is room for. Returns how much that was.
    fn take(
        &mut self,
        mut bytes: &[u8],
        budget: &Budget,
        limits: SizeLimits,
        frames: &mut VecDeque<Frame>,
        room: usize,
    ) -> Result<usize, FrameError> {
        let offered = bytes.len();
        while !bytes.is_empty() {
            match &mut self.reading {
                Reading::Prefix(prefix, len) => {
                    if *len == 0 && frames.len() >= room {
                        break;
                    }
                    let part = bytes.len().min(PREFIX_LEN - *len);
                    prefix[*len..*len + part].copy_from_slice(&bytes[..part]);
                    *len += part;
                    bytes = &bytes[part..];
                    let Some(announced) = frame::prefix(&prefix[..*len], limits)? else {
                        continue;
                    };
                    let frame_len = announced.rest + PREFIX_LEN;
                    self.last_len = frame_len;
                    match budget.try_take(frame_len) {
                        Some(share) => {
                            self.reading = body(announced, share);
                            self.finish(frames);
                        }
                        None => {
                            let share = budget.take(frame_len);
                            self.reading = Reading::Waiting(announced, share);
                        }
                    }
                }
                Reading::Waiting(..) => break,
                Reading::Body(announced, _, body) => {
                    let part = bytes.len().min(announced.rest - body.len());
                    grow(body, part, announced.rest);
                    body.extend_from_slice(&bytes[..part]);
                    bytes = &bytes[part..];
                    self.finish(frames);
                }
            }
        }
        Ok(offered - bytes.len())
    }

    /// Moves the frame being read to `frames`, if it is whole.
    fn finish(&mut self, frames: &mut VecDeque<Frame>) {
        match &self.reading {
            Reading::Body(announced, _, body) if body.len() == announced.rest => {}
            _ => return,
        }
        let next = Reading::Prefix([0; PREFIX_LEN], 0);
        if let Reading::Body(announced, share, body) = std::mem::replace(&mut self.reading, next) {
            frames.push_back(Frame {
                announced,
                body,
                share,
            });
        }
    }
}

fn progress(read: usize) -> Progress {
    match read {
        0 => Progress::End,
        _ => Progress::Bytes,
    }
}

fn body(announced: Announced, share: Share) -> Reading {
    let body = BytesMut::with_capacity(announced.rest.min(TRUSTED_LEN));
    Reading::Body(announced, share, body)
}

/// Makes room for `more` bytes in a body that will have `total`: the exact allocation, once the
/// first bytes have shown that the rest may come.
fn grow(body: &mut BytesMut, more: usize, total: usize) {
    if body.capacity() - body.len() < more {
        let mut whole = BytesMut::with_capacity(total);
        whole.extend_from_slice(body);
        *body = whole;
    }
}

/// Reads from `stream` straight into `body`, up to `total`.
fn poll_direct<S: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    body: &mut BytesMut,
    total: usize,
) -> Poll<io::Result<usize>> {
    grow(body, 1, total);
    let len = (body.capacity() - body.len()).min(total - body.len());
    let mut target = body.limit(len);
    pin!(stream.read_buf(&mut target)).poll(cx)
}
