//! The registry as coordinators send it, and as its readers see it.

mod message;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_certificates::{Charter, Digest, ModelSet, ModelVersion, PublicKey};
use dropbear_consensus::registry::{Approvals, Holding, Term};

pub use message::registry_view;

/// One owner's models in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldingView {
    /// The models.
    pub holding: Holding,
    /// The last serial of the owner's key; 0 if it signed nothing.
    pub serial: u64,
}

/// A charter that waits for approvals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalView {
    /// What approvals name.
    pub digest: Digest,
    /// The block in which it was made.
    pub seq: u64,
    /// Whoever made it.
    pub proposer: PublicKey,
    /// The charter.
    pub charter: Arc<Charter>,
    /// What it has and lacks.
    pub approvals: Approvals,
}

/// One group with all that waits in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Its name.
    pub name: String,
    /// The charters that matter now, ascending: the one before, the one in force, the pending one. None while the group
    /// is only proposed.
    pub terms: Vec<Term>,
    /// By owner key.
    pub holdings: BTreeMap<PublicKey, HoldingView>,
    /// In order of arrival.
    pub proposals: Vec<ProposalView>,
}

impl GroupState {
    /// The charter in force at `seq`.
    #[must_use]
    pub fn term(&self, seq: u64) -> Option<&Term> {
        Term::in_force(&self.terms, seq)
    }

    /// The charter that takes effect after `seq`.
    #[must_use]
    pub fn pending(&self, seq: u64) -> Option<&Term> {
        Term::pending(&self.terms, seq)
    }

    /// The models of this key.
    #[must_use]
    pub fn holding(&self, owner: &PublicKey) -> Option<&Holding> {
        self.holdings.get(owner).map(|view| &view.holding)
    }

    /// The version of this owner that is current at `seq`.
    #[must_use]
    pub fn current(&self, owner: &PublicKey, seq: u64) -> Option<&ModelVersion> {
        self.holding(owner)?.current(seq)
    }

    /// Every owner's current version at `seq`, by place on the roster then.
    #[must_use]
    pub fn model_set(&self, seq: u64) -> ModelSet {
        self.term(seq).map(|term| term.model_set(|owner| self.current(owner, seq))).unwrap_or_default()
    }
}

/// One group under the charter that is in force in the next block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The charter.
    pub charter: Arc<Charter>,
    /// Its digest.
    pub digest: Digest,
    /// The first seq at which it is in force.
    pub from_seq: u64,
    /// The whole group.
    pub state: Arc<GroupState>,
}

impl GroupView {
    /// The group as it stands in block `seq`; `None` if it has no charter there.
    #[must_use]
    pub fn at(state: &Arc<GroupState>, seq: u64) -> Option<Self> {
        let Term { from_seq, charter, digest, .. } = state.term(seq)?.clone();
        Some(Self { charter, digest, from_seq, state: Arc::clone(state) })
    }

    /// The version of the owner at `place` on this charter's roster that is current at `seq`.
    #[must_use]
    pub fn current(&self, place: usize, seq: u64) -> Option<&ModelVersion> {
        self.state.current(&self.charter.roster.get(place)?.key, seq)
    }

    /// The models of the owner at `place` on this charter's roster.
    #[must_use]
    pub fn holding(&self, place: usize) -> Option<&Holding> {
        self.state.holding(&self.charter.roster.get(place)?.key)
    }

    /// Every owner's current version at `seq`, by place on the roster then.
    #[must_use]
    pub fn model_set(&self, seq: u64) -> ModelSet {
        self.state.model_set(seq)
    }
}

/// Evidence of equivocation on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvictionView {
    /// Whose.
    pub owner: PublicKey,
    /// In which epoch.
    pub epoch: u64,
    /// The block of the evidence.
    pub seq: u64,
    /// Its leaf there.
    pub leaf_index: u64,
}

/// The registry as one coordinator tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryState {
    /// Every group by name, also those that are only proposed.
    pub groups: BTreeMap<String, Arc<GroupState>>,
    /// Who equivocated.
    pub convictions: Vec<ConvictionView>,
    /// Keys that others took the place of, old to new.
    pub replaced_keys: BTreeMap<PublicKey, PublicKey>,
}
