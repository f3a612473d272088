//! How groups begin and change: proposals, approvals, leaving, new keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use dropbear_certificates::cbor::INT_MAX;
use dropbear_certificates::{Charter, CharterEntry, Digest, PublicKey};

use crate::entry::{Approve, Leave, Propose, Rekey};
use crate::refusal::Refused;
use crate::registry::{CharterProposal, Group, Moment, Registry, Term};

/// The market has at most this many groups.
pub const GROUPS_MAX: usize = 256;

/// At most this many of its groups are only proposed; the oldest gives way to a new one.
pub const GROUPS_PROPOSED_MAX: usize = 32;

/// A group has at most this many open proposals, one per proposer.
pub const PROPOSALS_MAX: usize = 8;

impl Registry {
    pub(super) fn propose(&mut self, propose: &Propose, at: &Moment) -> Result<Vec<CharterEntry>, Refused> {
        let (owner, name) = (propose.owner, &propose.charter.group);
        self.keys.check(&owner, propose.serial, at.agreed_ms)?;
        if propose.charter.roster.iter().any(|seat| self.keys.successor(&seat.key).is_some()) {
            return Err(Refused::DeadKey);
        }
        let proposal = Arc::new(CharterProposal {
            digest: propose.proposal(),
            seq: at.seq,
            proposer: owner,
            charter: Arc::new(propose.charter.clone()),
            signers: BTreeSet::from([owner]),
        });
        let displaced = match self.groups.get(name) {
            Some(group) => group.check_proposal(propose, at.seq)?,
            None if propose.previous.is_some() => return Err(Refused::UnknownGroup),
            None if propose.charter.place(&owner).is_none() => return Err(Refused::MayNotPropose),
            None => {
                self.make_room_for_group()?;
                self.groups.insert(name.clone(), Arc::new(Group::new(name.clone())));
                None
            }
        };
        if let Some(group) = self.group_mut(name) {
            group.proposals.retain(|open| open.proposer != owner);
            group.proposals.push(Arc::clone(&proposal));
            if let Some(displaced) = displaced {
                group.proposals.retain(|open| open.digest != displaced);
                group.forget_unnamed();
            }
        }
        self.spend(owner, propose.serial);
        Ok(self.enact_if_approved(name, &proposal.digest, at))
    }

    /// Lets the oldest group that is only proposed go if there are too many.
    fn make_room_for_group(&mut self) -> Result<(), Refused> {
        let (founded, proposed): (Vec<_>, Vec<_>) = self.groups.values().partition(|group| group.latest().is_some());
        if founded.len() >= GROUPS_MAX {
            return Err(Refused::TooManyGroups);
        }
        if proposed.len() >= GROUPS_PROPOSED_MAX {
            let age = |group: &&&Arc<Group>| group.proposals.iter().map(|open| open.seq).min();
            let oldest = proposed.iter().min_by_key(age).map(|group| group.name.clone());
            oldest.map(|name| self.groups.remove(&name));
        }
        Ok(())
    }

    pub(super) fn approve(&mut self, approve: &Approve, at: &Moment) -> Result<Vec<CharterEntry>, Refused> {
        self.keys.check(&approve.owner, approve.serial, at.agreed_ms)?;
        let group = self.groups.get(&approve.group).ok_or(Refused::UnknownGroup)?;
        let place = group.proposals.iter().position(|open| open.digest == approve.proposal);
        let place = place.ok_or(Refused::UnknownProposal)?;
        let open = &group.proposals[place];
        let seated = group.latest().is_some_and(|latest| latest.charter.place(&approve.owner).is_some());
        if !seated && open.charter.place(&approve.owner).is_none() {
            return Err(Refused::MayNotApprove);
        }
        if open.signers.contains(&approve.owner) {
            return Err(Refused::AlreadyApproved);
        }
        if let Some(group) = self.group_mut(&approve.group) {
            Arc::make_mut(&mut group.proposals[place]).signers.insert(approve.owner);
        }
        self.spend(approve.owner, approve.serial);
        Ok(self.enact_if_approved(&approve.group, &approve.proposal, at))
    }

    fn enact_if_approved(&mut self, name: &str, proposal: &Digest, at: &Moment) -> Vec<CharterEntry> {
        let Some(group) = self.groups.get(name) else { return Vec::new() };
        let approved = group.proposals.iter().find(|open| open.digest == *proposal);
        let Some(approved) = approved.filter(|open| group.approvals(open).suffice()).cloned() else {
            return Vec::new();
        };
        self.enact(name, &approved.charter, None, at).into_iter().collect()
    }

    pub(super) fn leave(&mut self, leave: &Leave, at: &Moment) -> Result<Vec<CharterEntry>, Refused> {
        self.keys.check(&leave.owner, leave.serial, at.agreed_ms)?;
        let group = self.groups.get(&leave.group).ok_or(Refused::UnknownGroup)?;
        group.check_settled(at.seq)?;
        let charter = group.latest().map(|term| Arc::clone(&term.charter)).ok_or(Refused::NotOnRoster)?;
        charter.place(&leave.owner).ok_or(Refused::NotOnRoster)?;
        let charter = Arc::new(charter.without(&leave.owner).ok_or(Refused::LastOwner)?);
        self.spend(leave.owner, leave.serial);
        Ok(self.enact(&leave.group, &charter, None, at).into_iter().collect())
    }

