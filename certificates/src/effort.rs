//! What a verification may cost, and the opt-in objects that make it cheaper.
//!
//! Nothing here changes a verdict: tables compute the same equation from prepared points, and a quorum counts as seen only
//! if the very same header, record root, signers and signatures verified before.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::edwards::EdwardsBasepointTable;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::BasepointTable as _;
use sha2::{Digest as _, Sha512};

use crate::digest::Digest;
use crate::error::Refusal;
use crate::genesis::Committee;
use crate::key::{IDENTITY, PublicKey, Signature};

/// Work that one verification may still do; counts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Signatures that may be checked.
    pub signatures: u32,
    /// Nodes of Merkle paths that may be hashed, beyond the certificate's own path.
    pub path_steps: u32,
}

impl Default for Budget {
    /// More than a certificate of the largest size can use.
    fn default() -> Self {
        Self { signatures: 1024, path_steps: 65_536 }
    }
}

impl Budget {
    /// Pays for one signature.
    ///
    /// # Errors
    /// [`Refusal::Budget`] if none is left.
    pub fn signature(&mut self) -> Result<(), Refusal> {
        self.signatures = self.signatures.checked_sub(1).ok_or(Refusal::Budget)?;
        Ok(())
    }

    /// Pays for a path.
    ///
    /// # Errors
    /// [`Refusal::Budget`] if not enough steps are left.
    pub fn path(&mut self, nodes: usize) -> Result<(), Refusal> {
        let steps = u32::try_from(nodes).map_err(|_| Refusal::Budget)?;
        self.path_steps = self.path_steps.checked_sub(steps).ok_or(Refusal::Budget)?;
        Ok(())
    }
}

/// Precomputed tables of known keys, about 30 kB each: a signature then costs two thirds.
#[derive(Default)]
pub struct KeyTables(BTreeMap<PublicKey, Box<EdwardsBasepointTable>>);

impl KeyTables {
    /// No keys yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tables of a committee's attestation keys.
    #[must_use]
    pub fn of(committee: &Committee) -> Self {
        let mut tables = Self::new();
        for member in &committee.members {
            tables.insert(&member.attestation);
        }
        tables
    }

    /// Prepares a key.
    pub fn insert(&mut self, key: &PublicKey) {
        let negated = -key.point();
        self.0.entry(*key).or_insert_with(|| Box::new(EdwardsBasepointTable::create(&negated)));
    }

    /// How many keys are prepared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no key is prepared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The verdict of [`PublicKey::verifies`], from tables where the key has one.
    #[must_use]
    pub fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        match self.0.get(key) {
            Some(table) => verifies(table, key, message, signature),
            None => key.verifies(message, signature),
        }
    }
}

impl core::fmt::Debug for KeyTables {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KeyTables({} keys)", self.0.len())
    }
}

/// RFC 8032 section 5.1.7 without cofactor: `encode([S]B - [k]A) == R`, S canonical, R not the identity.
fn verifies(negated_key: &EdwardsBasepointTable, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let (r, s) = signature.split_at(32);
    let Some(s) = s.try_into().ok().and_then(|s| Scalar::from_canonical_bytes(s).into_option()) else {
        return false;
    };
    let mut hash = Sha512::new();
    hash.update(r);
    hash.update(key.as_bytes());
    hash.update(message);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let expected = ED25519_BASEPOINT_TABLE * &s + negated_key * &k;
    r != IDENTITY && expected.compress().as_bytes() == r
}

/// A bounded memory of quorums that verified; the oldest is forgotten first.
#[derive(Clone, Debug)]
pub struct SeenQuorums {
    seen: BTreeSet<Digest>,
    order: VecDeque<Digest>,
    quorums_max: usize,
}

impl SeenQuorums {
    /// Remembers at most `quorums_max`, about 100 bytes each.
    #[must_use]
    pub fn new(quorums_max: usize) -> Self {
        Self { seen: BTreeSet::new(), order: VecDeque::new(), quorums_max }
    }

