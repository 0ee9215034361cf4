//! The bytes around a request: size, header, limits.
//!
//! Everything here looks at bytes that a stranger sent and allocates nothing. The codec's own header
//! decoder is not used, for it panics on short frames.

use bytes::BytesMut;

use crate::api::guard::uvarint;
use crate::api::{self, Api};

/// Size, API key, API version, correlation id: what every frame begins with.
pub(super) const PREFIX_LEN: usize = 12;

/// The smallest size a frame can announce: the prefix without the size itself.
const SIZE_MIN: i32 = PREFIX_LEN as i32 - 4;

/// Bounds on the size of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeLimits {
    /// `socket.request.max.bytes`.
    pub(super) request_max_bytes: usize,
    /// The same for requests that carry no records.
    pub(super) plain_request_max_bytes: usize,
}

/// A request that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    /// The line of the table that will run it.
    pub(super) api: &'static Api,
    /// The version it will run at.
    pub(super) version: i16,
    /// To be echoed.
    pub(super) correlation_id: i32,
    /// Bytes that follow the prefix.
    pub(super) rest: usize,
}

/// Why a connection cannot go on. There is no answer that a client would understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// A client that has TLS switched on.
    #[error("a TLS handshake on a plaintext port; set the client's security.protocol to PLAINTEXT")]
    Tls,
    /// A browser, curl, or a health check.
    #[error("an HTTP request on the Kafka port; HTTP is served on the address given by --http")]
    Http,
    /// Not a size.
    #[error("a frame of {0} bytes; a request has at least {SIZE_MIN}")]
    Size(i32),
    /// Above the limit.
    #[error("a frame of {0} bytes; {1} allows {2}")]
    TooLarge(usize, &'static str, usize),
    /// Not in the table.
    #[error("API key {0} version {1} is not served")]
    NotServed(i16, i16),
    /// The header ends early, or its text is not UTF-8.
    #[error("a request header that does not decode")]
    Header,
}

impl FrameError {
    /// Whether it says that a client is set up wrongly, which a person should hear about.
    pub(super) fn is_wrong_protocol(self) -> bool {
        matches!(self, Self::Tls | Self::Http)
    }
}

/// Reads the first bytes of a frame, as far as they have come; `None` while all is well and more
/// must come. The size is judged as soon as it is there.
pub(super) fn prefix(bytes: &[u8], limits: SizeLimits) -> Result<Option<Announced>, FrameError> {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let announced = i32::from_be_bytes(*size);
    let len = usize::try_from(announced).unwrap_or(0);
    if len > limits.request_max_bytes {
        return Err(match size {
            [0x16, 0x03, ..] => FrameError::Tls,
            b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN"
            | b"TRAC" | b"PRI " => FrameError::Http,
            _ => FrameError::TooLarge(len, "socket.request.max.bytes", limits.request_max_bytes),
        });
    }
    if announced < SIZE_MIN {
        return Err(FrameError::Size(announced));
    }
    let [k0, k1, v0, v1, c0, c1, c2, c3] = *rest else {
        return Ok(None);
    };
    let key = i16::from_be_bytes([k0, k1]);
    let version = i16::from_be_bytes([v0, v1]);
    let (api, version) = api::find(key, version).ok_or(FrameError::NotServed(key, version))?;
    if !api.carries_records && len > limits.plain_request_max_bytes {
        let limit = limits.plain_request_max_bytes;
        return Err(FrameError::TooLarge(len, super::PLAIN_REQUEST_MAX, limit));
    }
    Ok(Some(Announced {
        api,
        version,
        correlation_id: i32::from_be_bytes([c0, c1, c2, c3]),
        rest: len - SIZE_MIN as usize,
    }))
}

/// The client id in `bytes`, which follow the prefix, and the length of the rest of the header. No
/// client id is the same as an empty one.
pub(super) fn header(bytes: &[u8], flexible: bool) -> Result<(&str, usize), FrameError> {
    let (len, mut rest) = bytes.split_first_chunk().ok_or(FrameError::Header)?;
    let mut client_id: &[u8] = &[];
    match i16::from_be_bytes(*len) {
        -1 => {}
        len => {
            let len = usize::try_from(len).map_err(|_| FrameError::Header)?;
            (client_id, rest) = rest.split_at_checked(len).ok_or(FrameError::Header)?;
        }
    }
    if flexible {
        rest = tags(rest).ok_or(FrameError::Header)?;
    }
    let client_id = std::str::from_utf8(client_id).map_err(|_| FrameError::Header)?;
    Ok((client_id, bytes.len() - rest.len()))
}

