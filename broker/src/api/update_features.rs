//! UpdateFeatures (57), versions 0-2.
//!
//! Levels of features come with the version of the broker. To ask for the level that holds succeeds
//! and changes nothing; any other is refused.
//!
//! v1 kinds of upgrade and `validate_only`; v2 one answer for all features.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use super::features::FEATURES;

/// Answers an UpdateFeatures request.
pub async fn handle(ctx: &Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let mut results = Vec::with_capacity(request.feature_updates.len());
    let mut first = None;
    for update in request.feature_updates {
        let refused = judge(&update).err();
        let (code, message) = match &refused {
            Some((error, message)) => (error.code(), Some(message.clone())),
            None => (errors::NONE, None),
        };
        first = first.or(refused);
        results.push(
            UpdatableFeatureResult::default()
                .with_feature(update.feature)
                .with_error_code(code)
                .with_error_message(message.map(StrBytes::from_string)),
        );
    }
    let response = UpdateFeaturesResponse::default().with_error_message(None);
    match (ctx.version, first) {
        (..2, _) => response.with_results(results),
        (2.., None) => response,
        (2.., Some((error, message))) => response
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(message))),
    }
}

fn judge(update: &FeatureUpdateKey) -> Result<(), (ResponseError, String)> {
    let name = &*update.feature;
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
        return Err((
            ResponseError::InvalidUpdateVersion,
            format!("This broker has no feature '{name}'."),
        ));
    };
    if update.max_version_level == feature.level {
        return Ok(());
    }
    Err((
        ResponseError::InvalidUpdateVersion,
        format!(
            "'{name}' is at level {}, which comes with the version of the broker and cannot be \
             changed to {}.",
            feature.level, update.max_version_level
        ),
    ))
}
