//! IncrementalAlterConfigs (44), versions 0-1.
//!
//! Sets settings of a resource, unsets them, adds words to lists and takes words out (KIP-339). Each
//! resource alone; all of its settings change or none. What is changed of the broker's settings holds
//! at once.
//!
//! v1 flexible.
//! Not supported: loggers (resource type 8).

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::context::Context;
use super::resource;
use crate::config::{Operation, Operations};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Answers an IncrementalAlterConfigs request.
pub async fn handle(
    ctx: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let wanted = request.resources.into_iter().map(|resource| {
        let operations = operations(&resource);
        (resource.resource_type, resource.resource_name, operations)
    });
    let configured = resource::configure(ctx, wanted.collect(), request.validate_only).await;
    let responses = resource::answers!(configured, AlterConfigsResourceResponse);
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn operations(resource: &AlterConfigsResource) -> Result<Operations, (ResponseError, String)> {
    let mut seen = HashSet::new();
    let mut changes = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        if !seen.insert(&config.name) {
            return Err(resource::repeated_setting(&config.name));
        }
        let value = config.value.as_ref().map(ToString::to_string);
        let operation = match (config.config_operation, value) {
            (DELETE, _) => Operation::Delete,
            (SET | APPEND | SUBTRACT, None) => {
                return Err((
                    ResponseError::InvalidRequest,
                    format!("Setting {} is given no value.", &*config.name),
                ));
            }
            (SET, Some(value)) => Operation::Set(value),
            (APPEND, Some(value)) => Operation::Append(value),
            (SUBTRACT, Some(value)) => Operation::Subtract(value),
            (other, _) => {
                return Err((
                    ResponseError::InvalidRequest,
                    format!(
                        "Operation {other} is not known: 0 sets, 1 deletes, 2 appends, 3 subtracts."
                    ),
                ));
            }
        };
        changes.push((config.name.to_string(), operation));
    }
    Ok(Operations::Change(changes))
}
