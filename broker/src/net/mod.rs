//! The TCP door: listeners, connections, frames.
//!
//! `listener` accepts, `connection` serves one client, `input` and `output` are its two halves,
//! `frame` knows the bytes, and `door` holds what all connections share: the budget, the limits, and
//! the list by which they are watched. What a request means is no concern of this room: it finds its
//! line in the table of [`crate::api`] and runs it.

mod connection;
mod door;
mod frame;
mod input;
mod listener;
mod output;
#[cfg(test)]
mod tests;

pub use frame::probe;
pub use listener::{Bound, open};

/// Name of the setting that bounds requests without records.
const PLAIN_REQUEST_MAX: &str = "trestle.plain.request.max.bytes";
