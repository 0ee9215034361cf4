//! OffsetCommit (8), versions 1-9.
//!
//! Offsets of a group are kept, durably when the answer leaves. Partitions are judged each alone, but for
//! what concerns the group or the member.
//!
//! v2 retention times, gone in v5 and not heeded: `offsets.retention.minutes` holds for all; v6 leader
//! epochs; v7 static members; v9 members of the consumer protocol, and GROUP_ID_NOT_FOUND.
//! v1 is sarama's up to 1.40: it brings a timestamp with each offset, which is not heeded either.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};

use super::context::Context;
use super::group::{ask, code, maybe, mismatched, owned, text};
use super::{Outcome, errors, reply};
use crate::coordinator::group::commands::{
    ByTopic, Caller, Command, Commit, GroupError, NewOffset, Reply,
};

/// Serves an OffsetCommit request from its bytes, for the codec does not know version 1.
pub(crate) async fn serve(mut ctx: Context, body: BytesMut) -> Outcome {
    let request = match decode(body, ctx.version) {
        Ok(request) => request,
        Err(error) => return Outcome::Close(format!("the request does not decode: {error}")),
    };
    ctx.version = ctx.version.max(2);
    reply(&ctx, &handle(&ctx, request).await)
}

/// The request in `body`, which the guard has passed.
pub(crate) fn decode(body: BytesMut, version: i16) -> anyhow::Result<OffsetCommitRequest> {
    match version {
        1 => super::codec(version_2(body.freeze())?, 2),
        _ => super::codec(body, version),
    }
}

/// Writes a request of version 1 as one of version 2: that has a retention time behind the member id, and
/// no timestamp with each partition.
fn version_2(mut body: Bytes) -> anyhow::Result<BytesMut> {
    let mut out = BytesMut::with_capacity(body.len() + size_of::<i64>());
    copy_string(&mut body, &mut out)?; // group
    out.put_i32(body.try_get_i32()?); // generation
    copy_string(&mut body, &mut out)?; // member
    out.put_i64(-1); // retention time
    let topics = body.try_get_i32()?;
    out.put_i32(topics);
    for _ in 0..topics {
        copy_string(&mut body, &mut out)?;
        let partitions = body.try_get_i32()?;
        out.put_i32(partitions);
        for _ in 0..partitions {
            out.put_i32(body.try_get_i32()?); // partition
            out.put_i64(body.try_get_i64()?); // offset
            body.try_get_i64()?; // timestamp
            copy_string(&mut body, &mut out)?; // metadata
        }
    }
    Ok(out)
}

fn copy_string(body: &mut Bytes, out: &mut BytesMut) -> anyhow::Result<()> {
    let len = body.try_get_i16()?;
    out.put_i16(len);
    let len = usize::try_from(len).unwrap_or(0);
    anyhow::ensure!(len <= body.len(), "a string is cut");
    out.put(body.split_to(len));
    Ok(())
}

/// Answers an OffsetCommit request.
pub async fn handle(ctx: &Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let nothing: Arc<str> = "".into();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            let offset = NewOffset {
                offset: one.committed_offset,
                leader_epoch: one.committed_leader_epoch,
                metadata: match &one.committed_metadata {
                    Some(metadata) if !metadata.is_empty() => owned(metadata),
                    Some(_) | None => nothing.clone(),
                },
            };
            (one.partition_index, offset)
        });
        (owned(&topic.name), partitions.collect())
    });
    let offsets: ByTopic<NewOffset> = topics.collect();
    let commit = Commit {
        caller: Caller {
            group: owned(&request.group_id),
            member: owned(&request.member_id),
            instance: maybe(request.group_instance_id.as_ref()),
            generation: request.generation_id_or_member_epoch,
        },
        knows_epochs: ctx.version >= 9,
        image: ctx.image.clone(),
        offsets,
    };
    match ask(ctx, Command::Commit(commit)).await {
        Ok(Reply::Partitions(Ok(outcomes))) => respond(&outcomes, |outcome| match outcome {
            // Older clients know this by another name.
            Err(GroupError::UnknownGroup(_)) if ctx.version < 9 => {
                ResponseError::IllegalGeneration.code()
            }
            outcome => code(outcome),
        }),
        Ok(Reply::Partitions(Err(error))) => all(request, errors::group(&error)),
        Ok(other) => all(request, mismatched(&other)),
        Err(error) => all(request, error),
    }
}

fn all(request: OffsetCommitRequest, error: ResponseError) -> OffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|one| (one.partition_index, ()));
        (owned(&topic.name), indexes.collect())
    });
    respond(&topics.collect(), |()| error.code())
}

fn respond<T>(outcomes: &ByTopic<T>, code: impl Fn(&T) -> i16) -> OffsetCommitResponse {
    let topics = outcomes.iter().map(|(topic, partitions)| {
        let partitions = partitions.iter().map(|(index, outcome)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(*index)
                .with_error_code(code(outcome))
        });
        OffsetCommitResponseTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_read() {
        let body = b"\0\x01g\0\0\0\x07\0\x01m\0\0\0\x01\0\x01t\0\0\0\x02\
            \0\0\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\0\0\0\0\x63\0\x04note\
            \0\0\0\x04\0\0\0\0\0\0\0\x2b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
        let request = decode(BytesMut::from(&body[..]), 1).unwrap();
        assert_eq!(&*request.group_id.0, "g");
        assert_eq!(request.generation_id_or_member_epoch, 7);
        assert_eq!(&*request.member_id, "m");
        let partitions = &request.topics[0].partitions;
        assert_eq!(partitions[0].partition_index, 3);
        assert_eq!(partitions[0].committed_offset, 42);
        assert_eq!(partitions[0].committed_metadata.as_deref(), Some("note"));
        assert_eq!(partitions[1].committed_offset, 43);
        assert_eq!(partitions[1].committed_metadata, None);
        for cut in 0..body.len() {
            assert!(decode(BytesMut::from(&body[..cut]), 1).is_err(), "{cut}");
        }
    }
}
