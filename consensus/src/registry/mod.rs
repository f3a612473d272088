//! The registry: groups with their charters over time, every owner's models, and what is known of keys.
//!
//! A change is checked whole before anything of it is made, so that a refused entry leaves no trace. Groups are shared
//! between states until they change.

mod charters;
mod group;
mod holding;
mod keys;
mod models;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dropbear_certificates::cbor::Encoder;
use dropbear_certificates::{CharterEntry, Digest, Genesis, PublicKey};

use crate::entry::{Entry, Evidence};
use crate::refusal::{Place, Refused};

pub use charters::{GROUPS_MAX, GROUPS_PROPOSED_MAX, PROPOSALS_MAX};
pub use group::{Approvals, CharterProposal, Group, Term};
pub use holding::{
    ACTIVATIONS_PAST_MAX, ACTIVATIONS_PENDING_MAX, Holding, MODELS_MAX, Model, VERSIONS_MAX, Version, Withdrawn,
};
pub use keys::{Keys, REPLACED_MAX, SERIAL_AHEAD_MS_MAX, SERIALS_MAX};

/// The ledger remembers at most this many convictions.
pub const CONVICTIONS_MAX: usize = 4096;

/// Where in the ledger a change stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) genesis: Digest,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) agreed_ms: u64,
    pub(crate) leaf_index: u64,
}

/// Everything that entries change but the request ids and the accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    groups: BTreeMap<String, Arc<Group>>,
    gateways: Arc<[PublicKey]>,
    keys: Arc<Keys>,
    /// Who equivocated in which epoch, and where the evidence stands.
    convictions: Arc<BTreeMap<(PublicKey, u64), Place>>,
    /// Groups that changed since the last digest.
    changed: BTreeSet<String>,
}

impl Registry {
    /// The registry of a market that begins.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let group = |charter| (Group::founded(charter).name, Arc::new(Group::founded(charter)));
        let groups: BTreeMap<_, _> = genesis.charters.iter().map(group).collect();
        let mut registry = Self {
            changed: groups.keys().cloned().collect(),
            groups,
            gateways: genesis.gateways.iter().map(|gateway| gateway.key).collect(),
            keys: Arc::default(),
            convictions: Arc::default(),
        };
        registry.seal();
        registry
    }

    /// The group with this name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(name)
    }

    /// Every group, by name; also those that are only proposed.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    /// Whether this key may submit.
    #[must_use]
    pub fn is_gateway(&self, key: &PublicKey) -> bool {
        self.gateways.contains(key)
    }

    /// What is known of keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Equivocations on record: whose, in which epoch, and where the evidence stands.
    pub fn convictions(&self) -> impl Iterator<Item = (&PublicKey, u64, Place)> {
        self.convictions.iter().map(|((key, epoch), place)| (key, *epoch, *place))
    }

    fn group_mut(&mut self, name: &str) -> Option<&mut Group> {
        let group = self.groups.get_mut(name)?;
        self.changed.insert(name.to_owned());
        Some(Arc::make_mut(group))
    }

    /// Applies an owner's entry, or a report; gives the charters that it enacts.
    ///
    /// # Errors
    /// [`Refused`]; nothing is then changed.
    pub(crate) fn apply(&mut self, entry: &Entry, at: &Moment) -> Result<Vec<CharterEntry>, Refused> {
        match entry {
            Entry::Submission(_) | Entry::Late(_) => return Err(Refused::Nothing),
            Entry::Register(register, _) => self.register(register, at)?,
            Entry::Publish(publish, _) => self.publish(publish, at)?,
            Entry::Activate(activate, _) => self.activate(activate, at)?,
            Entry::Withdraw(withdraw, _) => self.withdraw(withdraw, at)?,
            Entry::Endpoints(endpoints, _) => self.endpoints(endpoints, at)?,
            Entry::Propose(propose, _) => return self.propose(propose, at),
            Entry::Approve(approve, _) => return self.approve(approve, at),
            Entry::Leave(leave, _) => return self.leave(leave, at),
            Entry::Rekey(rekey, _) => return self.rekey(rekey, at),
            Entry::Evidence(evidence, _) => self.convict(evidence, at)?,
        }
        Ok(Vec::new())
    }

    fn spend(&mut self, key: PublicKey, serial: u64) {
        Arc::make_mut(&mut self.keys).spend(key, serial);
    }

    fn convict(&mut self, evidence: &Evidence, at: &Moment) -> Result<(), Refused> {
        let reports = |key| self.is_gateway(key) || self.groups.values().any(|group| group.is_seated(key));
        if !reports(&evidence.reporter) {
            return Err(Refused::UnknownReporter);
        }
        let group = self.groups.get(evidence.group()).ok_or(Refused::UnknownGroup)?;
        let accused = *evidence.accused();
        if !group.is_seated(&accused) {
            return Err(Refused::UnknownAccused);
        }
        if self.convictions.contains_key(&(accused, at.epoch)) {
            return Err(Refused::AlreadyConvicted);
        }
        if self.convictions.len() >= CONVICTIONS_MAX {
            return Err(Refused::TooManyKeys);
        }
        let place = Place { seq: at.seq, leaf_index: at.leaf_index };
        Arc::make_mut(&mut self.convictions).insert((accused, at.epoch), place);
        Ok(())
    }

    /// Brings the digests of changed groups up to date.
    pub(crate) fn seal(&mut self) {
        for name in std::mem::take(&mut self.changed) {
            if let Some(group) = self.groups.get_mut(&name) {
                let digest = group.digest();
                Arc::make_mut(group).sealed = digest;
            }
        }
    }

    /// The registry's digest as of the last seal, part of the state digest in every block's leaf 0.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut out = Encoder::new();
        out.array(4).array(self.groups.len());
        for group in self.groups.values() {
            out.digest(&group.sealed);
        }
        out.array(self.gateways.len());
        for gateway in &*self.gateways {
            out.bytes(gateway.as_bytes());
        }
        self.keys.encode(&mut out);
        out.array(self.convictions.len());
        for ((key, epoch), place) in &*self.convictions {
            out.array(4).bytes(key.as_bytes()).uint(*epoch).uint(place.seq).uint(place.leaf_index);
        }
        Digest::tagged("dropbear/registry/v1", &[&out.finish()])
    }
}
