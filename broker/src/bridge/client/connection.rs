//! One connection to a broker of the source: one request at a time.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::properties::{Credentials, Mechanism};
use super::scram::Exchange;
use super::{CONNECT, Properties, RESPOND, SPOKEN, SourceError, tls};
use crate::api::guard;
use crate::env::Env;

/// Largest response that is read; one batch may be as large as a source allows, which is seldom above
/// some megabytes.
const RESPONSE_MAX_BYTES: usize = 100 << 20;
/// What is set aside at once for a response that says it is large.
const READ_AHEAD_BYTES: usize = 16 << 20;
/// Kafka's UNSUPPORTED_VERSION.
const UNSUPPORTED_VERSION: i16 = 35;

/// Bytes both ways, plain or through TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// A connection that is ready for requests.
pub struct Connection {
    env: Env,
    address: String,
    stream: Box<dyn Stream>,
    client_id: StrBytes,
    correlation_id: i32,
    versions: HashMap<i16, ApiVersion>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.address)
    }
}

impl Connection {
    /// Connects, agrees on versions and authenticates.
    pub(super) async fn open(
        env: &Env,
        address: &str,
        properties: &Properties,
    ) -> Result<Self, SourceError> {
        let opened = env.timeout(CONNECT, Self::ready(env, address, properties));
        opened.await.unwrap_or_else(|| {
            Err(SourceError::Unreachable {
                address: address.into(),
                why: "no connection in time".into(),
            })
        })
    }

