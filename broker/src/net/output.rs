//! Responses on their way out: pieces in order, several to a write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// Pieces given to one write.
const SLICES: usize = 64;

/// What has still to be written.
#[derive(Debug, Default)]
pub(super) struct Output {
    pieces: VecDeque<Piece>,
    len: usize,
}

/// A piece; small ones need no allocation of their own.
#[derive(Debug)]
enum Piece {
    /// Size, correlation id and, maybe, an empty tagged section; how far it is written, its length.
    Header([u8; 9], u8, u8),
    Body(Bytes),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Header(bytes, from, to) => &bytes[usize::from(*from)..usize::from(*to)],
            Self::Body(bytes) => bytes,
        }
    }

    fn advance(&mut self, len: usize) {
        match self {
            Self::Header(_, from, _) => *from += len as u8,
            Self::Body(bytes) => bytes.advance(len),
        }
    }
}

impl Output {
    /// Bytes to be written.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds one response. `tagged` says that its header has a tagged section. Fails when its size
    /// is more than a frame can say.
    pub(super) fn push(
        &mut self,
        correlation_id: i32,
        tagged: bool,
        body: Vec<Bytes>,
    ) -> Result<(), usize> {
        let header_len = if tagged { 9 } else { 8 };
        let len = header_len - 4 + body.iter().map(Bytes::len).sum::<usize>();
        let size = i32::try_from(len).map_err(|_| len)?;
        let mut header = [0; 9];
        header[..4].copy_from_slice(&size.to_be_bytes());
        header[4..8].copy_from_slice(&correlation_id.to_be_bytes());
        self.pieces
            .push_back(Piece::Header(header, 0, header_len as u8));
        let chunks = body.into_iter().filter(|chunk| !chunk.is_empty());
        self.pieces.extend(chunks.map(Piece::Body));
        self.len += 4 + len;
        Ok(())
    }

    /// Writes until all is written or the socket takes no more. Says how much was written.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.pieces.len().min(SLICES);
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece.bytes());
        }
        let written = ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.len -= written;
        let mut left = written;
        while let Some(piece) = self.pieces.front_mut() {
            let len = piece.bytes().len();
            if left < len {
                piece.advance(left);
                break;
            }
            left -= len;
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() && self.pieces.capacity() > SLICES {
            // An idle connection keeps little.
            self.pieces = VecDeque::new();
        }
        Poll::Ready(Ok(written))
    }
}
