//! Charters: the terms of a model group, named by digest in every ballot and record.

use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::Borrow;

use crate::bitmap::PLACES_MAX;
use crate::cbor::{CborError, Decoder, Encoder, INT_MAX};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::policy::{Agreement, Assurance, Policy, Vote};

/// Names of groups, owners, models and members have at most this many bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A disclosed party or lineage has at most this many bytes.
pub const DISCLOSURE_BYTES_MAX: usize = 256;

/// One owner's place on a group's roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The owner's name.
    pub owner: String,
    /// The key that signs the owner's ballots and lifecycle entries.
    pub key: PublicKey,
    /// The disclosed controlling party; independence is disclosed, not proven.
    pub party: String,
    /// The disclosed lineage of the model (family, training data).
    pub lineage: String,
}

/// A group's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    /// The group's name; clients ask for it as an Open Inference Protocol model.
    pub group: String,
    /// What its models do: `image-classification` or `identity`.
    pub task: String,
    /// Number of classes that a vote may name: votes lie in `0..classes`.
    pub classes: u32,
    /// Digest of the label table, if classes have names; see [`labels_digest`].
    pub labels: Option<Digest>,
    /// The owners; votes are indexed by place.
    pub roster: Vec<Seat>,
    /// How votes combine.
    pub policy: Policy,
    /// How many owners may lie (f_g), at most ⌊(g − 1) / 3⌋.
    pub faults: u64,
    /// The assurance that a request demands when it names none.
    pub assurance: Assurance,
    /// An activation takes effect at least this many blocks after its own.
    pub notice_blocks: u64,
    /// Approvals that a change of this charter needs from its owners.
    pub approvals: u64,
    /// What each counted ballot earns, in the market's smallest unit.
    pub fee: u64,
}

/// Why a charter is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CharterError {
    /// The fault bound is too high for the roster.
    #[error("the fault bound must be at most (owners - 1) / 3, and there must be an owner")]
    Faults,
    /// Two seats share a key or a name.
    #[error("two owners share a name or a key")]
    Roster,
    /// A name is empty, too long, or has characters outside `a-z 0-9 - . _`.
    #[error("names are 1 to 64 characters of a-z, 0-9, '-', '.' and '_'")]
    Name,
    /// No default assurance, or one that the policy cannot reach.
    #[error("the default assurance must be supported, decisive or robust, and within reach of the policy")]
    Assurance,
    /// A text is too long or a number too large.
    #[error("task names have at most 64 bytes, parties and lineages 256; numbers stay below 2^53")]
    Bounds,
    /// The policy's parameters do not fit the roster.
    #[error("the policy's parameters are out of bounds; quorums need 2k > owners + fault bound")]
    Policy,
}

/// Whether `name` can name a group, owner, model or member.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed)
}

/// The digest of a label table: label of class 0 first.
#[must_use]
pub fn labels_digest(labels: &[String]) -> Digest {
    let mut out = Encoder::new();
    out.array(labels.len());
    for label in labels {
        out.text(label);
    }
    Digest::tagged("dropbear/labels/v1", &[&out.finish()])
}

