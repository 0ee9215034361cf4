//! DescribeConfigs (32), versions 1-4.
//!
//! The settings of topics, of this broker and of all brokers, of groups and of subscriptions to
//! clients' metrics, with where each value comes from; all that follows from the table in `config`.
//!
//! v1 sources and synonyms; v3 types and documentation (KIP-569).
//! Not supported: version 0; loggers (resource type 8).

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
use super::resource;
use crate::config::{
    Described, Resource, describe_broker, describe_client_metrics, describe_cluster,
    describe_group, describe_topic,
};
use crate::metadata::check_name;

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
    let config = &ctx.image.config;
    let name = &*resource.resource_name;
    let resource = resource::read(ctx, resource.resource_type, name)?;
    let Some(given) = ctx.image.settings_of(&resource) else {
        return Err(match check_name(name) {
            Ok(()) => (
                ResponseError::UnknownTopicOrPartition,
                format!("Topic '{name}' does not exist."),
            ),
            Err(error) => (errors::metadata(&error), error.to_string()),
        });
    };
    Ok(match resource {
        Resource::Topic(_) => describe_topic(given, config),
        Resource::Broker(_) => describe_broker(config),
        Resource::Cluster => describe_cluster(config),
        Resource::Group(_) => describe_group(given, config),
        Resource::ClientMetrics(_) => describe_client_metrics(given, config),
    })
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
