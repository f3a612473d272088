//! What a node has to say to the ledger. Pure.
//!
//! A node begins its owner's life in a group: where the owner never activated anything, it registers, publishes and
//! activates the version that it is configured with. From then on the ledger rules, and the node says two things only:
//! that a version does not load, and where the owner's nodes are.

use dropbear_certificates::Digest;
use dropbear_consensus::registry::Holding;
use dropbear_wire::follow::LedgerView;

use crate::model::ModelCard;
use crate::standing::{Claim, fits};

/// The version that a node brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// What it is.
    pub card: ModelCard,
    /// The model's terms of use.
    pub licence: String,
    /// Where the model comes from.
    pub lineage: String,
}

/// Something to be said to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// That the owner has the configured model.
    Register,
    /// That there is the configured version.
    Publish,
    /// That it should come into force.
    Activate,
    /// That a version does not load, and why.
    Withdraw(Digest, String),
    /// Where the owner's nodes are.
    Endpoints(Vec<String>),
}

/// What a node knows and may have to say.
#[derive(Clone, Copy, Debug)]
pub struct Knows<'a> {
    /// The version that it brings along.
    pub bootstrap: Option<&'a Bootstrap>,
    /// Versions that it cannot load, with the reasons.
    pub failed: &'a [(Digest, String)],
    /// Where the owner's nodes are, if the node is to tell.
    pub endpoints: Option<&'a [String]>,
}

/// The next errand; none if the ledger knows everything, or would not listen.
#[must_use]
pub fn next(claim: &Claim, view: &LedgerView, knows: Knows<'_>) -> Option<Errand> {
    let (state, next_seq) = (claim.state(view).ok()?, view.seq.saturating_add(1));
    let (key, charter) = claim.named(state, next_seq).ok()?;
    let nothing = Holding::default();
    let holding = state.holding(&key.public()).unwrap_or(&nothing);
    let bootstrap = knows.bootstrap.filter(|bootstrap| fits(charter, &bootstrap.card).is_ok());
    withdrawal(holding, knows.failed)
        .or_else(|| begin(holding, bootstrap?))
        .or_else(|| moved(holding, knows.endpoints?))
}

fn withdrawal(holding: &Holding, failed: &[(Digest, String)]) -> Option<Errand> {
    let stands = |version: &Digest| {
        let mut versions = holding.versions.iter();
        versions.any(|known| known.version.digest == *version && known.withdrawn.is_none())
    };
    let (version, reason) = failed.iter().find(|(version, _)| stands(version))?;
    Some(Errand::Withdraw(*version, reason.clone()))
}

fn begin(holding: &Holding, bootstrap: &Bootstrap) -> Option<Errand> {
    if !holding.activations.is_empty() {
        return None;
    }
    let version = holding.versions.iter().find(|known| known.version.digest == bootstrap.card.version);
    match version {
        // The owner decided against it.
        Some(version) if version.withdrawn.is_some() => None,
        Some(_) => Some(Errand::Activate),
        None if holding.models.iter().any(|model| model.name == bootstrap.card.name) => Some(Errand::Publish),
        None => Some(Errand::Register),
    }
}

fn moved(holding: &Holding, endpoints: &[String]) -> Option<Errand> {
    (holding.endpoints != endpoints).then(|| Errand::Endpoints(endpoints.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ledger, charter, owner};
    use std::sync::Arc;

    fn claim() -> Claim {
        Claim { owner: "acme".into(), keys: vec![Arc::new(owner())], group: "group".into() }
    }

    fn bootstrap() -> Bootstrap {
        let card = ModelCard {
            name: "model".into(),
            label: "1".into(),
            version: Ledger::version(1),
            task: "identity",
            classes: None,
            backend: "identity",
        };
        Bootstrap { card, licence: "MIT".into(), lineage: "none".into() }
    }

    fn said(ledger: &Ledger, failed: &[(Digest, String)], endpoints: Option<&[String]>) -> Option<Errand> {
        next(&claim(), &ledger.view(5), Knows { bootstrap: Some(&bootstrap()), failed, endpoints })
    }

    fn ledger() -> Ledger {
        Ledger::new(charter("identity", 2))
    }

    #[test]
    fn a_node_begins_its_owners_life_in_the_group_and_then_lets_the_ledger_rule() {
        assert_eq!(said(&ledger(), &[], None), Some(Errand::Register));
        assert_eq!(said(&ledger().registered(), &[], None), Some(Errand::Publish));
        assert_eq!(said(&ledger().published(&[2, 1]), &[], None), Some(Errand::Activate));
        for activations in [[(3, Some(0))], [(9, Some(0))], [(3, None)]] {
            assert_eq!(said(&ledger().published(&[2, 1]).activated(&activations), &[], None), None);
        }
        assert_eq!(said(&ledger().published(&[1]).withdrawn(0), &[], None), None, "the owner decided against it");
        assert_eq!(said(&Ledger::new(charter("image-classification", 2)), &[], None), None, "another task");
    }

    #[test]
    fn a_version_that_does_not_load_is_said_so_once() {
        let failed = [(Ledger::version(2), "truncated".to_owned())];
        let ledger = ledger().published(&[1, 2]).activated(&[(1, Some(0)), (9, Some(1))]);
        let withdraw = Errand::Withdraw(Ledger::version(2), "truncated".into());
        assert_eq!(said(&ledger, &failed, None), Some(withdraw));
        assert_eq!(said(&ledger.withdrawn(1), &failed, None), None);
    }

    #[test]
    fn the_owners_nodes_are_told_where_they_changed() {
        let ledger = ledger().published(&[1]).activated(&[(1, Some(0))]);
        let here = ["127.0.0.1:9101".to_owned()];
        assert_eq!(said(&ledger, &[], Some(&here)), Some(Errand::Endpoints(here.to_vec())));
        let mut told = ledger.clone();
        told.holding().endpoints = here.to_vec();
        assert_eq!(said(&told, &[], Some(&here)), None);
    }
}
