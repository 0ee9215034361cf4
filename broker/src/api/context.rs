//! What a handler receives.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::session::Session;
use crate::broker::Rooms;
use crate::metadata::Image;

/// One request's surroundings.
#[derive(Clone, Debug)]
pub struct Context {
    /// The rooms behind the doors.
    pub rooms: Arc<Rooms>,
    /// Cluster metadata as it was when the request arrived.
    pub image: Arc<Image>,
    /// Version of the API that the client chose; within the table's range.
    pub version: i16,
    /// The client's name for itself; empty if it gave none.
    pub client_id: Arc<str>,
    /// Host and port that this client is told to reach this broker at.
    pub advertised: Arc<(String, u16)>,
    /// The client's address.
    pub peer: SocketAddr,
    /// What the connection remembers.
    pub session: Arc<Session>,
    /// Signalled when another request waits behind this one: a handler that waits should answer.
    pub hurry: Arc<Hurry>,
}

/// Says whether a waiting request holds up the one behind it on its connection.
#[derive(Debug, Default)]
pub struct Hurry {
    asked: std::sync::atomic::AtomicBool,
    notify: Notify,
}

impl Hurry {
    /// For the next request.
    pub(crate) fn reset(&mut self) {
        *self.asked.get_mut() = false;
    }

    /// Another request has been read behind this one.
    pub fn ask(&self) {
        self.asked.store(true, std::sync::atomic::Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Returns once [`Hurry::ask`] has been called.
    pub async fn asked(&self) {
        loop {
            let notified = self.notify.notified();
            if self.asked.load(std::sync::atomic::Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}
