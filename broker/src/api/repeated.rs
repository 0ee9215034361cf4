//! What a request names more than once: Kafka refuses all copies, with one answer.

use std::collections::HashMap;
use std::hash::Hash;

/// What is said of it.
pub(super) const REPEATED: &str = "The request names this more than once.";

/// The `items` that are named once, in order; and of those that are named more often, the first.
pub(super) fn apart<T, K: Eq + Hash>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Vec<T>) {
    let mut found: Vec<(T, bool)> = Vec::new();
    let mut places = HashMap::new();
    for item in items {
        match places.get(&key(&item)) {
            Some(place) => {
                let (_, repeated): &mut (T, bool) = &mut found[*place];
                *repeated = true;
            }
            None => {
                places.insert(key(&item), found.len());
                found.push((item, false));
            }
        }
    }
    let (mut once, mut repeated) = (Vec::with_capacity(found.len()), Vec::new());
    for (item, again) in found {
        match again {
            true => repeated.push(item),
            false => once.push(item),
        }
    }
    (once, repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_set_apart() {
        let (once, repeated) = apart(["a", "b", "a", "c", "a", "b"], |item| *item);
        assert_eq!(once, ["c"]);
        assert_eq!(repeated, ["a", "b"]);
    }
}
