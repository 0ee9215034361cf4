//! The topics of the bridge: made like their sources', with the source's id, and freed when they are
//! promoted.

use std::sync::Arc;

use super::{Change, Changed, Controller, Draft, NewPartitions, NewTopic, Task};
use crate::metadata::{MetadataError, Topic};
use crate::types::TopicId;

/// A topic to make for the bridge.
#[derive(Clone, Debug)]
pub struct NewMirror {
    /// What it is to be like.
    pub topic: NewTopic,
    /// The source's id for it; without one it gets its own.
    pub id: Option<TopicId>,
    /// The job that writes it.
    pub job: Arc<str>,
    /// Base of the leader epochs, by partition.
    pub epoch_bases: Vec<i32>,
}

/// What the bridge does to its topics.
#[derive(Clone, Debug)]
pub enum MirrorChange {
    /// One is made.
    Create(NewMirror),
    /// One gets more partitions, with these bases of their leader epochs.
    Extend(NewPartitions, Vec<i32>),
    /// The bases of leader epochs rise; lower ones change nothing.
    RaiseEpochs(TopicId, Vec<i32>),
    /// It is written by clients from now on.
    Promote(TopicId),
}

impl Controller {
    /// Carries out a change for the bridge.
    pub async fn mirror(&self, change: MirrorChange) -> Changed {
        self.change_one(Change::Mirror(change)).await
    }
}

impl Task {
    /// What `change` makes of its topic; a new one that is to choose its id has a nil one.
    pub(super) fn mirrored(
        &self,
        draft: &Draft,
        change: &MirrorChange,
    ) -> Result<Topic, MetadataError> {
        let known = |id: &TopicId| Self::doomed(draft, id).map(|topic| Topic::clone(&topic));
        match change {
            MirrorChange::Create(new) => {
                let mut topic = self.plan(draft, &new.topic)?;
                topic.id = new.id.unwrap_or_else(|| self.env.uuid());
                if draft.image.topic_by_id(&topic.id).is_some() {
                    return Err(MetadataError::TopicExists(new.topic.name.clone()));
                }
                topic.mirror = Some(new.job.clone());
                raise(&mut topic, 0, &new.epoch_bases);
                Ok(topic)
            }
            MirrorChange::Extend(new, epoch_bases) => {
                let Some(topic) = draft.image.topic(&new.topic) else {
                    return Err(MetadataError::UnknownTopic(new.topic.clone()));
                };
                let had = topic.partitions.len();
                let mut topic = self.extended(draft, topic, new)?;
                raise(&mut topic, had, epoch_bases);
                Ok(topic)
            }
            MirrorChange::RaiseEpochs(id, epoch_bases) => {
                let mut topic = known(id)?;
                raise(&mut topic, 0, epoch_bases);
                Ok(topic)
            }
            MirrorChange::Promote(id) => Ok(Topic {
                mirror: None,
                ..known(id)?
            }),
        }
    }
}

/// Raises the bases of partitions from `first` on.
fn raise(topic: &mut Topic, first: usize, epoch_bases: &[i32]) {
    for (partition, base) in topic.partitions.iter_mut().skip(first).zip(epoch_bases) {
        partition.epoch_base = partition.epoch_base.max(*base);
    }
}
