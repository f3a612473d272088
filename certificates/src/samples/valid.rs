//! Certificates that verify: every size, outcome, policy and attachment.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use crate::attachments::Attachments;
use crate::certificate::Certificate;
use crate::chain::GovernanceChain;
use crate::digest::Digest;
use crate::genesis::Genesis;
use crate::policy::{Assurance, Policy, TensorBounds, Vote};
use crate::samples::governance::{self, changed_market};
use crate::samples::market::{Case, Market};

/// One test vector: what a verifier is given, and what it must say.
#[derive(Clone, Debug)]
pub struct Vector {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// The trust root.
    pub genesis: Genesis,
    /// A chain in a file of its own, to extend the trust root with.
    pub chain: Option<Vec<u8>>,
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The reason code that it must be refused with; `None` if it must verify.
    pub code: Option<&'static str>,
}

impl Vector {
    /// A vector that must verify.
    #[must_use]
    pub fn valid(name: &str, about: &str, genesis: &Genesis, certificate: &Certificate) -> Self {
        Self {
            name: name.into(),
            about: about.into(),
            genesis: genesis.clone(),
            chain: None,
            certificate: certificate.to_bytes(),
            code: None,
        }
    }
}

/// Bounds of the sample tensors.
pub const TENSOR: TensorBounds = TensorBounds { length: 3, fraction_bits: 16, min: -(1 << 20), max: 1 << 20 };

/// Votes for these classes, one per owner.
#[must_use]
pub fn classes(classes: &[u32]) -> Vec<Option<Vote>> {
    classes.iter().map(|class| Some(Vote::Class(*class))).collect()
}

fn tensors(values: &[[i64; 3]]) -> Vec<Option<Vote>> {
    values.iter().map(|values| Some(Vote::Tensor(values.to_vec()))).collect()
}

fn rankings(rankings: &[&[u32]]) -> Vec<Option<Vote>> {
    rankings.iter().map(|ranking| Some(Vote::Ranking(ranking.to_vec()))).collect()
}

fn outputs(outputs: &[&str]) -> Vec<Option<Vote>> {
    outputs.iter().map(|output| Some(Vote::Output(Digest::of(output.as_bytes())))).collect()
}

/// The case that most other samples change: four members, four owners, one common answer.
#[must_use]
pub fn common() -> Case {
    Market::new(4, 4, Policy::Plurality).decide(&classes(&[285; 4]), Assurance::Robust)
}

/// One agreed case per policy, with four owners, and one without agreement.
#[must_use]
pub fn by_policy() -> Vec<(String, Case)> {
    let (robust, supported) = (Assurance::Robust, Assurance::Supported);
    let tensor = TENSOR;
    let close = tensors(&[[0, 65_536, -9], [10, 65_540, -3], [20, 65_000, -5], [1 << 20, 1 << 20, 1 << 20]]);
    let apart = tensors(&[[0, 0, 0], [9_000, 0, 0], [0, 9_000, 0], [0, 0, 9_000]]);
    let lost = vec![Some(Vote::Tensor(vec![1, 2, 3])), Some(Vote::Abstain), Some(Vote::Abstain), None];
    let within = Policy::Within { tensor, epsilon: 1_000, quorum: 3 };
    let borda = Policy::Borda { ranks: 3 };
    let exact = Policy::Exact { quorum: 3 };
    let cases = [
        ("plurality-agreed", Policy::Plurality, classes(&[285, 285, 285, 281]), robust),
        ("plurality-no-agreement", Policy::Plurality, classes(&[2, 2, 5, 7]), robust),
        ("borda-agreed", borda, rankings(&[&[285, 281, 282], &[285, 282], &[285], &[285, 7, 281]]), robust),
        ("borda-no-agreement", borda, rankings(&[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2], &[4]]), robust),
        ("exact-agreed", exact, outputs(&["a", "a", "b", "a"]), robust),
        ("exact-no-agreement", exact, outputs(&["a", "a", "b", "c"]), robust),
        ("median-agreed", Policy::Median { tensor }, close.clone(), supported),
        ("median-no-agreement", Policy::Median { tensor }, lost.clone(), supported),
        ("trimmed-mean-agreed", Policy::TrimmedMean { tensor }, close.clone(), supported),
        ("trimmed-mean-no-agreement", Policy::TrimmedMean { tensor }, lost, supported),
        ("within-agreed", within, close, supported),
        ("within-no-agreement", within, apart, supported),
    ];
    let decide = |(name, policy, votes, demand): (&str, Policy, Vec<Option<Vote>>, Assurance)| {
        (name.to_string(), Market::new(4, 4, policy).decide(&votes, demand))
    };
    cases.into_iter().map(decide).collect()
}

