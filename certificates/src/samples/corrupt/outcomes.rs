//! Outcomes that do not follow from the tally, or from the votes.

use alloc::vec::Vec;

use crate::attachments::Attachments;
use crate::bitmap::Bitmap;
use crate::digest::Digest;
use crate::policy::{Assurance, Policy, Support};
use crate::record::Outcome;
use crate::samples::market::{Case, Market};
use crate::samples::valid::{by_policy, classes, common};

pub(super) fn outcomes(add: &mut dyn FnMut(&str, Case)) {
    let split = || Market::new(4, 4, Policy::Plurality).decide(&classes(&[2, 2, 5, 7]), Assurance::Robust).bare();
    add("agreed-below-the-demand", split().record(|record| record.outcome = Outcome::Agreed));
    add(
        "assurance-too-high",
        common().bare().record(|record| record.votes[0].owners = three_of_four()).record(|record| {
            record.votes[0].owners = two_of_four();
        }),
    );
    add(
        "assurance-too-low",
        common().bare().record(|record| {
            (record.assurance, record.demand) = (Assurance::Decisive, Assurance::Decisive);
        }),
    );
    add("no-agreement-although-agreed", common().bare().record(|record| record.outcome = Outcome::NoAgreement));
    add(
        "no-agreement-although-reachable",
        split().record(|record| {
            record.votes.truncate(2);
            record.assurance = Assurance::Supported;
        }),
    );
    add("a-result-where-none-is-due", common().bare().record(|record| record.result = Some(Digest::of(b"result"))));
    let policy =
        |name: &str| by_policy().into_iter().find(|(known, _)| known == name).map_or_else(common, |(_, case)| case);
    add("no-result-where-one-is-due", policy("median-agreed").bare().record(|record| record.result = None));
    add(
        "a-result-without-agreement",
        policy("borda-no-agreement").bare().record(|record| {
            record.result = Some(Digest::of(b"result"));
        }),
    );
    add("median-called-robust", policy("median-agreed").bare().record(|record| record.assurance = Assurance::Robust));
    add(
        "median-of-too-few",
        policy("median-agreed").bare().record(|record| {
            record.votes.truncate(2);
        }),
    );
    add(
        "exact-below-its-quorum",
        policy("exact-no-agreement").bare().record(|record| {
            (record.outcome, record.assurance) = (Outcome::Agreed, Assurance::Robust);
        }),
    );
    add(
        "more-points-than-ballots-can-give",
        policy("borda-agreed").bare().record(|record| {
            if let Support::Points(points) = &mut record.support {
                points[0].points = points[0].named * 3 + 1;
            }
        }),
    );
    add(
        "named-by-more-than-voted",
        policy("borda-agreed").bare().record(|record| {
            if let Support::Points(points) = &mut record.support {
                points[0].named = 5;
            }
        }),
    );
    add(
        "cluster-below-its-quorum",
        policy("within-agreed").bare().record(|record| {
            record.support = Support::Cluster { members: two_of_four(), reach: 3 };
        }),
    );
    add(
        "cluster-larger-than-its-reach",
        policy("within-agreed").bare().record(|record| {
            record.support = Support::Cluster { members: three_of_four(), reach: 2 };
        }),
    );
    add(
        "cluster-of-an-owner-without-a-vote",
        policy("within-agreed").bare().record(|record| {
            record.votes.remove(0);
        }),
    );
    recomputed(add, &policy);
}

/// Wrong only if the votes are shown: the verifier then recomputes everything.
fn recomputed(add: &mut dyn FnMut(&str, Case), policy: &dyn Fn(&str) -> Case) {
    add(
        "recomputed-result",
        policy("median-agreed").record(|record| record.result = Some(Digest::of(b"result"))).attach(|shown| {
            shown.result = None;
        }),
    );
    add(
        "recomputed-points",
        policy("borda-agreed").record(|record| {
            if let Support::Points(points) = &mut record.support {
                points[1].points += 1;
            }
        }),
    );
    add(
        "recomputed-cluster",
        policy("within-agreed").record(|record| {
            let members = [0, 1, 3].into_iter().fold(Bitmap::new(4), |mut map, place| {
                map.insert(place);
                map
            });
            record.support = Support::Cluster { members, reach: 3 };
        }),
    );
    let tied = Market::new(4, 4, Policy::Plurality).decide(&classes(&[2, 2, 5, 7]), Assurance::Robust);
    add(
        "recomputed-order-of-equal-counts",
        tied.record(|record| record.votes.swap(1, 2)).attach(|shown| {
            if let Some(votes) = &mut shown.votes {
                votes.votes.swap(1, 2);
            }
            (shown.single_votes, shown.ballots) = (Vec::new(), Vec::new());
        }),
    );
    let mut schema = Market::new(4, 4, Policy::Plurality);
    schema.charter.classes = 10_000;
    let mut case = schema.decide(&classes(&[2000; 4]), Assurance::Robust);
    case.market = Market::new(4, 4, Policy::Plurality);
    let (genesis, charter) = (case.market.genesis.digest(), case.market.charter.digest());
    let case = case.record(|record| (record.genesis, record.charter) = (genesis, charter));
    add(
        "recomputed-vote-outside-the-schema",
        case.attach(|shown| {
            *shown = Attachments { votes: shown.votes.take(), ..Attachments::default() };
        }),
    );
}

fn three_of_four() -> Bitmap {
    (0..3).fold(Bitmap::new(4), |mut map, place| {
        map.insert(place);
        map
    })
}

fn two_of_four() -> Bitmap {
    (0..2).fold(Bitmap::new(4), |mut map, place| {
        map.insert(place);
        map
    })
}