    pub(super) fn rekey(&mut self, rekey: &Rekey, at: &Moment) -> Result<Vec<CharterEntry>, Refused> {
        let (old, new) = (rekey.owner, rekey.new_key);
        self.keys.check(&old, rekey.serial, at.agreed_ms)?;
        let in_use = |group: &Arc<Group>| group.is_named(&new) || group.holdings.contains_key(&new);
        if self.keys.knows(&new) || self.is_gateway(&new) || self.groups.values().any(in_use) {
            return Err(Refused::KeyInUse);
        }
        if self.keys.is_full() {
            return Err(Refused::TooManyKeys);
        }
        let seats: Vec<_> = self.groups.values().filter(|group| group.is_seated_latest(&old)).cloned().collect();
        if seats.is_empty() {
            return Err(Refused::NotOnRoster);
        }
        let mut charters = Vec::with_capacity(seats.len());
        for group in &seats {
            group.check_settled(at.seq)?;
            let charter = group.latest().and_then(|term| term.charter.rekeyed(&old, new)).ok_or(Refused::KeyInUse)?;
            charters.push((group.name.clone(), Arc::new(charter)));
        }
        self.rename(&old, new);
        Arc::make_mut(&mut self.keys).replace(old, new, rekey.serial);
        let enacted = charters.iter().filter_map(|(name, charter)| self.enact(name, charter, Some((old, new)), at));
        Ok(enacted.collect())
    }

    /// Moves everything but seats from `old` to `new`. A proposal that the old key made or that names it is dropped.
    fn rename(&mut self, old: &PublicKey, new: PublicKey) {
        let concerns = |open: &CharterProposal| open.proposer == *old || open.charter.place(old).is_some();
        let concerned =
            |group: &&Arc<Group>| group.holdings.contains_key(old) || group.proposals.iter().any(|open| concerns(open));
        let names: Vec<_> = self.groups.values().filter(concerned).map(|group| group.name.clone()).collect();
        for name in names {
            let Some(group) = self.group_mut(&name) else { continue };
            group.proposals.retain(|open| !concerns(open));
            if let Some(holding) = group.holdings.remove(old) {
                group.holdings.insert(new, holding);
            }
        }
        self.groups.retain(|_, group| group.latest().is_some() || !group.proposals.is_empty());
        let guilt: Vec<_> = self.convictions.range((*old, 0)..=(*old, u64::MAX)).map(|(k, v)| (k.1, *v)).collect();
        for (epoch, place) in guilt {
            Arc::make_mut(&mut self.convictions).insert((new, epoch), place);
        }
    }

    /// Puts a charter into effect after the notice. Every open proposal would replace a charter that is none any more.
    fn enact(
        &mut self,
        name: &str,
        charter: &Arc<Charter>,
        renamed: Option<(PublicKey, PublicKey)>,
        at: &Moment,
    ) -> Option<CharterEntry> {
        let group = self.group_mut(name)?;
        let previous = group.latest().map(|term| term.digest);
        let notice = group.latest().map_or(charter.notice_blocks, |term| term.charter.notice_blocks);
        let from_seq = at.seq.saturating_add(notice.max(1)).min(INT_MAX);
        let in_force = group.terms.iter().rposition(|term| term.from_seq <= at.seq).unwrap_or(0);
        group.terms.drain(..in_force);
        group.terms.push(Term { from_seq, digest: charter.digest(), charter: Arc::clone(charter), renamed });
        // Whoever is named by a proposal that goes now may come back with another: its models stay until the next charter.
        group.forget_unnamed();
        group.proposals.clear();
        Some(CharterEntry { genesis: at.genesis, previous, from_seq, charter: Charter::clone(charter) })
    }
}

impl Group {
    fn is_seated_latest(&self, key: &PublicKey) -> bool {
        self.latest().is_some_and(|term| term.charter.place(key).is_some())
    }

    /// Refuses a change while another one waits.
    fn check_settled(&self, seq: u64) -> Result<(), Refused> {
        self.pending(seq).map_or(Ok(()), |pending| Err(Refused::CharterPending(pending.from_seq)))
    }

    /// Whether the proposal may be opened, and which one makes room for it.
    fn check_proposal(&self, propose: &Propose, seq: u64) -> Result<Option<Digest>, Refused> {
        self.check_settled(seq)?;
        if propose.previous != self.latest().map(|term| term.digest) {
            return Err(Refused::StaleProposal);
        }
        if propose.previous == Some(propose.charter.digest()) {
            return Err(Refused::NothingChanges);
        }
        if !self.is_seated_latest(&propose.owner) && propose.charter.place(&propose.owner).is_none() {
            return Err(Refused::MayNotPropose);
        }
        let digest = propose.proposal();
        if self.proposals.iter().any(|open| open.digest == digest) {
            return Err(Refused::AlreadyProposed);
        }
        let others = self.proposals.iter().filter(|open| open.proposer != propose.owner);
        if others.clone().count() < PROPOSALS_MAX {
            return Ok(None);
        }
        // Strangers cannot fill the list: the oldest that no owner of the group stands behind gives way.
        let unsupported = |open: &&Arc<CharterProposal>| open.signers.iter().all(|key| !self.is_seated_latest(key));
        others.filter(unsupported).map(|open| Some(open.digest)).next().ok_or(Refused::TooManyProposals)
    }
}
