//! What owners sign besides publishing and activating, and what they prove with it.

use dropbear_certificates::charter::Seat;
use dropbear_certificates::{
    Certificate, ChainLink, Charter, Digest, GovernanceEntry, PublicKey, Record, SecretKey, Signature,
};
use dropbear_consensus::{Account, Approve, Checked, Entry, Executed, Leave, Propose, Rekey, Withdraw};

use crate::market::{Ledger, genesis, key, owner, version_digest};

pub(crate) const GROUP: &str = "imagenet";

pub(crate) fn public(place: u8) -> PublicKey {
    owner(place).public()
}

/// The charter with a seat for the owner at `place` too.
pub(crate) fn joined(mut charter: Charter, place: u8) -> Charter {
    let seat = Seat {
        owner: format!("owner-{place}"),
        key: public(place),
        party: "a party".into(),
        lineage: "a lineage".into(),
    };
    charter.roster.push(seat);
    charter
}

fn attestations(executed: &Executed) -> Vec<(usize, Signature)> {
    (0..3).map(|member| (member, executed.header.attest(&key(2, member as u8)))).collect()
}

/// The block's certificate for the record at `leaf`, read back from its bytes.
pub(crate) fn certificate(executed: &Executed, leaf: u64) -> Certificate {
    let record = Record::from_bytes(&executed.leaves[leaf as usize]).unwrap();
    let path = executed.tree.path(leaf).unwrap();
    let attestations = attestations(executed);
    let made = Certificate::new(
        executed.header.clone(),
        record,
        path,
        &genesis().committee,
        &attestations,
        Default::default(),
    );
    Certificate::from_bytes(&made.to_bytes()).unwrap()
}

/// The block's governance entries with their proofs.
pub(crate) fn links(executed: &Executed) -> Vec<ChainLink> {
    let link = |leaf: &u64| {
        let entry = GovernanceEntry::from_bytes(&executed.leaves[*leaf as usize]).unwrap();
        let path = executed.tree.path(*leaf).unwrap();
        ChainLink::new(&executed.header, &entry, *leaf, path, &genesis().committee, &attestations(executed))
    };
    executed.governance.iter().map(link).collect()
}

impl Ledger {
    pub(crate) fn checked(&self, entry: Entry) -> Checked {
        entry.check(&self.genesis()).unwrap()
    }

    pub(crate) fn withdraw(&mut self, place: u8, version: u8, permanent: bool) -> Checked {
        let withdraw = Withdraw {
            genesis: self.genesis(),
            owner: public(place),
            serial: self.next_serial(),
            group: GROUP.into(),
            version: version_digest(place, version),
            permanent,
            reason: "it did not load".into(),
        };
        self.checked(withdraw.sign(&owner(place)))
    }

    pub(crate) fn propose(&mut self, by: &SecretKey, previous: Option<Digest>, charter: Charter) -> Checked {
        let (genesis, serial) = (self.genesis(), self.next_serial());
        self.checked(Propose { genesis, owner: by.public(), serial, previous, charter }.sign(by))
    }

    /// A proposal that replaces the charter in force by what `change` makes of it, and its name.
    pub(crate) fn change(&mut self, by: &SecretKey, change: impl FnOnce(Charter) -> Charter) -> (Checked, Digest) {
        let (charter, digest) = self.charter();
        let entry = self.propose(by, Some(digest), change(charter));
        let Entry::Propose(propose, _) = entry.entry() else { unreachable!() };
        let proposal = propose.proposal();
        (entry, proposal)
    }

    pub(crate) fn approve(&mut self, by: &SecretKey, group: &str, proposal: Digest) -> Checked {
        let (genesis, serial) = (self.genesis(), self.next_serial());
        self.checked(Approve { genesis, owner: by.public(), serial, group: group.into(), proposal }.sign(by))
    }

    pub(crate) fn leave(&mut self, place: u8) -> Checked {
        let (genesis, serial) = (self.genesis(), self.next_serial());
        self.checked(Leave { genesis, owner: public(place), serial, group: GROUP.into() }.sign(&owner(place)))
    }

    pub(crate) fn rekey(&mut self, place: u8, new: &SecretKey) -> Checked {
        let rekey = Rekey::to(self.genesis(), public(place), self.next_serial(), new);
        self.checked(rekey.sign(&owner(place)))
    }

    /// The owner at `place` proposes to join, and these approve.
    pub(crate) fn join(&mut self, place: u8, approvers: &[u8]) {
        let (proposed, proposal) = self.change(&owner(place), |charter| joined(charter, place));
        self.block(&[proposed]).unwrap();
        for approver in approvers {
            let approved = self.approve(&owner(*approver), GROUP, proposal);
            self.block(&[approved]).unwrap();
        }
    }

    pub(crate) fn account(&self, place: u8) -> Account {
        self.chain.state().accounts.get(GROUP, &public(place))
    }

    /// Which version of an owner is current in the next block.
    pub(crate) fn current(&self, place: u8) -> Option<Digest> {
        let state = self.chain.state();
        let group = state.registry.group(GROUP).unwrap();
        group.current(&public(place), state.seq + 1).map(|version| version.digest)
    }
}
