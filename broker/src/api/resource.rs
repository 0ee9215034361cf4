//! What settings belong to, as requests name it: a number for the kind, and a name.

use kafka_protocol::ResponseError;

use super::context::Context;
use crate::config::Resource;

/// A topic.
pub(super) const TOPIC: i8 = 2;
/// A broker, or with an empty name all of them.
pub(super) const BROKER: i8 = 4;
/// The loggers of a broker.
pub(super) const BROKER_LOGGER: i8 = 8;
/// A subscription to clients' metrics.
pub(super) const CLIENT_METRICS: i8 = 16;
/// A group.
pub(super) const GROUP: i8 = 32;

/// The resource of `kind` called `name`, if such a one can have settings; whether a topic exists is
/// another question.
pub(super) fn read(
    ctx: &Context,
    kind: i8,
    name: &str,
) -> Result<Resource, (ResponseError, String)> {
    let invalid = |why: String| Err((ResponseError::InvalidRequest, why));
    let node_id = ctx.rooms.config.node_id;
    match kind {
        TOPIC => Ok(Resource::Topic(name.to_owned())),
        BROKER if name.is_empty() => Ok(Resource::Cluster),
        BROKER if name.parse() == Ok(node_id) => Ok(Resource::Broker(node_id)),
        BROKER => invalid(format!(
            "This is broker {node_id}; it does not speak for broker '{name}'."
        )),
        CLIENT_METRICS | GROUP if name.is_empty() => invalid("A name is missing.".into()),
        CLIENT_METRICS => Ok(Resource::ClientMetrics(name.to_owned())),
        GROUP => Ok(Resource::Group(name.to_owned())),
        BROKER_LOGGER => invalid(
            "Loggers cannot be described or changed while the broker runs: see trestle.log.".into(),
        ),
        other => invalid(format!(
            "Resource type {other} is not known: 2 stands for topics, 4 for brokers, 16 for client \
             metrics, 32 for groups."
        )),
    }
}
