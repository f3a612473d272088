//! What owners' entries amount to: our own reading of DESIGN.md, kept apart from the ledger's code on purpose.
//!
//! * A version is in force from the seq that its activation names, or from the entry's seq plus the charter's notice (at
//!   least one block) if that is later, until the next activation. Nothing is forgotten.
//! * A withdrawal ends what would be in force from its seq plus the notice on, and no pending activation of it happens.
//! * A charter begins its seq plus the notice of the one before it after its last approval, a leave or a new key.
//! * Whoever neither the two latest charters nor an open proposal names at a change of charter has no models any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dropbear_certificates::{Charter, Digest, Genesis, ModelSet, ModelVersion, PublicKey};

use super::statement::{Act, Statement};

/// At most this many proposals are open in a group, and this many groups are only proposed.
const PROPOSALS_MAX: usize = 8;
const GROUPS_PROPOSED_MAX: usize = 32;

/// A charter from its first seq on.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) from_seq: u64,
    pub(super) charter: Arc<Charter>,
    pub(super) digest: Digest,
}

/// A charter that an entry brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Enacted {
    pub(super) previous: Option<Digest>,
    pub(super) from_seq: u64,
    pub(super) charter: Arc<Charter>,
}

#[derive(Clone, Debug)]
struct Published {
    version: ModelVersion,
    is_retired: bool,
    is_withdrawn: bool,
}

/// One owner's models in one group.
#[derive(Clone, Debug, Default)]
struct Shelf {
    models: BTreeSet<String>,
    published: BTreeMap<Digest, Published>,
    /// From this seq on, this version or none.
    in_force: BTreeMap<u64, Option<Digest>>,
}

#[derive(Clone, Debug)]
struct Open {
    digest: Digest,
    seq: u64,
    proposer: PublicKey,
    charter: Arc<Charter>,
    signers: BTreeSet<PublicKey>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    /// All charters, ascending.
    terms: Vec<Term>,
    /// The first of them that still names who may change models here.
    naming: usize,
    shelves: BTreeMap<PublicKey, Shelf>,
    open: Vec<Open>,
}

/// Groups, owners and versions at one place in the ledger.
#[derive(Clone, Debug)]
pub(super) struct World {
    groups: BTreeMap<String, Group>,
    serials: BTreeMap<PublicKey, u64>,
    /// Old key to new key.
    replaced: BTreeMap<PublicKey, PublicKey>,
}

type Judged<T> = Result<T, &'static str>;

fn named_by(charter: &Charter, key: &PublicKey) -> bool {
    charter.roster.iter().any(|seat| seat.key == *key)
}

impl Shelf {
    fn current(&self, seq: u64) -> Option<&ModelVersion> {
        let (_, version) = self.in_force.range(..=seq).next_back()?;
        self.published.get(&(*version)?).map(|published| &published.version)
    }

    fn activate(&mut self, version: Digest, from: u64) -> Judged<()> {
        let published = self.published.get_mut(&version).ok_or("it activates a version that was never published")?;
        if published.is_retired {
            return Err("it activates a version that was retired for good");
        }
        let last = self.in_force.last_key_value().map(|(from, version)| (*from, *version));
        if last.is_some_and(|(last, version)| last > from || last == from && version.is_some()) {
            return Err("it takes effect before another activation of its owner");
        }
        published.is_withdrawn = false;
        self.in_force.insert(from, Some(version));
        Ok(())
    }

    fn withdraw(&mut self, version: Digest, permanent: bool, from: u64) -> Judged<()> {
        let published = self.published.get_mut(&version).ok_or("it withdraws a version that was never published")?;
        if published.is_retired || published.is_withdrawn && !permanent {
            return Err("it withdraws what is withdrawn already");
        }
        (published.is_withdrawn, published.is_retired) = (true, permanent);
        self.in_force.retain(|begins, in_force| *begins < from || *in_force != Some(version));
        let before = self.in_force.range(..from).next_back().and_then(|(_, version)| *version);
        if before == Some(version) {
            self.in_force.entry(from).or_insert(None);
        }
        Ok(())
    }
}

impl Group {
    fn term(&self, seq: u64) -> Option<&Term> {
        self.terms.iter().rev().find(|term| term.from_seq <= seq)
    }