/// All vectors that must verify.
#[must_use]
pub fn vectors() -> Vec<Vector> {
    let mut vectors = sizes();
    let (market, example) = crate::samples::example::certificate();
    vectors.push(Vector::valid("example", "the example of SPEC.md", &market.genesis, &example));
    for (name, case) in by_policy() {
        let genesis = &case.market.genesis;
        let (full, bare) = (case.certified(), case.clone().bare().certified());
        vectors.push(Vector::valid(&name, "everything attached: votes open and recomputable", genesis, &full));
        vectors.push(Vector::valid(&format!("{name}-bare"), "nothing attached", genesis, &bare));
    }
    vectors.extend(plurality_levels());
    vectors.extend(disclosures());
    vectors.extend(governed());
    vectors
}

fn sizes() -> Vec<Vector> {
    let size = |members: u8| {
        let market = Market::new(members, members, Policy::Plurality);
        let case = market.decide(&classes(&vec![285; members.into()]), Assurance::Robust);
        let about = format!("{members} members, quorum {}", market.committee.quorum());
        Vector::valid(&format!("members-{members}"), &about, &market.genesis, &case.bare().certified())
    };
    [1, 4, 5, 6, 7, 31].map(size).to_vec()
}

fn plurality_levels() -> Vec<Vector> {
    let market = Market::new(4, 7, Policy::Plurality);
    let mut some = classes(&[3, 3, 3, 3, 3, 9]);
    some.push(Some(Vote::Abstain));
    let one_missing = [classes(&[3, 3, 3, 3, 3, 3]), vec![None]].concat();
    let out_of_schema = classes(&[3, 3, 3, 3, 3, 3, 1000]);
    let cases = [
        ("level-supported", "supported: seven owners, 3 to 2", classes(&[3, 3, 3, 9, 9, 4, 4]), Assurance::Supported),
        ("level-decisive", "decisive: one owner abstained, 5 to 1", some, Assurance::Decisive),
        ("level-robust-one-missing", "robust without one of seven ballots", one_missing, Assurance::Robust),
        (
            "vote-outside-the-schema",
            "a class beyond the charter's counts as an abstention",
            out_of_schema,
            Assurance::Robust,
        ),
        ("tie", "a tie has no winner", classes(&[3, 3, 3, 9, 9, 9, 4]), Assurance::Supported),
    ];
    let vector = |(name, about, votes, demand): (&str, &str, Vec<Option<Vote>>, Assurance)| {
        // A vote outside the schema cannot be opened, nor proven by a ballot whose leaf commits to it.
        let case = market.decide(&votes, demand).attach(|shown| {
            if name == "vote-outside-the-schema" {
                shown.ballots.pop();
            }
        });
        Vector::valid(name, about, &market.genesis, &case.certified())
    };
    cases.into_iter().map(vector).collect()
}

