//! RFC 9162 (RFC 6962) Merkle trees over SHA-256: roots, inclusion and consistency.
//!
//! A leaf hashes as `SHA-256(0x00 || data)`, an inner node as `SHA-256(0x01 || left || right)`. The functions here take
//! *leaf hashes*; [`leaf_hash`] makes one.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::short::{SHORT_BYTES_MAX, Short};

/// A path has at most this many nodes: no tree here has more than 2^32 leaves.
pub const PATH_LENGTH_MAX: usize = 32;

/// The hash of a leaf with this data.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Digest {
    if data.len() < SHORT_BYTES_MAX {
        let mut leaf = Short::default();
        leaf.push_fixed(&[0]).push(data);
        return leaf.digest();
    }
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(data);
    Digest(hash.finalize().into())
}

/// The hash of an inner node. Paths are most of what checking a certificate of a seen quorum costs.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut node = Short::default();
    node.push_fixed(&[1]).push_fixed(left.as_bytes()).push_fixed(right.as_bytes());
    node.digest()
}

/// The root over these leaf hashes; the hash of the empty string for none (RFC 9162 section 2.1.1).
#[must_use]
pub fn root(leaves: &[Digest]) -> Digest {
    let mut tree = Frontier::default();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree.root()
}

/// The largest power of two smaller than `size`, which is at least 2.
const fn split(size: usize) -> usize {
    1 << (usize::BITS - 1 - (size - 1).leading_zeros())
}

/// The inclusion path of leaf `index` (RFC 9162 section 2.1.3.1), from the leaf upwards.
///
/// # Panics
/// If `index` is not a leaf of `leaves`.
#[must_use]
pub fn path(leaves: &[Digest], index: usize) -> Vec<Digest> {
    assert!(index < leaves.len(), "leaf {index} of a tree of {}", leaves.len());
    let (mut leaves, mut index, mut path) = (leaves, index, Vec::new());
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    path
}

