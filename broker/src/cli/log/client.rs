//! A client of a broker's HTTP address, or of one within this process: one request a connection, bodies
//! read as they come.

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use trestle::broker::Visit;

/// Longest line of a body: a record as JSON.
const MOST_LINE_BYTES: usize = 64 << 20;

/// The broker that is asked.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ServerArgument {
    /// HTTP address of the broker
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub(in crate::cli) server: String,
}

/// Where requests go.
#[derive(Debug)]
pub(in crate::cli) struct Client<'a> {
    way: Way<'a>,
}

#[derive(Debug)]
enum Way<'a> {
    Address(String),
    Within(&'a Visit),
}

/// A connection, whatever it is made of.
trait Stream: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin> Stream for S {}

impl<'a> Client<'a> {
    /// A client of a store that is open in this process.
    pub(super) fn within(visit: &'a Visit) -> Self {
        Self {
            way: Way::Within(visit),
        }
    }

    /// A client of `HOST:PORT`, also written as a URL.
    pub(in crate::cli) fn new(server: &str) -> anyhow::Result<Self> {
        if server.starts_with("https://") {
            bail!("--server {server}: TLS is not spoken; give HOST:PORT");
        }
        let address = server.strip_prefix("http://").unwrap_or(server);
        let address = address.trim_end_matches('/').to_owned();
        Ok(Self {
            way: Way::Address(address),
        })
    }

    async fn connect(&self) -> anyhow::Result<(Box<dyn Stream>, &str)> {
        match &self.way {
            Way::Within(visit) => Ok((Box::new(visit.connect()), "localhost")),
            Way::Address(address) => {
                let stream = TcpStream::connect(address).await.with_context(|| {
                    format!(
                        "no broker answers at {address}; start one, give its --http address as \
                         --server, or read the store itself with --data"
                    )
                })?;
                Ok((Box::new(stream), address))
            }
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let (stream, address) = self.connect().await?;
        let mut stream = BufReader::new(stream);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: {accept}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let status = line.split_whitespace().nth(1).and_then(|s| s.parse().ok());
        let status: u16 = status.with_context(|| format!("{address} does not speak HTTP"))?;
        let (mut left, mut chunked) = (None, false);
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                left = Some(value.trim().parse().context("the length of the answer")?);
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        let mut answer = Answer {
            stream,
            chunked,
            left: left.unwrap_or(0),
            buffer: Vec::new(),
        };
        if status != 200 {
            let body = answer.all().await?;
            let json: Value = serde_json::from_slice(&body).unwrap_or_default();
            bail!(
                "{}",
                json["message"].as_str().unwrap_or("the request failed")
            );
        }
        Ok(answer)
    }

    /// GET.
    pub(in crate::cli) async fn get(&self, path: &str, accept: &str) -> anyhow::Result<Answer> {
        self.send("GET", path, accept, b"").await
    }

    /// GET of JSON.
    pub(in crate::cli) async fn get_json(&self, path: &str) -> anyhow::Result<Value> {
        let mut answer = self.get(path, "application/json").await?;
        Ok(serde_json::from_slice(&answer.all().await?)?)
    }

    /// DELETE.
    pub(in crate::cli) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let mut answer = self.send("DELETE", path, "application/json", b"").await?;
        answer.all().await?;
        Ok(())
    }

    /// POST of JSON.
    pub(in crate::cli) async fn post_json(
        &self,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let body = body.to_string();
        let mut answer = self
            .send("POST", path, "application/json", body.as_bytes())
            .await?;
        Ok(serde_json::from_slice(&answer.all().await?)?)
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(in crate::cli) struct Answer {
    stream: BufReader<Box<dyn Stream>>,
    chunked: bool,
    /// Bytes still to come, of the chunk or of all.
    left: usize,
    /// What has come and is not returned.
    buffer: Vec<u8>,
}

impl Answer {
    /// Takes in more; false at the end.
    async fn more(&mut self) -> anyhow::Result<bool> {
        if self.left == 0 {
            if !self.chunked {
                return Ok(false);
            }
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            if line.is_empty() {
                bail!("the broker ended the connection");
            }
            self.left = usize::from_str_radix(line.trim_end(), 16).context("a chunk")?;
            if self.left == 0 {
                self.chunked = false;
                return Ok(false);
            }
        }
        let mut part = vec![0; self.left.min(64 << 10)];
        let read = self.stream.read(&mut part).await?;
        if read == 0 {
            bail!("the broker ended the connection");
        }
        self.buffer.extend_from_slice(&part[..read]);
        self.left -= read;
        if self.left == 0 && self.chunked {
            let mut end = [0; 2];
            self.stream.read_exact(&mut end).await?;
        }
        Ok(true)
    }

    /// The rest.
    async fn all(&mut self) -> anyhow::Result<Vec<u8>> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// The next line; `None` at the end.
    pub(in crate::cli) async fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut from = 0;
        loop {
            if let Some(at) = self.buffer[from..].iter().position(|&byte| byte == b'\n') {
                let rest = self.buffer.split_off(from + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(Some(String::from_utf8(line)?));
            }
            from = self.buffer.len();
            if from > MOST_LINE_BYTES {
                bail!("a record of more than {MOST_LINE_BYTES} bytes");
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }
}
