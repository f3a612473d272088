//! Certificates outside the spans that a chain gives, and chains that do not hold.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::attachments::Attachments;
use crate::certificate::Certificate;
use crate::chain::{CharterEntry, ConfigEntry, GovernanceChain, GovernanceEntry};
use crate::digest::Digest;
use crate::policy::{Assurance, Policy};
use crate::samples::corrupt::Raw;
use crate::samples::governance;
use crate::samples::governance::{CHARTER_FROM_SEQ, CHARTER_SEQ, CONFIG_SEQ, RETURN_FROM_SEQ, changed_market};
use crate::samples::market::{Market, committee};
use crate::samples::valid::{Vector, classes};

/// Certificates outside the spans that a chain gives, and chains that do not hold.
pub(super) fn governance_spans(vectors: &mut Vec<Vector>) {
    let (before, after) = (Market::new(4, 4, Policy::Plurality), changed_market());
    let first_epoch = Market { committee: before.committee.clone(), ..after.clone() };
    let at = |market: &Market, seq: u64| {
        Market { seq, ..market.clone() }.decide(&classes(&[285; 4]), Assurance::Robust).bare().certified()
    };
    let mut add = |code: &'static str, name: &str, certificate: &Certificate, chain: &GovernanceChain| {
        vectors.push(Vector {
            name: format!("{code}-{name}"),
            about: name.replace('-', " "),
            genesis: before.genesis.clone(),
            chain: Some(chain.to_bytes()),
            certificate: certificate.to_bytes(),
            code: Some(code),
        });
    };
    let chain = governance::chain();
    add("outside-epoch", "epoch-0-after-its-end", &at(&first_epoch, CONFIG_SEQ + 1), &chain);
    add("outside-epoch", "epoch-1-before-its-begin", &at(&after, CONFIG_SEQ), &chain);
    add("charter-not-in-force", "not-yet", &at(&first_epoch, CHARTER_FROM_SEQ - 1), &chain);
    add("charter-not-in-force", "no-longer", &at(&before, CHARTER_FROM_SEQ), &chain);
    let returning = governance::returning_chain();
    add("charter-not-in-force", "between-its-terms", &at(&before, RETURN_FROM_SEQ - 1), &returning);
    add("charter-not-in-force", "after-the-return-of-another", &at(&first_epoch, RETURN_FROM_SEQ), &returning);
    add("unknown-charter", "before-the-chain", &at(&first_epoch, 30), &GovernanceChain::default());
    add("unknown-committee", "before-the-chain", &at(&after, 50), &GovernanceChain::default());
    let good = at(&after, 50);
    for (name, chain) in broken_chains() {
        let attached =
            good.clone().with_attachments(Attachments { chain: Some(chain.clone()), ..Attachments::default() });
        add("bad-chain", &name, &attached, &GovernanceChain::default());
        add("bad-chain", &format!("{name}-apart"), &good, &chain);
    }
    let mut raw = Raw::of(&good);
    raw.items[2] = vec![0; 2];
    vectors.push(Vector {
        name: "malformed-signer-bitmap-of-another-committee".into(),
        about: "two bytes where a committee of seven needs one".into(),
        genesis: before.genesis.clone(),
        chain: Some(chain.to_bytes()),
        certificate: raw.to_bytes(),
        code: Some("malformed"),
    });
}

fn broken_chains() -> Vec<(alloc::string::String, GovernanceChain)> {
    let (charter, config) = governance::entries();
    let (first, second) = (committee(0, 4), committee(1, 7));
    let link = |entry: &GovernanceEntry, seq| governance::link(entry, seq, &first, &[0, 1, 2]);
    let with_config = |change: &dyn Fn(&mut ConfigEntry)| match config.clone() {
        GovernanceEntry::Config(mut entry) => {
            change(&mut entry);
            GovernanceEntry::Config(entry)
        }
        other => other,
    };
    let with_charter = |change: &dyn Fn(&mut CharterEntry)| match charter.clone() {
        GovernanceEntry::Charter(mut entry) => {
            change(&mut entry);
            GovernanceEntry::Charter(entry)
        }
        other => other,
    };
    let (good_charter, good_config) = (link(&charter, CHARTER_SEQ), link(&config, CONFIG_SEQ));
    let other_genesis = with_config(&|entry| entry.genesis = Digest::of(b"another market"));
    let mut flipped_entry = good_config.clone();
    flipped_entry.entry[60] ^= 1;
    let mut short_path = good_config.clone();
    short_path.path.pop();
    let mut bad_template = good_config.clone();
    bad_template.template.push(0);
    let record = GovernanceEntry::Config(ConfigEntry {
        genesis: Digest::of(b""),
        previous: Digest::of(b""),
        committee: committee(0, 1),
    });
    let twice =
        crate::genesis::Committee { members: [&second.members[..], &second.members[..1]].concat(), ..second.clone() };
    let cases: Vec<(&str, Vec<crate::chain::ChainLink>)> = vec![
        ("no-quorum", vec![good_charter.clone(), governance::link(&config, CONFIG_SEQ, &first, &[0, 1])]),
        ("unknown-signers", vec![governance::link(&config, CONFIG_SEQ, &second, &[0, 1, 2, 3, 4])]),
        ("a-changed-entry", vec![good_charter.clone(), flipped_entry]),
        ("a-short-path", vec![good_charter.clone(), short_path]),
        ("a-malformed-header", vec![good_charter.clone(), bad_template]),
        (
            "another-market",
            vec![governance::link_with(&config, CONFIG_SEQ, &first, &[0, 1, 2], |header| {
                header.genesis = Digest::of(b"another market");
            })],
        ),
        ("an-entry-of-another-market", vec![link(&other_genesis, CONFIG_SEQ)]),
        ("an-entry-for-nobody", vec![link(&record, CONFIG_SEQ)]),
        ("two-members-alike", vec![link(&with_config(&|entry| entry.committee = twice.clone()), CONFIG_SEQ)]),
        ("an-epoch-skipped", vec![link(&with_config(&|entry| entry.committee.epoch = 2), CONFIG_SEQ)]),
        ("another-predecessor", vec![link(&with_config(&|entry| entry.previous = Digest::of(b"config")), CONFIG_SEQ)]),
        ("out-of-order", vec![good_config.clone(), good_charter.clone()]),
        ("a-link-twice", vec![good_charter.clone(), good_charter.clone()]),
        ("two-configs-of-one-epoch", vec![good_config.clone(), link(&config, CONFIG_SEQ + 1)]),
        ("a-charter-in-force-too-early", vec![link(&with_charter(&|entry| entry.from_seq = CHARTER_SEQ), CHARTER_SEQ)]),
        (
            "another-charter-before",
            vec![link(&with_charter(&|entry| entry.previous = Some(Digest::of(b"charter"))), CHARTER_SEQ)],
        ),
        ("a-group-that-exists-as-new", vec![link(&with_charter(&|entry| entry.previous = None), CHARTER_SEQ)]),
        (
            "a-charter-in-force-before-its-predecessor",
            vec![
                good_charter,
                link(
                    &with_charter(&|entry| {
                        entry.previous = Some(entry.charter.digest());
                        entry.charter.fee = 3;
                        entry.from_seq = CHARTER_FROM_SEQ - 5;
                    }),
                    CHARTER_SEQ + 1,
                ),
            ],
        ),
    ];
    cases.into_iter().map(|(name, links)| (name.into(), GovernanceChain(links))).collect()
}
