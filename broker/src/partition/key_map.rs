//! The last offset of each key, for compaction: keys by a hash of 128 bits, within a bound of memory.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};

use crate::types::Offset;

/// What one key costs, with the room that a table leaves.
const BYTES_PER_KEY: usize = 64;

/// The keys are hashes already.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

/// Last offsets by key.
pub(super) struct KeyMap {
    last: HashMap<(u64, u64), Offset, BuildHasherDefault<Unhashed>>,
    max_keys: usize,
    seed: u64,
}

impl std::fmt::Debug for KeyMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMap")
            .field("keys", &self.last.len())
            .finish_non_exhaustive()
    }
}

impl KeyMap {
    /// A map that takes as many keys as fit into `max_bytes`. `seed` is random: two keys with one hash
    /// would cost a record.
    pub(super) fn new(max_bytes: usize, seed: u64) -> Self {
        Self {
            last: HashMap::default(),
            max_keys: (max_bytes / BYTES_PER_KEY).max(1),
            seed,
        }
    }

    /// Whether `more` keys fit in.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.last.len() + more <= self.max_keys
    }

    /// What it holds on to.
    pub(super) fn bytes(&self) -> usize {
        self.last.len() * BYTES_PER_KEY
    }

    /// Whether nothing was noted.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Notes that `key` is at `offset`, above all that were noted before.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) {
        self.last.insert(self.hash(key), offset);
    }

    /// The last offset noted for `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        self.last.get(&self.hash(key)).copied()
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed ^ salt);
            hasher.write(key);
            hasher.finish()
        };
        (half(0), half(0x9e37_79b9_7f4a_7c15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_a_key_is_kept_and_room_is_bounded() {
        let mut map = KeyMap::new(3 * BYTES_PER_KEY, 7);
        assert_eq!(map.get(b"a"), None);
        map.put(b"a", 1);
        map.put(b"b", 2);
        map.put(b"a", 3);
        assert_eq!((map.get(b"a"), map.get(b"b")), (Some(3), Some(2)));
        assert!(map.has_room(1) && !map.has_room(2));
    }
}
