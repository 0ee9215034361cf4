//! ApiVersions (18), versions 0-4.
//!
//! Lists what the table serves. A version above ours is answered in the layout of version 0 with
//! UNSUPPORTED_VERSION and our range, so that the client can ask again (KIP-511).
//!
//! v3 flexible, and carries the client's software name and version; v4 allows features whose lowest
//! level is 0. The features of `features.rs` are told as supported and as agreed on. A tagged field
//! that holds its default is never sent: librdkafka before 2.1.1 loses its place in them.

use bytes::BytesMut;
use futures::FutureExt;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::features::{FEATURES, Feature};
use super::session::ClientSoftware;
use super::{Api, Outcome, Stages, TABLE, reply};

/// Answers a version that is not served; what follows the header is not looked at.
pub(super) static ANY_VERSION: Api = Api {
    key: ApiKey::ApiVersions,
    name: "ApiVersions",
    versions: i16::MIN..=i16::MAX,
    served_from: i16::MIN,
    stages: Stages::One,
    carries_records: false,
    run: |ctx, _body: BytesMut| unsupported_version(ctx).boxed(),
    probe: |_version, _body| Ok(()),
};

async fn unsupported_version(ctx: Context) -> Outcome {
    let own = TABLE.iter().filter(|api| api.key == ApiKey::ApiVersions);
    let response = ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(own.map(range).collect());
    reply(&ctx, &response)
}

/// Lists the table.
pub async fn handle(ctx: &Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    if ctx.version >= 3 {
        let name = request.client_software_name.as_str();
        let version = request.client_software_version.as_str();
        if !is_software_name(name) || !is_software_name(version) {
            return ApiVersionsResponse::default()
                .with_error_code(ResponseError::InvalidRequest.code());
        }
        ctx.session.set_software(ClientSoftware {
            name: name.to_owned(),
            version: version.to_owned(),
        });
    }
    let response = ApiVersionsResponse::default().with_api_keys(TABLE.iter().map(range).collect());
    match ctx.version {
        ..3 => response,
        3.. => response
            .with_supported_features(tellable(ctx.version).map(supported).collect())
            .with_finalized_features_epoch(FINALIZED_EPOCH)
            .with_finalized_features(FEATURES.iter().map(finalized).collect()),
    }
}

/// Only version 4 can say that a feature may be off, at level 0.
fn tellable(version: i16) -> impl Iterator<Item = &'static Feature> {
    let all = FEATURES.iter();
    all.filter(move |feature| version >= 4 || feature.supported.0 > 0)
}

/// Levels of features do not change while a broker runs.
const FINALIZED_EPOCH: i64 = 1;

fn supported(feature: &Feature) -> SupportedFeatureKey {
    SupportedFeatureKey::default()
        .with_name(StrBytes::from_static_str(feature.name))
        .with_min_version(feature.supported.0)
        .with_max_version(feature.supported.1)
}

fn finalized(feature: &Feature) -> FinalizedFeatureKey {
    FinalizedFeatureKey::default()
        .with_name(StrBytes::from_static_str(feature.name))
        .with_min_version_level(feature.level)
        .with_max_version_level(feature.level)
}

fn range(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(*api.versions.start())
        .with_max_version(*api.versions.end())
}

/// Whether KIP-511 allows `name`: letters, digits, dots and hyphens, neither of these two at an end.
fn is_software_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let bytes = name.as_bytes();
    bytes.iter().all(|b| inner(*b))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_those_of_kip_511() {
        for good in [
            "a",
            "librdkafka",
            "apache-kafka-java",
            "3.7.1",
            "v2.0.2-RC1",
        ] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-bad-", ".x", "x.", "a b", "käfka", "a_b"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
