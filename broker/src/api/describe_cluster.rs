//! DescribeCluster (60), versions 0-2.
//!
//! The cluster's id, its brokers as this client can reach them, and the one that takes
//! administrative requests; every broker does.
//!
//! v1 endpoint type (KIP-919); v2 fenced brokers (KIP-1073).
//! Not supported: endpoints of controllers, there are none apart from the brokers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;

use super::operations;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers a DescribeCluster request.
pub async fn handle(ctx: &Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let refused = |error: ResponseError, message: &'static str| {
        DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str(message)))
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            return refused(
                ResponseError::MismatchedEndpointType,
                "This is the endpoint of a broker: ask for endpoint type 1.",
            );
        }
        _ => {
            return refused(
                ResponseError::UnsupportedEndpointType,
                "Unknown endpoint type: 1 stands for brokers.",
            );
        }
    }
    let node_id = BrokerId(ctx.rooms.config.node_id);
    let (host, port) = &*ctx.advertised;
    let operations = match request.include_cluster_authorized_operations {
        true => operations::CLUSTER,
        false => operations::NOT_ASKED,
    };
    DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(ctx.image.cluster_id.to_string()))
        .with_controller_id(node_id)
        .with_brokers(vec![
            DescribeClusterBroker::default()
                .with_broker_id(node_id)
                .with_host(StrBytes::from_string(host.clone()))
                .with_port(i32::from(*port)),
        ])
        .with_cluster_authorized_operations(operations)
}
