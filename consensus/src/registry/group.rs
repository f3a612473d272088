//! One group: its charters over time, its owners' models, and the charters that are proposed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dropbear_certificates::cbor::Encoder;
use dropbear_certificates::{Charter, Digest, ModelSet, ModelVersion, PublicKey};

use crate::registry::Holding;

/// A charter and when it begins; it ends where the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// First seq in force.
    pub from_seq: u64,
    /// The charter.
    pub charter: Arc<Charter>,
    /// Its digest.
    pub digest: Digest,
    /// Old and new key of the owner whose key changed with this term: until it begins, the old key's seat has the models
    /// of the new.
    pub(super) renamed: Option<(PublicKey, PublicKey)>,
}

impl Term {
    /// The term of a charter that begins at `from_seq` and changes nobody's key.
    #[must_use]
    pub fn new(from_seq: u64, charter: Charter) -> Self {
        Self { from_seq, digest: charter.digest(), charter: Arc::new(charter), renamed: None }
    }

    /// The term among these, ascending, that is in force at `seq`.
    #[must_use]
    pub fn in_force(terms: &[Self], seq: u64) -> Option<&Self> {
        terms.iter().rev().find(|term| term.from_seq <= seq)
    }

    /// The term among these, ascending, that begins after `seq`.
    #[must_use]
    pub fn pending(terms: &[Self], seq: u64) -> Option<&Self> {
        terms.last().filter(|term| term.from_seq > seq)
    }

    /// Every owner's version by place on the roster, as `current` says by key.
    #[must_use]
    pub fn model_set<'a>(&self, current: impl Fn(&PublicKey) -> Option<&'a ModelVersion>) -> ModelSet {
        ModelSet(self.charter.roster.iter().map(|seat| current(&seat.key).cloned()).collect())
    }
}

/// A charter that waits for approvals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CharterProposal {
    /// Its name, see [`crate::entry::proposal_digest`].
    pub digest: Digest,
    /// The block in which it was made.
    pub seq: u64,
    /// Whoever made it.
    pub proposer: PublicKey,
    /// The charter.
    pub charter: Arc<Charter>,
    /// Who signed it: owners of the charter in force, whose signature approves, and new ones, whose signature consents.
    pub signers: BTreeSet<PublicKey>,
}

/// What a proposal has and lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals {
    /// Owners of the charter in force that approved.
    pub approved: Vec<PublicKey>,
    /// How many of them must.
    pub needed: usize,
    /// Owners that the proposal adds and that have consented.
    pub consented: Vec<PublicKey>,
    /// And those that have not.
    pub missing: Vec<PublicKey>,
}

impl Approvals {
    /// Whether the proposal takes effect.
    #[must_use]
    pub fn suffice(&self) -> bool {
        self.approved.len() >= self.needed && self.missing.is_empty()
    }
}

/// One group; until its first charter is enacted it is only proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub(super) name: String,
    /// Ascending; the one in force, the one before it, and one that is pending.
    pub(super) terms: Vec<Term>,
    pub(super) holdings: BTreeMap<PublicKey, Arc<Holding>>,
    /// In order of arrival; all replace the latest charter.
    pub(super) proposals: Vec<Arc<CharterProposal>>,
    /// Digest of all this as of the last block.
    pub(super) sealed: Digest,
}

impl Group {
    pub(super) const fn new(name: String) -> Self {
        Self { name, terms: Vec::new(), holdings: BTreeMap::new(), proposals: Vec::new(), sealed: Digest::ZERO }
    }

