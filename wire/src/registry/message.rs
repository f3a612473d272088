//! From the ledger's registry to its message.

use std::collections::BTreeSet;

use dropbear_certificates::PublicKey;
use dropbear_consensus::registry::{CharterProposal, Group, Holding, Keys, Model, Term, Version, Withdrawn};
use dropbear_consensus::{Place, Registry};

use crate::convert::{digest_bytes, key_bytes};
use crate::v1;

/// The message of a registry.
#[must_use]
pub fn registry_view(registry: &Registry) -> v1::RegistryView {
    let conviction = |(owner, epoch, place): (&PublicKey, u64, Place)| v1::Conviction {
        owner: key_bytes(owner),
        epoch,
        seq: place.seq,
        leaf_index: place.leaf_index,
    };
    let replaced =
        |(old, new): (&PublicKey, &PublicKey)| v1::ReplacedKey { old_key: key_bytes(old), new_key: key_bytes(new) };
    v1::RegistryView {
        groups: registry.groups().map(|group| group_message(group, registry.keys())).collect(),
        convictions: registry.convictions().map(conviction).collect(),
        replaced_keys: registry.keys().replaced().map(replaced).collect(),
    }
}

fn group_message(group: &Group, keys: &Keys) -> v1::Group {
    let term = |term: &Term| v1::Term { from_seq: term.from_seq, charter: term.charter.to_bytes().into() };
    // A seat whose key is about to change has the models of the new key until then.
    let seats = group.terms().iter().flat_map(|term| term.charter.roster.iter().map(|seat| seat.key));
    let owners: BTreeSet<_> = group.holdings().map(|(owner, _)| *owner).chain(seats).collect();
    let holding = |owner: &PublicKey| holding_message(owner, group.holding(owner).map(|holding| &**holding), keys);
    v1::Group {
        name: group.name().to_owned(),
        terms: group.terms().iter().map(term).collect(),
        holdings: owners.iter().map(holding).collect(),
        proposals: group.proposals().iter().map(|open| proposal_message(group, open)).collect(),
    }
}

fn holding_message(owner: &PublicKey, holding: Option<&Holding>, keys: &Keys) -> v1::Holding {
    let nothing = Holding::default();
    let Holding { models, versions, activations, endpoints } = holding.unwrap_or(&nothing);
    let model = |Model { name, licence, lineage }: &Model| v1::Model {
        name: name.clone(),
        licence: licence.clone(),
        lineage: lineage.clone(),
    };
    let activation = |(from_seq, version): &(u64, Option<usize>)| v1::Activation {
        from_seq: *from_seq,
        version: version.and_then(|version| u32::try_from(version).ok()),
    };
    v1::Holding {
        owner: key_bytes(owner),
        serial: keys.serial(owner).unwrap_or(0),
        models: models.iter().map(model).collect(),
        versions: versions.iter().map(version_message).collect(),
        activations: activations.iter().map(activation).collect(),
        endpoints: endpoints.clone(),
    }
}

fn version_message(Version { version, seq, withdrawn }: &Version) -> v1::Version {
    let withdrawn = withdrawn.as_ref().map(|Withdrawn { seq, permanent, reason }| v1::Withdrawn {
        seq: *seq,
        permanent: *permanent,
        reason: reason.clone(),
    });
    let (model, label, digest) = (version.model.clone(), version.label.clone(), digest_bytes(&version.digest));
    v1::Version { model, label, digest, seq: *seq, withdrawn }
}

fn proposal_message(group: &Group, open: &CharterProposal) -> v1::CharterProposal {
    let approvals = group.approvals(open);
    let keys = |keys: &[PublicKey]| keys.iter().map(key_bytes).collect();
    v1::CharterProposal {
        digest: digest_bytes(&open.digest),
        seq: open.seq,
        proposer: key_bytes(&open.proposer),
        charter: open.charter.to_bytes().into(),
        approved: keys(&approvals.approved),
        approvals_needed: u32::try_from(approvals.needed).unwrap_or(u32::MAX),
        consented: keys(&approvals.consented),
        consents_missing: keys(&approvals.missing),
    }
}
