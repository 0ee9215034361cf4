//! The primitive encodings that row keys are made of.

use bytes::{BufMut, Bytes, BytesMut};

use super::{PREFIX_LEN, SEGMENT_PREFIX_LEN, SUBSYSTEM, SUFFIX, VERSION, tag};
use crate::{Error, ErrorKind, Result};

/// Ends an escaped key.
const TERMINATOR: u8 = 0x00;
/// Precedes an escaped byte.
const ESCAPE: u8 = 0x01;

/// The key of a log, as callers know it and as it stands in rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogKey {
    plain: Bytes,
    /// Escaped and terminated.
    stored: Bytes,
}

impl LogKey {
    /// Longest key of a log in bytes.
    pub(crate) const MAX_LEN: usize = 1024;

    pub(crate) fn new(plain: Bytes) -> Result<Self> {
        if plain.is_empty() || plain.len() > Self::MAX_LEN {
            let problem = format!(
                "a log key must have 1 to {} bytes, this one has {}",
                Self::MAX_LEN,
                plain.len()
            );
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        let mut stored = BytesMut::with_capacity(plain.len() + 1);
        escape_into(&mut stored, &plain);
        stored.put_u8(TERMINATOR);
        Ok(Self {
            plain,
            stored: stored.freeze(),
        })
    }

    /// The key that stands in rows as `stored`; `None` if that is no key's.
    pub(crate) fn of_stored(stored: &[u8]) -> Option<Self> {
        let mut rest = stored;
        let plain = take_terminated(&mut rest)?;
        (rest.is_empty() && !plain.is_empty()).then(|| Self {
            plain,
            stored: Bytes::copy_from_slice(stored),
        })
    }

    pub(crate) fn plain(&self) -> &Bytes {
        &self.plain
    }

    pub(crate) fn stored(&self) -> &Bytes {
        &self.stored
    }
}

/// Appends `plain` so that no byte of it reads as the terminator; keeps the order of keys.
pub(crate) fn escape_into(out: &mut BytesMut, plain: &[u8]) {
    for &byte in plain {
        match byte {
            TERMINATOR => out.put_slice(&[ESCAPE, 1]),
            ESCAPE => out.put_slice(&[ESCAPE, 2]),
            _ => out.put_u8(byte),
        }
    }
}

/// Takes an escaped, terminated key off the front of `bytes`.
pub(super) fn take_terminated(bytes: &mut &[u8]) -> Option<Bytes> {
    let mut plain = BytesMut::with_capacity(bytes.len());
    loop {
        match *bytes {
            [TERMINATOR, rest @ ..] => {
                *bytes = rest;
                return Some(plain.freeze());
            }
            [ESCAPE, escaped @ (1 | 2), rest @ ..] => {
                plain.put_u8(escaped - 1);
                *bytes = rest;
            }
            [ESCAPE, ..] | [] => return None,
            [byte, rest @ ..] => {
                plain.put_u8(*byte);
                *bytes = rest;
            }
        }
    }
}

/// The first six bytes of every key in `segment`.
pub(crate) fn segment_prefix(segment: u32) -> [u8; SEGMENT_PREFIX_LEN] {
    let [a, b, c, d] = segment.to_be_bytes();
    [SUBSYSTEM, VERSION, a, b, c, d]
}

/// Appends the first seven bytes of a key.
pub(super) fn put_prefix(out: &mut BytesMut, segment: u32, tag: u8) {
    out.put_slice(&segment_prefix(segment));
    out.put_u8(tag);
}

/// Takes the first seven bytes off `key`: the segment and the tag.
pub(super) fn take_prefix(key: &mut &[u8]) -> Option<(u32, u8)> {
    match *key {
        [SUBSYSTEM, VERSION, a, b, c, d, tag, rest @ ..] => {
            *key = rest;
            Some((u32::from_be_bytes([*a, *b, *c, *d]), *tag))
        }
        _ => None,
    }
}

/// Takes the first seven bytes off `key`, which must name `tag`; gives the segment.
pub(super) fn take_prefix_of(key: &mut &[u8], expected: u8) -> Option<u32> {
    match take_prefix(key)? {
        (segment, tag) if tag == expected => Some(segment),
        _ => None,
    }
}

/// Appends a number so that encodings sort as numbers do: four bits of length in bytes, then the
/// number big-endian.
pub(super) fn put_var_u64(out: &mut BytesMut, value: u64) {
    let bits = 64 - value.leading_zeros();
    let more = bits.saturating_sub(4).div_ceil(8);
    let top = if more == 8 {
        0
    } else {
        (value >> (8 * more)) as u8
    };
    out.put_u8((more as u8) << 4 | top);
    out.put_slice(&value.to_be_bytes()[8 - more as usize..]);
}

/// Takes a [`put_var_u64`] number off the front.
pub(super) fn take_var_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    let more = usize::from(first >> 4);
    if more > 8 || rest.len() < more {
        return None;
    }
    let mut value = if more == 8 {
        0
    } else {
        u64::from(first & 0x0F)
    };
    for &byte in &rest[..more] {
        value = value << 8 | u64::from(byte);
    }
    *bytes = &rest[more..];
    Some(value)
}

