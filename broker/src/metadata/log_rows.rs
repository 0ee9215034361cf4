//! Rows that other rooms keep for a log, by its key: they go with its topic.

use bytes::Bytes;

/// The checkpoint of a partition's state.
pub fn checkpoint(log_key: &[u8]) -> Bytes {
    [b"partition/", log_key].concat().into()
}

/// Up to where the log is compacted.
pub fn clean(log_key: &[u8]) -> Bytes {
    [b"cleaner/", log_key].concat().into()
}