    pub(super) fn founded(charter: &Charter) -> Self {
        let mut group = Self::new(charter.group.clone());
        group.terms.push(Term::new(0, charter.clone()));
        group
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The charters that matter now: the one before, the one in force, the pending one; ascending.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The charter in force at `seq`; `None` before the first, and where it was forgotten.
    #[must_use]
    pub fn term(&self, seq: u64) -> Option<&Term> {
        Term::in_force(&self.terms, seq)
    }

    /// The newest charter, in force or pending; `None` while the group is only proposed.
    #[must_use]
    pub fn latest(&self) -> Option<&Term> {
        self.terms.last()
    }

    /// The charter that takes effect after `seq`.
    #[must_use]
    pub fn pending(&self, seq: u64) -> Option<&Term> {
        Term::pending(&self.terms, seq)
    }

    /// The models of this key. Until a changed key is in force, the old one has the models of the new one.
    #[must_use]
    pub fn holding(&self, key: &PublicKey) -> Option<&Arc<Holding>> {
        let renamed = self.terms.iter().filter_map(|term| term.renamed.as_ref()).find(|(old, _)| old == key);
        self.holdings.get(renamed.map_or(key, |(_, new)| new))
    }

    /// Every key's models.
    pub fn holdings(&self) -> impl Iterator<Item = (&PublicKey, &Arc<Holding>)> {
        self.holdings.iter()
    }

    /// Proposals that wait for approvals.
    #[must_use]
    pub fn proposals(&self) -> &[Arc<CharterProposal>] {
        &self.proposals
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

    /// What a proposal has and lacks.
    #[must_use]
    pub fn approvals(&self, proposal: &CharterProposal) -> Approvals {
        let latest = self.latest().map(|term| &*term.charter);
        let seated = |key: &PublicKey| latest.is_some_and(|charter| charter.place(key).is_some());
        let added = proposal.charter.roster.iter().map(|seat| seat.key).filter(|key| !seated(key));
        let (consented, missing) = added.partition(|key| proposal.signers.contains(key));
        Approvals {
            approved: proposal.signers.iter().copied().filter(seated).collect(),
            needed: latest.map_or(0, |charter| usize::try_from(charter.approvals.max(1)).unwrap_or(usize::MAX)),
            consented,
            missing,
        }
    }

    /// Whether this key has a seat in any charter that matters now.
    #[must_use]
    pub fn is_seated(&self, key: &PublicKey) -> bool {
        self.terms.iter().any(|term| term.charter.place(key).is_some())
    }

    /// Whether a charter or an open proposal names this key.
    #[must_use]
    pub fn is_named(&self, key: &PublicKey) -> bool {
        self.is_seated(key) || self.proposals.iter().any(|proposal| proposal.charter.place(key).is_some())
    }

    /// After how many blocks changes take effect.
    pub(super) fn notice(&self, seq: u64) -> u64 {
        let term = self.term(seq).or(self.latest());
        term.map_or(1, |term| term.charter.notice_blocks.max(1))
    }

    /// Forgets the models of keys that nothing names any more.
    pub(super) fn forget_unnamed(&mut self) {
        let unnamed: Vec<_> = self.holdings.keys().copied().filter(|key| !self.is_named(key)).collect();
        for key in unnamed {
            self.holdings.remove(&key);
        }
    }

    pub(super) fn digest(&self) -> Digest {
        let mut out = Encoder::new();
        out.array(4).text(&self.name).array(self.terms.len());
        for term in &self.terms {
            out.array(3).uint(term.from_seq).digest(&term.digest);
            match &term.renamed {
                Some((old, new)) => out.array(2).bytes(old.as_bytes()).bytes(new.as_bytes()),
                None => out.null(),
            };
        }
        out.array(self.holdings.len());
        for (key, holding) in &self.holdings {
            out.array(2).bytes(key.as_bytes());
            holding.encode(&mut out);
        }
        out.array(self.proposals.len());
        for proposal in &self.proposals {
            out.array(4).digest(&proposal.digest).uint(proposal.seq).bytes(proposal.proposer.as_bytes());
            out.array(proposal.signers.len());
            for signer in &proposal.signers {
                out.bytes(signer.as_bytes());
            }
        }
        Digest::tagged("dropbear/group/v1", &[&out.finish()])
    }
}
