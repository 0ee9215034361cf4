//! What one connection remembers from request to request.

use parking_lot::Mutex;

/// What a client says it is made of (KIP-511).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSoftware {
    /// Such as `librdkafka`.
    pub name: String,
    /// Such as `2.0.2`.
    pub version: String,
}

/// The memory of one connection; gone with it.
#[derive(Debug, Default)]
pub struct Session {
    software: Mutex<Option<ClientSoftware>>,
}

impl Session {
    /// Notes the client's software.
    pub fn set_software(&self, software: ClientSoftware) {
        *self.software.lock() = Some(software);
    }

    /// The client's software, once it has said so.
    pub fn software(&self) -> Option<ClientSoftware> {
        self.software.lock().clone()
    }
}
