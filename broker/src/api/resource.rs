//! What settings belong to, as requests name it: a number for the kind, and a name.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use super::repeated::{REPEATED, apart};
use crate::config::{Operations, Resource};
use crate::metadata::check_name;

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

/// What became of the settings of a resource.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) kind: i8,
    pub(super) name: StrBytes,
    pub(super) error_code: i16,
    pub(super) message: Option<StrBytes>,
}

/// The answers of AlterConfigs or of IncrementalAlterConfigs: the codec has a type for each, with the
/// same fields.
macro_rules! answers {
    ($configured:expr, $answer:ty) => {{
        let answers = $configured.into_iter().map(|one| {
            <$answer>::default()
                .with_resource_type(one.kind)
                .with_resource_name(one.name)
                .with_error_code(one.error_code)
                .with_error_message(one.message)
        });
        answers.collect::<Vec<_>>()
    }};
}
pub(super) use answers;

/// Why a setting that is named twice is refused.
pub(super) fn repeated_setting(name: &str) -> (ResponseError, String) {
    (
        ResponseError::InvalidRequest,
        format!("Setting {name} is named more than once."),
    )
}

/// A resource as a request names it, and what is to be done to its settings.
pub(super) type Wanted = (i8, StrBytes, Result<Operations, (ResponseError, String)>);

/// Changes the settings of resources, each alone, and tells what became of each.
pub(super) async fn configure(
    ctx: &Context,
    wanted: Vec<Wanted>,
    validate_only: bool,
) -> Vec<Configured> {
    let (once, repeated) = apart(wanted, |(kind, name, _)| (*kind, name.clone()));
    let answer = |kind, name, error: Option<(ResponseError, String)>| Configured {
        kind,
        name,
        error_code: error
            .as_ref()
            .map_or(errors::NONE, |(error, _)| error.code()),
        message: error.map(|(_, message)| StrBytes::from_string(message)),
    };
    let mut all = Vec::with_capacity(once.len() + repeated.len());
    let mut changes = Vec::with_capacity(once.len());
    let mut changed = Vec::with_capacity(once.len());
    for (kind, name, operations) in once {
        let read = operations
            .and_then(|operations| Ok((known(ctx, read(ctx, kind, &name)?)?, operations)));
        match read {
            Ok(change) => {
                changes.push(change);
                changed.push((kind, name));
            }
            Err(error) => all.push(answer(kind, name, Some(error))),
        }
    }
    let settled = ctx.rooms.metadata.configure(changes, validate_only).await;
    for ((kind, name), settled) in changed.into_iter().zip(settled) {
        let error = settled
            .err()
            .map(|error| (errors::metadata(&error), error.to_string()));
        all.push(answer(kind, name, error));
    }
    all.extend(repeated.into_iter().map(|(kind, name, _)| {
        let error = (ResponseError::InvalidRequest, REPEATED.to_owned());
        answer(kind, name, Some(error))
    }));
    all
}

/// `resource`, unless it is a topic with a name that none can have.
fn known(ctx: &Context, resource: Resource) -> Result<Resource, (ResponseError, String)> {
    if let Resource::Topic(name) = &resource
        && ctx.image.topic(name).is_none()
        && let Err(error) = check_name(name)
    {
        return Err((errors::metadata(&error), error.to_string()));
    }
    Ok(resource)
}
