//! Rows that other rooms keep for a log, by its key: they go with its topic.

use bytes::Bytes;

const CHECKPOINT: &[u8] = b"partition/";
const CLEAN: &[u8] = b"cleaner/";
/// The length of the log's key (u16), the key, and the offset of the marker (u64) follow, all big-endian.
const ABORTED: &[u8] = b"aborted/";

/// What the keys of all rows of logs start with.
pub const KINDS: [&[u8]; 3] = [CHECKPOINT, CLEAN, ABORTED];

/// The checkpoint of a partition's state.
pub fn checkpoint(log_key: &[u8]) -> Bytes {
    [CHECKPOINT, log_key].concat().into()
}

/// Up to where the log is compacted.
pub fn clean(log_key: &[u8]) -> Bytes {
    [CLEAN, log_key].concat().into()
}

/// Start of the keys of the transactions that were aborted in the log.
pub fn aborted(log_key: &[u8]) -> Bytes {
    let length = u16::try_from(log_key.len()).unwrap_or(u16::MAX);
    [ABORTED, &length.to_be_bytes(), log_key].concat().into()
}

/// The transaction that was aborted with the marker at this offset.
pub fn aborted_at(log_key: &[u8], marker_offset: u64) -> Bytes {
    [&aborted(log_key)[..], &marker_offset.to_be_bytes()]
        .concat()
        .into()
}

/// The log that a row belongs to.
pub fn log_of(row_key: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = row_key.strip_prefix(ABORTED) {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        return rest.get(..u16::from_be_bytes(*length).into());
    }
    let kinds = [CHECKPOINT, CLEAN];
    kinds.iter().find_map(|kind| row_key.strip_prefix(*kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_its_log() {
        for key in [
            checkpoint(b"t/0"),
            clean(b"t/0"),
            aborted_at(b"t/0", u64::MAX),
        ] {
            assert_eq!(log_of(&key), Some(&b"t/0"[..]), "{key:?}");
            assert!(KINDS.iter().any(|kind| key.starts_with(kind)));
        }
        assert_eq!(aborted(b"t/0")[..], *b"aborted/\0\x03t/0");
        assert_eq!(log_of(b"aborted/\0\x09t/0"), None);
        assert_eq!(log_of(b"metadata/topic/t/0"), None);
    }
}