/// Appends a number in groups of seven bits, lowest first.
pub(super) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes a [`put_varint`] number off the front.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Folds the sign into the lowest bit, so that small negative numbers stay short.
pub(super) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// Undoes [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Takes a big-endian `u32` off the front.
pub(super) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*head))
}

/// Takes a big-endian `u64` off the front.
pub(super) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_be_bytes(*head))
}

/// Takes a big-endian `u64` off the front; 0 if nothing is left, as in rows of older stores.
pub(super) fn take_u64_if_any(bytes: &mut &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return Some(0);
    }
    take_u64(bytes)
}

/// Takes a big-endian `i64` off the front.
pub(super) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    take_u64(bytes).map(|value| value as i64)
}

/// The error for a row that does not decode.
pub(super) fn malformed(what: &str, key: &[u8]) -> Error {
    use std::fmt::Write;
    let mut hex = String::new();
    for byte in key.iter().take(64) {
        let _ = write!(hex, "{byte:02x}");
    }
    Error::new(
        ErrorKind::Corrupt,
        format!("the {what} row {hex} does not decode"),
    )
}

/// A row of a log among the entries: an entry or an index row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataRow<'a> {
    pub(crate) segment: u32,
    /// The key of the log, as it stands in the row.
    pub(crate) stored_key: &'a [u8],
    /// The last offset, if it is an index row.
    pub(crate) index_offset: Option<u64>,
}

impl<'a> DataRow<'a> {
    /// What the row under `key` is; `None` if it is another.
    pub(crate) fn of(key: &'a [u8]) -> Option<Self> {
        let mut rest = key;
        let (segment, tag) = take_prefix(&mut rest)?;
        let is_index = match tag {
            tag::ENTRY => false,
            tag::INDEX => true,
            _ => return None,
        };
        let len = rest.iter().position(|&byte| byte == TERMINATOR)? + 1;
        let (stored_key, rest) = rest.split_at(len);
        let index_offset = match is_index {
            true => Some(take_u64(&mut rest.strip_prefix(&[SUFFIX])?)?),
            false => None,
        };
        Some(Self {
            segment,
            stored_key,
            index_offset,
        })
    }
}

/// Splits a row key, or the bound of a range of row keys, into what names a log in a segment and the
/// place within it. `None` for rows that belong to no log. A place that is cut off or no number (the
/// end of a range) is `None` within.
pub(crate) fn position_of(key: &[u8]) -> Option<(&[u8], Option<u64>)> {
    let tag = *key.get(PREFIX_LEN - 1)?;
    if !matches!(tag, tag::ENTRY | tag::INDEX | tag::META) {
        return None;
    }
    let end = PREFIX_LEN
        + key[PREFIX_LEN..]
            .iter()
            .position(|&byte| byte == TERMINATOR)?
        + 1;
    if end == PREFIX_LEN + 1 {
        return None;
    }
    let (name, mut rest) = key.split_at(end);
    let position = match tag {
        tag::ENTRY => take_var_u64(&mut rest),
        tag::INDEX if rest.first() == Some(&SUFFIX) => {
            rest = &rest[1..];
            take_u64(&mut rest)
        }
        _ => None,
    };
    Some((name, position))
}
