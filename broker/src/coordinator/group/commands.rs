//! What is asked of groups, and what they answer: the group APIs without their wire formats.

use std::sync::Arc;

use bytes::Bytes;

use super::consumer;
use crate::metadata::Image;
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp};

/// What is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// To become a member, or to take part in a rebalance.
    Join(Join),
    /// For one's assignment; the leader brings everybody's.
    Sync(Sync),
    /// To be known alive.
    Heartbeat(Caller),
    /// That members go.
    Leave(Leave),
    /// To keep offsets.
    Commit(Commit),
    /// To keep offsets if a transaction is committed.
    TxnCommit(TxnCommit),
    /// A transaction has ended.
    CompleteTxn(CompleteTxn),
    /// To keep offsets that another cluster has for the group.
    Import(Import),
    /// For committed offsets.
    Fetch(Fetch),
    /// Which groups there are.
    List(List),
    /// What a group is and who is in it.
    Describe(Arc<str>),
    /// That a group without members is forgotten.
    Delete(Arc<str>),
    /// That some of its offsets are.
    DeleteOffsets(DeleteOffsets),
    /// The topics are now these.
    Follow(Arc<Image>),
    /// Anything of the consumer protocol (KIP-848).
    Consumer(consumer::Command),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `Join`.
    Joined(Result<Joined, GroupError>),
    /// To `Sync`.
    Synced(Result<Synced, GroupError>),
    /// To `Heartbeat`, `Delete`, `CompleteTxn`, `Follow`.
    Done(Result<(), GroupError>),
    /// To `Leave`: one each, in order.
    Left(Vec<Result<(), GroupError>>),
    /// To `Commit`, `TxnCommit` and `DeleteOffsets`: what was asked, in order.
    Partitions(Result<ByTopic<Result<(), GroupError>>, GroupError>),
    /// To `Import`.
    Imported(Result<Imported, GroupError>),
    /// To `Fetch`.
    Fetched(Result<ByTopic<Fetched>, GroupError>),
    /// To `List`.
    Listed(Vec<Listed>),
    /// To `Describe`.
    Described(Result<Described, GroupError>),
    /// To `Consumer`.
    Consumer(consumer::Reply),
}

/// Something for each of some partitions, in the order asked.
pub type ByTopic<T> = Vec<(Arc<str>, Vec<(PartitionIndex, T)>)>;

/// Why a group does not do what it is asked; `api/errors.rs` has the codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The id is empty.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// There is no such group.
    #[error("Group {0} not found.")]
    UnknownGroup(Arc<str>),
    /// The group has no such member.
    #[error("the group has no such member")]
    UnknownMember,
    /// The member's instance id has gone to another member.
    #[error("another member has taken over this instance id")]
    FencedInstance,
    /// The member is to join again under this id (KIP-394).
    #[error("join again with the member id {0}")]
    MemberIdRequired(Arc<str>),
    /// Not the group's generation.
    #[error("not the group's generation")]
    IllegalGeneration,
    /// A rebalance is going on.
    #[error("the group is rebalancing")]
    Rebalancing,
    /// Protocol type or protocols do not go with the group's.
    #[error("the protocols do not go with those of the group")]
    InconsistentProtocol,
    /// The session timeout is out of bounds.
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// The group has as many members as it may.
    #[error("the group is full")]
    Full,
    /// The group has members.
    #[error("the group has members")]
    NotEmpty,
    /// A member is subscribed to the topic.
    #[error("a member is subscribed to the topic")]
    Subscribed,
    /// No such topic or partition.
    #[error("no such topic or partition")]
    UnknownTopic,
    /// The note with the offset is too long.
    #[error("the metadata of the offset is too long")]
    MetadataTooLarge,
    /// A transaction that has offsets here is open.
    #[error("a transaction with offsets for the partition is open")]
    UnstableOffset,
    /// The producer has been replaced by one with a higher epoch.
    #[error("a producer with a higher epoch has taken over")]
    ProducerFenced,
    /// Not the member's epoch (KIP-848).
    #[error("not the epoch of the member")]
    StaleMemberEpoch,
    /// The member has an epoch, and its request is of a version without (KIP-848).
    #[error(
        "OffsetCommit version 9 or above must be used by members using the consumer group protocol"
    )]
    TooOldForEpochs,
    /// The member's epoch is none that it can have (KIP-848).
    #[error("the member epoch is fenced: {0}")]
    FencedMemberEpoch(String),
    /// Another member still holds the instance id (KIP-848).
    #[error("another member holds the instance id")]
    UnreleasedInstance,
    /// No such assignor (KIP-848); names those there are.
    #[error("no such assignor; there are {0}")]
    UnsupportedAssignor(String),
    /// The subscription's expression does not parse (KIP-848).
    #[error("the regular expression does not parse: {0}")]
    InvalidRegex(String),
    /// The request contradicts itself or lacks something.
    #[error("{0}")]
    InvalidRequest(String),
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The group.
    pub group: Arc<str>,
    /// The member; may be empty.
    pub member: Arc<str>,
    /// Its static identity, if it has one.
    pub instance: Option<Arc<str>>,
    /// The generation, or member epoch, that it believes in; -1 for none.
    pub generation: i32,
}

