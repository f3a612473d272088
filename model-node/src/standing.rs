//! How a node stands in the ledger that it follows: may its ballots count, and if not, what is missing. Pure.

use std::sync::Arc;

use dropbear_certificates::{Charter, Digest, PublicKey, SecretKey};
use dropbear_consensus::registry::Holding;
use dropbear_wire::convert::{GroupState, GroupView};
use dropbear_wire::follow::LedgerView;

use crate::model::ModelCard;
use crate::plan::Orders;

/// Who a node claims to be.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The owner's name.
    pub owner: String,
    /// The owner's key, and the one that is to take its place; never empty.
    pub keys: Vec<Arc<SecretKey>>,
    /// The group.
    pub group: String,
}

/// What a node whose owner has a seat may vote with.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The group, under the charter that ballots name.
    pub group: GroupView,
    /// The key that signs them.
    pub key: Arc<SecretKey>,
    /// The version that they must name.
    pub version: Digest,
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
    /// The group has no charter yet.
    #[error("no charter of group `{0}` is in force yet: it waits for approvals, or for its block")]
    NoCharter(String),
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
    /// The owner has no version in force.
    #[error("no version of this owner is in force: publish one and activate it")]
    NoVersion,
    /// The version in force is not in memory.
    #[error("the version {} is in force and {}", .0.short(), .1)]
    NotLoaded(Digest, Absence),
    /// Every worker hangs.
    #[error("every worker hangs in the model of version {}: restart the node, and look at the model", .0.short())]
    Stuck(Digest),
}

/// Why a version is not in memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// It will be.
    #[error("is being loaded")]
    Coming,
    /// It cannot be loaded.
    #[error("cannot be loaded: {0}")]
    Failed(String),
    /// There is nothing to load.
    #[error("its files are not here: put them into the model store with `dropbear model publish`")]
    Missing,
}

impl Claim {
    /// The key that the node begins with.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.keys[0].public()
    }

    /// The group, as far as the ledger knows it.
    ///
    /// # Errors
    /// [`NotReady`] if nothing was heard of it.
    pub fn state<'a>(&self, view: &'a LedgerView) -> Result<&'a Arc<GroupState>, NotReady> {
        let group = view.registry.groups.get(&self.group);
        let heard = view.connected || view.seq > 0;
        group.ok_or_else(|| if heard { NotReady::NoGroup(self.group.clone()) } else { NotReady::NotFollowing })
    }

    /// What the node votes with in the next block; or, where `asked` names the charter that is pending, in its first.
    ///
    /// # Errors
    /// [`NotReady`] says what is missing.
    pub fn standing(&self, view: &LedgerView, asked: Option<&Digest>) -> Result<Standing, NotReady> {
        let (state, next) = (self.state(view)?, view.seq.saturating_add(1));
        let pending = state.pending(next).filter(|term| Some(&term.digest) == asked);
        let seq = pending.map_or(next, |term| term.from_seq);
        let group = GroupView::at(state, seq).ok_or_else(|| NotReady::NoCharter(self.group.clone()))?;
        let key = self.seated(&group.charter)?;
        let version = state.current(&key.public(), seq).map(|version| version.digest);
        Ok(Standing { key: Arc::clone(key), version: version.ok_or(NotReady::NoVersion)?, group })
    }

    /// The key of ours that has a seat.
    fn seated(&self, charter: &Charter) -> Result<&Arc<SecretKey>, NotReady> {
        let seat = self.keys.iter().find_map(|key| Some((key, &charter.roster[charter.place(&key.public())?])));
        match seat {
            Some((key, seat)) if seat.owner == self.owner => Ok(key),
            Some((_, seat)) => Err(NotReady::OtherOwner(seat.owner.clone(), self.owner.clone())),
            None => Err(NotReady::NotOnRoster(Box::new(self.key()), self.group.clone())),
        }
    }

    /// The key that signs lifecycle entries, and the charter that names it: the one in force, the pending one, or one
    /// that is proposed.
    ///
    /// # Errors
    /// [`NotReady`] if no charter names a key of ours.
    pub fn named<'a>(
        &self,
        state: &'a GroupState,
        next_seq: u64,
    ) -> Result<(&Arc<SecretKey>, &'a Arc<Charter>), NotReady> {
        let terms = state.term(next_seq).into_iter().chain(state.pending(next_seq)).map(|term| &term.charter);
        let charters = terms.chain(state.proposals.iter().map(|proposal| &proposal.charter));
        let mut problem = NotReady::NotOnRoster(Box::new(self.key()), self.group.clone());
        for charter in charters {
            match self.seated(charter) {
                Ok(key) => return Ok((key, charter)),
                Err(NotReady::NotOnRoster(..)) => {}
                Err(other) => problem = other,
            }
        }
        Err(problem)
    }

    /// What the owner has in the group.
    #[must_use]
    pub fn holding<'a>(&self, state: &'a GroupState, next_seq: u64) -> Option<&'a Holding> {
        match self.named(state, next_seq) {
            Ok((key, _)) => state.holding(&key.public()),
            // It may have left and still have what it published.
            Err(_) => self.keys.iter().find_map(|key| state.holding(&key.public())),
        }
    }

    /// What the ledger says about the owner's versions, for the next block.
    #[must_use]
    pub fn orders(&self, view: &LedgerView) -> Orders {
        let next = view.seq.saturating_add(1);
        let holding = self.state(view).ok().and_then(|state| self.holding(state, next));
        holding.map_or_else(Orders::default, |holding| orders(holding, next))
    }
}

/// Whether a model does what a charter asks for.
///
/// # Errors
/// [`NotReady::OtherTask`]
pub fn fits(charter: &Charter, card: &ModelCard) -> Result<(), NotReady> {
    let classes = card.classes.unwrap_or(charter.classes);
    if charter.task == card.task && charter.classes == classes {
        return Ok(());
    }
    let describe = |task: &str, classes: u32| format!("{task} with {classes} classes");
    Err(NotReady::OtherTask(describe(&charter.task, charter.classes), describe(card.task, classes)))
}

fn orders(holding: &Holding, next_seq: u64) -> Orders {
    let digest = |version: usize| holding.versions.get(version).map(|version| version.version.digest);
    let (past, pending): (Vec<_>, Vec<_>) = holding.activations.iter().partition(|(from, _)| *from <= next_seq);
    let current = past.last().and_then(|(_, version)| digest((*version)?));
    let usable = |version: &usize| holding.versions.get(*version).is_some_and(|version| version.withdrawn.is_none());
    let before = past.iter().rev().filter_map(|(_, version)| digest(version.filter(usable)?));
    let newest = holding.versions.iter().rev().find(|version| version.withdrawn.is_none());
    Orders {
        current,
        pending: pending.iter().filter_map(|(_, version)| digest((*version)?)).collect(),
        newest: newest.map(|version| version.version.digest),
        previous: before.into_iter().find(|version| Some(*version) != current),
    }
}

#[cfg(test)]
mod tests;
