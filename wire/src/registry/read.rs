//! From the registry's message to what its readers see.

use std::sync::Arc;

use dropbear_certificates::{Charter, ModelVersion};
use dropbear_consensus::registry::{Approvals, Holding, Model, Term, Version, Withdrawn};

use crate::convert::{Malformed, digest, public_key};
use crate::registry::{ConvictionView, GroupState, HoldingView, ProposalView, RegistryState};
use crate::v1;

impl TryFrom<&v1::RegistryView> for RegistryState {
    type Error = Malformed;

    fn try_from(message: &v1::RegistryView) -> Result<Self, Malformed> {
        let group = |group| GroupState::try_from(group).map(|group| (group.name.clone(), Arc::new(group)));
        let conviction = |conviction: &v1::Conviction| {
            let v1::Conviction { epoch, seq, leaf_index, .. } = *conviction;
            Ok(ConvictionView { owner: public_key(&conviction.owner, "convicted owner")?, epoch, seq, leaf_index })
        };
        let replaced = |replaced: &v1::ReplacedKey| {
            Ok((public_key(&replaced.old_key, "old key")?, public_key(&replaced.new_key, "new key")?))
        };
        Ok(Self {
            groups: message.groups.iter().map(group).collect::<Result<_, _>>()?,
            convictions: message.convictions.iter().map(conviction).collect::<Result<_, _>>()?,
            replaced_keys: message.replaced_keys.iter().map(replaced).collect::<Result<_, _>>()?,
        })
    }
}

fn charter(bytes: &[u8]) -> Result<Charter, Malformed> {
    Charter::from_bytes(bytes).map_err(|_| Malformed("charter"))
}

impl TryFrom<&v1::Group> for GroupState {
    type Error = Malformed;

    fn try_from(group: &v1::Group) -> Result<Self, Malformed> {
        let term = |term: &v1::Term| {
            let charter = charter(&term.charter)?;
            if charter.group == group.name { Ok(Term::new(term.from_seq, charter)) } else { Err(Malformed("charter")) }
        };
        let terms = group.terms.iter().map(term).collect::<Result<Vec<_>, _>>()?;
        if terms.windows(2).any(|pair| pair[0].from_seq >= pair[1].from_seq) {
            return Err(Malformed("terms"));
        }
        let holding = |holding: &v1::Holding| {
            let view = HoldingView { holding: holding_of(holding)?, serial: holding.serial };
            Ok((public_key(&holding.owner, "holding's owner")?, view))
        };
        Ok(Self {
            name: group.name.clone(),
            terms,
            holdings: group.holdings.iter().map(holding).collect::<Result<_, _>>()?,
            proposals: group.proposals.iter().map(ProposalView::try_from).collect::<Result<_, _>>()?,
        })
    }
}

fn holding_of(holding: &v1::Holding) -> Result<Holding, Malformed> {
    let model = |model: &v1::Model| Model {
        name: model.name.clone(),
        licence: model.licence.clone(),
        lineage: model.lineage.clone(),
    };
    let version = |version: &v1::Version| {
        let digest = digest(&version.digest, "version digest")?;
        let withdrawn = version.withdrawn.as_ref().map(|withdrawn| Withdrawn {
            seq: withdrawn.seq,
            permanent: withdrawn.permanent,
            reason: withdrawn.reason.clone(),
        });
        let named = ModelVersion { model: version.model.clone(), label: version.label.clone(), digest };
        Ok(Version { version: named, seq: version.seq, withdrawn })
    };
    let versions = holding.versions.iter().map(version).collect::<Result<Vec<_>, Malformed>>()?;
    let activation = |activation: &v1::Activation| {
        let version = activation.version.map(|version| version as usize);
        let known = version.is_none_or(|version| version < versions.len());
        if known { Ok((activation.from_seq, version)) } else { Err(Malformed("activation")) }
    };
    Ok(Holding {
        models: holding.models.iter().map(model).collect(),
        activations: holding.activations.iter().map(activation).collect::<Result<_, Malformed>>()?,
        versions,
        endpoints: holding.endpoints.clone(),
    })
}

impl TryFrom<&v1::CharterProposal> for ProposalView {
    type Error = Malformed;

    fn try_from(open: &v1::CharterProposal) -> Result<Self, Malformed> {
        let keys = |keys: &[bytes::Bytes], field| {
            keys.iter().map(|key| public_key(key, field)).collect::<Result<Vec<_>, Malformed>>()
        };
        Ok(Self {
            digest: digest(&open.digest, "proposal")?,
            seq: open.seq,
            proposer: public_key(&open.proposer, "proposer")?,
            charter: Arc::new(charter(&open.charter)?),
            approvals: Approvals {
                approved: keys(&open.approved, "approved")?,
                needed: open.approvals_needed as usize,
                consented: keys(&open.consented, "consented")?,
                missing: keys(&open.consents_missing, "missing consent")?,
            },
        })
    }
}
