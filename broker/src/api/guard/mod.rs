//! Stands between the wire and the generated decoder, which believes every array count it reads.
//!
//! kafka-protocol allocates for the count that a request claims, before it has seen one element: an
//! 8-byte request can ask for gigabytes, and a failed allocation aborts the process. So every
//! request body is walked first, by a description of its fields ([`schema`]), without allocating. A
//! body passes when each count and length fits the bytes that are really there, and when what it
//! decodes into stays under [`held_limit`].
//!
//! The walk reads exactly what the decoder will read: known tagged fields are walked too and must
//! fill their announced size, which the decoder itself does not check. Tests hold the descriptions
//! against the decoder.

mod admin;
mod answers;
mod schema;
#[cfg(test)]
pub(super) mod tests;

use kafka_protocol::messages::ApiKey;

pub use schema::schema;

/// The fields of a request, in all versions.
#[derive(Debug)]
pub struct Schema {
    /// First version with compact lengths and tagged fields.
    flexible_from: i16,
    fields: &'static [Field],
}

/// A field, and the versions that have it.
#[derive(Debug)]
struct Field {
    from: i16,
    to: i16,
    kind: Kind,
}

/// How a field is laid out.
#[derive(Debug)]
enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// Length (16 bits, or a varint where flexible) and text; may be null.
    String,
    /// Length (32 bits, or a varint where flexible) and bytes; may be null.
    Bytes,
    /// Count and elements; may be null.
    Array(Element),
    /// A byte, and where it is not negative the fields of a struct.
    Optional(&'static [Field]),
    /// Optional, in the tagged section of its struct, under this number.
    Tagged(u32, Element),
}

/// What an array or a tag holds.
#[derive(Debug)]
enum Element {
    /// So many bytes each, in memory as on the wire.
    Fixed(usize),
    /// Strings.
    String,
    /// Fields one after another, and the bytes of memory that their struct takes.
    Struct(usize, &'static [Field]),
    /// An array of structs; in a tag.
    Structs(usize, &'static [Field]),
}

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It ends inside a field.
    #[error("the body ends inside a field")]
    Short,
    /// An array claims more elements than there are bytes, or less than none.
    #[error("an array claims {0} elements, with {1} bytes left")]
    Count(i64, usize),
    /// A length is negative.
    #[error("a field claims a length of {0}")]
    Length(i64),
    /// A tagged field is longer or shorter than it says.
    #[error("tagged field {0} does not fill its size")]
    Tag(u32),
    /// Decoded it would take too much memory.
    #[error("decoded it would hold {0} bytes, more than {1}")]
    Held(usize, usize),
    /// No description of this API.
    #[error("API {0:?} has no description")]
    Unknown(ApiKey),
}

/// Bytes that decoding a body of `len` bytes may hold: 64 times as much, plus 16 MiB.
pub fn held_limit(len: usize) -> usize {
    len.saturating_mul(64).saturating_add(16 << 20)
}

/// Passes `body`, a request of `key` at `version`, or refuses it. Returns the bytes that it takes
/// up; those behind them belong to no field.
pub fn check(key: ApiKey, version: i16, body: &[u8]) -> Result<usize, Refusal> {
    let schema = schema(key).ok_or(Refusal::Unknown(key))?;
    walk(schema, version, body)
}

/// The same for `body`, another broker's response to a request of `key` at `version`.
pub fn check_response(key: ApiKey, version: i16, body: &[u8]) -> Result<usize, Refusal> {
    let schema = answers::schema(key).ok_or(Refusal::Unknown(key))?;
    walk(schema, version, body)
}

fn walk(schema: &'static Schema, version: i16, body: &[u8]) -> Result<usize, Refusal> {
    let mut walk = Walk {
        rest: body,
        version,
        flexible: version >= schema.flexible_from,
        held: 0,
        held_limit: held_limit(body.len()),
    };
    walk.fields(schema.fields)?;
    Ok(body.len() - walk.rest.len())
}

/// Memory of the map that a decoded struct keeps its unknown tags in: its first node, and a share
/// of a node for each tag.
const TAG_MAP_HELD: usize = 512;
const TAG_HELD: usize = 128;

/// Memory of a string beside its bytes, which stay in the frame.
const STRING_HELD: usize = size_of::<kafka_protocol::protocol::StrBytes>();

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    held: usize,
    held_limit: usize,
}

