//! What a lane has learned of its owners: whom to ask at first, and for how long to wait for them. Pure.
//!
//! A round asks as many owners as the demanded assurance needs, another set each time, so that every owner is asked
//! alike. An owner that is slow or failing, or whose versions change before its ballots count, is asked in its turn like any
//! other, and somebody else with it: nobody waits for it, and it is seen at once when it recovers. Where the needed
//! ballots rarely decide, because models differ, all owners are asked at once.

use std::collections::BTreeMap;
use std::time::Duration;

use dropbear_certificates::PublicKey;

/// Weight of a new measurement.
const WEIGHT: f64 = 0.2;
/// An owner is slow if it takes this many times what its peers take, and [`SLOW_SLACK`] more.
const SLOW_FACTOR: f64 = 2.0;
const SLOW_SLACK: Duration = Duration::from_millis(5);
/// An owner's versions change too often if more than this share of its ballots were stale before the outcome.
const STALE_MAX: f64 = 0.1;
/// All owners are asked at once where fewer rounds than this share end with the ballots that they need at least.
const SUFFICES_MIN: f64 = 0.8;
/// Stragglers are waited for this many times as long as their round was expected to take, within the bounds below.
const HEDGE_FACTOR: u32 = 3;
const HEDGE_MIN: Duration = Duration::from_millis(50);
const HEDGE_MAX: Duration = Duration::from_secs(1);
/// And this long where nothing is known yet.
const HEDGE_UNKNOWN: Duration = Duration::from_millis(200);

/// A running mean of durations; `None` before the first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Typical(Option<f64>);

impl Typical {
    pub(crate) fn learn(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.0 = Some(self.0.map_or(took, |known| known + WEIGHT * (took - known)));
    }

    pub(crate) fn get(self) -> Option<Duration> {
        self.0.map(Duration::from_secs_f64)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Owner {
    took: Typical,
    failing: bool,
    /// Share of its ballots that were stale before the outcome.
    stale: f64,
}

/// What is known of a group's owners, by key.
#[derive(Debug)]
pub(crate) struct Experience {
    owners: BTreeMap<PublicKey, Owner>,
    turn: usize,
    /// Share of rounds that the needed ballots decided.
    suffices: f64,
}

/// Whom a round asks, in order: the `first` ones at once, the others if those do not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Places on the roster, each once.
    pub(crate) order: Vec<usize>,
    pub(crate) first: usize,
    /// How long the first ones are waited for before the others are asked.
    pub(crate) hedge_after: Duration,
}

impl Default for Experience {
    fn default() -> Self {
        Self { owners: BTreeMap::new(), turn: 0, suffices: 1.0 }
    }
}

impl Experience {
    /// An owner's ballot came this long after it was asked for.
    pub(crate) fn answered(&mut self, owner: PublicKey, after: Duration) {
        let known = self.owners.entry(owner).or_default();
        known.took.learn(after);
        known.failing = false;
    }

    /// An owner gave no ballot that counts.
    pub(crate) fn failed(&mut self, owner: PublicKey) {
        self.owners.entry(owner).or_default().failing = true;
    }

    /// Whether an owner's ballot, which counted when it came, was stale before the outcome.
    pub(crate) fn lasted(&mut self, owner: PublicKey, lasted: bool) {
        let known = self.owners.entry(owner).or_default();
        known.stale += WEIGHT * (f64::from(u8::from(!lasted)) - known.stale);
    }

    /// Whether an owner's ballots are often stale before the outcome.
    pub(crate) fn is_restless(&self, owner: &PublicKey) -> bool {
        self.owners.get(owner).is_some_and(|known| known.stale > STALE_MAX)
    }

    /// An owner has not answered for this long.
    pub(crate) fn waits(&mut self, owner: PublicKey, since: Duration) {
        let known = self.owners.entry(owner).or_default();
        if known.took.get().is_none_or(|typical| typical < since) {
            known.took.learn(since);
        }
    }

    /// A round ended; whether the ballots that it needed at least decided it.
    pub(crate) fn ended(&mut self, sufficed: bool) {
        self.suffices += WEIGHT * (f64::from(u8::from(sufficed)) - self.suffices);
    }

    /// Plans a round over the owners with these keys, by roster place. `able` says of whom a ballot can count now.
    pub(crate) fn plan(&mut self, roster: &[PublicKey], able: &[bool], needed: usize, all: bool) -> Plan {
        self.owners.retain(|owner, _| roster.contains(owner));
        self.turn = self.turn.wrapping_add(1);
        let count = roster.len();
        let mut order: Vec<_> = (0..count).map(|place| (place + self.turn) % count.max(1)).collect();
        order.sort_by_key(|place| !able[*place]);
        let slow = self.slow_from();
        let reliable = |place: &usize| able[*place] && self.is_reliable(&roster[*place], slow);
        let first = if all || self.suffices < SUFFICES_MIN {
            count
        } else {
            let mut found = 0;
            let enough = order.iter().position(|place| {
                found += usize::from(reliable(place));
                found == needed
            });
            enough.map_or(count, |place| place + 1)
        };
        let expected = order[..first].iter().filter(|place| reliable(place)).map(|place| self.took(&roster[*place]));
        let expected = expected.collect::<Option<Vec<_>>>().and_then(|took| took.into_iter().max());
        let hedge_after = expected.map_or(HEDGE_UNKNOWN, |took| (HEDGE_FACTOR * took).clamp(HEDGE_MIN, HEDGE_MAX));
        Plan { order, first, hedge_after }
    }

