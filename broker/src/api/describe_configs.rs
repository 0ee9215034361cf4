//! DescribeConfigs (32), versions 1-4.
//!
//! The settings of topics and of this broker, with where each value comes from; all that follows
//! from the table in `config`.
//!
//! v1 sources and synonyms; v3 types and documentation (KIP-569).
//! Not supported: version 0; loggers, client metrics and groups (resource types 8, 16 and 32), which
//! have no settings of their own yet; settings changed while running.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use crate::config::{Described, describe_broker, describe_topic};
use crate::metadata::check_name;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Answers a DescribeConfigs request.
pub async fn handle(ctx: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(ctx, &resource) {
            Ok(configs) => {
                let keys: Option<HashSet<StrBytes>> =
                    resource.configuration_keys.map(HashSet::from_iter);
                let wanted = |config: &Described| {
                    keys.as_ref()
                        .is_none_or(|keys| keys.contains(config.name.as_bytes()))
                };
                let configs = configs.into_iter().filter(wanted).map(|config| {
                    entry(
                        config,
                        request.include_synonyms,
                        request.include_documentation,
                    )
                });
                result
                    .with_error_message(None)
                    .with_configs(configs.collect())
            }
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(message))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe(
    ctx: &Context,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, (ResponseError, String)> {
    let config = &ctx.rooms.config;
    let name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => match ctx.image.topic(name) {
            Some(topic) => Ok(describe_topic(&topic.overrides, config)),
            None => Err(match check_name(name) {
                Ok(()) => (
                    ResponseError::UnknownTopicOrPartition,
                    format!("Topic '{name}' does not exist."),
                ),
                Err(error) => (errors::metadata(&error), error.to_string()),
            }),
        },
        // Settings given to all brokers at run time; there are none.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if name.parse() == Ok(config.node_id) => Ok(describe_broker(config)),
        BROKER => Err((
            ResponseError::InvalidRequest,
            format!(
                "This is broker {}; it cannot describe broker '{name}'.",
                config.node_id
            ),
        )),
        other => Err((
            ResponseError::InvalidRequest,
            format!("Resource type {other} is not supported: 2 stands for topics, 4 for brokers."),
        )),
    }
}

fn entry(config: Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let synonyms = match synonyms {
        true => config.synonyms,
        false => Vec::new(),
    };
    let synonyms = synonyms.into_iter().map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(synonym.name))
            .with_value(synonym.value.map(StrBytes::from_string))
            .with_source(synonym.source as i8)
    });
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(config.name))
        .with_value(config.value.map(StrBytes::from_string))
        .with_read_only(config.read_only)
        .with_config_source(config.source as i8)
        .with_is_sensitive(config.sensitive)
        .with_synonyms(synonyms.collect())
        .with_config_type(config.kind as i8)
        .with_documentation(documentation.then(|| StrBytes::from_static_str(config.documentation)))
}
