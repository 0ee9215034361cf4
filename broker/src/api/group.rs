//! What the group APIs share: the way to the room, and its words in the codec's types.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use crate::coordinator::group::commands::{Command, GroupError, Reply};

/// What the groups say to `command`, or the code for their not saying anything.
pub(super) async fn ask(ctx: &Context, command: Command) -> Result<Reply, ResponseError> {
    let reply = ctx.rooms.groups.submit(command).await;
    reply.map_err(|error| errors::unavailable(&error))
}

/// A reply of another kind than its command's is a mistake of ours.
pub(super) fn mismatched(reply: &Reply) -> ResponseError {
    tracing::error!(?reply, "the groups have answered another question");
    ResponseError::UnknownServerError
}

/// The code of what became of something.
pub(super) fn code(outcome: &Result<(), GroupError>) -> i16 {
    match outcome {
        Ok(()) => errors::NONE,
        Err(error) => errors::group(error).code(),
    }
}

/// A text that does not hold on to the frame it came in.
pub(super) fn owned(text: &StrBytes) -> Arc<str> {
    Arc::from(&**text)
}

/// The same for one that may be missing.
pub(super) fn maybe(text: Option<&StrBytes>) -> Option<Arc<str>> {
    text.map(owned)
}

/// The same for bytes.
pub(super) fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A text in the codec's type.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A group id in the codec's type.
pub(super) fn group_id(id: &str) -> GroupId {
    GroupId(text(id))
}
