//! Which topics members want by regular expression, and whether something about them has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::coordinator::pattern::Pattern;
use crate::metadata::Image;

/// The topics of `image` that match; none if the expression is not valid.
pub(super) fn matching(expression: &str, image: &Image) -> Arc<BTreeSet<Arc<str>>> {
    let Ok(pattern) = Pattern::new(expression) else {
        return Arc::default();
    };
    let names = image.topics.keys();
    Arc::new(
        names
            .filter(|name| pattern.matches(name))
            .cloned()
            .collect(),
    )
}

/// A number that changes when one of `names` comes, goes, is made anew or gets partitions.
pub(super) fn fingerprint(names: BTreeSet<&str>, image: &Image) -> u64 {
    let mut print = Fnv::new();
    for topic in names.iter().filter_map(|name| image.topic(name)) {
        print.eat(topic.id.as_bytes());
        print.eat(&(topic.partitions.len() as u64).to_be_bytes());
    }
    print.0
}

/// FNV-1a with 64 bits: what is stored must not change with a library.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn eat(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
