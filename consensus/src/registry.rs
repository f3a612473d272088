//! The registry: groups with their charters, and every owner's versions and activations.

use std::collections::BTreeMap;

use dropbear_certificates::cbor::Encoder;
use dropbear_certificates::{Charter, Digest, Genesis, ModelSet, ModelVersion, PublicKey};

use crate::entry::{Activate, Publish};
use crate::refusal::Refused;

/// An owner has at most this many published versions in one group.
pub const VERSIONS_MAX: usize = 1024;

/// One owner's models in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Published versions, in order of publication.
    pub versions: Vec<ModelVersion>,
    /// (first seq in force, index into `versions`), ascending.
    pub activations: Vec<(u64, usize)>,
}

impl Holding {
    fn current(&self, seq: u64) -> Option<&ModelVersion> {
        let (_, version) = self.activations.iter().rev().find(|(from, _)| *from <= seq)?;
        self.versions.get(*version)
    }
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    charter: Charter,
    digest: Digest,
    /// By roster place.
    holdings: Vec<Holding>,
}

impl Group {
    /// The charter in force.
    #[must_use]
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// Its digest.
    #[must_use]
    pub const fn charter_digest(&self) -> Digest {
        self.digest
    }

    /// The version of the owner at `place` that is current at `seq`.
    #[must_use]
    pub fn current(&self, place: usize, seq: u64) -> Option<&ModelVersion> {
        self.holdings.get(place)?.current(seq)
    }

    /// Every owner's current version at `seq`.
    #[must_use]
    pub fn model_set(&self, seq: u64) -> ModelSet {
        ModelSet(self.holdings.iter().map(|holding| holding.current(seq).cloned()).collect())
    }

    /// The holdings, by roster place.
    #[must_use]
    pub fn holdings(&self) -> &[Holding] {
        &self.holdings
    }
}

/// Everything that entries change but the request ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    groups: BTreeMap<String, Group>,
    gateways: Vec<PublicKey>,
    /// Each owner's last serial.
    serials: BTreeMap<PublicKey, u64>,
}

impl Registry {
    /// The registry of a market that begins.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let group = |charter: &Charter| Group {
            digest: charter.digest(),
            holdings: vec![Holding::default(); charter.roster.len()],
            charter: charter.clone(),
        };
        Self {
            groups: genesis.charters.iter().map(|charter| (charter.group.clone(), group(charter))).collect(),
            gateways: genesis.gateways.iter().map(|gateway| gateway.key).collect(),
            serials: BTreeMap::new(),
        }
    }

    /// The group with this name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Every group, by name.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Whether this key may submit.
    #[must_use]
    pub fn is_gateway(&self, key: &PublicKey) -> bool {
        self.gateways.contains(key)
    }

    fn owned(&mut self, owner: &PublicKey, group: &str, serial: u64) -> Result<(&mut Group, usize), Refused> {
        if self.serials.get(owner).is_some_and(|last| *last >= serial) {
            return Err(Refused::Replayed);
        }
        let group = self.groups.get_mut(group).ok_or(Refused::UnknownGroup)?;
        let place = group.charter.place(owner).ok_or(Refused::NotOnRoster)?;
        self.serials.insert(*owner, serial);
        Ok((group, place))
    }

    /// Applies a publication.
    ///
    /// # Errors
    /// [`Refused`]; the registry may then be half changed, so callers work on a copy.
    pub(crate) fn publish(&mut self, publish: &Publish) -> Result<(), Refused> {
        let (group, place) = self.owned(&publish.owner, &publish.group, publish.serial)?;
        let versions = &mut group.holdings[place].versions;
        if versions.iter().any(|version| version.digest == publish.version) {
            return Err(Refused::AlreadyPublished);
        }
        if versions.len() >= VERSIONS_MAX {
            return Err(Refused::TooManyVersions);
        }
        let (model, label) = (publish.model.clone(), publish.label.clone());
        versions.push(ModelVersion { model, label, digest: publish.version });
        Ok(())
    }

    /// Applies an activation that stands in block `seq`.
    ///
    /// # Errors
    /// As for [`Registry::publish`].
    pub(crate) fn activate(&mut self, activate: &Activate, seq: u64) -> Result<(), Refused> {
        let (group, place) = self.owned(&activate.owner, &activate.group, activate.serial)?;
        let earliest = seq.saturating_add(group.charter.notice_blocks.max(1));
        let holding = &mut group.holdings[place];
        let version = holding.versions.iter().position(|version| version.digest == activate.version);
        let version = version.ok_or(Refused::NotPublished)?;
        let from = activate.from_seq.max(earliest);
        if holding.activations.last().is_some_and(|(last, _)| *last >= from) {
            return Err(Refused::OutOfOrder);
        }
        holding.activations.push((from, version));
        Ok(())
    }

    /// The registry's digest, part of the state digest in every block's leaf 0.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut out = Encoder::new();
        out.array(3).array(self.groups.len());
        for group in self.groups.values() {
            out.array(2).digest(&group.digest).array(group.holdings.len());
            for holding in &group.holdings {
                out.array(2).array(holding.versions.len());
                for version in &holding.versions {
                    out.array(3).text(&version.model).text(&version.label).digest(&version.digest);
                }
                out.array(holding.activations.len());
                for (from, version) in &holding.activations {
                    out.array(2).uint(*from).uint(*version as u64);
                }
            }
        }
        out.array(self.gateways.len());
        for gateway in &self.gateways {
            out.bytes(gateway.as_bytes());
        }
        out.array(self.serials.len());
        for (owner, serial) in &self.serials {
            out.array(2).bytes(owner.as_bytes()).uint(*serial);
        }
        Digest::tagged("dropbear/registry/v1", &[&out.finish()])
    }
}
