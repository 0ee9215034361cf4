//! AlterConfigs (33), versions 0-2.
//!
//! Replaces all settings of a resource: what is not named goes back to its default. Each resource
//! alone; all of its settings change or none. Newer clients send IncrementalAlterConfigs.
//!
//! v2 flexible.
//! Not supported: loggers (resource type 8).

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::context::Context;
use super::resource;
use crate::config::Operations;

/// Answers an AlterConfigs request.
pub async fn handle(ctx: &Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let wanted = request.resources.into_iter().map(|resource| {
        let operations = operations(&resource);
        (resource.resource_type, resource.resource_name, operations)
    });
    let configured = resource::configure(ctx, wanted.collect(), request.validate_only).await;
    let responses = resource::answers!(configured, AlterConfigsResourceResponse);
    AlterConfigsResponse::default().with_responses(responses)
}

fn operations(resource: &AlterConfigsResource) -> Result<Operations, (ResponseError, String)> {
    let mut all = BTreeMap::new();
    for config in &resource.configs {
        let Some(value) = &config.value else {
            return Err((
                ResponseError::InvalidRequest,
                format!(
                    "Setting {} has no value; leave it out to unset it.",
                    &*config.name
                ),
            ));
        };
        if all
            .insert(config.name.to_string(), value.to_string())
            .is_some()
        {
            return Err(resource::repeated_setting(&config.name));
        }
    }
    Ok(Operations::Replace(all))
}
