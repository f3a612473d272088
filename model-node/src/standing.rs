//! How a node stands in the ledger that it follows: may its ballots count, and if not, what is missing. Pure.

use std::sync::Arc;

use dropbear_certificates::{Digest, PublicKey};
use dropbear_consensus::registry::Holding;
use dropbear_wire::convert::{GroupState, GroupView, Malformed};
use dropbear_wire::v1::LedgerUpdate;

use crate::model::ModelCard;

/// What a node knows of the ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerView {
    /// The last block.
    pub seq: u64,
    /// The node's group with all that waits in it; none before the first update, or if the ledger has no such group.
    pub state: Option<Arc<GroupState>>,
    /// The group as it stands in the next block; none if it has no charter there.
    pub group: Option<Arc<GroupView>>,
    /// Whether any update has come.
    pub followed: bool,
}

/// Why an update is not taken; its coordinator is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUpdate {
    /// A field of the message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The first update has no registry.
    #[error("the first update does not hold the registry")]
    NoRegistry,
    /// The ledger runs backwards.
    #[error("the ledger runs backwards, from block {0} to {1}")]
    Backwards(u64, u64),
}

impl LedgerView {
    /// The view after the first update of a coordinator, which replaces whatever another one said.
    ///
    /// # Errors
    /// [`BadUpdate`]
    pub fn first(update: &LedgerUpdate, group: &str) -> Result<Self, BadUpdate> {
        let registry = update.registry.as_ref().ok_or(BadUpdate::NoRegistry)?;
        let ours = registry.groups.iter().find(|message| message.name == group);
        let state = ours.map(GroupState::try_from).transpose()?.map(Arc::new);
        Ok(Self::at(update.seq, state.as_ref()))
    }

    /// The view of a group under the charter that is in force after block `seq`.
    fn at(seq: u64, state: Option<&Arc<GroupState>>) -> Self {
        let group = state.and_then(|state| GroupView::at(state, seq.saturating_add(1))).map(Arc::new);
        Self { seq, state: state.cloned(), group, followed: true }
    }

    /// The view after a further update of the same coordinator.
    ///
    /// # Errors
    /// [`BadUpdate`]
    pub fn next(&self, update: &LedgerUpdate, group: &str) -> Result<Self, BadUpdate> {
        if update.seq < self.seq {
            return Err(BadUpdate::Backwards(self.seq, update.seq));
        }
        match update.registry {
            Some(_) => Self::first(update, group),
            None => Ok(Self::at(update.seq, self.state.as_ref())),
        }
    }
}

/// Who a node claims to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The owner's name.
    pub owner: String,
    /// The owner's key.
    pub key: PublicKey,
    /// The group.
    pub group: String,
    /// The versions that are loaded, the newest last; never empty.
    pub cards: Vec<ModelCard>,
}

/// What a node whose ballots count may do now.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The group.
    pub group: Arc<GroupView>,
    /// Which of the loaded versions a ballot must name in the next block.
    pub serving: usize,
}

/// What keeps a node's ballots from counting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// No update yet.
    #[error("no coordinator has answered yet: check that the configured coordinators are running")]
    NotFollowing,
    /// No such group.
    #[error("the ledger has no group `{0}`: check `group` in the node's configuration")]
    NoGroup(String),
    /// The key has no seat.
    #[error(
        "the key {0} is not on the roster of group `{1}`: check `key` in the node's configuration, or join the group"
    )]
    NotOnRoster(Box<PublicKey>, String),
    /// The key is another owner's.
    #[error("the key belongs to owner `{0}`, not `{1}`: check `owner` and `key` in the node's configuration")]
    OtherOwner(String, String),
    /// The model does something else than the group.
    #[error("the group's task is {0}, the model's {1}: serve a model of that task")]
    OtherTask(String, String),
    /// The model is unknown to the ledger.
    #[error("the model is not registered yet")]
    NotRegistered,
    /// The version is unknown to the ledger.
    #[error("the version {} is not published yet", .0.short())]
    NotPublished(Digest),
    /// Another version is in force, or none.
    #[error("the version {} is published but not activated", .0.short())]
    NotActivated(Digest),
    /// The activation is still ahead.
    #[error("the version {} comes into force at block {from_seq}", .version.short())]
    Pending {
        /// The version.
        version: Digest,
        /// The first block in which it is in force.
        from_seq: u64,
    },
}

