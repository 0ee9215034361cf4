//! How the broker shares out partitions among the members of a consumer group (KIP-848). Pure.
//!
//! Topics and members are numbers here: their places in the question. The same question gives the
//! same answer, always.

mod range;
mod uniform;

use crate::types::PartitionIndex;

/// A rule for sharing out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignor {
    /// As even as can be, and members keep what they have as far as that allows.
    Uniform,
    /// Each topic is cut into as many runs as it has subscribers, in the order of members.
    Range,
}

impl Assignor {
    /// By the name that clients and settings use.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// The name that clients and settings use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Shares out: what each member is to have, in the order of members, each sorted. Every partition
    /// with a subscriber goes to exactly one of its subscribers.
    pub fn assign(self, question: &Question) -> Vec<Vec<Share>> {
        match self {
            Self::Uniform => uniform::assign(question),
            Self::Range => range::assign(question),
        }
    }
}

/// A partition: the place of its topic in the question, and its index.
pub type Share = (u32, PartitionIndex);

/// What is to be shared out, and among whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// How many partitions each topic has.
    pub topics: Vec<PartitionIndex>,
    /// Who wants some, in the order that ranges follow.
    pub members: Vec<Subscriber>,
}

/// A member, as an assignor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// The topics it wants, sorted, without repetition.
    pub topics: Vec<u32>,
    /// What it was to have so far, sorted. May name what is gone, or no longer wanted.
    pub held: Vec<Share>,
}

impl Question {
    fn partitions_of(&self, topic: u32) -> PartitionIndex {
        usize::try_from(topic)
            .ok()
            .and_then(|topic| self.topics.get(topic))
            .copied()
            .unwrap_or(0)
    }

    /// Whether all members want the same topics.
    fn is_homogeneous(&self) -> bool {
        self.members
            .windows(2)
            .all(|pair| pair[0].topics == pair[1].topics)
    }

    /// The members that want each topic.
    fn subscribers(&self) -> Vec<Vec<usize>> {
        let mut subscribers = vec![Vec::new(); self.topics.len()];
        for (member, subscriber) in self.members.iter().enumerate() {
            for &topic in &subscriber.topics {
                if let Some(of_topic) = subscribers.get_mut(topic as usize) {
                    of_topic.push(member);
                }
            }
        }
        subscribers
    }
}

#[cfg(test)]
mod tests;
