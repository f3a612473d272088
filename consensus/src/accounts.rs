//! What every owner did in its groups, counted in requests: the same numbers for owner and market.

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_certificates::cbor::{Encoder, INT_MAX};
use dropbear_certificates::policy::{Agreement, Groups};
use dropbear_certificates::{Charter, Digest, Outcome, Policy, PublicKey, Support, Vote};

use crate::ids::Answered;

/// A group keeps at most this many accounts; of owners without a seat, the emptiest go first.
pub const ACCOUNTS_MAX: usize = 1024;

/// One owner's account in one group. All but `earned` count requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Decided while the owner had a seat.
    pub offered: u64,
    /// Of those, with the owner's vote among those that decided; abstentions are not.
    pub counted: u64,
    /// Answered after the outcome.
    pub late: u64,
    /// Counted, and the outcome is what the owner said: it named the winner, or lies within the cluster. Under `median`
    /// and `trimmed-mean` nobody dissents.
    pub agreed: u64,
    /// Counted, and the outcome is something else. `agreed` + `dissented` is less than `counted` where there was no
    /// agreement.
    pub dissented: u64,
    /// Answered under a version that was not current, or too late to count.
    pub stale: u64,
    /// Answered with an abstention, or with a vote that the charter does not admit.
    pub abstained: u64,
    /// Paid for: those counted, and those late.
    pub paid: u64,
    /// What that earned, in the market's smallest unit.
    pub earned: u64,
}

impl Account {
    const fn fields(&self) -> [u64; 9] {
        let Self { offered, counted, late, agreed, dissented, stale, abstained, paid, earned } = *self;
        [offered, counted, late, agreed, dissented, stale, abstained, paid, earned]
    }

    /// Adds `other`; no field exceeds [`INT_MAX`].
    fn add(&mut self, other: &Self) {
        let [offered, counted, late, agreed, dissented, stale, abstained, paid, earned] = {
            let (mut sums, more) = (self.fields(), other.fields());
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(more).min(INT_MAX));
            sums
        };
        *self = Self { offered, counted, late, agreed, dissented, stale, abstained, paid, earned };
    }

    fn encode(&self, out: &mut Encoder) {
        out.array(9);
        for field in self.fields() {
            out.uint(field);
        }
    }
}

/// What one entry adds to the accounts of a roster, by place; made once per entry.
#[derive(Debug)]
pub(crate) struct Sums(Vec<Account>);

impl Sums {
    pub(crate) fn new(owners: usize) -> Self {
        Self(vec![Account::default(); owners])
    }

    /// Counts one decided request: `stale` are the owners whose ballots came and did not count.
    pub(crate) fn decided(&mut self, policy: Policy, agreement: &Agreement, outcome: Outcome, stale: Answered) {
        for (place, account) in self.0.iter_mut().enumerate() {
            account.offered += 1;
            account.stale += u64::from(stale >> place & 1 == 1);
            account.abstained += u64::from(agreement.groups.abstained.contains(place));
        }
        for (group, (vote, owners)) in agreement.groups.votes.iter().enumerate() {
            for place in owners.iter() {
                let account = &mut self.0[place];
                account.counted += 1;
                account.paid += 1;
                if outcome == Outcome::Agreed {
                    let agrees = agrees(policy, agreement, group, vote, place);
                    account.agreed += u64::from(agrees);
                    account.dissented += u64::from(!agrees);
                }
            }
        }
    }

    /// Counts one request that the owner at `place` answered late.
    pub(crate) fn late(&mut self, place: usize) {
        self.0[place].late += 1;
        self.0[place].paid += 1;
    }

    /// How many requests the owner at `place` answered late.
    pub(crate) fn late_of(&self, place: usize) -> u64 {
        self.0[place].late
    }
}

