//! What DESIGN claims of each policy and level: every case of small groups, random cases up to 31 owners.

use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

use super::*;
use crate::charter::Charter;
use crate::record::Outcome;
use crate::samples::Market;

const SCALAR: TensorBounds = TensorBounds { length: 1, fraction_bits: 0, min: -100, max: 100 };
const DEMANDS: [Assurance; 3] = [Assurance::Supported, Assurance::Decisive, Assurance::Robust];

type Votes = Vec<Option<Vote>>;

fn charter(owners: usize, policy: Policy) -> Charter {
    Market::new(4, owners as u8, policy).charter
}

fn agree(votes: &[Option<Vote>], charter: &Charter) -> Agreement {
    charter.combine(votes)
}

/// Every assignment of `choices`, or no ballot, to `owners` places.
fn every(owners: usize, choices: &[Vote]) -> impl Iterator<Item = Votes> {
    let base = choices.len() + 1;
    (0..base.pow(owners as u32)).map(move |mut code| {
        let place = |_| {
            let digit = code % base;
            code /= base;
            digit.checked_sub(1).map(|choice| choices[choice].clone())
        };
        (0..owners).map(place).collect()
    })
}

/// Every way to fill the places without a ballot.
fn completions(votes: &[Option<Vote>], choices: &[Vote]) -> Vec<Votes> {
    match votes.iter().position(Option::is_none) {
        None => vec![votes.to_vec()],
        Some(place) => {
            let with = |choice: &Vote| {
                let mut votes = votes.to_vec();
                votes[place] = Some(choice.clone());
                completions(&votes, choices)
            };
            choices.iter().flat_map(with).collect()
        }
    }
}

/// The winner among these votes alone, if it leads at all.
fn leader(votes: &[Option<Vote>], policy: Policy) -> Option<Vote> {
    let mut charter = charter(votes.len(), policy);
    charter.faults = 0;
    agree(votes, &charter).result
}

fn rankings(classes: u32) -> Vec<Vote> {
    let one = (0..classes).map(|class| Vote::Ranking(vec![class]));
    let two = (0..classes).flat_map(|first| {
        let others = (0..classes).filter(move |second| *second != first);
        others.map(move |second| Vote::Ranking(vec![first, second]))
    });
    one.chain(two).collect()
}

#[test]
fn borda_levels_hold_in_every_case_of_four_owners() {
    let (policy, choices) = (Policy::Borda { ranks: 2 }, rankings(3));
    let charter = charter(4, policy);
    for votes in every(4, &choices) {
        let found = agree(&votes, &charter);
        if found.levels.now < Assurance::Decisive {
            continue;
        }
        for all in completions(&votes, &choices) {
            assert_eq!(leader(&all, policy), found.result, "decisive: {votes:?} {all:?}");
            for liar in (0..4).filter(|_| found.levels.now == Assurance::Robust) {
                let mut honest = all.clone();
                honest.remove(liar);
                assert_eq!(leader(&honest, policy), found.result, "robust: {votes:?} {all:?} liar {liar}");
            }
        }
    }
}

#[test]
fn borda_ends_without_agreement_exactly_if_no_completion_reaches_the_demand() {
    let (policy, choices) = (Policy::Borda { ranks: 2 }, rankings(3));
    let charter = charter(4, policy);
    for votes in every(4, &choices) {
        let all = completions(&votes, &choices);
        let best = all.iter().map(|votes| agree(votes, &charter).levels.now).max();
        assert_eq!(Some(agree(&votes, &charter).levels.reachable), best, "{votes:?}");
    }
}