/// The root that `path` leads to from leaf `index` of a tree of `size` (RFC 9162 section 2.1.3.2), or `None` if the path
/// has the wrong length for that place.
#[must_use]
pub fn root_from_path(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// The consistency proof between the first `old` leaves and all of them (RFC 9162 section 2.1.4.1).
///
/// # Panics
/// If `old` is zero or larger than the tree.
#[must_use]
pub fn consistency(leaves: &[Digest], old: usize) -> Vec<Digest> {
    assert!(0 < old && old <= leaves.len(), "{old} of {} leaves", leaves.len());
    let (mut leaves, mut old, mut complete, mut proof) = (leaves, old, true, Vec::new());
    while old != leaves.len() {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if old <= left.len() {
            proof.push(root(right));
            leaves = left;
        } else {
            proof.push(root(left));
            old -= left.len();
            leaves = right;
            complete = false;
        }
    }
    if !complete {
        proof.push(root(leaves));
    }
    proof.reverse();
    proof
}

/// Whether the tree of `size_new` with `root_new` extends the tree of `size_old` with `root_old` (RFC 9162 section
/// 2.1.4.2).
#[must_use]
pub fn is_consistent(size_old: u64, root_old: &Digest, size_new: u64, root_new: &Digest, proof: &[Digest]) -> bool {
    if size_old == 0 || size_old > size_new {
        return false;
    }
    if size_old == size_new {
        return proof.is_empty() && root_old == root_new;
    }
    let mut rest = proof;
    let first = if size_old.is_power_of_two() {
        *root_old
    } else {
        match rest.split_first() {
            Some((first, others)) => {
                rest = others;
                *first
            }
            None => return false,
        }
    };
    let (mut node, mut last) = (size_old - 1, size_new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut hash_old, mut hash_new) = (first, first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash_old = node_hash(sibling, &hash_old);
            hash_new = node_hash(sibling, &hash_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash_new = node_hash(&hash_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash_old == *root_old && hash_new == *root_new
}

/// An append-only tree that keeps only its right edge: O(log n) memory, as the ledger tree over headers needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, largest first; their sizes are the set bits of `size`.
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Digest) {
        let (mut hash, mut size) = (leaf, self.size);
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
            size >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves were appended.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Digest::of(b""),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// The peaks, largest subtree first, for a snapshot.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Rebuilds from a snapshot; `None` unless there is one peak for each set bit of `size`.
    #[must_use]
    pub fn from_parts(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (size.count_ones() as usize == peaks.len()).then_some(Self { size, peaks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Digest> {
        (0..count).map(|i| leaf_hash(&[i])).collect()
    }

    /// RFC 9162 section 2.1.1, by its recursive definition.
    fn root_by_definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(split(many.len()));
                node_hash(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    /// The leaves of the Certificate Transparency log test suite.
    fn suite() -> Vec<Digest> {
        let data: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        data.iter().map(|data| leaf_hash(data)).collect()
    }

    fn hex(nodes: &[Digest]) -> Vec<alloc::string::String> {
        nodes.iter().map(|node| alloc::format!("{node}")).collect()
    }

    const A: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
    const B: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
    const C: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
    const D: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
    const E: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
    const F: &str = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
    const G: &str = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125";
    const H: &str = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    const I: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

    #[test]
    fn known_inclusion_paths_of_the_suite() {
        let leaves = suite();
        let none: [&str; 0] = [];
        assert_eq!(hex(&path(&leaves[..1], 0)), none);
        assert_eq!(hex(&path(&leaves, 0)), [A, B, C]);
        assert_eq!(hex(&path(&leaves, 5)), [D, E, F]);
        assert_eq!(hex(&path(&leaves[..3], 2)), [G]);
        assert_eq!(hex(&path(&leaves[..5], 1)), [H, B, D]);
    }

    #[test]
    fn known_consistency_proofs_of_the_suite() {
        let leaves = suite();
        let none: [&str; 0] = [];
        assert_eq!(hex(&consistency(&leaves[..1], 1)), none);
        assert_eq!(hex(&consistency(&leaves, 1)), [A, B, C]);
        assert_eq!(hex(&consistency(&leaves, 6)), [I, E, F]);
        assert_eq!(hex(&consistency(&leaves[..5], 2)), [B, D]);
    }

    #[test]
    fn known_roots_of_the_suite() {
        let leaves = suite();
        let expected = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (size, expected) in (1..).zip(expected) {
            assert_eq!(alloc::format!("{}", root(&leaves[..size])), expected, "size {size}");
        }
    }

    #[test]
    fn a_node_hashes_as_the_standard_says() {
        let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
        let bytes = [&[1][..], left.as_bytes(), right.as_bytes()].concat();
        assert_eq!(node_hash(&left, &right), Digest::of(&bytes));
    }

    #[test]
    fn every_path_of_every_small_tree_leads_to_the_root_and_to_no_other_place() {
        for size in 1..=33u8 {
            let leaves = leaves(size);
            assert_eq!(root(&leaves), root_by_definition(&leaves));
            for index in 0..size {
                let path = path(&leaves, index.into());
                let at = |index, path: &[Digest]| root_from_path(leaves[0], index, u64::from(size), path);
                let leaf = leaves[usize::from(index)];
                assert_eq!(root_from_path(leaf, index.into(), size.into(), &path), Some(root(&leaves)));
                assert_eq!(at(u64::from(size), &path), None, "index beyond the tree");
                let mut longer = path.clone();
                longer.push(leaf);
                assert_eq!(root_from_path(leaf, index.into(), size.into(), &longer), None);
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(root_from_path(leaf, index.into(), size.into(), shorter), None);
                }
            }
        }
    }

    #[test]
    fn every_small_tree_is_consistent_with_its_prefixes_only() {
        for size in 1..=20usize {
            let new = leaves(size as u8);
            for old in 1..=size {
                let proof = consistency(&new, old);
                let check = |root_old: &Digest, proof: &[Digest]| {
                    is_consistent(old as u64, root_old, size as u64, &root(&new), proof)
                };
                assert!(check(&root(&new[..old]), &proof), "{old} of {size}");
                assert!(!check(&leaf_hash(b"another"), &proof), "{old} of {size}");
                let mut longer = proof.clone();
                longer.push(new[0]);
                assert!(!check(&root(&new[..old]), &longer), "{old} of {size}");
            }
        }
    }

    #[test]
    fn a_frontier_survives_a_snapshot() {
        let mut tree = Frontier::default();
        for leaf in leaves(13) {
            tree.push(leaf);
        }
        let copy = Frontier::from_parts(tree.size(), tree.peaks().to_vec());
        assert_eq!(copy, Some(tree.clone()));
        assert_eq!(Frontier::from_parts(12, tree.peaks().to_vec()), None);
    }
}