    /// `SHA-256(template || record root || signer bitmap || signatures)`: the template names the committee by digest, so
    /// the key stands for exactly one verdict.
    pub(crate) fn key(template: &[u8], record_root: &Digest, signers: &[u8], signatures: &[Signature]) -> Digest {
        let mut hash = sha2::Sha256::new();
        hash.update(template);
        hash.update(record_root);
        hash.update(signers);
        hash.update(signatures.as_flattened());
        Digest(hash.finalize().into())
    }

    pub(crate) fn contains(&self, key: &Digest) -> bool {
        self.seen.contains(key)
    }

    pub(crate) fn insert(&mut self, key: Digest) {
        if self.quorums_max == 0 || !self.seen.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.quorums_max {
            if let Some(oldest) = self.order.pop_front() {
                self.seen.remove(&oldest);
            }
        }
    }

    /// How many quorums are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// How to verify: the budget, and what makes it cheaper. The default has neither tables nor memory.
#[derive(Debug, Default)]
pub struct Effort<'a> {
    /// Work still allowed.
    pub budget: Budget,
    /// Prepared keys.
    pub tables: Option<&'a KeyTables>,
    /// Quorums that verified before.
    pub seen: Option<&'a mut SeenQuorums>,
}

impl Effort<'_> {
    /// Checks one signature within the budget.
    pub(crate) fn verifies(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) -> Result<bool, Refusal> {
        self.budget.signature()?;
        Ok(match self.tables {
            Some(tables) => tables.verifies(key, message, signature),
            None => key.verifies(message, signature),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::CompressedEdwardsY;

    #[test]
    fn tables_give_the_verdict_of_the_plain_check() {
        let keys: alloc::vec::Vec<_> = (0..4u8).map(|place| SecretKey::from_seed(&[place; 32])).collect();
        let mut tables = KeyTables::new();
        keys.iter().take(3).for_each(|key| tables.insert(&key.public()));
        for key in &keys {
            let signature = key.sign(b"message");
            for bit in (0..512).step_by(3) {
                let mut changed = signature;
                changed[bit / 8] ^= 1 << (bit % 8);
                let public = key.public();
                assert!(tables.verifies(&public, b"message", &signature));
                let verdict = public.verifies(b"message", &changed);
                assert_eq!(tables.verifies(&public, b"message", &changed), verdict, "bit {bit}");
            }
        }
    }

    #[test]
    fn tables_refuse_torsion_and_scalars_that_are_not_canonical_like_the_plain_check() {
        let key = SecretKey::from_seed(&[9; 32]);
        let mut tables = KeyTables::new();
        tables.insert(&key.public());
        let signature = key.sign(b"message");
        let r = CompressedEdwardsY::from_slice(&signature[..32]).unwrap().decompress().unwrap();
        for torsion in &EIGHT_TORSION[1..] {
            let mut changed = signature;
            changed[..32].copy_from_slice((r + torsion).compress().as_bytes());
            assert!(!key.public().verifies(b"message", &changed));
            assert!(!tables.verifies(&key.public(), b"message", &changed));
        }
        // S + L encodes the same residue; the order L in little-endian.
        let order = Digest::from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap().0;
        let mut changed = signature;
        let mut carry = 0;
        for (byte, more) in changed[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert!(!key.public().verifies(b"message", &changed));
        assert!(!tables.verifies(&key.public(), b"message", &changed));
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let mut seen = SeenQuorums::new(2);
        let keys = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        keys.iter().for_each(|key| seen.insert(*key));
        seen.insert(keys[2]);
        assert_eq!(seen.len(), 2);
        assert!(!seen.contains(&keys[0]) && seen.contains(&keys[1]) && seen.contains(&keys[2]));
    }

    #[test]
    fn a_budget_runs_out() {
        let mut budget = Budget { signatures: 1, path_steps: 3 };
        assert_eq!(budget.signature(), Ok(()));
        assert_eq!(budget.signature(), Err(Refusal::Budget));
        assert_eq!(budget.path(3), Ok(()));
        assert_eq!(budget.path(1), Err(Refusal::Budget));
    }
}