#[test]
fn exact_admits_no_second_quorum_whatever_one_owner_and_the_missing_say() {
    let policy = Policy::Exact { quorum: 3 };
    let charter = charter(4, policy);
    let choices = [b"a", b"b", b"c"].map(|bytes| Vote::Output(crate::Digest::of(bytes)));
    for votes in every(4, &choices) {
        let found = agree(&votes, &charter);
        let all = completions(&votes, &choices);
        let reached = all.iter().any(|votes| agree(votes, &charter).levels.now == Assurance::Robust);
        for demand in DEMANDS {
            assert_eq!(found.outcome(demand) == Some(Outcome::NoAgreement), !reached, "{votes:?}");
        }
        for (liar, mut other) in (0..4).flat_map(|liar| all.iter().cloned().map(move |votes| (liar, votes))) {
            for lie in &choices {
                other[liar] = Some(lie.clone());
                let second = agree(&other, &charter);
                assert!(
                    found.result.is_none() || second.result.is_none() || second.result == found.result,
                    "{votes:?}"
                );
            }
        }
    }
}

fn scalars(values: core::ops::Range<i64>) -> Vec<Vote> {
    values.map(|value| Vote::Tensor(vec![value])).collect()
}

fn scalar(vote: Option<&Vote>) -> Option<i64> {
    match vote? {
        Vote::Tensor(values) => values.first().copied(),
        _ => None,
    }
}

#[test]
fn medians_lie_inside_the_honest_range_whoever_lies() {
    for policy in [Policy::Median { tensor: SCALAR }, Policy::TrimmedMean { tensor: SCALAR }] {
        let charter = charter(4, policy);
        for votes in every(4, &scalars(-2..3)) {
            let found = agree(&votes, &charter);
            let voters = votes.iter().flatten().count();
            assert_eq!(found.levels.now == Assurance::Supported, voters >= 3);
            let Some(result) = scalar(found.result.as_ref()) else { continue };
            for liar in 0..4 {
                let honest: Vec<_> =
                    (0..4).filter(|owner| *owner != liar).filter_map(|o| scalar(votes[o].as_ref())).collect();
                let inside = honest.iter().min() <= Some(&result) && Some(&result) <= honest.iter().max();
                assert!(inside, "{policy:?} {votes:?} liar {liar}: {result}");
            }
        }
    }
}

#[test]
fn within_has_an_honest_vote_near_every_result_and_no_two_results_far_apart() {
    let policy = Policy::Within { tensor: SCALAR, epsilon: 2, quorum: 3 };
    let (charter, choices) = (charter(4, policy), scalars(0..6));
    for votes in every(4, &choices) {
        let found = agree(&votes, &charter);
        let reached = completions(&votes, &scalars(-3..9)).iter().any(|all| agree(all, &charter).result.is_some());
        assert!(!reached || found.levels.reachable == Assurance::Supported, "no-agreement too early: {votes:?}");
        let Some(result) = scalar(found.result.as_ref()) else { continue };
        for liar in 0..4 {
            let near = |owner: usize| scalar(votes[owner].as_ref()).is_some_and(|value| (value - result).abs() <= 2);
            assert!((0..4).filter(|owner| *owner != liar).any(near), "{votes:?} liar {liar}");
            for mut other in completions(&votes, &choices) {
                for lie in &choices {
                    other[liar] = Some(lie.clone());
                    let second = scalar(agree(&other, &charter).result.as_ref()).unwrap_or(result);
                    assert!((second - result).abs() <= 4, "{votes:?} {other:?}: {result} and {second}");
                }
            }
        }
    }
}

#[test]
fn policies_read_back_and_refuse_other_shapes() {
    let tensor = TensorBounds { length: 3, fraction_bits: 16, min: -5, max: 9 };
    let policies = [
        Policy::Plurality,
        Policy::Borda { ranks: 5 },
        Policy::Exact { quorum: 3 },
        Policy::Median { tensor },
        Policy::TrimmedMean { tensor },
        Policy::Within { tensor, epsilon: 77, quorum: 3 },
    ];
    for policy in policies {
        let mut out = Encoder::new();
        policy.encode(&mut out);
        let mut bytes = out.finish();
        assert_eq!(Policy::decode(&mut Decoder::new(&bytes)), Ok(policy));
        bytes[0] += 1;
        assert!(Policy::decode(&mut Decoder::new(&bytes)).is_err(), "{policy:?}");
    }
}