/// A JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who asks; the generation is not looked at.
    pub caller: Caller,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Where it is, as tools show it.
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long it may take to join a rebalance.
    pub rebalance_timeout_ms: i32,
    /// What kind of group it wants.
    pub protocol_type: Arc<str>,
    /// What it can do, best first, and what it says about itself under each.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// Whether a new member is made to ask twice (v4).
    pub id_required: bool,
    /// Whether it understands that there is nothing to assign (v9).
    pub skips_assignment: bool,
}

/// A rebalance's outcome for one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// What kind of group it is.
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen.
    pub protocol: Arc<str>,
    /// Who assigns.
    pub leader: Arc<str>,
    /// The member's own id.
    pub member: Arc<str>,
    /// Whether the assignment stands and the leader need not make one.
    pub skip_assignment: bool,
    /// Everybody, for the leader; empty for others.
    pub members: Vec<JoinedMember>,
}

/// A member, for the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: Arc<str>,
    /// Its static identity.
    pub instance: Option<Arc<str>>,
    /// What it said under the chosen protocol.
    pub metadata: Bytes,
}

/// A SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Who asks.
    pub caller: Caller,
    /// What it believes the protocol type to be (v5).
    pub protocol_type: Option<Arc<str>>,
    /// What it believes the protocol to be (v5).
    pub protocol: Option<Arc<str>>,
    /// The leader's word, by member.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What kind of group it is.
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen.
    pub protocol: Arc<str>,
    /// The member's own.
    pub assignment: Bytes,
}

/// A LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The group.
    pub group: Arc<str>,
    /// Who goes: member id, and instance id. An empty member id with an instance id is an admin's word.
    pub members: Vec<(Arc<str>, Option<Arc<str>>)>,
}

/// An OffsetCommit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Who asks.
    pub caller: Caller,
    /// Whether the request knows of member epochs (v9).
    pub knows_epochs: bool,
    /// Cluster metadata as the request found it.
    pub image: Arc<Image>,
    /// The offsets.
    pub offsets: ByTopic<NewOffset>,
}

/// An offset to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// A note.
    pub metadata: Arc<str>,
}

/// A TxnOffsetCommit. That the transaction is open and has the group is the caller's to know.
#[derive(Clone, Debug)]
pub struct TxnCommit {
    /// The offsets and who brings them.
    pub commit: Commit,
    /// Whose transaction.
    pub producer: ProducerId,
    /// In which of its lives.
    pub epoch: ProducerEpoch,
}

/// The end of a transaction. May come more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteTxn {
    /// Whose transaction.
    pub producer: ProducerId,
    /// The epoch that from now on is the lowest to bring offsets.
    pub epoch: ProducerEpoch,
    /// Whether its offsets count.
    pub committed: bool,
    /// The groups it touched.
    pub groups: Vec<Arc<str>>,
}

/// Offsets of another cluster.
#[derive(Clone, Debug)]
pub struct Import {
    /// The group.
    pub group: Arc<str>,
    /// Cluster metadata as the bridge knows it.
    pub image: Arc<Image>,
    /// The offsets.
    pub offsets: ByTopic<NewOffset>,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Offsets that were stored.
    pub stored: usize,
    /// Offsets that are higher here, and stay so.
    pub higher: usize,
}

/// An OffsetFetch for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The group, and who asks (v9).
    pub caller: Caller,
    /// Which; `None` for all.
    pub topics: Option<Vec<(Arc<str>, Vec<PartitionIndex>)>>,
    /// Whether an offset that an open transaction may change is refused.
    pub require_stable: bool,
}

/// What is committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Nothing.
    Nothing,
    /// A transaction may change it at any moment.
    Unstable,
    /// This.
    Offset(NewOffset),
}

/// A ListGroups; empty lists let everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Names of states, in any case.
    pub states: Vec<String>,
    /// Names of types, in any case.
    pub types: Vec<String>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub group: Arc<str>,
    /// What kind of clients it has; empty if it never had members.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: &'static str,
    /// `classic` or `consumer`.
    pub kind: &'static str,
}

/// A classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its state.
    pub state: &'static str,
    /// What kind of clients it has.
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen; empty unless stable.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Arc<str>,
    /// Its static identity.
    pub instance: Option<Arc<str>>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// What it said under the chosen protocol; empty unless stable.
    pub metadata: Bytes,
    /// What it was assigned; empty unless stable.
    pub assignment: Bytes,
}

/// An OffsetDelete.
#[derive(Clone, Debug)]
pub struct DeleteOffsets {
    /// The group.
    pub group: Arc<str>,
    /// Cluster metadata as the request found it.
    pub image: Arc<Image>,
    /// Which.
    pub topics: Vec<(Arc<str>, Vec<PartitionIndex>)>,
}

/// What a group has committed for a partition, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: i64,
    /// When it was committed.
    pub committed_at: Timestamp,
}
