//! The bytes of rows that hold settings given at run time, quotas, and credentials.
//!
//! | row | key | value, after the format byte |
//! |---|---|---|
//! | settings | `metadata/settings/`, kind (one byte), name | settings, as two texts each, by name |
//! | quotas | `metadata/quota/`, entity | quotas, as a text and an f64 each, by name |
//! | credential | `metadata/scram/`, mechanism (one byte), user | salt, stored key, server key, iterations (u32) |
//!
//! Kinds are `b` for the broker whose number is the name, `a` for all brokers (no name), `g` for a
//! group, `m` for a subscription to clients' metrics. An entity is its parts in the order `c` (client
//! id), `i` (address), `u` (user), each with a byte that is 0 for all clients and 1 for those that a
//! text names. Texts and lists are as in `rows.rs`.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};

use super::quota::{EntityType, QuotaEntity, Quotas};
use super::rows::{Fields, RowError, put_bytes, put_length, put_text};
use super::scram::{ScramCredential, ScramMechanism};
use crate::config::Resource;

const SETTINGS_PREFIX: &str = "metadata/settings/";
const QUOTA_PREFIX: &str = "metadata/quota/";
const SCRAM_PREFIX: &str = "metadata/scram/";

const SETTINGS_FORMAT: u8 = 1;
const QUOTA_FORMAT: u8 = 1;
const SCRAM_FORMAT: u8 = 1;

/// The prefix of all rows of settings.
pub(super) fn settings_prefix() -> &'static [u8] {
    SETTINGS_PREFIX.as_bytes()
}

/// The prefix of all rows of quotas.
pub(super) fn quota_prefix() -> &'static [u8] {
    QUOTA_PREFIX.as_bytes()
}

/// The prefix of all rows of credentials.
pub(super) fn scram_prefix() -> &'static [u8] {
    SCRAM_PREFIX.as_bytes()
}

/// Key of the row of the settings of `resource`; `None` for a topic, whose own row has them.
pub(super) fn settings_key(resource: &Resource) -> Option<Bytes> {
    let name = match resource {
        Resource::Topic(_) => return None,
        Resource::Broker(node) => format!("b{node}"),
        Resource::Cluster => "a".to_owned(),
        Resource::ClientMetrics(name) => format!("m{name}"),
        Resource::Group(name) => format!("g{name}"),
    };
    Some([SETTINGS_PREFIX, &name].concat().into())
}

/// Value of a row of settings.
pub(super) fn encode_settings(settings: &BTreeMap<String, String>) -> Bytes {
    let mut out = vec![SETTINGS_FORMAT];
    put_length(&mut out, settings.len());
    for (name, value) in settings {
        put_text(&mut out, name);
        put_text(&mut out, value);
    }
    out.into()
}

/// Whose settings are in the row `key` with `value`, and which.
pub(super) fn decode_settings(
    key: &[u8],
    value: &[u8],
) -> Result<(Resource, BTreeMap<String, String>), RowError> {
    let mut fields = Fields::open(key, value, SETTINGS_FORMAT)?;
    let resource = key
        .strip_prefix(SETTINGS_PREFIX.as_bytes())
        .and_then(|name| std::str::from_utf8(name).ok())
        .and_then(|name| {
            let (kind, name) = name.split_at_checked(1)?;
            match kind {
                "a" if name.is_empty() => Some(Resource::Cluster),
                "b" => name.parse().ok().map(Resource::Broker),
                "g" => Some(Resource::Group(name.to_owned())),
                "m" => Some(Resource::ClientMetrics(name.to_owned())),
                _ => None,
            }
        })
        .ok_or_else(|| fields.damaged("its key names nothing that has settings"))?;
    let mut settings = BTreeMap::new();
    for _ in 0..fields.u32()? {
        let name = fields.text()?.to_owned();
        settings.insert(name, fields.text()?.to_owned());
    }
    fields.end()?;
    Ok((resource, settings))
}

/// Key of the row of the quotas of `entity`.
pub(super) fn quota_key(entity: &QuotaEntity) -> Bytes {
    let mut out = QUOTA_PREFIX.as_bytes().to_vec();
    for (kind, name) in entity {
        out.put_u8(match kind {
            EntityType::ClientId => b'c',
            EntityType::Ip => b'i',
            EntityType::User => b'u',
        });
        out.put_u8(name.is_some().into());
        if let Some(name) = name {
            put_text(&mut out, name);
        }
    }
    out.into()
}

/// Value of a row of quotas.
pub(super) fn encode_quotas(quotas: &Quotas) -> Bytes {
    let mut out = vec![QUOTA_FORMAT];
    put_length(&mut out, quotas.len());
    for (name, value) in quotas {
        put_text(&mut out, name);
        out.put_f64(*value);
    }
    out.into()
}

/// Whose quotas are in the row `key` with `value`, and which.
pub(super) fn decode_quotas(key: &[u8], value: &[u8]) -> Result<(QuotaEntity, Quotas), RowError> {
    let mut fields = Fields::open(key, value, QUOTA_FORMAT)?;
    let mut parts = Fields::of(
        key,
        key.strip_prefix(QUOTA_PREFIX.as_bytes()).unwrap_or(&[]),
    );
    let mut entity = QuotaEntity::new();
    while parts.end().is_err() {
        let kind = match parts.take(1)?[0] {
            b'c' => EntityType::ClientId,
            b'i' => EntityType::Ip,
            b'u' => EntityType::User,
            _ => return Err(fields.damaged("its key names no clients")),
        };
        let name = match parts.take(1)?[0] {
            0 => None,
            _ => Some(parts.text()?.to_owned()),
        };
        entity.insert(kind, name);
    }
    let mut quotas = Quotas::new();
    for _ in 0..fields.u32()? {
        let name = fields.text()?.to_owned();
        quotas.insert(name, fields.take(8)?.get_f64());
    }
    fields.end()?;
    Ok((entity, quotas))
}