impl Claim {
    /// The newest loaded version.
    #[must_use]
    pub fn newest(&self) -> &ModelCard {
        &self.cards[self.cards.len() - 1]
    }

    /// How the node stands; it is ready if any loaded version is in force.
    ///
    /// # Errors
    /// [`NotReady`] says what is missing.
    pub fn standing(&self, view: &LedgerView) -> Result<Standing, NotReady> {
        let (group, place) = self.seat(view)?;
        let current = group.current(place, view.seq.saturating_add(1));
        let serving = current.and_then(|current| self.cards.iter().rposition(|card| card.version == current.digest));
        match serving {
            Some(serving) => Ok(Standing { group: Arc::clone(group), serving }),
            None => Err(self.progress(view).err().unwrap_or(NotReady::NotActivated(self.newest().version))),
        }
    }

    /// How far the newest loaded version has come.
    ///
    /// # Errors
    /// [`NotReady`] unless it is in force in the next block.
    pub fn progress(&self, view: &LedgerView) -> Result<(), NotReady> {
        let (group, place) = self.seat(view)?;
        let (next, version) = (view.seq.saturating_add(1), self.newest().version);
        if group.current(place, next).is_some_and(|current| current.digest == version) {
            return Ok(());
        }
        let nothing = Holding::default();
        let holding = group.holding(place).unwrap_or(&nothing);
        let Some(index) = holding.versions.iter().position(|known| known.version.digest == version) else {
            let registered = holding.models.iter().any(|model| model.name == self.newest().name);
            return Err(if registered { NotReady::NotPublished(version) } else { NotReady::NotRegistered });
        };
        match holding.activations.last() {
            Some((from, last)) if *last == Some(index) && *from > next => {
                Err(NotReady::Pending { version, from_seq: *from })
            }
            _ => Err(NotReady::NotActivated(version)),
        }
    }

