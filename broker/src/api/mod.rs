//! The Kafka APIs: one file each, and the table that lists them.

pub mod context;

use bytes::Bytes;
use futures::future::BoxFuture;

/// What a handler makes of a request.
pub enum Outcome {
    /// The body of the response, in pieces that are written one after another.
    Reply(Vec<Bytes>),
    /// The first stage is done and its order is fixed; the rest may wait while the connection reads
    /// on. Responses still leave in the order of their requests.
    Later(BoxFuture<'static, Outcome>),
    /// No response at all (acks=0).
    Silent,
    /// The connection is closed without an answer; the reason goes to the log.
    Close(String),
}
