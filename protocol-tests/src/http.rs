//! A small HTTP client: one request a connection, every byte of the answer at hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::wait::DEADLINE;

/// Where to send requests.
#[derive(Clone, Debug)]
pub struct Http {
    address: String,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The body of a request that went well, as JSON.
    pub fn ok(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, 200, "{text}");
        self.json()
    }

    /// The message of an error with this status; errors are always JSON.
    pub fn error(&self, status: u16) -> String {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        let json = self.json();
        assert_eq!(json["status"], "error", "{text}");
        json["message"].as_str().expect("a message").to_owned()
    }
}

impl Http {
    /// A client of `address`, `HOST:PORT`.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
        }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and leaves its answer to be read.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout for reads");
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream
            .write_all(head.as_bytes())
            .expect("the request's head");
        // A server that refuses early may have closed its half.
        let _ = stream.write_all(body);
        BufReader::new(stream)
    }

    /// Sends a request and reads its answer.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut stream = self.send(method, path, headers, body);
        let (status, headers) = read_head(&mut stream);
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = read_chunk(&mut stream) {
                response.body.extend(chunk);
            }
        } else if method != "HEAD" {
            let length = response.header("content-length").expect("a length");
            let length: usize = length.parse().expect("a number");
            response.body.resize(length, 0);
            stream.read_exact(&mut response.body).expect("the body");
        }
        response
    }

    /// GET.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, json: &Value) -> Response {
        let headers = [("Content-Type", "application/protobuf+json")];
        self.request("POST", path, &headers, json.to_string().as_bytes())
    }

    /// Appends (key, value) pairs and waits until they are durable.
    pub fn append(&self, records: &[(&str, &str)]) -> Response {
        let records = records
            .iter()
            .map(|(key, value)| serde_json::json!({ "key": base64(key), "value": base64(value) }));
        let records: Value = records.collect();
        let body = serde_json::json!({ "records": records, "awaitDurable": true });
        self.post("/api/v1/log/append", &body)
    }
}

/// Status and headers of an answer.
pub fn read_head(stream: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a status line");
    let status = line.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    let status = status.unwrap_or_else(|| panic!("a status in {line:?}"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a header");
        let line = line.trim_end();
        if line.is_empty() {
            return (status, headers);
        }
        let (name, value) = line.split_once(':').expect("a header with a colon");
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// The next chunk of a chunked body; `None` at its end.
pub fn read_chunk(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line).expect("the size of a chunk");
    let size = usize::from_str_radix(line.trim_end(), 16).expect("a hexadecimal size");
    let mut chunk = vec![0; size + 2];
    stream.read_exact(&mut chunk).expect("a chunk");
    chunk.truncate(size);
    (size > 0).then_some(chunk)
}

/// Standard base64.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a JSON string of base64.
pub fn decoded(json: &Value) -> Vec<u8> {
    let text = json.as_str().expect("a string");
    STANDARD.decode(text).expect("base64")
}
