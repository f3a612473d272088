//! A block's record tree with every level kept, so that thousands of paths cost no hashing.

use dropbear_certificates::{Digest, merkle};

/// The RFC 9162 tree over a block's leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafTree {
    /// Leaf hashes first, the root alone last. An odd last node rises unchanged.
    levels: Vec<Vec<Digest>>,
}

impl LeafTree {
    /// Hashes the tree over these leaves, of which there is at least one.
    #[must_use]
    pub fn new(leaves: &[Vec<u8>]) -> Self {
        let mut levels = vec![leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect::<Vec<_>>()];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let parent = |pair: &[Digest]| match pair {
                [left, right] => merkle::node_hash(left, right),
                [alone, ..] => *alone,
                [] => merkle::root(&[]),
            };
            let above = level.chunks(2).map(parent).collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or_else(|| merkle::root(&[]))
    }

    /// The inclusion path of the leaf at `index`; `None` if there is no such leaf.
    #[must_use]
    pub fn path(&self, index: u64) -> Option<Vec<Digest>> {
        let mut index = usize::try_from(index).ok().filter(|index| *index < self.levels[0].len())?;
        let mut path = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            path.extend(level.get(index ^ 1));
            index /= 2;
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_tree_of_the_standard() {
        for size in 1..=70u8 {
            let leaves: Vec<_> = (0..size).map(|leaf| vec![leaf]).collect();
            let hashes: Vec<_> = leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
            let tree = LeafTree::new(&leaves);
            assert_eq!(tree.root(), merkle::root(&hashes), "size {size}");
            for index in 0..u64::from(size) {
                assert_eq!(tree.path(index), Some(merkle::path(&hashes, index as usize)), "{index} of {size}");
            }
            assert_eq!(tree.path(size.into()), None);
        }
    }
}