    fn notice(&self, seq: u64) -> u64 {
        let term = self.term(seq).or(self.terms.last());
        term.map_or(1, |term| term.charter.notice_blocks.max(1))
    }

    fn is_seated(&self, key: &PublicKey) -> bool {
        self.terms.last().is_some_and(|term| named_by(&term.charter, key))
    }

    fn is_named(&self, key: &PublicKey) -> bool {
        let terms = self.terms.get(self.naming..).unwrap_or_default();
        terms.iter().any(|term| named_by(&term.charter, key)) || self.open.iter().any(|o| named_by(&o.charter, key))
    }

    fn forget_strangers(&mut self) {
        let strangers: Vec<_> = self.shelves.keys().copied().filter(|key| !self.is_named(key)).collect();
        for key in strangers {
            self.shelves.remove(&key);
        }
    }

    fn is_settled(&self, seq: u64) -> Judged<()> {
        let pending = self.terms.last().is_some_and(|term| term.from_seq > seq);
        if pending { Err("another charter of the group has yet to take effect") } else { Ok(()) }
    }

    fn is_approved(&self, open: &Open) -> bool {
        let Some(latest) = self.terms.last() else {
            return open.charter.roster.iter().all(|seat| open.signers.contains(&seat.key));
        };
        let approved = open.signers.iter().filter(|key| named_by(&latest.charter, key)).count() as u64;
        let added = open.charter.roster.iter().filter(|seat| !named_by(&latest.charter, &seat.key));
        approved >= latest.charter.approvals.max(1) && added.into_iter().all(|seat| open.signers.contains(&seat.key))
    }

    fn enact(&mut self, charter: Arc<Charter>, seq: u64) -> Enacted {
        let latest = self.terms.last();
        let notice = latest.map_or(charter.notice_blocks, |term| term.charter.notice_blocks).max(1);
        let enacted = Enacted { previous: latest.map(|term| term.digest), from_seq: seq + notice, charter };
        self.naming = self.terms.iter().rposition(|term| term.from_seq <= seq).unwrap_or(0);
        let (from_seq, charter) = (enacted.from_seq, Arc::clone(&enacted.charter));
        self.terms.push(Term { from_seq, digest: charter.digest(), charter });
        self.forget_strangers();
        self.open.clear();
        enacted
    }

    fn enact_if_approved(&mut self, proposal: &Digest, seq: u64) -> Option<Enacted> {
        let open = self.open.iter().find(|open| open.digest == *proposal)?;
        let charter = self.is_approved(open).then(|| Arc::clone(&open.charter))?;
        Some(self.enact(charter, seq))
    }

    /// The oldest proposal that no owner of the group stands behind, if there are too many with another.
    fn crowded_out(&self, proposer: &PublicKey) -> Judged<Option<Digest>> {
        let others = || self.open.iter().filter(|open| open.proposer != *proposer);
        if others().count() < PROPOSALS_MAX {
            return Ok(None);
        }
        let stranger = others().find(|open| open.signers.iter().all(|key| !self.is_seated(key)));
        stranger.map(|open| Some(open.digest)).ok_or("the group has too many open proposals")
    }
}

impl World {
    pub(super) fn new(genesis: &Genesis) -> Self {
        let founded = |charter: &Charter| {
            let term = Term { from_seq: 0, digest: charter.digest(), charter: Arc::new(charter.clone()) };
            (charter.group.clone(), Group { terms: vec![term], ..Group::default() })
        };
        let groups = genesis.charters.iter().map(founded).collect();
        Self { groups, serials: BTreeMap::new(), replaced: BTreeMap::new() }
    }

    /// The charter in force for a group at `seq`.
    pub(super) fn term(&self, group: &str, seq: u64) -> Option<&Term> {
        self.groups.get(group)?.term(seq)
    }

    /// The key that holds this key's models now.
    fn holder(&self, key: &PublicKey) -> PublicKey {
        let mut holder = *key;
        while let Some(newer) = self.replaced.get(&holder) {
            holder = *newer;
        }
        holder
    }

