//! ListConfigResources (74), versions 0-1.
//!
//! What settings can be asked for: topics, this broker, and the groups and subscriptions to clients'
//! metrics that have settings of their own. v0 lists subscriptions alone; v1 takes the kinds to list,
//! none for all (KIP-1142).
//! Not supported: loggers (resource type 8).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::resource::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::config::Resource;

const ALL: [i8; 4] = [TOPIC, BROKER, CLIENT_METRICS, GROUP];

/// Answers a ListConfigResources request.
pub async fn handle(
    ctx: &Context,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let mut kinds = match ctx.version {
        0 => vec![CLIENT_METRICS],
        _ if request.resource_types.is_empty() => ALL.to_vec(),
        _ => request.resource_types,
    };
    kinds.sort_unstable();
    kinds.dedup();
    let mut found = Vec::new();
    for kind in kinds {
        let names: Vec<String> = match kind {
            TOPIC => ctx.image.topics.keys().map(ToString::to_string).collect(),
            BROKER => vec![ctx.rooms.config.node_id.to_string()],
            BROKER_LOGGER => Vec::new(),
            CLIENT_METRICS => given(ctx, |resource| match resource {
                Resource::ClientMetrics(name) => Some(name),
                Resource::Topic(_)
                | Resource::Broker(_)
                | Resource::Cluster
                | Resource::Group(_) => None,
            }),
            GROUP => given(ctx, |resource| match resource {
                Resource::Group(name) => Some(name),
                Resource::Topic(_)
                | Resource::Broker(_)
                | Resource::Cluster
                | Resource::ClientMetrics(_) => None,
            }),
            _ => {
                return ListConfigResourcesResponse::default()
                    .with_error_code(ResponseError::UnsupportedVersion.code());
            }
        };
        found.extend(names.into_iter().map(|name| {
            let resource =
                ConfigResource::default().with_resource_name(StrBytes::from_string(name));
            match ctx.version {
                0 => resource,
                _ => resource.with_resource_type(kind),
            }
        }));
    }
    ListConfigResourcesResponse::default().with_config_resources(found)
}

/// Names of the resources that `kind` picks, of those that have settings of their own.
fn given(ctx: &Context, kind: impl Fn(&Resource) -> Option<&String>) -> Vec<String> {
    ctx.image
        .settings
        .keys()
        .filter_map(kind)
        .cloned()
        .collect()
}
