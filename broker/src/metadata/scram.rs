//! Credentials for SCRAM (RFC 5802), as they are kept: never the password, nor what could stand for it.

use std::fmt;

/// A hash that SCRAM is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramMechanism {
    /// Kafka's number for it, which is stored too.
    pub fn number(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The one with that number.
    pub fn numbered(number: i8) -> Option<Self> {
        [Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|mechanism| mechanism.number() == number)
    }
}

/// What a server keeps of a user's password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// Random bytes that went into it.
    pub salt: Vec<u8>,
    /// Hash of the client's key.
    pub stored_key: Vec<u8>,
    /// The server's key.
    pub server_key: Vec<u8>,
    /// How often it was hashed.
    pub iterations: u32,
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramCredential({} iterations)", self.iterations)
    }
}
