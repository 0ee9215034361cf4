//! Rows of partitions whose topic is gone. They go with the topic, in one write set; but one that was on
//! its way in that moment, or that compaction wrote at the end of a round, stays behind. It says nothing
//! to anybody, for the key of a log is never used again, and is deleted at the next start.

use std::collections::HashSet;

use bytes::Bytes;
use trestle_storage::{Result, Store, WriteSet};

use crate::metadata::{Image, log_rows};

/// Rows deleted in one write set.
const AT_ONCE: usize = 1_000;

/// Deletes the rows of logs that no topic has, and returns how many there were. `image` is asked after
/// the rows have been found: a log that has rows was in an image before.
pub async fn sweep(store: &Store, image: impl Fn() -> std::sync::Arc<Image>) -> Result<usize> {
    let mut found = Vec::new();
    for kind in log_rows::KINDS {
        found.extend(store.row_keys(kind).await?);
    }
    let image = image();
    let partitions = image.topics.values().flat_map(|topic| &topic.partitions);
    let living: HashSet<&[u8]> = partitions.map(|meta| &meta.log_key[..]).collect();
    found.retain(|key| log_rows::log_of(key).is_some_and(|log| !living.contains(log)));
    if found.is_empty() {
        return Ok(0);
    }
    for keys in found.chunks(AT_ONCE) {
        let mut write_set = WriteSet::new();
        for key in keys {
            write_set.delete_row(Bytes::clone(key));
        }
        store.ready().await;
        store.commit(write_set, |_| {});
    }
    store.flush().await?;
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slatedb_common::clock::DefaultSystemClock;
    use trestle_storage::{DataUrl, Options};

    use super::*;
    use crate::metadata::{PartitionMeta, Topic};
    use crate::types::TopicId;

    #[tokio::test]
    async fn rows_of_topics_that_are_gone_go() -> Result<()> {
        let clock = Arc::new(DefaultSystemClock::new());
        let store = Store::open(Options::new(DataUrl::Memory), clock).await?;
        let (here, gone) = (b"here/0", b"gone/0");
        let mut write_set = WriteSet::new();
        for log in [here, gone] {
            write_set.put_row(log_rows::checkpoint(log), "a");
            write_set.put_row(log_rows::clean(log), "b");
            write_set.put_row(log_rows::aborted_at(log, 7), "c");
        }
        write_set.put_row("metadata/cluster", "d");
        store.commit(write_set, |_| {});
        store.flush().await?;
        let mut image = Image::default();
        image.insert(Arc::new(Topic {
            id: TopicId::from_u128(1),
            name: "here".into(),
            partitions: vec![PartitionMeta {
                log_key: Bytes::from_static(here),
                shard: 0,
                epoch_base: 0,
            }],
            replication_factor: 1,
            overrides: Default::default(),
            config: Default::default(),
            mirror: None,
        }));
        let image = Arc::new(image);
        assert_eq!(sweep(&store, || image.clone()).await?, 3);
        let left = store.row_keys(b"").await?;
        let mut expected = vec![
            log_rows::aborted_at(here, 7),
            log_rows::clean(here),
            Bytes::from("metadata/cluster"),
            log_rows::checkpoint(here),
        ];
        expected.sort();
        assert_eq!(left, expected);
        assert_eq!(sweep(&store, || image.clone()).await?, 0);
        store.close().await
    }
}
