//! One request frame, every byte of its header at the test's choice.

use crate::wire::Wire;

/// A request: size, header, body. Built with a header v1 unless [`Frame::flexible`].
#[derive(Clone, Debug)]
pub struct Frame {
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    client_id: Option<String>,
    tags: Option<Vec<(u32, Vec<u8>)>>,
    body: Vec<u8>,
}

impl Frame {
    /// An empty request of this API and version from client `raw`, correlation id 1.
    pub fn new(api_key: i16, api_version: i16) -> Self {
        Self {
            api_key,
            api_version,
            correlation_id: 1,
            client_id: Some("raw".to_owned()),
            tags: None,
            body: Vec::new(),
        }
    }

    /// Sets the correlation id.
    pub fn correlation_id(mut self, id: i32) -> Self {
        self.correlation_id = id;
        self
    }

    /// Sets the client id; `None` is sent as null.
    pub fn client_id(mut self, id: Option<&str>) -> Self {
        self.client_id = id.map(str::to_owned);
        self
    }

    /// Header v2: these tagged fields follow the client id.
    pub fn flexible(mut self, tags: &[(u32, &[u8])]) -> Self {
        self.tags = Some(
            tags.iter()
                .map(|(tag, value)| (*tag, value.to_vec()))
                .collect(),
        );
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The bytes, with the size in front.
    pub fn encode(&self) -> Vec<u8> {
        let mut wire = Wire::new()
            .i16(self.api_key)
            .i16(self.api_version)
            .i32(self.correlation_id)
            .string(self.client_id.as_deref());
        if let Some(tags) = &self.tags {
            let tags: Vec<(u32, &[u8])> =
                tags.iter().map(|(tag, value)| (*tag, &value[..])).collect();
            wire = wire.tags(&tags);
        }
        let wire = wire.raw(&self.body);
        let size = i32::try_from(wire.0.len()).expect("a frame below 2 GiB");
        Wire::new().i32(size).raw(&wire.0).0
    }
}

impl AsRef<[u8]> for Wire {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
