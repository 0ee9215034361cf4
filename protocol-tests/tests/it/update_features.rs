//! UpdateFeatures (57), and the features that ApiVersions tells.

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{ApiVersionsRequest, UpdateFeaturesRequest};
use protocol_tests::calls::text;
use protocol_tests::{Broker, codes};

/// The level that holds may be asked for again, another one may not.
#[test]
fn levels_stay_where_they_are() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let versions = ApiVersionsRequest::default()
        .with_client_software_name(text("tests"))
        .with_client_software_version(text("1"));
    let told = client.call(3, &versions);
    let finalized = told.finalized_features.iter();
    let level = finalized
        .filter(|one| &*one.name == "metadata.version")
        .map(|one| one.max_version_level)
        .next()
        .expect("metadata.version is told");
    let supported = told.supported_features.iter();
    let mut names = supported.filter(|one| &*one.name == "metadata.version");
    assert!(names.all(|one| (one.min_version..=one.max_version).contains(&level)));
    let mut ask = |feature: &str, level: i16| {
        let update = FeatureUpdateKey::default()
            .with_feature(text(feature))
            .with_max_version_level(level)
            .with_upgrade_type(1);
        let request = UpdateFeaturesRequest::default()
            .with_timeout_ms(10_000)
            .with_validate_only(true)
            .with_feature_updates(vec![update]);
        client.call(2, &request).error_code
    };
    assert_eq!(ask("metadata.version", level), codes::NONE);
    assert_eq!(ask("metadata.version", 99), codes::INVALID_UPDATE_VERSION);
    assert_eq!(ask("no.such.feature", 1), codes::INVALID_UPDATE_VERSION);
}

/// Producers count on level 2 of `transaction.version`. Clients that ask at version 3 are not told of
/// features whose lowest level is 0: they cannot read them.
#[test]
fn transactions_are_at_level_2() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let versions = ApiVersionsRequest::default()
        .with_client_software_name(text("tests"))
        .with_client_software_version(text("1"));
    for version in [3, 4] {
        let told = client.call(version, &versions);
        let mut finalized = told.finalized_features.iter();
        let level = finalized.find(|one| &*one.name == "transaction.version");
        assert_eq!(level.map(|one| one.max_version_level), Some(2));
        let mut supported = told.supported_features.iter();
        let range = supported.find(|one| &*one.name == "transaction.version");
        assert_eq!(
            range.map(|one| (one.min_version, one.max_version)),
            (version == 4).then_some((0, 2))
        );
    }
}
