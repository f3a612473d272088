//! Pairs of certificates, and what the conflict check says of them.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::conflict::{self, ConflictKind, LedgerOpening, Missing, Verdict};
use crate::digest::Digest;
use crate::error::Refusal;
use crate::genesis::Genesis;
use crate::header::{Header, ledger_leaf};
use crate::merkle;
use crate::policy::{Assurance, Policy};
use crate::samples::governance::changed_market;
use crate::samples::market::{Case, Market};
use crate::samples::valid::classes;

/// Two certificates with what is shown of the ledger, and whether a chain is needed.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Its name.
    pub name: &'static str,
    /// The trust root.
    pub genesis: Genesis,
    /// A chain to extend it with.
    pub chain: Option<Vec<u8>>,
    /// One certificate.
    pub a: Certificate,
    /// The other.
    pub b: Certificate,
    /// The earlier header under the later one's ledger root, as shown.
    pub opening: Option<Vec<u8>>,
}

fn at(seq: u64, class: u32) -> Case {
    let market = Market { seq, ..Market::new(4, 4, Policy::Plurality) };
    market.decide(&classes(&[class; 4]), Assurance::Robust).bare()
}

fn other_request(case: Case) -> Case {
    case.record(|record| record.request = Digest::of(b"another request"))
}

/// A later header whose ledger holds `earlier` at its seq, and the opening that shows it.
fn after(earlier: &Header, case: &Case, signers: &[usize]) -> (Certificate, LedgerOpening) {
    after_opened(LedgerOpening::new(earlier, Vec::new()), earlier.seq, case, signers)
}

/// A later header whose ledger holds what `opening` shows at `seq`, and the opening with its path.
fn after_opened(mut opening: LedgerOpening, seq: u64, case: &Case, signers: &[usize]) -> (Certificate, LedgerOpening) {
    let mut leaves: Vec<_> = (1..case.market.seq).map(|seq| merkle::leaf_hash(&seq.to_be_bytes())).collect();
    let index = seq as usize - 1;
    leaves[index] = ledger_leaf(&opening.template, &opening.record_root);
    opening.path = merkle::path(&leaves, index);
    (case.certify_header(signers, |header| header.ledger_root = merkle::root(&leaves)), opening)
}

/// One block with two outcomes of one request, at the leaves 37 and 38.
fn in_one_block() -> (Certificate, Certificate) {
    let (first, second) = (at(9, 285), at(9, 7).record(|record| record.leaf_index = 38));
    let mut leaves: Vec<_> = (0..first.tree_size).map(|leaf| merkle::leaf_hash(&leaf.to_be_bytes())).collect();
    for case in [&first, &second] {
        leaves[case.record.leaf_index as usize] = merkle::leaf_hash(&case.record.to_bytes());
    }
    let certify = |case: &Case, signers: &[usize]| {
        let mut certificate = case.certify_header(signers, |header| header.record_root = merkle::root(&leaves));
        certificate.path = merkle::path(&leaves, case.record.leaf_index as usize);
        certificate
    };
    (certify(&first, &[0, 1, 2]), certify(&second, &[1, 2, 3]))
}

