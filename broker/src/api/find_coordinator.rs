//! FindCoordinator (10), versions 0-6.
//!
//! Which broker coordinates a group or a transactional id, and where this client reaches it:
//! answered at once, there is no internal topic to create first.
//!
//! v1 key type; v4 many keys at once (KIP-699); v5 TRANSACTION_ABORTABLE, which is never needed here.
//! Not supported: share groups (key type 2 of v6).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Answers a FindCoordinator request.
pub async fn handle(ctx: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let find = |key: StrBytes| find(ctx, request.key_type, key);
    if ctx.version >= 4 {
        let found = request.coordinator_keys.into_iter().map(find);
        return FindCoordinatorResponse::default()
            .with_error_message(None)
            .with_coordinators(found.collect());
    }
    let found = find(request.key);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn find(ctx: &Context, key_type: i8, key: StrBytes) -> Coordinator {
    let refused = |message: &'static str| {
        Coordinator::default()
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_error_message(Some(StrBytes::from_static_str(message)))
    };
    let found = match key_type {
        // An empty group id is refused by the group's own APIs, not here.
        GROUP => here(ctx, &key),
        TRANSACTION if key.is_empty() => refused("The transactional id is empty."),
        TRANSACTION => here(ctx, &key),
        _ => refused("Unknown key type: 0 stands for groups, 1 for transactional ids."),
    };
    found.with_key(key)
}

fn here(ctx: &Context, key: &str) -> Coordinator {
    // One node: whoever coordinates is advertised as this one is.
    let (host, port) = &*ctx.advertised;
    Coordinator::default()
        .with_node_id(BrokerId(ctx.rooms.placement.coordinator(key)))
        .with_host(StrBytes::from_string(host.clone()))
        .with_port(i32::from(*port))
        .with_error_message(None)
}
