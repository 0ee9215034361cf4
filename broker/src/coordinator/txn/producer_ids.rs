//! Producer ids, unique for ever: handed out from blocks that are durable before their first use.
//!
//! Owns one row, `producer-ids`: a format byte and the first id of the next block (u64,
//! big-endian). A start begins a new block, so what was left of the last one is skipped; there are
//! enough. Kafka's `ProducerIdManager`.
//!
//! Each cluster begins at a place of its own, far from where Kafka begins: a topic that the bridge has
//! copied remembers the producers of its source, and no producer of ours may be taken for one of them.

use bytes::Bytes;
use tokio::sync::{Mutex, oneshot};
use trestle_storage::{Error, ErrorKind, Result, Store, WriteSet};

use crate::types::ProducerId;

const ROW: &[u8] = b"producer-ids";
const FORMAT: u8 = 1;

/// Ids reserved by one write; Kafka's number.
const BLOCK: i64 = 1000;

/// Hands out producer ids.
#[derive(Debug)]
pub struct ProducerIds {
    store: Store,
    /// No id is lower.
    first: i64,
    // Held while a block is reserved, for the ids that everybody waits for come with it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: i64,
    end: i64,
    /// Where the next block starts; `None` until the row was read.
    next_block: Option<i64>,
}

impl ProducerIds {
    /// Ids of `store`, which belongs to the cluster `cluster_id`.
    pub fn new(store: Store, cluster_id: &str) -> Self {
        Self {
            store,
            first: first(cluster_id),
            state: Mutex::default(),
        }
    }

    /// An id that was never given before.
    ///
    /// # Errors
    /// Those of the store, when a block of ids cannot be reserved.
    pub async fn next(&self) -> Result<ProducerId> {
        let mut state = self.state.lock().await;
        if state.next == state.end {
            self.reserve(&mut state).await?;
        }
        let id = state.next;
        state.next += 1;
        Ok(ProducerId(id))
    }

    /// Makes the next block durable, and only then available. If this is given up half way, no id of
    /// the block was handed out, and the next call reserves it again.
    async fn reserve(&self, state: &mut State) -> Result<()> {
        let start = match state.next_block {
            Some(start) => start,
            None => match self.store.row(ROW).await? {
                Some(value) => decode(&value)?,
                None => 0,
            },
        };
        let start = start.max(self.first);
        let end = start.checked_add(BLOCK).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "all producer ids have been handed out")
        })?;
        let mut write_set = WriteSet::new();
        write_set.put_row(Bytes::from_static(ROW), encode(end));
        let (done, committed) = oneshot::channel();
        self.store.commit(write_set, move |result| {
            let _ = done.send(result);
        });
        committed
            .await
            .map_err(|_| Error::new(ErrorKind::Closed, "the store closed"))??;
        *state = State {
            next: start,
            end,
            next_block: Some(end),
        };
        Ok(())
    }
}

/// Where the ids of a cluster begin: one of 2^30 places, with room for 2^32 ids each.
fn first(cluster_id: &str) -> i64 {
    let place = crc32c::crc32c(cluster_id.as_bytes()) >> 2;
    (i64::from(place) + 1) << 32
}

fn encode(next_block: i64) -> Bytes {
    let mut value = vec![FORMAT];
    value.extend(next_block.to_be_bytes());
    value.into()
}

fn decode(value: &[u8]) -> Result<i64> {
    let corrupt = |what: String| Error::new(ErrorKind::Corrupt, format!("row producer-ids {what}"));
    match value {
        [FORMAT, rest @ ..] => rest
            .try_into()
            .map(i64::from_be_bytes)
            .ok()
            .filter(|next_block| *next_block >= 0)
            .ok_or_else(|| corrupt("is damaged; restore the store from a copy".into())),
        [other, ..] => Err(corrupt(format!(
            "has format {other}, this version knows {FORMAT}: start the version that wrote it"
        ))),
        [] => Err(corrupt("is empty; restore the store from a copy".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use slatedb_common::clock::DefaultSystemClock;
    use trestle_storage::{DataUrl, Options};

    use super::*;

    // Pins what is on disk; see the tests of `metadata::rows`.
    #[test]
    fn golden() {
        assert_eq!(encode(0x0102)[..], [1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(decode(&encode(3000)).unwrap(), 3000);
    }

    #[test]
    fn clusters_begin_far_apart_and_far_from_kafka() {
        let places: HashSet<i64> = (0..100).map(|n| first(&format!("cluster {n}"))).collect();
        assert_eq!(places.len(), 100);
        assert!(
            places
                .iter()
                .all(|place| *place >= 1 << 32 && *place < 1 << 62)
        );
    }

    #[test]
    fn bytes_of_no_version_are_refused() {
        for bytes in [
            &b""[..],
            &[2, 0, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0],
            &[1, 255, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ids_are_distinct_over_restarts_and_callers() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(DataUrl::File(dir.path().into()));
        options.fsync = false;
        let mut seen = HashSet::new();
        for _ in 0..5 {
            let clock = Arc::new(DefaultSystemClock::new());
            let store = Store::open(options.clone(), clock).await.unwrap();
            let ids = Arc::new(ProducerIds::new(store.clone(), "cluster"));
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    let ids = ids.clone();
                    async move {
                        let mut own = Vec::new();
                        for _ in 0..500 {
                            own.push(ids.next().await.unwrap());
                        }
                        own
                    }
                })
                .collect();
            for own in futures::future::join_all(callers).await {
                for id in own {
                    assert!(id.0 >= first("cluster"));
                    assert!(seen.insert(id), "{id} was handed out twice");
                }
            }
            store.close().await.unwrap();
        }
        assert_eq!(seen.len(), 10_000);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ids_that_are_used_up_are_not_handed_out_again() {
        let clock = Arc::new(DefaultSystemClock::new());
        let options = Options::new(DataUrl::Memory);
        let store = Store::open(options, clock).await.unwrap();
        let last = i64::MAX - BLOCK;
        let mut write_set = WriteSet::new();
        write_set.put_row(Bytes::from_static(ROW), encode(last));
        store.commit(write_set, |_| {});
        store.flush().await.unwrap();
        let ids = ProducerIds::new(store.clone(), "cluster");
        for id in last..i64::MAX {
            assert_eq!(ids.next().await.unwrap(), ProducerId(id));
        }
        // Now, again, and after a restart.
        for ids in [&ids, &ids, &ProducerIds::new(store.clone(), "cluster")] {
            assert_eq!(ids.next().await.unwrap_err().kind(), ErrorKind::Invalid);
        }
        store.close().await.unwrap();
    }
}