/// All pairs.
#[must_use]
pub fn pairs() -> Vec<Pair> {
    let genesis = at(9, 285).market.genesis;
    let pair = |name, a: &Certificate, b: &Certificate, opening: Option<&LedgerOpening>| Pair {
        name,
        genesis: genesis.clone(),
        chain: None,
        a: a.clone(),
        b: b.clone(),
        opening: opening.map(LedgerOpening::to_bytes),
    };
    let (first, lie) = (at(9, 285).certify(&[0, 1, 2]), at(9, 7).certify(&[1, 2, 3]));
    let (later, opening) = after(first.header(), &other_request(at(12, 285)), &[0, 2, 3]);
    let (rewritten, rewriting) = after(lie.header(), &other_request(at(12, 285)), &[1, 2, 3]);
    let (again, again_opening) = after(first.header(), &at(12, 7), &[0, 2, 3]);
    let (other, _) = after(lie.header(), &other_request(at(12, 7)), &[1, 2, 3]);
    let no_header =
        LedgerOpening { template: b"no header".to_vec(), record_root: first.header().record_root, path: Vec::new() };
    let (hollow, hollowing) = after_opened(no_header, 9, &other_request(at(12, 285)), &[1, 2, 3]);
    let (block_first, block_second) = in_one_block();
    let cut = |name, a: &Certificate, b: &Certificate| {
        let mut bytes = opening.to_bytes();
        bytes.pop();
        Pair { opening: Some(bytes), ..pair(name, a, b, None) }
    };
    let mut pairs = alloc::vec![
        pair("same-certificate", &first, &first, None),
        pair("same-header-other-quorum", &first, &at(9, 285).certify(&[1, 2, 3]), None),
        pair("same-seq", &first, &lie, None),
        pair("same-seq-other-order", &lie, &first, None),
        pair("later-without-opening", &first, &later, None),
        pair("later-consistent", &first, &later, Some(&opening)),
        pair("later-consistent-other-order", &later, &first, Some(&opening)),
        pair("rewritten", &first, &rewritten, Some(&rewriting)),
        pair("opening-of-another-root", &first, &other, Some(&opening)),
        pair("two-outcomes", &first, &again, Some(&again_opening)),
        pair("two-outcomes-without-opening", &first, &again, None),
        pair("two-outcomes-in-one-block", &block_first, &block_second, None),
        pair("two-outcomes-in-one-block-other-order", &block_second, &block_first, None),
        pair("rewritten-to-no-header", &first, &hollow, Some(&hollowing)),
        cut("opening-cut-short", &first, &later),
        cut("opening-cut-short-where-none-is-needed", &first, &lie),
    ];
    let across = across_epochs(&first, &lie);
    let chain = crate::samples::governance::chain().to_bytes();
    pairs.extend(across.into_iter().map(|(name, later, opening)| Pair {
        chain: Some(chain.clone()),
        ..pair(name, &first, &later, opening.as_ref())
    }));
    pairs
}

/// Headers of epoch 1, to be held against `first` of epoch 0; one ledger holds `lie` in its place.
fn across_epochs(first: &Certificate, lie: &Certificate) -> Vec<(&'static str, Certificate, Option<LedgerOpening>)> {
    let again = changed_market().decide(&classes(&[285; 4]), Assurance::Robust).bare();
    let (other, signers) = (other_request(again.clone()), [0, 1, 2, 3, 4]);
    let holding = |name, header: &Header, case: &Case| {
        let (certificate, opening) = after(header, case, &signers);
        (name, certificate, Some(opening))
    };
    alloc::vec![
        ("epochs", again.certified(), None),
        holding("epochs-consistent", first.header(), &other),
        holding("epochs-rewritten", lie.header(), &other),
        holding("epochs-two-outcomes", first.header(), &again),
    ]
}

/// The pair's file, with what the library says of it.
#[must_use]
pub fn pair_file(pair: &Pair, trust: &str) -> String {
    let expected = match verdict(pair) {
        Err(refusal) => json!({ "verdict": "refused", "code": refusal.code() }),
        Ok(verdict) => expectation(&verdict),
    };
    let hex = |bytes: &[u8]| Value::from(HEXLOWER.encode(bytes));
    super::json::pretty(&json!({
        "name": pair.name,
        "trust": trust,
        "chain": pair.chain.as_ref().map(|chain| hex(chain)),
        "a": hex(&pair.a.to_bytes()),
        "b": hex(&pair.b.to_bytes()),
        "opening": pair.opening.as_ref().map(|opening| hex(opening)),
        "expect": expected,
    }))
}

fn expectation(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Consistent => json!({ "verdict": "consistent" }),
        Verdict::Unresolved(missing) => json!({ "verdict": "unresolved", "missing": match missing {
            Missing::Opening => "opening",
            Missing::OtherOpening => "other-opening",
            Missing::Epoch => "epoch",
        }}),
        Verdict::Conflict { kind, guilty } => json!({
            "verdict": "conflict",
            "kind": match kind {
                ConflictKind::SameSeq => "same-seq",
                ConflictKind::Rewritten => "rewritten",
                ConflictKind::TwoOutcomes => "two-outcomes",
            },
            "guilty": guilty.iter().map(|key| key.to_string()).collect::<Vec<_>>(),
        }),
    }
}

/// Verifies both and checks them against each other.
///
/// # Errors
/// [`Refusal`] if the opening does not decode or a certificate does not verify.
pub fn verdict(pair: &Pair) -> Result<Verdict, Refusal> {
    let mut trust = crate::TrustRoot::new(pair.genesis.clone());
    if let Some(chain) = &pair.chain {
        trust = trust.extended(&crate::GovernanceChain::from_bytes(chain)?)?;
    }
    let opening = pair.opening.as_ref().map(|bytes| LedgerOpening::from_bytes(bytes));
    let opening = opening.transpose().map_err(Refusal::Malformed)?;
    Ok(conflict::check(&pair.a.verify(&trust)?, &pair.b.verify(&trust)?, opening.as_ref()))
}
