//! Quotas of clients: for whom one can be set, under which names, with which values. Pure.
//!
//! They are kept and described; nothing is throttled by them.

use std::collections::BTreeMap;
use std::fmt;

/// What a client is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityType {
    /// The id that it gives itself.
    ClientId,
    /// Its address.
    Ip,
    /// The user that it has shown to be.
    User,
}

impl EntityType {
    /// Kafka's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientId => "client-id",
            Self::Ip => "ip",
            Self::User => "user",
        }
    }

    /// The one that Kafka calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::ClientId, Self::Ip, Self::User]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

impl fmt::Display for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The clients that a quota is for: those with these names, `None` for all that have no quota of
/// their own.
pub type QuotaEntity = BTreeMap<EntityType, Option<String>>;

/// Quotas by name to be set, or with `None` removed.
pub(super) type QuotaChanges = Vec<(String, Option<f64>)>;

/// Quotas of one entity, by Kafka's names for them.
pub type Quotas = BTreeMap<String, f64>;

/// Why a quota was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuotaError {
    /// No clients are named.
    #[error("A quota needs a user, a client-id or an ip.")]
    NoEntity,
    /// An address beside a user or a client id.
    #[error("A quota is for an ip, or for a user and a client-id; not for both.")]
    MixedEntity,
    /// A name of no characters.
    #[error("The {0} of a quota must not be empty.")]
    EmptyName(EntityType),
    /// Something that is no address.
    #[error("'{0}' is not an IP address.")]
    BadAddress(String),
    /// Such clients have no such quota.
    #[error("There is no quota '{key}' for such clients: it can be {known}.")]
    UnknownKey {
        /// The name.
        key: String,
        /// Those that there are.
        known: String,
    },
    /// The value is not one that it takes.
    #[error("Quota '{key}' cannot be {value}: give {remedy}.")]
    BadValue {
        /// The name.
        key: String,
        /// The value.
        value: f64,
        /// What it takes.
        remedy: &'static str,
    },
}

/// Quotas of users and client ids; whether each is a whole number.
const OF_CLIENTS: [(&str, bool); 4] = [
    ("consumer_byte_rate", true),
    ("controller_mutation_rate", false),
    ("producer_byte_rate", true),
    ("request_percentage", false),
];

/// Quotas of addresses.
const OF_ADDRESSES: [(&str, bool); 1] = [("connection_creation_rate", true)];

/// Judges a change of the quotas of `entity`: names with their values, or `None` to remove one.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_quota(
    entity: &QuotaEntity,
    changes: &[(String, Option<f64>)],
) -> Result<(), QuotaError> {
    if entity.is_empty() {
        return Err(QuotaError::NoEntity);
    }
    let of_address = entity.get(&EntityType::Ip);
    if of_address.is_some() && entity.len() > 1 {
        return Err(QuotaError::MixedEntity);
    }
    for (kind, name) in entity {
        if name.as_deref() == Some("") {
            return Err(QuotaError::EmptyName(*kind));
        }
    }
    if let Some(Some(address)) = of_address
        && address.parse::<std::net::IpAddr>().is_err()
    {
        return Err(QuotaError::BadAddress(address.clone()));
    }
    let known: &[(&str, bool)] = match of_address {
        Some(_) => &OF_ADDRESSES,
        None => &OF_CLIENTS,
    };
    for (key, value) in changes {
        let Some((_, whole)) = known.iter().find(|(name, _)| name == key) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(QuotaError::UnknownKey {
                key: key.clone(),
                known: names.join(", "),
            });
        };
        let Some(value) = *value else { continue };
        let remedy = match whole {
            _ if !(value > 0.0 && value.is_finite()) => "a number above 0",
            true if value.fract() != 0.0 => "a whole number",
            true | false => continue,
        };
        return Err(QuotaError::BadValue {
            key: key.clone(),
            value,
            remedy,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(parts: &[(EntityType, Option<&str>)]) -> QuotaEntity {
        parts
            .iter()
            .map(|(kind, name)| (*kind, name.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn clients_are_users_client_ids_or_addresses() {
        use EntityType::{ClientId, Ip, User};
        for good in [
            entity(&[(User, Some("ann"))]),
            entity(&[(User, None), (ClientId, Some("app"))]),
            entity(&[(Ip, Some("10.0.0.1"))]),
            entity(&[(Ip, None)]),
        ] {
            assert_eq!(check_quota(&good, &[]), Ok(()), "{good:?}");
        }
        for (bad, why) in [
            (entity(&[]), QuotaError::NoEntity),
            (entity(&[(Ip, None), (User, None)]), QuotaError::MixedEntity),
            (entity(&[(User, Some(""))]), QuotaError::EmptyName(User)),
            (
                entity(&[(Ip, Some("nowhere"))]),
                QuotaError::BadAddress("nowhere".into()),
            ),
        ] {
            assert_eq!(check_quota(&bad, &[]), Err(why));
        }
    }

    #[test]
    fn names_and_values_are_those_of_the_entity() {
        let ann = entity(&[(EntityType::User, Some("ann"))]);
        let here = entity(&[(EntityType::Ip, None)]);
        let set = |entity: &QuotaEntity, key: &str, value: f64| {
            check_quota(entity, &[(key.to_owned(), Some(value))])
        };
        assert_eq!(set(&ann, "producer_byte_rate", 1024.0), Ok(()));
        assert_eq!(set(&ann, "request_percentage", 12.5), Ok(()));
        assert_eq!(set(&here, "connection_creation_rate", 5.0), Ok(()));
        assert_eq!(
            check_quota(&ann, &[("producer_byte_rate".into(), None)]),
            Ok(())
        );
        for (entity, key, value) in [
            (&ann, "connection_creation_rate", 5.0),
            (&here, "producer_byte_rate", 5.0),
            (&ann, "no_such_rate", 5.0),
        ] {
            assert!(matches!(
                set(entity, key, value),
                Err(QuotaError::UnknownKey { .. })
            ));
        }
        for value in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(matches!(
                set(&ann, "producer_byte_rate", value),
                Err(QuotaError::BadValue { .. })
            ));
        }
    }
}
