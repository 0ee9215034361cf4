//! The door without an address: connections are made within the process.

use std::io;

use axum::serve::Listener;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// What one end of a connection holds until the other takes it.
const BUFFER_BYTES: usize = 64 << 10;
/// Connections that are not taken yet; one client makes one at a time.
const WAITING: usize = 16;

/// Makes connections.
#[derive(Debug)]
pub struct Inside {
    connections: mpsc::Sender<DuplexStream>,
}

/// Takes them.
#[derive(Debug)]
pub(super) struct Entry {
    connections: mpsc::Receiver<DuplexStream>,
}

/// The two sides of the door.
pub(super) fn pair() -> (Inside, Entry) {
    let (send, receive) = mpsc::channel(WAITING);
    let inside = Inside { connections: send };
    let entry = Entry {
        connections: receive,
    };
    (inside, entry)
}

impl Inside {
    /// A connection; one that is made after the end, or past what may wait, is closed at once.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        // Dropped with the error, which closes it.
        let _ = self.connections.try_send(theirs);
        ours
    }
}

impl Listener for Entry {
    type Io = DuplexStream;
    type Addr = &'static str;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(connection) => (connection, "within"),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok("within")
    }
}