    fn seat<'a>(&self, view: &'a LedgerView) -> Result<(&'a Arc<GroupView>, usize), NotReady> {
        if !view.followed {
            return Err(NotReady::NotFollowing);
        }
        let group = view.group.as_ref().ok_or_else(|| NotReady::NoGroup(self.group.clone()))?;
        Ok((group, self.place(group)?))
    }

    fn place(&self, group: &GroupView) -> Result<usize, NotReady> {
        let charter = &group.charter;
        let place =
            charter.place(&self.key).ok_or_else(|| NotReady::NotOnRoster(Box::new(self.key), self.group.clone()))?;
        let seat = &charter.roster[place];
        if seat.owner != self.owner {
            return Err(NotReady::OtherOwner(seat.owner.clone(), self.owner.clone()));
        }
        let describe = |task: &str, classes: u32| format!("{task} with {classes} classes");
        for card in &self.cards {
            let classes = card.classes.unwrap_or(charter.classes);
            if charter.task != card.task || charter.classes != classes {
                let asked = describe(&charter.task, charter.classes);
                return Err(NotReady::OtherTask(asked, describe(card.task, classes)));
            }
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use dropbear_certificates::ModelVersion;
    use dropbear_consensus::registry::{Model, Version};
    use dropbear_wire::registry::{HoldingView, TermView};
    use dropbear_wire::v1::{Group, RegistryView, Term};

    use super::*;
    use crate::testing::{charter, owner};

    fn version(number: u8) -> ModelVersion {
        ModelVersion { model: "model".into(), label: number.to_string(), digest: Digest::of(&[number]) }
    }

    fn card(number: u8) -> ModelCard {
        ModelCard {
            name: "model".into(),
            label: number.to_string(),
            version: version(number).digest,
            task: "image-classification",
            classes: Some(10),
            backend: "onnx",
        }
    }

    fn claim() -> Claim {
        Claim { owner: "acme".into(), key: owner().public(), group: "group".into(), cards: vec![card(1)] }
    }

    fn view(seq: u64, versions: &[u8], activations: &[(u64, usize)]) -> LedgerView {
        let charter = charter("image-classification", 10);
        let published = |number: &u8| Version { version: version(*number), seq: 1, withdrawn: None };
        let holding = Holding {
            models: vec![Model { name: "model".into(), licence: String::new(), lineage: String::new() }],
            versions: versions.iter().map(published).collect(),
            activations: activations.iter().map(|(from, version)| (*from, Some(*version))).collect(),
            endpoints: Vec::new(),
        };
        let term = TermView { from_seq: 0, digest: charter.digest(), charter: Arc::new(charter) };
        let holdings = [(owner().public(), HoldingView { holding, serial: 1 })].into();
        let state = GroupState { name: "group".into(), terms: vec![term], holdings, proposals: Vec::new() };
        LedgerView::at(seq, Some(&Arc::new(state)))
    }

    fn standing(claim: &Claim, seq: u64, versions: &[u8], activations: &[(u64, usize)]) -> Result<usize, NotReady> {
        claim.standing(&view(seq, versions, activations)).map(|standing| standing.serving)
    }

    #[test]
    fn a_version_is_current_when_the_next_block_says_so() {
        let (claim, digest) = (claim(), version(1).digest);
        assert_eq!(standing(&claim, 5, &[], &[]), Err(NotReady::NotPublished(digest)));
        assert_eq!(standing(&claim, 5, &[2, 1], &[(3, 0)]), Err(NotReady::NotActivated(digest)));
        let pending = NotReady::Pending { version: digest, from_seq: 7 };
        assert_eq!(standing(&claim, 5, &[2, 1], &[(3, 0), (7, 1)]), Err(pending));
        assert_eq!(standing(&claim, 6, &[2, 1], &[(3, 0), (7, 1)]), Ok(0));
        let superseded = [(3, 1), (7, 0)];
        assert_eq!(standing(&claim, 5, &[2, 1], &superseded), Ok(0));
        assert_eq!(standing(&claim, 6, &[2, 1], &superseded), Err(NotReady::NotActivated(digest)));
    }

    #[test]
    fn of_two_loaded_versions_the_one_in_force_is_served() {
        let claim = Claim { cards: vec![card(1), card(2)], ..claim() };
        let activations = [(3, 0), (7, 1)];
        assert_eq!(standing(&claim, 5, &[1, 2], &activations), Ok(0));
        assert_eq!(standing(&claim, 6, &[1, 2], &activations), Ok(1));
        let progress = |seq| claim.progress(&view(seq, &[1, 2], &activations));
        assert_eq!(progress(5), Err(NotReady::Pending { version: version(2).digest, from_seq: 7 }));
        assert_eq!(progress(6), Ok(()));
        assert_eq!(standing(&claim, 5, &[1], &[(3, 0)]), Ok(0));
        let unpublished = claim.progress(&view(5, &[1], &[(3, 0)]));
        assert_eq!(unpublished, Err(NotReady::NotPublished(version(2).digest)));
    }

    #[test]
    fn what_does_not_fit_the_charter_is_named() {
        let other = |change: fn(&mut Claim)| {
            let mut claim = claim();
            change(&mut claim);
            standing(&claim, 5, &[1], &[(1, 0)]).unwrap_err()
        };
        assert!(matches!(other(|claim| claim.owner = "bob".into()), NotReady::OtherOwner(..)));
        assert!(matches!(other(|claim| claim.cards[0].classes = Some(11)), NotReady::OtherTask(..)));
        assert!(matches!(other(|claim| claim.cards[0].task = "identity"), NotReady::OtherTask(..)));
        let stranger = |claim: &mut Claim| claim.key = dropbear_certificates::SecretKey::from_seed(&[9; 32]).public();
        assert!(matches!(other(stranger), NotReady::NotOnRoster(..)));
        assert_eq!(claim().standing(&LedgerView::default()).unwrap_err(), NotReady::NotFollowing);
    }

    #[test]
    fn one_coordinator_never_runs_backwards_but_another_may_be_behind() {
        let registry = RegistryView {
            groups: vec![Group {
                name: "group".into(),
                terms: vec![Term { from_seq: 0, charter: charter("identity", 2).to_bytes().into() }],
                ..Group::default()
            }],
            ..RegistryView::default()
        };
        let update = |seq, registry| LedgerUpdate { seq, agreed_ms: 0, registry };
        let view = LedgerView::first(&update(7, Some(registry)), "group").unwrap();
        assert!(view.group.is_some());
        let view = view.next(&update(8, None), "group").unwrap();
        assert_eq!((view.seq, view.group.is_some()), (8, true));
        assert_eq!(view.next(&update(7, None), "group").unwrap_err(), BadUpdate::Backwards(8, 7));
        assert_eq!(LedgerView::first(&update(7, None), "group").unwrap_err(), BadUpdate::NoRegistry);
    }
}
