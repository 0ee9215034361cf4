//! The messages of the API, in both of their forms: JSON, where bytes are base64 and names are camel
//! case, and protocol buffers. The numbers of fields below are those of OpenData Log, and ours after.
//!
//! ```text
//! AppendRequest    records=1 await_durable=2
//! Record           key=1 value=2 | timestamp=3 record_key=4 headers=5
//! Header           key=1 value=2
//! AppendResponse   status=1 records_appended=2 start_sequence=3
//! ScanResponse     status=1 key=2 values=3 next_sequence=4 | next_offset=5
//! Value            sequence=1 value=2 | offset=3 timestamp=4 record_key=5 headers=6 key=7
//! KeysResponse     status=1 keys=2 | continuation=3
//! Key              key=1
//! SegmentsResponse status=1 segments=2
//! Segment          id=1 start_seq=2 start_time_ms=3
//! CountResponse    status=1 count=2
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::error::ApiError;
use super::wire::{self, Field, put_bytes, put_number};
use trestle_storage::Segment;

const SUCCESS: &str = "success";

/// Headers of a record.
pub(super) type Headers = Vec<(String, Option<Bytes>)>;

/// What an append asks for.
#[derive(Debug, Default)]
pub(super) struct AppendRequest {
    pub(super) records: Vec<NewRecord>,
    pub(super) await_durable: bool,
}

/// A record to append.
#[derive(Debug, Default)]
pub(super) struct NewRecord {
    /// Of the log.
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(super) timestamp: Option<i64>,
    pub(super) record_key: Option<Bytes>,
    pub(super) headers: Headers,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonAppend {
    records: Vec<JsonRecord>,
    #[serde(default)]
    await_durable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRecord {
    key: Option<String>,
    value: Option<String>,
    timestamp: Option<i64>,
    record_key: Option<String>,
    #[serde(default)]
    headers: Vec<JsonHeader>,
}

#[derive(Deserialize)]
struct JsonHeader {
    key: String,
    value: Option<String>,
}

impl AppendRequest {
    pub(super) fn from_json(body: &[u8]) -> Result<Self, ApiError> {
        let request: JsonAppend = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(format!("Invalid JSON: {error}")))?;
        let mut records = Vec::with_capacity(request.records.len());
        for (at, record) in request.records.into_iter().enumerate() {
            let decode = |name: &str, text: Option<String>| match text {
                None => Ok(None),
                Some(text) => match STANDARD.decode(text) {
                    Ok(bytes) => Ok(Some(Bytes::from(bytes))),
                    Err(error) => Err(ApiError::invalid(format!(
                        "Invalid JSON: record[{at}]: {name} is not base64: {error}"
                    ))),
                },
            };
            let headers = record.headers.into_iter();
            let headers = headers
                .map(|header| Ok((header.key, decode("a header", header.value)?)))
                .collect::<Result<_, ApiError>>()?;
            records.push(NewRecord {
                key: required(at, "key", decode("key", record.key)?)?,
                value: required(at, "value", decode("value", record.value)?)?,
                timestamp: record.timestamp,
                record_key: decode("recordKey", record.record_key)?,
                headers,
            });
        }
        Ok(Self {
            records,
            await_durable: request.await_durable,
        })
    }

    pub(super) fn from_protobuf(body: Bytes) -> Result<Self, ApiError> {
        let malformed = || ApiError::invalid("Invalid protobuf: the body is not an AppendRequest");
        let mut request = Self::default();
        for (number, field) in wire::fields(body).ok_or_else(malformed)? {
            match (number, field) {
                (1, Field::Bytes(record)) => {
                    let at = request.records.len();
                    request.records.push(record_from_protobuf(at, record)?);
                }
                (2, Field::Number(flag)) => request.await_durable = flag != 0,
                (1 | 2, _) => return Err(malformed()),
                _ => {}
            }
        }
        Ok(request)
    }
}

fn record_from_protobuf(at: usize, bytes: Bytes) -> Result<NewRecord, ApiError> {
    let malformed = || ApiError::invalid(format!("Invalid protobuf: record[{at}]"));
    let mut record = NewRecord::default();
    let (mut key, mut value) = (None, None);
    for (number, field) in wire::fields(bytes).ok_or_else(malformed)? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => key = Some(bytes),
            (2, Field::Bytes(bytes)) => value = Some(bytes),
            (3, Field::Number(timestamp)) => record.timestamp = Some(timestamp as i64),
            (4, Field::Bytes(bytes)) => record.record_key = Some(bytes),
            (5, Field::Bytes(bytes)) => {
                let (mut name, mut value) = (Bytes::new(), None);
                for (number, field) in wire::fields(bytes).ok_or_else(malformed)? {
                    match (number, field) {
                        (1, Field::Bytes(bytes)) => name = bytes,
                        (2, Field::Bytes(bytes)) => value = Some(bytes),
                        _ => {}
                    }
                }
                let name = String::from_utf8(name.into()).map_err(|_| malformed())?;
                record.headers.push((name, value));
            }
            (1..=5, _) => return Err(malformed()),
            _ => {}
        }
    }
    record.key = required(at, "key", key)?;
    record.value = required(at, "value", value)?;
    Ok(record)
}

fn required(at: usize, name: &str, value: Option<Bytes>) -> Result<Bytes, ApiError> {
    value.ok_or_else(|| ApiError::invalid(format!("record[{at}]: {name} is required")))
}

/// A response in either form.
pub(super) trait Message {
    fn json(&self) -> Json;
    fn protobuf(&self) -> Vec<u8>;
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn success() -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, SUCCESS.as_bytes());
    out
}

/// Answers an append.
#[derive(Debug)]
pub(super) struct AppendResponse {
    pub(super) records_appended: usize,
    pub(super) start_sequence: u64,
}