impl Walk<'_> {
    /// The fields of one struct.
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), Refusal> {
        for field in fields {
            if self.version < field.from || self.version > field.to {
                continue;
            }
            match &field.kind {
                Kind::Fixed(len) => self.skip(*len)?,
                Kind::String => self.string()?,
                Kind::Bytes => {
                    let len = self.length(|walk| Ok(i64::from(walk.int32()?)))?;
                    self.skip(len.unwrap_or(0))?;
                }
                Kind::Array(element) => self.array(element)?,
                Kind::Optional(fields) => {
                    let (present, rest) = self.rest.split_first().ok_or(Refusal::Short)?;
                    self.rest = rest;
                    if present.cast_signed() >= 0 {
                        self.fields(fields)?;
                    }
                }
                Kind::Tagged(..) => {}
            }
        }
        if self.flexible {
            self.tags(fields)?;
        }
        Ok(())
    }

    fn array(&mut self, element: &Element) -> Result<(), Refusal> {
        let count = if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.int32()?)
        };
        let left = self.rest.len();
        // No element is smaller than a byte.
        let count = match usize::try_from(count) {
            Ok(count) if count <= left => count,
            Err(_) if count == -1 => 0,
            _ => return Err(Refusal::Count(count, left)),
        };
        match element {
            Element::Fixed(len) => {
                let len = count.saturating_mul(*len);
                self.hold(len)?;
                self.skip(len)
            }
            Element::String => {
                self.hold(count.saturating_mul(STRING_HELD))?;
                (0..count).try_for_each(|_| self.string())
            }
            Element::Struct(held, fields) | Element::Structs(held, fields) => {
                self.hold(count.saturating_mul(*held))?;
                (0..count).try_for_each(|_| self.fields(fields))
            }
        }
    }

    /// The tagged section at the end of a struct.
    fn tags(&mut self, fields: &'static [Field]) -> Result<(), Refusal> {
        let count = self.uvarint()?;
        let mut unknown = 0;
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let known = fields.iter().find_map(|field| match &field.kind {
                Kind::Tagged(number, element)
                    if *number == tag && (field.from..=field.to).contains(&self.version) =>
                {
                    Some(element)
                }
                _ => None,
            });
            let Some(element) = known else {
                unknown += 1;
                self.hold(TAG_HELD)?;
                if unknown == 1 {
                    self.hold(TAG_MAP_HELD)?;
                }
                self.skip(size)?;
                continue;
            };
            let before = self.rest.len();
            match element {
                Element::Fixed(len) => self.skip(*len)?,
                Element::String => self.string()?,
                Element::Struct(_, fields) => self.fields(fields)?,
                Element::Structs(..) => self.array(element)?,
            }
            if before - self.rest.len() != size {
                return Err(Refusal::Tag(tag));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Refusal> {
        let len = self.length(|walk| Ok(i64::from(walk.int16()?)))?;
        self.skip(len.unwrap_or(0))
    }

    /// A length, plain or compact; `None` for null.
    fn length(
        &mut self,
        plain: impl FnOnce(&mut Self) -> Result<i64, Refusal>,
    ) -> Result<Option<usize>, Refusal> {
        let len = if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            plain(self)?
        };
        match usize::try_from(len) {
            Ok(len) => Ok(Some(len)),
            Err(_) if len == -1 => Ok(None),
            Err(_) => Err(Refusal::Length(len)),
        }
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.held = self.held.saturating_add(bytes);
        if self.held > self.held_limit {
            return Err(Refusal::Held(self.held, self.held_limit));
        }
        Ok(())
    }

    fn skip(&mut self, len: usize) -> Result<(), Refusal> {
        self.rest = self.rest.get(len..).ok_or(Refusal::Short)?;
        Ok(())
    }

    fn int16(&mut self) -> Result<i16, Refusal> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Refusal::Short)?;
        self.rest = rest;
        Ok(i16::from_be_bytes(*bytes))
    }

    fn int32(&mut self) -> Result<i32, Refusal> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Refusal::Short)?;
        self.rest = rest;
        Ok(i32::from_be_bytes(*bytes))
    }

    fn uvarint(&mut self) -> Result<u32, Refusal> {
        let (value, rest) = uvarint(self.rest).ok_or(Refusal::Short)?;
        self.rest = rest;
        Ok(value)
    }
}

/// An unsigned varint and what follows it, read as the decoder reads it: five bytes at most, the
/// bits above the 32nd are dropped.
pub(crate) fn uvarint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0;
    for at in 0..5 {
        let byte = *bytes.get(at)?;
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    Some((value, &bytes[5..]))
}