/// Whether the owner's vote, of this group of equal votes, is what the outcome says.
fn agrees(policy: Policy, agreement: &Agreement, group: usize, vote: &Vote, place: usize) -> bool {
    match (policy, vote, &agreement.support) {
        (Policy::Plurality | Policy::Exact { .. }, ..) => group == 0,
        (Policy::Borda { .. }, Vote::Ranking(ranking), _) => {
            matches!(&agreement.result, Some(Vote::Class(winner)) if ranking.first() == Some(winner))
        }
        (Policy::Within { .. }, _, Support::Cluster { members, .. }) => members.contains(place),
        (Policy::Median { .. } | Policy::TrimmedMean { .. }, ..) => true,
        _ => false,
    }
}

/// Owners that answered anything that counts, abstentions included.
pub(crate) fn answered(groups: &Groups) -> Answered {
    let bit = |place: usize| 1 << place;
    let votes = groups.votes.iter().flat_map(|(_, owners)| owners.iter());
    votes.chain(groups.abstained.iter()).map(bit).fold(0, |all, bit: Answered| all | bit)
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfGroup {
    accounts: BTreeMap<PublicKey, Account>,
    /// As of the last block.
    sealed: Option<Digest>,
}

impl OfGroup {
    fn digest(&self) -> Digest {
        let mut out = Encoder::new();
        out.array(self.accounts.len());
        for (key, account) in &self.accounts {
            account.encode(out.array(2).bytes(key.as_bytes()));
        }
        Digest::tagged("dropbear/accounts/v1", &[&out.finish()])
    }

    /// Keeps the number of accounts within its bound.
    fn bound(&mut self, charter: &Charter) {
        while self.accounts.len() > ACCOUNTS_MAX {
            let gone = self.accounts.iter().filter(|(key, _)| charter.place(key).is_none());
            let Some(emptiest) = gone.min_by_key(|(_, account)| account.offered).map(|(key, _)| *key) else { return };
            self.accounts.remove(&emptiest);
        }
    }
}

/// Every group's accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts(BTreeMap<String, Arc<OfGroup>>);

impl Accounts {
    /// The accounts of a group, by owner key.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&PublicKey, &Account)> {
        self.0.get(group).into_iter().flat_map(|group| &group.accounts)
    }

    /// One owner's account.
    #[must_use]
    pub fn get(&self, group: &str, owner: &PublicKey) -> Account {
        self.0.get(group).and_then(|group| group.accounts.get(owner)).copied().unwrap_or_default()
    }

    /// Adds what an entry gave, under the charter by whose places it counts; `key` gives the key that an owner has now.
    pub(crate) fn add(&mut self, charter: &Charter, sums: &Sums, key: impl Fn(&PublicKey) -> PublicKey) {
        if !self.0.contains_key(&charter.group) {
            self.0.insert(charter.group.clone(), Arc::default());
        }
        let Some(group) = self.0.get_mut(&charter.group).map(Arc::make_mut) else { return };
        group.sealed = None;
        for (seat, sum) in charter.roster.iter().zip(&sums.0) {
            let earned = Account { earned: sum.paid.saturating_mul(charter.fee), ..*sum };
            group.accounts.entry(key(&seat.key)).or_default().add(&earned);
        }
        group.bound(charter);
    }

    /// Moves an owner's accounts to its new key.
    pub(crate) fn rename(&mut self, old: &PublicKey, new: PublicKey) {
        for group in self.0.values_mut().filter(|group| group.accounts.contains_key(old)) {
            let group = Arc::make_mut(group);
            group.sealed = None;
            if let Some(account) = group.accounts.remove(old) {
                group.accounts.entry(new).or_default().add(&account);
            }
        }
    }

    /// The digest of all accounts; groups that did not change are not read again.
    pub(crate) fn seal(&mut self) -> Digest {
        let mut out = Encoder::new();
        out.array(self.0.len());
        for (name, group) in &mut self.0 {
            let digest = group.sealed.unwrap_or_else(|| group.digest());
            if group.sealed.is_none() {
                Arc::make_mut(group).sealed = Some(digest);
            }
            out.array(2).text(name).digest(&digest);
        }
        Digest::tagged("dropbear/all-accounts/v1", &[&out.finish()])
    }
}