impl Message for AppendResponse {
    fn json(&self) -> Json {
        json!({
            "status": SUCCESS,
            "recordsAppended": self.records_appended,
            "startSequence": self.start_sequence,
        })
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut out = success();
        put_number(&mut out, 2, self.records_appended as u64);
        put_number(&mut out, 3, self.start_sequence);
        out
    }
}

/// A record as it is returned.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) sequence: u64,
    pub(super) value: Option<Bytes>,
    pub(super) offset: u64,
    pub(super) timestamp: Option<i64>,
    pub(super) record_key: Option<Bytes>,
    pub(super) headers: Headers,
    /// Of its log, where there is more than one.
    pub(super) key: Option<Bytes>,
}

impl Value {
    /// Bytes that count towards a limit.
    pub(super) fn size(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len)
    }

    pub(super) fn json(&self) -> Json {
        let mut json = json!({
            "sequence": self.sequence,
            "value": self.value.as_ref().map(|value| base64(value)),
            "offset": self.offset,
        });
        let Some(fields) = json.as_object_mut() else {
            return json;
        };
        if let Some(timestamp) = self.timestamp {
            fields.insert("timestamp".into(), timestamp.into());
        }
        if let Some(key) = &self.record_key {
            fields.insert("recordKey".into(), base64(key).into());
        }
        if !self.headers.is_empty() {
            let headers = self.headers.iter().map(|(name, value)| {
                json!({ "key": name, "value": value.as_ref().map(|value| base64(value)) })
            });
            fields.insert("headers".into(), headers.collect());
        }
        if let Some(key) = &self.key {
            fields.insert("key".into(), base64(key).into());
        }
        json
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, 1, self.sequence);
        if let Some(value) = &self.value {
            put_bytes(&mut out, 2, value);
        }
        put_number(&mut out, 3, self.offset);
        put_number(&mut out, 4, self.timestamp.unwrap_or(0) as u64);
        if let Some(key) = &self.record_key {
            put_bytes(&mut out, 5, key);
        }
        for (name, value) in &self.headers {
            let mut header = Vec::new();
            put_bytes(&mut header, 1, name.as_bytes());
            if let Some(value) = value {
                put_bytes(&mut header, 2, value);
            }
            put_bytes(&mut out, 6, &header);
        }
        if let Some(key) = &self.key {
            put_bytes(&mut out, 7, key);
        }
        out
    }
}

/// Answers a scan.
#[derive(Debug)]
pub(super) struct ScanResponse {
    /// What was asked for; `None` for a scan of many keys.
    pub(super) key: Option<Bytes>,
    pub(super) values: Vec<Value>,
    pub(super) next_sequence: u64,
    pub(super) next_offset: Option<u64>,
}

impl Message for ScanResponse {
    fn json(&self) -> Json {
        let mut json = json!({
            "status": SUCCESS,
            "values": self.values.iter().map(Value::json).collect::<Vec<_>>(),
            "nextSequence": self.next_sequence,
        });
        if let Some(fields) = json.as_object_mut() {
            if let Some(key) = &self.key {
                fields.insert("key".into(), base64(key).into());
            }
            if let Some(offset) = self.next_offset {
                fields.insert("nextOffset".into(), offset.into());
            }
        }
        json
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut out = success();
        if let Some(key) = &self.key {
            put_bytes(&mut out, 2, key);
        }
        for value in &self.values {
            put_bytes(&mut out, 3, &value.protobuf());
        }
        put_number(&mut out, 4, self.next_sequence);
        put_number(&mut out, 5, self.next_offset.unwrap_or(0));
        out
    }
}

/// Answers a listing of keys.
#[derive(Debug)]
pub(super) struct KeysResponse {
    pub(super) keys: Vec<Bytes>,
    /// Given when there are more.
    pub(super) continuation: Option<String>,
}

impl Message for KeysResponse {
    fn json(&self) -> Json {
        let keys = self.keys.iter().map(|key| json!({ "key": base64(key) }));
        let mut json = json!({ "status": SUCCESS, "keys": keys.collect::<Vec<_>>() });
        if let (Some(token), Some(fields)) = (&self.continuation, json.as_object_mut()) {
            fields.insert("continuation".into(), token.as_str().into());
        }
        json
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut out = success();
        for key in &self.keys {
            let mut wrapped = Vec::new();
            put_bytes(&mut wrapped, 1, key);
            put_bytes(&mut out, 2, &wrapped);
        }
        if let Some(token) = &self.continuation {
            put_bytes(&mut out, 3, token.as_bytes());
        }
        out
    }
}

/// Answers a listing of segments.
#[derive(Debug)]
pub(super) struct SegmentsResponse(pub(super) Vec<Segment>);

impl Message for SegmentsResponse {
    fn json(&self) -> Json {
        let segments = self.0.iter().map(|segment| {
            json!({
                "id": segment.id,
                "startSeq": segment.start_seq,
                "startTimeMs": segment.start_time_ms,
            })
        });
        json!({ "status": SUCCESS, "segments": segments.collect::<Vec<_>>() })
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut out = success();
        for segment in &self.0 {
            let mut inner = Vec::new();
            put_number(&mut inner, 1, segment.id.into());
            put_number(&mut inner, 2, segment.start_seq);
            put_number(&mut inner, 3, segment.start_time_ms as u64);
            put_bytes(&mut out, 2, &inner);
        }
        out
    }
}

/// Answers a count.
#[derive(Debug)]
pub(super) struct CountResponse(pub(super) u64);

impl Message for CountResponse {
    fn json(&self) -> Json {
        json!({ "status": SUCCESS, "count": self.0 })
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut out = success();
        put_number(&mut out, 2, self.0);
        out
    }
}
