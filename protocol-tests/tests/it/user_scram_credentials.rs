//! DescribeUserScramCredentials (50) and AlterUserScramCredentials (51).

use bytes::Bytes;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
};
use protocol_tests::calls::text;

use protocol_tests::{Broker, Client, codes, unique, wait_until};

const SHA_256: i8 = 1;
const SHA_512: i8 = 2;

fn upsertion(user: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion::default()
        .with_name(text(user))
        .with_mechanism(mechanism)
        .with_iterations(iterations)
        .with_salt(Bytes::from_static(b"some salt"))
        .with_salted_password(Bytes::from_static(b"some salted password"))
}

fn deletion(user: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion::default()
        .with_name(text(user))
        .with_mechanism(mechanism)
}

fn alter(
    client: &mut Client,
    deletions: Vec<ScramCredentialDeletion>,
    upsertions: Vec<ScramCredentialUpsertion>,
) -> Vec<i16> {
    let request = AlterUserScramCredentialsRequest::default()
        .with_deletions(deletions)
        .with_upsertions(upsertions);
    let answer = client.call(0, &request);
    answer.results.iter().map(|one| one.error_code).collect()
}

/// Mechanisms and iterations of a user, or the error.
fn describe(client: &mut Client, user: &str) -> Result<Vec<(i8, i32)>, i16> {
    let request = DescribeUserScramCredentialsRequest::default()
        .with_users(Some(vec![UserName::default().with_name(text(user))]));
    let answer = client.call(0, &request);
    assert_eq!(answer.error_code, codes::NONE);
    let result = &answer.results[0];
    if result.error_code != codes::NONE {
        return Err(result.error_code);
    }
    let infos = result.credential_infos.iter();
    let mut infos: Vec<(i8, i32)> = infos.map(|one| (one.mechanism, one.iterations)).collect();
    infos.sort_unstable();
    Ok(infos)
}

/// A user has a credential a mechanism; they come and go one by one.
#[test]
fn credentials_come_and_go() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let user = unique("scram");
    assert_eq!(describe(&mut client, &user), Err(codes::RESOURCE_NOT_FOUND));
    let given = alter(&mut client, vec![], vec![upsertion(&user, SHA_256, 4096)]);
    assert_eq!(given, [codes::NONE]);
    wait_until("the first credential", || {
        describe(&mut client, &user) == Ok(vec![(SHA_256, 4096)])
    });
    let given = alter(&mut client, vec![], vec![upsertion(&user, SHA_512, 8192)]);
    assert_eq!(given, [codes::NONE]);
    wait_until("both credentials", || {
        describe(&mut client, &user) == Ok(vec![(SHA_256, 4096), (SHA_512, 8192)])
    });
    let all = client.call(
        0,
        &DescribeUserScramCredentialsRequest::default().with_users(None),
    );
    assert!(all.results.iter().any(|one| *one.user == *user));
    for mechanism in [SHA_256, SHA_512] {
        let taken = alter(&mut client, vec![deletion(&user, mechanism)], vec![]);
        assert_eq!(taken, [codes::NONE]);
    }
    wait_until("no credential", || {
        describe(&mut client, &user) == Err(codes::RESOURCE_NOT_FOUND)
    });
    let again = alter(&mut client, vec![deletion(&user, SHA_256)], vec![]);
    assert_eq!(again, [codes::RESOURCE_NOT_FOUND]);
}

/// Credentials that no server should keep.
#[test]
fn weak_and_unknown_ones_are_refused() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let user = unique("scram-weak");
    for (wrong, code) in [
        (
            upsertion(&user, SHA_256, 4095),
            codes::UNACCEPTABLE_CREDENTIAL,
        ),
        (
            upsertion(&user, SHA_256, 16_385),
            codes::UNACCEPTABLE_CREDENTIAL,
        ),
        (upsertion("", SHA_256, 4096), codes::UNACCEPTABLE_CREDENTIAL),
        (upsertion(&user, 9, 4096), codes::UNSUPPORTED_SASL_MECHANISM),
    ] {
        assert_eq!(alter(&mut client, vec![], vec![wrong]), [code]);
    }
    let twice = vec![
        upsertion(&user, SHA_256, 4096),
        upsertion(&user, SHA_256, 5000),
    ];
    assert_eq!(
        alter(&mut client, vec![], twice),
        [codes::DUPLICATE_RESOURCE]
    );
    assert_eq!(describe(&mut client, &user), Err(codes::RESOURCE_NOT_FOUND));
}
