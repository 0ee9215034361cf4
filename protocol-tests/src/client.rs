//! A blocking client that shows every byte: one TCP connection, requests as typed bodies or raw
//! frames, answers in the order the broker sends them. It retries nothing and hides nothing.

use std::io::{ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::wait::DEADLINE;

/// A connection to the broker.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    last_correlation_id: i32,
}

/// A request that was sent and whose answer is yet to come.
#[derive(Debug)]
#[must_use = "an answer is on its way"]
pub struct Pending<R> {
    version: i16,
    correlation_id: i32,
    request: PhantomData<R>,
}

impl Client {
    /// Connects to `HOST:PORT`; panics when nobody listens.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self {
            stream,
            last_correlation_id: 0,
        }
    }

    /// Sends a request and waits for its answer, which must decode with no bytes left over.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let pending = self.send(version, request);
        self.receive(pending)
    }

    /// As [`Client::call`], `None` when the broker closes the connection instead of answering.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let pending = self.send(version, request);
        self.try_receive(pending)
    }

    /// Sends a request without waiting, so that several can be under way.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Pending<R> {
        self.last_correlation_id += 1;
        let correlation_id = self.last_correlation_id;
        self.send_bytes(&encode(version, correlation_id, request));
        Pending {
            version,
            correlation_id,
            request: PhantomData,
        }
    }

    /// The answer to a request; panics when another one's comes first, or the connection closes.
    pub fn receive<R: Request>(&mut self, pending: Pending<R>) -> R::Response {
        let version = pending.version;
        self.try_receive(pending).unwrap_or_else(|| {
            panic!(
                "the broker closed the connection instead of answering API {} v{version}",
                R::KEY
            )
        })
    }

    /// As [`Client::receive`], `None` when the broker closes the connection instead.
    pub fn try_receive<R: Request>(&mut self, pending: Pending<R>) -> Option<R::Response> {
        let frame = self.next_frame()?;
        let (correlation_id, response) = decode::<R>(pending.version, frame);
        assert_eq!(
            correlation_id, pending.correlation_id,
            "answers must come in the order of their requests"
        );
        Some(response)
    }

    /// Writes bytes as they are. A connection that the broker has closed shows in the next read.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if !is_close(error.kind()) => panic!("sending failed: {error}"),
            _ => {}
        }
    }

    /// The next frame without its size, `None` when the broker closed the connection.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        self.read_frame(DEADLINE)
            .unwrap_or_else(|| panic!("no answer within {DEADLINE:?}"))
    }

    /// Panics unless the broker closes the connection without sending another byte.
    pub fn assert_closed(&mut self) {
        if let Some(frame) = self.next_frame() {
            panic!("expected a close, got {} bytes: {frame:02x?}", frame.len());
        }
    }

    /// Panics if the broker sends anything, or closes, within the time.
    pub fn assert_silent(&mut self, time: Duration) {
        if let Some(heard) = self.read_frame(time) {
            panic!("expected silence, got {heard:02x?}");
        }
    }

    /// Says that nothing more will be sent; the broker may still answer.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Another handle on the same connection, so that one thread sends while another receives.
    pub fn split(&self) -> Self {
        Self {
            stream: self.stream.try_clone().expect("a second handle"),
            last_correlation_id: self.last_correlation_id,
        }
    }

    /// `None`: nothing within the time. `Some(None)`: closed.
    fn read_frame(&mut self, time: Duration) -> Option<Option<Bytes>> {
        self.stream
            .set_read_timeout(Some(time))
            .expect("a read timeout");
        let mut size = [0; 4];
        match self.stream.read_exact(&mut size) {
            Ok(()) => {}
            Err(error) if is_close(error.kind()) => return Some(None),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return None;
            }
            Err(error) => panic!("receiving failed: {error}"),
        }
        let size = i32::from_be_bytes(size);
        let size = usize::try_from(size)
            .unwrap_or_else(|_| panic!("the broker sent a frame of size {size}"));
        self.stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a read timeout");
        let mut frame = vec![0; size];
        match self.stream.read_exact(&mut frame) {
            Ok(()) => Some(Some(Bytes::from(frame))),
            Err(error) if is_close(error.kind()) => Some(None),
            Err(error) => panic!("a frame of {size} bytes ended early: {error}"),
        }
    }
}

fn is_close(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

/// A whole request frame, size in front.
pub fn encode<R: Request>(version: i16, correlation_id: i32, request: &R) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("protocol-tests")));
    let mut bytes = BytesMut::from(&[0; 4][..]);
    header
        .encode(&mut bytes, R::header_version(version))
        .unwrap_or_else(|error| panic!("header of API {} v{version}: {error}", R::KEY));
    request
        .encode(&mut bytes, version)
        .unwrap_or_else(|error| panic!("request of API {} v{version}: {error}", R::KEY));
    let size = bytes.len() as i32 - 4;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes.to_vec()
}

/// An answer's correlation id and body; panics unless every byte is accounted for.
pub fn decode<R: Request>(version: i16, frame: Bytes) -> (i32, R::Response) {
    let mut rest = frame.clone();
    let header = ResponseHeader::decode(&mut rest, R::Response::header_version(version))
        .unwrap_or_else(|error| {
            panic!("header of the answer to API {} v{version}: {error}", R::KEY)
        });
    let response = R::Response::decode(&mut rest, version).unwrap_or_else(|error| {
        panic!(
            "the answer to API {} v{version} does not decode: {error}\n{frame:02x?}",
            R::KEY
        )
    });
    assert!(
        !rest.has_remaining(),
        "the answer to API {} v{version} has {} bytes left over: {rest:02x?}",
        R::KEY,
        rest.remaining()
    );
    (header.correlation_id, response)
}