#[test]
fn quorums_of_exact_and_within_need_more_than_half_of_owners_and_liars() {
    for (quorum, fits) in [(2, false), (3, true), (4, true), (5, false)] {
        assert_eq!(Policy::Exact { quorum }.is_well_formed(4, 1), fits, "{quorum}");
        assert_eq!(Policy::Within { tensor: SCALAR, epsilon: 1, quorum }.is_well_formed(4, 1), fits, "{quorum}");
    }
    assert!(!Policy::Borda { ranks: 0 }.is_well_formed(4, 1));
    assert!(!Policy::Borda { ranks: 17 }.is_well_formed(4, 1));
}

#[test]
fn votes_of_another_kind_or_out_of_bounds_count_as_abstentions() {
    let borda = Policy::Borda { ranks: 2 };
    let twice = Vote::Ranking(vec![1, 1]);
    for (policy, vote) in [
        (Policy::Plurality, Vote::Class(1000)),
        (Policy::Plurality, Vote::Ranking(vec![1])),
        (borda, twice),
        (borda, Vote::Ranking(vec![])),
        (borda, Vote::Ranking(vec![1, 2, 3])),
        (borda, Vote::Class(1)),
        (Policy::Median { tensor: SCALAR }, Vote::Tensor(vec![101])),
        (Policy::Median { tensor: SCALAR }, Vote::Tensor(vec![1, 1])),
        (Policy::Exact { quorum: 3 }, Vote::Class(1)),
    ] {
        let found = agree(&[Some(vote.clone()), None, None, None], &charter(4, policy));
        assert_eq!(found.groups.abstained.count(), 1, "{policy:?} {vote:?}");
        assert_eq!(found.result, None);
    }
}

/// A group: how many owners, what each would say, who is missing, who lies and what they say instead.
#[derive(Clone, Debug)]
struct Group {
    says: Vec<Vote>,
    missing: Vec<bool>,
    liars: Vec<usize>,
}

impl Group {
    fn cast(&self) -> Votes {
        self.says.iter().zip(&self.missing).map(|(vote, missing)| (!missing).then(|| vote.clone())).collect()
    }

    fn honest(&self) -> Vec<Vote> {
        let honest = (0..self.says.len()).filter(|owner| !self.liars.contains(owner));
        honest.map(|owner| self.says[owner].clone()).collect()
    }
}

fn group(vote: impl Strategy<Value = Vote> + Clone + 'static) -> impl Strategy<Value = Group> {
    (1..=31_usize).prop_flat_map(move |owners| {
        let says = proptest::collection::vec(vote.clone(), owners);
        let missing = proptest::collection::vec(proptest::bool::weighted(0.1), owners);
        let liars = proptest::sample::subsequence((0..owners).collect::<Vec<_>>(), 0..=(owners - 1) / 3);
        (says, missing, liars).prop_map(|(says, missing, liars)| Group { says, missing, liars })
    })
}

fn few_classes() -> impl Strategy<Value = Vote> + Clone {
    prop_oneof![6 => Just(Vote::Class(7)), 1 => (0..4_u32).prop_map(Vote::Class)]
}

fn few_rankings() -> impl Strategy<Value = Vote> + Clone {
    prop_oneof![
        6 => Just(Vote::Ranking(vec![7, 1])),
        1 => proptest::sample::subsequence(vec![1_u32, 2, 7, 3], 1..=3).prop_shuffle().prop_map(Vote::Ranking),
    ]
}

fn near_values() -> impl Strategy<Value = Vote> + Clone {
    prop_oneof![8 => (0..6_i64).prop_map(|value| Vote::Tensor(vec![value])), 1 => (-100..100_i64).prop_map(|value| Vote::Tensor(vec![value]))]
}

