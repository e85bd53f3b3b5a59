//! Maps and sets in sorted vectors, with the interface of [`alloc::collections::BTreeMap`] and
//! [`alloc::collections::BTreeSet`].
//!
//! The first `up` of a clone compiles the tool, and a B-tree is compiled again for each pair of
//! types: it was a quarter of the code that this package and the supervisor compile to. A sorted
//! vector needs a tenth of that, and is as fast for the sizes of a stack. An insertion moves what
//! follows it, so collections of ten thousands that arrive in no order belong into a B-tree.

mod map;
mod set;

pub use map::{Entry, Pairs, SortedMap};
pub use set::SortedSet;

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::vec::Vec;

    use super::*;

    /// Numbers below 24 in no order, so that keys repeat.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        let next = |last: &u64| Some(last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        core::iter::successors(Some(seed), next).skip(1).map(|number| (number >> 40) % 24)
    }

    #[test]
    fn map_is_equal_to_a_tree_after_each_change() {
        for seed in 0..200 {
            let (mut map, mut tree) = (SortedMap::new(), BTreeMap::new());
            let mut next = numbers(seed);
            for _ in 0..120 {
                let [change, key, value] = [(); 3].map(|()| next.next().unwrap());
                match change % 6 {
                    0 => assert_eq!(map.insert(key, value), tree.insert(key, value)),
                    1 => assert_eq!(map.remove(&key), tree.remove(&key)),
                    2 => assert_eq!(map.entry(key).or_default(), tree.entry(key).or_default()),
                    3 => assert_eq!(
                        map.entry(key).or_insert(value),
                        tree.entry(key).or_insert(value)
                    ),
                    4 => assert_eq!(map.get_mut(&key), tree.get_mut(&key)),
                    _ => {
                        let fits = |key: &u64, held: &mut u64| {
                            *held += 1;
                            !(key ^ value).is_multiple_of(8)
                        };
                        map.retain(fits);
                        tree.retain(fits);
                    }
                }
                let pairs = |(key, value): (&u64, &u64)| (*key, *value);
                let held: Vec<(u64, u64)> = map.iter().map(pairs).collect();
                assert_eq!(held, tree.iter().map(pairs).collect::<Vec<_>>());
                assert_eq!(map.contains_key(&key), tree.contains_key(&key));
                assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
            }
        }
    }

    #[test]
    fn set_is_equal_to_a_tree_after_each_change() {
        for seed in 0..200 {
            let (mut set, mut tree) = (SortedSet::new(), BTreeSet::new());
            let mut next = numbers(seed);
            for _ in 0..120 {
                let [change, value] = [(); 2].map(|()| next.next().unwrap());
                match change % 5 {
                    0 | 1 => assert_eq!(set.insert(value), tree.insert(value)),
                    2 => assert_eq!(set.remove(&value), tree.remove(&value)),
                    3 => assert_eq!(set.pop_first(), tree.pop_first()),
                    _ => {
                        set.retain(|held| held % 7 != value % 7);
                        tree.retain(|held| held % 7 != value % 7);
                    }
                }
                assert!(set.iter().eq(&tree), "{set:?} {tree:?}");
                assert_eq!(set.contains(&value), tree.contains(&value));
            }
            let (other, others) = (numbers(!seed).take(12).collect(), numbers(!seed).take(12));
            let others: BTreeSet<u64> = others.collect();
            assert!(set.intersection(&other).eq(tree.intersection(&others)));
        }
    }

    #[test]
    fn text_is_that_of_a_tree() {
        let pairs = [("b", 2), ("a", 1), ("b", 3)];
        let text = serde_json::to_string(&BTreeMap::from(pairs)).unwrap();
        assert_eq!(serde_json::to_string(&SortedMap::from(pairs)).unwrap(), text);
        let read: SortedMap<&str, i32> = serde_json::from_str(r#"{"b":2,"a":1,"b":3}"#).unwrap();
        assert_eq!(read, SortedMap::from(pairs));
        let set: SortedSet<u8> = serde_json::from_str("[3,1,3]").unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), "[1,3]");
    }
}