/// Key of the row of a user's credential.
pub(super) fn scram_key(mechanism: ScramMechanism, user: &str) -> Bytes {
    let mut out = SCRAM_PREFIX.as_bytes().to_vec();
    out.put_i8(mechanism.number());
    out.put_slice(user.as_bytes());
    out.into()
}

/// Value of the row of a credential.
pub(super) fn encode_scram(credential: &ScramCredential) -> Bytes {
    let mut out = vec![SCRAM_FORMAT];
    put_bytes(&mut out, &credential.salt);
    put_bytes(&mut out, &credential.stored_key);
    put_bytes(&mut out, &credential.server_key);
    out.put_u32(credential.iterations);
    out.into()
}

/// Whose credential is in the row `key` with `value`, and what it is.
pub(super) fn decode_scram(
    key: &[u8],
    value: &[u8],
) -> Result<(String, ScramMechanism, ScramCredential), RowError> {
    let mut fields = Fields::open(key, value, SCRAM_FORMAT)?;
    let (user, mechanism) = key
        .strip_prefix(SCRAM_PREFIX.as_bytes())
        .and_then(|rest| {
            let (number, user) = rest.split_first()?;
            let mechanism = ScramMechanism::numbered(i8::try_from(*number).ok()?)?;
            Some((std::str::from_utf8(user).ok()?.to_owned(), mechanism))
        })
        .ok_or_else(|| fields.damaged("its key names no user and mechanism"))?;
    let credential = ScramCredential {
        salt: fields.bytes()?.to_vec(),
        stored_key: fields.bytes()?.to_vec(),
        server_key: fields.bytes()?.to_vec(),
        iterations: fields.u32()?,
    };
    fields.end()?;
    Ok((user, mechanism, credential))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_settings() {
        let settings = BTreeMap::from([("log.retention.ms".into(), "5".into())]);
        let value = b"\x01\0\0\0\x01\0\0\0\x10log.retention.ms\0\0\0\x015";
        for (resource, key) in [
            (Resource::Cluster, &b"metadata/settings/a"[..]),
            (Resource::Broker(7), b"metadata/settings/b7"),
            (Resource::Group("g/1".into()), b"metadata/settings/gg/1"),
            (
                Resource::ClientMetrics("all".into()),
                b"metadata/settings/mall",
            ),
        ] {
            assert_eq!(settings_key(&resource).as_deref(), Some(key));
            assert_eq!(&encode_settings(&settings)[..], value);
            assert_eq!(
                decode_settings(key, value),
                Ok((resource, settings.clone()))
            );
        }
        assert_eq!(settings_key(&Resource::Topic("t".into())), None);
    }

    #[test]
    fn golden_quotas() {
        let entity = QuotaEntity::from([
            (EntityType::User, Some("ann".into())),
            (EntityType::ClientId, None),
        ]);
        let quotas = Quotas::from([("request_percentage".into(), 12.5)]);
        let key = b"metadata/quota/c\0u\x01\0\0\0\x03ann";
        let value = b"\x01\0\0\0\x01\0\0\0\x12request_percentage\x40\x29\0\0\0\0\0\0";
        assert_eq!(&quota_key(&entity)[..], key);
        assert_eq!(&encode_quotas(&quotas)[..], value);
        assert_eq!(decode_quotas(key, value), Ok((entity, quotas)));
    }

    #[test]
    fn golden_credential() {
        let credential = ScramCredential {
            salt: b"salt".to_vec(),
            stored_key: b"st".to_vec(),
            server_key: b"sv".to_vec(),
            iterations: 4096,
        };
        let key = b"metadata/scram/\x01ann";
        let value = b"\x01\0\0\0\x04salt\0\0\0\x02st\0\0\0\x02sv\0\0\x10\0";
        assert_eq!(&scram_key(ScramMechanism::Sha256, "ann")[..], key);
        assert_eq!(&encode_scram(&credential)[..], value);
        assert_eq!(
            decode_scram(key, value),
            Ok(("ann".into(), ScramMechanism::Sha256, credential))
        );
    }

    #[test]
    fn damage_is_told() {
        for (key, value) in [
            (&b"metadata/settings/xt"[..], &b"\x01\0\0\0\0"[..]),
            (b"metadata/settings/bone", b"\x01\0\0\0\0"),
            (b"metadata/settings/a", b"\x01\0\0\0\x01"),
            (b"metadata/settings/a", b"\x02\0\0\0\0"),
        ] {
            assert!(decode_settings(key, value).is_err());
        }
        for key in [&b"metadata/quota/x"[..], b"metadata/quota/u\x01\0\0\0\x09a"] {
            assert!(decode_quotas(key, b"\x01\0\0\0\0").is_err());
        }
        assert!(decode_scram(b"metadata/scram/\x09ann", b"\x01").is_err());
        assert!(decode_scram(b"metadata/scram/", b"\x01").is_err());
    }
}
