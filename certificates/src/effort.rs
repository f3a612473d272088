//! What a verification may cost, and the opt-in objects that make it cheaper.
//!
//! Nothing here changes a verdict: tables compute the same equation from prepared points, and a quorum counts as seen only
//! if the very same header, record root, signers and signatures verified before.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use sha2::{Digest as _, Sha512};

use crate::certificate::Certificate;
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

/// The multiples of one point that a sum of 32 table entries needs: j * 256^i * P for j in 1..=128. Verification handles
/// public values only, so entries are picked by index, not in constant time.
struct Comb(Vec<EdwardsPoint>);

const DIGITS: usize = 32;
const MULTIPLES: usize = 128;

impl Comb {
    fn new(point: EdwardsPoint) -> Self {
        let mut entries = Vec::with_capacity(DIGITS * MULTIPLES);
        let mut base = point;
        for _ in 0..DIGITS {
            let mut multiple = base;
            for _ in 1..MULTIPLES {
                entries.push(multiple);
                multiple += base;
            }
            entries.push(multiple);
            base = multiple + multiple;
        }
        Self(entries)
    }

    /// `sum + scalar * P`, by the scalar's signed digits in base 256. The scalar is below 2^253, so no carry is left over.
    fn add_to(&self, mut sum: EdwardsPoint, scalar: &Scalar) -> EdwardsPoint {
        let mut carry = 0;
        for (row, byte) in self.0.chunks_exact(MULTIPLES).zip(scalar.as_bytes()) {
            let digit = usize::from(*byte) + carry;
            carry = usize::from(digit > MULTIPLES);
            match digit {
                0 | 256 => {}
                1..=MULTIPLES => sum += row[digit - 1],
                _ => sum -= row[255 - digit],
            }
        }
        sum
    }
}

/// Precomputed tables of known keys, 640 kB each: a signature then costs about half.
pub struct KeyTables {
    base: Comb,
    /// Of the negated keys.
    keys: BTreeMap<PublicKey, Comb>,
}

impl Default for KeyTables {
    fn default() -> Self {
        Self { base: Comb::new(ED25519_BASEPOINT_POINT), keys: BTreeMap::new() }
    }
}

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

    /// Prepares a key, about a millisecond once.
    pub fn insert(&mut self, key: &PublicKey) {
        self.keys.entry(*key).or_insert_with(|| Comb::new(-key.point()));
    }

    /// How many keys are prepared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is prepared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The verdict of [`PublicKey::verifies`], from tables where the key has one.
    #[must_use]
    pub fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        match self.keys.get(key) {
            Some(table) => self.verifies_prepared(table, key, message, signature),
            None => key.verifies(message, signature),
        }
    }

    /// RFC 8032 section 5.1.7 without cofactor: `encode([S]B - [k]A) == R`, S canonical, R not the identity.
    fn verifies_prepared(&self, negated: &Comb, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let (r, s) = signature.split_at(32);
        let Some(s) = s.try_into().ok().and_then(|s| Scalar::from_canonical_bytes(s).into_option()) else {
            return false;
        };
        let mut hash = Sha512::new();
        hash.update(r);
        hash.update(key.as_bytes());
        hash.update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let expected = negated.add_to(self.base.add_to(EdwardsPoint::identity(), &s), &k);
        r != IDENTITY && expected.compress().as_bytes() == r
    }
}

impl core::fmt::Debug for KeyTables {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KeyTables({} keys)", self.keys.len())
    }
}

/// A bounded memory of quorums that verified; the oldest is forgotten first.
///
/// A quorum is found by its record root and counts as seen only if header, signers and signatures are byte for byte those
/// that verified: the header names the committee by digest, so these bytes stand for exactly one verdict.
#[derive(Clone, Debug)]
pub struct SeenQuorums {
    seen: BTreeMap<Digest, Quorum>,
    order: VecDeque<Digest>,
    quorums_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Quorum {
    template: Vec<u8>,
    signers: Vec<u8>,
    signatures: Vec<Signature>,
}

impl SeenQuorums {
    /// Remembers at most `quorums_max`, each about as large as its header and signatures.
    #[must_use]
    pub const fn new(quorums_max: usize) -> Self {
        Self { seen: BTreeMap::new(), order: VecDeque::new(), quorums_max }
    }

    pub(crate) fn contains(&self, certificate: &Certificate) -> bool {
        self.seen.get(&certificate.header.record_root).is_some_and(|known| {
            known.signatures == certificate.signatures
                && known.signers == certificate.signers
                && known.template == certificate.template
        })
    }

    /// Remembers a quorum that verified; another one of the same block gives way.
    pub(crate) fn insert(&mut self, certificate: &Certificate) {
        if self.quorums_max == 0 {
            return;
        }
        let root = certificate.header.record_root;
        let quorum = Quorum {
            template: certificate.template.clone(),
            signers: certificate.signers.clone(),
            signatures: certificate.signatures.clone(),
        };
        if self.seen.insert(root, quorum).is_some() {
            return;
        }
        self.order.push_back(root);
        if self.order.len() > self.quorums_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
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
        let certificates = [1, 2, 3].map(|class| {
            let market = crate::samples::Market::new(1, 1, crate::Policy::Plurality);
            let votes = crate::samples::valid::classes(&[class]);
            market.decide(&votes, crate::Assurance::Supported).bare().certified()
        });
        certificates.iter().for_each(|certificate| seen.insert(certificate));
        seen.insert(&certificates[2]);
        assert_eq!(seen.len(), 2);
        assert_eq!(certificates.map(|certificate| seen.contains(&certificate)), [false, true, true]);
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