    fn took(&self, owner: &PublicKey) -> Option<Duration> {
        self.owners.get(owner)?.took.get()
    }

    fn is_reliable(&self, owner: &PublicKey, slow: Option<Duration>) -> bool {
        let Some(known) = self.owners.get(owner) else { return true };
        let is_slow = slow.zip(known.took.get()).is_some_and(|(slow, took)| took > slow);
        !known.failing && !is_slow && !self.is_restless(owner)
    }

    /// What takes longer is slow; `None` where nothing can be compared.
    fn slow_from(&self) -> Option<Duration> {
        let mut took: Vec<_> = self.owners.values().filter_map(|owner| owner.took.get()).collect();
        took.sort_unstable();
        let middle = took.len().checked_sub(1)? / 2;
        Some(took[middle].mul_f64(SLOW_FACTOR) + SLOW_SLACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropbear_certificates::SecretKey;

    const FAST: Duration = Duration::from_millis(20);
    const SLOW: Duration = Duration::from_millis(500);

    fn roster() -> Vec<PublicKey> {
        (1..5).map(|place| SecretKey::from_seed(&[place; 32]).public()).collect()
    }

    fn learned(took: [Duration; 4]) -> Experience {
        let mut experience = Experience::default();
        for (owner, took) in roster().into_iter().zip(took) {
            (0..3).for_each(|_| experience.answered(owner, took));
        }
        experience
    }

    fn plans(experience: &mut Experience, able: [bool; 4]) -> Vec<Vec<usize>> {
        let plan = |_| {
            let plan = experience.plan(&roster(), &able, 3, false);
            plan.order[..plan.first].to_vec()
        };
        (0..4).map(plan).collect()
    }

    #[test]
    fn as_many_as_needed_are_asked_and_all_alike() {
        let plans = plans(&mut Experience::default(), [true; 4]);
        assert_eq!(plans, [[1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn a_slow_owner_is_asked_in_its_turn_and_somebody_else_with_it() {
        let mut experience = learned([FAST, FAST, SLOW, FAST]);
        assert_eq!(
            plans(&mut experience, [true; 4]),
            [vec![1, 2, 3, 0], vec![2, 3, 0, 1], vec![3, 0, 1], vec![0, 1, 2, 3]]
        );
        let plan = experience.plan(&roster(), &[true; 4], 3, false);
        assert_eq!(plan.hedge_after, HEDGE_FACTOR * FAST, "nobody waits as long as it takes");
        (0..40).for_each(|_| experience.answered(roster()[2], FAST));
        assert!(plans(&mut experience, [true; 4]).iter().all(|plan| plan.len() == 3), "it recovered");
    }

    #[test]
    fn whose_versions_change_too_often_is_not_relied_on_until_they_last() {
        let mut experience = learned([FAST; 4]);
        experience.lasted(roster()[1], false);
        assert!(experience.is_restless(&roster()[1]) && !experience.is_restless(&roster()[0]));
        let counts =
            |plans: Vec<Vec<usize>>| plans.iter().all(|plan| plan.iter().filter(|place| **place != 1).count() == 3);
        assert!(counts(plans(&mut experience, [true; 4])));
        (0..10).for_each(|_| experience.lasted(roster()[1], true));
        assert!(!experience.is_restless(&roster()[1]));
        assert!(plans(&mut experience, [true; 4]).iter().all(|plan| plan.len() == 3));
    }

    #[test]
    fn whoever_fails_or_cannot_count_is_not_relied_on() {
        let mut experience = learned([FAST; 4]);
        experience.failed(roster()[3]);
        assert!(
            plans(&mut experience, [true; 4]).iter().all(|plan| plan.iter().filter(|place| **place != 3).count() == 3)
        );
        let plans = plans(&mut learned([FAST; 4]), [true, false, true, true]);
        assert!(plans.iter().all(|plan| plan.len() == 3 && !plan.contains(&1)), "{plans:?}");
    }

    #[test]
    fn where_models_differ_all_are_asked_until_they_agree_again() {
        let mut experience = learned([FAST; 4]);
        (0..2).for_each(|_| experience.ended(false));
        assert_eq!(experience.plan(&roster(), &[true; 4], 3, false).first, 4);
        (0..10).for_each(|_| experience.ended(true));
        assert_eq!(experience.plan(&roster(), &[true; 4], 3, false).first, 3);
        assert_eq!(experience.plan(&roster(), &[true; 4], 3, true).first, 4, "where all ballots are wanted");
    }

    #[test]
    fn an_owner_that_never_answers_is_slow() {
        let mut experience = learned([FAST; 4]);
        experience.waits(roster()[0], SLOW);
        experience.waits(roster()[1], FAST / 2);
        assert!(
            plans(&mut experience, [true; 4]).iter().all(|plan| plan.iter().filter(|place| **place != 0).count() == 3)
        );
    }
}
