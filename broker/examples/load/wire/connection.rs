//! A connection to a broker.

use anyhow::{Context, Result, bail};
use bytes::Buf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Frame;

/// One connection; requests go out in order and answers come back in order.
pub(crate) struct Connection {
    sender: Sender,
    receiver: Receiver,
}

/// The half of a connection that requests go out by.
pub(crate) struct Sender {
    stream: OwnedWriteHalf,
    sent: i32,
}

/// The half of a connection that answers come back by.
pub(crate) struct Receiver {
    stream: OwnedReadHalf,
    answer: Vec<u8>,
    received: i32,
}

impl Sender {
    pub(crate) async fn send(&mut self, frame: &mut Frame) -> Result<()> {
        self.sent = self.sent.wrapping_add(1);
        frame.set_correlation_id(self.sent);
        Ok(self.stream.write_all(&frame.0).await?)
    }
}

impl Receiver {
    /// The body of the next answer.
    pub(crate) async fn receive(&mut self) -> Result<&[u8]> {
        let mut head = [0; 8];
        self.stream
            .read_exact(&mut head)
            .await
            .context("the broker closed the connection")?;
        let size = (&head[..4]).get_i32() as usize;
        let correlation_id = (&head[4..]).get_i32();
        self.received = self.received.wrapping_add(1);
        if correlation_id != self.received {
            bail!(
                "answer {correlation_id} came in the place of {}",
                self.received
            );
        }
        self.answer.resize(size - 4, 0);
        self.stream.read_exact(&mut self.answer).await?;
        Ok(&self.answer)
    }
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Self {
            sender: Sender {
                stream: write,
                sent: 0,
            },
            receiver: Receiver {
                stream: read,
                answer: Vec::new(),
                received: 0,
            },
        })
    }

    /// Both halves, to be used at the same time.
    pub(crate) fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    pub(crate) async fn send(&mut self, frame: &mut Frame) -> Result<()> {
        self.sender.send(frame).await
    }

    /// The body of the next answer.
    pub(crate) async fn receive(&mut self) -> Result<&[u8]> {
        self.receiver.receive().await
    }

    pub(crate) async fn call(&mut self, frame: &mut Frame) -> Result<&[u8]> {
        self.send(frame).await?;
        self.receive().await
    }
}
