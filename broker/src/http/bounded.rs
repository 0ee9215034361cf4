//! A TCP listener that keeps few connections, none of them silent for long.
//!
//! Past the limit, clients wait in the kernel's queue. A connection on which nothing moves is closed,
//! so that idle ones make room.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::env::Env;

/// A connection is closed when nothing was read or written for so long.
const IDLE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    env: Env,
    places: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, env: Env, connections: usize) -> Self {
        Self {
            listener,
            env,
            places: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore");
        // axum's own accept waits a little when the machine is out of file descriptors.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            idle: sleep(&self.env),
            env: self.env.clone(),
            _place: place,
        };
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

fn sleep(env: &Env) -> Sleep {
    let env = env.clone();
    Box::pin(async move { env.sleep(IDLE).await })
}

/// A client of the door.
pub(super) struct Connection {
    stream: TcpStream,
    idle: Sleep,
    env: Env,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// `poll` as it is, unless it is pending and nothing has moved for too long.
    fn unless_idle<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.idle = sleep(&self.env);
            return poll;
        }
        self.idle
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.unless_idle(context, poll)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_idle(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