impl Charter {
    /// Checks what a well-formed charter must fulfil.
    ///
    /// # Errors
    /// [`CharterError`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), CharterError> {
        let owners = self.roster.len();
        if owners == 0 || owners > PLACES_MAX || self.faults > (owners as u64 - 1) / 3 {
            return Err(CharterError::Faults);
        }
        let numbers = [self.notice_blocks, self.approvals, self.fee];
        let disclosed = self.roster.iter().flat_map(|seat| [&seat.party, &seat.lineage]);
        let texts_fit =
            self.task.len() <= NAME_BYTES_MAX && disclosed.into_iter().all(|text| text.len() <= DISCLOSURE_BYTES_MAX);
        if !texts_fit || numbers.into_iter().any(|number| number > INT_MAX) {
            return Err(CharterError::Bounds);
        }
        if !is_name(&self.group) || self.roster.iter().any(|seat| !is_name(&seat.owner)) {
            return Err(CharterError::Name);
        }
        if !self.policy.is_well_formed(owners as u64, self.faults) {
            return Err(CharterError::Policy);
        }
        if self.assurance == Assurance::None || self.assurance > self.policy.strongest() {
            return Err(CharterError::Assurance);
        }
        let twice = |(place, seat): (usize, &Seat)| {
            self.roster[..place].iter().any(|other| other.key == seat.key || other.owner == seat.owner)
        };
        if self.roster.iter().enumerate().any(twice) { Err(CharterError::Roster) } else { Ok(()) }
    }

    /// The place of the owner with this key.
    #[must_use]
    pub fn place(&self, key: &PublicKey) -> Option<usize> {
        self.roster.iter().position(|seat| seat.key == *key)
    }

    /// The same terms without the owner of this key: fault bound, quorum and approvals are lowered as far as the smaller
    /// roster needs. `None` if the owner has no seat, or is the last one.
    #[must_use]
    pub fn without(&self, key: &PublicKey) -> Option<Self> {
        let mut charter = self.clone();
        charter.roster.remove(self.place(key)?);
        let owners = charter.roster.len() as u64;
        charter.faults = self.faults.min(owners.checked_sub(1)? / 3);
        charter.policy = self.policy.at_most(owners);
        charter.approvals = self.approvals.min(owners);
        charter.check().is_ok().then_some(charter)
    }

    /// The same terms with another key on one owner's seat. `None` if `old` has no seat, or `new` has one.
    #[must_use]
    pub fn rekeyed(&self, old: &PublicKey, new: PublicKey) -> Option<Self> {
        let mut charter = self.clone();
        charter.roster[self.place(old)?].key = new;
        charter.check().is_ok().then_some(charter)
    }

    /// Whether a ballot may say this; what it may not counts as an abstention.
    #[must_use]
    pub fn admits(&self, vote: &Vote) -> bool {
        self.policy.admits(vote, self.classes)
    }

    /// Combines the votes of one request: one place per owner of the roster, `None` where no ballot is counted.
    #[must_use]
    pub fn combine<V: Borrow<Vote>>(&self, votes: &[Option<V>]) -> Agreement {
        self.policy.combine(votes, self)
    }

    /// The fault bound as a count of owners.
    #[must_use]
    pub fn fault_bound(&self) -> usize {
        usize::try_from(self.faults).unwrap_or(usize::MAX)
    }

    /// Deterministic encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(12).uint(1).text(&self.group).text(&self.task).uint(self.classes.into());
        match &self.labels {
            Some(labels) => out.digest(labels),
            None => out.null(),
        };
        out.array(self.roster.len());
        for seat in &self.roster {
            out.array(4).text(&seat.owner).bytes(seat.key.as_bytes()).text(&seat.party).text(&seat.lineage);
        }
        self.policy.encode(&mut out);
        out.uint(self.faults).uint(self.assurance.code()).uint(self.notice_blocks).uint(self.approvals).uint(self.fee);
        out.finish()
    }

    /// Reads what [`Charter::to_bytes`] wrote and checks it.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no well-formed charter.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(12)?;
        input.key(1)?;
        let group = input.text(NAME_BYTES_MAX)?.into();
        let task = input.text(NAME_BYTES_MAX)?.into();
        let classes = input.uint_max(u32::MAX.into())? as u32;
        let labels = if input.null() { None } else { Some(input.digest()?) };
        let mut roster = Vec::new();
        for _ in 0..input.array(PLACES_MAX)? {
            input.array_of(4)?;
            let owner = input.text(NAME_BYTES_MAX)?.into();
            let key = PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)?;
            let (party, lineage) = (input.text(DISCLOSURE_BYTES_MAX)?.into(), input.text(DISCLOSURE_BYTES_MAX)?.into());
            roster.push(Seat { owner, key, party, lineage });
        }
        let charter = Self {
            group,
            task,
            classes,
            labels,
            roster,
            policy: Policy::decode(&mut input)?,
            faults: input.uint()?,
            assurance: Assurance::decode_demand(&mut input)?,
            notice_blocks: input.uint()?,
            approvals: input.uint()?,
            fee: input.uint()?,
        };
        input.finish()?;
        charter.check().map_err(|_| CborError::Bounds)?;
        Ok(charter)
    }

    /// The charter's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::tagged("dropbear/charter/v1", &[&self.to_bytes()])
    }
}

