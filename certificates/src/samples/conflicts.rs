//! Pairs of certificates, and what the conflict check says of them.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::conflict::{self, ConflictKind, LedgerOpening, Missing, Verdict};
use crate::digest::Digest;
use crate::genesis::Genesis;
use crate::header::Header;
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
    /// The earlier header under the later one's ledger root.
    pub opening: Option<LedgerOpening>,
}

fn at(seq: u64, class: u32) -> Case {
    let market = Market { seq, ..Market::new(4, 4, Policy::Plurality) };
    market.decide(&classes(&[class; 4]), Assurance::Robust).bare()
}

fn other_request(case: Case) -> Case {
    case.record(|record| record.request = Digest::of(b"another request"))
}

/// A later header whose ledger holds `earlier` at its seq, and the opening that shows it.
fn after(earlier: &Header, seq: u64, case: &Case, signers: &[usize]) -> (Certificate, LedgerOpening) {
    let mut leaves: Vec<_> = (1..seq).map(|seq| merkle::leaf_hash(&seq.to_be_bytes())).collect();
    let index = earlier.seq as usize - 1;
    leaves[index] = earlier.leaf();
    let certificate = case.certify_header(signers, |header| header.ledger_root = merkle::root(&leaves));
    (certificate, LedgerOpening { header: earlier.clone(), path: merkle::path(&leaves, index) })
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
        opening: opening.cloned(),
    };
    let (first, lie) = (at(9, 285).certify(&[0, 1, 2]), at(9, 7).certify(&[1, 2, 3]));
    let (later, opening) = after(first.header(), 12, &other_request(at(12, 285)), &[0, 2, 3]);
    let (rewritten, rewriting) = after(lie.header(), 12, &other_request(at(12, 285)), &[1, 2, 3]);
    let (again, again_opening) = after(first.header(), 12, &at(12, 7), &[0, 2, 3]);
    let (other, _) = after(lie.header(), 12, &other_request(at(12, 7)), &[1, 2, 3]);
    let mut epochs = pair("epochs", &at(9, 285).certified(), &other_epoch(), None);
    epochs.chain = Some(crate::samples::governance::chain().to_bytes());
    alloc::vec![
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
        epochs,
    ]
}

fn other_epoch() -> Certificate {
    changed_market().decide(&classes(&[285; 4]), Assurance::Robust).bare().certified()
}

/// The pair's file. `verdict` is what the library says of it.
#[must_use]
pub fn pair_file(pair: &Pair, trust: &str, verdict: &Verdict) -> String {
    let expected = match verdict {
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
    };
    let hex = |bytes: &[u8]| Value::from(HEXLOWER.encode(bytes));
    super::json::pretty(&json!({
        "name": pair.name,
        "trust": trust,
        "chain": pair.chain.as_ref().map(|chain| hex(chain)),
        "a": hex(&pair.a.to_bytes()),
        "b": hex(&pair.b.to_bytes()),
        "opening": pair.opening.as_ref().map(|opening| hex(&opening.to_bytes())),
        "expect": expected,
    }))
}

/// Verifies both and checks them against each other.
///
/// # Errors
/// [`Refusal`](crate::Refusal) if one does not verify.
pub fn verdict(pair: &Pair) -> Result<Verdict, crate::Refusal> {
    let mut trust = crate::TrustRoot::new(pair.genesis.clone());
    if let Some(chain) = &pair.chain {
        trust = trust.extended(&crate::GovernanceChain::from_bytes(chain)?)?;
    }
    Ok(conflict::check(&pair.a.verify(&trust)?, &pair.b.verify(&trust)?, pair.opening.as_ref()))
}