/// What follows the tagged fields that `bytes` begin with; the header has none that we know.
fn tags(bytes: &[u8]) -> Option<&[u8]> {
    let (count, mut rest) = uvarint(bytes)?;
    for _ in 0..count {
        let (size, value) = uvarint(uvarint(rest)?.1)?;
        rest = value.get(size as usize..)?;
    }
    Some(rest)
}

/// Takes one frame as a connection would, up to the decoded request, which is dropped: the way in for
/// fuzzing. Says whether there was one.
pub fn probe(frame: &[u8]) -> bool {
    let limits = SizeLimits {
        request_max_bytes: 100 << 20,
        plain_request_max_bytes: 16 << 20,
    };
    let Some((beginning, rest)) = frame.split_at_checked(PREFIX_LEN) else {
        return false;
    };
    let Ok(Some(announced)) = prefix(beginning, limits) else {
        return false;
    };
    let Some(rest) = rest.get(..announced.rest) else {
        return false;
    };
    let Announced { api, version, .. } = announced;
    match header(rest, api.is_flexible(version)) {
        Ok((_, len)) => (api.probe)(version, BytesMut::from(&rest[len..])).is_ok(),
        Err(_) => api.takes_any_version(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SizeLimits = SizeLimits {
        request_max_bytes: 100 << 20,
        plain_request_max_bytes: 1 << 20,
    };

    fn frame(size: i32, key: i16, version: i16) -> Vec<u8> {
        let mut bytes = size.to_be_bytes().to_vec();
        bytes.extend(key.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        bytes.extend(77_i32.to_be_bytes());
        bytes
    }

    #[test]
    fn a_prefix_is_read_once_it_is_whole() {
        let bytes = frame(30, 18, 3);
        for len in 0..PREFIX_LEN {
            assert!(matches!(prefix(&bytes[..len], LIMITS), Ok(None)), "{len}");
        }
        let announced = prefix(&bytes, LIMITS).expect("valid").expect("whole");
        assert_eq!((announced.version, announced.rest), (3, 22));
        assert_eq!(announced.correlation_id, 77);
    }

    #[test]
    fn sizes_out_of_bounds_are_refused_at_the_fourth_byte() {
        for size in [i32::MIN, -1, 0, 3, 7] {
            let error = prefix(&size.to_be_bytes(), LIMITS).expect_err("too small");
            assert_eq!(error, FrameError::Size(size));
        }
        let size = (100 << 20) + 1;
        assert!(matches!(
            prefix(&i32::to_be_bytes(size), LIMITS),
            Err(FrameError::TooLarge(..))
        ));
        assert!(matches!(
            prefix(&i32::to_be_bytes(100 << 20), LIMITS),
            Ok(None)
        ));
        // A request without records has less room.
        assert!(matches!(
            prefix(&frame((1 << 20) + 1, 18, 3), LIMITS),
            Err(FrameError::TooLarge(..))
        ));
    }

    #[test]
    fn other_protocols_are_recognised() {
        assert_eq!(
            prefix(&[0x16, 3, 1, 2], LIMITS).err(),
            Some(FrameError::Tls)
        );
        assert_eq!(
            prefix(b"GET / HTTP/1.1", LIMITS).err(),
            Some(FrameError::Http)
        );
    }

    #[test]
    fn what_is_not_in_the_table_is_refused_but_api_versions_is_answered() {
        assert_eq!(
            prefix(&frame(8, 999, 0), LIMITS).err(),
            Some(FrameError::NotServed(999, 0))
        );
        for version in [99, -1, 5] {
            let announced = prefix(&frame(8, 18, version), LIMITS).expect("served");
            assert_eq!(announced.expect("whole").version, 0);
        }
    }

    #[test]
    fn headers_give_the_client_id_and_where_the_body_begins() {
        assert_eq!(header(b"\x00\x02abrest", false), Ok(("ab", 4)));
        assert_eq!(header(b"\xff\xffrest", false), Ok(("", 2)));
        assert_eq!(header(b"\x00\x01a\x00rest", true), Ok(("a", 4)));
        // Two unknown tags, of one and no bytes.
        assert_eq!(
            header(b"\x00\x01a\x02\x07\x01x\x09\x00rest", true),
            Ok(("a", 9))
        );
        for (bad, flexible) in [
            (&b""[..], false),
            (b"\x00", false),
            (b"\x00\x05abc", false),
            (b"\xff\xfeabc", false),
            (b"\x00\x02\xff\xfe", false),
            (b"\x00\x01a", true),
            (b"\x00\x01a\x01\x07\x09x", true),
            (b"\x00\x01a\xff\xff\xff\xff\x0f", true),
        ] {
            assert_eq!(header(bad, flexible), Err(FrameError::Header), "{bad:?}");
        }
    }
}
