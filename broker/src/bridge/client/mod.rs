//! A small Kafka client: what the bridge needs to read another cluster, and nothing that writes to it.
//!
//! Owns the connections to the source and the versions spoken on them. What a source sends passes
//! the same guard as what clients send; sizes are bounded and every wait has a deadline.

mod calls;
mod connection;
mod fetch;
mod properties;
mod scram;
mod tls;

use std::collections::HashMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

pub use calls::{
    Cluster, Place, SourceConfig, SourceGroup, SourceOffset, SourcePartition, SourceTopic,
    by_leader,
};
pub use connection::Connection;
pub use fetch::{Fetched, Fetcher, Limits, Wanted};
pub use properties::{Properties, PropertiesError};

use crate::env::Env;

/// How long a connection may take to be ready for requests.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a response may take, beyond what the request itself waits.
const RESPOND: Duration = Duration::from_secs(30);

/// Why the source did not give what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No connection.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the machine says.
        why: String,
    },
    /// No answer in time.
    #[error("{address} did not answer {what} in time")]
    Silent {
        /// Where.
        address: String,
        /// What was asked.
        what: String,
    },
    /// The connection ended.
    #[error("{address} ended the connection: {why}")]
    Ended {
        /// Where.
        address: String,
        /// What the machine says.
        why: String,
    },
    /// TLS could not be set up.
    #[error("TLS with {address}: {why}")]
    Tls {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// The credentials are not accepted.
    #[error("{address} does not accept the credentials: {why}")]
    Credentials {
        /// Where.
        address: String,
        /// What it says.
        why: String,
    },
    /// It speaks no version of an API that is spoken here.
    #[error(
        "{address} serves {api} in versions {theirs}, {ours} is needed: \
         the oldest source supported is Apache Kafka 0.11"
    )]
    TooOld {
        /// Where.
        address: String,
        /// The API.
        api: String,
        /// What it serves.
        theirs: String,
        /// What is spoken here.
        ours: String,
    },
    /// What it sent is not what the protocol says.
    #[error("{address} sent what is not Kafka's protocol: {why}")]
    Malformed {
        /// Where.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// It answered with an error.
    #[error("{what}: {}", code_text(*code))]
    Code {
        /// What was asked.
        what: String,
        /// Kafka's number of the error.
        code: i16,
    },
}

impl SourceError {
    /// Whether the source says that a right is missing.
    pub fn is_denied(&self) -> bool {
        let denied = [
            ResponseError::TopicAuthorizationFailed,
            ResponseError::GroupAuthorizationFailed,
            ResponseError::ClusterAuthorizationFailed,
        ];
        matches!(self, Self::Code { code, .. } if denied.iter().any(|denied| denied.code() == *code))
    }

    /// Whether the source does not serve the API at all.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::TooOld { .. })
    }
}

/// The name of an error of Kafka.
pub fn code_text(code: i16) -> String {
    match ResponseError::try_from_code(code) {
        Some(error) => format!("{error:?} ({code})"),
        None => format!("error {code}"),
    }
}

/// Turns an error code into an error.
pub fn check_code(what: impl FnOnce() -> String, code: i16) -> Result<(), SourceError> {
    match code {
        0 => Ok(()),
        code => Err(SourceError::Code { what: what(), code }),
    }
}

/// The APIs that are called, with the versions that are spoken.
const SPOKEN: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 4, 12),
    (ApiKey::OffsetFetch, 2, 7),
    (ApiKey::ListGroups, 0, 4),
    (ApiKey::SaslHandshake, 1, 1),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::DescribeAcls, 1, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::DescribeCluster, 0, 1),
    (ApiKey::DescribeLogDirs, 1, 4),
    (ApiKey::SaslAuthenticate, 0, 2),
    (ApiKey::DescribeUserScramCredentials, 0, 0),
    (ApiKey::DescribeProducers, 0, 0),
];

/// Connections to the brokers of one cluster, made as they are needed.
#[derive(Debug)]
pub struct Client {
    env: Env,
    bootstrap: Vec<String>,
    properties: Properties,
    /// Where each broker says it is.
    brokers: HashMap<i32, String>,
    open: HashMap<String, Connection>,
}

impl Client {
    /// A client that begins at one of the addresses `bootstrap` (comma-separated).
    pub fn new(env: Env, bootstrap: &str, properties: Properties) -> Self {
        let bootstrap = bootstrap
            .split(',')
            .map(|address| address.trim().to_owned());
        Self {
            env,
            bootstrap: bootstrap.filter(|address| !address.is_empty()).collect(),
            properties,
            brokers: HashMap::new(),
            open: HashMap::new(),
        }
    }

    /// Remembers where the brokers are.
    pub fn learn(&mut self, brokers: HashMap<i32, String>) {
        self.brokers = brokers;
    }

    /// Where the brokers are.
    pub fn addresses(&self) -> &HashMap<i32, String> {
        &self.brokers
    }

    /// The brokers that are known.
    pub fn brokers(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = self.brokers.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// A connection of one's own to `broker`.
    pub async fn dial(&self, broker: i32) -> Result<Connection, SourceError> {
        let Some(address) = self.brokers.get(&broker) else {
            return Err(SourceError::Unreachable {
                address: format!("broker {broker}"),
                why: "the source does not list it".into(),
            });
        };
        Connection::open(&self.env, address, &self.properties).await
    }

    /// A connection to `broker`; it goes back with [`Client::keep`] unless it failed.
    pub async fn to(&mut self, broker: i32) -> Result<Connection, SourceError> {
        let address = self.brokers.get(&broker);
        match address.and_then(|address| self.open.remove(address)) {
            Some(connection) => Ok(connection),
            None => self.dial(broker).await,
        }
    }

    /// A connection to any broker.
    pub async fn any(&mut self) -> Result<Connection, SourceError> {
        let known: Vec<String> = self
            .bootstrap
            .iter()
            .chain(self.brokers.values())
            .cloned()
            .collect();
        if let Some(connection) = known.iter().find_map(|address| self.open.remove(address)) {
            return Ok(connection);
        }
        let mut last = SourceError::Unreachable {
            address: "the source".into(),
            why: "no address was given".into(),
        };
        for address in &known {
            match Connection::open(&self.env, address, &self.properties).await {
                Ok(connection) => return Ok(connection),
                // Another address has the same credentials.
                Err(error @ (SourceError::Credentials { .. } | SourceError::Tls { .. })) => {
                    return Err(error);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Keeps a connection for the next call.
    pub fn keep(&mut self, connection: Connection) {
        self.open
            .insert(connection.address().to_owned(), connection);
    }

    /// Drops all connections.
    pub fn forget(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests;
