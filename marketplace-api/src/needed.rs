//! How few ballots can reach an assurance: what a group asks for at first, and how large its batches may be.

use dropbear_certificates::bitmap::Bitmap;
use dropbear_certificates::policy::{Points, Standing, Support};
use dropbear_certificates::{Assurance, Charter, Policy};
use dropbear_consensus::entry::{BALLOT_BYTES_MAX, ENTRY_BYTES_MAX};

/// The fewest ballots with which `demand` can hold, all of them alike; every owner where no number suffices.
pub(crate) fn ballots_needed(charter: &Charter, demand: Assurance) -> usize {
    let owners = charter.roster.len();
    (1..owners).find(|votes| assurance_of_equal(charter, *votes) >= demand).unwrap_or(owners)
}

/// What `votes` equal votes support while nobody else has answered.
fn assurance_of_equal(charter: &Charter, votes: usize) -> Assurance {
    let (owners, faults, counts) = (charter.roster.len(), charter.fault_bound(), [votes]);
    let support = support_of_equal(charter.policy, owners, votes);
    let standing = Standing { owners, faults, counts: &counts, abstained: 0, support: &support };
    charter.policy.levels(&standing).map_or(Assurance::None, |levels| levels.now)
}

fn support_of_equal(policy: Policy, owners: usize, votes: usize) -> Support {
    match policy {
        Policy::Borda { ranks } => {
            let named = votes as u64;
            let points = |rank: u64| Points { points: named * (ranks - rank), named };
            // Rankings name runners-up too: a lead over nobody would promise too much.
            Support::Points((0..ranks.min(2)).map(points).collect())
        }
        Policy::Within { .. } => {
            let mut members = Bitmap::new(owners);
            (0..votes).for_each(|owner| {
                members.insert(owner);
            });
            Support::Cluster { members, reach: votes }
        }
        _ => Support::Counts,
    }
}

/// Around a request and its answers: statement, signatures, salts, lengths.
const REQUEST_BYTES: usize = 640;
/// Around a vote: its output commitment.
const ANSWER_BYTES: usize = 48;
const CLASS_BYTES_MAX: usize = 8;
const DIGEST_BYTES_MAX: usize = 40;
const VALUE_BYTES_MAX: usize = 5;
/// Around all requests of a submission.
const SUBMISSION_BYTES: usize = 8 << 10;

/// How many requests fit into one submission with a ballot of every owner.
pub(crate) fn requests_fit(charter: &Charter) -> usize {
    let answer = vote_bytes_max(charter.policy) + ANSWER_BYTES;
    let request = REQUEST_BYTES + charter.roster.len() * answer;
    let in_entry = (ENTRY_BYTES_MAX - SUBMISSION_BYTES) / request;
    in_entry.min((BALLOT_BYTES_MAX - SUBMISSION_BYTES) / answer).max(1)
}

fn vote_bytes_max(policy: Policy) -> usize {
    match policy {
        Policy::Plurality => CLASS_BYTES_MAX,
        Policy::Borda { ranks } => usize::try_from(ranks).unwrap_or(usize::MAX).saturating_mul(VALUE_BYTES_MAX) + 8,
        Policy::Exact { .. } => DIGEST_BYTES_MAX,
        Policy::Median { tensor } | Policy::TrimmedMean { tensor } | Policy::Within { tensor, .. } => {
            tensor.length as usize * VALUE_BYTES_MAX + 8
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropbear_certificates::charter::Seat;
    use dropbear_certificates::policy::TensorBounds;
    use dropbear_certificates::{SecretKey, Vote};

    const TENSOR: TensorBounds = TensorBounds { length: 1024, fraction_bits: 16, min: -(1 << 30), max: 1 << 30 };

    fn charter(policy: Policy, owners: u8, faults: u64) -> Charter {
        let seat = |place: u8| Seat {
            owner: format!("owner-{place}"),
            key: SecretKey::from_seed(&[place + 1; 32]).public(),
            party: String::new(),
            lineage: String::new(),
        };
        Charter {
            group: "group".into(),
            task: "identity".into(),
            classes: 10,
            labels: None,
            roster: (0..owners).map(seat).collect(),
            policy,
            faults,
            assurance: policy.strongest(),
            notice_blocks: 1,
            approvals: 1,
            fee: 0,
        }
    }

    fn needed(policy: Policy, owners: u8, faults: u64, demand: Assurance) -> usize {
        ballots_needed(&charter(policy, owners, faults), demand)
    }

    #[test]
    fn no_more_than_the_policy_needs() {
        let (supported, robust) = (Assurance::Supported, Assurance::Robust);
        assert_eq!(needed(Policy::Plurality, 4, 1, robust), 3);
        assert_eq!(needed(Policy::Plurality, 4, 1, Assurance::Decisive), 3);
        assert_eq!(needed(Policy::Plurality, 4, 1, supported), 2);
        assert_eq!(needed(Policy::Plurality, 7, 2, robust), 5);
        assert_eq!(needed(Policy::Plurality, 1, 0, robust), 1);
        assert_eq!(needed(Policy::Exact { quorum: 3 }, 4, 1, robust), 3);
        assert_eq!(needed(Policy::Median { tensor: TENSOR }, 4, 1, supported), 3);
        assert_eq!(needed(Policy::TrimmedMean { tensor: TENSOR }, 7, 2, supported), 5);
        assert_eq!(needed(Policy::Within { tensor: TENSOR, epsilon: 5, quorum: 3 }, 4, 1, supported), 3);
        assert_eq!(needed(Policy::Borda { ranks: 1 }, 4, 1, robust), 3);
        assert_eq!(needed(Policy::Borda { ranks: 3 }, 4, 1, robust), 4, "a lead of 4 over 3 · (1 + 0)");
        assert_eq!(needed(Policy::Borda { ranks: 5 }, 4, 1, robust), 4, "out of reach: ask everybody");
    }

    #[test]
    fn as_many_equal_votes_as_are_needed_do_agree() {
        for (policy, vote) in [
            (Policy::Plurality, Vote::Class(7)),
            (Policy::Exact { quorum: 3 }, Vote::Output(dropbear_certificates::Digest::ZERO)),
            (Policy::Median { tensor: TENSOR }, Vote::Tensor(vec![5; 1024])),
            (Policy::Within { tensor: TENSOR, epsilon: 5, quorum: 3 }, Vote::Tensor(vec![5; 1024])),
            (Policy::Borda { ranks: 3 }, Vote::Ranking(vec![7, 1, 2])),
        ] {
            let charter = charter(policy, 4, 1);
            let needed = ballots_needed(&charter, charter.assurance);
            let agrees = |count: usize| {
                let votes: Vec<_> = (0..4).map(|owner| (owner < count).then(|| vote.clone())).collect();
                charter.combine(&votes).levels.now >= charter.assurance
            };
            assert!(agrees(needed) && !agrees(needed - 1), "{policy:?} {needed}");
        }
    }

    #[test]
    fn a_full_batch_fits_into_an_entry() {
        for policy in [Policy::Plurality, Policy::Median { tensor: TENSOR }, Policy::Borda { ranks: 16 }] {
            for owners in [1, 4, 100] {
                let charter = charter(policy, owners, 0);
                let answer = vote_bytes_max(policy) + ANSWER_BYTES;
                let requests = requests_fit(&charter);
                assert!(requests * (REQUEST_BYTES + usize::from(owners) * answer) < ENTRY_BYTES_MAX, "{policy:?}");
                assert!(requests * answer < BALLOT_BYTES_MAX, "{policy:?}");
            }
        }
    }
}