fn all(votes: &[Vote]) -> Votes {
    votes.iter().cloned().map(Some).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn levels_of_rankings_and_classes_hold(classes in group(few_classes()), ranked in group(few_rankings())) {
        for (group, policy) in [(classes, Policy::Plurality), (ranked, Policy::Borda { ranks: 3 })] {
            let found = agree(&group.cast(), &charter(group.says.len(), policy));
            if found.levels.now >= Assurance::Supported {
                let named = |vote: &&Vote| match (*vote, &found.result) {
                    (Vote::Ranking(ranking), Some(Vote::Class(class))) => ranking.contains(class),
                    (vote, result) => Some(vote) == result.as_ref(),
                };
                prop_assert!(group.honest().iter().any(|vote| named(&vote)), "supported");
            }
            if found.levels.now >= Assurance::Decisive {
                prop_assert_eq!(&leader(&all(&group.says), policy), &found.result, "decisive");
            }
            if found.levels.now == Assurance::Robust {
                prop_assert_eq!(&leader(&all(&group.honest()), policy), &found.result, "robust");
            }
            let completed = agree(&all(&group.says), &charter(group.says.len(), policy)).levels.now;
            prop_assert!(completed <= found.levels.reachable, "reachable");
        }
    }

    #[test]
    fn promises_of_tensors_hold(group in group(near_values())) {
        let (owners, faults) = (group.says.len() as u64, (group.says.len() as u64 - 1) / 3);
        let quorum = (owners + faults) / 2 + 1;
        let honest: Vec<_> = group.honest().iter().filter_map(|vote| scalar(Some(vote))).collect();
        for policy in [Policy::Median { tensor: SCALAR }, Policy::TrimmedMean { tensor: SCALAR }] {
            if let Some(result) = scalar(agree(&group.cast(), &charter(group.says.len(), policy)).result.as_ref()) {
                prop_assert!(honest.iter().min() <= Some(&result) && Some(&result) <= honest.iter().max());
            }
        }
        let within = charter(group.says.len(), Policy::Within { tensor: SCALAR, epsilon: 3, quorum });
        let (found, completed) = (agree(&group.cast(), &within), agree(&all(&group.says), &within));
        prop_assert!(completed.levels.now <= found.levels.reachable);
        if let Some(result) = scalar(found.result.as_ref()) {
            prop_assert!(honest.iter().any(|value| (value - result).abs() <= 3));
            let second = scalar(completed.result.as_ref()).unwrap_or(result);
            prop_assert!((second - result).abs() <= 6);
        }
    }

    #[test]
    fn the_result_does_not_depend_on_who_said_what(group in group(near_values()), turn in 0..31_usize) {
        let owners = group.says.len();
        let policies = [
            Policy::Median { tensor: SCALAR },
            Policy::TrimmedMean { tensor: SCALAR },
            Policy::Within { tensor: SCALAR, epsilon: 3, quorum: owners as u64 },
        ];
        for policy in policies {
            let mut votes = group.cast();
            let before = agree(&votes, &charter(owners, policy));
            votes.rotate_left(turn % owners);
            let after = agree(&votes, &charter(owners, policy));
            prop_assert_eq!((before.result, before.levels), (after.result, after.levels));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_record_of_whatever_was_decided_follows(classes in group(few_classes()), ranked in group(few_rankings()), near in group(near_values())) {
        let tensors = Policy::Within { tensor: SCALAR, epsilon: 3, quorum: near.says.len() as u64 };
        let median = Policy::Median { tensor: SCALAR };
        let groups = [(&classes, Policy::Plurality), (&ranked, Policy::Borda { ranks: 3 }), (&near, tensors), (&near, median)];
        for (group, policy) in groups {
            let mut market = Market::new(1, group.says.len() as u8, policy);
            market.charter.assurance = Assurance::Supported;
            for demand in DEMANDS {
                if agree(&group.cast(), &market.charter).outcome(demand).is_some() {
                    let case = market.decide(&group.cast(), demand);
                    prop_assert!(case.record.follows());
                    prop_assert_eq!(crate::Record::from_bytes(&case.record.to_bytes()), Ok(case.record));
                }
            }
        }
    }
}
