//! The registry as coordinators send it, and as its readers see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_certificates::{Charter, Digest, ModelSet, ModelVersion, PublicKey};
use dropbear_consensus::Registry;
use dropbear_consensus::registry::{Approvals, CharterProposal, Group, Holding, Keys, Model, Version, Withdrawn};

use crate::convert::{Malformed, digest, digest_bytes, key_bytes, public_key};
use crate::v1;

/// A charter and when it begins; it ends where the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermView {
    /// First seq in force.
    pub from_seq: u64,
    /// The charter.
    pub charter: Arc<Charter>,
    /// Its digest.
    pub digest: Digest,
}

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
    pub terms: Vec<TermView>,
    /// By owner key.
    pub holdings: BTreeMap<PublicKey, HoldingView>,
    /// In order of arrival.
    pub proposals: Vec<ProposalView>,
}

impl GroupState {
    /// The charter in force at `seq`.
    #[must_use]
    pub fn term(&self, seq: u64) -> Option<&TermView> {
        self.terms.iter().rev().find(|term| term.from_seq <= seq)
    }

    /// The charter that takes effect after `seq`.
    #[must_use]
    pub fn pending(&self, seq: u64) -> Option<&TermView> {
        self.terms.last().filter(|term| term.from_seq > seq)
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
        let roster = self.term(seq).map(|term| &term.charter.roster).into_iter().flatten();
        ModelSet(roster.map(|seat| self.current(&seat.key, seq).cloned()).collect())
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
        let TermView { from_seq, charter, digest } = state.term(seq)?.clone();
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

/// The message of a registry.
#[must_use]
pub fn registry_view(registry: &Registry) -> v1::RegistryView {
    let conviction = |(owner, epoch, place): (&PublicKey, u64, dropbear_consensus::Place)| v1::Conviction {
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
    let term = |term: &dropbear_consensus::registry::Term| v1::Term {
        from_seq: term.from_seq,
        charter: term.charter.to_bytes().into(),
    };
    // A seat whose key is about to change has the models of the new key until then.
    let seats = group.terms().iter().flat_map(|term| term.charter.roster.iter().map(|seat| seat.key));
    let owners: std::collections::BTreeSet<_> = group.holdings().map(|(owner, _)| *owner).chain(seats).collect();
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

fn charter(bytes: &[u8]) -> Result<Arc<Charter>, Malformed> {
    Charter::from_bytes(bytes).map(Arc::new).map_err(|_| Malformed("charter"))
}

impl TryFrom<&v1::Group> for GroupState {
    type Error = Malformed;

    fn try_from(group: &v1::Group) -> Result<Self, Malformed> {
        let term = |term: &v1::Term| {
            let charter = charter(&term.charter)?;
            let fits = charter.group == group.name;
            let digest = charter.digest();
            if fits { Ok(TermView { from_seq: term.from_seq, charter, digest }) } else { Err(Malformed("charter")) }
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
            charter: charter(&open.charter)?,
            approvals: Approvals {
                approved: keys(&open.approved, "approved")?,
                needed: open.approvals_needed as usize,
                consented: keys(&open.consented, "consented")?,
                missing: keys(&open.consents_missing, "missing consent")?,
            },
        })
    }
}
