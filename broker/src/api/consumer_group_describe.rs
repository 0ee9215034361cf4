//! ConsumerGroupDescribe (69), versions 0-1.
//!
//! Epochs, members and assignments of groups of the consumer protocol (KIP-848). A group of another
//! kind is GROUP_ID_NOT_FOUND: tools then ask DescribeGroups.
//!
//! v1 tells classic members from others (KIP-1099).

use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, TopicName,
};

use super::context::Context;
use super::group::{ask, mismatched, owned, text};
use super::{errors, operations};
use crate::coordinator::group::commands::{Command, GroupError, Reply};
use crate::coordinator::group::consumer::member::Partitions;
use crate::coordinator::group::consumer::{self, Described, DescribedMember};

/// A member that speaks the classic protocol.
const CLASSIC: i8 = 0;
/// One that speaks the consumer protocol.
const CONSUMER: i8 = 1;

/// Answers a ConsumerGroupDescribe request.
pub async fn handle(
    ctx: &Context,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for id in request.group_ids {
        let described = if id.is_empty() {
            refused(&GroupError::InvalidGroupId)
        } else {
            let command = consumer::Command::Describe(owned(&id));
            match ask(ctx, Command::Consumer(command)).await {
                Ok(Reply::Consumer(consumer::Reply::Described(Ok(described)))) => {
                    let asked = request.include_authorized_operations;
                    describe(ctx, described).with_authorized_operations(match asked {
                        true => operations::GROUP,
                        false => operations::NOT_ASKED,
                    })
                }
                Ok(Reply::Consumer(consumer::Reply::Described(Err(error)))) => refused(&error),
                Ok(other) => DescribedGroup::default().with_error_code(mismatched(&other).code()),
                Err(error) => DescribedGroup::default().with_error_code(error.code()),
            }
        };
        groups.push(described.with_group_id(id));
    }
    ConsumerGroupDescribeResponse::default().with_groups(groups)
}

fn refused(error: &GroupError) -> DescribedGroup {
    DescribedGroup::default()
        .with_error_code(errors::group(error).code())
        .with_error_message(Some(text(&error.to_string())))
}

fn describe(ctx: &Context, described: Described) -> DescribedGroup {
    let members = described.members.into_iter();
    DescribedGroup::default()
        .with_group_state(text(described.state))
        .with_group_epoch(described.epoch)
        .with_assignment_epoch(described.assignment_epoch)
        .with_assignor_name(text(described.assignor))
        .with_members(members.map(|member| describe_member(ctx, member)).collect())
}

fn describe_member(ctx: &Context, member: DescribedMember) -> Member {
    let said = member.said;
    let topics = said.topics.iter();
    let described = Member::default()
        .with_member_id(text(&member.member))
        .with_instance_id(said.instance.as_deref().map(text))
        .with_rack_id(said.rack.as_deref().map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&said.client_id))
        .with_client_host(text(&said.client_host))
        .with_subscribed_topic_names(topics.map(|name| TopicName(text(name))).collect())
        .with_subscribed_topic_regex((!said.regex.is_empty()).then(|| text(&said.regex)))
        .with_assignment(assignment(ctx, member.assigned))
        .with_target_assignment(assignment(ctx, member.target));
    match ctx.version {
        ..1 => described,
        1.. => described.with_member_type(match said.classic {
            Some(_) => CLASSIC,
            None => CONSUMER,
        }),
    }
}

/// Partitions with the names of their topics; those of topics that are gone are left out.
fn assignment(ctx: &Context, partitions: Partitions) -> Assignment {
    let topics = partitions.into_iter().filter_map(|(id, partitions)| {
        let topic = ctx.image.topic_by_id(&id)?;
        let described = TopicPartitions::default()
            .with_topic_id(id)
            .with_topic_name(TopicName(text(&topic.name)))
            .with_partitions(partitions);
        Some(described)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
