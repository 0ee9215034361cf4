//! The client's side of SCRAM (RFC 5802): proves that it knows the password without saying it, and
//! that the server does too.

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::num::NonZeroU32;

use super::properties::Credentials;

/// Most rounds that a server may ask for: more would hold a thread for seconds.
const MOST_ITERATIONS: u32 = 1_000_000;
/// Fewest; Kafka's own limit.
const LEAST_ITERATIONS: u32 = 4096;

/// The hash that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), text)
            .as_ref()
            .to_vec()
    }

    fn digest(self, text: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, text).as_ref().to_vec()
    }

    fn salted(self, password: &str, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let (algorithm, length) = match self {
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            Self::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        };
        let mut out = vec![0; length];
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut out);
        out
    }
}

/// One exchange of messages.
pub(super) struct Exchange<'a> {
    hash: Hash,
    credentials: &'a Credentials,
    nonce: &'a str,
    /// What the server has to send at the end.
    signature: Vec<u8>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(hash: Hash, credentials: &'a Credentials, nonce: &'a str) -> Self {
        Self {
            hash,
            credentials,
            nonce,
            signature: Vec::new(),
        }
    }

    fn bare(&self) -> String {
        let user = self
            .credentials
            .user
            .replace('=', "=3D")
            .replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.bare())
    }

    /// The second message, after the server's first.
    pub(super) fn last(&mut self, server_first: &[u8]) -> Result<String, String> {
        let server_first = std::str::from_utf8(server_first).map_err(|_| "SCRAM: not text")?;
        let field = |name: &str| {
            let found = server_first
                .split(',')
                .find_map(|field| field.strip_prefix(name));
            found.ok_or_else(|| format!("SCRAM: the server sent no {name}"))
        };
        let nonce = field("r=")?;
        if !nonce.starts_with(self.nonce) || nonce.len() == self.nonce.len() {
            return Err("SCRAM: the server's nonce does not go on from ours".into());
        }
        let salt = STANDARD
            .decode(field("s=")?)
            .map_err(|_| "SCRAM: a bad salt")?;
        let iterations: u32 = field("i=")?.parse().map_err(|_| "SCRAM: bad iterations")?;
        if !(LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations) {
            return Err(format!("SCRAM: {iterations} iterations are out of bounds"));
        }
        let iterations = NonZeroU32::new(iterations).ok_or("SCRAM: no iterations")?;
        let hash = self.hash;
        let salted = hash.salted(&self.credentials.password, &salt, iterations);
        let client_key = hash.hmac(&salted, b"Client Key");
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.bare());
        let stored_key = hash.digest(&client_key);
        let signature = hash.hmac(&stored_key, message.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let server_key = hash.hmac(&salted, b"Server Key");
        self.signature = hash.hmac(&server_key, message.as_bytes());
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Whether the server knows the password too.
    pub(super) fn check(&self, server_last: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(server_last).map_err(|_| "SCRAM: not text")?;
        if let Some(error) = text.strip_prefix("e=") {
            return Err(format!("SCRAM: {error}"));
        }
        let verifier = text.split(',').find_map(|field| field.strip_prefix("v="));
        let verifier = verifier
            .and_then(|text| STANDARD.decode(text).ok())
            .unwrap_or_default();
        constant_time::verify_slices_are_equal(&verifier, &self.signature)
            .map_err(|_| "SCRAM: the server does not know the password".into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::properties::Mechanism;
    use super::*;

    // The exchange of RFC 7677.
    #[test]
    fn the_published_exchange() {
        let credentials = Credentials {
            mechanism: Mechanism::Scram(Hash::Sha256),
            user: "user".into(),
            password: "pencil".into(),
        };
        let mut exchange = Exchange::new(Hash::Sha256, &credentials, "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(exchange.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let nonce = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let first = format!("{nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = exchange.last(first.as_bytes()).unwrap();
        assert_eq!(
            last,
            format!("c=biws,{nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        );
        let proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(exchange.check(proof), Ok(()));
        assert!(exchange.check(b"v=AAAA").is_err());
        assert!(exchange.check(b"e=other-error").is_err());
    }

    #[test]
    fn a_server_that_cheats_is_refused() {
        let credentials = Credentials {
            mechanism: Mechanism::Scram(Hash::Sha512),
            user: "a,b=c".into(),
            password: "x".into(),
        };
        let mut exchange = Exchange::new(Hash::Sha512, &credentials, "mine");
        assert_eq!(exchange.first(), "n,,n=a=2Cb=3Dc,r=mine");
        for first in [
            "r=other,s=AAAA,i=4096",
            "r=mine,s=AAAA,i=4096",
            "r=mineX,s=AAAA,i=1",
            "r=mineX,s=AAAA,i=4000000000",
            "r=mineX,i=4096",
            "r=mineX,s=!,i=4096",
        ] {
            assert!(exchange.last(first.as_bytes()).is_err(), "{first}");
        }
    }
}
