//! Protocol buffers, as far as the messages of this API need them: varints and bytes.

use bytes::{Buf, BufMut, Bytes};

/// A field of a message.
#[derive(Debug)]
pub(super) enum Field {
    /// A number.
    Number(u64),
    /// Bytes, a string or a message.
    Bytes(Bytes),
    /// What no message here has.
    Other,
}

/// The fields of a message in order, each with its number; `None` if the bytes are no message.
pub(super) fn fields(mut bytes: Bytes) -> Option<Vec<(u64, Field)>> {
    let mut fields = Vec::new();
    while bytes.has_remaining() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            1 => {
                bytes.try_get_u64().ok()?;
                Field::Other
            }
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                if len > bytes.len() {
                    return None;
                }
                Field::Bytes(bytes.split_to(len))
            }
            5 => {
                bytes.try_get_u32().ok()?;
                Field::Other
            }
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        fields.push((tag >> 3, field));
    }
    Some(fields)
}

fn varint(bytes: &mut Bytes) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends a number; 0 is what a missing one means.
pub(super) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        put_varint(out, field << 3);
        put_varint(out, value);
    }
}

/// Appends bytes, a string or a message, also if empty.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, value.len() as u64);
    out.put_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn goldens() {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, b"success");
        put_number(&mut out, 2, 1);
        put_number(&mut out, 3, 0);
        put_number(&mut out, 3, 300);
        assert_eq!(out, b"\x0a\x07success\x10\x01\x18\xac\x02");
        let fields = fields(out.into()).expect("a message");
        assert!(matches!(
            &fields[..],
            [
                (1, Field::Bytes(_)),
                (2, Field::Number(1)),
                (3, Field::Number(300))
            ]
        ));
    }

    proptest! {
        #[test]
        fn noise_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = fields(bytes.into());
        }
    }
}