    /// Every owner's version in force at `seq`, by place on the roster.
    pub(super) fn versions(&self, group: &str, seq: u64) -> ModelSet {
        let Some(group) = self.groups.get(group) else { return ModelSet::default() };
        let roster = group.term(seq).map(|term| &term.charter.roster).into_iter().flatten();
        let current = |key| group.shelves.get(&self.holder(key)).and_then(|shelf| shelf.current(seq)).cloned();
        ModelSet(roster.map(|seat| current(&seat.key)).collect())
    }

    /// Seqs after `after` and up to `until` from which other versions or another charter of the group are in force.
    pub(super) fn changes(&self, group: &str, after: u64, until: u64) -> Vec<u64> {
        let Some(group) = self.groups.get(group) else { return Vec::new() };
        let shelves = group.shelves.values().flat_map(|shelf| shelf.in_force.keys().copied());
        let changes: BTreeSet<_> = shelves.chain(group.terms.iter().map(|term| term.from_seq)).collect();
        changes.into_iter().filter(|seq| after < *seq && *seq <= until).collect()
    }

    /// Takes an owner's entry of block `seq` in; gives the charters that it brings about, in the order of their groups.
    ///
    /// An error says why the entry should not be in the ledger.
    pub(super) fn apply(&mut self, entry: &Statement, seq: u64) -> Judged<Vec<Enacted>> {
        if entry.act == Act::Evidence {
            return Ok(Vec::new());
        }
        if self.replaced.contains_key(&entry.owner) {
            return Err("its key was replaced by another");
        }
        if self.serials.get(&entry.owner).is_some_and(|last| entry.serial <= *last) {
            return Err("its serial is not above its owner's last: it is a replay");
        }
        let enacted = self.act(entry, seq)?;
        self.serials.insert(entry.owner, entry.serial);
        Ok(enacted)
    }

    fn act(&mut self, entry: &Statement, seq: u64) -> Judged<Vec<Enacted>> {
        let owner = &entry.owner;
        match &entry.act {
            Act::Register { group, model } => {
                let shelf = self.shelf(group, owner)?;
                if !shelf.models.insert(model.clone()) {
                    return Err("it registers a model twice");
                }
            }
            Act::Publish { group, model, label, version } => {
                let shelf = self.shelf(group, owner)?;
                if !shelf.models.contains(model) {
                    return Err("it publishes a version of a model that was never registered");
                }
                let published = ModelVersion { model: model.clone(), label: label.clone(), digest: *version };
                let published = Published { version: published, is_retired: false, is_withdrawn: false };
                if shelf.published.insert(*version, published).is_some() {
                    return Err("it publishes a version twice");
                }
            }
            Act::Activate { group, version, from_seq } => {
                let earliest = seq + self.groups.get(group).map_or(1, |group| group.notice(seq));
                self.shelf(group, owner)?.activate(*version, (*from_seq).max(earliest))?;
            }
            Act::Withdraw { group, version, permanent } => {
                let earliest = seq + self.groups.get(group).map_or(1, |group| group.notice(seq));
                self.shelf(group, owner)?.withdraw(*version, *permanent, earliest)?;
            }
            Act::Endpoints { group } => {
                self.shelf(group, owner)?;
            }
            Act::Propose { previous, charter } => return self.propose(owner, *previous, charter, seq),
            Act::Approve { group, proposal } => return self.approve(owner, group, proposal, seq),
            Act::Leave { group } => return self.leave(owner, group, seq),
            Act::Rekey { new_key } => return self.rekey(*owner, *new_key, entry.serial, seq),
            Act::Evidence => {}
        }
        Ok(Vec::new())
    }

    fn shelf(&mut self, group: &str, owner: &PublicKey) -> Judged<&mut Shelf> {
        let group = self.groups.get_mut(group).ok_or("there is no such group")?;
        if group.is_named(owner) {
            Ok(group.shelves.entry(*owner).or_default())
        } else {
            Err("nothing names its owner")
        }
    }

