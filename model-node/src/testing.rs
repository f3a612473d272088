//! What unit tests share.

use std::sync::Arc;

use dropbear_certificates::charter::Seat;
use dropbear_certificates::{Assurance, Charter, Digest, ModelVersion, Policy, PublicKey, SecretKey};
use dropbear_consensus::registry::{Approvals, Holding, Model, Term, Version, Withdrawn};
use dropbear_wire::follow::LedgerView;
use dropbear_wire::registry::{GroupState, HoldingView, ProposalView, RegistryState};

pub(crate) fn owner() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

/// A group of one owner.
pub(crate) fn charter(task: &str, classes: u32) -> Charter {
    let seat = Seat { owner: "acme".into(), key: owner().public(), party: String::new(), lineage: String::new() };
    Charter {
        group: "group".into(),
        task: task.into(),
        classes,
        labels: None,
        roster: vec![seat],
        policy: if task == "identity" { Policy::Exact { quorum: 1 } } else { Policy::Plurality },
        faults: 0,
        assurance: Assurance::Supported,
        notice_blocks: 1,
        approvals: 1,
        fee: 0,
    }
}

/// A ledger with one group and one owner, as a node may see it.
#[derive(Clone)]
pub(crate) struct Ledger {
    state: GroupState,
    owner: PublicKey,
}

impl Ledger {
    pub(crate) fn new(charter: Charter) -> Self {
        let owner = charter.roster[0].key;
        let term = Term::new(0, charter);
        let holdings = [(owner, HoldingView::default())].into();
        Self { state: GroupState { name: "group".into(), terms: vec![term], holdings, proposals: Vec::new() }, owner }
    }

    pub(crate) fn version(number: u8) -> Digest {
        Digest::of(&[number])
    }

    pub(crate) fn holding(&mut self) -> &mut Holding {
        &mut self.state.holdings.get_mut(&self.owner).unwrap().holding
    }

    /// With the model `model`.
    pub(crate) fn registered(mut self) -> Self {
        let model = Model { name: "model".into(), licence: String::new(), lineage: String::new() };
        self.holding().models.push(model);
        self
    }

    /// With these versions of it.
    pub(crate) fn published(self, numbers: &[u8]) -> Self {
        let mut published = self.registered();
        let version = |number: &u8| Version {
            version: ModelVersion { model: "model".into(), label: number.to_string(), digest: Self::version(*number) },
            seq: 1,
            withdrawn: None,
        };
        published.holding().versions.extend(numbers.iter().map(version));
        published
    }

    pub(crate) fn activated(mut self, activations: &[(u64, Option<usize>)]) -> Self {
        self.holding().activations.extend(activations);
        self
    }

    pub(crate) fn withdrawn(mut self, place: usize) -> Self {
        let reason = String::new();
        self.holding().versions[place].withdrawn = Some(Withdrawn { seq: 1, permanent: false, reason });
        self
    }

    /// With a charter that takes effect at `from_seq`.
    pub(crate) fn term(mut self, from_seq: u64, charter: Charter) -> Self {
        self.state.terms.push(Term::new(from_seq, charter));
        self
    }

    /// With the owner's models also under its new key.
    pub(crate) fn moved_to(mut self, key: PublicKey) -> Self {
        let holding = self.state.holdings[&self.owner].clone();
        self.state.holdings.insert(key, holding);
        self
    }

    pub(crate) fn proposed(mut self, charter: Charter) -> Self {
        let approvals = Approvals { approved: Vec::new(), needed: 1, consented: Vec::new(), missing: Vec::new() };
        let (digest, proposer) = (charter.digest(), charter.roster[0].key);
        self.state.proposals.push(ProposalView { digest, seq: 1, proposer, charter: Arc::new(charter), approvals });
        self
    }

    pub(crate) fn view(&self, seq: u64) -> LedgerView {
        let state = Arc::new(self.state.clone());
        let groups = [("group".to_owned(), Arc::clone(&state))].into();
        let registry = Arc::new(RegistryState { groups, ..RegistryState::default() });
        LedgerView { connected: true, seq, registry, ..LedgerView::default() }
    }
}
