//! One owner's models in one group: what it registered, published, activated and withdrew, and where it serves.

use dropbear_certificates::ModelVersion;
use dropbear_certificates::cbor::Encoder;

use crate::entry::{Activate, Publish, Register, Withdraw};
use crate::refusal::Refused;

/// An owner has at most this many registered models in one group.
pub const MODELS_MAX: usize = 64;

/// An owner has at most this many published versions in one group.
pub const VERSIONS_MAX: usize = 1024;

/// At most this many activations of an owner wait for their block.
pub const ACTIVATIONS_PENDING_MAX: usize = 64;

/// So many activations before the one in force stay in the registry; all are in the ledger.
pub const ACTIVATIONS_PAST_MAX: usize = 8;

/// A registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The licence's name.
    pub licence: String,
    /// Where it comes from.
    pub lineage: String,
}

/// That a version was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The block of the withdrawal.
    pub seq: u64,
    /// Whether it may never be activated again.
    pub permanent: bool,
    /// The owner's reason.
    pub reason: String,
}

/// A published version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its names and digest.
    pub version: ModelVersion,
    /// The block of its publication.
    pub seq: u64,
    /// Set while it is withdrawn; the next activation of a version that was not withdrawn for good clears it.
    pub withdrawn: Option<Withdrawn>,
}

/// One owner's models in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Registered models, in order of registration.
    pub models: Vec<Model>,
    /// Published versions, in order of publication.
    pub versions: Vec<Version>,
    /// (first seq in force, index into `versions`, or none), ascending; older ones are forgotten.
    pub activations: Vec<(u64, Option<usize>)>,
    /// Where the owner's model nodes are.
    pub endpoints: Vec<String>,
}

impl Holding {
    /// The version in force at `seq`.
    #[must_use]
    pub fn current(&self, seq: u64) -> Option<&ModelVersion> {
        let (_, version) = self.activations.iter().rev().find(|(from, _)| *from <= seq)?;
        self.versions.get((*version)?).map(|version| &version.version)
    }

    fn place(&self, digest: &dropbear_certificates::Digest) -> Result<usize, Refused> {
        self.versions.iter().position(|version| version.version.digest == *digest).ok_or(Refused::NotPublished)
    }

    // What follows changes nothing if it refuses.

    pub(super) fn register(&mut self, register: &Register) -> Result<(), Refused> {
        if self.models.iter().any(|model| model.name == register.model) {
            return Err(Refused::AlreadyRegistered);
        }
        if self.models.len() >= MODELS_MAX {
            return Err(Refused::TooManyModels);
        }
        let (name, licence) = (register.model.clone(), register.licence.clone());
        self.models.push(Model { name, licence, lineage: register.lineage.clone() });
        Ok(())
    }

    pub(super) fn publish(&mut self, publish: &Publish, seq: u64) -> Result<(), Refused> {
        if !self.models.iter().any(|model| model.name == publish.model) {
            return Err(Refused::NotRegistered);
        }
        if self.place(&publish.version).is_ok() {
            return Err(Refused::AlreadyPublished);
        }
        if self.versions.len() >= VERSIONS_MAX {
            return Err(Refused::TooManyVersions);
        }
        let (model, label) = (publish.model.clone(), publish.label.clone());
        let version = ModelVersion { model, label, digest: publish.version };
        self.versions.push(Version { version, seq, withdrawn: None });
        Ok(())
    }

    /// `earliest` is the first seq that the charter's notice allows.
    pub(super) fn activate(&mut self, activate: &Activate, seq: u64, earliest: u64) -> Result<(), Refused> {
        let version = self.place(&activate.version)?;
        if self.versions[version].withdrawn.as_ref().is_some_and(|withdrawn| withdrawn.permanent) {
            return Err(Refused::Retired);
        }
        let from = activate.from_seq.max(earliest);
        // Where a withdrawal left nothing in force, the activation fills the gap.
        let fills = self.activations.last() == Some(&(from, None));
        if !fills && self.activations.last().is_some_and(|(last, _)| *last >= from) {
            return Err(Refused::OutOfOrder);
        }
        if self.activations.iter().filter(|(from, _)| *from > seq).count() >= ACTIVATIONS_PENDING_MAX {
            return Err(Refused::TooManyActivations);
        }
        self.versions[version].withdrawn = None;
        if fills {
            self.activations.pop();
        }
        self.activations.push((from, Some(version)));
        self.forget(seq);
        Ok(())
    }

    /// Takes a version out from `earliest` on: pending activations of it never happen, and where it would still be in
    /// force, nothing is.
    pub(super) fn withdraw(&mut self, withdraw: &Withdraw, seq: u64, earliest: u64) -> Result<(), Refused> {
        let version = self.place(&withdraw.version)?;
        if self.versions[version].withdrawn.as_ref().is_some_and(|before| before.permanent || !withdraw.permanent) {
            return Err(Refused::AlreadyWithdrawn);
        }
        let (permanent, reason) = (withdraw.permanent, withdraw.reason.clone());
        self.versions[version].withdrawn = Some(Withdrawn { seq, permanent, reason });
        self.activations.retain(|(from, activated)| *from < earliest || *activated != Some(version));
        let before = self.activations.partition_point(|(from, _)| *from < earliest);
        let replaced = self.activations.get(before).is_some_and(|(from, _)| *from == earliest);
        let in_force = before.checked_sub(1).and_then(|last| self.activations[last].1);
        if in_force == Some(version) && !replaced {
            self.activations.insert(before, (earliest, None));
        }
        self.forget(seq);
        Ok(())
    }

    /// Forgets activations long past.
    fn forget(&mut self, seq: u64) {
        let begun = self.activations.partition_point(|(from, _)| *from <= seq);
        self.activations.drain(..begun.saturating_sub(ACTIVATIONS_PAST_MAX + 1));
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.array(4).array(self.models.len());
        for model in &self.models {
            out.array(3).text(&model.name).text(&model.licence).text(&model.lineage);
        }
        out.array(self.versions.len());
        for Version { version, seq, withdrawn } in &self.versions {
            out.array(5).text(&version.model).text(&version.label).digest(&version.digest).uint(*seq);
            match withdrawn {
                Some(withdrawn) => {
                    out.array(3).uint(withdrawn.seq).uint(withdrawn.permanent.into()).text(&withdrawn.reason);
                }
                None => {
                    out.null();
                }
            }
        }
        out.array(self.activations.len());
        for (from, version) in &self.activations {
            out.array(2).uint(*from);
            match version {
                Some(version) => out.uint(*version as u64),
                None => out.null(),
            };
        }
        out.array(self.endpoints.len());
        for endpoint in &self.endpoints {
            out.text(endpoint);
        }
    }
}
