//! Fields of rows as bytes: integers big-endian, texts and byte strings behind a u32 length, lists
//! behind a u32 count.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use uuid::Uuid;

/// Writes a text.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Writes a text or its absence.
pub(super) fn put_maybe(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            out.put_u8(1);
            put_text(out, text);
        }
        None => out.put_u8(0),
    }
}

/// Writes bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

/// Writes the number of items that follow.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).expect("requests are smaller than 4 GiB"));
}

/// Reads fields one after another.
#[derive(Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a key, behind `prefix`.
    pub(super) fn of_key(key: &'a [u8], prefix: &str) -> Result<Self, String> {
        key.strip_prefix(prefix.as_bytes())
            .map(Self)
            .ok_or_else(damaged)
    }

    /// The fields of a value in `format`.
    pub(super) fn of_value(value: &'a [u8], format: u8) -> Result<Self, String> {
        match value {
            [found, rest @ ..] if *found == format => Ok(Self(rest)),
            [found, ..] => Err(format!(
                "has format {found}, this version knows {format}: start the version that wrote it, or a newer one"
            )),
            [] => Err(damaged()),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    pub(super) fn i16(&mut self) -> Result<i16, String> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, String> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, String> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    pub(super) fn flag(&mut self) -> Result<bool, String> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(damaged()),
        }
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, String> {
        Ok(Uuid::from_bytes(self.take()?))
    }

    fn slice(&mut self) -> Result<&'a [u8], String> {
        let len = usize::try_from(self.u32()?).map_err(|_| damaged())?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, String> {
        self.slice().map(Bytes::copy_from_slice)
    }

    pub(super) fn text(&mut self) -> Result<Arc<str>, String> {
        let text = std::str::from_utf8(self.slice()?).map_err(|_| damaged())?;
        Ok(text.into())
    }

    pub(super) fn maybe(&mut self) -> Result<Option<Arc<str>>, String> {
        Ok(match self.flag()? {
            true => Some(self.text()?),
            false => None,
        })
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), String> {
        match self.0 {
            [] => Ok(()),
            _ => Err(damaged()),
        }
    }
}

fn damaged() -> String {
    "is damaged; restore the store from a copy".into()
}
