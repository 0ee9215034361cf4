//! The parameters of a request: percent-decoded bytes, and numbers whose errors name them.

use std::str::FromStr;

use base64::Engine;
use bytes::Bytes;

use super::error::ApiError;

/// The decoded query of a request.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, Bytes)>);

impl Params {
    /// Takes a query apart.
    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut params = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = percent_decode(value).ok_or_else(|| {
                ApiError::invalid(format!(
                    "parameter {name}: a % is not followed by two hexadecimal digits"
                ))
            })?;
            params.push((name.to_owned(), decoded.into()));
        }
        Ok(Self(params))
    }

    /// The bytes of a parameter.
    pub(super) fn bytes(&self, name: &str) -> Option<&Bytes> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// A parameter that may be given as it is or, with `_base64` after its name, encoded.
    pub(super) fn encoded(&self, name: &str) -> Result<Option<Bytes>, ApiError> {
        let name_base64 = format!("{name}_base64");
        match (self.bytes(name), self.bytes(&name_base64)) {
            (Some(_), Some(_)) => Err(ApiError::invalid(format!(
                "parameters {name} and {name_base64} are both given"
            ))),
            (Some(plain), None) => Ok(Some(plain.clone())),
            (None, Some(encoded)) => {
                let decoded = decode_base64(encoded).ok_or_else(|| {
                    ApiError::invalid(format!("parameter {name_base64}: this is not base64"))
                })?;
                Ok(Some(decoded))
            }
            (None, None) => Ok(None),
        }
    }

    /// The key that a request is about.
    pub(super) fn key(&self) -> Result<Bytes, ApiError> {
        self.encoded("key")?.ok_or_else(|| {
            ApiError::invalid("parameter key is missing; give key=... or key_base64=...")
        })
    }

    /// A number, if it is given.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.bytes(name) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(value);
        text.parse().map(Some).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            ApiError::invalid(format!(
                "parameter {name}: {shown:?} is not what belongs there"
            ))
        })
    }

    /// A number of at least 1.
    pub(super) fn positive(&self, name: &str) -> Result<Option<usize>, ApiError> {
        match self.number::<usize>(name)? {
            Some(0) => Err(ApiError::invalid(format!(
                "parameter {name}: it must be at least 1"
            ))),
            number => Ok(number),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.bytes(name).map(|value| &value[..]) {
            None | Some(b"false") => Ok(false),
            Some(b"true") => Ok(true),
            Some(_) => Err(ApiError::invalid(format!(
                "parameter {name}: give true or false"
            ))),
        }
    }

    /// A range of numbers, up to and not with its end.
    pub(super) fn range<T>(&self, start: &str, end: &str, all: (T, T)) -> Result<(T, T), ApiError>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let from = self.number(start)?.unwrap_or(all.0);
        let to = self.number(end)?.unwrap_or(all.1);
        if from > to {
            return Err(ApiError::invalid(format!(
                "parameters {start} and {end}: {from} lies after {to}"
            )));
        }
        Ok((from, to))
    }
}

/// Base64 in the standard or the URL alphabet, padded or not.
fn decode_base64(text: &[u8]) -> Option<Bytes> {
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    // A plus sign that was not escaped has become a space.
    let text = text.iter().map(|byte| match byte {
        b'-' | b' ' => b'+',
        b'_' => b'/',
        other => *other,
    });
    let text: Vec<u8> = text.collect();
    let end = text.iter().rposition(|byte| *byte != b'=');
    let text = &text[..end.map_or(0, |end| end + 1)];
    STANDARD_NO_PAD.decode(text).ok().map(Bytes::from)
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                out.push((high * 16 + low) as u8);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_decoded_and_errors_name_the_parameter() {
        let params = Params::parse("key=a%00b+c%2F&limit=x&follow=true&n=7&e=").expect("parses");
        assert_eq!(params.key().expect("given"), &b"a\0b c/"[..]);
        assert!(params.flag("follow").expect("a flag"));
        assert_eq!(params.number::<u64>("n").expect("a number"), Some(7));
        let error = format!("{:?}", params.positive("limit").expect_err("no number"));
        assert!(error.contains("limit"), "{error}");
        let error = format!("{:?}", Params::parse("key=%4").expect_err("cut short"));
        assert!(error.contains("key"), "{error}");
        let encoded = Params::parse("key_base64=b3JkZXJz").expect("parses");
        assert_eq!(encoded.key().expect("given"), "orders");
        assert!(
            Params::parse("key=a&key_base64=Yg==")
                .expect("parses")
                .key()
                .is_err()
        );
        assert!(Params::parse("").expect("parses").key().is_err());
    }

    #[test]
    fn ranges_run_forwards() {
        let range = |query| {
            Params::parse(query)
                .and_then(|params| params.range("start_seq", "end_seq", (0u64, u64::MAX)))
        };
        assert_eq!(range("").expect("all"), (0, u64::MAX));
        assert_eq!(range("start_seq=3&end_seq=3").expect("empty"), (3, 3));
        assert!(range("start_seq=4&end_seq=3").is_err());
        assert!(range("start_seq=-1").is_err());
        assert!(range("end_seq=18446744073709551616").is_err());
    }
}
