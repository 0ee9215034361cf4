//! Reading and writing the primitive types of the protocol by hand, for tests that are about bytes.
//! Reads panic when the bytes end early: the message under test is then wrong.

use bytes::{Buf, Bytes};

/// Bytes under construction, in the protocol's own types.
#[derive(Clone, Debug, Default)]
pub struct Wire(pub Vec<u8>);

impl Wire {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// INT8.
    pub fn i8(self, value: i8) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// INT16.
    pub fn i16(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// INT32.
    pub fn i32(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// INT64.
    pub fn i64(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// UNSIGNED_VARINT.
    pub fn uvarint(mut self, mut value: u32) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// VARINT and VARLONG: zigzag, as in records.
    pub fn varint(mut self, value: i64) -> Self {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            self.0.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        self.0.push(zigzag as u8);
        self
    }

    /// NULLABLE_STRING: an INT16 length, -1 for none.
    pub fn string(self, value: Option<&str>) -> Self {
        match value {
            None => self.i16(-1),
            Some(text) => {
                let length = i16::try_from(text.len()).expect("a short string");
                self.i16(length).raw(text.as_bytes())
            }
        }
    }

    /// COMPACT_NULLABLE_STRING: length + 1, 0 for none.
    pub fn compact_string(self, value: Option<&str>) -> Self {
        match value {
            None => self.uvarint(0),
            Some(text) => self.uvarint(text.len() as u32 + 1).raw(text.as_bytes()),
        }
    }

    /// A tag buffer holding the given fields; tags must ascend.
    pub fn tags(mut self, fields: &[(u32, &[u8])]) -> Self {
        self = self.uvarint(fields.len() as u32);
        for (tag, value) in fields {
            self = self.uvarint(*tag).uvarint(value.len() as u32).raw(value);
        }
        self
    }
}

/// Reads a zigzag VARINT or VARLONG off the front.
pub(crate) fn get_varint(bytes: &mut Bytes) -> i64 {
    let mut zigzag = 0u64;
    for shift in (0..).step_by(7) {
        let byte = bytes.get_u8();
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}