    async fn ready(env: &Env, address: &str, properties: &Properties) -> Result<Self, SourceError> {
        let stream =
            TcpStream::connect(address)
                .await
                .map_err(|error| SourceError::Unreachable {
                    address: address.into(),
                    why: error.to_string(),
                })?;
        // Small requests that somebody waits for.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = match &properties.tls {
            None => Box::new(stream),
            Some(settings) => tls::connect(stream, address, settings)
                .await
                .map_err(|why| SourceError::Tls {
                    address: address.into(),
                    why,
                })?,
        };
        let mut connection = Self {
            env: env.clone(),
            address: address.into(),
            stream,
            client_id: StrBytes::from_string(properties.client_id.clone()),
            correlation_id: 0,
            versions: HashMap::new(),
        };
        connection.agree().await?;
        if let Some(credentials) = &properties.credentials {
            connection.authenticate(credentials).await?;
        }
        Ok(connection)
    }

    /// Where it goes.
    pub fn address(&self) -> &str {
        &self.address
    }

    async fn agree(&mut self) -> Result<(), SourceError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("trestle-bridge"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let body = self
            .exchange(ApiKey::ApiVersions, 3, &request, RESPOND)
            .await?;
        // Who does not know the version answers in version 0.
        let known = body.get(..2).map(|mut code| code.get_i16()) != Some(UNSUPPORTED_VERSION);
        let response: ApiVersionsResponse = match known {
            true => self.read(ApiKey::ApiVersions, 3, body)?,
            false => {
                let request = ApiVersionsRequest::default();
                let body = self
                    .exchange(ApiKey::ApiVersions, 0, &request, RESPOND)
                    .await?;
                self.read(ApiKey::ApiVersions, 0, body)?
            }
        };
        super::check_code(
            || format!("ApiVersions at {}", self.address),
            response.error_code,
        )?;
        self.versions = response
            .api_keys
            .into_iter()
            .map(|api| (api.api_key, api))
            .collect();
        Ok(())
    }

    /// The version at which `key` is called here.
    pub fn version(&self, key: ApiKey) -> Result<i16, SourceError> {
        let ours = SPOKEN.iter().find(|(spoken, ..)| *spoken == key);
        let (_, low, high) = ours
            .copied()
            .expect("every API that is called is in the table");
        let theirs = self.versions.get(&(key as i16));
        match theirs.map(|theirs| (theirs.min_version, theirs.max_version.min(high))) {
            Some((min, version)) if version >= low.max(min) => Ok(version),
            _ => Err(SourceError::TooOld {
                address: self.address.clone(),
                api: format!("{key:?}"),
                theirs: theirs.map_or("none".into(), |theirs| {
                    format!("{} to {}", theirs.min_version, theirs.max_version)
                }),
                ours: format!("{low} to {high}"),
            }),
        }
    }

    /// Asks, and waits for the answer.
    pub async fn call<R>(&mut self, request: &R) -> Result<R::Response, SourceError>
    where
        R: Request + Sync,
    {
        self.call_waiting(request, Duration::ZERO).await
    }

    /// The same for a request that itself waits for as long as `waits`.
    pub async fn call_waiting<R>(
        &mut self,
        request: &R,
        waits: Duration,
    ) -> Result<R::Response, SourceError>
    where
        R: Request + Sync,
    {
        let key = ApiKey::try_from(R::KEY).map_err(|()| self.malformed("no such API"))?;
        let version = self.version(key)?;
        let body = self
            .exchange(key, version, request, RESPOND + waits)
            .await?;
        self.read(key, version, body)
    }

    fn read<T: Decodable>(
        &self,
        key: ApiKey,
        version: i16,
        mut body: Bytes,
    ) -> Result<T, SourceError> {
        guard::check_response(key, version, &body)
            .map_err(|refusal| self.malformed(format!("{key:?} v{version}: {refusal}")))?;
        T::decode(&mut body, version)
            .map_err(|error| self.malformed(format!("{key:?} v{version}: {error}")))
    }

    fn malformed(&self, why: impl Into<String>) -> SourceError {
        SourceError::Malformed {
            address: self.address.clone(),
            why: why.into(),
        }
    }

    fn ended(&self, error: &std::io::Error) -> SourceError {
        SourceError::Ended {
            address: self.address.clone(),
            why: error.to_string(),
        }
    }

    /// Sends a request and reads what comes back, up to the body.
    async fn exchange(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &(impl Encodable + Sync),
        patience: Duration,
    ) -> Result<Bytes, SourceError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        header
            .encode(&mut frame, key.request_header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(|error| {
                self.malformed(format!("{key:?} v{version} cannot be asked: {error}"))
            })?;
        let size = frame.len() as u32 - 4;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        let env = self.env.clone();
        let silent = SourceError::Silent {
            address: self.address.clone(),
            what: format!("{key:?}"),
        };
        let begun = env.timeout(patience, async {
            let sent = self.stream.write_all(&frame).await;
            sent.map_err(|error| self.ended(&error))?;
            let sent = self.stream.flush().await;
            sent.map_err(|error| self.ended(&error))?;
            let size = self.stream.read_i32().await;
            size.map_err(|error| self.ended(&error))
        });
        let size = begun.await.unwrap_or_else(|| Err(silent.clone()))?;
        let mut body = self.response(size, &silent).await?;
        if body.remaining() < 4 || body.get_i32() != self.correlation_id {
            return Err(self.malformed("the answer to another request"));
        }
        if key.response_header_version(version) >= 1 {
            self.skip_tags(&mut body)?;
        }
        Ok(body)
    }

    /// The rest of a response. A slow line may take its time, as long as something comes.
    async fn response(&mut self, size: i32, silent: &SourceError) -> Result<Bytes, SourceError> {
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= RESPONSE_MAX_BYTES);
        let Some(size) = size else {
            return Err(self.malformed(format!(
                "a response of more than {RESPONSE_MAX_BYTES} bytes"
            )));
        };
        let env = self.env.clone();
        let mut body = BytesMut::with_capacity(size.min(READ_AHEAD_BYTES));
        while body.len() < size {
            let left = size - body.len();
            let mut rest = (&mut self.stream).take(left as u64);
            let read = env.timeout(RESPOND, rest.read_buf(&mut body)).await;
            let read = read.ok_or_else(|| silent.clone())?;
            if read.map_err(|error| self.ended(&error))? == 0 {
                return Err(self.ended(&std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(body.freeze())
    }

    /// The tagged fields of a response header, none of which means anything here.
    fn skip_tags(&self, body: &mut Bytes) -> Result<(), SourceError> {
        let number = |body: &mut Bytes| {
            let (value, rest) =
                guard::uvarint(body).ok_or_else(|| self.malformed("a short header"))?;
            let taken = body.len() - rest.len();
            body.advance(taken);
            Ok(value as usize)
        };
        for _ in 0..number(body)? {
            number(body)?;
            let size = number(body)?;
            if size > body.len() {
                return Err(self.malformed("a short header"));
            }
            body.advance(size);
        }
        Ok(())
    }

    async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), SourceError> {
        let refused = |address: &str, why: String| SourceError::Credentials {
            address: address.into(),
            why,
        };
        let mechanism = credentials.mechanism.name();
        let request =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        let response = self.call(&request).await?;
        if response.error_code != 0 {
            let offered: Vec<&str> = response.mechanisms.iter().map(|name| &**name).collect();
            let why = format!("{mechanism} is not offered, only {}", offered.join(", "));
            return Err(refused(&self.address, why));
        }
        match credentials.mechanism {
            Mechanism::Plain => {
                let message = format!("\0{}\0{}", credentials.user, credentials.password);
                self.step(message.into_bytes()).await?;
            }
            Mechanism::Scram(hash) => {
                let nonce = self.env.uuid().simple().to_string();
                let mut exchange = Exchange::new(hash, credentials, &nonce);
                let first = self.step(exchange.first().into_bytes()).await?;
                let last = exchange
                    .last(&first)
                    .map_err(|why| refused(&self.address, why))?;
                let proof = self.step(last.into_bytes()).await?;
                exchange
                    .check(&proof)
                    .map_err(|why| refused(&self.address, why))?;
            }
        }
        Ok(())
    }

    async fn step(&mut self, message: Vec<u8>) -> Result<Bytes, SourceError> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        let response = self.call(&request).await?;
        match response.error_code {
            0 => Ok(response.auth_bytes),
            code => Err(SourceError::Credentials {
                address: self.address.clone(),
                why: match &response.error_message {
                    Some(message) => message.to_string(),
                    None => super::code_text(code),
                },
            }),
        }
    }
}
