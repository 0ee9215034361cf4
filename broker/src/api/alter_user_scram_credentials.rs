//! AlterUserScramCredentials (51), version 0.
//!
//! Gives users passwords for SCRAM and takes them away (KIP-554). The client sends the salted
//! password; what is kept are the two keys that a server needs, from which it does not follow.
//! Nobody is asked for a password so far.

use aws_lc_rs::{digest, hmac};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use super::repeated::apart;
use crate::metadata::{ScramCredential, ScramMechanism};

/// How often a password may be hashed: less is weak, more keeps the broker busy.
const ITERATIONS: std::ops::RangeInclusive<i32> = 4096..=16_384;

/// A user, and what becomes of one of its credentials.
struct Asked {
    user: StrBytes,
    mechanism: i8,
    new: Option<ScramCredentialUpsertion>,
}

/// Answers an AlterUserScramCredentials request.
pub async fn handle(
    ctx: &Context,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let deletions = request.deletions.into_iter().map(|deletion| Asked {
        user: deletion.name,
        mechanism: deletion.mechanism,
        new: None,
    });
    let upsertions = request.upsertions.into_iter().map(|upsertion| Asked {
        user: upsertion.name.clone(),
        mechanism: upsertion.mechanism,
        new: Some(upsertion),
    });
    let asked: Vec<Asked> = deletions.chain(upsertions).collect();
    // One answer a user: whose credentials come twice gets none of them.
    let mut users: Vec<StrBytes> = Vec::new();
    for one in &asked {
        if !users.contains(&one.user) {
            users.push(one.user.clone());
        }
    }
    let (once, repeated) = apart(asked, |one| (one.user.clone(), one.mechanism));
    let mut refused: Vec<(StrBytes, ResponseError, String)> = Vec::new();
    for one in &repeated {
        let why = "A credential of a user cannot be altered twice in one request.".to_owned();
        refused.push((one.user.clone(), ResponseError::DuplicateResource, why));
    }
    let mut changes = Vec::with_capacity(once.len());
    for one in &once {
        match change(one) {
            Ok(change) => changes.push(change),
            Err((error, why)) => refused.push((one.user.clone(), error, why.to_owned())),
        }
    }
    changes.retain(|(user, ..)| refused.iter().all(|(other, ..)| **other != **user));
    let names: Vec<String> = changes.iter().map(|(user, ..)| user.clone()).collect();
    let settled = ctx.rooms.metadata.alter_credentials(changes).await;
    for (user, settled) in names.into_iter().zip(settled) {
        if let Err(error) = settled {
            let code = errors::metadata(&error);
            refused.push((StrBytes::from_string(user), code, error.to_string()));
        }
    }
    let results = users.into_iter().map(|user| {
        let error = refused.iter().find(|(other, ..)| *other == user);
        AlterUserScramCredentialsResult::default()
            .with_user(user)
            .with_error_code(error.map_or(errors::NONE, |(_, error, _)| error.code()))
            .with_error_message(error.map(|(_, _, why)| StrBytes::from_string(why.clone())))
    });
    AlterUserScramCredentialsResponse::default().with_results(results.collect())
}

type Change = (String, ScramMechanism, Option<ScramCredential>);

fn change(asked: &Asked) -> Result<Change, (ResponseError, &'static str)> {
    if asked.user.is_empty() {
        return Err((
            ResponseError::UnacceptableCredential,
            "The name of the user is empty.",
        ));
    }
    let mechanism = ScramMechanism::numbered(asked.mechanism).ok_or((
        ResponseError::UnsupportedSaslMechanism,
        "The mechanism is not known: 1 is SCRAM-SHA-256, 2 is SCRAM-SHA-512.",
    ))?;
    let credential = match &asked.new {
        None => None,
        Some(new) if *ITERATIONS.start() > new.iterations => {
            return Err((
                ResponseError::UnacceptableCredential,
                "Too few iterations: 4096 are the least.",
            ));
        }
        Some(new) if *ITERATIONS.end() < new.iterations => {
            return Err((
                ResponseError::UnacceptableCredential,
                "Too many iterations: 16384 are the most.",
            ));
        }
        Some(new) if new.salt.is_empty() || new.salted_password.is_empty() => {
            return Err((
                ResponseError::UnacceptableCredential,
                "The salt or the salted password is empty.",
            ));
        }
        Some(new) => Some(credential(mechanism, new)),
    };
    Ok((asked.user.to_string(), mechanism, credential))
}

/// RFC 5802, section 3.
fn credential(mechanism: ScramMechanism, new: &ScramCredentialUpsertion) -> ScramCredential {
    let (hash, hash_with_key) = match mechanism {
        ScramMechanism::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256),
        ScramMechanism::Sha512 => (&digest::SHA512, hmac::HMAC_SHA512),
    };
    let salted_password = hmac::Key::new(hash_with_key, &new.salted_password);
    let client_key = hmac::sign(&salted_password, b"Client Key");
    let server_key = hmac::sign(&salted_password, b"Server Key");
    ScramCredential {
        salt: new.salt.to_vec(),
        stored_key: digest::digest(hash, client_key.as_ref()).as_ref().to_vec(),
        server_key: server_key.as_ref().to_vec(),
        iterations: new.iterations.unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The user `user` with the password `pencil` of RFC 7677, section 3.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let salted = [
            0xc4, 0xa4, 0x95, 0x10, 0x32, 0x3a, 0xb4, 0xf9, 0x52, 0xca, 0xc1, 0xfa, 0x99, 0x44,
            0x19, 0x39, 0xe7, 0x8e, 0xa7, 0x4d, 0x6b, 0xe8, 0x1d, 0xdf, 0x70, 0x96, 0xe8, 0x75,
            0x13, 0xdc, 0x61, 0x5d,
        ];
        let new = ScramCredentialUpsertion::default()
            .with_iterations(4096)
            .with_salt(bytes::Bytes::from_static(b"salt"))
            .with_salted_password(bytes::Bytes::copy_from_slice(&salted));
        let credential = credential(ScramMechanism::Sha256, &new);
        assert_eq!(
            hex(&credential.stored_key),
            "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6"
        );
        assert_eq!(
            hex(&credential.server_key),
            "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5"
        );
    }
}
