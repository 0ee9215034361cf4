//! DescribeUserScramCredentials (50), version 0.
//!
//! Which users have a password for SCRAM, with which hash and how often it was hashed; never the
//! credential itself. No user named, or null, means all (KIP-554).

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::repeated::{REPEATED, apart};
use crate::metadata::{ScramCredential, ScramMechanism};

/// Answers a DescribeUserScramCredentials request.
pub async fn handle(
    ctx: &Context,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let scram = &ctx.image.scram;
    let response = DescribeUserScramCredentialsResponse::default().with_error_message(None);
    let users = request.users.unwrap_or_default();
    if users.is_empty() {
        let all = scram
            .iter()
            .map(|(user, of_user)| described(StrBytes::from_string(user.clone()), of_user));
        return response.with_results(all.collect());
    }
    let (once, repeated) = apart(users, |user| user.name.clone());
    let mut results: Vec<_> = once
        .into_iter()
        .map(|user| match scram.get(&*user.name) {
            Some(of_user) => described(user.name, of_user),
            None => {
                let message = format!("User '{}' has no credential.", &*user.name);
                refused(user.name, ResponseError::ResourceNotFound, message)
            }
        })
        .collect();
    results.extend(
        repeated
            .into_iter()
            .map(|user| refused(user.name, ResponseError::DuplicateResource, REPEATED.into())),
    );
    response.with_results(results)
}

fn described(
    user: StrBytes,
    of_user: &BTreeMap<ScramMechanism, ScramCredential>,
) -> DescribeUserScramCredentialsResult {
    let infos = of_user.iter().map(|(mechanism, credential)| {
        CredentialInfo::default()
            .with_mechanism(mechanism.number())
            .with_iterations(i32::try_from(credential.iterations).unwrap_or(i32::MAX))
    });
    DescribeUserScramCredentialsResult::default()
        .with_user(user)
        .with_error_message(None)
        .with_credential_infos(infos.collect())
}

fn refused(
    user: StrBytes,
    error: ResponseError,
    message: String,
) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult::default()
        .with_user(user)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