fn disclosures() -> Vec<Vector> {
    let market = Market::new(4, 4, Policy::Plurality);
    let votes = classes(&[285, 285, 285, 281]);
    let case = market.decide(&votes, Assurance::Robust);
    let minted = market.decide_request(&market.minted(Assurance::Robust), &votes);
    let mut absent = classes(&[285, 285, 285]);
    absent.push(Some(Vote::Abstain));
    let abstained = market.decide(&absent, Assurance::Robust);
    let only = |case: &Case, keep: fn(Attachments) -> Attachments| {
        let attachments = keep(case.attachments.clone());
        Case { attachments, ..case.clone() }.certified()
    };
    let cases: [(&str, &str, Certificate); 9] = [
        (
            "client-signed",
            "the client's signature is shown",
            only(&case, |all| Attachments { request: all.request, ..Attachments::default() }),
        ),
        ("client-signed-unshown", "the client signed, by the committee's word", only(&case, without_signature)),
        (
            "gateway-minted",
            "the gateway's signature is shown",
            only(&minted, |all| Attachments { request: all.request, ..Attachments::default() }),
        ),
        ("single-vote", "only the winner's vote is opened", only(&case, |all| single_vote(all, 0))),
        (
            "single-vote-loser",
            "only the loser's vote is opened: no class is shown",
            only(&case, |all| single_vote(all, 1)),
        ),
        (
            "models-only",
            "only the model set",
            only(&case, |all| Attachments { models: all.models, ..Attachments::default() }),
        ),
        (
            "ballots-only",
            "owners' own signatures, votes still closed",
            only(&case, |all| Attachments { ballots: all.ballots, ..Attachments::default() }),
        ),
        ("ballot-of-one", "one owner's signature, and the winner's vote", only(&case, ballot_of_one)),
        (
            "ballot-of-an-abstention",
            "the owner signed that it abstained",
            only(&abstained, |all| Attachments { ballots: all.ballots, ..Attachments::default() }),
        ),
    ];
    let vector = |(name, about, certificate): (&str, &str, Certificate)| {
        Vector::valid(name, about, &market.genesis, &certificate)
    };
    cases.into_iter().map(vector).collect()
}

fn without_signature(mut all: Attachments) -> Attachments {
    if let Some(request) = &mut all.request {
        request.signature = None;
    }
    Attachments { request: all.request, ..Attachments::default() }
}

fn single_vote(all: Attachments, group: usize) -> Attachments {
    let single_votes = all.single_votes.into_iter().filter(|(place, _)| *place == group).collect();
    Attachments { single_votes, ..Attachments::default() }
}

fn ballot_of_one(mut all: Attachments) -> Attachments {
    let ballots = vec![all.ballots.remove(2)];
    Attachments { ballots, ..single_vote(all, 0) }
}

fn governed() -> Vec<Vector> {
    let (before, after, chain) = (Market::new(4, 4, Policy::Plurality), changed_market(), governance::chain());
    let votes = classes(&[285; 4]);
    let later = after.decide(&votes, Assurance::Robust);
    let attached = later.clone().attach(|shown| shown.chain = Some(chain.clone()));
    let at = |market: &Market, seq: u64| {
        Market { seq, ..market.clone() }.decide(&votes, Assurance::Robust).bare().certified()
    };
    let first_epoch = Market { committee: before.committee.clone(), governance_seq: governance::CHARTER_SEQ, ..after };
    let with_chain = |name: &str, about: &str, certificate: &Certificate| Vector {
        chain: Some(chain.to_bytes()),
        ..Vector::valid(name, about, &before.genesis, certificate)
    };
    vec![
        Vector::valid("chain-attached", "epoch 1, the chain rides along", &before.genesis, &attached.certified()),
        with_chain("chain-apart", "epoch 1, the chain in a file", &later.clone().bare().certified()),
        with_chain("chain-twice", "the chain in a file and attached: they agree", &attached.certified()),
        with_chain(
            "chain-last-old-charter",
            "the last seq of the old charter",
            &at(&before, governance::CHARTER_FROM_SEQ - 1),
        ),
        with_chain(
            "chain-first-new-charter",
            "the first seq of the new charter",
            &at(&first_epoch, governance::CHARTER_FROM_SEQ),
        ),
        with_chain("chain-last-of-epoch", "the last seq of epoch 0", &at(&first_epoch, governance::CONFIG_SEQ)),
        Vector {
            chain: Some(governance::returning_chain().to_bytes()),
            ..Vector::valid(
                "chain-charter-returns",
                "a charter that was replaced is in force once more",
                &before.genesis,
                &at(&before, governance::RETURN_FROM_SEQ),
            )
        },
        Vector {
            chain: Some(GovernanceChain::default().to_bytes()),
            ..Vector::valid("chain-empty", "a chain without links", &before.genesis, &at(&before, 9))
        },
        Vector::valid(
            "trust-behind",
            "the header knows a governance entry that the root does not",
            &before.genesis,
            &Market { governance_seq: 8, ..before.clone() }.decide(&votes, Assurance::Robust).bare().certified(),
        ),
    ]
}
