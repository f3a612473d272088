//! Every ballot that counts was of the version current at its place: worked out here from the owners' entries alone.

use std::collections::BTreeMap;

use dropbear_certificates::{Digest, PublicKey};
use dropbear_consensus::{Entry, Proposal, Submission};

use super::{longest, records};
use crate::history::Seen;
use crate::market;
use crate::offers::OWNERS;

/// Blocks between an activation and the version's beginning, as the charter of these tests has it.
const NOTICE_BLOCKS: u64 = 1;

pub(super) fn check(seen: &Seen) {
    // By owner: from which seq on which version is current, in ledger order.
    let mut activated: BTreeMap<PublicKey, Vec<(u64, Digest)>> = BTreeMap::new();
    for block in longest(seen) {
        let seq = block.header.seq;
        let entries = Proposal::from_bytes(&block.payload).expect("a final block is one").entries;
        let entries: Vec<_> =
            entries.iter().map(|bytes| Entry::from_bytes(bytes).expect("so are its entries")).collect();
        let mut submissions: BTreeMap<Digest, &Submission> = BTreeMap::new();
        for entry in &entries {
            match entry {
                Entry::Activate(activate, _) => {
                    let from_seq = activate.from_seq.max(seq + NOTICE_BLOCKS);
                    activated.entry(activate.owner).or_default().push((from_seq, activate.version));
                }
                Entry::Submission(submission) => {
                    submissions.extend(submission.requests.iter().map(|request| (request.request.id(), &**submission)));
                }
                _ => {}
            }
        }
        for record in records(block) {
            let counted: Vec<_> = submissions
                .values()
                .filter(|submission| submission.requests.iter().any(|request| request.request.id() == record.request))
                .collect();
            for (place, owner) in (0..OWNERS).map(|place| (place, market::owner(place).public())) {
                if record.group_of(usize::from(place)).is_none() {
                    continue;
                }
                let current = activated
                    .get(&owner)
                    .and_then(|versions| versions.iter().rev().find(|(from_seq, _)| *from_seq <= seq))
                    .map(|(_, version)| *version);
                let named = counted.iter().any(|submission| {
                    let ballots = submission.ballots.iter().map(|ballot| &ballot.statement);
                    ballots.into_iter().any(|ballot| ballot.owner == owner && Some(ballot.version) == current)
                });
                assert!(named, "seq {seq} counts a ballot of owner {place} under a version that is not current");
            }
        }
    }
}