/// The version of one owner's model that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersion {
    /// The model's name, the owner's choice.
    pub model: String,
    /// The version's name, the owner's choice.
    pub label: String,
    /// Digest of manifest and artefact.
    pub digest: Digest,
}

/// The versions in force for a group at one place in the ledger, by roster place; `None` where an owner has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSet(pub Vec<Option<ModelVersion>>);

impl ModelSet {
    /// Deterministic encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(self.0.len());
        for version in &self.0 {
            match version {
                Some(version) => {
                    out.array(3).text(&version.model).text(&version.label).digest(&version.digest);
                }
                None => {
                    out.null();
                }
            }
        }
        out.finish()
    }

    /// Reads what [`ModelSet::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no model set.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        let mut versions = Vec::new();
        for _ in 0..input.array(PLACES_MAX)? {
            if input.null() {
                versions.push(None);
                continue;
            }
            input.array_of(3)?;
            let (model, label) = (input.text(NAME_BYTES_MAX)?.into(), input.text(NAME_BYTES_MAX)?.into());
            versions.push(Some(ModelVersion { model, label, digest: input.digest()? }));
        }
        input.finish()?;
        Ok(Self(versions))
    }

    /// The model-set digest that records carry.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::tagged("dropbear/model-set/v1", &[&self.to_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn key(place: u8) -> PublicKey {
        crate::key::SecretKey::from_seed(&[place; 32]).public()
    }

    fn charter(owners: u8, policy: Policy) -> Charter {
        let seat = |place: u8| Seat {
            owner: format!("owner-{place}"),
            key: key(place),
            party: String::new(),
            lineage: String::new(),
        };
        Charter {
            group: "group".into(),
            task: "identity".into(),
            classes: 10,
            labels: None,
            roster: (1..=owners).map(seat).collect(),
            policy,
            faults: (u64::from(owners) - 1) / 3,
            assurance: Assurance::Robust,
            notice_blocks: 1,
            approvals: u64::from(owners),
            fee: 1,
        }
    }

    #[test]
    fn whoever_leaves_lowers_fault_bound_quorum_and_approvals_to_what_the_rest_can_bear() {
        let mut left = charter(7, Policy::Exact { quorum: 6 });
        let mut seen = Vec::new();
        for place in 1..7 {
            left = left.without(&key(place)).unwrap();
            assert_eq!(left.check(), Ok(()));
            let Policy::Exact { quorum } = left.policy else { unreachable!() };
            seen.push((left.roster.len(), left.faults, quorum, left.approvals));
        }
        assert_eq!(seen, [(6, 1, 6, 6), (5, 1, 5, 5), (4, 1, 4, 4), (3, 0, 3, 3), (2, 0, 2, 2), (1, 0, 1, 1)]);
        assert_eq!(left.without(&key(7)), None, "the last owner");
        assert_eq!(charter(4, Policy::Plurality).without(&key(9)), None, "no owner");
    }

    #[test]
    fn a_key_is_replaced_in_place_and_by_a_new_one_only() {
        let before = charter(4, Policy::Plurality);
        let after = before.rekeyed(&key(2), key(9)).unwrap();
        assert_eq!((after.place(&key(9)), after.place(&key(2))), (Some(1), None));
        assert_eq!(after.roster[1].owner, before.roster[1].owner);
        assert_eq!(before.rekeyed(&key(2), key(3)), None);
        assert_eq!(before.rekeyed(&key(8), key(9)), None);
    }
}