    fn propose(
        &mut self,
        owner: &PublicKey,
        previous: Option<Digest>,
        charter: &Charter,
        seq: u64,
    ) -> Judged<Vec<Enacted>> {
        let parts = [previous.unwrap_or(Digest::ZERO), charter.digest()];
        let digest = Digest::tagged("dropbear/proposal/v1", &[parts[0].as_bytes(), parts[1].as_bytes()]);
        if !self.groups.contains_key(&charter.group) {
            self.make_room_for_group();
        }
        let group = self.groups.entry(charter.group.clone()).or_default();
        group.is_settled(seq)?;
        if previous != group.terms.last().map(|term| term.digest) {
            return Err("it replaces a charter that is not the group's");
        }
        if !group.is_seated(owner) && !named_by(charter, owner) {
            return Err("its owner has no say in the group");
        }
        let crowded_out = group.crowded_out(owner)?;
        group.open.retain(|open| open.proposer != *owner);
        let (signers, charter) = (BTreeSet::from([*owner]), Arc::new(charter.clone()));
        group.open.push(Open { digest, seq, proposer: *owner, charter, signers });
        if let Some(crowded_out) = crowded_out {
            group.open.retain(|open| open.digest != crowded_out);
            group.forget_strangers();
        }
        Ok(group.enact_if_approved(&digest, seq).into_iter().collect())
    }

    fn make_room_for_group(&mut self) {
        let proposed: Vec<_> = self.groups.iter().filter(|(_, group)| group.terms.is_empty()).collect();
        if proposed.len() < GROUPS_PROPOSED_MAX {
            return;
        }
        let age = |group: &Group| group.open.iter().map(|open| open.seq).min();
        let oldest = proposed.into_iter().min_by_key(|(_, group)| age(group)).map(|(name, _)| name.clone());
        oldest.map(|name| self.groups.remove(&name));
    }

    fn approve(&mut self, owner: &PublicKey, group: &str, proposal: &Digest, seq: u64) -> Judged<Vec<Enacted>> {
        let group = self.groups.get_mut(group).ok_or("there is no such group")?;
        let seated = group.is_seated(owner);
        let open = group.open.iter_mut().find(|open| open.digest == *proposal).ok_or("no such proposal is open")?;
        if !seated && !named_by(&open.charter, owner) {
            return Err("its owner has no say in the group");
        }
        if !open.signers.insert(*owner) {
            return Err("it approves twice");
        }
        Ok(group.enact_if_approved(proposal, seq).into_iter().collect())
    }

    fn leave(&mut self, owner: &PublicKey, group: &str, seq: u64) -> Judged<Vec<Enacted>> {
        let group = self.groups.get_mut(group).ok_or("there is no such group")?;
        group.is_settled(seq)?;
        let latest = group.terms.last().ok_or("there is no such group")?;
        let charter = latest.charter.without(owner).ok_or("its owner has no seat, or the last one")?;
        Ok(vec![group.enact(Arc::new(charter), seq)])
    }

    fn rekey(&mut self, old: PublicKey, new: PublicKey, serial: u64, seq: u64) -> Judged<Vec<Enacted>> {
        let is_known = self.serials.contains_key(&new) || self.replaced.contains_key(&new);
        if is_known || self.groups.values().any(|group| group.is_named(&new)) {
            return Err("the new key is or was in use");
        }
        let seated: Vec<_> = self.groups.iter().filter(|(_, group)| group.is_seated(&old)).collect();
        if seated.is_empty() {
            return Err("its owner has no seat");
        }
        for (_, group) in &seated {
            group.is_settled(seq)?;
        }
        let seated: Vec<_> = seated.into_iter().map(|(name, _)| name.clone()).collect();
        for group in self.groups.values_mut() {
            group.open.retain(|open| open.proposer != old && !named_by(&open.charter, &old));
            if let Some(shelf) = group.shelves.remove(&old) {
                group.shelves.insert(new, shelf);
            }
        }
        self.groups.retain(|_, group| !group.terms.is_empty() || !group.open.is_empty());
        self.replaced.insert(old, new);
        self.serials.insert(new, serial);
        let mut enacted = Vec::new();
        for name in seated {
            let Some(group) = self.groups.get_mut(&name) else { continue };
            let charter = group.terms.last().and_then(|term| term.charter.rekeyed(&old, new));
            enacted.push(group.enact(Arc::new(charter.ok_or("the new key has a seat already")?), seq));
        }
        Ok(enacted)
    }
}
